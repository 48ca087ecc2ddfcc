//! Generic group privacy.

/// What an (`epsilon`, `delta`) guarantee for one record gives a group of `k` records:
/// `(k epsilon, delta (e^{k epsilon} - 1) / (e^epsilon - 1))`, delta at most 1.
///
/// It holds for every mechanism and is far from tight;
/// [`Event::GroupPoissonGaussian`](super::Event::GroupPoissonGaussian) gives the exact answer for
/// Poisson-sampled Gaussian steps. The delta is `delta sum_{i<k} e^{i epsilon}`, at most the better
/// known `k e^{(k-1) epsilon} delta`.
///
/// # Privacy
/// Add/remove adjacency, groups of `k`. A NaN or negative argument gives no promise at all:
/// `(infinity, 1)`.
///
/// # References
/// Vadhan, "The complexity of differential privacy" (2017), lemma 2.2.
#[must_use]
pub fn group_privacy(epsilon: f64, delta: f64, k: u32) -> (f64, f64) {
    if !(epsilon >= 0.0 && delta >= 0.0) {
        return (f64::INFINITY, 1.0);
    }
    if k <= 1 {
        return (epsilon * f64::from(k), (delta * f64::from(k)).min(1.0));
    }
    let count = f64::from(k);
    let factor = if epsilon == 0.0 {
        count
    } else {
        libm::expm1(count * epsilon) / libm::expm1(epsilon)
    };
    // delta 0 stays 0, even times an overflowed factor; the rest is rounded up.
    let group_delta = if delta == 0.0 {
        0.0
    } else if factor.is_finite() {
        (delta * factor * (1.0 + 16.0 * f64::EPSILON)).min(1.0)
    } else {
        1.0
    };
    (count * epsilon * (1.0 + 2.0 * f64::EPSILON), group_delta)
}
