//! The LLVM bundle of CubeCL's CPU runtime.
//!
//! `cubecl-cpu` links LLVM by `tracel-llvm-bundler`, whose build script downloads a bundle unless a
//! folder of the user's data directory holds one already, marked by a sentinel file. Not every
//! machine reaches the place that it downloads from. So xtask fills that folder first, from a
//! wheel with the same LLVM release as static libraries. With a bundle in place nothing is done.

use std::fs;
use std::path::{Path, PathBuf};

use super::wheel::Wheel;
use crate::Result;

/// `tracel-llvm-bundler`'s version: it names the folder, and changes with the lock file.
const BUNDLE: &str = "tracel-llvm-23.1.0-4";
const SENTINEL: &str = ".tracel-llvm-installed";

const WHEEL: Wheel = Wheel {
    name: "mlc-llvm-static",
    version: "23.1.1.post0",
    sha256: "dcfec888abfaa418be77d41af585805f31463584cf9c90582992c00f392c1ac5",
};

/// Puts the bundle in place where there is none.
pub(super) fn install() -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("llvm: the build downloads its own bundle on this platform");
        return Ok(());
    }
    let parent = data_folder()?.join("tracel");
    if install_into(&parent)? {
        let folder = parent.join(BUNDLE);
        println!(
            "llvm: put {} {} (SHA-256 verified) into {}",
            WHEEL.name,
            WHEEL.version,
            folder.display()
        );
    }
    Ok(())
}

/// Whether it had to install.
fn install_into(parent: &Path) -> Result<bool> {
    let bundle = parent.join(BUNDLE);
    if bundle.join(SENTINEL).exists() {
        return Ok(false);
    }
    // Unpack beside the final place, so that the last step is one rename on one file system.
    fs::create_dir_all(parent)
        .map_err(|error| format!("cannot create {}: {error}", parent.display()))?;
    let partial = tempfile::Builder::new()
        .prefix(".xtask-")
        .tempdir_in(parent)?;
    put_in_place(&unpack(partial.path())?, &bundle)?;
    Ok(true)
}

fn unpack(partial: &Path) -> Result<PathBuf> {
    println!("llvm: fetching {}=={} (60 MB)", WHEEL.name, WHEEL.version);
    WHEEL.unpack_into(partial)?;
    let unpacked = partial.join("mlc_llvm_static/static");
    make_runnable(&unpacked.join("bin/llvm-config"))?;
    fs::write(unpacked.join(SENTINEL), "")?;
    Ok(unpacked)
}

fn put_in_place(unpacked: &Path, bundle: &Path) -> Result<()> {
    // A folder without the sentinel is an installation that was cut off.
    if bundle.exists() && !bundle.join(SENTINEL).exists() {
        fs::remove_dir_all(bundle)?;
    }
    match fs::rename(unpacked, bundle) {
        // Another process was quicker.
        Err(_) if bundle.join(SENTINEL).exists() => Ok(()),
        renamed => {
            Ok(renamed.map_err(|error| format!("cannot create {}: {error}", bundle.display()))?)
        }
    }
}

/// A wheel's unpacking drops the permissions; the build runs this script.
fn make_runnable(script: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(script, fs::Permissions::from_mode(0o755))
            .map_err(|error| format!("{}: {error}", script.display()))?;
    }
    #[cfg(not(unix))]
    let _ = script;
    Ok(())
}

/// The local data directory of the XDG base directory specification, as the bundler finds it.
fn data_folder() -> Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .ok_or_else(|| "neither XDG_DATA_HOME nor HOME is set to an absolute path".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_bundle_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let bundle = parent.path().join(BUNDLE);
        fs::create_dir(&bundle).unwrap();
        fs::write(bundle.join(SENTINEL), "").unwrap();
        assert!(!install_into(parent.path()).unwrap());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_half_written_bundle_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let bundle = parent.path().join(BUNDLE);
        fs::create_dir(&bundle).unwrap();
        fs::write(bundle.join("half"), "").unwrap();
        let unpacked = parent.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        fs::write(unpacked.join(SENTINEL), "").unwrap();

        put_in_place(&unpacked, &bundle).unwrap();
        assert!(bundle.join(SENTINEL).exists());
        assert!(!bundle.join("half").exists());
    }

    #[test]
    fn the_folder_is_the_one_that_the_locked_bundler_looks_for() {
        let lock = fs::read_to_string(crate::workspace::root().join("Cargo.lock")).unwrap();
        let version = BUNDLE.strip_prefix("tracel-llvm-").unwrap();
        let entry = format!("name = \"tracel-llvm-bundler\"\nversion = \"{version}\"");
        assert!(
            lock.contains(&entry),
            "Cargo.lock has another tracel-llvm-bundler than {version}"
        );
    }
}
