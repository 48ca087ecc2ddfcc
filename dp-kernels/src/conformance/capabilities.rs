//! What `Backend::caps` says against what the launchers answer, for every float type.

use super::bench::Bench;
use super::data::Case;
use super::ops::{NORMS, SUMS};
use super::refusals::name;
use super::{CheckError, Row};
use crate::caps::{ACCUMULATORS, INPUTS, kind_name};
use crate::{
    KernelError, Transposes, Updated, add_gaussian_noise, bias_norm_sq, clip_factors, matmul,
    noised_update, release_hardened, weighted_sum_bias, zero_dead_rows,
};
use cubecl::{ir::FloatKind, std::tensor::TensorHandle};
use dp_core::clipping::Clipping;
use dp_core::noise::{GaussianDraw, Generator, Hardened, HardenedDraw, HardenedError, Key};
use dp_core::update::UpdateRule;

const KINDS: [FloatKind; 8] = [
    FloatKind::F32,
    FloatKind::F16,
    FloatKind::BF16,
    FloatKind::F64,
    FloatKind::TF32,
    FloatKind::Flex32,
    FloatKind::E4M3,
    FloatKind::E5M2,
];

const CASE: Case = Case::new(2, 3, 4, 5, 6);

pub(super) fn agree(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for kind in KINDS {
        let probe = Bench::with_input(bench.backend.clone(), kind);
        rows.extend(as_input(&probe)?);
        rows.extend(as_sums(&probe));
    }
    rows.extend(of_their_own(bench)?);
    let caps = bench.backend.caps();
    let f32_missing = [&caps.inputs, &caps.accumulators]
        .iter()
        .any(|kinds| !kinds.contains(&FloatKind::F32));
    rows.push(Row::holds(
        "caps takes f32",
        "f32",
        "",
        f32_missing.then(|| "every device must take f32".to_owned()),
    ));
    let told = [&caps.inputs, &caps.accumulators].map(|kinds| kinds.contains(&FloatKind::F64));
    let failure = (told != [caps.f64; 2]).then(|| format!("inputs and sums say {told:?}"));
    rows.push(Row::holds("caps says f64 once", "f64", "", failure));
    let failure = (bench.backend.describe().backend == "wgpu" && caps.f64)
        .then(|| "no API under wgpu promises to round it".to_owned());
    rows.push(Row::holds(
        "caps takes no f64 through wgpu",
        "f64",
        "",
        failure,
    ));
    Ok(rows)
}

/// Every launcher's answer to inputs of the probe's type, with sums of the type that belongs to it.
fn as_input(probe: &Bench) -> Result<Vec<Row>, CheckError> {
    let (caps, kind) = (probe.backend.caps(), probe.input);
    let want = match (caps.inputs.contains(&kind), INPUTS.contains(&kind)) {
        (true, _) => "Ok",
        (false, true) => "UnsupportedType",
        (false, false) => "ElementType",
    };
    let host = probe.host(CASE, 8);
    let mut rows = Vec::new();
    for op in &NORMS {
        let out = probe.upload_sums(&[CASE.b], &[0.0; CASE.b]);
        let answer = (op.launch)(probe, &host, &out);
        probe.download_sums(&out)?;
        rows.push(row(op.name, kind, "as an input", &answer, want));
    }
    for op in &SUMS {
        let shape = op.gradient.shape(CASE);
        let out = probe.upload_sums(&shape, &vec![0.0; shape.iter().product()]);
        let answer = (op.launch)(probe, &host, &out);
        probe.download_sums(&out)?;
        rows.push(row(op.name, kind, "as an input", &answer, want));
    }
    let x = probe.upload_input(&[CASE.b, CASE.t, CASE.p], &host.g);
    let factors = probe.upload_sums(&[CASE.b], &host.factors);
    let answer = zero_dead_rows(&probe.launch(), &x, &factors);
    rows.push(row("zero_dead_rows", kind, "as an input", &answer, want));
    Ok(rows)
}

