//! Gauss-Legendre panels: how wide one may be.

use super::density::Density;
use super::nodes::{Scope, ln_share};

/// Nodes of a panel.
pub(super) const NODES: usize = 32;

/// Positive half of the 32-point rule on [-1, 1].
const HALF: [(f64, f64); NODES / 2] = [
    (0.048_307_665_687_738_32, 0.096_540_088_514_727_8),
    (0.144_471_961_582_796_5, 0.095_638_720_079_274_86),
    (0.239_287_362_252_137_06, 0.093_844_399_080_804_57),
    (0.331_868_602_282_127_67, 0.091_173_878_695_763_89),
    (0.421_351_276_130_635_33, 0.087_652_093_004_403_81),
    (0.506_899_908_932_229_4, 0.083_311_924_226_946_75),
    (0.587_715_757_240_762_3, 0.078_193_895_787_070_31),
    (0.663_044_266_930_215_2, 0.072_345_794_108_848_5),
    (0.732_182_118_740_289_7, 0.065_822_222_776_361_85),
    (0.794_483_795_967_942_4, 0.058_684_093_478_535_544),
    (0.849_367_613_732_57, 0.050_998_059_262_376_175),
    (0.896_321_155_766_052_1, 0.042_835_898_022_226_68),
    (0.934_906_075_937_739_7, 0.034_273_862_913_021_43),
    (0.964_762_255_587_506_4, 0.025_392_065_309_262_06),
    (0.985_611_511_545_268_4, 0.016_274_394_730_905_67),
    (0.997_263_861_849_481_6, 0.007_018_610_009_470_096),
];

/// Nodes and weights of the rule on [-1, 1].
pub(super) fn rule() -> impl Iterator<Item = (f64, f64)> {
    HALF.iter()
        .map(|&(node, weight)| (-node, weight))
        .chain(HALF)
}

/// Parameters of Bernstein ellipses that are tried.
const ELLIPSES: [f64; 6] = [2.2, 3.0, 4.0, 6.0, 9.0, 14.0];
const RIGHT_ANGLE: f64 = core::f64::consts::FRAC_PI_2;
/// Least half-width.
const LEAST: f64 = 1e-4;
/// Largest half-width.
pub(super) const WIDEST: f64 = 2.0;

/// What a rule sums: Q's density times the ratio's power times an edge's share.
pub(super) struct Integrand<'d> {
    pub density: &'d Density<'d>,
    pub scope: &'d Scope,
    /// Exponent of [`Density::fall`] for the scope's powers.
    pub fall: f64,
    /// How far above the real line the integrand is taken already; then no ellipse may let the ratio turn by more than a right angle.
    pub turned: f64,
    /// Minus the loss stands at the same place.
    pub mirrored: bool,
}

impl Integrand<'_> {
    /// Half-width, at most `most`, of a panel that starts at `y`, so that the rule errs by less than `e^-digits` of the largest value on the real
    /// line nearby (where an edge is put on: of that, or of what counts at all, `e^floor`, whichever is more).
    ///
    /// The n-point rule errs by at most `64/15 M rho^{-2n} / (1 - rho^{-2})` (Trefethen, "Is Gauss quadrature better than
    /// Clenshaw-Curtis?", 2008, theorem 4.5), M the integrand's bound on the Bernstein ellipse of parameter rho, which
    /// reaches `half (rho + 1/rho)/2` along the line and `eta = half (rho - 1/rho)/2` across.
    pub fn half_width(&self, y: f64, most: f64) -> f64 {
        let (density, scope) = (self.density, self.scope);
        let sector = density.sector();
        let widest_angle = if self.turned > 0.0 { RIGHT_ANGLE } else { 2.8 };
        let power = scope.low.abs().max(scope.high.abs()).max(1.0);
        let mut half = most.min(WIDEST);
        while half > LEAST {
            for rho in ELLIPSES {
                let eta = 0.5 * half * (rho - 1.0 / rho);
                if (eta + self.turned) * sector > widest_angle {
                    continue;
                }
                let over = half * (0.5 * (rho + 1.0 / rho) - 1.0);
                let (from, to) = (y - over, y + 2.0 * half + over);
                let cosine = libm::cos(0.5 * (eta + self.turned) * sector);
                let steep = density.steepness(from, to) / cosine;
                let along = over * (from.abs().max(to.abs()) + power * steep);
                let growth = 0.5 * eta * eta + scope.frequency * eta * steep + along
                    - self.fall * libm::log(cosine);
                let spare = 2.0 * NODES as f64 * libm::log(rho) - growth - scope.digits - 3.0;
                if spare < 0.0 {
                    continue;
                }
                let edge = match scope.part.edge() {
                    Some(edge) => {
                        let sharp = edge.sharpness();
                        let off = (eta * steep * sharp, -libm::log(cosine) * sharp);
                        self.edge_growth((y, y + 2.0 * half), (from, to), off)
                    }
                    None => 0.0,
                };
                if edge <= spare {
                    return half;
                }
            }
            half *= 0.8;
        }
        LEAST
    }

    /// How much larger an edge's share may be on an ellipse than it is on its panel, where that counts: logarithm.
    ///
    /// On the ellipse, over the stretch `over` of the line, the loss differs by at most `off.0` of the edge's widths from that of the real
    /// point, and its real part by at most `off.1`: each of the ratio's factors is smaller there by a cosine at most.
    fn edge_growth(&self, panel: (f64, f64), over: (f64, f64), off: (f64, f64)) -> f64 {
        let growth = |side: f64| {
            let depths = |(from, to): (f64, f64)| {
                let depth = |y: f64| self.scope.part.depth(side * self.density.at(y).loss);
                let (a, b) = (depth(from), depth(to));
                (a.min(b), a.max(b))
            };
            let (nearest, farthest) = depths(over);
            // |erfc(x + i y)| <= e^{y^2} erfc(x)
            let mut largest = off.0 * off.0 + ln_share(nearest - off.1);
            let inside = -(farthest + off.1);
            if inside > 0.0 {
                // |erfc(-x + i y)| <= 2 + e^{y^2 - x^2}
                let beyond = libm::exp(off.0 * off.0 - inside * inside);
                largest = largest.min(libm::log1p(0.5 * beyond));
            }
            largest - ln_share(depths(panel).0).max(self.ln_negligible(panel))
        };
        if self.mirrored {
            growth(1.0).max(growth(-1.0))
        } else {
            growth(1.0)
        }
    }

    /// Logarithm of a share that makes the integrand on a panel no larger than `e^floor`.
    fn ln_negligible(&self, (from, to): (f64, f64)) -> f64 {
        let scope = self.scope;
        let size = |y: f64| {
            let at = self.density.at(y);
            at.ln_base + (scope.low * at.loss).max(scope.high * at.loss)
        };
        // Room for what is larger between the ends.
        scope.part.floor() - size(from).max(size(to)) - 2.0
    }
}

/// The same where the logarithm of the integrand has a slope of at most `slope` and is entire; at most `widest`.
pub(super) fn half_width_of_slope(slope: f64, digits: f64, widest: f64) -> f64 {
    let mut half = widest.min(0.3);
    while half > LEAST {
        for rho in ELLIPSES {
            // The factor 2 leaves room for the sector in which a sampled ratio turns; |Im y| < 1/2 keeps it small.
            let reach = 0.5 * half * (rho + 1.0 / rho);
            if reach <= 0.5
                && 2.0 * NODES as f64 * libm::log(rho) - 2.0 * slope * reach >= digits + 3.0
            {
                return half;
            }
        }
        half *= 0.8;
    }
    LEAST
}
