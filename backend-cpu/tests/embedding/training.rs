//! Private training in a framework that isn't burn: logistic regression on the caller's own buffers.

use std::{error::Error, path::Path};

use cubecl::{CubeElement, ir::ElemType, ir::FloatKind, std::tensor::TensorHandle};
use dp_core::{clipping::Clipping, ledger::Header, noise::Generator, sensitivity::ClippedSum};
use dp_engine::fingerprint::{config_fingerprint, dataset_fingerprint};
use dp_engine::plan::{Plan, PlanRequest, PrivacyTarget};
use dp_engine::{batches::Batches, keys::RunKeys, ledger::LedgerFile};
use dp_kernels as dp;

/// Features of a record, and whether it belongs to the class.
pub type Record = ([f32; 8], bool);

/// Weights and bias of a model that is (epsilon, delta)-private for adding or removing one record, and the epsilon spent.
pub fn train(
    device: &dp::Backend,
    records: &[Record],
    target: PrivacyTarget,
    ledger: &Path,
) -> Result<([f32; 9], f64), Box<dyn Error>> {
    const ROWS: usize = 128;
    let client = &device.client;
    // What the kernels write for themselves; it grows during the first step and is kept.
    let workspace = dp::Workspace::growing();
    let launch = &device.launch().with_workspace(&workspace);
    // Your buffers: any handle of the client, with its shape. Here they are filled from the host.
    let upload = |shape: &[usize], values: &[f32]| {
        let handle = client.create_from_slice(f32::as_bytes(values));
        TensorHandle::new_contiguous(shape.to_vec(), handle, ElemType::Float(FloatKind::F32))
    };

    // What f32 rounding adds to one record's influence, then the noise that the target asks for.
    let (n, batch, steps, clip) = (records.len() as u64, 100, 60, 1.0);
    let sum_depth = device
        .tuning
        .weighted_sum_depth(ROWS as u64, 1, n.div_ceil(ROWS as u64));
    let sum = ClippedSum {
        terms: n,
        sum_depth,
        norm_depth: 32,
        cancellation: 1.0,
    };
    let plan = Plan::new(&PlanRequest {
        target,
        records: n,
        batch,
        steps,
        clip,
        eta: sum.eta()?,
    })?;
    let clipping = Clipping::Flat { clip: clip as f32 };

    // Secret keys of this start, and the ledger that every step is paid from.
    let keys = RunKeys::generate()?;
    let config = config_fingerprint(&format!("logistic regression, {:?}", plan.request()).into());
    let dataset = dataset_fingerprint(records.iter().map(|record| format!("{record:?}")));
    let header = Header { dataset, config };
    let mut ledger = LedgerFile::create(ledger, &header, target, keys.process)?;
    let mut batches = Batches::private(n, plan.rate(), ROWS, keys.sampling)?;

    let mut parameters = [0.0f32; 9];
    for step in 0..plan.steps() {
        let sums = [upload(&[8, 1], &[0.0; 8]), upload(&[1], &[0.0])];
        for microbatch in batches.draw(step).microbatches() {
            // Your forward and backward pass: A is the layer's input, G the gradient of the SUM of the losses with
            // respect to its output. A row of padding may hold anything; the mask keeps it out.
            let (mut a, mut g) = (vec![0.0; ROWS * 8], vec![0.0; ROWS]);
            for (row, record) in microbatch.records.iter().enumerate() {
                let Some(record) = record else { continue };
                let (x, class) = &records[*record as usize];
                let logit: f32 = parameters[8] + (0..8).map(|i| parameters[i] * x[i]).sum::<f32>();
                a[row * 8..][..8].copy_from_slice(x);
                g[row] = 1.0 / (1.0 + (-logit).exp()) - f32::from(u8::from(*class));
            }
            let (a, g) = (upload(&[ROWS, 1, 8], &a), upload(&[ROWS, 1, 1], &g));
            let (mask, factors) = (
                upload(&[ROWS], microbatch.mask),
                upload(&[ROWS], &[0.0; ROWS]),
            );
            // Every parameter adds into the norms before the factors are taken of them.
            let norms = upload(&[ROWS], &[0.0; ROWS]);
            dp::linear_norm_sq(launch, &a, &g, &norms, dp::LinearNorm::Auto)?;
            dp::bias_norm_sq(launch, &g, &norms)?;
            dp::clip_factors(launch, &norms, &mask, &factors, clipping)?;
            dp::weighted_sum_linear(launch, &a, &g, &factors, &sums[0])?;
            dp::weighted_sum_bias(launch, &g, &factors, &sums[1])?;
        }
        // Paid on the disk first; only the reservation opens the noise key. An empty batch pays and is noised too.
        let paid = ledger.reserve(step, plan.charge())?;
        let noise = keys.noise.for_step(&paid)?;
        let mut update = Vec::new();
        for (tensor, sum) in sums.into_iter().enumerate() {
            let (std, key, generator) = (noise.std_f32(), noise.key(), Generator::ChaCha20);
            let tensor = tensor as u32;
            dp::add_gaussian_noise(launch, &sum, 0, std, key, generator, noise.step(), tensor)?;
            let bytes = client
                .read_one(sum.handle)
                .map_err(|error| format!("{error:?}"))?;
            update.extend_from_slice(&f32::from_bytes(&bytes)[..sum.metadata.num_elements()]);
        }
        // Your optimizer. The divisor is the EXPECTED batch size: the drawn one is private.
        for (parameter, sum) in parameters.iter_mut().zip(update) {
            *parameter -= 2.0 * sum / plan.divisor() as f32;
        }
        ledger.commit(paid)?;
    }
    Ok((parameters, ledger.epsilon(target.delta)?.upper))
}
