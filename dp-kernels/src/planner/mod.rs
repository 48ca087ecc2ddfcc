//! Which way takes a Linear's norm, and whether its examples' gradients are kept, by ceilings measured on the device.

mod ceilings;

pub use ceilings::{CeilingError, Ceilings, Rates};

use crate::LinearNorm;
use core::fmt;

/// One layer's part of a microbatch: what a choice depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayerShape {
    /// Examples of a microbatch, B.
    pub examples: usize,
    /// Tokens of an example, T.
    pub tokens: usize,
    /// Width of the input A, d.
    pub inputs: usize,
    /// Width of the output's gradient G, p.
    pub outputs: usize,
    /// Bytes of one element of A and G: 4 for f32, 2 for f16 and bf16, 8 for f64 (the ceilings are those of f32 even so).
    pub element_bytes: usize,
}

impl LayerShape {
    /// FLOP of the product `A_b^T G_b` of every example.
    fn product_flop(&self) -> f64 {
        let [b, t, d, p, _] = self.extents();
        2.0 * b * t * d * p
    }

    /// FLOP of the Gram way, by symmetry.
    fn gram_flop(&self) -> f64 {
        let [b, t, d, p, _] = self.extents();
        b * t * t * (d + p)
    }

    /// Bytes of A and G.
    fn read_bytes(&self) -> f64 {
        let [b, t, d, p, bytes] = self.extents();
        b * t * (d + p) * bytes
    }

    /// Bytes of every example's weight gradient, as [`keep_linear_gradients`](crate::keep_linear_gradients) writes them.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        [self.examples, self.inputs, self.outputs, self.element_bytes]
            .into_iter()
            .fold(1, |all, extent| all.saturating_mul(extent as u64))
    }

    /// In f64 from the start: the products of large shapes pass usize.
    fn extents(&self) -> [f64; 5] {
        [
            self.examples,
            self.tokens,
            self.inputs,
            self.outputs,
            self.element_bytes,
        ]
        .map(|extent| extent as f64)
    }
}

/// Chooses how each Linear's norm is taken, and whose examples' gradients are kept.
///
/// All ways give the same number to rounding ([`LinearNorm`], [`keep_linear_gradients`](crate::keep_linear_gradients)), and the same guarantee under the
/// assumption that all rest on, that an example's tokens cancel no further than the `cancellation` that was charged (docs/proofs/sensitivity.md). Beyond it
/// they differ: the Gram way has a floor under what it reports and is still an upper bound, where the others report what is left.
///
/// # Example
/// ```
/// use dp_kernels::{Ceilings, LayerShape, LinearNorm, Planner, Rates};
///
/// let ceilings = Ceilings::new(Rates {
///     read_bytes: 20e9,
///     keep_bytes: 10e9,
///     gram_flop: 60e9,
///     materialised_flop: 40e9,
///     sum_flop: 40e9,
/// })?;
/// let planner = Planner::measured(ceilings).with_memory_to_keep(64 << 20);
/// let up = LayerShape { examples: 2, tokens: 1024, inputs: 768, outputs: 3072, element_bytes: 4 };
/// let out = LayerShape { tokens: 128, ..up };
/// let plans = planner.plan_step(&[up, out], LinearNorm::Auto);
/// println!("{}", plans[0]);
/// assert!(plans[0].kept.is_some());
/// assert_eq!((plans[1].how, plans[1].kept), (LinearNorm::Gram, None));
/// # Ok::<(), dp_kernels::CeilingError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Planner {
    ceilings: Option<Ceilings>,
    memory_to_keep: u64,
}

/// What was chosen for a layer, and why. Prints as one line.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct LayerPlan {
    /// The layer.
    pub shape: LayerShape,
    /// What to hand to [`linear_norm_sq`](crate::linear_norm_sq), unless the gradients are kept; never [`LinearNorm::Auto`].
    pub how: LinearNorm,
    /// Why.
    pub reason: Reason,
    /// Whether [`keep_linear_gradients`](crate::keep_linear_gradients) takes the norm, and
    /// [`weighted_sum_gradient`](crate::weighted_sum_gradient) the sum. `None` but from [`Planner::plan_step`].
    pub kept: Option<Kept>,
}

