//! Opening the device that a person named, or saying why not.

use burn::tensor::Device;
use dp_burn::{DeviceError, DeviceName};
use dp_kernels::Backend;

use crate::args;
use crate::error::Failure;

/// The device of `--device`, as burn has it and as the kernels do. It is probed first: burn itself panics where there is
/// none.
///
/// # Errors
/// The device isn't there, or this build has no runtime for it.
pub fn open(name: args::Device) -> Result<(Device, Backend), Failure> {
    let name = match name {
        args::Device::Cpu => DeviceName::Cpu,
        args::Device::Wgpu => DeviceName::Wgpu,
        args::Device::Cuda => DeviceName::Cuda,
    };
    let device = dp_burn::open(name)?;
    let backend = match name {
        #[cfg(feature = "cpu")]
        DeviceName::Cpu => dp_backend_cpu::open()?,
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu => dp_backend_wgpu::open()?,
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => dp_backend_cuda::open()?,
        #[allow(unreachable_patterns)]
        name => return Err(DeviceError::NotBuilt(name).into()),
    };
    Ok((device, backend))
}
