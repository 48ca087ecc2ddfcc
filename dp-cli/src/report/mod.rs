//! The report: what privacy cost and what it bought, from a private and a non-private run.

mod console;
pub(crate) mod html;
pub(crate) mod number;
pub(crate) mod plot;
mod summary;

#[cfg(test)]
mod tests;

pub use summary::{
    CanaryResult, ClipPoint, DataSummary, EpsilonPoint, LossPoint, PrivacySummary, RunSummary,
    Setting,
};

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;

/// Two runs with the same settings, one private, and the guarantee of that one: `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The private run; its guarantee stands in `privacy`.
    pub private: RunSummary,
    /// The same training without clipping and noise.
    pub non_private: RunSummary,
    /// Median step time of the private run over that of the other.
    pub step_time_ratio: f64,
    /// The guarantee of the private run.
    pub privacy: PrivacySummary,
    /// The guarantee in words, a line each; what belongs to the line above is indented.
    pub statement: Vec<String>,
}

/// What the guarantee, which is the private run's, does not cover: half of this report. Its colon makes a heading of it on the page.
const UNCOVERED: &str = "Not for other eyes: the losses, completions, exposures and weights of the run without privacy were made of the same records without \
                         noise, and no epsilon covers them. Where records are about people, show this report and that model only to who may see the records; \
                         the statement is of the private run alone.";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The private run carries no guarantee.
    #[error("the run in place of the private one has no guarantee; train it without --non-private")]
    NotPrivate,
    /// The non-private run carries one.
    #[error("the run in place of the non-private one is private; train it with --non-private")]
    NotNonPrivate,
    /// The runs cannot be compared canary by canary.
    #[error("{private} canaries in the private run, {non_private} in the other; plant the same")]
    OtherCanaries {
        /// Canaries of the private run.
        private: usize,
        /// Canaries of the non-private run.
        non_private: usize,
    },
    /// A step time that no ratio can be taken of.
    #[error("a median step time of {seconds} seconds; a run must do at least one step")]
    NoStepTime {
        /// The time.
        seconds: f64,
    },
    /// A plot could not be drawn.
    #[error("a plot of the report could not be drawn: {0}")]
    Plot(String),
    /// The numbers could not be put into JSON.
    #[error("the report could not be put into JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A file could not be written.
    #[error("{path:?} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Report {
    /// The report of two runs.
    ///
    /// # Errors
    /// [`ReportError`] where the runs are not one private and one non-private run with the same
    /// canaries and at least one step.
    pub fn new(mut private: RunSummary, non_private: RunSummary) -> Result<Self, ReportError> {
        let privacy = private.privacy.take().ok_or(ReportError::NotPrivate)?;
        if non_private.privacy.is_some() {
            return Err(ReportError::NotNonPrivate);
        }
        let prompts = |run: &RunSummary| -> Vec<String> {
            run.canaries
                .iter()
                .map(|canary| canary.prompt.clone())
                .collect()
        };
        if prompts(&private) != prompts(&non_private) {
            return Err(ReportError::OtherCanaries {
                private: private.canaries.len(),
                non_private: non_private.canaries.len(),
            });
        }
        for seconds in [private.step_seconds, non_private.step_seconds] {
            if !(seconds > 0.0 && seconds.is_finite()) {
                return Err(ReportError::NoStepTime { seconds });
            }
        }
        Ok(Self {
            step_time_ratio: private.step_seconds / non_private.step_seconds,
            statement: std::iter::once(UNCOVERED)
                .chain(privacy.statement.to_string().lines())
                .map(str::to_owned)
                .collect(),
            private,
            non_private,
            privacy,
        })
    }

    /// Writes `report.json` and `report.html` into `folder`, each at once or not at all, and gives
    /// the path of the page.
    ///
    /// # Errors
    /// [`ReportError::Write`] names the file.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, ReportError> {
        let page = self.html()?;
        let json = serde_json::to_string_pretty(self)? + "\n";
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            match files::write_atomically(&path, text.as_bytes()) {
                Ok(()) => Ok(path),
                Err(source) => Err(ReportError::Write { path, source }),
            }
        };
        write("report.json", &json)?;
        write("report.html", &page)
    }

    /// The page: one file, no script, nothing fetched.
    ///
    /// # Errors
    /// [`ReportError::Plot`].
    pub fn html(&self) -> Result<String, ReportError> {
        html::page(self)
    }

    /// The same side by side as text, for the end of a run in a terminal.
    pub fn text(&self) -> String {
        console::text(self)
    }

    /// One sentence that says what happened to the canaries.
    fn verdict(&self) -> String {
        let count = self.private.canaries.len();
        if count == 0 {
            return "No canaries were planted, so nothing was measured of what the models recite."
                .into();
        }
        format!(
            "Without privacy the model recites {} of {count} planted codes; at epsilon {} it \
             recites {}.",
            self.non_private.recited(),
            number::upper(self.privacy.statement.upper),
            self.private.recited(),
        )
    }
}
