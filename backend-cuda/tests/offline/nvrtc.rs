//! NVRTC from a folder.

use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use libloading::Library;
use std::{env, fs, path::PathBuf};

/// NVRTC, loaded, and where the CUDA headers are.
pub(crate) struct Compiler {
    include: Vec<String>,
    _libraries: Vec<Library>,
}

impl Compiler {
    /// Loads NVRTC from `DPCUBE_NVRTC_LIB_DIR`; headers are in `DPCUBE_CUDA_INCLUDE` (colon-separated).
    pub(crate) fn find() -> Result<Self, String> {
        let folder = env::var_os("DPCUBE_NVRTC_LIB_DIR")
            .map(PathBuf::from)
            .ok_or("DPCUBE_NVRTC_LIB_DIR is not set")?;
        let include = env::var("DPCUBE_CUDA_INCLUDE")
            .map_err(|_| "DPCUBE_CUDA_INCLUDE is not set")?
            .split(':')
            .map(str::to_owned)
            .collect();
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("libnvrtc") && !name.contains(".alt.") && name.contains(".so")
            })
            .collect();
        // `libnvrtc-builtins` first: the other asks for it by name and finds it loaded.
        files.sort();
        if files.is_empty() {
            return Err(format!("no libnvrtc in {}", folder.display()));
        }
        let mut libraries = Vec::new();
        for file in files {
            // SAFETY: a compiler's libraries, their initialisers touch nothing of this process.
            let library = unsafe { Library::new(&file) }
                .map_err(|error| format!("{}: {error}", file.display()))?;
            libraries.push(library);
        }
        Ok(Self {
            include,
            _libraries: libraries,
        })
    }

    /// CUDA C++ to PTX for an H100.
    pub(crate) fn compile(&self, source: &str) -> Result<String, String> {
        let options = CompileOptions {
            arch: Some("sm_90a"),
            include_paths: self.include.clone(),
            ..Default::default()
        };
        compile_ptx_with_opts(source, options)
            .map(|ptx| ptx.to_src())
            .map_err(|error| format!("{error:?}\n{source}"))
    }
}
