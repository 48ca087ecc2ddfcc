//! The exact engine: closed forms where there are any, the contour integral elsewhere.

mod above;
mod ceiling;
mod chernoff;
mod contour;
mod cumulants;
mod density;
mod envelope;
mod fallback;
mod fill;
mod kernel;
mod laplace;
mod line;
mod nodes;
mod panel;
mod saddle;
mod search;
mod smoothing;
mod split;
mod summary;
mod turned;
mod walk;

pub use contour::Mark;
pub use nodes::Node;
use search::Memory;
use summary::{Sum, Summary, summarise};

use super::hockey::{hockey, one_epsilon};
use super::invert::{Point, invert};
use super::law::{DIRECTIONS, Direction, Law};
use super::normal::{ln_delta, ln_delta_error};
use super::{Accountant, AccountingError, Bounds, Event, Pld, Run};

/// Largest epsilon that is answered.
const MAX_EPSILON: f64 = 1e9;

/// Memory of the exact engine: `NODES` points of the events' laws, `POINTS` points of the contour.
///
/// A run with a few hundred steps that matter needs about 300 nodes and 100 points. Fewer
/// steps at smaller rates need more of both; what does not fit is answered with wider bounds, or with
/// [`AccountingError::WorkspaceTooSmall`]. [`epsilon`](fn@epsilon) and [`delta`](fn@delta) bring their own.
///
/// Size in bytes: `40 NODES + 96 POINTS`.
///
/// ```
/// use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
/// let mut workspace = Workspace::<1024, 512>::new();
/// let step = Event::PoissonGaussian { rate: 0.01, sigma: 1.0 };
/// let events = [(step, 10_000)];
/// let spent = Exact::new(&mut workspace).epsilon(Run::add_remove(&events), 1e-6)?;
/// assert!(spent.upper < 6.907_385 && spent.relative_width() < 1e-6);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Workspace<const NODES: usize = 8192, const POINTS: usize = 4096> {
    nodes: [Node; NODES],
    marks: [Mark; POINTS],
}

impl<const NODES: usize, const POINTS: usize> Workspace<NODES, POINTS> {
    /// An empty workspace; it may be a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            nodes: [Node::EMPTY; NODES],
            marks: [Mark::EMPTY; POINTS],
        }
    }
}

impl<const NODES: usize, const POINTS: usize> Default for Workspace<NODES, POINTS> {
    fn default() -> Self {
        Self::new()
    }
}

/// The exact accountant, in memory that the caller lends.
///
/// # Privacy
/// `upper` is a promise, [`Accountant`] says under which relation.
///
/// # Precision
/// Relative width of a bound usually 1e-13 for Gaussian runs, 1e-11 otherwise, 1e-8 where steps rarely matter, 1e-6 to 1 where the loss
/// is nearly discrete (a handful of steps at a small rate); docs/accounting.md derives the terms.
///
/// # References
/// Zhu, Dong, Wang, arXiv:2106.08567 (characteristic functions); Balle, Wang, arXiv:1805.06530
/// (analytic Gaussian).
#[derive(Debug)]
pub struct Exact<'w> {
    nodes: &'w mut [Node],
    marks: &'w mut [Mark],
    second: Option<Pld<'w>>,
    source: Source,
}

/// Which engine an answer of [`Exact`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Closed forms or the contour alone.
    Contour,
    /// The privacy loss distribution alone: the contour has no bound for this run.
    Pld,
    /// Both have bounds, and the answer lies in both.
    Both,
}

impl<'w> Exact<'w> {
    /// An accountant that works in the given memory.
    pub fn new<const NODES: usize, const POINTS: usize>(
        workspace: &'w mut Workspace<NODES, POINTS>,
    ) -> Self {
        Self::in_slices(&mut workspace.nodes, &mut workspace.marks)
    }

    /// The same in two slices, for whoever has a heap and a small stack: `vec![LawNode::EMPTY; 8192]` and
    /// `vec![ContourMark::EMPTY; 4096]` are what [`Workspace`] has by default.
    pub fn in_slices(nodes: &'w mut [Node], marks: &'w mut [Mark]) -> Self {
        Self {
            nodes,
            marks,
            second: None,
            source: Source::Contour,
        }
    }

    /// The same, asking `pld` too where the contour has no bound, or one wider than 1e-7.
    #[must_use]
    pub fn with_pld(mut self, pld: Pld<'w>) -> Self {
        self.second = Some(pld);
        self
    }

