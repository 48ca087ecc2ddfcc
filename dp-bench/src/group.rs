//! What is measured together: launches over the same buffers.

use crate::{Bench, BenchError};

/// The least that a launch has to move and to compute; what a rate and a share of a ceiling are counted with.
///
/// Bytes: every input read once and every output written once (and read once where the launch adds into it), whatever
/// the kernel reads again. FLOP: the multiplications and additions of the formula that the launch is named after,
/// symmetry used where the formula has it; none for the rounds of a generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bytes.
    pub bytes: u64,
    /// Multiplications and additions.
    pub flop: u64,
    /// Whether they are of 16-bit inputs that a GPU's matrix units multiply: then it is their rate that bounds the time.
    pub half: bool,
}

/// One launch that is timed.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// The launcher, and its variant where it has some.
    pub name: String,
    /// What it has to do.
    pub cost: Cost,
    /// The op of the same group that does the same without privacy.
    pub without_privacy: Option<usize>,
}

impl Op {
    /// An op of its own.
    pub fn new(name: impl Into<String>, bytes: u64, flop: u64) -> Self {
        Self {
            name: name.into(),
            cost: Cost {
                bytes,
                flop,
                half: false,
            },
            without_privacy: None,
        }
    }

    /// The same with inputs that matrix units multiply, where `half` says so.
    pub(crate) fn of_halves(mut self, half: bool) -> Self {
        self.cost.half = half;
        self
    }
}

/// A layer's whole part of a step, privately and not: sums of times of the group's ops.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The row's name.
    pub name: String,
    /// What a private step launches.
    pub private: Vec<Pick>,
    /// What a step without privacy launches.
    pub plain: Vec<usize>,
}

/// A part of a private step.
#[derive(Debug, Clone, PartialEq)]
pub enum Pick {
    /// This op.
    One(usize),
    /// The fastest of these, by the median: what a planner that knows the device takes.
    Fastest(Vec<usize>),
}

/// What a launch gave against what it should.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The largest error, in the unit of `budget`.
    pub error: f64,
    /// The largest allowed.
    pub budget: f64,
    /// What was compared with what.
    pub what: String,
}

impl Check {
    pub(crate) fn new(error: f64, budget: f64, what: impl Into<String>) -> Self {
        Self {
            error,
            budget,
            what: what.into(),
        }
    }

    /// Whether the error is within the budget; NaN is not.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.error <= self.budget
    }
}

/// Which row of which model.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The model, or what stands for none.
    pub model: String,
    /// The layer.
    pub layer: String,
    /// Element type of what differs per example.
    pub dtype: &'static str,
    /// The shape, in words.
    pub shape: String,
    /// Examples; 0 where there are none.
    pub b: u64,
    /// Tokens or positions; 0 where there are none.
    pub t: u64,
    /// How often the model has this layer; 0 where it is none of a model's.
    pub count: u64,
}

impl Place {
    /// The words that `--filter` looks at.
    #[must_use]
    pub fn words(&self, op: &str) -> String {
        let Self {
            model,
            layer,
            dtype,
            shape,
            ..
        } = self;
        format!("{op} {model} {layer} {dtype} {shape}")
    }
}

/// Launches over the same buffers, at one shape.
pub trait Group {
    /// Where it belongs.
    fn place(&self) -> &Place;
    /// What is timed, in turn.
    fn ops(&self) -> Vec<Op>;
    /// Rows made of these.
    fn pairs(&self) -> Vec<Pair> {
        Vec::new()
    }
    /// Elements and bytes of each buffer of one set.
    fn buffers(&self) -> Vec<Buffer>;
    /// Whether a launch waits for the device itself, over the one set of buffers that there is: whole steps do. They are
    /// timed by the wall's clock.
    fn waits_itself(&self) -> bool {
        false
    }
    /// Makes `sets` sets of buffers, all of the same content.
    ///
    /// # Errors
    /// [`BenchError`] where the device fails.
    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError>;
}

/// One buffer's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Elements.
    pub elements: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Buffer {
    pub(crate) fn of(extents: &[u64], width: u64) -> Self {
        let elements = extents
            .iter()
            .fold(1u64, |product, extent| product.saturating_mul(*extent));
        Self {
            elements,
            bytes: elements.saturating_mul(width),
        }
    }
}

/// A group on a device.
pub trait Built {
    /// Launches op number `op` once on the first set, and compares. Called before any other launch of this op.
    ///
    /// # Errors
    /// [`BenchError`] where nothing could be compared.
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError>;
    /// Launches op number `op` on set number `set`.
    ///
    /// # Errors
    /// What the launcher refuses.
    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError>;
}
