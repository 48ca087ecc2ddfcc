//! The plain twins in `dp_core::reference`, by kind of parameter.

use super::CheckError;
use super::conv::CONVS;
use super::data::{Case, Host};
use dp_core::reference::{self, LinearNorm, ReferenceError, Tensor3};

/// The gradient of one kind of parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gradient {
    Linear,
    Bias,
    /// Norms only, of the two together.
    LinearAndBias,
    Scale,
    /// Norms only, of gain and bias together.
    ScaleAndBias,
    Embedding,
    Position,
    /// Of a tied table: `h` is xhat.
    Tied,
    /// `A` of a LoRA layer: `x` is a, `h` is g, `g_h` is xhat and `g` is delta, so that the rank is `p`. The norm is of both.
    LoraA,
    /// `B` likewise.
    LoraB,
    /// Given: `g` as `[B, T p]`.
    Given,
    /// Channels first: `T` channels of `p` positions.
    ChannelBias,
    /// Likewise.
    ChannelScale,
    /// Of the weight of one of the geometries.
    Conv(usize),
}

impl Gradient {
    /// Shape of the parameter.
    pub(super) fn shape(self, case: Case) -> Vec<usize> {
        let Case { t, d, p, v, .. } = case;
        match self {
            Self::Linear | Self::LoraA => vec![d, p],
            Self::LinearAndBias => vec![d + 1, p],
            Self::ScaleAndBias => vec![2, p],
            Self::LoraB => vec![p, v],
            Self::Bias | Self::Scale => vec![p],
            Self::Embedding | Self::Tied => vec![v, p],
            Self::Position | Self::Given => vec![t, p],
            Self::ChannelBias | Self::ChannelScale => vec![t],
            Self::Conv(i) => CONVS[i].weight(),
        }
    }

    /// `out[b] += |gradient of b|^2`. A Linear's is taken of the gradient itself, not by Gram matrices:
    /// it must be right where tokens cancel.
    pub(super) fn norms_sq(self, host: &Host, out: &mut [f64]) -> Result<(), CheckError> {
        let Host {
            case,
            a,
            g,
            xhat,
            delta,
            ids,
            ..
        } = host;
        let Case { b, t, d, p, v } = *case;
        let given = g;
        let g = tensor(g, [b, t, p])?;
        match self {
            Self::Linear => {
                reference::linear_norm_sq(tensor(a, [b, t, d])?, g, out, LinearNorm::Materialised)
            }
            Self::Bias => reference::bias_norm_sq(g, out),
            Self::LinearAndBias | Self::ScaleAndBias => {
                let other = if self == Self::LinearAndBias {
                    Self::Linear
                } else {
                    Self::Scale
                };
                other.norms_sq(host, out)?;
                reference::bias_norm_sq(g, out)
            }
            Self::Scale => reference::scale_norm_sq(tensor(xhat, [b, t, p])?, g, out),
            Self::Embedding => reference::embedding_norm_sq(ids, g, out),
            Self::Position => reference::position_norm_sq(g, out),
            Self::Tied => {
                let (h, delta) = (tensor(xhat, [b, t, p])?, tensor(delta, [b, t, v])?);
                reference::tied_norm_sq(ids, g, h, delta, out)
            }
            Self::LoraA | Self::LoraB => {
                let ([x, g_h, g], h) = (lora(host)?, g);
                reference::lora_norm_sq(x, h, g, g_h, out)
            }
            Self::Given => reference::gradient_norm_sq(given, out),
            Self::ChannelBias => reference::channel_bias_norm_sq(g, out),
            Self::ChannelScale => {
                reference::channel_scale_norm_sq(tensor(xhat, [b, t, p])?, g, out)
            }
            Self::Conv(i) => {
                let [x, g] = CONVS[i].cut(host)?;
                reference::conv_norm_sq(&CONVS[i].layout()?, &x, &g, out)
            }
        }
        .map_err(refused)
    }

    /// `out += sum over live b of factors[b] * gradient of b`.
    pub(super) fn weighted_sum(self, host: &Host, out: &mut [f64]) -> Result<(), CheckError> {
        let Host {
            case,
            a,
            g,
            xhat,
            delta,
            ids,
            factors,
            ..
        } = host;
        let Case { b, t, d, p, v } = *case;
        let given = g;
        let g = tensor(g, [b, t, p])?;
        match self {
            Self::Linear => reference::weighted_sum_linear(tensor(a, [b, t, d])?, g, factors, out),
            Self::Bias => reference::weighted_sum_bias(g, factors, out),
            Self::LinearAndBias | Self::ScaleAndBias => {
                let why = "the sums of two parameters are taken one by one";
                return Err(CheckError::Reference(why.to_owned()));
            }
            Self::Scale => reference::weighted_sum_scale(tensor(xhat, [b, t, p])?, g, factors, out),
            Self::Embedding => reference::weighted_sum_embedding(ids, g, factors, out),
            Self::Position => reference::weighted_sum_position(g, factors, out),
            Self::Tied => {
                let (h, delta) = (tensor(xhat, [b, t, p])?, tensor(delta, [b, t, v])?);
                reference::weighted_sum_tied(ids, g, h, delta, factors, out)
            }
            Self::LoraA | Self::LoraB => {
                let [x, g_h, last] = lora(host)?;
                let (mut out_a, mut out_b) = (vec![0.0; d * p], vec![0.0; p * v]);
                let ours = if self == Self::LoraA {
                    &mut out_a
                } else {
                    &mut out_b
                };
                ours.copy_from_slice(out);
                reference::weighted_sum_lora(x, g, last, g_h, factors, &mut out_a, &mut out_b).map(
                    |()| out.copy_from_slice(if self == Self::LoraA { &out_a } else { &out_b }),
                )
            }
            Self::Given => reference::weighted_sum_gradient(given, factors, out),
            Self::ChannelBias => reference::weighted_sum_channel_bias(g, factors, out),
            Self::ChannelScale => {
                reference::weighted_sum_channel_scale(tensor(xhat, [b, t, p])?, g, factors, out)
            }
            Self::Conv(i) => {
                let [x, g] = CONVS[i].cut(host)?;
                reference::weighted_sum_conv(&CONVS[i].layout()?, &x, &g, factors, out)
            }
        }
        .map_err(refused)
    }
}

/// `x`, `g_h` and `g` of a LoRA layer; `h` is the host's g.
fn lora(host: &Host) -> Result<[Tensor3<'_, f64>; 3], CheckError> {
    let Case { b, t, d, p, v } = host.case;
    Ok([
        tensor(&host.a, [b, t, d])?,
        tensor(&host.xhat, [b, t, p])?,
        tensor(&host.delta, [b, t, v])?,
    ])
}

fn tensor(data: &[f64], shape: [usize; 3]) -> Result<Tensor3<'_, f64>, CheckError> {
    Tensor3::new(data, shape).map_err(refused)
}

fn refused(error: ReferenceError) -> CheckError {
    CheckError::Reference(format!("{error:?}"))
}
