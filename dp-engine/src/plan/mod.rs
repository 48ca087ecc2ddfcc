//! The plan of a private run: from a target to a noise multiplier, checked before anything is read or written.

mod ends;
mod error;

pub use dp_core::ledger::Unit;
pub use error::{PlanError, PlanWarning};

use dp_core::accounting::{
    self, Accountant, AccountingError, Adjacency, Bounds, Event, MAX_SIGMA, MIN_GAUSSIAN_SIGMA,
    MIN_SIGMA, Run, Target, calibrate_noise,
};
use dp_core::clipping::{AdaptiveQuantile, Clipping, MAX_COUNTED};
use dp_core::ledger::Charge;
use serde::{Deserialize, Serialize};

use crate::accountant;
use crate::ledger::PriorSpend;

/// The guarantee asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrivacyTarget {
    /// Upper bound on epsilon at `delta`, above 0.
    pub epsilon: f64,
    /// Failure probability, in (0, 1), and better below 1/N.
    pub delta: f64,
}

/// What a person asks of a private run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlanRequest {
    /// The guarantee.
    pub target: PrivacyTarget,
    /// Whose presence it hides.
    pub unit: Unit,
    /// Number N of units: of records, or of users where the unit is the user.
    pub units: u64,
    /// Expected batch size, in units; the sampling rate is `batch / units`.
    pub batch: u64,
    /// Number of steps.
    pub steps: u64,
    /// Clipping norm C: bound on the L2 norm of one unit's gradient; the first one, where it follows a quantile.
    pub clip: f64,
    /// Share of C allowed for rounding: the noise is scaled to `C * (1 + eta)`.
    ///
    /// # Precision
    /// Must bound what f32 norms, clipping and summation add to the influence of one unit, relative to C. It is
    /// a matter of how many numbers are added in which order, which only the caller knows:
    /// [`ClippedSum::eta`](dp_core::sensitivity::ClippedSum::eta) derives it. There is no default that holds for all.
    pub eta: f64,
}

/// A checked and calibrated private run.
///
/// # Privacy
/// Holds for adding or removing one [`Unit`], when of every step each unit is drawn as a whole by Poisson sampling at [`Plan::rate`]
/// from a secret stream, its gradient clipped as one to [`Plan::clip`], noised with standard deviation [`Plan::noise_std`], and divided
/// by [`Plan::divisor`], never by the drawn batch size. With an adaptive clipping norm ([`Plan::with_adaptive_clip`]) clip and noise of
/// each step are those of its charge ([`Plan::charge_at`]), which is for the noised counts too.
///
/// # Example
/// ```
/// use dp_engine::plan::{Plan, PlanRequest, PrivacyTarget, Unit};
///
/// let target = PrivacyTarget { epsilon: 8.0, delta: 1e-5 };
/// let (unit, units) = (Unit::Record, 20_000);
/// let request =
///     PlanRequest { target, unit, units, batch: 128, steps: 500, clip: 1.0, eta: 1e-3 };
/// let plan = Plan::new(&request)?;
/// assert!(plan.epsilon().upper <= 8.0);
/// # Ok::<(), dp_engine::plan::PlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    request: PlanRequest,
    rate: f64,
    sigma: f64,
    epsilon: Bounds,
    prior: PriorSpend,
    adaptive: Option<AdaptiveQuantile>,
    warnings: Vec<PlanWarning>,
}

impl Plan {
    /// Checks a request and calibrates its noise multiplier.
    ///
    /// # Errors
    /// [`PlanError`] for each value that is out of range, and [`PlanError::Unreachable`] where no noise
    /// multiplier meets the target.
    pub fn new(request: &PlanRequest) -> Result<Self, PlanError> {
        Self::after(request, PriorSpend::default())
    }

