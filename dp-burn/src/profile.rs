//! Where the time of a step goes, operation by operation.

use std::cell::RefCell;
use std::time::Instant;

/// One operation of a recorded step.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What was done: "linear forward", "linear norm", "weighted sum" and so on.
    pub name: &'static str,
    /// The extents of what it was done to.
    pub shape: Vec<usize>,
    /// From the end of the operation before it to its own end. What burn does between two operations of this
    /// crate (residual additions, reshapes) is in the later one.
    pub took: Timing,
}

/// Time that work took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Seconds by the clock on the wall.
    pub wall: f64,
    /// Seconds that the process's threads ran on a processor, all of them together, where the system tells (Linux). On a
    /// machine that others use too it is the fairer of the two for work on the processor; a GPU's work is not in it.
    pub processor: Option<f64>,
}

/// A point in time to measure from.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    wall: Instant,
    processor: Option<f64>,
}

impl Start {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            processor: processor_seconds(),
            wall: Instant::now(),
        }
    }

    /// Time since then.
    #[must_use]
    pub fn elapsed(&self) -> Timing {
        let wall = self.wall.elapsed().as_secs_f64();
        let now = processor_seconds();
        Timing {
            wall,
            processor: self.processor.zip(now).map(|(then, now)| now - then),
        }
    }
}

/// What the threads of this process have run, in seconds; the system counts nanoseconds.
fn processor_seconds() -> Option<f64> {
    let mut nanoseconds = 0u64;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let path = task.ok()?.path().join("schedstat");
        // A thread may have ended since the folder was read.
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 / 1e9)
}

struct Recorder {
    last: Start,
    spans: Vec<Span>,
}

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// Runs `work`, and says how long each operation of this crate took in it.
///
/// Every operation is waited for while this records, on a GPU too, so the sum is more than an ordinary step takes
/// there. On the CPU runtime every operation is waited for anyway. Of this thread only; a recording in a recording
/// replaces it.
pub fn record<T>(work: impl FnOnce() -> T) -> (T, Vec<Span>) {
    RECORDER.set(Some(Recorder {
        last: Start::now(),
        spans: Vec::new(),
    }));
    let done = work();
    let recorder = RECORDER.take();
    (done, recorder.map_or_else(Vec::new, |r| r.spans))
}

/// Whether this thread is recording.
pub(crate) fn is_on() -> bool {
    RECORDER.with_borrow(Option::is_some)
}

/// Notes that an operation has ended.
pub(crate) fn mark(name: &'static str, shape: &[usize]) {
    RECORDER.with_borrow_mut(|recorder| {
        let Some(recorder) = recorder else { return };
        recorder.spans.push(Span {
            name,
            shape: shape.to_vec(),
            took: recorder.last.elapsed(),
        });
        recorder.last = Start::now();
    });
}
