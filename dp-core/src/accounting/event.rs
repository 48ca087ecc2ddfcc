//! What a training run does with a record's data, as the accountant sees it.

use super::gaussian_mixture::GaussianMixture;

/// Largest group of [`Event::GroupPoissonGaussian`].
pub const MAX_GROUP: u32 = 256;
/// Smallest noise multiplier of a sampled Gaussian event.
pub const MIN_SIGMA: f64 = 0.05;
/// Largest noise multiplier that any engine takes.
pub const MAX_SIGMA: f64 = 1e9;
/// Smallest noise multiplier of a full-batch Gaussian event.
pub const MIN_GAUSSIAN_SIGMA: f64 = 1e-9;
/// Largest epsilon of one [`Event::ApproximateDp`], [`Event::RandomizedResponse`] or Laplace step.
pub const MAX_PURE_EPSILON: f64 = 1e4;

/// One use of a record's data; a run is a list of events with counts.
///
/// `sigma` is the noise multiplier: standard deviation of the noise divided by the clipping norm
/// (no unit). `rate` is the probability with which a record is in a batch. What an event costs depends on the
/// [`Adjacency`](super::Adjacency); where an event has no proven pair under one, the accountants refuse it.
///
/// There is no event that gives a shuffled sampler the amplification of Poisson sampling:
/// [`Event::ShuffledGaussian`] has no rate.
///
/// # Privacy
/// A step that is as its event says leaks at most what the event's dominating pair does: docs/proofs/accounting-events.md.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Sum over the whole data set, plus Gaussian noise.
    ///
    /// # Privacy
    /// Dominating pair `N(1, sigma^2)`, `N(0, sigma^2)`; replace-one: `N(2, sigma^2)`, `N(0, sigma^2)`.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::Gaussian { sigma: 4.0 }, 100)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-9)?;
    /// assert!((spent.upper - 17.611_019_269_381).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    Gaussian {
        /// Noise multiplier.
        sigma: f64,
    },
    /// Sum over a Poisson sample (each record in with probability `rate`, independently), plus
    /// Gaussian noise.
    ///
    /// # Privacy
    /// Add/remove and zero-out: dominating pair `(1 - rate) N(0, sigma^2) + rate N(1, sigma^2)`, `N(0, sigma^2)`, in
    /// both orders. Replace-one: `(1 - rate) N(0, sigma^2) + rate N(1, sigma^2)` against the same with `N(-1, sigma^2)`.
    /// A shuffled or fixed-size sampler does NOT have these pairs.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::PoissonGaussian { rate: 0.01, sigma: 1.0 }, 10_000)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-6)?;
    /// assert!((spent.upper - 6.907_384_495).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    PoissonGaussian {
        /// Sampling rate, in (0, 1].
        rate: f64,
        /// Noise multiplier.
        sigma: f64,
    },
    /// As [`Event::PoissonGaussian`], with a person who owns `group` records: the records are
    /// sampled independently, and all of the person's records are added or removed together.
    ///
    /// # Privacy
    /// Add/remove and zero-out of `group` records. Dominating pair
    /// `sum_j Binomial(group, rate)(j) N(j, sigma^2)`, `N(0, sigma^2)`, in both orders. Not defined for replace-one.
    ///
    /// # References
    /// Ganesh, "Tight group-level DP guarantees for DP-SGD with sampling via mixture of Gaussians
    /// mechanisms", arXiv:2401.10294.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::GroupPoissonGaussian { rate: 0.01, sigma: 1.0, group: 4 }, 1_000)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-6)?;
    /// assert!((spent.upper - 10.015_295_057).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    GroupPoissonGaussian {
        /// Sampling rate of each record, in (0, 1].
        rate: f64,
        /// Noise multiplier, relative to one record's clipping norm.
        sigma: f64,
        /// Number of records, 1 to [`MAX_GROUP`].
        group: u32,
    },
    /// A record's contribution is of a random size with a known law; see [`GaussianMixture`].
    ///
    /// # Privacy
    /// Add/remove and zero-out. Dominating pair `sum_j p_j N(s_j, sigma^2)`, `N(0, sigma^2)`, in both orders.
    ///
    /// # References
    /// Choquette-Choo et al., "Privacy amplification for matrix mechanisms", arXiv:2310.15526; Ganesh, arXiv:2401.10294.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace, GaussianMixture};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::MixtureGaussian(GaussianMixture::new(&[0.0, 1.0, 2.0], &[0.9, 0.08, 0.02], 1.5)?), 100)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-6)?;
    /// assert!((spent.upper - 6.263_115_236_7).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    MixtureGaussian(GaussianMixture),
    /// Sum over a batch of exactly `batch` records, drawn from `population` without replacement and
    /// independently in every step, plus Gaussian noise.
    ///
    /// # Privacy
    /// Replace-one only, since the batch size would otherwise depend on who is in the data. With rate
    /// `batch / population`, the symmetric pair whose divergences are the larger ones of
    /// `(1 - rate) N(0, sigma^2) + rate N(2, sigma^2)` against `N(0, sigma^2)` and of the reverse.
    ///
    /// # References
    /// Balle, Barthe, Gaboardi, arXiv:1807.01647 (theorem 9); Zhu, Dong, Wang, arXiv:2106.08567 (theorem 11).
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::FixedSizeGaussian { population: 1_000, batch: 100, sigma: 4.0 }, 500)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::replace_one(&events), 1e-5)?;
    /// assert!((spent.upper - 6.291_464_148_6).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    FixedSizeGaussian {
        /// Number of records in the data set.
        population: u64,
        /// Number of records in a batch, 1 to `population`.
        batch: u64,
        /// Noise multiplier, relative to the clipping norm of one record.
        sigma: f64,
    },
    /// A Poisson sample of which a random `max_batch` records are kept where it is larger.
    ///
    /// # Privacy
    /// Add/remove and zero-out. With the probability that `population - 1` other records fill the batch, which may be
    /// public, the pair of a replacement at the rate with which the record is then kept; else the pair of
    /// [`Event::PoissonGaussian`].
    ///
    /// # References
    /// Chua et al., "Scalable DP-SGD: shuffling vs. Poisson subsampling", arXiv:2411.04205; the accounting of VaultGemma
    /// (arXiv:2510.15001).
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::TruncatedPoissonGaussian { population: 10_000, rate: 0.01, max_batch: 110, sigma: 1.0 }, 1_000)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-5)?;
    /// assert!((spent.upper - 7.681_987_135_4).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    TruncatedPoissonGaussian {
        /// Number of records in the larger data set.
        population: u64,
        /// Sampling rate, in (0, 1].
        rate: f64,
        /// Largest batch, at least 1.
        max_batch: u64,
        /// Noise multiplier.
        sigma: f64,
    },
    /// Every record is put into one of `bins` batches at random and stays there; each epoch goes
    /// through all batches once. One event is the whole training of `epochs` epochs.
    ///
    /// # Privacy
    /// Add/remove and zero-out. Dominating pair `1/bins sum_i N(epochs^(1/2) e_i, sigma^2)`, `N(0, sigma^2)` in `bins`
    /// dimensions, in both orders. A shuffle into batches of equal size is another mechanism. Composed with other events it is taken
    /// for one Gaussian event of shift `epochs^(1/2) / sigma`, which leaks at least as much: a true bound, and a wide one.
    ///
    /// # References
    /// Chua et al., "Balls-and-bins sampling for DP-SGD", arXiv:2412.16802.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::BallsInBinsGaussian { bins: 10, epochs: 1, sigma: 1.0 }, 1)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-5)?;
    /// assert!((spent.upper - 2.188_848).abs() < 1e-6 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    BallsInBinsGaussian {
        /// Number of batches in an epoch, 1 to 2^32 - 1.
        bins: u32,
        /// Number of epochs, at least 1.
        epochs: u32,
        /// Noise multiplier of each step.
        sigma: f64,
    },
    /// One epoch over shuffled batches: every record is in exactly one batch.
    ///
    /// # Privacy
    /// The pair of [`Event::Gaussian`]: no amplification is known to hold that a fixed order would not have. Zero-out and
    /// replace-one; not defined for add/remove, where another record would move into another batch.
    ///
    /// # References
    /// Chua et al., "How private are DP-SGD implementations?", arXiv:2403.17673.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::ShuffledGaussian { sigma: 4.0 }, 10)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::zero_out(&events), 1e-6)?;
    /// assert!((spent.upper - 3.747_217_991_4).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    ShuffledGaussian {
        /// Noise multiplier of each step.
        sigma: f64,
    },
    /// A matrix (correlated-noise) mechanism `C x + noise`: the whole run is one event.
    ///
    /// # Privacy
    /// `sensitivity` is the largest L2 norm by which `C x` moves when one record with contributions of norm at most one, in
    /// all steps that it may take part in, is added or removed; dominating pair `N(sensitivity, sigma^2)`, `N(0, sigma^2)`.
    /// Replace-one doubles it.
    ///
    /// # References
    /// Denisov et al., arXiv:2202.08312; Choquette-Choo et al., arXiv:2211.06530.
    ///
    /// The tree of prefix sums over 4096 steps, each record in one: a column of norm 13^(1/2).
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::MatrixGaussian { sensitivity: 3.605_551_275_463_989, sigma: 10.0 }, 1)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-5)?;
    /// assert!((spent.upper - 1.386_181_857_0).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    MatrixGaussian {
        /// Sensitivity of the encoded stream, in clipping norms.
        sensitivity: f64,
        /// Standard deviation of the noise, in clipping norms.
        sigma: f64,
    },
    /// A sum of L1 sensitivity 1 plus Laplace noise.
    ///
    /// # Privacy
    /// Dominating pair `Lap(1, scale)`, `Lap(0, scale)`; replace-one: `Lap(2, scale)`. Pure `1 / scale`-DP.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::Laplace { scale: 2.0 }, 5)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-6)?;
    /// assert!((spent.upper - 2.499_968_000_7).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    Laplace {
        /// Scale of the noise divided by the L1 sensitivity.
        scale: f64,
    },
    /// As [`Event::Laplace`], over a Poisson sample.
    ///
    /// # Privacy
    /// Add/remove and zero-out: `(1 - rate) Lap(0, scale) + rate Lap(1, scale)` against `Lap(0, scale)`, in both orders.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::PoissonLaplace { rate: 0.1, scale: 2.0 }, 1_000)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-6)?;
    /// assert!((spent.upper - 7.786_786_518).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    PoissonLaplace {
        /// Sampling rate, in (0, 1].
        rate: f64,
        /// Scale of the noise divided by the L1 sensitivity.
        scale: f64,
    },
    /// One integer plus discrete Gaussian noise on the integers.
    ///
    /// # Privacy
    /// One coordinate that moves by at most `sensitivity`: dominating pair the discrete Gaussian of parameter
    /// `sigma` around `sensitivity` and around 0. Replace-one doubles the sensitivity.
    ///
    /// NOT for a vector, whatever its L2 norm: discrete noise can't be rotated, and a move that is spread over coordinates costs more. With `sigma` 1,
    /// four coordinates that move by 1 each have delta 0.00795 at epsilon 6, one that moves by 2 has 0.00396. A vector that moves by at most L2 is
    /// [`Event::ZeroConcentratedDp`] with `rho = L2^2 / (2 sigma^2)` (docs/proofs/accounting-events.md).
    ///
    /// # References
    /// Canonne, Kamath, Steinke, arXiv:2004.00010.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::DiscreteGaussian { sigma: 3.0, sensitivity: 1 }, 10)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-6)?;
    /// assert!((spent.upper - 5.190_710_759_4).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    DiscreteGaussian {
        /// Parameter of the discrete Gaussian, about its standard deviation (absolute, in grid steps).
        sigma: f64,
        /// How far one record moves the one coordinate, in grid steps, at least 1.
        sensitivity: u32,
    },
    /// An integer-valued sum plus discrete Laplace (two-sided geometric) noise, `Pr[x] ~ e^(-decay |x|)`.
    ///
    /// # Privacy
    /// Pure `decay * sensitivity`-DP, for a vector with noise on each coordinate too. Replace-one doubles the sensitivity.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::DiscreteLaplace { decay: 0.5, sensitivity: 1 }, 10)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-6)?;
    /// assert!((spent.upper - 4.999_885_471).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    DiscreteLaplace {
        /// Decay of the noise's logarithm per step.
        decay: f64,
        /// How far one record moves the sum, in steps, at least 1; the L1 norm of the move, if it is a vector.
        sensitivity: u32,
    },
    /// With probability `noise` a uniformly drawn answer out of `buckets`, else the true one.
    ///
    /// # Privacy
    /// Replace-one only.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::RandomizedResponse { noise: 0.8, buckets: 4 }, 100)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::replace_one(&events), 1e-9)?;
    /// assert!((spent.upper - 42.748_147_511_4).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    RandomizedResponse {
        /// Probability of a random answer, in (0, 1].
        noise: f64,
        /// Number of answers, at least 2.
        buckets: u32,
    },
    /// Any mechanism that is (`epsilon`, `delta`)-differentially private under the run's adjacency.
    ///
    /// # Privacy
    /// The worst such mechanism: loss infinite with probability `delta`, else plus or minus `epsilon`.
    ///
    /// # References
    /// Kairouz, Oh, Viswanath, arXiv:1311.0776; Murtagh, Vadhan, arXiv:1507.03113.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
    /// # let mut memory = Workspace::<2048, 1024>::new();
    /// let events = [(Event::ApproximateDp { epsilon: 0.1, delta: 1e-8 }, 100)];
    /// let spent = Exact::new(&mut memory).epsilon(Run::add_remove(&events), 1e-5)?;
    /// assert!((spent.upper - 4.329_636_714).abs() < 1e-7 && spent.lower <= spent.upper);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    ApproximateDp {
        /// Epsilon of the mechanism, 0 to [`MAX_PURE_EPSILON`].
        epsilon: f64,
        /// Delta of the mechanism, in [0, 1).
        delta: f64,
    },
    /// Any mechanism that is `rho`-zCDP under the run's adjacency, such as discrete Gaussian noise of parameter `sigma` on each coordinate of an integer vector
    /// that moves by at most L2 in L2 norm: `rho = L2^2 / (2 sigma^2)`.
    ///
    /// # Privacy
    /// Known by its Rényi divergences only, so only the [`Rdp`](super::Rdp) engine takes it.
    ///
    /// # References
    /// Bun, Steinke, arXiv:1605.02658; for discrete Gaussian noise Canonne, Kamath, Steinke, arXiv:2004.00010, proposition 5.
    ///
    /// ```
    /// # use dp_core::accounting::{Accountant, Event, Rdp, Run};
    /// let events = [(Event::ZeroConcentratedDp { rho: 0.5 }, 1)];
    /// let spent = Rdp.epsilon(Run::add_remove(&events), 1e-6)?;
    /// assert!((spent.upper - 5.221_534_444).abs() < 1e-7);
    /// # Ok::<(), dp_core::accounting::AccountingError>(())
    /// ```
    ZeroConcentratedDp {
        /// The parameter: Rényi divergence of order alpha at most `alpha rho`.
        rho: f64,
    },
}