    /// Which engine the last answer came from.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// Bounds that hold by both engines.
    fn completed(
        &mut self,
        first: Result<Bounds, AccountingError>,
        query: impl FnOnce(&mut Pld<'w>) -> Result<Bounds, AccountingError>,
    ) -> Result<Bounds, AccountingError> {
        self.source = Source::Contour;
        let Some(pld) = &mut self.second else {
            return first;
        };
        match first {
            Ok(bounds) if bounds.upper == 0.0 || bounds.relative_width() <= NARROW => first,
            Ok(bounds) => match query(pld) {
                Ok(other) => {
                    self.source = Source::Both;
                    Ok(bounds.and(other))
                }
                Err(_) => first,
            },
            Err(
                AccountingError::NotConverged { .. }
                | AccountingError::WorkspaceTooSmall { .. }
                | AccountingError::UndefinedEngine
                | AccountingError::OutOfRange { .. },
            ) => match query(pld) {
                Ok(other) => {
                    self.source = Source::Pld;
                    Ok(other)
                }
                // The first engine's reason says more.
                Err(_) => first,
            },
            refused => refused,
        }
    }

    fn memory(&mut self) -> Memory<'_> {
        Memory {
            nodes: self.nodes,
            marks: self.marks,
        }
    }
}

impl Exact<'_> {
    fn contour_delta(&mut self, run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
        if !(0.0..=MAX_EPSILON).contains(&epsilon) {
            return Err(AccountingError::InvalidEpsilon { epsilon });
        }
        let Sum {
            summary,
            infinite,
            dominated,
        } = summarise(run)?;
        let finite = match summary {
            Summary::Nothing => Bounds::ZERO,
            Summary::Gaussian { mu } => gaussian(epsilon, mu).bounds(),
            Summary::Single(law) => {
                let mut worst = Bounds::ZERO;
                for direction in DIRECTIONS {
                    worst = worst.max(hockey(&law, direction, epsilon)?.bounds());
                }
                worst
            }
            Summary::Laplace(steps) => steps.at(epsilon).bounds(),
            Summary::Mixed(parts, kernel) => self.memory().delta(parts, kernel, epsilon)?,
        };
        let all = infinite.add_to(finite);
        if dominated {
            return largest_alone(run, all.upper, |law, direction| {
                hockey(law, direction, epsilon).map(|point| point.bounds().lower)
            });
        }
        all.checked()
    }

    fn contour_epsilon(&mut self, run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
        if !(delta > 0.0 && delta < 1.0) {
            return Err(AccountingError::InvalidDelta { delta });
        }
        let Sum {
            summary,
            infinite,
            dominated,
        } = summarise(run)?;
        let (low, high) = infinite.left_of(delta)?;
        let upper = self.finite_epsilon(&summary, libm::log(low))?;
        if dominated {
            return largest_alone(run, upper.upper, |law, direction| {
                one_epsilon(law, direction, libm::log(delta)).map(|bounds| bounds.lower)
            });
        }
        if low == high {
            return upper.checked();
        }
        let lower = self.finite_epsilon(&summary, libm::log(high))?;
        let both = Bounds {
            lower: lower.lower,
            ..upper
        };
        both.checked()
    }
}

/// Bounds with that upper one; the lower one is what one event alone leaks.
fn largest_alone(
    run: Run<'_>,
    upper: f64,
    lower: impl Fn(&Law, Direction) -> Result<f64, AccountingError>,
) -> Result<Bounds, AccountingError> {
    let mut largest = 0.0f64;
    for &(event, count) in run.events {
        if count > 0 {
            let law = event.law(run.adjacency)?;
            for direction in DIRECTIONS {
                largest = largest.max(lower(&law, direction)?);
            }
        }
    }
    let bounds = Bounds {
        lower: largest.min(upper),
        estimate: upper,
        upper,
    };
    bounds.checked()
}

impl Accountant for Exact<'_> {
    fn delta(&mut self, run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
        let first = self.contour_delta(run, epsilon);
        self.completed(first, |pld| pld.delta(run, epsilon))
    }

    fn epsilon(&mut self, run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
        let first = self.contour_epsilon(run, delta);
        self.completed(first, |pld| pld.epsilon(run, delta))
    }
}

