//! Ctrl-C: the first press finishes the step, the second leaves at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::output::note;

/// Presses of Ctrl-C (and on Unix SIGTERM and SIGHUP) since it was installed.
///
/// A training loop asks [`Interrupt::requested`] between logical steps, never inside one: a step
/// that the ledger has reserved is finished, so that what was spent was also used.
#[derive(Clone, Debug)]
pub struct Interrupt {
    presses: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Takes over Ctrl-C for the rest of the process. `first_press` says what happens now.
    ///
    /// # Errors
    /// Where the system refuses, or a handler is installed already.
    pub fn install(first_press: &'static str) -> Result<Self, ctrlc::Error> {
        let interrupt = Self {
            presses: Arc::default(),
        };
        let presses = Arc::clone(&interrupt.presses);
        ctrlc::set_handler(move || match presses.fetch_add(1, Ordering::SeqCst) {
            0 => note!("\ndpcube: {first_press}; Ctrl-C again leaves at once"),
            // What was not checkpointed is lost; the ledger holds what was spent, as after a crash.
            _ => std::process::exit(130),
        })?;
        Ok(interrupt)
    }

    /// Whether to stop after this step.
    pub fn requested(&self) -> bool {
        self.presses.load(Ordering::SeqCst) > 0
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    /// The child half of the test below: runs until it is told to stop.
    #[test]
    #[ignore = "started by first_press_asks_and_second_leaves"]
    fn child() {
        let interrupt = Interrupt::install("finishing the step").unwrap();
        println!("ready");
        while !interrupt.requested() {
            std::thread::sleep(Duration::from_millis(5));
        }
        println!("asked");
        std::thread::sleep(Duration::from_secs(60));
    }

    #[test]
    fn first_press_asks_and_second_leaves() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "interrupt::tests::child",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut wait_for = |word: &str| {
            let mut line = String::new();
            while !line.contains(word) {
                line.clear();
                let read = std::io::BufRead::read_line(&mut output, &mut line).unwrap();
                assert!(read > 0, "the child ended before it said {word}");
            }
        };
        let press = |signal: &str| {
            let pid = child.id().to_string();
            assert!(
                Command::new("kill")
                    .args([signal, &pid])
                    .status()
                    .unwrap()
                    .success()
            );
        };
        wait_for("ready");
        press("-INT");
        wait_for("asked");
        let started = Instant::now();
        press("-TERM");
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(130));
        assert!(started.elapsed() < Duration::from_secs(30));
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(
            said.contains("finishing the step; Ctrl-C again leaves at once"),
            "{said}"
        );
    }
}
