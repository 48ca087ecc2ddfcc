//! `dpcube verify`: the conformance suite on this machine's devices.
//!
//! Exit code 0 where every row is within its budget, 1 where one is not, 2 where nothing was verified.

mod filter;
mod suite;
mod table;

use std::io;
use std::path::Path;

use dp_burn::{DeviceError, DeviceName};
use dp_kernels::conformance::Verdict;
use dp_kernels::{Backend, Capabilities, Description};
use serde_json::{Value, json};

use crate::args::{Devices, VerifyArgs};
use crate::date::today;
use crate::error::Failure;
use crate::files::write_atomically;
use crate::output::{answer, note};
use filter::{Filter, words};
use suite::Found;
use table::is_failed;

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, where whoever built the program said it: `cargo xtask run` does (docs/building.md).
pub(crate) const COMMIT: Option<&str> = option_env!("DPCUBE_COMMIT");

/// What a device gave.
struct Tested {
    /// The device.
    description: Description,
    /// What launchers take on it.
    caps: Capabilities,
    /// Its rows.
    found: Vec<Found>,
}

/// Runs the checks that are asked for on the devices that are asked for, and tells what they found.
///
/// # Errors
/// A row failed; a device that was named can't be opened, or none can; the filter selects nothing on any of them; the
/// Markdown file can't be written.
pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let filter = Filter::new(args.filter.as_deref());
    let checks = filter.checks()?;
    if let Some(path) = &args.markdown {
        // Before anything is verified: a page that can't be written would cost the whole run.
        probe(path).map_err(|error| unwritable(path, &error))?;
    }
    let (backends, mut skipped) = open(args.device)?;
    let (mut tested, mut others) = (Vec::new(), Vec::new());
    for backend in backends {
        let all = suite::run(&backend, &checks, args.seed);
        let found = filter.rows(all.clone());
        if found.is_empty() {
            // It may lack the element type that the filter names, which says nothing of the next device.
            let name = backend.describe().backend;
            skipped.push(format!("{name}: {}", filter.nothing(&all)));
            others.extend(all);
            continue;
        }
        let device = Tested {
            description: backend.describe().clone(),
            caps: backend.caps(),
            found,
        };
        answer(if args.json {
            device.json_lines(args.seed)
        } else {
            table::text(&device, args.seed)
        })?;
        tested.push(device);
    }
    if tested.is_empty() {
        return Err(Failure::new(filter.nothing(&others)));
    }
    for line in &skipped {
        note!("SKIPPED {line}");
    }
    if let Some(path) = &args.markdown {
        let text = table::markdown(&tested, &skipped, args.seed, &today());
        write_atomically(path, text.as_bytes()).map_err(|error| unwritable(path, &error))?;
    }
    verdict(&tested)
}

/// Whether a page can be written here, by a file beside it that goes again, since that is how the page will be written: what is there stays.
fn probe(path: &Path) -> io::Result<()> {
    if path.file_name().is_none() || path.is_dir() {
        let what = "the path names no file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    tempfile::NamedTempFile::new_in(folder).map(drop)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!(
        "{path:?} cannot be written: {error}; choose another --markdown"
    ))
}

/// The devices that were asked for, and the ones left out with why.
fn open(devices: Devices) -> Result<(Vec<Backend>, Vec<String>), Failure> {
    let name = match devices {
        Devices::Cpu => DeviceName::Cpu,
        Devices::Wgpu => DeviceName::Wgpu,
        Devices::Cuda => DeviceName::Cuda,
        Devices::All => return open_all(),
    };
    Ok((vec![open_one(name)?], Vec::new()))
}

fn open_all() -> Result<(Vec<Backend>, Vec<String>), Failure> {
    let (mut opened, mut skipped) = (Vec::new(), Vec::new());
    for name in [DeviceName::Cpu, DeviceName::Wgpu, DeviceName::Cuda] {
        match open_one(name) {
            Ok(backend) => opened.push(backend),
            Err(why) => skipped.push(format!("{name}: {why}")),
        }
    }
    if opened.is_empty() {
        return Err(Failure::new(format!(
            "no device could be opened: {}",
            skipped.join("; ")
        )));
    }
    Ok((opened, skipped))
}

/// Why a device is not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    NotBuilt(#[from] DeviceError),
    #[error(transparent)]
    Backend(#[from] dp_kernels::BackendError),
}

/// The device of this runtime, without burn.
pub(crate) fn open_one(name: DeviceName) -> Result<Backend, OpenError> {
    match name {
        #[cfg(feature = "cpu")]
        DeviceName::Cpu => Ok(dp_backend_cpu::open()?),
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu => Ok(dp_backend_wgpu::open()?),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => Ok(dp_backend_cuda::open()?),
        #[allow(unreachable_patterns)]
        name => Err(DeviceError::NotBuilt(name).into()),
    }
}

/// Exit code 1 where a row failed.
fn verdict(tested: &[Tested]) -> Result<(), Failure> {
    let rows: usize = tested.iter().map(|device| device.found.len()).sum();
    let failed: usize = tested.iter().map(|device| device.failed().count()).sum();
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::unmet(format!(
        "{failed} of {rows} rows failed; the command that repeats each stands beside it"
    )))
}

impl Tested {
    fn failed(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| is_failed(&found.row))
    }

    /// What the device is, and what launchers take on it: a line each.
    fn header(&self) -> String {
        format!("{}\n{}", self.description, self.caps)
    }

    fn sum(&self) -> String {
        format!(
            "{}: {} rows, {} failed",
            self.description.backend,
            self.found.len(),
            self.failed().count()
        )
    }

    /// The command that makes one row again.
    fn repeat(&self, found: &Found, seed: u64) -> String {
        let filter = if found.stopped {
            found.check.to_owned()
        } else {
            format!("{}/{}", found.check, words(&found.row))
        };
        format!(
            "dpcube verify --device {} --seed {seed} --filter '{}'",
            self.description.backend,
            filter.replace('\'', r"'\''")
        )
    }

    fn json_lines(&self, seed: u64) -> String {
        let lines = self.found.iter().map(|found| self.json(found, seed));
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// An error that is no finite number is null.
    fn json(&self, found: &Found, seed: u64) -> Value {
        let row = &found.row;
        let mut line = json!({
            "backend": self.description.backend,
            "device": self.description.device,
            "driver": self.description.driver,
            "check": found.check,
            "op": row.op,
            "dtype": row.dtype,
            "shape": row.shape,
            "max_error": row.max_error,
            "budget": row.budget,
            "verdict": if is_failed(row) { "fail" } else { "pass" },
            "seed": seed,
            "version": VERSION,
            "commit": COMMIT,
        });
        if let Verdict::Fail(why) = &row.verdict {
            line["why"] = json!(why);
            line["repeat"] = json!(self.repeat(found, seed));
        }
        line
    }
}

#[cfg(all(test, feature = "cpu"))]
mod tests;
