//! Which way takes a Linear's norm, by ceilings measured on the device.

mod ceilings;

pub use ceilings::{CeilingError, Ceilings};

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

/// Chooses how each Linear's norm is taken.
///
/// Both ways give the same number to rounding ([`LinearNorm`]), so a choice changes time and never the guarantee.
///
/// # Example
/// ```
/// use dp_kernels::{Ceilings, LayerShape, LinearNorm, Planner};
///
/// // 20 GB/s, and 60 and 40 GFLOP/s for the two ways.
/// let planner = Planner::measured(Ceilings::new(20e9, 60e9, 40e9)?);
/// let shape = LayerShape { examples: 16, tokens: 128, inputs: 256, outputs: 1024, element_bytes: 4 };
/// let plan = planner.plan(shape, LinearNorm::Auto);
/// println!("{plan}");
/// assert_eq!(plan.how, LinearNorm::Gram);
/// # Ok::<(), dp_kernels::CeilingError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Planner {
    ceilings: Option<Ceilings>,
}

/// What was chosen for a layer, and why. Prints as one line.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct LayerPlan {
    /// The layer.
    pub shape: LayerShape,
    /// What to hand to [`linear_norm_sq`](crate::linear_norm_sq); never [`LinearNorm::Auto`].
    pub how: LinearNorm,
    /// Why.
    pub reason: Reason,
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

impl Planner {
    /// A planner without measurements: the rule `2 T^2 <= d p`, as [`LinearNorm::Auto`] has it.
    #[must_use]
    pub fn by_rule() -> Self {
        Self { ceilings: None }
    }

    /// A planner by these ceilings.
    #[must_use]
    pub fn measured(ceilings: Ceilings) -> Self {
        Self {
            ceilings: Some(ceilings),
        }
    }

    /// How to take the norm of this layer. Anything but [`LinearNorm::Auto`] as `asked` overrides the choice.
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
        LayerPlan { shape, how, reason }
    }
}

fn by_time(shape: &LayerShape, ceilings: &Ceilings) -> (LinearNorm, Reason) {
    // In f64 from the start: the products of large shapes pass usize.
    let [b, t, d, p, bytes] = [
        shape.examples,
        shape.tokens,
        shape.inputs,
        shape.outputs,
        shape.element_bytes,
    ]
    .map(|extent| extent as f64);
    let reading = b * t * (d + p) * bytes / ceilings.read_bytes();
    let gram = (b * t * t * (d + p) / ceilings.gram_flop()).max(reading);
    let materialised = (2.0 * b * t * d * p / ceilings.materialised_flop()).max(reading);
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
        write!(
            f,
            "B {examples} T {tokens} [{inputs}, {outputs}]: {:?}, ",
            self.how
        )?;
        match self.reason {
            Reason::Asked => write!(f, "as asked")?,
            Reason::OneToken => write!(f, "one token")?,
            Reason::Rule => write!(
                f,
                "nothing measured: 2 T^2 = {} against d p = {}",
                2 * tokens as u128 * tokens as u128,
                inputs as u128 * outputs as u128
            )?,
            Reason::Measured { gram, materialised } => write!(
                f,
                "by measured ceilings: Gram {:.3} ms, materialised {:.3} ms",
                gram * 1e3,
                materialised * 1e3
            )?,
        }
        write!(f, "")
    }
}