    /// As [`Plan::new`], for a run that comes after others on its data set: the target is for all of them together.
    ///
    /// # Privacy
    /// What `prior` had spent when the run was first planned and all planned steps compose to at most the target, at its delta. That delta is not below what
    /// the ends of the noise leave bare of a unit in all of it, and in what `prior` has spent since.
    ///
    /// # Errors
    /// As [`Plan::new`], and [`PlanError::SpentBefore`] where the others left nothing; [`PlanError::BeyondTheNoise`] is of all of them together.
    pub fn after(request: &PlanRequest, prior: PriorSpend) -> Result<Self, PlanError> {
        check(request)?;
        let PrivacyTarget { epsilon, delta } = request.target;
        let before = prior.planned_events();
        let spent = accountant::of_spent(before, delta)
            .map_err(|source| PlanError::BeforeUnknown { delta, source })?
            .upper;
        if !before.is_empty() && (spent >= epsilon || spent.is_nan()) {
            return Err(PlanError::SpentBefore {
                epsilon,
                delta,
                spent,
            });
        }
        let rate = request.batch as f64 / request.units as f64;
        let unreachable = |source| PlanError::Unreachable {
            epsilon,
            delta,
            rate,
            steps: request.steps,
            source,
        };
        let (sigma, bounds) =
            calibrate(request.target, rate, request.steps, before).map_err(unreachable)?;
        // Delta is for all runs together, with what the others have spent since this one was first planned: that is out too.
        let own = (event(rate, sigma), request.steps);
        let beyond = ends::beyond(&[prior.events(), &[own]].concat());
        if delta < beyond {
            return Err(PlanError::BeyondTheNoise { delta, beyond });
        }
        let warnings = if delta * request.units as f64 >= 1.0 {
            vec![PlanWarning::DeltaNotBelowOneOverN {
                delta,
                unit: request.unit,
                units: request.units,
            }]
        } else {
            Vec::new()
        };
        Ok(Self {
            request: *request,
            rate,
            sigma,
            epsilon: bounds,
            prior,
            adaptive: None,
            warnings,
        })
    }

    /// The same plan with a clipping norm that follows a quantile of the norms, from [`Plan::clip`] on: each step releases noised counts with
    /// its sum. What a step costs stays the same; the sum has more noise for it ([`Plan::noise_multiplier`]).
    ///
    /// # Privacy
    /// Sum and counts of a step are one event of [`Plan::sigma`], whatever the clipping norm is (docs/proofs/clipping-quantile.md). The
    /// clipping norm of a step must follow from noised counts and public numbers alone, as [`AdaptiveQuantile::next_clip`] does.
    ///
    /// # Errors
    /// [`PlanError::CountStd`] where the counts have so little noise that they alone cost what a step may, [`PlanError::Counted`] for batches
    /// above half of [`MAX_COUNTED`].
    pub fn with_adaptive_clip(self, policy: AdaptiveQuantile) -> Result<Self, PlanError> {
        let batch = self.request.batch;
        if batch > MAX_COUNTED / 2 {
            return Err(PlanError::Counted { batch });
        }
        let counts = policy.counts();
        if counts.gradient_multiplier(self.sigma).is_err() {
            return Err(PlanError::CountStd {
                count_std: counts.std(),
                counts: counts.multiplier(),
                sigma: self.sigma,
            });
        }
        Ok(Self {
            adaptive: Some(policy),
            ..self
        })
    }

    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> &PlanRequest {
        &self.request
    }

    /// Whose presence is hidden.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.request.unit
    }

    /// The guarantee asked for.
    #[must_use]
    pub fn target(&self) -> PrivacyTarget {
        self.request.target
    }

    /// Sampling rate q, in (0, 1].
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Number of steps.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.request.steps
    }

    /// Clipping norm C; the first one, where it follows a quantile.
    #[must_use]
    pub fn clip(&self) -> f64 {
        self.request.clip
    }

    /// How the clipping norm follows a quantile; `None` where it stays.
    #[must_use]
    pub fn adaptive_clip(&self) -> Option<&AdaptiveQuantile> {
        self.adaptive.as_ref()
    }

    /// Noise multiplier sigma of a step's event: of the clipped sum, or of sum and counts together where the clipping norm follows a quantile.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// Noise multiplier of the clipped sum, relative to `C * (1 + eta)`: sigma, or more where counts are released too.
    #[must_use]
    pub fn noise_multiplier(&self) -> f64 {
        self.charge().noise_multiplier()
    }

    /// Standard deviation of the noise on each coordinate of the clipped sum, `noise_multiplier * C * (1 + eta)`; with an adaptive clipping norm that
    /// of the first.
    #[must_use]
    pub fn noise_std(&self) -> f64 {
        self.charge().noise_std()
    }

    /// What the noised sum is divided by: the expected batch size.
    ///
    /// # Privacy
    /// The drawn batch size is private; dividing by it would release it.
    #[must_use]
    pub fn divisor(&self) -> f64 {
        self.request.batch as f64
    }

    /// What was spent before this run.
    #[must_use]
    pub fn prior(&self) -> &PriorSpend {
        &self.prior
    }

    /// Epsilon of all planned steps and of what was spent before them, at the target's delta; the upper bound is not above the target.
    #[must_use]
    pub fn epsilon(&self) -> Bounds {
        self.epsilon
    }

    /// What is unwise but not wrong; print it.
    #[must_use]
    pub fn warnings(&self) -> &[PlanWarning] {
        &self.warnings
    }

    /// The event of one step.
    #[must_use]
    pub fn event(&self) -> Event {
        event(self.rate, self.sigma)
    }

    /// What one step reserves in the ledger; with an adaptive clipping norm, the first step.
    #[must_use]
    pub fn charge(&self) -> Charge {
        match self.adaptive {
            None => self.charge_for(self.request.clip),
            Some(_) => self.charge_at(self.request.clip as f32),
        }
    }

    /// What a step reserves whose gradients are clipped to exactly `clip`: the event of every step, and the noise that is its at this norm.
    #[must_use]
    pub fn charge_at(&self, clip: f32) -> Charge {
        self.charge_for(f64::from(clip))
    }

    fn charge_for(&self, clip: f64) -> Charge {
        Charge {
            event: self.event(),
            clip,
            eta: self.request.eta,
            count: 1,
            counts: self.adaptive.map(|policy| policy.counts()),
        }
    }

    /// Epsilon at the target's delta of what was spent before the plan was made and of `steps` steps of it.
    ///
    /// # Errors
    /// Where the accountant gives no answer.
    pub fn epsilon_after(&self, steps: u64) -> Result<Bounds, AccountingError> {
        let mut after = After(self.prior.planned_events());
        let steps = [(self.event(), steps)];
        after.epsilon(Run::add_remove(&steps), self.request.target.delta)
    }
}

