//! The polynomials of `noise::normal` against f64, in units in the last place (ulp) of the result.
//!
//! The budget table is what the module's `# Precision` section promises.

mod common;

use common::sized;
use dp_core::noise::normal::{cos_sin_turn, is_short, minus_ln_uniform, normal_pair, square_root};
use dp_core::noise::philox::philox4x32x10;

/// Largest error allowed, in ulp.
const MINUS_LN: f64 = 1.7;
const SQUARE_ROOT: f64 = 0.51;
const COS_SIN: f64 = 2.4;
const NORMAL: f64 = 4.5;

/// Words at the edges of every case distinction: octants, halves, the ends.
const EDGES: [u32; 26] = [
    0,
    1,
    2,
    3,
    0xffff,
    0x1_0000,
    0x3_ffff, // the last short word
    0x4_0000,
    0x1fff_ffff,
    0x2000_0000,
    0x3fff_ffff,
    0x4000_0000,
    0x4afb_0ccc, // 1 - sqrt(1/2), where the complement's case changes
    0x4afb_0ccd,
    0x5a82_7999, // sqrt(1/8), where the mantissa's case changes
    0x5a82_799a,
    0x7fff_ffff,
    0x8000_0000,
    0xa57d_8666,
    0xb504_f333,
    0xb504_f334,
    0xdfff_ffff,
    0xe000_0000,
    0xfffb_ffff, // the last that isn't short
    0xfffc_0000,
    0xffff_ffff,
];

/// Values that a test draws beside the edges.
const SWEEP: u32 = sized(1 << 22, 256);

/// Triples of words: edges in every combination, every number of leading zeros, then random ones.
fn triples(random: u32) -> impl Iterator<Item = (u32, u32, u32)> {
    let edges = EDGES.into_iter().flat_map(|a| {
        EDGES
            .into_iter()
            .flat_map(move |b| EDGES.into_iter().map(move |c| (a, b, c)))
    });
    let shifts = (0..64).flat_map(|shift| {
        (0..sized(512, 1)).flat_map(move |i| {
            let (a, b, c, _) = philox4x32x10((i, 2, 0, 0), 1, 2);
            let bits = (u64::from(a) << 32 | u64::from(b)) >> shift;
            [bits, !bits].map(|bits| ((bits >> 32) as u32, bits as u32, c >> (shift / 2)))
        })
    });
    let random = (0..random).map(|i| {
        let (a, b, c, _) = philox4x32x10((i, 0, 0, 0), 1, 2);
        (a, b, c)
    });
    edges.step_by(sized(1, 53)).chain(shifts).chain(random)
}

fn exact_minus_ln(high: u32, further: u32) -> f64 {
    // The uniform, or its complement where that is smaller: exact in f64 where 32 bits are all there are.
    let upper = high >> 31 == 1;
    let smaller = |high: u32, further: u32| {
        if high < 1 << 18 {
            let bits = u64::from(high) << 32 | u64::from(further);
            (bits as f64 + 0.5) / 2f64.powi(64)
        } else {
            (f64::from(high) + 0.5) / 2f64.powi(32)
        }
    };
    if upper {
        -(-smaller(!high, !further)).ln_1p()
    } else {
        -smaller(high, further).ln()
    }
}

