//! What the launchers must refuse, with which error, and without touching the output.

use super::bench::{Bench, F32, first_difference};
use super::{CheckError, Row};
use crate::{
    ConvShape, KernelError, LinearNorm, Lora, Routine, Transposes, add_gaussian_noise,
    bias_gradients, bias_norm_sq, channel_bias_norm_sq, channel_scale_norm_sq, clip_factors,
    conv_norm_sq, embedding_norm_sq, gradient_norm_sq, linear_and_bias_norm_sq, linear_norm_sq,
    lora_norm_sq, matmul, scale_and_bias_gradients, tied_norm_sq, weighted_sum_bias,
    weighted_sum_channel_bias, weighted_sum_channel_scale, weighted_sum_conv,
    weighted_sum_embedding, weighted_sum_gradient, weighted_sum_linear, weighted_sum_lora,
    weighted_sum_position, weighted_sum_scale, weighted_sum_tied, zero_dead_rows,
};
use cubecl::std::tensor::TensorHandle;
use dp_core::clipping::Clipping;
use dp_core::noise::{GaussianDraw, Generator, Key};

pub(super) fn all(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let (client, tuning) = (bench.client(), bench.tuning());
    let launch = &bench.launch();
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
    let channels = TensorHandle::new_contiguous(vec![1, 4096, 2], client.empty(4 << 13), F32);
    let places = ConvShape {
        padding: [(1 << 19) - 1],
        ..ConvShape::new([1 << 20])
    };
    let one = upload(&[1]);
    let scalar = upload(&[]);
    let gram = LinearNorm::Gram;
    let flat = Clipping::Flat { clip: 1.0 };
    let noise = |std: f32, first: u64, tensor: u32| {
        let draw = GaussianDraw {
            first_element: first,
            std,
            key: &Key::new([1; 8]),
            generator: Generator::ChaCha20,
            step: 0,
            tensor,
        };
        add_gaussian_noise(launch, &out, draw)
    };
    let (whole, table) = (bench.upload_u32(&[2, 3, 5], &[1; 30]), upload(&[4, 5]));
    let whole_rows = bench.upload_u32(&[2, 5], &[1; 10]);
    // Of rank 5, where the others fit.
    let lora = |x, h, last| Lora {
        x,
        h,
        g: last,
        g_h: &g,
    };
    let conv = |shape: ConvShape<1>| conv_norm_sq(launch, &a, &g, &out, &shape, gram);

    let answers = [
        (
            "rank of a",
            "Rank",
            linear_norm_sq(launch, &out, &g, &out, gram),
        ),
        (
            "tokens of g",
            "Shape",
            linear_norm_sq(launch, &a, &upload(&[2, 4, 5]), &out, gram),
        ),
        (
            "examples of out",
            "Shape",
            linear_norm_sq(launch, &a, &g, &upload(&[3]), gram),
        ),
        (
            "width of a bias's gradients",
            "Shape",
            bias_gradients(launch, &g, &upload(&[2, 4])),
        ),
        (
            "examples of a gain's gradients",
            "Shape",
            scale_and_bias_gradients(launch, &g, &g, &upload(&[3, 5]), &upload(&[2, 5])),
        ),
        (
            "integer gradients of a bias",
            "ElementType",
            scale_and_bias_gradients(launch, &g, &g, &upload(&[2, 5]), &whole_rows),
        ),
        (
            "width of the bias's gradients beside a weight",
            "Shape",
            linear_and_bias_norm_sq(launch, &a, &g, &out, Some(&upload(&[2, 4])), gram),
        ),
        ("integer g", "ElementType", bias_norm_sq(launch, &ids, &out)),
        (
            "integer out",
            "ElementType",
            bias_norm_sq(launch, &g, &bench.upload_u32(&[2], &[1, 1])),
        ),
        (
            "strided g",
            "NotContiguous",
            bias_norm_sq(launch, &transposed, &out),
        ),
        (
            "short buffer",
            "BufferTooSmall",
            bias_norm_sq(launch, &short, &out),
        ),
        (
            "2^41 elements",
            "TooLarge",
            bias_norm_sq(launch, &vast, &out),
        ),
        (
            "2^33 parameters",
            "TooLarge",
            gradient_norm_sq(launch, &wide, &one),
        ),
        (
            "the sum of 2^33 parameters",
            "TooLarge",
            weighted_sum_gradient(launch, &wide, &one, &wide),
        ),
        (
            "2^32 weights of a convolution, the norm of whose gradient is one number",
            "TooLarge",
            conv_norm_sq(launch, &channels, &upload(&[1, 1, 1]), &one, &places, gram),
        ),
        (
            "a gradient without examples",
            "Rank",
            gradient_norm_sq(launch, &scalar, &one),
        ),
        (
            "channels without positions",
            "Rank",
            channel_bias_norm_sq(launch, &one, &out),
        ),
        (
            "xhat of channels",
            "Shape",
            channel_scale_norm_sq(launch, &a, &g, &out),
        ),
        (
            "width of the head's input",
            "Shape",
            tied_norm_sq(launch, &ids, &g, &a, &a, &out),
        ),
        (
            "tied table",
            "Shape",
            weighted_sum_tied(launch, &ids, &g, &g, &a, &out, &upload(&[5, 4])),
        ),
        (
            "h of another rank",
            "Shape",
            lora_norm_sq(launch, &lora(&a, &a, &g), &out, gram),
        ),
        (
            "the gradient of B, of other tokens",
            "Shape",
            lora_norm_sq(launch, &lora(&a, &g, &upload(&[2, 4, 5])), &out, gram),
        ),
        (
            "integer h",
            "ElementType",
            lora_norm_sq(launch, &lora(&a, &whole, &g), &out, gram),
        ),
        (
            "the sum of B",
            "Shape",
            weighted_sum_lora(launch, &lora(&a, &g, &a), &out, &table, &upload(&[4, 5])),
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
            conv_norm_sq(launch, &a, &g, &out, &ConvShape::new([1, 1]), gram),
        ),
        (
            "weight of a convolution",
            "Shape",
            weighted_sum_conv(
                launch,
                &a,
                &a,
                &out,
                &upload(&[3, 3, 2]),
                &ConvShape::new([1]),
            ),
        ),
        (
            "values for another shape",
            "Values",
            launch.upload(&[2, 2], &[1.0; 5]).map(|_| ()),
        ),
        (
            "float ids",
            "ElementType",
            embedding_norm_sq(launch, &upload(&[2, 3]), &g, &out),
        ),
        (
            "width of the table",
            "Shape",
            weighted_sum_embedding(launch, &ids, &g, &out, &upload(&[3, 4])),
        ),
        (
            "shape of the weight",
            "Shape",
            weighted_sum_linear(launch, &a, &g, &out, &upload(&[5, 4])),
        ),
        (
            "mask",
            "Shape",
            clip_factors(launch, &out, &upload(&[3]), &out, flat),
        ),
        (
            "clip 0",
            "Clipping",
            clip_factors(launch, &out, &out, &out, Clipping::Flat { clip: 0.0 }),
        ),
        (
            "clip NaN",
            "Clipping",
            clip_factors(launch, &out, &out, &out, Clipping::Flat { clip: f32::NAN }),
        ),
        (
            "factors",
            "Shape",
            zero_dead_rows(launch, &g, &upload(&[3])),
        ),
        ("std -1", "Noise", noise(-1.0, 0, 0)),
        ("std NaN", "Noise", noise(f32::NAN, 0, 0)),
        ("element 2^35", "Noise", noise(1.0, 1 << 35, 0)),
        ("reserved tensor", "Noise", noise(1.0, 0, u32::MAX)),
        (
            "inner axes",
            "Shape",
            matmul(
                launch,
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
                launch,
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
    let untouched = first_difference(&bench.download(&out)?, &[1.0, 1.0])
        .or(first_difference(&bench.download(&table)?, &values[..20]));
    rows.push(Row::holds(
        "refusals leave the output",
        "f32",
        "",
        untouched,
    ));
    rows.extend(other_factors(bench)?);
    Ok(rows)
}

/// Factors of one example fewer or more than there are, which no weighted sum takes.
fn other_factors(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let launch = &bench.launch();
    let upload = |shape: &[usize]| bench.upload(shape, &vec![1.0; shape.iter().product()]);
    let ids = bench.upload_u32(&[2, 3], &[0, 1, 2, 0, 1, 2]);
    let (a, g) = (upload(&[2, 3, 4]), upload(&[2, 3, 5]));
    let (weight, positions, width) = (upload(&[4, 5]), upload(&[3, 5]), upload(&[5]));
    let (up, channels, kernel) = (upload(&[5, 4]), upload(&[3]), upload(&[3, 3, 1]));
    let lora = Lora {
        x: &a,
        h: &g,
        g: &a,
        g_h: &g,
    };
    let one = ConvShape::new([1]);
    let mut rows = Vec::new();
    for examples in [1, 3] {
        let c = &upload(&[examples]);
        let answers = [
            ("linear", weighted_sum_linear(launch, &a, &g, c, &weight)),
            ("bias", weighted_sum_bias(launch, &g, c, &width)),
            ("scale", weighted_sum_scale(launch, &g, &g, c, &width)),
            (
                "embedding",
                weighted_sum_embedding(launch, &ids, &g, c, &weight),
            ),
            ("position", weighted_sum_position(launch, &g, c, &positions)),
            ("gradient", weighted_sum_gradient(launch, &g, c, &positions)),
            (
                "channel_bias",
                weighted_sum_channel_bias(launch, &g, c, &channels),
            ),
            (
                "channel_scale",
                weighted_sum_channel_scale(launch, &g, &g, c, &channels),
            ),
            (
                "tied",
                weighted_sum_tied(launch, &ids, &g, &g, &a, c, &weight),
            ),
            ("lora", weighted_sum_lora(launch, &lora, c, &weight, &up)),
            ("conv", weighted_sum_conv(launch, &a, &a, c, &kernel, &one)),
        ];
        rows.extend(answers.into_iter().map(|(what, answer)| {
            let refused = matches!(
                answer,
                Err(KernelError::Shape {
                    argument: "factors",
                    ..
                })
            );
            let failure = (!refused).then(|| format!("answered {answer:?}"));
            let op = format!("refusal of {examples} factors of 2 by weighted_sum_{what}");
            Row::holds(op, "f32", "", failure)
        }));
    }
    for out in [&weight, &positions, &width, &up, &channels, &kernel] {
        let values = bench.download(out)?;
        let untouched = first_difference(&values, &vec![1.0; values.len()]);
        let op = "refusals of factors leave the output";
        rows.push(Row::holds(
            op,
            "f32",
            format!("{:?}", out.shape()),
            untouched,
        ));
    }
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
        Err(KernelError::Values { .. }) => "Values",
        Err(KernelError::WorkspaceTooSmall { .. }) => "WorkspaceTooSmall",
        Err(KernelError::TooLarge { .. }) => "TooLarge",
        Err(KernelError::Clipping { .. }) => "Clipping",
        Err(KernelError::Quantile { .. }) => "Quantile",
        Err(KernelError::Misaligned { .. }) => "Misaligned",
        Err(KernelError::Conv { .. }) => "Conv",
        Err(KernelError::Noise { .. }) => "Noise",
        Err(KernelError::Update { .. }) => "Update",
        Err(KernelError::Moments { .. }) => "Moments",
        Err(KernelError::Draws { .. }) => "Draws",
        Err(KernelError::Matmul { .. }) => "Matmul",
    }
}
