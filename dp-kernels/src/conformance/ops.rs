//! The launchers as a table, so that every property is asked of every one of them.

use super::bench::Bench;
use super::conv::{CONVS, Images};
use super::data::{Case, Host};
use super::oracle::Gradient;
use crate::{
    KernelError, LinearNorm, Lora, bias_gradients, bias_norm_sq, channel_bias_norm_sq,
    channel_scale_norm_sq, embedding_norm_sq, gradient_norm_sq, linear_and_bias_norm_sq,
    linear_norm_sq, lora_norm_sq, position_norm_sq, scale_and_bias_gradients,
    scale_and_bias_norm_sq, scale_norm_sq, tied_norm_sq, weighted_sum_bias,
    weighted_sum_channel_bias, weighted_sum_channel_scale, weighted_sum_embedding,
    weighted_sum_gradient, weighted_sum_linear, weighted_sum_lora, weighted_sum_position,
    weighted_sum_scale, weighted_sum_tied,
};
use cubecl::std::tensor::TensorHandle;

/// One norm launcher.
#[derive(Clone, Copy)]
pub(super) struct NormOp {
    pub name: &'static str,
    pub gradient: Gradient,
    pub launch: fn(&Bench, &Host, &TensorHandle) -> Result<(), KernelError>,
}

