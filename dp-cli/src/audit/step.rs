//! The white-box audit of one private step: clip, weighted sum and noise as the kernels do them on a device.

use cubecl::std::tensor::TensorHandle;
use dp_audit::{GdpBound, Roc, gdp_lower_bound};
use dp_core::accounting::Event;
use dp_core::clipping::Clipping;
use dp_core::ledger::Charge;
use dp_core::noise::chacha::ChaCha20Rng;
use dp_core::noise::{GaussianDraw, Generator, Key};
use dp_kernels::{
    Backend, Launch, LinearNorm, Workspace, add_gaussian_noise, bias_norm_sq, clip_factors,
    linear_norm_sq, weighted_sum_bias, weighted_sum_linear,
};
use rand_core::{Rng, SeedableRng};
use serde_json::json;

use super::args::StepArgs;
use super::page::{Curves, Found, number, roc, thinned};
use super::{check_confidence, claimed, verdict};
use crate::error::Failure;
use crate::output::note;

/// Rows of the batch; the last is the canary's.
const ROWS: usize = 8;
/// Tokens of a record, inputs and outputs of the layer.
const SIZES: [usize; 3] = [2, 8, 4];
/// The canary's gradient before it is clipped, in clipping norms.
const LENGTH: f32 = 10.0;

/// Releases the step with the canary and without, and judges by the score of each release what may be told of the canary.
///
/// # Errors
/// A number out of range, a device that can't be opened or fails; a bound above the claim.
pub fn run(args: &StepArgs) -> Result<(), Failure> {
    check(args)?;
    let (_, backend) = crate::device::open(args.device)?;
    let event = Event::Gaussian { sigma: args.sigma };
    let claim = claimed(&[(event, 1)], args.delta)?;
    let step = Step::new(&backend, args)?;
    note!("{}", backend.describe());
    note!("releasing a step {} times", 2 * args.releases);
    // Steps of one run: no two releases share noise.
    let scores = |present: bool| -> Result<Vec<f64>, Failure> {
        let first = if present { args.releases } else { 0 };
        (0..args.releases)
            .map(|i| step.score(present, u64::from(first + i)))
            .collect()
    };
    let (absent, present) = (scores(false)?, scores(true)?);
    let bound = gdp_lower_bound(&absent, &present, args.sink.confidence)?;
    let lower = bound.epsilon(args.delta)?;
    let found = report(args, &backend, &bound, lower, claim, [&absent, &present])?;
    found.write(&args.sink)?;
    verdict(lower, claim)
}

fn check(args: &StepArgs) -> Result<(), Failure> {
    check_confidence(args.sink.confidence)?;
    if args.releases < 100 {
        return Err(Failure::new(format!(
            "--releases is {}: fewer than 100 prove nothing, take thousands",
            args.releases
        )));
    }
    if !(args.clip.is_finite() && args.clip > 0.0 && args.clip <= 1e9) {
        return Err(Failure::new(format!(
            "--clip is {}: it must be a number above 0, at most 1e9",
            args.clip
        )));
    }
    Ok(())
}

/// A batch on the device, and what its step is made with.
struct Step<'a> {
    backend: &'a Backend,
    workspace: Workspace,
    inputs: TensorHandle,
    gradients: TensorHandle,
    /// Without the canary and with it.
    masks: [TensorHandle; 2],
    clip: f32,
    std: f32,
    key: Key,
}

