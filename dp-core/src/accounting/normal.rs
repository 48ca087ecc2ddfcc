//! Tails of the normal law and the hockey-stick divergence of two of them, without cancellation.

/// Logarithm of the square root of 2 pi.
pub(super) const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;
const SQRT_HALF_PI: f64 = 1.253_314_137_315_500_3;
const FRAC_1_SQRT_2: f64 = core::f64::consts::FRAC_1_SQRT_2;

/// Where the continued fraction takes over from `erfc`.
const TAIL: f64 = 3.0;
/// Levels of the continued fraction; at `TAIL` they reach the last bit.
const LEVELS: u32 = 72;

/// `x + 2/(x + 3/(x + ...))`, the part of Laplace's continued fraction below its first level.
fn lower_fraction(x: f64) -> f64 {
    let mut value = x;
    for level in (2..=LEVELS).rev() {
        value = x + f64::from(level) / value;
    }
    value
}

/// Mills' ratio, (1 - Phi(x)) / phi(x); needs `x > -37`.
pub(super) fn mills(x: f64) -> f64 {
    if x < TAIL {
        SQRT_HALF_PI * libm::exp(0.5 * x * x) * libm::erfc(x * FRAC_1_SQRT_2)
    } else {
        1.0 / (x + 1.0 / lower_fraction(x))
    }
}

/// `log(1 - Phi(x))`.
pub(super) fn ln_tail(x: f64) -> f64 {
    if x < TAIL {
        libm::log(0.5 * libm::erfc(x * FRAC_1_SQRT_2))
    } else {
        libm::log(mills(x)) - 0.5 * x * x - LN_SQRT_2PI
    }
}

/// `1 - x mills(x)`, minus the derivative of Mills' ratio.
fn mills_slope(x: f64) -> f64 {
    if x < TAIL {
        1.0 - x * mills(x)
    } else {
        let c = 1.0 / lower_fraction(x);
        c / (x + c)
    }
}

/// Nodes and weights of the 16-point Gauss-Legendre rule on [-1, 1], positive half.
pub(super) const GAUSS: [(f64, f64); 8] = [
    (0.095_012_509_837_637_44, 0.189_450_610_455_068_5),
    (0.281_603_550_779_258_9, 0.182_603_415_044_923_6),
    (0.458_016_777_657_227_4, 0.169_156_519_395_002_54),
    (0.617_876_244_402_643_7, 0.149_595_988_816_576_73),
    (0.755_404_408_355_003, 0.124_628_971_255_533_87),
    (0.865_631_202_387_831_7, 0.095_158_511_682_492_78),
    (0.944_575_023_073_232_6, 0.062_253_523_938_647_89),
    (0.989_400_934_991_649_9, 0.027_152_459_411_754_095),
];

/// `mills(a) - mills(b)` for `b = a + width`, `a > -37`.
fn mills_difference(a: f64, width: f64) -> f64 {
    if width >= 1.0 {
        return mills(a) - mills(a + width);
    }
    // The two ratios agree in their leading digits: integrate the slope instead.
    let half = 0.5 * width;
    let middle = a + half;
    let mut sum = 0.0;
    for (node, weight) in GAUSS {
        sum += weight * (mills_slope(middle - half * node) + mills_slope(middle + half * node));
    }
    half * sum
}

/// Logarithm of the hockey-stick divergence of `N(mu, 1)` from `N(0, 1)` at `epsilon`,
/// `Phi(-a) - e^epsilon Phi(-b)` with `a = epsilon/mu - mu/2`, `b = a + mu`. Any real `epsilon`.
///
/// # Precision
/// Relative error of the divergence below `ln_delta_error(epsilon, mu)`.
pub(super) fn ln_delta(epsilon: f64, mu: f64) -> f64 {
    if epsilon < 0.0 {
        // H(eps) = 1 - e^eps + e^eps H(-eps), by symmetry of the pair.
        let reflected = libm::exp(epsilon + ln_delta(-epsilon, mu));
        return libm::log(reflected - libm::expm1(epsilon));
    }
    let a = epsilon / mu - 0.5 * mu;
    let ln_phi = -0.5 * a * a - LN_SQRT_2PI;
    if a < -TAIL {
        let above = 0.5 * libm::erfc(a * FRAC_1_SQRT_2);
        return libm::log(above - libm::exp(ln_phi) * mills(a + mu));
    }
    ln_phi + libm::log(mills_difference(a, mu))
}

/// Relative rounding error of `exp(ln_delta(epsilon, mu))`, with room to spare.
pub(super) fn ln_delta_error(epsilon: f64, mu: f64) -> f64 {
    let a = epsilon / mu - 0.5 * mu;
    // a itself is off by a few ulp of its terms; the exponent turns that into a * |error of a|.
    let exponent = if a > 0.0 {
        a * (epsilon / mu + mu)
    } else {
        0.0
    };
    4e-15 * (8.0 + exponent)
}
