//! Opens CubeCL's CPU runtime (LLVM, one thread a core) for [`dp_kernels`].
//!
//! The runtime is always there once it is linked, so [`open`] fails only where the process can't start
//! its threads.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod bfloat;

pub use dp_kernels::{Backend, BackendError};

use cubecl::Device;

/// Opens the processor as a device. Where it has no instructions for bf16 and the process no function for it, that is loaded: a program with a client of
/// its own, and bf16, calls this first.
///
/// # Errors
/// [`BackendError::NoDevice`] when the runtime reports no processor.
pub fn open() -> Result<Backend, BackendError> {
    let device = Device::cpu().map_err(|error| BackendError::NoDevice {
        backend: "cpu",
        reason: error.to_string(),
    })?;
    let mut driver = format!("cubecl-cpu, LLVM, {}", std::env::consts::ARCH);
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    if let Err(why) = bfloat::provide() {
        driver += &format!(", without bf16 ({why})");
    }
    Ok(Backend::new("cpu", driver, device.client()))
}
