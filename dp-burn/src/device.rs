//! Opening a device by name.

use burn::tensor::Device;
use thiserror::Error;

/// The runtimes a model can train on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor, by CubeCL's LLVM runtime.
    Cpu,
    /// Any GPU that Vulkan, Metal, DX12 or WebGPU reaches.
    Wgpu,
    /// The first NVIDIA GPU.
    Cuda,
}

impl std::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        })
    }
}

/// Why a device can't be opened.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum DeviceError {
    /// The program was built without the runtime.
    #[error(
        "this build has no {0} runtime: build it with --features {0}, or choose another --device"
    )]
    NotBuilt(DeviceName),
}

/// The burn device of a runtime. Whether the hardware is there must be asked first (the backend crates
/// do): burn opens a device lazily, and panics when there is none.
///
/// # Errors
/// [`DeviceError::NotBuilt`] when the feature of the runtime is off.
pub fn open(name: DeviceName) -> Result<Device, DeviceError> {
    match name {
        #[cfg(feature = "cpu")]
        DeviceName::Cpu => Ok(Device::cpu()),
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::default())),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => Ok(Device::cuda(0)),
        #[allow(unreachable_patterns)]
        name => Err(DeviceError::NotBuilt(name)),
    }
}