/// Reduced to half a right angle first, so that f64 is accurate near the zeros too.
fn exact_cos_sin(w: u32) -> (f64, f64) {
    let quarter = w.wrapping_add(0x2000_0000) >> 30;
    let offset = f64::from(w.wrapping_sub(quarter << 30) as i32) + 0.5;
    let (sin, cos) = (offset * std::f64::consts::TAU / 2f64.powi(32)).sin_cos();
    match quarter {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

fn error_in_ulp(got: f32, want: f64) -> f64 {
    let ulp = 2f64.powi(want.abs().log2().floor() as i32 - 23);
    (f64::from(got) - want).abs() / ulp
}

/// Keeps the worst error and where it was.
struct Worst(f64, String);

impl Worst {
    fn new() -> Self {
        Self(0.0, String::new())
    }

    fn see(&mut self, got: f32, want: f64, at: impl FnOnce() -> String) {
        let error = error_in_ulp(got, want);
        if error.is_nan() || error > self.0 {
            *self = Self(if error.is_nan() { f64::INFINITY } else { error }, at());
        }
    }

    fn at_most(&self, budget: f64, what: &str) {
        println!("{what}: worst {:.3} ulp at {}", self.0, self.1);
        assert!(
            self.0 <= budget,
            "{what}: {} ulp > {budget} at {}",
            self.0,
            self.1
        );
    }
}

#[test]
fn minus_ln_uniform_is_within_its_budget() {
    let mut worst = Worst::new();
    for (a, b, _) in triples(SWEEP) {
        let want = exact_minus_ln(a, b);
        worst.see(minus_ln_uniform(a, b), want, || format!("{a:x} {b:x}"));
    }
    worst.at_most(MINUS_LN, "-ln u");
}

#[test]
fn cos_sin_is_within_its_budget() {
    let mut worst = Worst::new();
    let sweep = (0..SWEEP).map(|i| i.wrapping_mul(0x0001_0401) ^ i);
    for w in EDGES.into_iter().chain(0..sized(65536, 64)).chain(sweep) {
        let (got_cos, got_sin) = cos_sin_turn(w);
        let (cos, sin) = exact_cos_sin(w);
        worst.see(got_cos, cos, || format!("cos {w:x}"));
        worst.see(got_sin, sin, || format!("sin {w:x}"));
    }
    worst.at_most(COS_SIN, "cos, sin");
}

/// Every mantissa, at an even and at an odd exponent.
#[test]
fn square_root_is_within_its_budget() {
    let mut root = Worst::new();
    for bits in (0x3f80_0000u32..0x4080_0000).step_by(sized(1, 32_771)) {
        let x = f32::from_bits(bits);
        let exact = f64::from(x).sqrt();
        root.see(square_root(x), exact, || format!("{x:e}"));
    }
    for x in [5.4e-20, 1e-18, 90.2, 1e18, 1.8e19] {
        root.see(square_root(x), f64::from(x).sqrt(), || format!("{x:e}"));
    }
    root.at_most(SQUARE_ROOT, "square root");
    assert_eq!(square_root(0.0), 0.0);
}

#[test]
fn normals_are_within_their_budget() {
    let mut worst = Worst::new();
    for (a, b, c) in triples(SWEEP) {
        let (x, y) = normal_pair(a, b, c);
        let r = (2.0 * exact_minus_ln(a, b)).sqrt();
        let (cos, sin) = exact_cos_sin(c);
        worst.see(x, r * cos, || format!("cos {a:x} {b:x} {c:x}"));
        worst.see(y, r * sin, || format!("sin {a:x} {b:x} {c:x}"));
    }
    worst.at_most(NORMAL, "normal");
}

/// What the module says of the bits that a radius does without: against the radii at both ends of what a word stands for.
#[test]
fn further_bits_would_change_little() {
    let radius = |t: f64, upper: bool| {
        let minus_ln = if upper { -(-t).ln_1p() } else { -t.ln() };
        (2.0 * minus_ln).sqrt()
    };
    let sweep = (0..SWEEP).map(|i| i.wrapping_mul(0x9e37_79b9));
    let near_short = (0x3_ff00..0x4_0100).flat_map(|word: u32| [word, !word]);
    let mut shorts = 0;
    for high in EDGES.into_iter().chain(near_short).chain(sweep) {
        let upper = high >> 31 == 1;
        let word = if upper { !high } else { high };
        assert_eq!(is_short(high), word < 1 << 18, "{high:x}");
        if is_short(high) {
            shorts += 1;
            continue;
        }
        let at = |part: f64| radius((f64::from(word) + part) / 2f64.powi(32), upper);
        let middle = at(0.5);
        let change = (at(0.0) - middle).abs().max((at(1.0) - middle).abs());
        let place = 2f64.powi(middle.log2().floor() as i32 - 23);
        let limit = if middle >= 1.0 { place } else { middle * 1e-6 };
        assert!(change <= limit, "{high:x}: radius {middle} by {change}");
    }
    assert!(shorts >= 512);
}

#[test]
fn the_ends_are_finite_symmetric_and_far_out() {
    let far = (2.0 * 65.0 * 2f64.ln()).sqrt();
    let (x, y) = normal_pair(0, 0, 0);
    assert!((f64::from(x) - far).abs() < 1e-5 && far > 9.49);
    assert!(y > 0.0 && y < 1e-7);
    // The smallest radius, and never zero.
    let (x, _) = normal_pair(u32::MAX, u32::MAX, 0);
    assert!(x > 2.3e-10 && x < 2.4e-10);
    for octant in 0..8u32 {
        let w = octant << 29 | 0x0123_4567;
        let (c, s) = cos_sin_turn(w);
        assert_eq!(cos_sin_turn(!w), (c, -s), "reflection of {w:x}");
        assert_eq!(
            cos_sin_turn(w ^ 0x8000_0000),
            (-c, -s),
            "half turn of {w:x}"
        );
    }
}
