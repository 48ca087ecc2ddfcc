//! NVIDIA's run-time compiler, for compiling the CUDA kernels on a machine without a GPU.
//!
//! Four wheels unpack into one tree, `nvidia/cu13`: the compiler, and the headers that generated
//! kernels may include (`cuda_fp16.h`, `mma.h`, `cuda/barrier`).

use std::fs;
use std::path::{Path, PathBuf};

use super::Environment;
use super::wheel::Wheel;
use crate::{Result, process, workspace};

const WHEELS: [Wheel; 4] = [
    Wheel {
        name: "nvidia-cuda-nvrtc",
        version: "13.2.86",
        sha256: "8111c5130e967b78222ea2124145f8efe9ce201b752b2579a2513100a53be1c5",
    },
    Wheel {
        name: "nvidia-cuda-runtime",
        version: "13.2.75",
        sha256: "72bf454902da594e0b833cadeddc8b7100ce1c7cf7ed9023943931be1aa913b7",
    },
    Wheel {
        name: "nvidia-cuda-crt",
        version: "13.2.86",
        sha256: "e3ab08801bf9b1e6dc979275d25e816bb5000521b648e19c324d5eef0c79f1da",
    },
    Wheel {
        name: "nvidia-cuda-cccl",
        version: "13.2.75",
        sha256: "11a2b1948e8709805a0ccf04441baf5279a9219c13eb11dc13d57bb023151768",
    },
];

/// Fetches the compiler where it isn't there; gives the folder that holds `lib` and `include`.
pub(super) fn install() -> Result<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the pinned wheels are for Linux x86-64".into());
    }
    let scratch = workspace::scratch()?;
    let place = scratch.join(format!("nvrtc-{}", WHEELS[0].version));
    let tree = place.join("nvidia/cu13");
    if place.exists() {
        return Ok(tree);
    }
    let names: Vec<_> = WHEELS.iter().map(|wheel| wheel.name).collect();
    println!("nvrtc: fetching {} (53 MB)", names.join(", "));
    let partial = tempfile::Builder::new()
        .prefix(".nvrtc-")
        .tempdir_in(&scratch)?;
    unpack(partial.path())?;
    match fs::rename(partial.path(), &place) {
        // Another process was quicker.
        Err(_) if place.exists() => {}
        renamed => renamed?,
    }
    println!(
        "nvrtc: put version {} (SHA-256 verified) into {}",
        WHEELS[0].version,
        place.display()
    );
    Ok(tree)
}

fn unpack(folder: &Path) -> Result<()> {
    for wheel in &WHEELS {
        wheel.unpack_into(folder)?;
    }
    // The binding opens the library by its plain name first; the wheel has only the versioned one.
    #[cfg(unix)]
    std::os::unix::fs::symlink("libnvrtc.so.13", folder.join("nvidia/cu13/lib/libnvrtc.so"))?;
    Ok(())
}

/// Tells the tests where the compiler and its headers are.
pub(super) fn describe(tree: &Path, environment: &mut Environment) -> Result<()> {
    let library = tree.join("lib");
    let include = tree.join("include");
    let headers = std::env::join_paths([include.clone(), include.join("cccl")])?;
    environment.set(
        "LD_LIBRARY_PATH",
        process::prepended("LD_LIBRARY_PATH", &library)?,
    );
    environment.set("DPCUBE_NVRTC_LIB_DIR", library);
    environment.set("DPCUBE_CUDA_INCLUDE", headers);
    // A machine with a GPU but no toolkit can run the CUDA backend with these headers. Elsewhere
    // the variable stays as it is: build scripts watch it, and would build their crates again.
    let has_toolkit = ["/usr/local/cuda", "/opt/cuda", "/usr/bin/nvcc"];
    if Path::new("/dev/nvidiactl").exists()
        && std::env::var_os("CUDA_PATH").is_none()
        && !has_toolkit.iter().any(|path| Path::new(path).exists())
    {
        environment.set("CUDA_PATH", tree);
    }
    Ok(())
}