/// What keeping a layer's per-example gradients costs and saves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// Bytes that they take, from the norm to the sum.
    pub bytes: u64,
    /// Seconds that a microbatch is quicker by, by the ceilings; `None` where nothing was measured.
    pub saves: Option<f64>,
}

/// Why a way was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The caller said so.
    Asked,
    /// With one token either way is `|a|^2 |g|^2`.
    OneToken,
    /// Nothing was measured: Gram where `2 T^2 <= d p`.
    Rule,
    /// The shorter of two times by the device's ceilings.
    Measured {
        /// Seconds of the Gram way.
        gram: f64,
        /// Seconds of the materialised way.
        materialised: f64,
    },
}

/// FLOP that a byte of kept gradients must save where nothing was measured: it is written once and read once, and 11 to 13 FLOP in f32 take as
/// long as a byte on the devices of docs/performance.md, a processor and a GPU alike.
const FLOP_OF_A_KEPT_BYTE: f64 = 32.0;

/// The part of a layer's time without keeping that keeping may take by ceilings at most. They are measured on long sequences and warm buffers: of 128
/// tokens the kept product takes 1.8 times as long as they say, and layers that were to be a tenth quicker were slower.
const MOST_OF_LEAN: f64 = 0.75;

impl Planner {
    /// A planner without measurements: the rule `2 T^2 <= d p`, as [`LinearNorm::Auto`] has it.
    #[must_use]
    pub fn by_rule() -> Self {
        Self::default()
    }

    /// A planner by these ceilings.
    #[must_use]
    pub fn measured(ceilings: Ceilings) -> Self {
        Self {
            ceilings: Some(ceilings),
            ..Self::default()
        }
    }

    /// The same, with so many bytes of the device's memory in which [`plan_step`](Self::plan_step) may keep the per-example gradients of layers; 0
    /// without this.
    #[must_use]
    pub fn with_memory_to_keep(self, bytes: u64) -> Self {
        Self {
            memory_to_keep: bytes,
            ..self
        }
    }

    /// How to take the norm of this layer; its gradients aren't kept. Anything but [`LinearNorm::Auto`] as `asked` overrides the choice.
    ///
    /// The time of a way is the longer of its arithmetic at the rate that its own kernel reaches and one reading of
    /// A and G at the device's bandwidth: `B T^2 (d + p)` FLOP for Gram, `2 B T d p` for materialised.
    #[must_use]
    pub fn plan(&self, shape: LayerShape, asked: LinearNorm) -> LayerPlan {
        let LayerShape {
            tokens,
            inputs,
            outputs,
            ..
        } = shape;
        let by_rule = LinearNorm::Auto.resolve(tokens, inputs, outputs);
        let (how, reason) = match (asked, self.ceilings) {
            (LinearNorm::Gram | LinearNorm::Materialised, _) => (asked, Reason::Asked),
            (LinearNorm::Auto, _) if tokens <= 1 => (by_rule, Reason::OneToken),
            (LinearNorm::Auto, None) => (by_rule, Reason::Rule),
            (LinearNorm::Auto, Some(ceilings)) => by_time(&shape, &ceilings),
        };
        LayerPlan {
            shape,
            how,
            reason,
            kept: None,
        }
    }