/// Every norm launcher, with every variant.
pub(super) const NORMS: [NormOp; 41] = [
    NormOp {
        name: "linear_norm_sq gram",
        gradient: Gradient::Linear,
        launch: |bench, host, out| linear(bench, host, out, LinearNorm::Gram),
    },
    NormOp {
        name: "linear_norm_sq materialised",
        gradient: Gradient::Linear,
        launch: |bench, host, out| linear(bench, host, out, LinearNorm::Materialised),
    },
    NormOp {
        name: "linear_norm_sq auto",
        gradient: Gradient::Linear,
        launch: |bench, host, out| linear(bench, host, out, LinearNorm::Auto),
    },
    NormOp {
        name: "linear_and_bias_norm_sq gram",
        gradient: Gradient::LinearAndBias,
        launch: |bench, host, out| linear_and_bias(bench, host, out, LinearNorm::Gram),
    },
    NormOp {
        name: "linear_and_bias_norm_sq materialised",
        gradient: Gradient::LinearAndBias,
        launch: |bench, host, out| linear_and_bias(bench, host, out, LinearNorm::Materialised),
    },
    NormOp {
        name: "linear_and_bias_norm_sq auto",
        gradient: Gradient::LinearAndBias,
        launch: |bench, host, out| linear_and_bias(bench, host, out, LinearNorm::Auto),
    },
    NormOp {
        name: "linear_and_bias_norm_sq gram, bias kept",
        gradient: Gradient::LinearAndBias,
        launch: |bench, host, out| {
            keep_bias(bench, host, out, LinearNorm::Gram)?;
            Ok(())
        },
    },
    NormOp {
        name: "linear_and_bias_norm_sq materialised, bias kept",
        gradient: Gradient::LinearAndBias,
        launch: |bench, host, out| {
            keep_bias(bench, host, out, LinearNorm::Materialised)?;
            Ok(())
        },
    },
    NormOp {
        name: "scale_and_bias_gradients, gradient_norm_sq",
        gradient: Gradient::ScaleAndBias,
        launch: |bench, host, out| {
            let [scale, bias] = keep_scale_and_bias(bench, host)?;
            gradient_norm_sq(&bench.launch(), &scale, out)?;
            gradient_norm_sq(&bench.launch(), &bias, out)
        },
    },
    NormOp {
        name: "bias_gradients, gradient_norm_sq",
        gradient: Gradient::Bias,
        launch: |bench, host, out| {
            let (g, kept) = (g(bench, host), to_overwrite(bench, host));
            bias_gradients(&bench.launch(), &g, &kept)?;
            gradient_norm_sq(&bench.launch(), &kept, out)
        },
    },
    NormOp {
        name: "scale_and_bias_norm_sq",
        gradient: Gradient::ScaleAndBias,
        launch: |bench, host, out| {
            let (xhat, g) = (xhat(bench, host), g(bench, host));
            scale_and_bias_norm_sq(&bench.launch(), &xhat, &g, out)
        },
    },
    NormOp {
        name: "bias_norm_sq",
        gradient: Gradient::Bias,
        launch: |bench, host, out| bias_norm_sq(&bench.launch(), &g(bench, host), out),
    },
    NormOp {
        name: "scale_norm_sq",
        gradient: Gradient::Scale,
        launch: |bench, host, out| {
            let (xhat, g) = (xhat(bench, host), g(bench, host));
            scale_norm_sq(&bench.launch(), &xhat, &g, out)
        },
    },
    NormOp {
        name: "embedding_norm_sq u32",
        gradient: Gradient::Embedding,
        launch: |bench, host, out| {
            let Case { b, t, .. } = host.case;
            let ids = bench.upload_u32(&[b, t], &host.ids);
            embedding_norm_sq(&bench.launch(), &ids, &g(bench, host), out)
        },
    },
    NormOp {
        name: "embedding_norm_sq i32",
        gradient: Gradient::Embedding,
        launch: |bench, host, out| {
            let Case { b, t, .. } = host.case;
            let ids = bench.upload_i32(&[b, t], &host.ids);
            embedding_norm_sq(&bench.launch(), &ids, &g(bench, host), out)
        },
    },
    NormOp {
        name: "position_norm_sq",
        gradient: Gradient::Position,
        launch: |bench, host, out| position_norm_sq(&bench.launch(), &g(bench, host), out),
    },
    NormOp {
        name: "gradient_norm_sq",
        gradient: Gradient::Given,
        launch: |bench, host, out| gradient_norm_sq(&bench.launch(), &g(bench, host), out),
    },
    NormOp {
        name: "channel_bias_norm_sq",
        gradient: Gradient::ChannelBias,
        launch: |bench, host, out| channel_bias_norm_sq(&bench.launch(), &g(bench, host), out),
    },
    NormOp {
        name: "channel_scale_norm_sq",
        gradient: Gradient::ChannelScale,
        launch: |bench, host, out| {
            let (xhat, g) = (xhat(bench, host), g(bench, host));
            channel_scale_norm_sq(&bench.launch(), &xhat, &g, out)
        },
    },
    NormOp {
        name: "tied_norm_sq u32",
        gradient: Gradient::Tied,
        launch: |bench, host, out| {
            let Case { b, t, .. } = host.case;
            tied(bench, host, &bench.upload_u32(&[b, t], &host.ids), out)
        },
    },
    NormOp {
        name: "tied_norm_sq i32",
        gradient: Gradient::Tied,
        launch: |bench, host, out| {
            let Case { b, t, .. } = host.case;
            tied(bench, host, &bench.upload_i32(&[b, t], &host.ids), out)
        },
    },
    NormOp {
        name: "conv_norm_sq 1d groups gram",
        gradient: Gradient::Conv(0),
        launch: |bench, host, out| conv::<0>(bench, host)?.norm(out, LinearNorm::Gram),
    },
    NormOp {
        name: "conv_norm_sq 1d groups materialised",
        gradient: Gradient::Conv(0),
        launch: |bench, host, out| conv::<0>(bench, host)?.norm(out, LinearNorm::Materialised),
    },
    NormOp {
        name: "conv_norm_sq 2d gram",
        gradient: Gradient::Conv(1),
        launch: |bench, host, out| conv::<1>(bench, host)?.norm(out, LinearNorm::Gram),
    },
    NormOp {
        name: "conv_norm_sq 2d materialised",
        gradient: Gradient::Conv(1),
        launch: |bench, host, out| conv::<1>(bench, host)?.norm(out, LinearNorm::Materialised),
    },
    NormOp {
        name: "conv_norm_sq 2d dilated gram",
        gradient: Gradient::Conv(2),
        launch: |bench, host, out| conv::<2>(bench, host)?.norm(out, LinearNorm::Gram),
    },
    NormOp {
        name: "conv_norm_sq 2d dilated materialised",
        gradient: Gradient::Conv(2),
        launch: |bench, host, out| conv::<2>(bench, host)?.norm(out, LinearNorm::Materialised),
    },
    NormOp {
        name: "conv_norm_sq 2d dilated auto",
        gradient: Gradient::Conv(2),
        launch: |bench, host, out| conv::<2>(bench, host)?.norm(out, LinearNorm::Auto),
    },
    NormOp {
        name: "conv_norm_sq 3d groups gram",
        gradient: Gradient::Conv(3),
        launch: |bench, host, out| conv::<3>(bench, host)?.norm(out, LinearNorm::Gram),
    },
    NormOp {
        name: "conv_norm_sq 3d groups materialised",
        gradient: Gradient::Conv(3),
        launch: |bench, host, out| conv::<3>(bench, host)?.norm(out, LinearNorm::Materialised),
    },
    NormOp {
        name: "conv_norm_sq 1x1 strided gram",
        gradient: Gradient::Conv(4),
        launch: |bench, host, out| conv::<4>(bench, host)?.norm(out, LinearNorm::Gram),
    },
    NormOp {
        name: "conv_norm_sq 1x1 strided materialised",
        gradient: Gradient::Conv(4),
        launch: |bench, host, out| conv::<4>(bench, host)?.norm(out, LinearNorm::Materialised),
    },
    NormOp {
        name: "conv_norm_sq 2d tiles gram",
        gradient: Gradient::Conv(5),
        launch: |bench, host, out| conv::<5>(bench, host)?.norm(out, LinearNorm::Gram),
    },
    NormOp {
        name: "conv_norm_sq 2d tiles materialised",
        gradient: Gradient::Conv(5),
        launch: |bench, host, out| conv::<5>(bench, host)?.norm(out, LinearNorm::Materialised),
    },
    NormOp {
        name: "conv_norm_sq pointwise gram",
        gradient: Gradient::Conv(6),
        launch: |bench, host, out| conv::<6>(bench, host)?.norm(out, LinearNorm::Gram),
    },
    NormOp {
        name: "conv_norm_sq pointwise materialised",
        gradient: Gradient::Conv(6),
        launch: |bench, host, out| conv::<6>(bench, host)?.norm(out, LinearNorm::Materialised),
    },
    NormOp {
        name: "conv_norm_sq pointwise groups gram",
        gradient: Gradient::Conv(7),
        launch: |bench, host, out| conv::<7>(bench, host)?.norm(out, LinearNorm::Gram),
    },
    NormOp {
        name: "conv_norm_sq 1x1 padded gram",
        gradient: Gradient::Conv(8),
        launch: |bench, host, out| conv::<8>(bench, host)?.norm(out, LinearNorm::Gram),
    },
    NormOp {
        name: "lora_norm_sq gram",
        gradient: Gradient::LoraA,
        launch: |bench, host, out| lora(bench, host, out, LinearNorm::Gram),
    },
    NormOp {
        name: "lora_norm_sq materialised",
        gradient: Gradient::LoraA,
        launch: |bench, host, out| lora(bench, host, out, LinearNorm::Materialised),
    },
    NormOp {
        name: "lora_norm_sq auto",
        gradient: Gradient::LoraA,
        launch: |bench, host, out| lora(bench, host, out, LinearNorm::Auto),
    },
];

