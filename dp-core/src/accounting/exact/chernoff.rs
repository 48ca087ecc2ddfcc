//! What the real moments alone prove: upper bounds for runs whose contour has none, or a wide one.
//!
//! `delta(eps) <= E[e^{t L}] e^{-t eps} sup_x (1 - e^-x) e^{-t x}` for every t > 0, so any t serves, and the best is easily
//! found: in t, the logarithm is convex, and the epsilon at which it reaches a target is the quotient of a convex function
//! and t, which falls and then rises.

use super::cumulants::Run;
use super::saddle::Saddle;

/// Powers that are tried, as logarithms.
const LOWEST: f64 = -14.0;
const HIGHEST: f64 = 41.0;
/// Steps of the golden section; each leaves 0.618 of the interval.
const STEPS: u32 = 40;
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// The least bound on log delta.
pub(super) fn ln_delta(run: &mut Run<'_, '_>, epsilon: f64) -> f64 {
    if epsilon >= run.largest_loss() {
        return f64::NEG_INFINITY;
    }
    least(run, |saddle| saddle.ln_chernoff(epsilon)).min(0.0)
}

/// The least bound on epsilon; infinite where no moment is to be had.
pub(super) fn epsilon(run: &mut Run<'_, '_>, ln_target: f64) -> f64 {
    let most = run.largest_loss();
    // `ln_chernoff` falls with epsilon by t, less the 1e-12 t of its room for rounding.
    least(run, |saddle| {
        (saddle.ln_chernoff(0.0) - ln_target) / (saddle.t * (1.0 - 2e-12))
    })
    .clamp(0.0, most)
}

fn least(run: &mut Run<'_, '_>, bound: impl Fn(&Saddle) -> f64) -> f64 {
    let mut at = |u: f64| match Saddle::new(run, libm::exp(u)) {
        Ok(saddle) => bound(&saddle),
        // Far right the moments overflow.
        Err(_) => f64::INFINITY,
    };
    let (mut low, mut high) = (LOWEST, HIGHEST);
    let mut left = (high - GOLDEN * (high - low), 0.0);
    let mut right = (low + GOLDEN * (high - low), 0.0);
    left.1 = at(left.0);
    right.1 = at(right.0);
    let mut best = left.1.min(right.1);
    for _ in 0..STEPS {
        // Where both are out of reach, what is not lies left.
        if left.1 <= right.1 {
            (high, right) = (right.0, left);
            let u = high - GOLDEN * (high - low);
            left = (u, at(u));
            best = best.min(left.1);
        } else {
            (low, left) = (left.0, right);
            let u = low + GOLDEN * (high - low);
            right = (u, at(u));
            best = best.min(right.1);
        }
    }
    best
}