fn check(request: &PlanRequest) -> Result<(), PlanError> {
    let &PlanRequest {
        target,
        unit,
        units,
        batch,
        steps,
        clip,
        eta,
    } = request;
    let positive = |x: f64| x.is_finite() && x > 0.0;
    if !positive(target.epsilon) {
        return Err(PlanError::Epsilon {
            epsilon: target.epsilon,
        });
    }
    if !(positive(target.delta) && target.delta < 1.0) {
        return Err(PlanError::Delta {
            delta: target.delta,
            units,
        });
    }
    if units < 2 {
        return Err(PlanError::TooFewUnits { unit, units });
    }
    if batch == 0 {
        return Err(PlanError::EmptyBatch { unit, units });
    }
    if batch > units {
        return Err(PlanError::BatchAboveUnits { unit, batch, units });
    }
    if steps == 0 {
        return Err(PlanError::NoSteps);
    }
    if (Clipping::Flat { clip: clip as f32 }).validate().is_err() {
        return Err(PlanError::Clip { clip });
    }
    if !(eta.is_finite() && eta >= 0.0) {
        return Err(PlanError::Eta { eta });
    }
    Ok(())
}

/// Smallest multiplier found whose upper bound, together with what was spent `before`, meets the target, and the bounds of both.
fn calibrate(
    target: PrivacyTarget,
    rate: f64,
    steps: u64,
    before: &[(Event, u64)],
) -> Result<(f64, Bounds), AccountingError> {
    let PrivacyTarget { epsilon, delta } = target;
    let mut after = After(before);
    let mut sigma = if before.is_empty() {
        accounting::calibrate_sigma(epsilon, delta, rate, steps)?
    } else {
        let least = if rate < 1.0 {
            MIN_SIGMA
        } else {
            MIN_GAUSSIAN_SIGMA
        };
        let target = Target { epsilon, delta };
        let steps = |sigma| [(event(rate, sigma), steps)];
        let range = least..=MAX_SIGMA;
        calibrate_noise(&mut after, Adjacency::AddRemove, target, range, steps)?
    };
    let mut cost = |sigma| after.epsilon(Run::add_remove(&[(event(rate, sigma), steps)]), delta);
    let mut bounds = cost(sigma)?;
    // Calibration may have judged by delta(epsilon), the cap judges by epsilon(delta): let the last ulps of the
    // plan be on the cap's side, or its last step would be refused.
    let mut nudge = 1e-12;
    while bounds.upper > epsilon && nudge < 1e-2 {
        sigma *= 1.0 + nudge;
        nudge *= 2.0;
        bounds = cost(sigma)?;
    }
    Ok((sigma, bounds))
}

/// The accountant of a run that comes after these events.
struct After<'a>(&'a [(Event, u64)]);

impl After<'_> {
    fn with(&self, run: Run<'_>) -> Vec<(Event, u64)> {
        [self.0, run.events].concat()
    }
}

impl Accountant for After<'_> {
    fn delta(&mut self, run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
        let events = &self.with(run);
        accountant::delta(Run { events, ..run }, epsilon)
    }

    fn epsilon(&mut self, run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
        let events = &self.with(run);
        accountant::epsilon(Run { events, ..run }, delta)
    }
}

fn event(rate: f64, sigma: f64) -> Event {
    if rate < 1.0 {
        Event::PoissonGaussian { rate, sigma }
    } else {
        Event::Gaussian { sigma }
    }
}