/// One weighted-sum launcher.
#[derive(Clone, Copy)]
pub(super) struct SumOp {
    pub name: &'static str,
    pub gradient: Gradient,
    pub launch: fn(&Bench, &Host, &TensorHandle) -> Result<(), KernelError>,
}

/// Every weighted sum.
pub(super) const SUMS: [SumOp; 26] = [
    SumOp {
        name: "weighted_sum_linear",
        gradient: Gradient::Linear,
        launch: |bench, host, out| {
            let (a, g, c) = (a(bench, host), g(bench, host), factors(bench, host));
            weighted_sum_linear(&bench.launch(), &a, &g, &c, out)
        },
    },
    SumOp {
        name: "weighted_sum_bias",
        gradient: Gradient::Bias,
        launch: |bench, host, out| {
            let (g, c) = (g(bench, host), factors(bench, host));
            weighted_sum_bias(&bench.launch(), &g, &c, out)
        },
    },
    SumOp {
        name: "weighted_sum_gradient of a bias kept with a gram norm",
        gradient: Gradient::Bias,
        launch: |bench, host, out| sum_of_kept_bias(bench, host, out, LinearNorm::Gram),
    },
    SumOp {
        name: "weighted_sum_gradient of a bias kept with a materialised norm",
        gradient: Gradient::Bias,
        launch: |bench, host, out| sum_of_kept_bias(bench, host, out, LinearNorm::Materialised),
    },
    SumOp {
        name: "weighted_sum_gradient of scale_and_bias_gradients, scale",
        gradient: Gradient::Scale,
        launch: |bench, host, out| {
            let [scale, _] = keep_scale_and_bias(bench, host)?;
            weighted_sum_gradient(&bench.launch(), &scale, &factors(bench, host), out)
        },
    },
    SumOp {
        name: "weighted_sum_gradient of scale_and_bias_gradients, bias",
        gradient: Gradient::Bias,
        launch: |bench, host, out| {
            let [_, bias] = keep_scale_and_bias(bench, host)?;
            weighted_sum_gradient(&bench.launch(), &bias, &factors(bench, host), out)
        },
    },
    SumOp {
        name: "weighted_sum_scale",
        gradient: Gradient::Scale,
        launch: |bench, host, out| {
            let (xhat, g, c) = (xhat(bench, host), g(bench, host), factors(bench, host));
            weighted_sum_scale(&bench.launch(), &xhat, &g, &c, out)
        },
    },
    SumOp {
        name: "weighted_sum_embedding u32",
        gradient: Gradient::Embedding,
        launch: |bench, host, out| {
            let Case { b, t, .. } = host.case;
            let ids = bench.upload_u32(&[b, t], &host.ids);
            let (g, c) = (g(bench, host), factors(bench, host));
            weighted_sum_embedding(&bench.launch(), &ids, &g, &c, out)
        },
    },
    SumOp {
        name: "weighted_sum_embedding i32",
        gradient: Gradient::Embedding,
        launch: |bench, host, out| {
            let Case { b, t, .. } = host.case;
            let ids = bench.upload_i32(&[b, t], &host.ids);
            let (g, c) = (g(bench, host), factors(bench, host));
            weighted_sum_embedding(&bench.launch(), &ids, &g, &c, out)
        },
    },
    SumOp {
        name: "weighted_sum_position",
        gradient: Gradient::Position,
        launch: |bench, host, out| {
            let (g, c) = (g(bench, host), factors(bench, host));
            weighted_sum_position(&bench.launch(), &g, &c, out)
        },
    },
    SumOp {
        name: "weighted_sum_gradient",
        gradient: Gradient::Given,
        launch: |bench, host, out| {
            let (g, c) = (g(bench, host), factors(bench, host));
            weighted_sum_gradient(&bench.launch(), &g, &c, out)
        },
    },
    SumOp {
        name: "weighted_sum_channel_bias",
        gradient: Gradient::ChannelBias,
        launch: |bench, host, out| {
            let (g, c) = (g(bench, host), factors(bench, host));
            weighted_sum_channel_bias(&bench.launch(), &g, &c, out)
        },
    },
    SumOp {
        name: "weighted_sum_channel_scale",
        gradient: Gradient::ChannelScale,
        launch: |bench, host, out| {
            let (xhat, g, c) = (xhat(bench, host), g(bench, host), factors(bench, host));
            weighted_sum_channel_scale(&bench.launch(), &xhat, &g, &c, out)
        },
    },
    SumOp {
        name: "weighted_sum_tied u32",
        gradient: Gradient::Tied,
        launch: |bench, host, out| {
            let Case { b, t, .. } = host.case;
            tied_sum(bench, host, &bench.upload_u32(&[b, t], &host.ids), out)
        },
    },
    SumOp {
        name: "weighted_sum_tied i32",
        gradient: Gradient::Tied,
        launch: |bench, host, out| {
            let Case { b, t, .. } = host.case;
            tied_sum(bench, host, &bench.upload_i32(&[b, t], &host.ids), out)
        },
    },
    SumOp {
        name: "weighted_sum_conv 1d groups",
        gradient: Gradient::Conv(0),
        launch: |bench, host, out| conv::<0>(bench, host)?.sum(&factors(bench, host), out),
    },
    SumOp {
        name: "weighted_sum_conv 2d",
        gradient: Gradient::Conv(1),
        launch: |bench, host, out| conv::<1>(bench, host)?.sum(&factors(bench, host), out),
    },
    SumOp {
        name: "weighted_sum_conv 2d dilated",
        gradient: Gradient::Conv(2),
        launch: |bench, host, out| conv::<2>(bench, host)?.sum(&factors(bench, host), out),
    },
    SumOp {
        name: "weighted_sum_conv 3d groups",
        gradient: Gradient::Conv(3),
        launch: |bench, host, out| conv::<3>(bench, host)?.sum(&factors(bench, host), out),
    },
    SumOp {
        name: "weighted_sum_conv 1x1 strided",
        gradient: Gradient::Conv(4),
        launch: |bench, host, out| conv::<4>(bench, host)?.sum(&factors(bench, host), out),
    },
    SumOp {
        name: "weighted_sum_conv 2d tiles",
        gradient: Gradient::Conv(5),
        launch: |bench, host, out| conv::<5>(bench, host)?.sum(&factors(bench, host), out),
    },
    SumOp {
        name: "weighted_sum_conv pointwise",
        gradient: Gradient::Conv(6),
        launch: |bench, host, out| conv::<6>(bench, host)?.sum(&factors(bench, host), out),
    },
    SumOp {
        name: "weighted_sum_conv pointwise groups",
        gradient: Gradient::Conv(7),
        launch: |bench, host, out| conv::<7>(bench, host)?.sum(&factors(bench, host), out),
    },
    SumOp {
        name: "weighted_sum_conv 1x1 padded",
        gradient: Gradient::Conv(8),
        launch: |bench, host, out| conv::<8>(bench, host)?.sum(&factors(bench, host), out),
    },
    SumOp {
        name: "weighted_sum_lora A",
        gradient: Gradient::LoraA,
        launch: |bench, host, out| lora_sum(bench, host, out, Gradient::LoraA),
    },
    SumOp {
        name: "weighted_sum_lora B",
        gradient: Gradient::LoraB,
        launch: |bench, host, out| lora_sum(bench, host, out, Gradient::LoraB),
    },
];

