//! Clip factors by groups, and the counts of adaptive clipping.

use super::bench::{Bench, F32, elementwise_error, first_difference};
use super::clipping::{FACTOR_BUDGET, mask, norms, slack};
use super::data::Stream;
use super::{CheckError, Row};
use crate::{
    KernelError, QuantileCounts, bias_norm_sq, group_clip_factors, group_pitch, group_row,
    weighted_sum_bias,
};
use cubecl::std::tensor::TensorHandle;
use dp_core::clipping::{AdaptiveQuantile, ClippingError, GroupClipping, QuantileError};
use dp_core::noise::{GaussianDraw, Generator, Key, fill_gaussian};
use dp_core::reference;

const CLIPS: [f32; 5] = [1.0, 0.37, 1e4, 2e-3, 17.0];
const PAD: f64 = 9.0;

/// Squared norms of all magnitudes and the unusable ones, shuffled in each group, with one unusable row in ten examples.
struct Batch {
    groups: usize,
    pitch: usize,
    norms: Vec<f64>,
    mask: Vec<f32>,
}

impl Batch {
    fn new(bench: &Bench, groups: usize, examples: usize, spare: usize) -> Self {
        let pitch = examples + spare;
        let sorts = norms(bench);
        let mut stream = Stream(bench.mixed(21));
        let mut norms = vec![f64::NAN; groups * pitch];
        for b in 0..examples {
            let wild = b % 10 == 9;
            for group in 0..groups {
                let any = sorts[stream.next() as usize % sorts.len()];
                let tame = bench.round_sum(10f64.powf(20.0 * stream.unit() - 10.0));
                norms[group * pitch + b] = if wild { any } else { tame };
            }
            if b % 10 == 4 {
                norms[(b % groups) * pitch + b] = f64::NAN;
            }
        }
        Self {
            groups,
            pitch,
            norms,
            mask: mask(examples),
        }
    }

    /// No two groups' are the same.
    fn clips(&self) -> Vec<f32> {
        let times = |group: usize| (1 + group / CLIPS.len()) as f32;
        (0..self.groups)
            .map(|group| CLIPS[group % CLIPS.len()] * times(group))
            .collect()
    }

    fn words(&self) -> String {
        let Self { groups, pitch, .. } = self;
        format!("G{groups} B{} P{pitch}", self.mask.len())
    }

    fn upload(&self, bench: &Bench, values: &[f64]) -> TensorHandle {
        bench.upload_sums(&[self.groups, self.pitch], values)
    }

    fn factors_on_host(
        &self,
        bench: &Bench,
        clipping: GroupClipping<'_>,
    ) -> Result<Vec<f64>, CheckError> {
        let mut want = vec![PAD; self.norms.len()];
        if bench.is_wide() {
            reference::group_clip_factors(&self.norms, &self.mask, &mut want, clipping)
        } else {
            let mut narrow_want = narrow(&want);
            let norms = narrow(&self.norms);
            let done =
                reference::group_clip_factors(&norms, &self.mask, &mut narrow_want, clipping);
            want = narrow_want.into_iter().map(f64::from).collect();
            done
        }
        .map_err(|error| CheckError::Reference(error.to_string()))?;
        Ok(want)
    }

    fn count_on_host(
        &self,
        bench: &Bench,
        factors: &[f64],
        clips: &[f32],
        counts: &mut [f32],
    ) -> Result<(), CheckError> {
        let Self { norms, mask, .. } = self;
        if bench.is_wide() {
            reference::add_quantile_counts(norms, mask, factors, clips, counts)
        } else {
            let (norms, factors) = (narrow(norms), narrow(factors));
            reference::add_quantile_counts(&norms, mask, &factors, clips, counts)
        }
        .map_err(|error| CheckError::Reference(error.to_string()))
    }
}

/// The same numbers, which f32 holds.
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|v| *v as f32).collect()
}

/// The clipping norms of the last go to the device in three launches.
fn batches(bench: &Bench) -> [Batch; 6] {
    [
        Batch::new(bench, 1, 1, 0),
        Batch::new(bench, 1, 40, 0),
        Batch::new(bench, 3, 50, 14),
        Batch::new(bench, 5, 333, 3),
        Batch::new(bench, 2, 0, 4),
        Batch::new(bench, 70, 25, 7),
    ]
}

