//! The parts of a private run in one hand: the plan, the ledger, the sampler and the noise key, used in the only order that is private.

use std::path::Path;

use dp_core::accounting::{AccountingError, Bounds};
use dp_core::clipping::Clipping;
use dp_core::ledger::{Head, Header, Unit};

use crate::batches::{BatchError, Batches, LogicalBatch};
use crate::keys::{KeyError, NoiseKey, ProcessStart, RunKeys, StepNoise};
use crate::ledger::{LedgerFile, LedgerFileError, Recovery};
use crate::plan::Plan;

/// Why a private run can't begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerFileError),
    /// The sampler.
    #[error(transparent)]
    Batches(#[from] BatchError),
    /// The ledger's header and the plan are for two units.
    #[error(
        "the ledger's header is for one {ledger} and the plan for one {plan}, or for other users or another number of their records: \
         give both the same unit"
    )]
    Unit {
        /// The header's.
        ledger: Unit,
        /// The plan's.
        plan: Unit,
    },
    /// A release without a batch of its own.
    #[error(
        "a release without a batch: call `draw` for each step before `release`, since a batch that is used twice is not the \
         sample that the accountant charges for"
    )]
    NotDrawn,
    /// A release of several batches.
    #[error(
        "a release of the batches of steps {first} and {second}: the accountant charges for one batch a release. Start again from sums of zero: call \
         `discard`, draw one batch and release it"
    )]
    DrawnTwice {
        /// The step that was drawn first.
        first: u64,
        /// That which was drawn after it: the same where its batch was drawn twice.
        second: u64,
    },
    /// A release after one that failed when its step was paid.
    #[error(
        "the release of step {step} failed after it was paid, and the sums may hold its batch still: make them zeros, call `discard`, and draw again"
    )]
    HalfReleased {
        /// The step whose release failed.
        step: u64,
    },
    /// The clipping norm was changed where it must stay.
    #[error("the clipping norm cannot become {clip}: {why}")]
    Clip {
        /// The value given.
        clip: f32,
        /// Why not, and the way out.
        why: &'static str,
    },
}

/// A private run of one process start: for each step [`draw`](Self::draw) a batch, let the framework clip and sum, then
/// [`release`](Self::release).
///
/// # Privacy
/// Every release is of a fresh Poisson batch of the plan's units at its rate (of users, where the unit is the user: which of
/// their records are used, and that these are clipped as one, is the caller's part), is paid on the disk before its noise can be drawn, and has the noise
/// that the plan charges for. That the sum is of gradients clipped to [`clip`](Self::clip) is the caller's part, as is the
/// division by [`Plan::divisor`].
///
/// # Example
/// ```
/// use dp_core::ledger::Header;
/// use dp_engine::plan::Plan;
/// use dp_engine::run::{PrivateRun, RunError};
///
/// # fn run(path: &std::path::Path, header: &Header, plan: Plan) -> Result<(), RunError> {
/// let mut run = PrivateRun::create(path, header, plan, 32)?;
/// for step in 0..run.plan().steps() {
///     for microbatch in run.draw(step).microbatches() {
///         // Gradients of the records in `microbatch`, clipped, added into the sum.
///     }
///     run.release(|mut noise| {
///         // Noise of `noise.draw(..)` into the sum of each parameter, and the optimizer's step.
///         Ok::<_, RunError>(())
///     })?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PrivateRun {
    plan: Plan,
    ledger: LedgerFile,
    batches: Batches,
    noise: NoiseKey,
    drawn: Drawn,
    clip: f32,
}

/// What was drawn since the last release.
#[derive(Debug, Clone, Copy)]
enum Drawn {
    Nothing,
    Batch {
        step: u64,
    },
    Several {
        first: u64,
        second: u64,
    },
    /// Its step is paid, and its release failed: nobody knows what the sums hold.
    HalfReleased {
        step: u64,
    },
}

