//! What the program says: answers on standard output, all else on standard error.

use std::fmt::Display;
use std::io::{self, Write};

/// A line of an answer on standard output, as `println!` takes it. One that can't be written, on a full disk for example, is an error; a reader that
/// closed the pipe, as `head` does, has seen enough.
macro_rules! say {
    ($($words:tt)*) => {
        crate::output::answer(format_args!("{}\n", format_args!($($words)*)))
    };
}

/// A line for whoever watches, on standard error, as `eprintln!` takes it. Nothing is lost where nobody reads it.
macro_rules! note {
    ($($words:tt)*) => {
        crate::output::remark(format_args!($($words)*))
    };
}

pub(crate) use {note, say};

/// Writes `words` to standard output.
///
/// # Errors
/// What the system says, but for a pipe that its reader closed.
pub fn answer(words: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{words}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Writes `words` and the end of the line to standard error.
pub fn remark(words: impl Display) {
    let _ = writeln!(io::stderr(), "{words}");
}
