//! The hardened mode: a clipped sum is rounded to a grid and noised in integers, so that no low bit of a float tells of it.
//!
//! The plan has a grid, a power of two; the clipping norm that is left once the grid's rounding is charged; and the discrete
//! Gaussian's parameter in grid steps. What is released is `grid (round(sum / grid) + noise)`, and is computed exactly up to the last
//! conversion to f32, which reads nothing but the noised integer.
//!
//! # References
//! Mironov, "On significance of the least significant bits for differential privacy", CCS 2012; Haney et al., "Precision-based
//! attacks and interval refining", 2207.13793; Canonne, Kamath and Steinke, 2004.00010.

// The modules that `#[cube]` generates beside the functions carry no documentation.
#![cfg_attr(feature = "cube", allow(missing_docs))]

use core::fmt;

#[cfg(feature = "cube")]
use cubecl::prelude::*;

use super::discrete::{MAX_DISCRETE_SIGMA, check_discrete_request, discrete_key};
use super::words::select;
use super::{Key, NoiseError};
use crate::clipping::{MAX_CLIP, MIN_CLIP};

/// Grid steps at which a coordinate of the sum is cut off: 2^30.
pub const MAX_GRID_STEPS: i32 = 1 << 30;

/// A grid, and what clipping norm and which noise go with it.
///
/// # Privacy
/// Under add/remove adjacency of one example, with every example clipped to [`clip`](Self::clip) and sums computed within a relative
/// `eta` of it (see [`crate::sensitivity`]), the rounded sum moves by at most `sensitivity / grid` steps in L2 norm, over
/// all `elements` together: the released value is a discrete Gaussian mechanism whose noise multiplier, relative to
/// `sensitivity`, is [`noise_multiplier`](Self::noise_multiplier). What that costs is in docs/proofs/discrete-noise.md.
///
/// **Its delta is not the accountant's.** A run that is (epsilon, delta)-private by the accountant's Gaussian events is (epsilon, delta + m)-private
/// where `steps` of its releases are hardened, with `m = (1 + e^epsilon) distance_from_gaussian(steps)`, that is
/// `(1 + e^epsilon) steps sqrt(elements) / (12 sigma^2)`, sigma in grid steps. Nothing adds m: `dp_engine`'s plan, the ledger's cap and the privacy
/// statement all have the delta of the Gaussian events. So plan with a delta that is smaller by m than what is promised, or, where every record
/// is in every step, account by [`Event::ZeroConcentratedDp`](crate::accounting::Event::ZeroConcentratedDp) with
/// `rho = 1 / (2 noise_multiplier^2)` for each, which needs no m.
///
/// **Its clipping norm is not the run's.** Examples must be clipped to [`clip`](Self::clip), which leaves room for the grid's rounding. Clipped to a
/// larger norm, such as that of the ledger's charge, they move the sum by more than the noise is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hardened {
    grid: f32,
    sigma: u32,
    clip: f32,
    sensitivity: f64,
    elements: u64,
}

