//! Opens CubeCL's wgpu runtime (Vulkan, Metal, DX12, WebGPU) for [`dp_kernels`].

pub use dp_kernels::{Backend, BackendError};

use cubecl::{Device, device::WgpuDeviceKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Opens the default adapter: the best GPU there is, a software renderer where there is none.
///
/// # Errors
/// [`BackendError::NoDevice`] when no adapter is found, [`BackendError::Failed`] when the runtime
/// panics while starting on one (a broken driver).
pub fn open() -> Result<Backend, BackendError> {
    // The runtime answers a missing or broken driver by a panic in some places.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let device = Device::wgpu(WgpuDeviceKind::default()).map_err(|error| error.to_string())?;
        Ok::<_, String>(device.client())
    }));
    match opened {
        Ok(Ok(client)) => {
            let driver = format!("wgpu, {}", client.name());
            Ok(Backend::new("wgpu", driver, client))
        }
        Ok(Err(reason)) => Err(BackendError::NoDevice {
            backend: "wgpu",
            reason,
        }),
        Err(panic) => Err(BackendError::Failed {
            backend: "wgpu",
            reason: message(&*panic),
        }),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
