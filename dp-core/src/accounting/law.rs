//! The dominating pair of one event, in units where the noise has standard deviation (or scale) one.

use super::binomial;
use super::mixture::Mixture;

/// A pair P (the record's data is in) against Q (it is not, or is another's).
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is no heap to put a mixture on"
)]
pub(super) enum Law {
    /// `N(mu, 1)` against `N(0, 1)`.
    Shift { mu: f64 },
    /// `sum_j p_j N(mu_j, 1)` against `N(0, 1)`.
    Mixture(Mixture),
    /// `(1 - rate) N(0, 1) + rate N(mu, 1)` against `(1 - rate) N(0, 1) + rate N(-mu, 1)`.
    TwoSided { rate: f64, mu: f64 },
    /// With public probability `share` the pair `TwoSided { other_rate, 2 mu }`, else the mixture
    /// `(1 - rate) N(0, 1) + rate N(mu, 1)` against `N(0, 1)`.
    Truncated {
        rate: f64,
        mu: f64,
        share: f64,
        other_rate: f64,
    },
    /// The symmetric pair whose losses above zero have the law (under both data sets) of those of
    /// `(1 - rate) N(0, 1) + rate N(mu, 1)` against `N(0, 1)`; what is missing of one is at loss zero.
    Replaced { rate: f64, mu: f64 },
    /// `1/bins sum_i N(mu e_i, 1)` against `N(0, 1)` in `bins` dimensions.
    Bins { bins: u32, mu: f64 },
    /// `(1 - rate) Lap(0, 1) + rate Lap(mu, 1)` against `Lap(0, 1)`; rate 1 is the plain mechanism.
    Laplace { rate: f64, mu: f64 },
    /// Discrete Gaussians of parameter `sigma` around `sensitivity` and around 0.
    DiscreteGaussian { sigma: f64, sensitivity: u32 },
    /// Losses at integer multiples of a span.
    Lattice(Lattice),
    /// Rényi divergences at most `alpha rho`.
    ZeroConcentrated { rho: f64 },
}

/// Which of the two neighbouring data sets the output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The record is in the data that the output came from: losses `log P/Q` under P.
    Remove,
    /// The record is not in the data that the output came from: losses `log Q/P` under Q.
    Add,
}

/// Both directions; removal first, which is the worse one nearly always.
pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Remove, Direction::Add];

/// A symmetric pair with `atoms` equally spaced losses from `top` down to `-top`, and, with probability
/// `infinite`, a loss without bound.
///
/// Given a finite loss, atom i has loss `top (1 - 2 i / (atoms - 1))`. Its probability under P is `edge.0` for the first,
/// `edge.1` for the last, `inner e^{-decay i}` between; under Q it is that times `e^{-loss}`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lattice {
    /// Largest finite loss.
    pub top: f64,
    /// Number of atoms, at least 2.
    pub atoms: u32,
    /// Probability under P of the largest and of the least loss.
    pub edge: (f64, f64),
    /// Scale of the probabilities between them.
    pub inner: f64,
    /// Their decay from one to the next.
    pub decay: f64,
    /// Probability of a loss without bound.
    pub infinite: f64,
}

impl Lattice {
    /// Outputs x with probability proportional to `e^{-decay |x - steps|}` against `e^{-decay |x|}`: atom i is `x = steps - i`,
    /// with everything beyond at the two ends.
    pub fn discrete_laplace(decay: f64, steps: u32) -> Self {
        // Pr[x >= steps] = 1 / (1 + e^-decay), Pr[x <= 0] is the same times e^{-decay steps}.
        let half = 1.0 / (1.0 + libm::exp(-decay));
        let top = decay * f64::from(steps);
        Self {
            top,
            atoms: steps + 1,
            edge: (half, half * libm::exp(-top)),
            inner: -libm::expm1(-decay) * half,
            decay,
            infinite: 0.0,
        }
    }

    /// One of `buckets` answers, random with probability `noise`.
    pub fn randomized_response(noise: f64, buckets: u32) -> Self {
        let share = noise / f64::from(buckets);
        let rest = f64::from(buckets - 2) * share;
        Self {
            top: libm::log1p((1.0 - noise) / share),
            atoms: if buckets == 2 { 2 } else { 3 },
            edge: (1.0 - noise + share, share),
            inner: rest,
            decay: 0.0,
            infinite: 0.0,
        }
    }

    /// Loss plus or minus epsilon, or infinite with probability delta.
    pub fn approximate(epsilon: f64, delta: f64) -> Self {
        let odds = libm::exp(-epsilon);
        Self {
            top: epsilon,
            atoms: 2,
            edge: (1.0 / (1.0 + odds), odds / (1.0 + odds)),
            inner: 0.0,
            decay: 0.0,
            infinite: delta,
        }
    }

    /// Distance of two losses.
    pub fn span(&self) -> f64 {
        2.0 * self.top / f64::from(self.atoms - 1)
    }

    /// Loss of atom `i` and its probability under P, given a finite loss.
    pub fn atom(&self, i: u32) -> (f64, f64) {
        let last = self.atoms - 1;
        let loss = self.top * (f64::from(last) - 2.0 * f64::from(i)) / f64::from(last);
        let mass = if i == 0 {
            self.edge.0
        } else if i == last {
            self.edge.1
        } else {
            self.inner * libm::exp(-self.decay * f64::from(i))
        };
        (loss, mass)
    }
}

impl Law {
    /// Whether both directions have the same losses.
    pub fn is_symmetric(&self) -> bool {
        match self {
            Self::Mixture(_) | Self::Truncated { .. } | Self::Bins { .. } => false,
            Self::Laplace { rate, .. } => *rate == 1.0,
            _ => true,
        }
    }

    /// The pair of a truncated Poisson sample.
    ///
    /// `share` is the probability that the other records fill the batch, Pr[Binomial(n - 1, rate) >= max_batch];
    /// then the record is kept with probability Pr[Binomial(n, rate) > max_batch] max_batch / (n share).
    pub fn truncated(population: u64, rate: f64, max_batch: u64, sigma: f64) -> Self {
        let mu = 1.0 / sigma;
        let share = binomial::upper_tail(population - 1, rate, max_batch);
        if share == 0.0 {
            return Self::Mixture(Mixture::binomial(rate, sigma, 1));
        }
        let kept = binomial::upper_tail(population, rate, max_batch.saturating_add(1));
        let other_rate = kept * (max_batch as f64 / population as f64) / share;
        Self::Truncated {
            rate,
            mu,
            share,
            other_rate: other_rate.min(1.0),
        }
    }
}