impl<'a> Step<'a> {
    /// Records of random gradients, and a canary whose gradient lies along one weight and one bias.
    fn new(backend: &'a Backend, args: &StepArgs) -> Result<Self, Failure> {
        let [tokens, d, p] = SIZES;
        let mut random = ChaCha20Rng::seed_from_u64(args.seed);
        let mut uniform = || (random.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
        let mut inputs: Vec<f32> = (0..ROWS * tokens * d).map(|_| uniform()).collect();
        let mut gradients: Vec<f32> = (0..ROWS * tokens * p)
            .map(|_| uniform() * args.clip as f32)
            .collect();
        let last = (ROWS - 1) * tokens;
        inputs[last * d..].fill(0.0);
        gradients[last * p..].fill(0.0);
        inputs[last * d] = 1.0;
        gradients[last * p] = LENGTH * args.clip as f32;

        let launch = backend.launch();
        let mut mask = [1.0; ROWS];
        let with = launch.upload(&[ROWS], &mask)?;
        mask[ROWS - 1] = 0.0;
        let without = launch.upload(&[ROWS], &mask)?;
        // The inputs are f32.
        let tuning = backend.tuning.without_matrix_units();
        let depth = tuning.linear_norm_depth(tokens as u64, d as u64, p as u64) + 16;
        let cancellation = (tokens as f64).sqrt();
        let sum = tuning.clipped_sum(
            ROWS as u64,
            [ROWS as u64, tokens as u64],
            depth,
            cancellation,
        );
        let charge = Charge {
            event: Event::Gaussian { sigma: args.sigma },
            clip: args.clip,
            eta: sum.eta()?,
            count: 1,
            counts: None,
        };
        Ok(Self {
            backend,
            workspace: Workspace::growing(),
            inputs: launch.upload(&[ROWS, tokens, d], &inputs)?,
            gradients: launch.upload(&[ROWS, tokens, p], &gradients)?,
            masks: [without, with],
            clip: args.clip as f32,
            std: (charge.noise_std() as f32).next_up(),
            key: Key::generate(&mut random)?,
        })
    }

    /// One release, along the canary's direction.
    fn score(&self, present: bool, step: u64) -> Result<f64, Failure> {
        let [weight, bias] = self.release(present, step)?;
        let along = f64::from(weight[0]) + f64::from(bias[0]);
        Ok(along * std::f64::consts::FRAC_1_SQRT_2)
    }

    /// The noised clipped sums of the layer's weight and bias.
    fn release(&self, present: bool, step: u64) -> Result<[Vec<f32>; 2], Failure> {
        let [_, d, p] = SIZES;
        let launch = &self.backend.launch().with_workspace(&self.workspace);
        let (a, g) = (&self.inputs, &self.gradients);
        let (norms, factors) = (launch.zeros(&[ROWS])?, launch.zeros(&[ROWS])?);
        let sums = [launch.zeros(&[d, p])?, launch.zeros(&[p])?];
        linear_norm_sq(launch, a, g, &norms, LinearNorm::Auto)?;
        bias_norm_sq(launch, g, &norms)?;
        let mask = &self.masks[usize::from(present)];
        clip_factors(
            launch,
            &norms,
            mask,
            &factors,
            Clipping::Flat { clip: self.clip },
        )?;
        weighted_sum_linear(launch, a, g, &factors, &sums[0])?;
        weighted_sum_bias(launch, g, &factors, &sums[1])?;
        for (tensor, sum) in sums.iter().enumerate() {
            self.noise(launch, sum, step, tensor as u32)?;
        }
        let [weight, bias] = sums.map(|sum| launch.read(&sum));
        Ok([weight?, bias?])
    }

    fn noise(
        &self,
        launch: &Launch<'_>,
        sum: &TensorHandle,
        step: u64,
        tensor: u32,
    ) -> Result<(), Failure> {
        let draw = GaussianDraw {
            first_element: 0,
            std: self.std,
            key: &self.key,
            generator: Generator::ChaCha20,
            step,
            tensor,
        };
        Ok(add_gaussian_noise(launch, sum, draw)?)
    }
}

/// The bound as a share of the claim. A claim of 0, of very much noise, has no shares.
fn share(lower: f64, claim: f64) -> String {
    if claim > 0.0 {
        format!("{:.4}", lower / claim)
    } else {
        "none: the claim is 0".into()
    }
}

fn report(
    args: &StepArgs,
    backend: &Backend,
    bound: &GdpBound,
    lower: f64,
    claim: f64,
    [absent, present]: [&[f64]; 2],
) -> Result<Found, Failure> {
    let errors = bound.errors;
    let claimed_mu = 1.0 / args.sigma;
    let allowed: Vec<(f64, f64)> = (0..=200)
        .map(|i| {
            let rate = f64::from(i) / 200.0;
            (
                rate,
                dp_audit::gaussian_true_positive_rate(rate, claimed_mu),
            )
        })
        .collect();
    let audited = thinned(Roc::new(absent, present)?.points());
    let curves = Curves {
        audited: &audited,
        other: &[],
        allowed: &allowed,
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rate =
        |count: u64, of: u64, most: f64| format!("{count} of {of}, a rate of at most {most:.5}");
    let confidence = args.sink.confidence;
    Ok(Found {
        audit: "step",
        title: "White-box audit of a private step",
        verdict: format!(
            "Lower bound on epsilon {lower:.4}, claimed {claim:.4} at delta {:e}: {}.",
            args.delta,
            if lower <= claim { "the claim stands" } else { "THE CLAIM IS FALSE" }
        ),
        heads: vec![String::new(), "Value".into()],
        rows: vec![
            row("epsilon, lower bound", format!("{lower:.6}")),
            row("epsilon, claimed", format!("{claim:.6}")),
            row("lower bound over claim", share(lower, claim)),
            row("mu, lower bound", format!("{:.6}", bound.mu)),
            row("mu, claimed", format!("{claimed_mu:.6}")),
            row("confidence", confidence.to_string()),
            row(
                "false alarms",
                rate(errors.false_alarms, errors.absent, errors.false_alarm_rate),
            ),
            row("canaries missed", rate(errors.missed, errors.present, errors.miss_rate)),
            row("noise multiplier", args.sigma.to_string()),
            row("clipping norm", args.clip.to_string()),
            row("device", format!("{}: {}", backend.describe().backend, backend.describe().device)),
        ],
        notes: vec![
            "Released: norms of a Linear layer, clip factors, weighted sums of weight and bias, and ChaCha20 noise, by the kernels that a private run \
             calls. Not in it: the sampler, the ledger, the drawing of keys; dpcube audit run has these."
                .into(),
            "The threshold was chosen on the first half of the releases and judged on the second: one-sided Clopper-Pearson bounds on both error \
             rates, which hold together with the confidence above, and mu from these two (Nasr et al. 2023, arXiv 2302.07956)."
                .into(),
            "A lower bound below the claim does not prove the claim: a better attack may exist.".into(),
        ],
        figures: vec![(
            roc(&curves)?,
            "What the attack tells".into(),
            "<span class=\"key private\"></span> the attack, all releases. Dashed: the most that the claim allows. The straight line knows nothing.".into(),
        )],
        json: json!({
            "lower": number(lower),
            "claimed": number(claim),
            "delta": args.delta,
            "confidence": confidence,
            "mu_lower": bound.mu,
            "mu_claimed": claimed_mu,
            "sigma": args.sigma,
            "clip": args.clip,
            "releases": args.releases,
            "threshold": number(errors.threshold),
            "false_alarms": errors.false_alarms,
            "absent": errors.absent,
            "missed": errors.missed,
            "present": errors.present,
            "seed": args.seed,
            "backend": backend.describe().backend,
            "device": backend.describe().device,
        }),
    })
}
