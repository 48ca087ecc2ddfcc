//! Opens CubeCL's CUDA runtime (CUDA C++ through NVRTC) for [`dp_kernels`].
//!
//! Builds and links without a GPU, a driver or a toolkit; all three are looked for when a device is
//! opened, and what is missing is an answer, not a panic.

mod driver;
#[cfg(llvm_without_nvptx)]
mod nvptx;

pub use dp_kernels::{Backend, BackendError};

use cubecl::Device;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Opens the CUDA device number `index`.
///
/// # Errors
/// [`BackendError::NoDevice`] when there is no driver, no such GPU or no NVRTC,
/// [`BackendError::Failed`] when the runtime panics while starting on it.
pub fn open_index(index: usize) -> Result<Backend, BackendError> {
    let driver = driver::probe(index).map_err(|reason| BackendError::NoDevice {
        backend: "cuda",
        reason,
    })?;
    // The runtime unwraps every answer of the driver.
    catch_unwind(AssertUnwindSafe(|| {
        let device = Device::cuda(index).map_err(|error| BackendError::NoDevice {
            backend: "cuda",
            reason: error.to_string(),
        })?;
        Ok(Backend::new("cuda", driver, device.client()))
    }))
    .unwrap_or_else(|panic| {
        let reason = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "a panic without a message".to_owned());
        Err(BackendError::Failed {
            backend: "cuda",
            reason,
        })
    })
}

/// Opens the first CUDA device.
///
/// # Errors
/// As [`open_index`].
pub fn open() -> Result<Backend, BackendError> {
    open_index(0)
}
