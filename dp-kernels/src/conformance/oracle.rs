//! The plain twins: f32 in, f64 inside, f32 out, ADDED into.

use super::data::{Case, Host};

/// `out[b] += f(b)`.
fn add_norms(host: &Host, out: &mut [f32], norm: impl Fn(usize) -> f64) {
    for (b, out) in out.iter_mut().enumerate() {
        *out = (f64::from(*out) + norm(b)) as f32;
    }
    let _ = host;
}

fn square(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum()
}

/// The weight gradient `[d, p]` of example `b`.
fn linear_gradient(host: &Host, b: usize) -> Vec<f64> {
    let Case { t, d, p, .. } = host.case;
    let mut w = vec![0.0; d * p];
    for token in b * t..(b + 1) * t {
        for i in 0..d {
            let a = f64::from(host.a[token * d + i]);
            for j in 0..p {
                w[i * p + j] += a * f64::from(host.g[token * p + j]);
            }
        }
    }
    w
}

/// The gradient `[p]` of a bias, or of a gain where `scaled`.
fn column_gradient(host: &Host, b: usize, scaled: bool) -> Vec<f64> {
    let Case { t, p, .. } = host.case;
    let mut w = vec![0.0; p];
    for token in b * t..(b + 1) * t {
        for j in 0..p {
            let x = if scaled {
                f64::from(host.xhat[token * p + j])
            } else {
                1.0
            };
            w[j] += f64::from(host.g[token * p + j]) * x;
        }
    }
    w
}

fn embedding_gradient(host: &Host, b: usize) -> Vec<f64> {
    let Case { t, p, v, .. } = host.case;
    let mut w = vec![0.0; v * p];
    for token in b * t..(b + 1) * t {
        for j in 0..p {
            w[host.ids[token] as usize * p + j] += f64::from(host.g[token * p + j]);
        }
    }
    w
}

fn position_gradient(host: &Host, b: usize) -> Vec<f64> {
    let Case { t, p, .. } = host.case;
    host.g[b * t * p..(b + 1) * t * p]
        .iter()
        .map(|g| f64::from(*g))
        .collect()
}

/// The per-example gradient of one kind of parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gradient {
    Linear,
    Bias,
    Scale,
    Embedding,
    Position,
}

impl Gradient {
    fn of(self, host: &Host, b: usize) -> Vec<f64> {
        match self {
            Self::Linear => linear_gradient(host, b),
            Self::Bias => column_gradient(host, b, false),
            Self::Scale => column_gradient(host, b, true),
            Self::Embedding => embedding_gradient(host, b),
            Self::Position => position_gradient(host, b),
        }
    }

    /// Shape of the parameter.
    pub(super) fn shape(self, case: Case) -> Vec<usize> {
        let Case { t, d, p, v, .. } = case;
        match self {
            Self::Linear => vec![d, p],
            Self::Bias | Self::Scale => vec![p],
            Self::Embedding => vec![v, p],
            Self::Position => vec![t, p],
        }
    }

    /// `out[b] += |gradient of b|^2`.
    pub(super) fn norms_sq(self, host: &Host, out: &mut [f32]) {
        add_norms(host, out, |b| square(&self.of(host, b)));
    }

    /// `out += sum over live b of factors[b] * gradient of b`.
    pub(super) fn weighted_sum(self, host: &Host, out: &mut [f32]) {
        let mut sum: Vec<f64> = out.iter().map(|o| f64::from(*o)).collect();
        for (b, factor) in host.factors.iter().enumerate() {
            if *factor > 0.0 {
                for (sum, w) in sum.iter_mut().zip(self.of(host, b)) {
                    *sum += f64::from(*factor) * w;
                }
            }
        }
        for (out, sum) in out.iter_mut().zip(sum) {
            *out = sum as f32;
        }
    }
}
