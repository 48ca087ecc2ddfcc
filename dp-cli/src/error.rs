//! How a command that failed says so: one line on stderr and an exit code.

use std::error::Error;
use std::process::ExitCode;

use crate::output::note;

/// Exit code of a command that did what was asked and found that something does not hold.
const UNMET: u8 = 1;
/// Exit code of a command that could not do what was asked.
const FAILED: u8 = 2;
/// Exit code of a command stopped by Ctrl-C: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

/// Why a command ends early. Every typed error becomes one by `?`.
///
/// It is no [`Error`] itself, so that the conversion from every error can exist.
#[derive(Debug)]
pub struct Failure {
    line: String,
    code: u8,
}

impl Failure {
    /// Something that a person must change; `message` names the value and the way out.
    pub fn new(message: impl AsRef<str>) -> Self {
        Self {
            line: format!("dpcube: error: {}", one_line(message.as_ref())),
            code: FAILED,
        }
    }

    /// What was asked is done, and the answer is no; `message` says what does not hold.
    pub fn unmet(message: impl AsRef<str>) -> Self {
        Self {
            line: format!("dpcube: {}", one_line(message.as_ref())),
            code: UNMET,
        }
    }

    /// Ctrl-C, after everything was saved; `message` says how to go on.
    pub fn interrupted(message: impl AsRef<str>) -> Self {
        Self {
            line: format!("dpcube: {}", one_line(message.as_ref())),
            code: INTERRUPTED,
        }
    }

    /// Writes the line to stderr and gives the exit code.
    pub fn report(self) -> ExitCode {
        note!("{}", self.line);
        ExitCode::from(self.code)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_says = cause.to_string();
            // Many errors already say what caused them.
            if !message.contains(&cause_says) {
                message.push_str(": ");
                message.push_str(&cause_says);
            }
            source = cause.source();
        }
        Self::new(message)
    }
}

/// Line ends and runs of blanks become one blank; other control characters are left out, so that
/// no file name can move the cursor.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .filter(|character| !character.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner\n  \u{1b}[2Jtells more")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("said already: {0}")]
    struct Says(#[source] std::num::ParseIntError);

    #[test]
    fn an_error_is_one_line_with_its_causes() {
        let failure = Failure::from(Outer(Inner));
        assert_eq!(failure.line, "dpcube: error: outer: inner [2Jtells more");
        assert_eq!(failure.code, 2);
        let said = Failure::from(Says("x".parse::<u8>().unwrap_err()));
        assert_eq!(
            said.line,
            "dpcube: error: said already: invalid digit found in string"
        );
    }

    #[test]
    fn an_interruption_is_no_error() {
        let failure = Failure::interrupted("stopped;\nresume with --resume");
        assert_eq!(failure.line, "dpcube: stopped; resume with --resume");
        assert_eq!(failure.code, 130);
    }
}
