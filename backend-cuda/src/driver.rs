//! Asks the CUDA driver what is there, before the runtime does and panics.

use libloading::{Library, Symbol};
use std::ffi::c_int;

/// What the driver says of itself, if it has a device number `index` and NVRTC is at hand.
pub(crate) fn probe(index: usize) -> Result<String, String> {
    let driver = load(DRIVER)?;
    let count = device_count(&driver)?;
    if index >= count {
        return Err(format!(
            "the driver sees {count}, number {index} was asked for"
        ));
    }
    load(NVRTC)?;
    let version = driver_version(&driver)?;
    Ok(format!(
        "CUDA driver {}.{}",
        version / 1000,
        version % 1000 / 10
    ))
}

#[cfg(not(windows))]
const DRIVER: &[&str] = &["libcuda.so.1", "libcuda.so"];
#[cfg(windows)]
const DRIVER: &[&str] = &["nvcuda.dll"];

#[cfg(not(windows))]
const NVRTC: &[&str] = &["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"];
#[cfg(windows)]
const NVRTC: &[&str] = &["nvrtc64_130_0.dll", "nvrtc64_120_0.dll", "nvrtc.dll"];

fn load(names: &[&str]) -> Result<Library, String> {
    for name in names {
        // SAFETY: the driver's and the compiler's libraries run no initialiser that could clash with
        // this process; the runtime loads the same ones.
        if let Ok(library) = unsafe { Library::new(name) } {
            return Ok(library);
        }
    }
    Err(format!("{} can't be loaded", names[0]))
}

fn device_count(driver: &Library) -> Result<usize, String> {
    let mut count: c_int = 0;
    // SAFETY: the signatures are those of cuda.h (`CUresult` is an int), and `count` outlives the call.
    let (started, counted) = unsafe {
        let init: Symbol<unsafe extern "C" fn(u32) -> c_int> =
            driver.get(b"cuInit\0").map_err(|e| e.to_string())?;
        let get_count: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> = driver
            .get(b"cuDeviceGetCount\0")
            .map_err(|e| e.to_string())?;
        (init(0), get_count(&mut count))
    };
    match (started, counted) {
        (0, 0) => Ok(count.max(0) as usize),
        (0, code) | (code, _) => Err(format!("the driver answers error {code}")),
    }
}

fn driver_version(driver: &Library) -> Result<c_int, String> {
    let mut version: c_int = 0;
    // SAFETY: the signature is that of cuda.h, and `version` outlives the call.
    let code = unsafe {
        let get: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> = driver
            .get(b"cuDriverGetVersion\0")
            .map_err(|e| e.to_string())?;
        get(&mut version)
    };
    if code == 0 {
        Ok(version)
    } else {
        Err(format!("the driver answers error {code}"))
    }
}
