//! Which backends the tests really ran on.
//!
//! A test that opens a backend writes one line into a file of the backend's name in the folder that
//! `DPCUBE_BACKEND_REPORTS` names: `ran (device)` or `SKIPPED: reason`. So a skip is seen at the end
//! of a run, and can't hide in captured output.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, workspace};

/// What is reported, in the order of the closing lines; `nvrtc` stands for kernels compiled for
/// CUDA without a GPU.
const BACKENDS: [&str; 4] = ["cpu", "wgpu", "cuda", "nvrtc"];

/// What must not be skipped where CI is true and `DPCUBE_REQUIRE` isn't set.
const REQUIRED_IN_CI: &str = "cpu,wgpu,nvrtc";

/// The folder of reports and the backends that must have run.
pub(crate) struct Reports {
    folder: PathBuf,
    required: String,
}

impl Reports {
    /// An empty folder of reports.
    pub(crate) fn new() -> Result<Self> {
        let folder = workspace::scratch()?.join("backends");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let required = required(std::env::var_os("DPCUBE_REQUIRE"), std::env::var_os("CI"));
        Ok(Self { folder, required })
    }

    /// Tells the tests where to report and what must not be skipped.
    pub(crate) fn apply<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("DPCUBE_BACKEND_REPORTS", &self.folder)
            .env("DPCUBE_REQUIRE", &self.required)
    }

    /// One line for each backend.
    pub(crate) fn lines(&self) -> Vec<Line> {
        BACKENDS
            .iter()
            .map(|backend| Line::read(&self.folder, backend))
            .collect()
    }

    /// Fails where a required backend did not run.
    pub(crate) fn enforce(&self) -> Result<()> {
        let lines = self.lines();
        let missing = |name: &&str| !lines.iter().any(|line| line.backend == *name && line.ran());
        let missing: Vec<_> = self
            .required
            .split(',')
            .filter(|name| !name.is_empty())
            .filter(missing)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("required backends did not run: {}", missing.join(", ")).into())
    }
}

fn required(chosen: Option<OsString>, ci: Option<OsString>) -> String {
    match chosen {
        Some(list) => list.to_string_lossy().replace(' ', ""),
        None if ci.is_some_and(|ci| ci == "true") => REQUIRED_IN_CI.into(),
        None => String::new(),
    }
}

/// What one backend's tests reported.
pub(crate) struct Line {
    backend: &'static str,
    text: String,
}

impl Line {
    fn read(folder: &Path, backend: &'static str) -> Self {
        let report = fs::read_to_string(folder.join(backend)).unwrap_or_default();
        let text = report
            .lines()
            .next()
            .unwrap_or("SKIPPED: none of its tests ran")
            .to_owned();
        Self { backend, text }
    }

    fn ran(&self) -> bool {
        self.text == "ran" || self.text.starts_with("ran ")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.backend, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(folder: &Path, required: &str) -> Reports {
        Reports {
            folder: folder.to_path_buf(),
            required: required.into(),
        }
    }

    #[test]
    fn a_required_backend_must_have_run() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cpu"), "ran (2 threads)\n").unwrap();
        fs::write(folder.path().join("wgpu"), "SKIPPED: no adapter\n").unwrap();

        reports(folder.path(), "").enforce().unwrap();
        reports(folder.path(), "cpu").enforce().unwrap();
        for absent in ["wgpu", "cuda", "no-such-backend"] {
            let list = format!("cpu,{absent}");
            let error = reports(folder.path(), &list)
                .enforce()
                .unwrap_err()
                .to_string();
            assert!(error.ends_with(absent), "{error}");
        }
        let lines: Vec<_> = reports(folder.path(), "")
            .lines()
            .iter()
            .map(Line::to_string)
            .collect();
        assert_eq!(lines[0], "cpu: ran (2 threads)");
        assert_eq!(lines[1], "wgpu: SKIPPED: no adapter");
        assert_eq!(lines[2], "cuda: SKIPPED: none of its tests ran");
    }

    #[test]
    fn ci_requires_what_nobody_chose() {
        assert_eq!(required(None, Some("true".into())), REQUIRED_IN_CI);
        assert_eq!(
            required(Some("cuda, cpu".into()), Some("true".into())),
            "cuda,cpu"
        );
        assert_eq!(required(None, Some("false".into())), "");
        assert_eq!(required(None, None), "");
    }
}
