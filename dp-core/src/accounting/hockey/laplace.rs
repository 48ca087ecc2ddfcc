//! Laplace noise, plain and over a Poisson sample.
//!
//! The plain pair's loss lies in `[-mu, mu]`, with atoms at both ends, and its divergence at v in that range is
//! `1 - e^{(v - mu)/2}`, in both directions. Sampling moves v as it does for Gaussian noise.

use super::NOTHING;
use crate::accounting::invert::Point;
use crate::accounting::law::Direction;

/// Relative error of a few operations.
const FEW: f64 = 1e-15;

/// `log delta` of `(1 - rate) Lap(0, 1) + rate Lap(mu, 1)` against `Lap(0, 1)`.
pub(super) fn laplace(rate: f64, mu: f64, direction: Direction, epsilon: f64) -> Point {
    if rate == 1.0 {
        return plain(epsilon, mu, epsilon, 0.0, 0.0);
    }
    let ln_rate = libm::log(rate);
    match direction {
        Direction::Remove => {
            // rate E[(e^l - e^v)_+], e^v = 1 + (e^epsilon - 1) / rate.
            let v = super::mixture::amplified(rate, ln_rate, epsilon);
            plain(v, mu, epsilon, FEW * v, ln_rate)
        }
        Direction::Add => {
            // rate e^epsilon E[(e^-v - e^l)_+], e^-v = 1 - (1 - e^-epsilon) / rate.
            let share = libm::expm1(-epsilon) / rate;
            let room = FEW * share.abs();
            let left = 1.0 + share;
            if left < -room {
                return NOTHING;
            }
            if left <= 64.0 * room {
                // All that can be said is that e^-v is less than this.
                let most = left + room;
                return if -libm::log(most) > mu * (1.0 + FEW) {
                    NOTHING
                } else {
                    super::at_most(ln_rate + epsilon + libm::log(most) + FEW * 8.0)
                };
            }
            let v = -libm::log1p(share);
            plain(
                v,
                mu,
                epsilon,
                FEW * v + 2.0 * room / left,
                ln_rate + epsilon - v,
            )
        }
    }
}

/// `(1 - e^{(v - mu)/2})_+ e^ln_scale` for a v known up to `room`.
fn plain(v: f64, mu: f64, epsilon: f64, room: f64, ln_scale: f64) -> Point {
    // mu is a quotient, so off by an ulp from what was meant.
    let error = room + 0.5 * FEW * mu;
    if v - mu > error {
        return NOTHING;
    }
    let value = -libm::expm1(0.5 * (v - mu).min(0.0));
    let scale = FEW * (4.0 + epsilon + ln_scale.abs()) + room;
    Point::scaled(value, 0.5 * error + scale * value, ln_scale)
}