    /// How to take the norms and sums of all Linears of a microbatch, a plan for each of `shapes` in turn.
    ///
    /// Within [`with_memory_to_keep`](Self::with_memory_to_keep) gradients are kept where that is clearly quicker, those first that save the most for each byte. By
    /// ceilings a layer saves its norm and the sum's product, and costs the product of the norm, the writing and the reading of `B d p`
    /// numbers, and must be a quarter quicker; without them it is kept where norm and product take 32 FLOP more for each of these bytes. Layers of one token, and those
    /// whose way was asked for, aren't kept.
    #[must_use]
    pub fn plan_step(&self, shapes: &[LayerShape], asked: LinearNorm) -> Vec<LayerPlan> {
        let mut plans: Vec<_> = shapes
            .iter()
            .map(|shape| self.plan(*shape, asked))
            .collect();
        let mut worth: Vec<_> = plans
            .iter()
            .enumerate()
            .filter_map(|(at, plan)| Some((at, self.worth_keeping(plan)?)))
            .collect();
        // Equal ones stay in the order of the layers: the choice is the same in every run with the same ceilings.
        worth.sort_by(|(_, (_, one)), (_, (_, other))| other.total_cmp(one));
        let mut left = self.memory_to_keep;
        for (at, (kept, _)) in worth {
            if kept.bytes <= left {
                left -= kept.bytes;
                plans[at].kept = Some(kept);
            }
        }
        plans
    }

    /// What keeping would cost and save, and how much for each byte; `None` where it isn't clearly quicker.
    fn worth_keeping(&self, plan: &LayerPlan) -> Option<(Kept, f64)> {
        let shape = &plan.shape;
        let bytes = shape.kept_bytes();
        if bytes == 0 {
            return None;
        }
        let (saves, worth, clear) = match (plan.reason, self.ceilings) {
            (Reason::Asked | Reason::OneToken, _) => return None,
            (Reason::Measured { gram, materialised }, Some(ceilings)) => {
                let norm = gram.min(materialised);
                let product = shape.product_flop();
                let lean = norm + product / ceilings.sum_flop();
                let kept = product / ceilings.materialised_flop()
                    + bytes as f64 * (1.0 / ceilings.keep_bytes() + 1.0 / ceilings.read_bytes());
                let clear = kept <= MOST_OF_LEAN * lean;
                (Some(lean - kept), (lean - kept) / bytes as f64, clear)
            }
            _ => {
                let saved = shape.gram_flop().min(shape.product_flop());
                let worth = saved / bytes as f64 - FLOP_OF_A_KEPT_BYTE;
                (None, worth, worth > 0.0)
            }
        };
        clear.then_some((Kept { bytes, saves }, worth))
    }
}

fn by_time(shape: &LayerShape, ceilings: &Ceilings) -> (LinearNorm, Reason) {
    let reading = shape.read_bytes() / ceilings.read_bytes();
    let gram = (shape.gram_flop() / ceilings.gram_flop()).max(reading);
    let materialised = (shape.product_flop() / ceilings.materialised_flop()).max(reading);
    let how = if gram <= materialised {
        LinearNorm::Gram
    } else {
        LinearNorm::Materialised
    };
    (how, Reason::Measured { gram, materialised })
}

impl fmt::Display for LayerPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LayerShape {
            examples,
            tokens,
            inputs,
            outputs,
            ..
        } = self.shape;
        write!(f, "B {examples} T {tokens} [{inputs}, {outputs}]: ")?;
        if let Some(Kept { bytes, saves }) = self.kept {
            write!(f, "gradients kept in {:.1} MB", bytes as f64 / 1e6)?;
            if let Some(saves) = saves {
                write!(f, ", which saves {:.3} ms", saves * 1e3)?;
            }
            write!(f, "; otherwise ")?;
        }
        write!(f, "{:?}, ", self.how)?;
        match self.reason {
            Reason::Asked => write!(f, "as asked"),
            Reason::OneToken => write!(f, "one token"),
            Reason::Rule => write!(
                f,
                "nothing measured: 2 T^2 = {} against d p = {}",
                2 * tokens as u128 * tokens as u128,
                inputs as u128 * outputs as u128
            ),
            Reason::Measured { gram, materialised } => write!(
                f,
                "by measured ceilings: Gram {:.3} ms, materialised {:.3} ms",
                gram * 1e3,
                materialised * 1e3
            ),
        }
    }
}