/// The launchers that no other row asks for f64.
fn of_their_own(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let caps = bench.backend.caps();
    let probe = Bench::with_input(bench.backend.clone(), FloatKind::F64);
    let launch = &probe.launch();
    let refused = |error: HardenedError| CheckError::Reference(error.to_string());
    let plan = Hardened::plan(1.0, 1.0, 0.0, 8, -10).map_err(refused)?;
    let target = probe.upload_input(&[8], &[1.0; 8]);
    let draw = HardenedDraw {
        first_element: 0,
        plan,
        key: &Key::new([1; 8]),
        step: 0,
        tensor: 0,
    };
    let hardened = release_hardened(launch, &target, draw);
    let square = probe.upload_input(&[2, 2], &[1.0; 4]);
    let out = probe.upload_input(&[2, 2], &[1.0; 4]);
    let routine = probe.tuning().routine;
    let product = matmul(launch, &square, &square, &out, Transposes::NONE, routine);
    let answers = [("release_hardened", hardened), ("matmul", product)];
    Ok(answers
        .into_iter()
        .map(|(op, answer)| {
            let want = if caps.f64 { "Ok" } else { "UnsupportedType" };
            row(
                op,
                FloatKind::F64,
                "in a launcher of its own",
                &answer,
                want,
            )
        })
        .collect())
}

/// An update whose buffers are all the probe's.
fn update(probe: &Bench, target: &TensorHandle, key: &Key) -> Result<(), KernelError> {
    let parameter = probe.upload_input(&[8], &[1.0; 8]);
    let updated = Updated {
        sum: target,
        parameter: &parameter,
        moments: &[],
        copy: None,
    };
    let rule = UpdateRule::Sgd {
        rate: 0.1,
        momentum: 0.0,
        nesterov: false,
        weight_decay: 0.0,
    };
    noised_update(&probe.launch(), &updated, draw(key), 4.0, rule, false)
}

fn draw(key: &Key) -> GaussianDraw<'_> {
    GaussianDraw {
        first_element: 0,
        std: 1.0,
        key,
        generator: Generator::ChaCha20,
        step: 0,
        tensor: 0,
    }
}

/// Norms, factors and sums of the probe's type: alone, and beside inputs of f32 and f64.
fn as_sums(probe: &Bench) -> Vec<Row> {
    let (caps, kind) = (probe.backend.caps(), probe.input);
    let launch = &probe.launch();
    let mut rows = Vec::new();
    for inputs in ACCUMULATORS {
        if !caps.inputs.contains(&inputs) {
            continue;
        }
        let other = Bench::with_input(probe.backend.clone(), inputs);
        let host = other.host(CASE, 8);
        let g = other.upload_input(&[CASE.b, CASE.t, CASE.p], &host.g);
        let want = match (kind == inputs, ACCUMULATORS.contains(&kind)) {
            (true, _) => "Ok",
            (false, true) => "MixedTypes",
            (false, false) => "ElementType",
        };
        let role = format!("as the sums of {}", kind_name(inputs));
        let mut tell = |op, answer| rows.push(row(op, kind, &role, &answer, want));
        let out = probe.upload_input(&[CASE.b], &[0.0; CASE.b]);
        tell("bias_norm_sq", bias_norm_sq(launch, &g, &out));
        let factors = probe.upload_input(&[CASE.b], &host.factors);
        let out = other.upload_sums(&[CASE.p], &[0.0; CASE.p]);
        let answer = weighted_sum_bias(launch, &g, &factors, &out);
        tell("weighted_sum_bias", answer);
        tell("zero_dead_rows", zero_dead_rows(launch, &g, &factors));
        let factors = other.upload_sums(&[CASE.b], &host.factors);
        let out = probe.upload_input(&[CASE.p], &[0.0; CASE.p]);
        let answer = weighted_sum_bias(launch, &g, &factors, &out);
        tell("weighted_sum_bias out", answer);
    }
    let want = match (caps.accumulators.contains(&kind), kind) {
        (true, _) => "Ok",
        (false, FloatKind::F64) => "UnsupportedType",
        (false, _) => "ElementType",
    };
    let key = Key::new([1; 8]);
    let target = probe.upload_input(&[8], &[1.0; 8]);
    let answer = add_gaussian_noise(launch, &target, draw(&key));
    rows.push(row(
        "add_gaussian_noise",
        kind,
        "as a target",
        &answer,
        want,
    ));
    let answer = update(probe, &target, &key);
    rows.push(row("noised_update", kind, "as a target", &answer, want));
    let norms = probe.upload_input(&[CASE.b], &[1.0; CASE.b]);
    let mask = probe.upload(&[CASE.b], &[1.0; CASE.b]);
    let flat = Clipping::Flat { clip: 1.0 };
    let answer = clip_factors(launch, &norms, &mask, &norms, flat);
    rows.push(row("clip_factors", kind, "as norms", &answer, want));
    rows
}

fn row(op: &str, kind: FloatKind, role: &str, answer: &Result<(), KernelError>, want: &str) -> Row {
    let got = name(answer);
    let failure = (got != want).then(|| format!("answered {got}, caps says {want}"));
    Row::holds(op, kind_name(kind), role, failure)
}
