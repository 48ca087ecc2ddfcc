//! Opening the device that a person named, or saying why not.

use burn::tensor::Device;
use dp_burn::DeviceName;

use crate::args;
use crate::error::Failure;

/// The device of `--device`, probed first: burn itself panics where there is none.
///
/// # Errors
/// The device isn't there, or this build has no runtime for it.
pub fn open(name: args::Device) -> Result<Device, Failure> {
    let name = match name {
        args::Device::Cpu => DeviceName::Cpu,
        args::Device::Wgpu => DeviceName::Wgpu,
        args::Device::Cuda => DeviceName::Cuda,
    };
    let device = dp_burn::open(name)?;
    match name {
        #[cfg(feature = "cpu")]
        DeviceName::Cpu => drop(dp_backend_cpu::open()?),
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu => drop(dp_backend_wgpu::open()?),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => drop(dp_backend_cuda::open()?),
        #[allow(unreachable_patterns)]
        _ => {}
    }
    Ok(device)
}
