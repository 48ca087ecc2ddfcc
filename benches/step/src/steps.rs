//! The two steps of a workload.

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use dp_burn::profile::{self, Span, Timing};
use dp_burn::{
    AdamW, Batch, ModelConfig, PrivacyError, PrivateAdamW, PrivateGradients, Tape, Transformer,
};
use dp_core::accounting::Event;
use dp_core::clipping::Clipping;
use dp_core::ledger::{Charge, Header, Unit};
use dp_core::noise::Generator;
use dp_engine::keys::{KeyError, NoiseKey, RunKeys, StepNoise};
use dp_engine::ledger::{Budget, LedgerFile, LedgerFileError};
use dp_kernels::{LayerPlan, LinearNorm, Planner};
use tempfile::TempDir;

use crate::check::{self, StepCheck};
use crate::mlp::{Images, Mlp};
use crate::time::{Pair, time};
use crate::workload::Workload;

const CLIP: f64 = 1.0;
const RATE: f64 = 1e-4;
const SEED: u64 = 1;

/// Why a step could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The private step was refused.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// No keys, or no noise.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The ledger that pays for the noise could not be made.
    #[error(transparent)]
    Ledger(#[from] LedgerFileError),
    /// There is no folder for that ledger.
    #[error("no temporary folder for a ledger: {0}")]
    Folder(#[from] std::io::Error),
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(String),
}

/// A workload on a device, trained twice from the same start: privately and not.
pub struct Steps {
    trained: Box<dyn Both>,
    device: Device,
    payment: Payment,
    done: usize,
}

impl Steps {
    /// Makes both models; `device` is a plain one, and `planner` chooses the ways of the private step's Linears.
    ///
    /// # Errors
    /// [`StepError`] when no randomness or no temporary folder can be had.
    pub fn new(workload: Workload, device: &Device, planner: Planner) -> Result<Self, StepError> {
        let device = device.clone().autodiff();
        Ok(Self {
            trained: match workload.transformer() {
                Some(sizes) => Box::new(Trained::transformer(
                    &sizes,
                    workload.examples(),
                    planner,
                    &device,
                )),
                None => Box::new(Trained::mlp(planner, &device)),
            },
            payment: Payment::new()?,
            device,
            done: 0,
        })
    }

    /// `warm_up` steps of each kind that don't count, then `n` pairs; the private step is first in every other one.
    ///
    /// # Errors
    /// [`StepError`] when a kernel refuses or the device fails.
    pub fn pairs(&mut self, warm_up: usize, n: usize) -> Result<Vec<Pair>, StepError> {
        for _ in 0..warm_up {
            self.pair()?;
        }
        (0..n).map(|_| self.pair()).collect()
    }

    fn pair(&mut self) -> Result<Pair, StepError> {
        let private_first = self.done.is_multiple_of(2);
        self.done += 1;
        if private_first {
            let private = self.private()?;
            let ordinary = self.ordinary()?;
            return Ok(Pair { private, ordinary });
        }
        let ordinary = self.ordinary()?;
        let private = self.private()?;
        Ok(Pair { private, ordinary })
    }

    /// One private step, waited for.
    ///
    /// # Errors
    /// As [`Steps::pairs`].
    pub fn private(&mut self) -> Result<Timing, StepError> {
        let noise = self.payment.noise()?;
        let ((), timing) = time(|| {
            self.trained.private(&self.device, noise)?;
            wait(&self.device)
        })?;
        Ok(timing)
    }

    /// One ordinary step, waited for.
    ///
    /// # Errors
    /// [`StepError::Device`].
    pub fn ordinary(&mut self) -> Result<Timing, StepError> {
        let ((), timing) = time(|| {
            self.trained.ordinary(&self.device);
            wait(&self.device)
        })?;
        Ok(timing)
    }

    /// What was chosen for the Linears of the last private step.
    #[must_use]
    pub fn plans(&self) -> Vec<LayerPlan> {
        self.trained.plans()
    }

    /// Whether the private gradients are right, of the model as it is now; no step is taken.
    ///
    /// # Errors
    /// As [`Steps::pairs`].
    pub fn check(&self) -> Result<StepCheck, StepError> {
        self.trained.check(&self.device)
    }

    /// The operations of one private and one ordinary step, each waited for.
    ///
    /// # Errors
    /// As [`Steps::pairs`].
    pub fn profile(&mut self) -> Result<(Vec<Span>, Vec<Span>), StepError> {
        let (done, private) = profile::record(|| self.private());
        done?;
        let (done, ordinary) = profile::record(|| self.ordinary());
        done?;
        Ok((private, ordinary))
    }
}

fn wait(device: &Device) -> Result<(), StepError> {
    device
        .sync()
        .map_err(|error| StepError::Device(format!("{error:?}")))
}

/// Pays for the steps. Each is reserved outside of what is timed, since a step without privacy waits for no disk.
struct Payment {
    noise: NoiseKey,
    ledger: LedgerFile,
    next: u64,
    _folder: TempDir,
}

impl Payment {
    fn new() -> Result<Self, StepError> {
        let keys = RunKeys::generate()?;
        let folder = tempfile::tempdir()?;
        let header = Header {
            dataset: [0; 32],
            config: [0; 32],
            unit: Unit::Record,
        };
        let budget = Budget {
            epsilon: 1e4,
            delta: 1e-5,
        };
        let path = folder.path().join("ledger");
        Ok(Self {
            noise: keys.noise,
            ledger: LedgerFile::create(&path, &header, budget, keys.process)?,
            next: 0,
            _folder: folder,
        })
    }

    /// The noise of one more step.
    fn noise(&mut self) -> Result<StepNoise<'_>, StepError> {
        let charge = Charge {
            event: Event::Gaussian { sigma: 1.0 },
            clip: CLIP,
            eta: 0.0,
            count: 1,
            counts: None,
        };
        let paid = self.ledger.reserve(self.next, charge)?;
        self.next += 1;
        let (noise, _receipt) = self.noise.for_step(paid)?;
        Ok(noise)
    }
}