fn linear(
    bench: &Bench,
    host: &Host,
    out: &TensorHandle,
    how: LinearNorm,
) -> Result<(), KernelError> {
    let (a, g) = (a(bench, host), g(bench, host));
    linear_norm_sq(&bench.launch(), &a, &g, out, how)
}

fn linear_and_bias(
    bench: &Bench,
    host: &Host,
    out: &TensorHandle,
    how: LinearNorm,
) -> Result<(), KernelError> {
    let (a, g) = (a(bench, host), g(bench, host));
    linear_and_bias_norm_sq(&bench.launch(), &a, &g, out, None, how)
}

/// Adds the norms and gives the bias's gradients, over numbers that would show.
fn keep_bias(
    bench: &Bench,
    host: &Host,
    out: &TensorHandle,
    how: LinearNorm,
) -> Result<TensorHandle, KernelError> {
    let (a, g, kept) = (a(bench, host), g(bench, host), to_overwrite(bench, host));
    linear_and_bias_norm_sq(&bench.launch(), &a, &g, out, Some(&kept), how)?;
    Ok(kept)
}

fn sum_of_kept_bias(
    bench: &Bench,
    host: &Host,
    out: &TensorHandle,
    how: LinearNorm,
) -> Result<(), KernelError> {
    let norms = bench.upload_sums(&[host.case.b], &vec![0.0; host.case.b]);
    let kept = keep_bias(bench, host, &norms, how)?;
    weighted_sum_gradient(&bench.launch(), &kept, &factors(bench, host), out)
}

