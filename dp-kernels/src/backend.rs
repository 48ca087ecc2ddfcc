//! An opened device, as the backend crates hand it out.

use crate::caps::computes_with;
use crate::{Capabilities, Launch, Tuning};
use core::fmt;
use cubecl::{client::Client, ir::FloatKind};

/// A device that is open: where to launch, how to cut the work, what it is.
#[derive(Clone)]
pub struct Backend {
    /// Where the launchers enqueue.
    pub client: Client,
    /// Launch parameters for this device.
    pub tuning: Tuning,
    description: Description,
}

impl Backend {
    /// Describes the device behind `client`. `backend` is the runtime's name, `driver` what a report
    /// should say about the software under it.
    #[must_use]
    pub fn new(backend: &'static str, driver: String, client: Client) -> Self {
        let description = Description::read(backend, driver, &client);
        Self {
            tuning: Tuning::for_client(&client),
            client,
            description,
        }
    }

    /// What a launcher is handed first, without a workspace.
    #[must_use]
    pub fn launch(&self) -> Launch<'_> {
        Launch::new(&self.client, &self.tuning)
    }

    /// What the device is and can do.
    #[must_use]
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// What the launchers take on this device; nothing is launched to find out.
    #[must_use]
    pub fn caps(&self) -> Capabilities {
        Capabilities::of(&self.client)
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("description", &self.description)
            .field("tuning", &self.tuning)
            .finish_non_exhaustive()
    }
}

/// What a device is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// The runtime: "cpu", "wgpu", "cuda".
    pub backend: &'static str,
    /// The device's own name.
    pub device: String,
    /// Driver or compiler under it.
    pub driver: String,
    /// The most units in one cube.
    pub units: u32,
    /// Units that run in lockstep, least and most.
    pub plane: (u32, u32),
    /// Multiprocessors of a GPU or threads of a processor, where the runtime tells.
    pub parallel: Option<u32>,
    /// Memory, in bytes, where the runtime tells.
    pub memory: Option<u64>,
    /// Float types that kernels may read, convert and compute with.
    pub types: Vec<&'static str>,
}

impl Description {
    fn read(backend: &'static str, driver: String, client: &Client) -> Self {
        let properties = client.properties();
        let hardware = &properties.hardware;
        let types = [
            ("f16", FloatKind::F16),
            ("bf16", FloatKind::BF16),
            ("f32", FloatKind::F32),
            ("f64", FloatKind::F64),
        ];
        Self {
            backend,
            device: properties.identity.name.clone(),
            driver,
            units: hardware.max_units_per_cube,
            plane: (hardware.plane_size_min, hardware.plane_size_max),
            parallel: hardware
                .num_streaming_multiprocessors
                .or(hardware.num_cpu_cores),
            memory: properties.memory.max_memory(),
            types: types
                .into_iter()
                .filter(|(_, kind)| computes_with(client, *kind))
                .map(|(name, _)| name)
                .collect(),
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} ({}), {} units a cube, plane {}",
            self.backend, self.device, self.driver, self.units, self.plane.0
        )?;
        if self.plane.1 != self.plane.0 {
            write!(f, " to {}", self.plane.1)?;
        }
        write!(f, ", {}", self.types.join(" "))
    }
}

/// A device that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// There is no such device on this machine.
    #[error("no {} device: {reason}", in_prose(backend))]
    NoDevice {
        /// The runtime.
        backend: &'static str,
        /// What was looked for and not found.
        reason: String,
    },
    /// There is one, but the runtime failed to start on it.
    #[error("the {} device failed to start: {reason}", in_prose(backend))]
    Failed {
        /// The runtime.
        backend: &'static str,
        /// What the runtime said.
        reason: String,
    },
}

/// A runtime's name as a sentence has it.
fn in_prose(backend: &str) -> &str {
    match backend {
        "cuda" => "CUDA",
        "cpu" => "CPU",
        other => other,
    }
}