/// Every factor near the host's, every group's norm and the whole one bounded in f64, a bad row 0 in all groups, padding left.
pub(super) fn factors(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for batch in batches(bench) {
        let clips = batch.clips();
        for gamma in [None, Some(0.01)] {
            let clipping = policy(&clips, gamma)?;
            let want = batch.factors_on_host(bench, clipping)?;
            let out = batch.upload(bench, &vec![PAD; batch.norms.len()]);
            group_clip_factors(
                &bench.launch(),
                &batch.upload(bench, &batch.norms),
                &bench.upload(&[batch.mask.len()], &batch.mask),
                &out,
                clipping,
            )?;
            let got = bench.download_sums(&out)?;
            let (sums, budget) = (bench.sum_name(), bench.budget(FACTOR_BUDGET));
            let shape = format!("{} gamma {gamma:?}", batch.words());
            let op = "group_clip_factors";
            let error = elementwise_error(&got, &want);
            rows.push(Row::measured(op, sums, &shape, error, budget));
            let zero = |x: f64| x.to_bits() == 0;
            let wrong = (0..got.len()).find(|&i| zero(got[i]) != zero(want[i]));
            let wrong = wrong.map(|i| format!("factor {i} is {:e}, not {:e}", got[i], want[i]));
            let op = "group_clip_factors zeros";
            rows.push(Row::holds(op, sums, &shape, wrong));
            let op = "group_clip_factors bound";
            let excess = excess(&batch, &got, clipping);
            rows.push(Row::measured(op, sums, shape, excess, slack(bench)));
        }
    }
    Ok(rows)
}

fn policy(clips: &[f32], gamma: Option<f32>) -> Result<GroupClipping<'_>, CheckError> {
    let policy = gamma.map_or(GroupClipping::flat(clips), |gamma| {
        GroupClipping::automatic(clips, gamma)
    });
    policy.map_err(|error: ClippingError| CheckError::Reference(error.to_string()))
}

/// By how much a group's norm or the whole one is above its bound, relatively.
fn excess(batch: &Batch, factors: &[f64], clipping: GroupClipping<'_>) -> f64 {
    let mut worst = 0.0f64;
    for b in 0..batch.mask.len() {
        let mut whole = 0.0;
        for (group, clip) in clipping.clips().iter().enumerate() {
            let place = group * batch.pitch + b;
            if factors[place] != 0.0 {
                let clipped = batch.norms[place].sqrt() * factors[place];
                whole += clipped * clipped;
                worst = worst.max(clipped / f64::from(*clip) - 1.0);
            }
        }
        worst = worst.max(whole.sqrt() / clipping.sensitivity() - 1.0);
    }
    worst
}

/// Two groups from the norms to the sums through [`group_row`]: an example that is bad in one group reaches neither sum, whose
/// bits are those without it.
pub(super) fn isolation(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let (b, t, p) = (6, 3, 5);
    let clips = [0.5, 2.0];
    let values = Stream(33).numbers(2 * b * t * p);
    let values: Vec<f64> = values.into_iter().map(|v| bench.round(v)).collect();
    let (first, second) = values.split_at(b * t * p);
    let mut rows = Vec::new();
    for (what, bad) in [("NaN", f64::NAN), ("inf", f64::INFINITY)] {
        let mut poisoned = second.to_vec();
        poisoned[2 * t * p + 4] = bad;
        // Without the example: its rows are zeros, and it is masked.
        let mut mask = vec![1.0; b];
        let with = sums(bench, [first, &poisoned], &mask, &clips, [b, t, p])?;
        mask[2] = 0.0;
        let without = sums(bench, [first, second], &mask, &clips, [b, t, p])?;
        let failure = first_difference(&with, &without).or_else(|| {
            let broken = with.iter().any(|x| !x.is_finite()) || with.iter().all(|x| *x == 0.0);
            broken.then(|| format!("the sums are {with:?}"))
        });
        let (op, shape) = ("group_clip_factors isolation", format!("{what} in group 1"));
        rows.push(Row::holds(op, bench.input_name(), shape, failure));
    }
    Ok(rows)
}

fn sums(
    bench: &Bench,
    gradients: [&[f64]; 2],
    mask: &[f32],
    clips: &[f32],
    [b, t, p]: [usize; 3],
) -> Result<Vec<f64>, CheckError> {
    let (client, launch) = (bench.client(), &bench.launch());
    let pitch = group_pitch(client, b);
    let norms = bench.upload_sums(&[2, pitch], &vec![0.0; 2 * pitch]);
    let factors = bench.upload_sums(&[2, pitch], &vec![0.0; 2 * pitch]);
    let g = gradients.map(|g| bench.upload_input(&[b, t, p], g));
    for (group, g) in g.iter().enumerate() {
        bias_norm_sq(launch, g, &group_row(client, &norms, group, b)?)?;
    }
    let mask = bench.upload(&[b], mask);
    group_clip_factors(launch, &norms, &mask, &factors, policy(clips, None)?)?;
    let mut sums = Vec::new();
    for (group, g) in g.iter().enumerate() {
        let out = bench.upload_sums(&[p], &vec![0.0; p]);
        let factors = group_row(client, &factors, group, b)?;
        weighted_sum_bias(launch, g, &factors, &out)?;
        sums.extend(bench.download_sums(&out)?);
    }
    Ok(sums)
}