impl Hardened {
    /// Plans for a `noise_multiplier` relative to the L2 `sensitivity`, for `elements` elements over all tensors, with the grid
    /// `2^grid_exponent`.
    ///
    /// Rounding the sum moves two neighbouring sums by up to half a step each in every coordinate, so by up to `sqrt(elements) grid`
    /// apart: `(1 + eta) clip + sqrt(elements) grid <= sensitivity`. A finer grid leaves more of the clipping norm, and needs more steps.
    ///
    /// # Privacy
    /// Clip examples to [`clip`](Self::clip), less than `sensitivity`. A run of such releases keeps a delta that is larger than the accountant's
    /// Gaussian events say, by a term that no plan of a run, ledger or statement adds ([`Hardened`]): choose the grid so fine that
    /// `(1 + e^epsilon) distance_from_gaussian(steps)` is a small part of delta, and give the run's plan what is left of it.
    ///
    /// # Errors
    /// [`HardenedError`]: a number out of range; [`HardenedError::GridTooCoarse`] where the rounding leaves no clipping norm (take a smaller
    /// exponent); [`HardenedError::GridTooFine`] where the noise would have more than 2^24 steps (take a larger one).
    pub fn plan(
        noise_multiplier: f64,
        sensitivity: f64,
        eta: f64,
        elements: u64,
        grid_exponent: i32,
    ) -> Result<Self, HardenedError> {
        let number = |name, value: f64, valid: bool| {
            let refused = HardenedError::Number { name, value };
            if valid { Ok(()) } else { Err(refused) }
        };
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let range = f64::from(MIN_CLIP)..=f64::from(MAX_CLIP);
        number(
            "noise multiplier",
            noise_multiplier,
            positive(noise_multiplier),
        )?;
        number("sensitivity", sensitivity, range.contains(&sensitivity))?;
        number("eta", eta, eta >= 0.0 && eta.is_finite())?;
        number("number of elements", elements as f64, elements > 0)?;
        let exponent = f64::from(grid_exponent);
        number(
            "grid exponent",
            exponent,
            (-60..=60).contains(&grid_exponent),
        )?;

        let grid = libm::ldexp(1.0, grid_exponent);
        let rounding = libm::sqrt(elements as f64) * grid * (1.0 + ROUNDING);
        let left = (sensitivity - rounding) / (1.0 + eta) * (1.0 - ROUNDING);
        // Towards zero: the rounding to f32 is 2^-24 of it.
        let clip = (left * (1.0 - 1.0 / 8_388_608.0)) as f32;
        if !(left > 0.0 && clip >= MIN_CLIP) {
            return Err(HardenedError::GridTooCoarse {
                sensitivity,
                rounding,
            });
        }
        let steps = libm::ceil(noise_multiplier * sensitivity / grid * (1.0 + ROUNDING));
        if steps > f64::from(MAX_DISCRETE_SIGMA) {
            return Err(HardenedError::GridTooFine { steps });
        }
        Ok(Self {
            grid: grid as f32,
            sigma: steps as u32,
            clip,
            sensitivity,
            elements,
        })
    }

    /// The grid's step, a power of two.
    pub const fn grid(&self) -> f32 {
        self.grid
    }

    /// The discrete Gaussian's parameter, in grid steps.
    pub const fn sigma(&self) -> u32 {
        self.sigma
    }

    /// What each example must be clipped to.
    pub const fn clip(&self) -> f32 {
        self.clip
    }

    /// The noise's parameter in the sum's unit, `sigma grid`: what a Gaussian's standard deviation is.
    pub const fn std(&self) -> f64 {
        self.sigma as f64 * self.grid as f64
    }

    /// `sigma grid / sensitivity`, at least what was asked for.
    ///
    /// # Precision
    /// Rounded down.
    pub fn noise_multiplier(&self) -> f64 {
        self.std() / self.sensitivity * (1.0 - ROUNDING)
    }

    /// A bound on the total variation distance, over `steps` releases, between this noise and a Gaussian of the same parameter rounded to the
    /// grid: `steps sqrt(elements) / (12 sigma^2)`.
    ///
    /// # Privacy
    /// A run that is (epsilon, delta)-private by the accountant's Gaussian events is (epsilon, delta + (1 + e^epsilon) times this
    /// bound)-private with the discrete noise. Nothing adds that for the caller ([`Hardened`]). It is infinite below 4 steps, where it is not
    /// proved. Rényi accounting needs none of it: see docs/proofs/discrete-noise.md.
    pub fn distance_from_gaussian(&self, steps: u64) -> f64 {
        if self.sigma < 4 {
            return f64::INFINITY;
        }
        let sigma = f64::from(self.sigma);
        let one = libm::sqrt(self.elements as f64) / (12.0 * sigma * sigma);
        steps as f64 * one * (1.0 + ROUNDING)
    }
}

/// Half a dozen f64 roundings and a little.
const ROUNDING: f64 = 1e-14;

