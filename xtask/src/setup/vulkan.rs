//! A Vulkan driver for wgpu: any that is there, or Mesa's software driver.

use std::path::{Path, PathBuf};

use super::debian;
use crate::Result;

const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

/// Where the Vulkan loader looks for driver manifests on Linux, beside the variables.
const MANIFESTS: [&str; 3] = [
    "/etc/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/usr/share/vulkan/icd.d",
];

/// Where distributions put the loader itself.
const LOADERS: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
];

/// Installs a driver where there is none; says why not where it can't.
pub(super) fn install() -> Result<()> {
    if !cfg!(target_os = "linux") || (has_driver() && has_loader()) {
        return Ok(());
    }
    debian::install(&PACKAGES).map_err(|error| format!("no Vulkan driver: {error}"))?;
    if !(has_driver() && has_loader()) {
        let why = "a Vulkan driver is installed, but the loader will not find it: do \
                   VK_DRIVER_FILES or VK_ICD_FILENAMES name files that are not there?";
        return Err(why.into());
    }
    println!("wgpu: installed {}", PACKAGES.join(" and "));
    Ok(())
}

fn has_driver() -> bool {
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]
        .iter()
        .find_map(std::env::var_os);
    match named {
        Some(paths) => std::env::split_paths(&paths).any(|path| path.exists()),
        None => MANIFESTS
            .iter()
            .any(|folder| has_manifest(Path::new(folder))),
    }
}

fn has_manifest(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.path().extension().is_some_and(|kind| kind == "json"))
}

fn has_loader() -> bool {
    let searched = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    std::env::split_paths(&searched)
        .chain(LOADERS.iter().map(PathBuf::from))
        .any(|folder| folder.join("libvulkan.so.1").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_a_json_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_manifest(folder.path()));
        assert!(!has_manifest(&folder.path().join("absent")));
        std::fs::write(folder.path().join("README.txt"), "").unwrap();
        assert!(!has_manifest(folder.path()));
        std::fs::write(folder.path().join("lvp_icd.x86_64.json"), "{}").unwrap();
        assert!(has_manifest(folder.path()));
    }
}
