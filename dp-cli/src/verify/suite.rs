//! Running the checks on one device.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dp_kernels::Backend;
use dp_kernels::conformance::{Bench, Check, Row};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One comparison, and the check that made it.
#[derive(Debug, Clone)]
pub struct Found {
    /// The check's name.
    pub check: &'static str,
    /// What it found.
    pub row: Row,
    /// Whether this says that the check stopped before it could compare, so that rows are missing.
    pub stopped: bool,
}

/// Every row of `checks` on `backend`, for every element type that the device has. A check that stops or panics is a
/// row that failed: the others still run.
pub fn run(backend: &Backend, checks: &[&'static Check], seed: u64) -> Vec<Found> {
    let benches: Vec<Bench> = Bench::every_input(backend)
        .into_iter()
        .map(|bench| bench.with_seed(seed))
        .collect();
    let bar = bar(backend.describe().backend, checks.len() as u64);
    let mut found = Vec::new();
    for check in checks {
        bar.set_message(check.name);
        found.extend(rows(check, &benches));
        bar.inc(1);
    }
    bar.finish_and_clear();
    found
}

fn rows(check: &Check, benches: &[Bench]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for bench in benches {
        let answer = catch_unwind(AssertUnwindSafe(|| (check.run)(bench)));
        let rows = match answer {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                found.push(stopped(check, bench, &error.to_string()));
                continue;
            }
            Err(panic) => {
                found.push(stopped(check, bench, &message(&*panic)));
                continue;
            }
        };
        if rows.is_empty() {
            found.push(stopped(check, bench, "it compared nothing"));
        }
        for row in rows {
            // What doesn't depend on the inputs' type comes again with each of them.
            if found.iter().all(|earlier| earlier.row != row) {
                found.push(Found {
                    check: check.name,
                    row,
                    stopped: false,
                });
            }
        }
    }
    found
}

fn stopped(check: &Check, bench: &Bench, why: &str) -> Found {
    let dtype = format!("{:?}", bench.input).to_lowercase();
    Found {
        check: check.name,
        row: Row::holds(check.name, dtype, "", Some(format!("stopped: {why}"))),
        stopped: true,
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// indicatif draws nothing where stderr is no terminal.
fn bar(device: &'static str, checks: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(checks), ProgressDrawTarget::stderr());
    let template = "{prefix} {bar:24} {pos}/{len} checks, {msg}";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_prefix(device);
    bar
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;
    use dp_kernels::conformance::{CheckError, Verdict};

    fn bench() -> Bench {
        Bench::new(dp_backend_cpu::open().unwrap())
    }

    /// A runtime that panics, a launcher that refuses and a check that compares nothing fail; none passes.
    #[test]
    fn a_check_that_gives_no_rows_fails() {
        type Run = fn(&Bench) -> Result<Vec<Row>, CheckError>;
        let run: [Run; 3] = [
            |_| panic!("the driver fell over"),
            |_| Err(CheckError::Device("lost".into())),
            |_| Ok(Vec::new()),
        ];
        for (run, why) in run
            .into_iter()
            .zip(["the driver fell over", "lost", "nothing"])
        {
            let rows = rows(&Check { name: "made", run }, &[bench()]);
            assert!(rows.len() == 1 && rows[0].stopped);
            assert!(
                matches!(&rows[0].row.verdict, Verdict::Fail(told) if told.contains(why)),
                "{rows:?}"
            );
        }
    }

    #[test]
    fn the_same_row_is_told_once() {
        let check = Check {
            name: "made",
            run: |bench| {
                Ok(vec![
                    Row::holds("same", "f32", "", None),
                    Row::holds("own", format!("{:?}", bench.input), "", None),
                ])
            },
        };
        let mut other = bench();
        other.input = Bench::every_input(&other.backend).pop().unwrap().input;
        let types = 1 + usize::from(other.input != bench().input);
        assert_eq!(rows(&check, &[bench(), other]).len(), 1 + types);
    }
}