/// One draw of the hardened mode's noise, as a hardened release takes it: which elements, by which plan, and from which coordinates.
///
/// # Privacy
/// It can't be copied, and what noises a release takes it by value, as with [`GaussianDraw`](super::GaussianDraw): to noise a second release
/// with it, one must write its coordinates down again. So does a caller whose tensor is in shards, once for each with its own `first_element`.
///
/// ```compile_fail,E0382
/// # use dp_core::noise::HardenedDraw;
/// fn twice<'a>(noise: impl Fn(HardenedDraw<'a>), draw: HardenedDraw<'a>) {
///     noise(draw);
///     noise(draw); // moved by the first
/// }
/// ```
#[derive(Debug)]
#[must_use = "a draw that nothing is noised with leaves a release bare"]
pub struct HardenedDraw<'a> {
    /// The tensor's element that the first value belongs to.
    pub first_element: u64,
    /// Grid, noise, and the clipping norm that they are for.
    pub plan: Hardened,
    /// The key.
    pub key: &'a Key,
    /// The step.
    pub step: u64,
    /// The tensor's number.
    pub tensor: u32,
}

impl HardenedDraw<'_> {
    /// Refuses what [`fill_discrete_gaussian`](super::fill_discrete_gaussian) refuses for `len` elements.
    ///
    /// # Errors
    /// As [`fill_discrete_gaussian`](super::fill_discrete_gaussian).
    pub fn check(&self, len: u64) -> Result<(), NoiseError> {
        check_discrete_request(self.first_element, len, self.plan.sigma(), self.tensor)
    }

    /// The key of this tensor's discrete noise at this step, to hand to a kernel.
    pub fn tensor_key(&self) -> Key {
        discrete_key(self.key, self.step, self.tensor)
    }
}

/// The grid step nearest to `x`, ties away from zero: `x inverse_grid` rounded, cut off at [`MAX_GRID_STEPS`].
///
/// `inverse_grid` is one over the grid, a power of two, so the product is exact. Not a number gives 0.
///
/// # Privacy
/// Moves by at most `|x - y| / grid + 1` between `x` and `y`: half a step for each. To cut off moves two values no further apart.
#[cfg_attr(feature = "cube", cube)]
pub fn to_grid(x: f32, inverse_grid: f32) -> i32 {
    let limit = 1_073_741_824.0f32;
    let scaled = x * inverse_grid;
    let above = scaled >= limit;
    let below = scaled <= -limit;
    let inside = scaled > -limit && scaled < limit;
    let scaled = select(inside, scaled, 0.0f32);
    // Truncated; what is left is exact, and below one in magnitude.
    let whole = scaled as i32;
    let left = scaled - whole as f32;
    let up = select(left >= 0.5f32, 1i32, 0i32);
    let down = select(left <= -0.5f32, 1i32, 0i32);
    let nearest = whole + up - down;
    select(
        above,
        1_073_741_824i32,
        select(below, -1_073_741_824i32, nearest),
    )
}

/// The released value: the noised grid step back in the sum's unit.
///
/// `step` is at most [`MAX_GRID_STEPS`] in magnitude, 2^30, and noise that was accepted below 2^30, so their sum fits.
#[cfg_attr(feature = "cube", cube)]
pub fn from_grid(step: i32, noise: i32, grid: f32) -> f32 {
    (step + noise) as f32 * grid
}

/// A hardened release that cannot be planned.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum HardenedError {
    /// A number is out of range.
    Number {
        /// Which one.
        name: &'static str,
        /// The value given.
        value: f64,
    },
    /// Rounding to the grid takes up the sensitivity: a smaller grid is needed.
    GridTooCoarse {
        /// The sensitivity asked for.
        sensitivity: f64,
        /// What the rounding takes of it.
        rounding: f64,
    },
    /// The noise spans more grid steps than its integers hold: a larger grid is needed.
    GridTooFine {
        /// The steps wanted.
        steps: f64,
    },
}

impl fmt::Display for HardenedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Number { name, value } => write!(f, "{name} {value} is out of range"),
            Self::GridTooCoarse {
                sensitivity,
                rounding,
            } => write!(
                f,
                "rounding to the grid moves the sum by up to {rounding}, which leaves no clipping norm of the sensitivity {sensitivity}: take a finer grid"
            ),
            Self::GridTooFine { steps } => write!(
                f,
                "the noise would have the parameter {steps} in grid steps, more than {MAX_DISCRETE_SIGMA}: take a coarser grid"
            ),
        }
    }
}

impl core::error::Error for HardenedError {}