impl PrivateRun {
    /// Begins a run: draws secret keys from the operating system and creates the ledger at `path`, which must not exist.
    ///
    /// # Errors
    /// [`RunError`]; nothing is left on the disk then.
    pub fn create(
        path: &Path,
        header: &Header,
        plan: Plan,
        microbatch: usize,
    ) -> Result<Self, RunError> {
        let (batches, noise, process) = secrets(&plan, header, microbatch)?;
        let prior = plan.prior().clone();
        let ledger = LedgerFile::create_after(path, header, plan.target(), process, prior)?;
        Ok(Self::begun(plan, ledger, batches, noise))
    }

    fn begun(plan: Plan, ledger: LedgerFile, batches: Batches, noise: NoiseKey) -> Self {
        Self {
            clip: plan.clip() as f32,
            plan,
            ledger,
            batches,
            noise,
            drawn: Drawn::Nothing,
        }
    }

    /// Goes on with the run of the ledger at `path`, under new keys; what the ledger says of the last start comes along.
    ///
    /// For a run that has no checkpoint yet: it takes the ledger as it is, and an older copy in its place would hide what was spent since. A run with a
    /// checkpoint goes on with [`resume`](Self::resume).
    ///
    /// # Errors
    /// [`RunError`], as [`LedgerFile::open_after`] says.
    pub fn open(
        path: &Path,
        header: &Header,
        plan: Plan,
        microbatch: usize,
    ) -> Result<(Self, Recovery), RunError> {
        let (batches, noise, process) = secrets(&plan, header, microbatch)?;
        let prior = plan.prior().clone();
        let (ledger, recovery) =
            LedgerFile::open_after(path, header, plan.target(), process, prior)?;
        Ok((Self::begun(plan, ledger, batches, noise), recovery))
    }

    /// As [`open`](Self::open), from a checkpoint ([`checkpoint`](crate::checkpoint)) that names the ledger's [`head`](Self::head) of its time. Steps go on
    /// where it stands.
    ///
    /// # Privacy
    /// A ledger that was cut, emptied or put back since is refused: it would not count what was released.
    ///
    /// # Errors
    /// [`RunError`], as [`LedgerFile::resume`] says.
    pub fn resume(
        path: &Path,
        header: &Header,
        plan: Plan,
        microbatch: usize,
        head: &Head,
    ) -> Result<(Self, Recovery), RunError> {
        let (batches, noise, process) = secrets(&plan, header, microbatch)?;
        let prior = plan.prior().clone();
        let (ledger, recovery) =
            LedgerFile::resume(path, header, plan.target(), process, prior, head)?;
        Ok((Self::begun(plan, ledger, batches, noise), recovery))
    }

    /// What a checkpoint is to name of the ledger, for [`resume`](Self::resume): how far it goes, once that is on the disk.
    ///
    /// # Errors
    /// [`RunError::Ledger`] where the disk fails.
    pub fn head(&mut self) -> Result<Head, RunError> {
        Ok(self.ledger.durable_head()?)
    }

