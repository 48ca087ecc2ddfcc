//! What `Backend::caps` says against what the launchers answer, for every float type.

use super::bench::Bench;
use super::data::Case;
use super::ops::{NORMS, SUMS};
use super::refusals::name;
use super::{CheckError, Row};
use crate::caps::{INPUTS, kind_name};
use crate::{KernelError, bias_norm_sq, zero_dead_rows};
use cubecl::ir::FloatKind;

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
    let caps = bench.backend.caps();
    let mut rows = Vec::new();
    for kind in KINDS {
        let probe = Bench::with_input(bench.backend.clone(), kind);
        let host = probe.host(CASE, 8);
        let want = match (caps.inputs.contains(&kind), INPUTS.contains(&kind)) {
            (true, _) => "Ok",
            (false, true) => "UnsupportedType",
            (false, false) => "ElementType",
        };
        for op in &NORMS {
            let out = bench.upload(&[CASE.b], &[0.0; CASE.b]);
            let answer = (op.launch)(&probe, &host, &out);
            bench.download(&out)?;
            rows.push(row(op.name, kind, "as an input", &answer, want));
        }
        for op in &SUMS {
            let shape = op.gradient.shape(CASE);
            let out = bench.upload(&shape, &vec![0.0; shape.iter().product()]);
            let answer = (op.launch)(&probe, &host, &out);
            bench.download(&out)?;
            rows.push(row(op.name, kind, "as an input", &answer, want));
        }
        let x = probe.upload_input(&[CASE.b, CASE.t, CASE.p], &host.g);
        let factors = bench.upload(&[CASE.b], &host.factors);
        let answer = zero_dead_rows(&bench.launch(), &x, &factors);
        rows.push(row("zero_dead_rows", kind, "as an input", &answer, want));

        let want = if caps.accumulators.contains(&kind) {
            "Ok"
        } else {
            "ElementType"
        };
        let g = bench.upload(&[CASE.b, CASE.t, CASE.p], &host.g);
        let out = probe.upload_input(&[CASE.b], &[0.0; CASE.b]);
        let answer = bias_norm_sq(&bench.launch(), &g, &out);
        rows.push(row(
            "bias_norm_sq",
            kind,
            "as an accumulator",
            &answer,
            want,
        ));
    }
    let f32_missing = !caps.inputs.contains(&FloatKind::F32);
    rows.push(Row::holds(
        "caps takes f32",
        "f32",
        "",
        f32_missing.then(|| "every device must take f32".to_owned()),
    ));
    Ok(rows)
}

fn row(op: &str, kind: FloatKind, role: &str, answer: &Result<(), KernelError>, want: &str) -> Row {
    let got = name(answer);
    let failure = (got != want).then(|| format!("answered {got}, caps says {want}"));
    Row::holds(op, kind_name(kind), role, failure)
}
