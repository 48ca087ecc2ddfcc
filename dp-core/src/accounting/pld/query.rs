//! Delta and epsilon of a composed measure, with everything that its errors may add or take.

use super::compose::Composed;
use super::discretise::Side;

/// Buckets of a window, from the highest loss that is summed down.
pub(super) struct Scan<'a> {
    law: &'a Composed<'a>,
    top: i64,
    /// Loss at which delta is known, in buckets.
    place: i64,
    /// `sum_{l > place} c_l e^(-theta (l - place)) (1 - e^(-(l - place) interval))`, and the sum without the bracket's one.
    sum: f64,
    minor: f64,
    decay: f64,
    minor_decay: f64,
    gain: f64,
    noise: f64,
    ln_above: f64,
    ln_below: f64,
}

/// Losses are counted in buckets, from one less than this to its negative: all of them, and sums of two, are exact as integers and in f64.
const MOST_BUCKETS: f64 = (1u64 << 51) as f64;

impl<'a> Scan<'a> {
    /// Starts at the loss `top`; nothing above it is summed, what is there goes into the bound. Nothing where `top` is so many buckets away that
    /// they can't be told apart.
    pub fn new(law: &'a Composed<'a>, top: f64) -> Option<Self> {
        let top = libm::ceil(top / law.interval);
        if top.is_nan() || top.abs() >= MOST_BUCKETS {
            return None;
        }
        let top = top as i64;
        let len = law.measure.len() as i64;
        let (theta, step) = (law.theta, law.interval);
        let weight = 1.0 / libm::expm1(theta) - 1.0 / libm::expm1(theta + step);
        let mut scan = Self {
            law,
            top,
            place: top,
            sum: 0.0,
            minor: 0.0,
            decay: libm::exp(-theta),
            minor_decay: libm::exp(-theta - step),
            gain: -libm::expm1(-step),
            // Every bucket's error, times its weight.
            noise: law.noise * weight.clamp(0.0, len as f64) * (1.0 + 1e-6),
            ln_above: 0.0,
            ln_below: 0.0,
        };
        scan.ln_above = scan.ln_tail(top);
        // Buckets hold the losses top - len + 1 to top; what wraps onto them from below is lower than that.
        scan.ln_below = scan.ln_tail(top - len);
        Some(scan)
    }

    /// Lowest loss that can be asked, in buckets.
    pub fn bottom(&self) -> i64 {
        self.top - self.law.measure.len() as i64 + 1
    }

    pub fn place(&self) -> i64 {
        self.place
    }

    /// Goes down by one bucket.
    pub fn down(&mut self) {
        let len = self.law.measure.len() as i64;
        let bucket = self.place.rem_euclid(len) as usize;
        let mass = self
            .law
            .measure
            .get(bucket)
            .copied()
            .unwrap_or(0.0)
            .max(0.0);
        self.sum = self.decay * (self.sum + self.gain * (mass + self.minor));
        self.minor = self.minor_decay * (mass + self.minor);
        self.place -= 1;
    }

    /// Chernoff's bound on the tilted mass at or beyond `place`, on the side where it is rare.
    fn ln_tail(&self, place: i64) -> f64 {
        let upper = place >= self.top;
        let mut least = 0.0f64;
        for (apart, moment) in self.law.tails {
            if (apart > 0.0) == upper {
                let bound = moment - apart * place as f64;
                // Comparisons with NaN are false.
                if bound < least {
                    least = bound;
                }
            }
        }
        least
    }

    /// Delta at the present place, on the proven side, never negative.
    pub fn delta(&self) -> f64 {
        let law = self.law;
        let len = law.measure.len() as i64;
        let exponent = law.ln_scale - law.theta * self.place as f64;
        // The recurrences' rounding, and that of the exponent.
        let rounding = law.relative
            + 1.2e-16 * (8.0 * len as f64 + 4.0 * law.ln_scale.abs() + 4.0 * exponent.abs())
            + 1e-14;
        match law.side {
            Side::Above => {
                let beyond = libm::exp(self.ln_above - law.theta * (self.top - self.place) as f64);
                let sum = self.sum + self.noise + beyond;
                let finite = libm::exp(exponent + libm::log(sum) + rounding);
                finite + law.infinite * libm::exp(law.relative + 1e-12) + f64::MIN_POSITIVE
            }
            Side::Below => {
                let wrapped = libm::exp(self.ln_tail(self.place + len)) + libm::exp(self.ln_below);
                let sum = self.sum - self.noise - wrapped;
                let finite = if sum > 0.0 {
                    libm::exp(exponent + libm::log(sum) - rounding)
                } else {
                    0.0
                };
                finite + law.infinite * (1.0 - 1e-12)
            }
        }
    }
}

/// Delta at `epsilon`: linear in `e^epsilon` between buckets. Nothing where `epsilon` is outside the window.
pub(super) fn delta_at(law: &Composed<'_>, top: f64, epsilon: f64) -> Option<f64> {
    let mut scan = Scan::new(law, top)?;
    let place = libm::floor(epsilon / law.interval) as i64;
    if place < scan.bottom() || place >= scan.place() {
        return None;
    }
    while scan.place() > place + 1 {
        scan.down();
    }
    let right = scan.delta();
    scan.down();
    let left = scan.delta();
    let rest = (epsilon - place as f64 * law.interval).max(0.0);
    let share = (libm::expm1(rest) / libm::expm1(law.interval)).clamp(0.0, 1.0);
    // Outward by what the place of epsilon in its cell is off.
    let jitter = 8.0 * 1.2e-16 * (1.0 + place.unsigned_abs() as f64);
    let share = match law.side {
        Side::Above => (share - jitter).max(0.0),
        Side::Below => (share + jitter).min(1.0),
    };
    Some(left + share * (right - left))
}

/// Epsilon at which delta falls to `target`, zero if it is there from the start; nothing where the window doesn't have it.
pub(super) fn epsilon_at(law: &Composed<'_>, top: f64, target: f64) -> Option<f64> {
    let mut scan = Scan::new(law, top)?;
    let bottom = scan.bottom().max(0);
    let mut right = scan.delta();
    if right > target {
        return None;
    }
    while scan.place() > bottom {
        scan.down();
        let left = scan.delta();
        if left > target {
            let share = ((left - target) / (left - right)).clamp(0.0, 1.0);
            let into = libm::log1p(share * libm::expm1(law.interval));
            let epsilon = scan.place() as f64 * law.interval + into;
            let jitter = 1e-15 * (epsilon + law.interval);
            return Some(match law.side {
                Side::Above => epsilon + jitter,
                Side::Below => (epsilon - jitter).max(0.0),
            });
        }
        right = left;
    }
    match law.side {
        // The promise at the window's lower end, which is zero where the window reaches it.
        Side::Above => Some(bottom as f64 * law.interval),
        Side::Below => Some(0.0),
    }
}
