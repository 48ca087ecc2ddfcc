//! Looking on: the bar, the file, what was told.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use dp_bench::{Line, Watch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::note;

/// How often a line is written where stderr is not a terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(20);

/// Writes each line to the file at once, so that a run that is killed has lost none, and keeps them for the report.
pub struct Watcher<'a> {
    file: File,
    /// The first line that could not be written.
    failed: Option<io::Error>,
    lines: Vec<Line>,
    bar: ProgressBar,
    line_due: Cell<Instant>,
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Watcher<'a> {
    /// Writes to `file`; `stop` says when to end.
    pub fn new(file: File, stop: &'a dyn Fn() -> bool) -> Self {
        // indicatif draws nothing where stderr is no terminal.
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template = "{bar:24} {pos}/{len} groups, {msg}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self {
            file,
            failed: None,
            lines: Vec::new(),
            bar,
            line_due: Cell::new(Instant::now()),
            stop,
        }
    }

    /// Takes the bar away and gives the lines.
    ///
    /// # Errors
    /// The first line that could not be written.
    pub fn finish(self) -> io::Result<Vec<Line>> {
        self.bar.finish_and_clear();
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.lines),
        }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let text = serde_json::to_string(line)? + "\n";
        self.file.write_all(text.as_bytes())
    }
}

impl Watch for Watcher<'_> {
    fn group(&self, index: usize, of: usize, words: &str) {
        self.bar.set_length(of as u64);
        self.bar.set_position(index as u64);
        self.bar.set_message(words.to_owned());
        if !stderr().is_terminal() && Instant::now() >= self.line_due.get() {
            self.line_due.set(Instant::now() + BETWEEN_LINES);
            note!("group {} of {of}: {words}", index + 1);
        }
    }

    fn line(&mut self, line: &Line) {
        if self.failed.is_none() {
            self.failed = self.write(line).err();
        }
        self.lines.push(line.clone());
    }

    /// A file that can't be written ends the run too: what is measured would be lost.
    fn stop(&self) -> bool {
        self.failed.is_some() || (self.stop)()
    }
}
