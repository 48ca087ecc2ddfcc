//! What the build and the tests need and cargo can't bring.

mod debian;
pub(crate) mod deny;
mod llvm;
mod nvrtc;
mod programs;
pub(crate) mod targets;
mod vulkan;
mod wheel;

use std::ffi::OsString;
use std::process::Command;

use crate::{Result, workspace};

/// What the set-up found: variables for the programs that are started next.
#[derive(Default)]
pub(crate) struct Environment {
    variables: Vec<(String, OsString)>,
}

impl Environment {
    fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.push((name.into(), value.into()));
    }

    /// Hands the variables to a command.
    pub(crate) fn apply<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)))
    }
}

/// What is needed to compile: a C++ compiler and LLVM.
pub(crate) fn for_building() -> Result<Environment> {
    programs::compiler()?;
    llvm::install()?;
    Ok(Environment::default())
}

/// What is needed to compile and to run on the CPU or a GPU.
pub(crate) fn for_running() -> Result<Environment> {
    let mut environment = for_building()?;
    if let Err(why) = vulkan::install() {
        println!("wgpu: not available: {why}");
    }
    runtime_folder(&mut environment)?;
    Ok(environment)
}

/// What is needed to compile, to run, to compile kernels for CUDA without a GPU, and dp-core for targets without std.
pub(crate) fn everything() -> Result<Environment> {
    let mut environment = for_running()?;
    targets::install();
    match nvrtc::install() {
        Ok(found) => nvrtc::describe(&found, &mut environment)?,
        Err(why) => println!("nvrtc: not available: {why}"),
    }
    Ok(environment)
}

/// Mesa wants a folder for run-time files and complains where the session has none.
fn runtime_folder(environment: &mut Environment) -> Result<()> {
    if std::env::var_os("XDG_RUNTIME_DIR").is_some() {
        return Ok(());
    }
    let folder = workspace::scratch()?.join("runtime");
    std::fs::create_dir_all(&folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
    }
    environment.set("XDG_RUNTIME_DIR", folder);
    Ok(())
}
