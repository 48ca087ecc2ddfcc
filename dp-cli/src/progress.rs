//! Progress of a training run: steps, tokens per second, epsilon spent, time left.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::note;

/// How often a line is written where stderr is not a terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// A bar on a terminal; elsewhere a plain line now and then, so that a log stays short.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    name: String,
    steps: u64,
    /// Steps that an earlier process did.
    before: u64,
    started: Instant,
    line_due: Instant,
    tokens: u64,
}

impl Progress {
    /// Progress of the run `name` with `steps` steps, of which `done` were done before.
    pub fn new(name: &str, steps: u64, done: u64) -> Self {
        let bar = stderr().is_terminal().then(|| bar(name, steps, done));
        let now = Instant::now();
        Self {
            bar,
            name: name.into(),
            steps,
            before: done,
            started: now,
            line_due: now,
            tokens: 0,
        }
    }

    /// `step` steps are done; the last one trained on `tokens` tokens. `epsilon` is what is spent
    /// so far, `None` without privacy; `clip` the clipping norm, where it moves.
    pub fn step(&mut self, step: u64, tokens: u64, epsilon: Option<f64>, clip: Option<f64>) {
        self.tokens += tokens;
        let text = self.text(step, self.started.elapsed(), epsilon, clip);
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(text);
        } else if Instant::now() >= self.line_due || step == self.steps {
            self.line_due = Instant::now() + BETWEEN_LINES;
            note!("{}: step {step} of {}, {text}", self.name, self.steps);
        }
    }

    /// Writes a line without disturbing the bar.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note!("{line}")),
            None => note!("{line}"),
        }
    }

    /// Takes the bar away, its last state left standing.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.abandon();
        }
    }

    fn text(
        &self,
        step: u64,
        elapsed: Duration,
        epsilon: Option<f64>,
        clip: Option<f64>,
    ) -> String {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let rate = self.tokens as f64 / seconds;
        let here = step.saturating_sub(self.before).max(1);
        let left = self.steps.saturating_sub(step) as f64 * seconds / here as f64;
        let epsilon = match epsilon {
            // Rounded up: what is spent must not look less than it is.
            Some(epsilon) => format!("epsilon {:.2}, ", (epsilon * 100.0).ceil() / 100.0),
            None => String::new(),
        };
        let clip = clip.map_or(String::new(), |clip| format!("clip {clip:.3e}, "));
        format!("{rate:.0} tokens/s, {epsilon}{clip}{} left", clock(left))
    }
}

fn bar(name: &str, steps: u64, done: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
    let template = "{prefix} {bar:24} {pos}/{len} steps, {msg}";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_prefix(name.to_owned());
    bar.set_position(done);
    bar
}

/// Seconds as `m:ss` or `h:mm:ss`, rounded up.
fn clock(seconds: f64) -> String {
    let seconds = seconds.ceil().min(359_999.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_clocks() {
        let clocks = [0.0, 0.2, 59.5, 61.0, 3599.1, 3661.0, 1e12].map(clock);
        assert_eq!(
            clocks,
            [
                "0:00", "0:01", "1:00", "1:01", "1:00:00", "1:01:01", "99:59:59"
            ]
        );
    }

    /// Rates are those of this process: steps before a resume cost it nothing.
    #[test]
    fn the_rate_and_time_left_are_of_this_process() {
        let mut progress = Progress::new("private", 100, 40);
        progress.bar = None;
        progress.step(41, 600, Some(1.0), None);
        progress.step(50, 5400, Some(1.0), None);
        let text = |epsilon, clip| progress.text(50, Duration::from_secs(20), epsilon, clip);
        assert_eq!(
            text(Some(3.211), None),
            "300 tokens/s, epsilon 3.22, 1:40 left"
        );
        assert_eq!(text(None, None), "300 tokens/s, 1:40 left");
        let moving = text(Some(3.211), Some(0.083_251));
        assert_eq!(
            moving,
            "300 tokens/s, epsilon 3.22, clip 8.325e-2, 1:40 left"
        );
        assert!(
            progress
                .text(40, Duration::ZERO, None, None)
                .ends_with("0:01 left")
        );
    }
}