fn keep_scale_and_bias(bench: &Bench, host: &Host) -> Result<[TensorHandle; 2], KernelError> {
    let (xhat, g) = (xhat(bench, host), g(bench, host));
    let kept = [to_overwrite(bench, host), to_overwrite(bench, host)];
    scale_and_bias_gradients(&bench.launch(), &xhat, &g, &kept[0], &kept[1])?;
    Ok(kept)
}

/// A row of `p` sums for each example, none of which is zero.
fn to_overwrite(bench: &Bench, host: &Host) -> TensorHandle {
    let Case { b, p, .. } = host.case;
    bench.upload_sums(&[b, p], &vec![7.0; b * p])
}

/// Geometry `I` on the device.
fn conv<'a, const I: usize>(bench: &'a Bench, host: &Host) -> Result<Images<'a>, KernelError> {
    let [x, g] = CONVS[I].cut(host)?;
    Images::new(bench, CONVS[I], host.case.b, [&x, &g])
}

fn tied(
    bench: &Bench,
    host: &Host,
    ids: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let (g, h, delta) = (g(bench, host), xhat(bench, host), delta(bench, host));
    tied_norm_sq(&bench.launch(), ids, &g, &h, &delta, out)
}

fn tied_sum(
    bench: &Bench,
    host: &Host,
    ids: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let (g, h, delta) = (g(bench, host), xhat(bench, host), delta(bench, host));
    let c = factors(bench, host);
    weighted_sum_tied(&bench.launch(), ids, &g, &h, &delta, &c, out)
}

