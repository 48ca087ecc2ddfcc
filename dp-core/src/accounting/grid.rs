//! Nodes of the inner quadrature: where `phi(y) r(y)^w` is worth a term, and how fine.
//!
//! Expectations under the base law are taken by the trapezoid rule in `y = x / sigma`. For an
//! analytic integrand its error falls exponentially with `1 / step`; docs/accounting.md derives the
//! bound that [`step`] solves for. Cells in which the integrand is provably below the threshold are
//! skipped, in strides that double, so that the cost follows the mass and not the range.

use super::AccountingError;
use super::mixture::Mixture;

/// 1 / sqrt(2 pi), logarithm.
const LN_PHI_0: f64 = -0.918_938_533_204_672_8;
/// Most nodes that one quadrature may take.
const MAX_INNER: u32 = 60_000;

/// Step at which the trapezoid rule errs by at most `e^-digits` of `E r^{Re w}` for all
/// `|Im w| <= frequency`; `fall` is `-Re w` where that is positive, else 0.
///
/// On the line `Im y = eta` the integrand is at most `e^{eta^2/2 + |Im w| eta s} sec(eta s / 2)^fall`
/// times its size on the real line, s the largest slope of log r, as long as `eta s < pi`.
pub(super) fn step(slope: f64, digits: f64, frequency: f64, fall: f64) -> f64 {
    let highest = libm::sqrt(2.0 * digits).min(0.97 * core::f64::consts::PI / slope);
    let mut best = 0.0f64;
    let mut eta = highest;
    for _ in 0..24 {
        let growth = 0.5 * eta * eta + frequency * eta * slope
            - fall * libm::log(libm::cos(0.5 * eta * slope));
        best = best.max(2.0 * core::f64::consts::PI * eta / (digits + growth));
        eta *= 0.75;
    }
    best
}

/// One exponent whose mass must be on the grid: nodes with
/// `log(phi r^w) - level < -digits` are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exponent {
    pub w: f64,
    pub level: f64,
}

/// Calls `visit(y, log_weight, log r, r - 1)` at every node that counts for some exponent;
/// `log_weight` is `log(step phi(y))`. `visit` may raise the levels.
pub(super) fn for_each_node<const N: usize>(
    pair: &Mixture,
    step: f64,
    digits: f64,
    exponents: &mut [Exponent; N],
    mut visit: impl FnMut(f64, f64, f64, f64, &mut [Exponent; N]),
) -> Result<(), AccountingError> {
    let (first, last) = range(pair, digits, exponents);
    let (first, last) = (libm::floor(first / step), libm::ceil(last / step));
    let cell = libm::rint(0.5 / step).max(1.0);
    let ln_step = libm::log(step) + LN_PHI_0;
    let mut at = first;
    let mut stride = cell;
    let mut ratio_at = pair.log_ratio(at * step).0;
    let mut budget = MAX_INNER;
    while at <= last {
        let (a, b) = (at * step, (at + stride) * step);
        let ratio_next = pair.log_ratio(b).0;
        let closest = if a > 0.0 { a } else { b.min(0.0) };
        let below = exponents.iter().all(|e| {
            let reach = (e.w * ratio_at).max(e.w * ratio_next);
            LN_PHI_0 - 0.5 * closest * closest + reach - e.level < -digits
        });
        if below {
            at += stride;
            ratio_at = ratio_next;
            stride *= 2.0;
        } else if stride > cell {
            stride = libm::floor(0.5 * stride).max(cell);
        } else {
            for _ in 0..cell as u32 {
                let y = at * step;
                let (ratio, excess) = pair.log_ratio(y);
                visit(y, ln_step - 0.5 * y * y, ratio, excess, exponents);
                at += 1.0;
            }
            ratio_at = ratio_next;
        }
        budget = budget.saturating_sub(if below { 1 } else { cell as u32 });
        if budget == 0 {
            return Err(AccountingError::NotConverged {
                epsilon: 0.0,
                relative_error: f64::INFINITY,
            });
        }
    }
    Ok(())
}

/// An interval outside which every exponent's integrand is below the threshold.
fn range<const N: usize>(pair: &Mixture, digits: f64, exponents: &[Exponent; N]) -> (f64, f64) {
    let reach = libm::sqrt(2.0 * digits);
    // Right of this point r >= 1, so that a negative power only helps.
    let unit = 0.5 * pair.slope();
    let (mut first, mut last) = (-reach, reach.max(unit) + 1.0);
    for e in exponents {
        if e.w >= 0.0 {
            // log r rises by at most the slope, so the integrand falls like a normal tail from here.
            last = last.max(e.w * pair.slope() + reach);
        } else {
            first = first.min(-libm::sqrt(2.0 * (digits + e.w * pair.ln_floor())));
        }
    }
    (first, last)
}
