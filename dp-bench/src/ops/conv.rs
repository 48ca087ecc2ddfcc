//! A convolution in two dimensions: its norm by each way, its weighted sum.

use cubecl::{ir::FloatKind, std::tensor::TensorHandle};
use dp_kernels::{ConvLayout, ConvShape, LinearNorm, conv_norm_sq, weighted_sum_conv};

use super::products::{check_product, compare_norms, norms};
use super::seed;
use crate::data::{Mix, Rows, Stream};
use crate::device::{type_name, width};
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Place};

/// `x [B, C_in, size, size]`, `g [B, C_out, out, out]`, no dilation.
pub(crate) struct Conv {
    place: Place,
    b: usize,
    channels: [usize; 2],
    shape: ConvShape<2>,
    layout: ConvLayout,
    kind: FloatKind,
}

const WAYS: [(LinearNorm, &str); 2] = [
    (LinearNorm::Gram, "conv_norm_sq gram"),
    (LinearNorm::Materialised, "conv_norm_sq materialised"),
];
/// The op after the ways of the norm.
const SUM: usize = 2;

impl Conv {
    /// A square kernel of side `kernel` over a square input of side `size`, its channels in `groups`.
    ///
    /// # Errors
    /// [`BenchError::Reference`] where that is no convolution.
    pub(crate) fn new(
        (model, layer, count): (&str, &str, u64),
        b: usize,
        (channels, groups): ([usize; 2], usize),
        [size, kernel, stride]: [usize; 3],
        kind: FloatKind,
    ) -> Result<Self, BenchError> {
        let shape = ConvShape {
            stride: [stride; 2],
            padding: [kernel / 2 * usize::from(kernel != stride); 2],
            groups,
            ..ConvShape::new([kernel; 2])
        };
        let layout = shape
            .layout(channels, [size; 2])
            .map_err(|error| BenchError::Reference(error.to_string()))?;
        let [c_in, c_out] = channels;
        let words = match groups {
            1 => String::new(),
            _ => format!(", {groups} groups"),
        };
        Ok(Self {
            place: Place {
                model: model.to_owned(),
                layer: layer.to_owned(),
                dtype: type_name(kind),
                shape: format!(
                    "B {b} [{c_in}, {size}, {size}] to {c_out}, {kernel}x{kernel} / {stride}{words}"
                ),
                b: b as u64,
                t: layout.output().iter().product::<usize>() as u64,
                count,
            },
            b,
            channels,
            shape,
            layout,
            kind,
        })
    }

    fn positions(&self) -> [usize; 2] {
        [self.layout.input(), self.layout.output()].map(|size| size.iter().product())
    }

    fn places(&self) -> usize {
        self.layout.kernel().iter().product()
    }
}

impl Group for Conv {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let [input, output] = self.positions().map(|n| n as u64);
        let [c_in, c_out] = self.channels.map(|n| n as u64);
        let (b, rows) = (self.b as u64, c_in * self.places() as u64);
        let inputs = b * (input * c_in + output * c_out) * width(self.kind);
        // Of the weight of all groups: each output channel meets the input channels of its own.
        let weights = rows / self.layout.groups() as u64 * c_out;
        let product = 2 * b * output * weights;
        let [gram, materialised] = WAYS.map(|(_, name)| name);
        vec![
            Op::new(gram, inputs + 8 * b, b * output * output * (rows + c_out)),
            Op::new(materialised, inputs + 8 * b, product + 2 * b * weights),
            Op::new("weighted_sum_conv", inputs + 4 * b + 8 * weights, product),
        ]
    }

    fn buffers(&self) -> Vec<Buffer> {
        let [input, output] = self.positions().map(|n| n as u64);
        let [c_in, c_out] = self.channels.map(|n| n as u64);
        let b = self.b as u64;
        vec![
            Buffer::of(&[b, c_in, input], width(self.kind)),
            Buffer::of(&[b, c_out, output], width(self.kind)),
            Buffer::of(
                &[self.layout.group_in() as u64, c_out, self.places() as u64],
                4,
            ),
        ]
    }

    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let [input, output] = self.positions();
        let [c_in, c_out] = self.channels;
        let b = self.b;
        let x = Rows::new(b * input, c_in, self.kind, seed::A);
        let g = Rows::new(b * output, c_out, self.kind, seed::G);
        let factors = Stream::new(seed::FACTORS).factors(b);
        let (x_values, g_values) = (x.values_by_channel(input), g.values_by_channel(output));
        let [_, height, wide] = self.layout.input();
        let [_, out_height, out_wide] = self.layout.output();
        let [kernel, _] = self.shape.kernel;
        let sets = (0..sets)
            .map(|_| Set {
                x: bench.upload(&[b, c_in, height, wide], &x_values, self.kind),
                g: bench.upload(&[b, c_out, out_height, out_wide], &g_values, self.kind),
                factors: bench.upload_f32(&[b], &factors),
                norms: WAYS.map(|_| bench.zeros(&[b])),
                sum: bench.zeros(&[c_out, self.layout.group_in(), kernel, kernel]),
            })
            .collect();
        bench.wait()?;
        Ok(Box::new(BuiltConv {
            b,
            shape: self.shape,
            layout: self.layout,
            x,
            g,
            factors,
            sets,
        }))
    }
}

