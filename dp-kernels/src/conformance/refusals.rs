//! What the launchers must refuse, with which error, and without touching the output.

use super::bench::{Bench, F32, first_difference};
use super::{CheckError, Row};
use crate::{
    ConvShape, KernelError, LinearNorm, Routine, Transposes, add_gaussian_noise, bias_norm_sq,
    channel_bias_norm_sq, channel_scale_norm_sq, clip_factors, conv_norm_sq, embedding_norm_sq,
    gradient_norm_sq, linear_norm_sq, matmul, tied_norm_sq, weighted_sum_conv,
    weighted_sum_embedding, weighted_sum_gradient, weighted_sum_linear, weighted_sum_tied,
    zero_dead_rows,
};
use cubecl::std::tensor::TensorHandle;
use dp_core::clipping::Clipping;
use dp_core::noise::{Generator, Key};

pub(super) fn all(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let (client, tuning) = (bench.client(), bench.tuning());
    let values = [1.0f32; 48];
    let upload = |shape: &[usize]| bench.upload(shape, &values[..shape.iter().product()]);
    let out = upload(&[2]);
    let (a, g) = (upload(&[2, 3, 4]), upload(&[2, 3, 5]));
    let ids = bench.upload_u32(&[2, 3], &[0, 1, 2, 0, 1, 2]);
    let transposed = TensorHandle::new(
        upload(&[2, 5, 3]).handle,
        vec![2, 3, 5],
        vec![15, 1, 3],
        F32,
    );
    let short = TensorHandle::new_contiguous(vec![2, 300, 500], client.empty(16), F32);
    let vast = TensorHandle::new_contiguous(vec![2, 1 << 20, 1 << 20], client.empty(16), F32);
    let wide = TensorHandle::new_contiguous(vec![1, 1 << 20, 1 << 13], client.empty(16), F32);
    let one = upload(&[1]);
    let scalar = upload(&[]);
    let gram = LinearNorm::Gram;
    let flat = Clipping::Flat { clip: 1.0 };
    let noise = |std: f32, first: u64, tensor: u32| {
        let (key, chacha) = (Key::new([1; 8]), Generator::ChaCha20);
        add_gaussian_noise(client, &out, first, std, &key, chacha, 0, tensor, tuning)
    };
    let conv = |shape: ConvShape<1>| conv_norm_sq(client, &a, &g, &out, &shape, gram, tuning);

    let answers = [
        (
            "rank of a",
            "Rank",
            linear_norm_sq(client, &out, &g, &out, gram, tuning),
        ),
        (
            "tokens of g",
            "Shape",
            linear_norm_sq(client, &a, &upload(&[2, 4, 5]), &out, gram, tuning),
        ),
        (
            "examples of out",
            "Shape",
            linear_norm_sq(client, &a, &g, &upload(&[3]), gram, tuning),
        ),
        (
            "integer g",
            "ElementType",
            bias_norm_sq(client, &ids, &out, tuning),
        ),
        (
            "integer out",
            "ElementType",
            bias_norm_sq(client, &g, &bench.upload_u32(&[2], &[1, 1]), tuning),
        ),
        (
            "strided g",
            "NotContiguous",
            bias_norm_sq(client, &transposed, &out, tuning),
        ),
        (
            "short buffer",
            "BufferTooSmall",
            bias_norm_sq(client, &short, &out, tuning),
        ),
        (
            "2^41 elements",
            "TooLarge",
            bias_norm_sq(client, &vast, &out, tuning),
        ),
        (
            "2^33 parameters",
            "TooLarge",
            gradient_norm_sq(client, &wide, &one, tuning),
        ),
        (
            "the sum of 2^33 parameters",
            "TooLarge",
            weighted_sum_gradient(client, &wide, &one, &wide, tuning),
        ),
        (
            "a gradient without examples",
            "Rank",
            gradient_norm_sq(client, &scalar, &one, tuning),
        ),
        (
            "channels without positions",
            "Rank",
            channel_bias_norm_sq(client, &one, &out, tuning),
        ),
        (
            "xhat of channels",
            "Shape",
            channel_scale_norm_sq(client, &a, &g, &out, tuning),
        ),
        (
            "width of the head's input",
            "Shape",
            tied_norm_sq(client, &ids, &g, &a, &a, &out, tuning),
        ),
        (
            "tied table",
            "Shape",
            weighted_sum_tied(client, &ids, &g, &g, &a, &out, &upload(&[5, 4]), tuning),
        ),
        (
            "kernel wider than its input",
            "Conv",
            conv(ConvShape::new([5])),
        ),
        (
            "stride 0",
            "Conv",
            conv(ConvShape {
                stride: [0],
                ..ConvShape::new([1])
            }),
        ),
        (
            "groups of channels",
            "Conv",
            conv(ConvShape {
                groups: 2,
                ..ConvShape::new([1])
            }),
        ),
        ("positions of g", "Shape", conv(ConvShape::new([1]))),
        (
            "axes of an image",
            "Rank",
            conv_norm_sq(client, &a, &g, &out, &ConvShape::new([1, 1]), gram, tuning),
        ),
        (
            "weight of a convolution",
            "Shape",
            weighted_sum_conv(
                client,
                &a,
                &a,
                &out,
                &upload(&[3, 3, 2]),
                &ConvShape::new([1]),
                tuning,
            ),
        ),
        (
            "float ids",
            "ElementType",
            embedding_norm_sq(client, &upload(&[2, 3]), &g, &out, tuning),
        ),
        (
            "width of the table",
            "Shape",
            weighted_sum_embedding(client, &ids, &g, &out, &upload(&[3, 4]), tuning),
        ),
        (
            "shape of the weight",
            "Shape",
            weighted_sum_linear(client, &a, &g, &out, &upload(&[5, 4]), tuning),
        ),
        (
            "mask",
            "Shape",
            clip_factors(client, &out, &upload(&[3]), &out, flat, tuning),
        ),
        (
            "clip 0",
            "Clipping",
            clip_factors(
                client,
                &out,
                &out,
                &out,
                Clipping::Flat { clip: 0.0 },
                tuning,
            ),
        ),
        (
            "clip NaN",
            "Clipping",
            clip_factors(
                client,
                &out,
                &out,
                &out,
                Clipping::Flat { clip: f32::NAN },
                tuning,
            ),
        ),
        (
            "factors",
            "Shape",
            zero_dead_rows(client, &g, &upload(&[3]), tuning),
        ),
        ("std -1", "Noise", noise(-1.0, 0, 0)),
        ("std NaN", "Noise", noise(f32::NAN, 0, 0)),
        ("element 2^35", "Noise", noise(1.0, 1 << 35, 0)),
        ("reserved tensor", "Noise", noise(1.0, 0, u32::MAX)),
        (
            "inner axes",
            "Shape",
            matmul(
                client,
                &a,
                &g,
                &upload(&[2, 3, 5]),
                Transposes::NONE,
                tuning.routine,
            ),
        ),
        (
            "routine",
            "Matmul",
            matmul(
                client,
                &a,
                &upload(&[2, 4, 5]),
                &upload(&[2, 3, 5]),
                Transposes::NONE,
                wrong(tuning.routine),
            ),
        ),
    ];
    let mut rows: Vec<Row> = answers
        .into_iter()
        .map(|(what, want, answer)| {
            let got = name(&answer);
            let failure = (got != want).then(|| format!("answered {got}, not {want}"));
            Row::holds(format!("refusal of {what}"), "f32", "", failure)
        })
        .collect();
    let untouched = first_difference(&bench.download(&out)?, &[1.0, 1.0]);
    rows.push(Row::holds(
        "refusals leave the output",
        "f32",
        "",
        untouched,
    ));
    Ok(rows)
}