impl Exact<'_> {
    fn finite_epsilon(
        &mut self,
        summary: &Summary<'_>,
        ln_target: f64,
    ) -> Result<Bounds, AccountingError> {
        match summary {
            Summary::Nothing => Ok(Bounds::ZERO),
            Summary::Gaussian { mu } => {
                let depth = libm::sqrt(-2.0 * ln_target);
                invert(
                    |e| Ok(gaussian(e, *mu)),
                    ln_target,
                    0.0,
                    -(1.0 + depth) / mu,
                )
            }
            Summary::Single(law) => {
                let mut worst = Bounds::ZERO;
                for direction in DIRECTIONS {
                    worst = worst.max(one_epsilon(law, direction, ln_target)?);
                }
                Ok(worst)
            }
            Summary::Laplace(steps) => invert(|e| Ok(steps.at(e)), ln_target, 0.0, -1.0 / steps.mu),
            Summary::Mixed(parts, kernel) => self.memory().epsilon(*parts, *kernel, ln_target),
        }
    }
}

/// The smallest delta for which the composed events are (`epsilon`, delta)-differentially private, under add/remove
/// adjacency.
///
/// `events` lists each event with how often it happens; neither the order nor the split of the
/// counts matters, and the time does not grow with them. [`Exact`] answers for other relations and in
/// memory of the caller's; here the stack is used, 65 KB of it, or 720 KB where that is too little.
///
/// # Privacy
/// Add/remove adjacency, the worse direction; events may be chosen adaptively, their parameters not.
///
/// # Precision
/// `upper` is never below the truth; see [`Exact`].
///
/// # Errors
/// A value outside its domain, or [`AccountingError::NotConverged`] where the law of the loss is
/// too nearly discrete for the integral.
///
/// ```
/// use dp_core::accounting::{Event, delta};
/// let step = Event::PoissonGaussian { rate: 0.01, sigma: 1.0 };
/// let spent = delta(&[(step, 10_000)], 5.0)?;
/// assert!(spent.lower <= 2.779296219814754e-4 && 2.779296219814754e-4 <= spent.upper);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn delta(events: &[(Event, u64)], epsilon: f64) -> Result<Bounds, AccountingError> {
    on_stack(|exact| exact.delta(Run::add_remove(events), epsilon))
}

/// The smallest epsilon for which the composed events are (epsilon, `delta`)-differentially private, under add/remove
/// adjacency.
///
/// # Privacy
/// Add/remove adjacency, the worse direction, as [`delta`](fn@delta). Promise `upper`.
///
/// # Precision
/// `upper` is never below the truth; see [`Exact`].
///
/// # Errors
/// As [`delta`](fn@delta); `delta` itself must be in (0, 1).
///
/// ```
/// use dp_core::accounting::{Event, epsilon};
/// let step = Event::Gaussian { sigma: 4.0 };
/// let spent = epsilon(&[(step, 100)], 1e-9)?;
/// assert!((spent.upper / 17.611019269381757 - 1.0).abs() < 1e-10);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn epsilon(events: &[(Event, u64)], delta: f64) -> Result<Bounds, AccountingError> {
    on_stack(|exact| exact.epsilon(Run::add_remove(events), delta))
}

/// Width above which an answer is tried again with more memory, or by another engine.
const NARROW: f64 = 1e-7;

/// Asks an engine with a small workspace, and one with a large one where that did not do.
pub(super) fn on_stack(
    query: impl Fn(&mut Exact<'_>) -> Result<Bounds, AccountingError>,
) -> Result<Bounds, AccountingError> {
    let first = small(&query);
    match first {
        Ok(bounds) if bounds.relative_width() <= NARROW || bounds.upper == 0.0 => first,
        Ok(_)
        | Err(AccountingError::NotConverged { .. } | AccountingError::WorkspaceTooSmall { .. }) => {
            match (first, large(&query)) {
                (Ok(a), Ok(b)) if b.upper - b.lower <= a.upper - a.lower => Ok(b),
                (Ok(a), _) => Ok(a),
                (Err(_), second) => second,
            }
        }
        refused => refused,
    }
}

// Apart from each other, so that the large frame is only there where it is needed.
#[inline(never)]
fn small(
    query: &impl Fn(&mut Exact<'_>) -> Result<Bounds, AccountingError>,
) -> Result<Bounds, AccountingError> {
    query(&mut Exact::new(&mut Workspace::<1024, 256>::new()))
}

#[inline(never)]
fn large(
    query: &impl Fn(&mut Exact<'_>) -> Result<Bounds, AccountingError>,
) -> Result<Bounds, AccountingError> {
    query(&mut Exact::new(&mut Workspace::<8192, 4096>::new()))
}

fn gaussian(epsilon: f64, mu: f64) -> Point {
    Point {
        ln_delta: ln_delta(epsilon, mu),
        error: ln_delta_error(epsilon, mu),
    }
}