struct Set {
    x: TensorHandle,
    g: TensorHandle,
    factors: TensorHandle,
    /// One for each way.
    norms: [TensorHandle; 2],
    sum: TensorHandle,
}

struct BuiltConv {
    b: usize,
    shape: ConvShape<2>,
    layout: ConvLayout,
    x: Rows,
    g: Rows,
    factors: Vec<f32>,
    sets: Vec<Set>,
}

impl Built for BuiltConv {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        let set = &self.sets[0];
        if op != SUM {
            let got = bench.download(&set.norms[op])?;
            let mixes: Vec<Vec<Mix>> = (0..self.b).map(|b| self.mixes(b..b + 1, |_| 1.0)).collect();
            let mut want = vec![0.0; self.b];
            for [x, g] in self.groups() {
                for (want, norm) in want.iter_mut().zip(norms(&mixes, &x, &g)) {
                    *want += norm;
                }
            }
            return Ok(compare_norms(&got, &want));
        }
        let got = bench.download(&set.sum)?;
        let mixes = self.mixes(0..self.b, |b| f64::from(self.factors[b]));
        let (places, group_in) = (mixes.len(), self.layout.group_in());
        let mut checks = Vec::new();
        for (group, [x, g]) in self.groups().iter().enumerate() {
            for (place, mix) in mixes.iter().enumerate() {
                // `[C_out, C_in / groups, kernel]`.
                let first = group * g.width();
                let at = |i: usize, j: usize| got[((first + j) * group_in + i) * places + place];
                checks.push(check_product(mix, x, g, at));
            }
        }
        let worst = checks
            .into_iter()
            .max_by(|a, b| a.error.total_cmp(&b.error));
        let mut worst = worst.ok_or_else(|| BenchError::Reference("an empty kernel".into()))?;
        worst.what = format!("at {places} kernel places, {}", worst.what);
        Ok(worst)
    }

    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        let launch = &bench.launch();
        let Set {
            x,
            g,
            factors,
            norms,
            sum,
        } = &self.sets[set];
        let shape = &self.shape;
        match WAYS.get(op) {
            Some((how, _)) => conv_norm_sq(launch, x, g, &norms[op], shape, *how)?,
            None => weighted_sum_conv(launch, x, g, factors, sum, shape)?,
        }
        Ok(())
    }
}

impl BuiltConv {
    /// The channels of each group, in and out.
    fn groups(&self) -> Vec<[Rows; 2]> {
        let (group_in, group_out) = (self.layout.group_in(), self.layout.group_out());
        let of = |rows: &Rows, group: usize, width: usize| {
            rows.columns(group * width..(group + 1) * width)
        };
        (0..self.layout.groups())
            .map(|group| [of(&self.x, group, group_in), of(&self.g, group, group_out)])
            .collect()
    }

    /// The mix of each kernel place over some examples, each with its factor.
    fn mixes(&self, examples: std::ops::Range<usize>, factor: impl Fn(usize) -> f64) -> Vec<Mix> {
        let layout = &self.layout;
        let ([_, height, wide], [_, out_height, out_wide]) = (layout.input(), layout.output());
        let [_, kernel_height, kernel_wide] = layout.kernel();
        let mut mixes = Vec::new();
        for ky in 0..kernel_height {
            for kx in 0..kernel_wide {
                let mut mix = Mix::new();
                for b in examples.clone() {
                    for oy in 0..out_height {
                        for ox in 0..out_wide {
                            let met = (layout.meets(1, oy, ky), layout.meets(2, ox, kx));
                            if let (Some(iy), Some(ix)) = met {
                                let row = (b * height + iy) * wide + ix;
                                let out = (b * out_height + oy) * out_wide + ox;
                                mix.add(&self.x, row, &self.g, out, factor(b));
                            }
                        }
                    }
                }
                mixes.push(mix);
            }
        }
        mixes
    }
}