fn wrong(routine: Routine) -> Routine {
    if routine == Routine::Registers {
        Routine::Units
    } else {
        Routine::CpuGemm
    }
}

/// The variant, as a row tells it.
pub(super) fn name(answer: &Result<(), KernelError>) -> &'static str {
    match answer {
        Ok(()) => "Ok",
        Err(KernelError::Rank { .. }) => "Rank",
        Err(KernelError::Shape { .. }) => "Shape",
        Err(KernelError::ElementType { .. }) => "ElementType",
        Err(KernelError::MixedTypes { .. }) => "MixedTypes",
        Err(KernelError::UnsupportedType { .. }) => "UnsupportedType",
        Err(KernelError::NotContiguous { .. }) => "NotContiguous",
        Err(KernelError::BufferTooSmall { .. }) => "BufferTooSmall",
        Err(KernelError::TooLarge { .. }) => "TooLarge",
        Err(KernelError::Clipping { .. }) => "Clipping",
        Err(KernelError::Quantile { .. }) => "Quantile",
        Err(KernelError::Misaligned { .. }) => "Misaligned",
        Err(KernelError::Conv { .. }) => "Conv",
        Err(KernelError::Noise { .. }) => "Noise",
        Err(KernelError::Update { .. }) => "Update",
        Err(KernelError::Moments { .. }) => "Moments",
        Err(KernelError::Matmul { .. }) => "Matmul",
    }
}
