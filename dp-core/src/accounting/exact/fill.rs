//! From a law to its nodes.
//!
//! For a discrete law they are its atoms. For a density they are the nodes of a quadrature rule whose error, for
//! every `E_Q[r^w]` that the scope covers, is below `e^{-digits}`: the trapezoid rule where it needs few nodes,
//! panels of Gauss-Legendre nodes where the loss turns fast or a half-line has an end. docs/accounting.md derives both.

use super::density::{At, Density, LN_PHI_0};
use super::nodes::{Node, Part, Scope};
use super::panel::{self, Integrand};
use super::walk::Walk;
use crate::accounting::AccountingError;
use crate::accounting::law::Law;
use crate::accounting::mixture::{Mixture, log_ratio_of_one};

/// Writes nodes into a slice, one after the other.
struct Writer<'a> {
    nodes: &'a mut [Node],
    len: usize,
}

impl Writer<'_> {
    fn push(&mut self, node: Node) -> Result<(), AccountingError> {
        // What underflows weighs nothing at any power that is asked for.
        if node.ln_weight == f64::NEG_INFINITY {
            return Ok(());
        }
        let capacity = self.nodes.len();
        let slot = self
            .nodes
            .get_mut(self.len)
            .ok_or(AccountingError::WorkspaceTooSmall { nodes: capacity })?;
        *slot = node;
        self.len += 1;
        Ok(())
    }
}

/// Fills `nodes` with the law of one event; the number of them.
pub(super) fn fill(law: &Law, scope: &Scope, nodes: &mut [Node]) -> Result<usize, AccountingError> {
    let mut out = Writer { nodes, len: 0 };
    match law {
        Law::Mixture(pair) => line(&Density::Mixture(pair), scope, 0.0, &mut out)?,
        Law::TwoSided { rate, mu } => line(&two_sided(*rate, *mu), scope, 0.0, &mut out)?,
        Law::Truncated {
            rate,
            mu,
            share,
            other_rate,
        } => {
            if *share < 1.0 {
                let first = Mixture::record(*rate, *mu);
                line(
                    &Density::Mixture(&first),
                    scope,
                    libm::log1p(-share),
                    &mut out,
                )?;
            }
            let second = two_sided(*other_rate, 2.0 * mu);
            line(&second, scope, libm::log(*share), &mut out)?;
        }
        Law::Replaced { rate, mu } => half_lines(*rate, *mu, scope, &mut out)?,
        Law::Laplace { rate, mu } => laplace(*rate, *mu, scope, &mut out)?,
        Law::DiscreteGaussian { sigma, sensitivity } => {
            discrete_gaussian(*sigma, f64::from(*sensitivity), scope, &mut out)?;
        }
        Law::Lattice(lattice) => {
            for i in 0..lattice.atoms {
                let (loss, mass) = lattice.atom(i);
                if mass > 0.0 {
                    out.push(Node::atom(libm::log(mass) - loss, loss))?;
                }
            }
        }
        Law::Shift { .. } | Law::Bins { .. } | Law::ZeroConcentrated { .. } => {
            return Err(AccountingError::UndefinedEngine);
        }
    }
    Ok(out.len)
}

fn two_sided(rate: f64, mu: f64) -> Density<'static> {
    Density::TwoSided {
        rate,
        ln_rate: libm::log(rate),
        mu,
    }
}

/// A density on the whole line, its weights times `e^ln_share`.
fn line(
    density: &Density<'_>,
    scope: &Scope,
    ln_share: f64,
    out: &mut Writer<'_>,
) -> Result<(), AccountingError> {
    let walk = Walk::new(density, scope);
    let (from, to) = walk.range;
    let fall = density.fall(scope.low).max(density.fall(scope.high));
    let step = trapezoid_step(density, scope, fall);
    // The mass is within some ten standard deviations of a mode; what is far from it is skipped.
    let expected = (to - from).min(24.0) / step;
    let alone = scope.low == scope.high;
    let few = expected <= 0.5 * out.nodes.len() as f64 || alone && scope.frequency == 0.0;
    if few && scope.part == Part::Whole {
        let ln_step = libm::log(step) + ln_share;
        return walk.trapezoid(step, |_, at| out.push(point(at, ln_step)));
    }
    let integrand = Integrand {
        density,
        scope,
        fall,
        turned: 0.0,
        mirrored: false,
    };
    let (mut y, mut half) = (from, panel::WIDEST);
    while y < to {
        let empty = walk.empty(y, &density.at(y));
        if empty > 0.0 {
            y += empty;
            continue;
        }
        half = integrand.half_width(y, 1.6 * half);
        for (node, weight) in panel::rule() {
            let at = density.at(y + half * (1.0 + node));
            out.push(point(&at, libm::log(half * weight) + ln_share))?;
        }
        y += 2.0 * half;
    }
    Ok(())
}

fn point(at: &At, ln_width: f64) -> Node {
    let ln_weight = at.ln_base + ln_width;
    let weight = libm::exp(ln_weight);
    let gain = if at.excess.is_finite() {
        weight * at.excess
    } else {
        libm::exp(ln_weight + at.loss)
    };
    Node {
        ln_weight,
        weight,
        loss: at.loss,
        gain,
        atom: false,
    }
}