/// Counts of several microbatches, noised: the host's count plus the host's noise, and the noise is there.
pub(super) fn counts(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let (key, chacha) = (Key::new([7; 8]), Generator::ChaCha20);
    let mut rows = Vec::new();
    for batch in batches(bench) {
        let clips = batch.clips();
        let factors = batch.factors_on_host(bench, policy(&clips, None)?)?;
        let std = 0.75;
        let policy = AdaptiveQuantile::new(0.5, 0.2, std, 32.0, batch.groups).map_err(refused)?;
        let mut counts = QuantileCounts::new(&bench.launch(), policy)?;
        let mut want = vec![0.0; batch.groups + 1];
        for _ in 0..3 {
            batch.count_on_host(bench, &factors, &clips, &mut want)?;
            counts.add(
                &bench.launch(),
                &batch.upload(bench, &batch.norms),
                &bench.upload(&[batch.mask.len()], &batch.mask),
                &batch.upload(bench, &factors),
                &clips,
            )?;
        }
        // The policy's standard deviation counts, from element 0 on, whatever the draw says.
        let draw = GaussianDraw {
            first_element: 1,
            std: 1e-3,
            key: &key,
            generator: chacha,
            step: 3,
            tensor: 8,
        };
        let released = counts.release(&bench.launch(), draw)?;
        let got = bench.download(&released)?;
        let mut noise = vec![0.0; want.len()];
        fill_gaussian(&mut noise, 0, std, &key, chacha, 3, 8)
            .map_err(|error| CheckError::Reference(error.to_string()))?;
        // Counts are halves: what the noise leaves of them is exact but for one rounding of the sum.
        let error = (0..want.len())
            .map(|i| (f64::from(got[i]) - f64::from(noise[i]) - f64::from(want[i])).abs())
            .fold(0.0, f64::max);
        let op = "quantile_counts";
        let sums = bench.sum_name();
        rows.push(Row::measured(op, sums, batch.words(), error, 1e-3));
        let bare = (0..want.len()).find(|&i| got[i] == want[i]);
        let bare = bare.map(|i| format!("count {i} has no noise"));
        let op = "quantile_counts are noised";
        rows.push(Row::holds(op, sums, batch.words(), bare));
    }
    rows.extend(refusals(bench)?);
    Ok(rows)
}

fn refused(error: QuantileError) -> CheckError {
    CheckError::Reference(error.to_string())
}

fn refusals(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let (client, launch) = (bench.client(), &bench.launch());
    let clips = [1.0, 1.0];
    let upload = |shape: &[usize]| bench.upload(shape, &vec![1.0; shape.iter().product()]);
    let matrix = upload(&[2, 4]);
    let groups = policy(&clips, None)?;
    let factors = |norms: &[usize], mask: &[usize], out: &[usize]| {
        let (norms, mask, out) = (upload(norms), upload(mask), upload(out));
        group_clip_factors(launch, &norms, &mask, &out, groups)
    };
    let two = AdaptiveQuantile::new(0.5, 0.2, 1.0, 32.0, 2).map_err(refused)?;
    let mut counts = QuantileCounts::new(&bench.launch(), two)?;
    let mask = upload(&[4]);
    let clips_of_one = counts.add(launch, &matrix, &mask, &matrix, &[1.0]);
    // Only the shape is looked at before the count is.
    let rows = 1 << 22;
    let vast = |shape: &[usize]| {
        let bytes = shape.iter().product::<usize>() * size_of::<f32>();
        TensorHandle::new_contiguous(shape.to_vec(), client.empty(bytes), F32)
    };
    let one = AdaptiveQuantile::new(0.5, 0.2, 1.0, 32.0, 1).map_err(refused)?;
    let mut many = QuantileCounts::new(&bench.launch(), one)?;
    let wide = vast(&[1, rows + 1]);
    let too_many = many.add(launch, &wide, &vast(&[rows + 1]), &wide, &[1.0]);
    let odd = client.properties().memory.alignment > 4;
    let misaligned = match group_row(client, &upload(&[2, 3]), 1, 3) {
        Err(KernelError::Misaligned { .. }) => odd,
        Ok(_) => !odd,
        Err(_) => false,
    };
    let answers = [
        (
            "rows of norms_sq",
            matches!(
                factors(&[3, 4], &[4], &[3, 4]),
                Err(KernelError::Shape { .. })
            ),
        ),
        (
            "more examples than columns",
            matches!(
                factors(&[2, 4], &[5], &[2, 4]),
                Err(KernelError::Shape { .. })
            ),
        ),
        (
            "columns of factors",
            matches!(
                factors(&[2, 4], &[4], &[2, 5]),
                Err(KernelError::Shape { .. })
            ),
        ),
        (
            "axes of norms_sq",
            matches!(factors(&[8], &[4], &[2, 4]), Err(KernelError::Rank { .. })),
        ),
        (
            "clips of one group",
            matches!(clips_of_one, Err(KernelError::Shape { .. })),
        ),
        (
            "2^22 + 1 examples",
            matches!(too_many, Err(KernelError::Quantile { .. })),
        ),
        (
            "a row that is not there",
            matches!(
                group_row(client, &matrix, 2, 4),
                Err(KernelError::Shape { .. })
            ),
        ),
        ("a row out of step", misaligned),
    ];
    Ok(answers
        .into_iter()
        .map(|(what, right)| {
            let failure = (!right).then(|| "another answer".to_owned());
            Row::holds(format!("refusal of {what}"), "f32", "", failure)
        })
        .collect())
}