    /// Draws the batch of `step`: every unit, a record or a user, by its own draw at the plan's rate.
    ///
    /// # Privacy
    /// What is released is the sum over ONE batch: a release after several draws is refused ([`RunError::DrawnTwice`]), since a record could be in each of
    /// them. A batch that is too large for the device goes through its microbatches; one that failed is let go of by [`discard`](Self::discard).
    pub fn draw(&mut self, step: u64) -> LogicalBatch<'_> {
        self.drawn = match self.drawn {
            Drawn::Nothing => Drawn::Batch { step },
            Drawn::Batch { step: first } | Drawn::Several { first, .. } => Drawn::Several {
                first,
                second: step,
            },
            failed @ Drawn::HalfReleased { .. } => failed,
        };
        self.batches.draw(step)
    }

    /// Lets go of what was drawn and not released, for a pass or a release that failed: the sums must be zeros again before the next batch is added.
    pub fn discard(&mut self) {
        self.drawn = Drawn::Nothing;
    }

    /// Pays for the step that was drawn, hands its noise to `release`, and commits what that made of it.
    ///
    /// An empty batch is released too, as pure noise. Where `release` fails the step stays paid: a part of it may be out. The sums may hold the batch
    /// still, so that another one on top of it would be released twice: nothing is released then until [`discard`](Self::discard).
    ///
    /// # Errors
    /// [`RunError::NotDrawn`] where no batch was drawn since the last release, [`RunError::DrawnTwice`] where several were and [`RunError::HalfReleased`]
    /// after a release that failed; [`RunError::Ledger`] where the step does not fit the budget or the disk fails, and the batch can be released again
    /// once it doesn't: all before `release` is called. What `release` answers; [`RunError::Ledger`] where the commit fails.
    pub fn release<T, E: From<RunError>>(
        &mut self,
        release: impl FnOnce(StepNoise<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let step = match self.drawn {
            Drawn::Nothing => return Err(RunError::NotDrawn.into()),
            Drawn::Batch { step } => step,
            Drawn::Several { first, second } => {
                return Err(RunError::DrawnTwice { first, second }.into());
            }
            Drawn::HalfReleased { step } => return Err(RunError::HalfReleased { step }.into()),
        };
        let charge = match self.plan.adaptive_clip() {
            None => self.plan.charge(),
            Some(_) => self.plan.charge_at(self.clip),
        };
        let paid = self.ledger.reserve(step, charge).map_err(RunError::from)?;
        self.drawn = Drawn::HalfReleased { step };
        let (noise, receipt) = self.noise.for_step(paid).map_err(RunError::from)?;
        let released = release(noise)?;
        self.drawn = Drawn::Nothing;
        self.ledger.commit(receipt).map_err(RunError::from)?;
        Ok(released)
    }

    /// The clipping norm of the batch that is drawn, or of the next: the plan's, until [`set_clip`](Self::set_clip).
    #[must_use]
    pub fn clip(&self) -> f32 {
        self.clip
    }

    /// Moves the clipping norm of a plan whose norm follows a quantile: after a release to what
    /// [`AdaptiveQuantile::next_clip`](dp_core::clipping::AdaptiveQuantile::next_clip) says of its noised counts, and where a run goes on, to what its
    /// checkpoint says.
    ///
    /// # Privacy
    /// The noise of the steps that follow is scaled to it. It must follow from what was released, and from public numbers.
    ///
    /// # Errors
    /// [`RunError::Clip`] for a plan whose clipping norm stays, between a draw and its release, and for a norm that can't be clipped to.
    pub fn set_clip(&mut self, clip: f32) -> Result<(), RunError> {
        let refuse = |why| Err(RunError::Clip { clip, why });
        if self.plan.adaptive_clip().is_none() {
            return refuse("the plan's stays as it is: plan with an adaptive one");
        }
        if !matches!(self.drawn, Drawn::Nothing) {
            return refuse("a batch was drawn and is clipped to the former: release it first");
        }
        if (Clipping::Flat { clip }).validate().is_err() {
            return refuse("it is out of range: take what AdaptiveQuantile::next_clip gives");
        }
        self.clip = clip;
        Ok(())
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &LedgerFile {
        &self.ledger
    }

    /// Epsilon of everything spent, by this run and by those that its plan comes after, at the target's delta.
    ///
    /// # Errors
    /// Where the accountant gives no answer.
    pub fn epsilon(&self) -> Result<Bounds, AccountingError> {
        self.ledger.epsilon(self.plan.target().delta)
    }
}

/// Keys of this start, in the hands that may use them.
fn secrets(
    plan: &Plan,
    header: &Header,
    microbatch: usize,
) -> Result<(Batches, NoiseKey, ProcessStart), RunError> {
    if header.unit != plan.unit() {
        return Err(RunError::Unit {
            ledger: header.unit,
            plan: plan.unit(),
        });
    }
    let keys = RunKeys::generate()?;
    let units = plan.request().units;
    let batches = Batches::private(units, plan.rate(), microbatch, keys.sampling)?;
    Ok((batches, keys.noise, keys.process))
}
