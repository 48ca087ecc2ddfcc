//! Timing launches: the device's own clock where the runtime has one, else the wall's.

use std::time::Instant;

use cubecl::benchmark::TimingMethod;

use crate::{Bench, BenchError};

/// Which clock times a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Time stamps of the device around the launches: what the host does meanwhile is not in them.
    Device,
    /// The host's clock around the launches and a wait for the device.
    Wall,
}

impl Clock {
    /// The device's, if the runtime has time stamps and a trial with `launch` gives one; else the wall's.
    ///
    /// # Errors
    /// What `launch` answers.
    pub fn of(
        bench: &Bench,
        launch: impl Fn() -> Result<(), BenchError>,
    ) -> Result<Self, BenchError> {
        if bench.client().properties().timing_method != TimingMethod::Device {
            return Ok(Self::Wall);
        }
        launch()?;
        bench.wait()?;
        Ok(match Self::Device.time(bench, &launch) {
            Ok(seconds) if seconds > 0.0 => Self::Device,
            _ => Self::Wall,
        })
    }

    /// The name that a row gives.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Wall => "wall",
        }
    }

    /// Seconds that the launches of `launch` take on an idle device.
    ///
    /// # Errors
    /// What `launch` answers, and what the device does.
    pub fn time(
        self,
        bench: &Bench,
        launch: impl FnOnce() -> Result<(), BenchError>,
    ) -> Result<f64, BenchError> {
        bench.wait()?;
        match self {
            Self::Wall => {
                let start = Instant::now();
                launch()?;
                bench.wait()?;
                Ok(start.elapsed().as_secs_f64())
            }
            Self::Device => {
                let client = bench.client();
                let window = client.profile_start().map_err(BenchError::device)?;
                if let Err(error) = launch() {
                    client.profile_abandon(window);
                    return Err(error);
                }
                let profile = client.profile_end(window).map_err(BenchError::device)?;
                cubecl::future::block_on(profile.resolve())
                    .map(|ticks| ticks.duration().as_secs_f64())
                    .ok_or_else(|| BenchError::Device("no time stamp".into()))
            }
        }
    }
}
