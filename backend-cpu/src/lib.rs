//! Opens CubeCL's CPU runtime (LLVM, one thread a core) for [`dp_kernels`].
//!
//! The runtime is always there once it is linked, so [`open`] fails only where the process can't start
//! its threads.

pub use dp_kernels::{Backend, BackendError};

use cubecl::Device;

/// Opens the processor as a device.
///
/// # Errors
/// [`BackendError::NoDevice`] when the runtime reports no processor.
pub fn open() -> Result<Backend, BackendError> {
    let device = Device::cpu().map_err(|error| BackendError::NoDevice {
        backend: "cpu",
        reason: error.to_string(),
    })?;
    let driver = format!("cubecl-cpu, LLVM, {}", std::env::consts::ARCH);
    Ok(Backend::new("cpu", driver, device.client()))
}
