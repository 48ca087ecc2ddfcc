//! Private training in a framework that isn't burn: logistic regression on the caller's own buffers.

use std::{error::Error, path::Path};

use dp_core::{clipping::Clipping, ledger::Header, noise::Generator, update::UpdateRule};
use dp_engine::fingerprint::{config_fingerprint, dataset_fingerprint};
use dp_engine::plan::{Plan, PlanRequest, PrivacyTarget, Unit};
use dp_engine::run::PrivateRun;
use dp_kernels as dp;

/// Features of a record, and whether it belongs to the class.
pub type Record = ([f32; 8], bool);

/// Weights and bias of a model that is (epsilon, delta)-private for adding or removing one record, and the epsilon spent.
pub fn train(
    device: &dp::Backend,
    records: &[Record],
    target: PrivacyTarget,
    ledger: &Path,
) -> Result<(Vec<f32>, f64), Box<dyn Error>> {
    const ROWS: usize = 128;
    let workspace = dp::Workspace::growing();
    let launch = &device.launch().with_workspace(&workspace);

    // What f32 rounding adds to one record's influence, then the noise that the target asks for.
    let n = records.len() as u64;
    let sum = device.tuning.clipped_sum(n, [ROWS as u64, 1], 32, 1.0);
    let plan = Plan::new(&PlanRequest {
        target,
        unit: Unit::Record,
        units: n,
        batch: 100,
        steps: 60,
        clip: 1.0,
        eta: sum.eta()?,
    })?;
    let clipping = Clipping::Flat {
        clip: plan.clip() as f32,
    };
    let config = config_fingerprint(&format!("logistic regression, {:?}", plan.request()).into());
    let dataset = dataset_fingerprint(records.iter().map(|record| format!("{record:?}")));
    let header = Header {
        dataset,
        config,
        unit: plan.unit(),
    };
    let mut run = PrivateRun::create(ledger, &header, plan.clone(), ROWS)?;

    // Your buffers: any handle of the client, with its shape. Here they are made from the host.
    let parameters = [launch.zeros(&[8, 1])?, launch.zeros(&[1])?];
    let sums = [launch.zeros(&[8, 1])?, launch.zeros(&[1])?];
    let updated = [0, 1].map(|i| dp::Updated::plain(&sums[i], &parameters[i]));
    for step in 0..plan.steps() {
        let (weight, bias) = (launch.read(&parameters[0])?, launch.read(&parameters[1])?);
        for microbatch in run.draw(step).microbatches() {
            // Your forward and backward pass: A is the layer's input, G the gradient of the SUM of the losses with
            // respect to its output. A row of padding may hold anything; the mask keeps it out.
            let (mut a, mut g) = (vec![0.0; ROWS * 8], vec![0.0; ROWS]);
            for (row, record) in microbatch.present() {
                let (x, class) = &records[record];
                let logit = bias[0] + x.iter().zip(&weight).map(|(x, w)| x * w).sum::<f32>();
                a[row * 8..][..8].copy_from_slice(x);
                g[row] = 1.0 / (1.0 + (-logit).exp()) - f32::from(u8::from(*class));
            }
            let a = launch.upload(&[ROWS, 1, 8], &a)?;
            let g = launch.upload(&[ROWS, 1, 1], &g)?;
            let mask = launch.upload(&[ROWS], microbatch.mask)?;
            // Every parameter adds into the norms before the factors are taken of them.
            let (norms, factors) = (launch.zeros(&[ROWS])?, launch.zeros(&[ROWS])?);
            dp::linear_norm_sq(launch, &a, &g, &norms, dp::LinearNorm::Auto)?;
            dp::bias_norm_sq(launch, &g, &norms)?;
            dp::clip_factors(launch, &norms, &mask, &factors, clipping)?;
            dp::weighted_sum_linear(launch, &a, &g, &factors, &sums[0])?;
            dp::weighted_sum_bias(launch, &g, &factors, &sums[1])?;
        }
        // Paid on the disk before there is noise. Noise, division by the EXPECTED batch size (the drawn one is private) and
        // descent in one pass; the sums are zeros again afterwards. An empty batch pays and is noised too.
        run.release(|noise| -> Result<(), Box<dyn Error>> {
            let draws = noise.draws(Generator::ChaCha20);
            let (divisor, sgd) = (plan.divisor(), UpdateRule::sgd(2.0));
            Ok(dp::noised_updates(
                launch, &updated, draws, divisor, sgd, true,
            )?)
        })?;
    }
    let [weight, bias] = parameters.map(|parameter| launch.read(&parameter));
    Ok(([weight?, bias?].concat(), run.epsilon()?.upper))
}