/// A model of any type, trained in both ways.
trait Both {
    fn private(&mut self, device: &Device, noise: StepNoise<'_>) -> Result<(), StepError>;
    fn ordinary(&mut self, device: &Device);
    fn check(&self, device: &Device) -> Result<StepCheck, StepError>;
    fn plans(&self) -> Vec<LayerPlan>;
}

/// The sum of a batch's losses by a model.
pub(crate) type Loss<M> = Box<dyn Fn(&M, &mut Tape) -> Tensor<1>>;

struct Trained<M> {
    loss: Loss<M>,
    mask: Tensor<1>,
    private: Option<M>,
    ordinary: Option<M>,
    sums: PrivateGradients,
    planner: Planner,
    private_optimizer: PrivateAdamW,
    ordinary_optimizer: ModuleOptimizer,
}

impl<M: Module> Trained<M> {
    fn new(
        model: impl Fn() -> M,
        loss: Loss<M>,
        examples: usize,
        planner: Planner,
        device: &Device,
    ) -> Self {
        let private = model();
        let flat = Clipping::Flat { clip: CLIP as f32 };
        Self {
            loss,
            mask: Tensor::ones([examples], device),
            sums: PrivateGradients::new(&private, flat).planned(planner, LinearNorm::Auto),
            planner,
            private: Some(private),
            ordinary: Some(model()),
            private_optimizer: PrivateAdamW::new(AdamW::default()),
            ordinary_optimizer: AdamW::default().into(),
        }
    }
}

impl Trained<Transformer> {
    fn transformer(
        sizes: &ModelConfig,
        examples: usize,
        planner: Planner,
        device: &Device,
    ) -> Self {
        let tokens = examples * sizes.context;
        let ids = |factor: usize| -> Vec<i32> {
            let v = sizes.vocabulary;
            (0..tokens)
                .map(|i| ((i * i * factor + i * 7) % v) as i32)
                .collect()
        };
        let batch = Batch::new(
            &ids(31),
            &ids(17),
            &vec![1.0 / sizes.context as f32; tokens],
            &vec![1.0; examples],
            sizes.context,
            device,
        );
        let loss: Loss<Transformer> = Box::new(move |model, tape| model.losses(&batch, tape).sum());
        Self::new(
            || Transformer::new(sizes, SEED, device),
            loss,
            examples,
            planner,
            device,
        )
    }
}

impl Trained<Mlp> {
    fn mlp(planner: Planner, device: &Device) -> Self {
        let images = Images::new(device);
        let loss: Loss<Mlp> = Box::new(move |model, tape| model.losses(&images, tape).sum());
        let examples = Workload::Mlp.examples();
        Self::new(|| Mlp::new(SEED, device), loss, examples, planner, device)
    }
}

impl<M: Module> Both for Trained<M> {
    fn private(&mut self, device: &Device, noise: StepNoise<'_>) -> Result<(), StepError> {
        let Some(model) = self.private.take() else {
            return Err(StepError::Device(
                "the model was lost in a failed step".into(),
            ));
        };
        let mut tape = Tape::private(device);
        let loss = (self.loss)(&model, &mut tape);
        self.sums.add(tape, loss, self.mask.clone())?;
        let divisor = self.mask.dims()[0] as f64;
        self.private = Some(self.private_optimizer.step(
            RATE,
            model,
            &mut self.sums,
            divisor,
            noise,
            Generator::ChaCha20,
        )?);
        Ok(())
    }

    fn ordinary(&mut self, device: &Device) {
        if let Some(model) = self.ordinary.take() {
            let mut tape = Tape::ordinary(device);
            let divisor = self.mask.dims()[0] as f64;
            let loss = (self.loss)(&model, &mut tape) / divisor;
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            self.ordinary = Some(self.ordinary_optimizer.step(RATE, model, gradients));
        }
    }

    fn check(&self, device: &Device) -> Result<StepCheck, StepError> {
        let Some(model) = self.private.as_ref() else {
            return Err(StepError::Device(
                "the model was lost in a failed step".into(),
            ));
        };
        check::check(model, &self.loss, self.mask.dims()[0], self.planner, device)
    }
    fn plans(&self) -> Vec<LayerPlan> {
        self.sums.plans()
    }
}
