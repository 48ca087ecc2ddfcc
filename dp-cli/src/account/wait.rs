//! A progress bar for what takes more than a second.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

/// How long a person waits without a sign.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts parts that are done; shows a bar on a terminal once a second has passed.
pub struct Wait {
    parts: u64,
    done: u64,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Wait {
    pub fn new(parts: u64) -> Self {
        Self {
            parts,
            done: 0,
            started: Instant::now(),
            bar: None,
        }
    }

    /// One more part is done.
    pub fn step(&mut self) {
        self.done += 1;
        if self.bar.is_none() && self.started.elapsed() > PATIENCE {
            // indicatif draws on stderr, and nothing where that is no terminal.
            self.bar = Some(ProgressBar::new(self.parts));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