fn lora(
    bench: &Bench,
    host: &Host,
    out: &TensorHandle,
    how: LinearNorm,
) -> Result<(), KernelError> {
    let (x, h, g, g_h) = (
        a(bench, host),
        g(bench, host),
        delta(bench, host),
        xhat(bench, host),
    );
    let lora = Lora {
        x: &x,
        h: &h,
        g: &g,
        g_h: &g_h,
    };
    lora_norm_sq(&bench.launch(), &lora, out, how)
}

/// The sum of `part` into `out`, and the other part's into a buffer of its own.
fn lora_sum(
    bench: &Bench,
    host: &Host,
    out: &TensorHandle,
    part: Gradient,
) -> Result<(), KernelError> {
    let (x, h, g, g_h) = (
        a(bench, host),
        g(bench, host),
        delta(bench, host),
        xhat(bench, host),
    );
    let lora = Lora {
        x: &x,
        h: &h,
        g: &g,
        g_h: &g_h,
    };
    let c = factors(bench, host);
    let other = |gradient: Gradient| {
        let shape = gradient.shape(host.case);
        bench.upload_sums(&shape, &vec![0.0; shape.iter().product()])
    };
    if part == Gradient::LoraA {
        weighted_sum_lora(&bench.launch(), &lora, &c, out, &other(Gradient::LoraB))
    } else {
        weighted_sum_lora(&bench.launch(), &lora, &c, &other(Gradient::LoraA), out)
    }
}

fn delta(bench: &Bench, host: &Host) -> TensorHandle {
    let Case { b, t, v, .. } = host.case;
    bench.upload_input(&[b, t, v], &host.delta)
}

fn a(bench: &Bench, host: &Host) -> TensorHandle {
    let Case { b, t, d, .. } = host.case;
    bench.upload_input(&[b, t, d], &host.a)
}

fn g(bench: &Bench, host: &Host) -> TensorHandle {
    let Case { b, t, p, .. } = host.case;
    bench.upload_input(&[b, t, p], &host.g)
}

fn xhat(bench: &Bench, host: &Host) -> TensorHandle {
    let Case { b, t, p, .. } = host.case;
    bench.upload_input(&[b, t, p], &host.xhat)
}

fn factors(bench: &Bench, host: &Host) -> TensorHandle {
    bench.upload_sums(&[host.case.b], &host.factors)
}

impl NormOp {
    /// The device's `norms_sq`, added into `start`.
    pub(super) fn run(
        &self,
        bench: &Bench,
        host: &Host,
        start: &[f64],
    ) -> Result<Vec<f64>, super::CheckError> {
        let out = bench.upload_sums(&[host.case.b], start);
        (self.launch)(bench, host, &out)?;
        bench.download_sums(&out)
    }
}

impl SumOp {
    /// The device's sum, added into `start`.
    pub(super) fn run(
        &self,
        bench: &Bench,
        host: &Host,
        start: &[f64],
    ) -> Result<Vec<f64>, super::CheckError> {
        let out = bench.upload_sums(&self.gradient.shape(host.case), start);
        (self.launch)(bench, host, &out)?;
        bench.download_sums(&out)
    }
}