/// Step at which the trapezoid rule errs by at most `e^-digits` of `E r^{Re w}` for every w of the scope.
///
/// On the line `Im y = eta` the integrand is at most `e^{eta^2/2 + |Im w| eta slope} sec(eta sector / 2)^fall`
/// times its size on the real line, as long as `eta sector < pi`.
fn trapezoid_step(density: &Density<'_>, scope: &Scope, fall: f64) -> f64 {
    let sector = density.sector();
    let highest = libm::sqrt(2.0 * scope.digits).min(0.97 * core::f64::consts::PI / sector);
    let mut best = 0.0f64;
    let mut eta = highest;
    for _ in 0..16 {
        let growth = 0.5 * eta * eta + scope.frequency * eta * density.slope()
            - fall * libm::log(libm::cos(0.5 * eta * sector));
        best = best.max(2.0 * core::f64::consts::PI * eta / (scope.digits + growth));
        eta *= 0.75;
    }
    best
}

/// The losses above zero of one record, and their mirror image.
fn half_lines(
    rate: f64,
    mu: f64,
    scope: &Scope,
    out: &mut Writer<'_>,
) -> Result<(), AccountingError> {
    let pair = Mixture::record(rate, mu);
    let density = Density::Mixture(&pair);
    // Loss +l has Q's density, loss -l has P's: powers w and 1 - w of r.
    let both = Scope {
        low: scope.low.min(1.0 - scope.high),
        high: scope.high.max(1.0 - scope.low),
        ..*scope
    };
    let fall = density.fall(both.low).max(density.fall(both.high));
    let start = 0.5 * mu;
    let (_, to) = density.range(
        scope.digits - scope.part.floor().min(0.0),
        both.low,
        both.high,
    );
    // What is missing of one: (1 - rate) Pr[|N(0,1)| < mu/2].
    let rest = (1.0 - rate) * libm::erf(0.5 * mu * core::f64::consts::FRAC_1_SQRT_2);
    out.push(Node::atom(libm::log(rest), 0.0))?;
    let integrand = Integrand {
        density: &density,
        scope: &both,
        fall,
        turned: 0.0,
        mirrored: true,
    };
    let (mut y, mut half) = (start, panel::WIDEST);
    while y < to {
        half = integrand.half_width(y, 1.6 * half);
        for (node, weight) in panel::rule() {
            let x = y + half * (1.0 + node);
            let up = point(&density.at(x), libm::log(half * weight));
            out.push(up)?;
            // The mirrored gain is minus the gain: weight e^l (e^-l - 1).
            out.push(Node {
                ln_weight: up.ln_weight + up.loss,
                weight: up.weight + up.gain,
                loss: -up.loss,
                gain: -up.gain,
                atom: false,
            })?;
        }
        y += 2.0 * half;
    }
    Ok(())
}

/// Laplace noise of scale one: an atom on each side, and the interval between the centres.
fn laplace(rate: f64, mu: f64, scope: &Scope, out: &mut Writer<'_>) -> Result<(), AccountingError> {
    let ln_rate = libm::log(rate);
    let loss = |v: f64| {
        if rate == 1.0 {
            v
        } else {
            log_ratio_of_one(rate, ln_rate, v).0
        }
    };
    let ln_half = -core::f64::consts::LN_2;
    out.push(Node::atom(ln_half, loss(-mu)))?;
    out.push(Node::atom(ln_half - mu, loss(mu)))?;
    let power = scope.low.abs().max(scope.high.abs()).max(1.0) + scope.frequency;
    // e^{-y + w l(y)}, |l'| <= 2: grows by at most e^{(1 + 2 |w|) |distance|}, with room for the sector.
    let half = panel::half_width_of_slope(2.0 * power + 1.0, scope.digits, 0.5 * mu);
    let panels = libm::ceil(0.5 * mu / half);
    let half = 0.5 * mu / panels;
    let mut y = 0.0;
    let mut left = panels;
    while left > 0.0 {
        for (node, weight) in panel::rule() {
            let x = y + half * (1.0 + node);
            out.push(Node {
                atom: false,
                ..Node::atom(ln_half - x + libm::log(half * weight), loss(2.0 * x - mu))
            })?;
        }
        y += 2.0 * half;
        left -= 1.0;
    }
    Ok(())
}

/// Atoms at the integers.
fn discrete_gaussian(
    sigma: f64,
    shift: f64,
    scope: &Scope,
    out: &mut Writer<'_>,
) -> Result<(), AccountingError> {
    let mu = shift / sigma;
    let reach = libm::sqrt(2.0 * scope.digits + 4.0);
    let from = libm::floor((scope.low.min(0.0) * mu - reach) * sigma);
    let to = libm::ceil((scope.high.max(1.0) * mu + reach) * sigma);
    if to - from > out.nodes.len() as f64 {
        return Err(AccountingError::WorkspaceTooSmall {
            nodes: out.nodes.len(),
        });
    }
    let ln_total = ln_theta(sigma);
    let mut x = from;
    while x <= to {
        let y = x / sigma;
        out.push(Node::atom(-0.5 * y * y - ln_total, mu * (y - 0.5 * mu)))?;
        x += 1.0;
    }
    Ok(())
}

/// `log sum_x e^{-x^2 / (2 sigma^2)}` over the integers.
fn ln_theta(sigma: f64) -> f64 {
    if sigma > 2.0 {
        // Poisson summation: the next term is e^{-2 pi^2 sigma^2} < e^{-78}.
        return libm::log(sigma) - LN_PHI_0;
    }
    let mut sum = 1.0;
    for x in 1..40 {
        let y = f64::from(x) / sigma;
        sum += 2.0 * libm::exp(-0.5 * y * y);
    }
    libm::log(sum)
}

#[cfg(test)]
#[path = "fill_tests.rs"]
mod tests;
