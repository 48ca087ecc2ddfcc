//! Convolutions: geometries of one to three dimensions, fixed and random, against the definition.

use super::bench::{Bench, elementwise_error, relative_error};
use super::data::{Case, Host, Stream};
use super::norms::{self, NORM_BUDGET};
use super::ops::{NORMS, SUMS};
use super::oracle::Gradient;
use super::sums::{self, SUM_BUDGET};
use super::{CheckError, Row};
use crate::{
    ConvLayout, ConvShape, KernelError, Launch, LinearNorm, conv_norm_sq, weighted_sum_conv,
};
use cubecl::std::tensor::TensorHandle;
use dp_core::reference::{self, ReferenceError};

/// One geometry, in three dimensions; it is launched in its last `axes`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvCase {
    pub axes: usize,
    pub channels: [usize; 2],
    pub input: [usize; 3],
    pub shape: ConvShape<3>,
}

const fn case(
    axes: usize,
    channels: [usize; 2],
    input: [usize; 3],
    shape: ConvShape<3>,
) -> ConvCase {
    ConvCase {
        axes,
        channels,
        input,
        shape,
    }
}

/// Groups, stride, dilation and padding in each dimension; odd and round widths; more positions than two tiles; input
/// that no place of the kernel meets; kernels of one place that meet every position as it lies, and one that meets as many others.
pub(super) const CONVS: [ConvCase; 9] = [
    case(
        1,
        [4, 6],
        [1, 1, 9],
        ConvShape {
            stride: [1, 1, 2],
            padding: [0, 0, 1],
            groups: 2,
            ..ConvShape::new([1, 1, 3])
        },
    ),
    case(
        2,
        [3, 5],
        [1, 7, 6],
        ConvShape {
            padding: [0, 1, 1],
            ..ConvShape::new([1, 3, 3])
        },
    ),
    case(
        2,
        [16, 32],
        [1, 8, 9],
        ConvShape {
            stride: [1, 2, 1],
            dilation: [1, 2, 1],
            padding: [0, 2, 0],
            ..ConvShape::new([1, 3, 2])
        },
    ),
    case(
        3,
        [4, 8],
        [3, 4, 5],
        ConvShape {
            stride: [1, 2, 2],
            dilation: [1, 1, 2],
            padding: [1, 0, 1],
            groups: 4,
            ..ConvShape::new([2, 3, 2])
        },
    ),
    case(
        2,
        [8, 16],
        [1, 7, 7],
        ConvShape {
            stride: [1, 3, 3],
            ..ConvShape::new([1, 1, 1])
        },
    ),
    case(
        2,
        [8, 40],
        [1, 9, 9],
        ConvShape {
            padding: [0, 1, 1],
            ..ConvShape::new([1, 3, 3])
        },
    ),
    case(2, [16, 48], [1, 7, 9], ConvShape::new([1, 1, 1])),
    case(
        3,
        [24, 12],
        [2, 3, 5],
        ConvShape {
            groups: 3,
            ..ConvShape::new([1, 1, 1])
        },
    ),
    case(
        2,
        [4, 6],
        [1, 3, 3],
        ConvShape {
            stride: [1, 2, 2],
            padding: [0, 1, 1],
            ..ConvShape::new([1, 1, 1])
        },
    ),
];

/// More channels in a group than a block of a processor has rows, in several groups and places; more positions than a panel has. Norms and sums are
/// asked of them, no other property: most of the others' time would go into them.
const LARGE: [ConvCase; 2] = [
    case(
        1,
        [280, 24],
        [1, 1, 6],
        ConvShape {
            groups: 2,
            ..ConvShape::new([1, 1, 2])
        },
    ),
    case(
        2,
        [3, 5],
        [1, 18, 18],
        ConvShape {
            padding: [0, 1, 1],
            ..ConvShape::new([1, 3, 3])
        },
    ),
];

/// Elements of one example's input and output gradient that every geometry of [`CONVS`] finds room in.
pub(super) const STRIP: [usize; 2] = [1152, 3240];

impl ConvCase {
    pub(super) fn layout(&self) -> Result<ConvLayout, KernelError> {
        let op = "conformance";
        self.shape
            .layout(self.channels, self.input)
            .map_err(|source| KernelError::Conv { op, source })
    }

    /// Elements of one example's input and output gradient.
    fn lens(&self) -> Result<[usize; 2], KernelError> {
        let output: usize = self.layout()?.output().iter().product();
        let input: usize = self.input.iter().product();
        Ok([self.channels[0] * input, self.channels[1] * output])
    }

    /// Input and output gradient cut out of the strips of all examples.
    pub(super) fn cut(&self, host: &Host) -> Result<[Vec<f64>; 2], KernelError> {
        let [x_len, g_len] = self.lens()?;
        let cut = |strips: &[f64], strip: usize, len: usize| -> Vec<f64> {
            strips
                .chunks_exact(strip)
                .flat_map(|strip| strip[..len].to_vec())
                .collect()
        };
        Ok([
            cut(&host.image, STRIP[0], x_len),
            cut(&host.image_g, STRIP[1], g_len),
        ])
    }

    /// The weight's shape.
    pub(super) fn weight(&self) -> Vec<usize> {
        let [channels_in, channels_out] = self.channels;
        let kernel = &self.shape.kernel[3 - self.axes..];
        [&[channels_out, channels_in / self.shape.groups], kernel].concat()
    }

    fn words(&self, b: usize) -> String {
        let ConvShape {
            kernel,
            stride,
            dilation,
            padding,
            groups,
        } = self.shape;
        format!(
            "B{b} {}d C{:?} in {:?} k{kernel:?} s{stride:?} d{dilation:?} p{padding:?} groups {groups}",
            self.axes, self.channels, self.input
        )
    }
}

/// One geometry's data on the device.
pub(super) struct Images<'a> {
    bench: &'a Bench,
    case: ConvCase,
    x: TensorHandle,
    g: TensorHandle,
}

impl<'a> Images<'a> {
    pub(super) fn new(
        bench: &'a Bench,
        case: ConvCase,
        b: usize,
        [x, g]: [&[f64]; 2],
    ) -> Result<Self, KernelError> {
        let from = 3 - case.axes;
        let x_shape = [&[b, case.channels[0]], &case.input[from..]].concat();
        let g_shape = [&[b, case.channels[1]], &case.layout()?.output()[from..]].concat();
        Ok(Self {
            bench,
            case,
            x: bench.upload_input(&x_shape, x),
            g: bench.upload_input(&g_shape, g),
        })
    }

    fn launch(&self) -> Launch<'_> {
        self.bench.launch()
    }

    pub(super) fn norm(&self, out: &TensorHandle, how: LinearNorm) -> Result<(), KernelError> {
        let (launch, (x, g)) = (&self.launch(), (&self.x, &self.g));
        match self.case.axes {
            1 => conv_norm_sq(launch, x, g, out, &last::<1>(&self.case.shape), how),
            2 => conv_norm_sq(launch, x, g, out, &last::<2>(&self.case.shape), how),
            _ => conv_norm_sq(launch, x, g, out, &self.case.shape, how),
        }
    }

    pub(super) fn sum(&self, c: &TensorHandle, out: &TensorHandle) -> Result<(), KernelError> {
        let (launch, (x, g)) = (&self.launch(), (&self.x, &self.g));
        match self.case.axes {
            1 => weighted_sum_conv(launch, x, g, c, out, &last::<1>(&self.case.shape)),
            2 => weighted_sum_conv(launch, x, g, c, out, &last::<2>(&self.case.shape)),
            _ => weighted_sum_conv(launch, x, g, c, out, &self.case.shape),
        }
    }
}

/// The last `N` axes of a geometry.
fn last<const N: usize>(shape: &ConvShape<3>) -> ConvShape<N> {
    let cut = |axes: [usize; 3]| std::array::from_fn(|axis| axes[3 - N + axis]);
    ConvShape {
        kernel: cut(shape.kernel),
        stride: cut(shape.stride),
        dilation: cut(shape.dilation),
        padding: cut(shape.padding),
        groups: shape.groups,
    }
}

const EXAMPLES: [Case; 3] = [
    Case::new(1, 1, 1, 1, 1),
    Case::new(4, 1, 1, 1, 1),
    Case::new(0, 1, 1, 1, 1),
];

pub(super) fn norms(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for op in &NORMS {
        if let Gradient::Conv(_) = op.gradient {
            for (seed, case) in EXAMPLES.into_iter().enumerate() {
                rows.push(norms::row(bench, op, case, seed as u64)?);
            }
        }
    }
    for sample in large(bench)? {
        rows.extend(sample.norms()?);
    }
    Ok(rows)
}

pub(super) fn sums(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for op in &SUMS {
        if let Gradient::Conv(_) = op.gradient {
            for (seed, case) in EXAMPLES.into_iter().enumerate() {
                rows.push(sums::row(bench, op, case, seed as u64)?);
            }
        }
    }
    for sample in large(bench)? {
        rows.push(sample.sum()?);
    }
    Ok(rows)
}

/// A few random geometries, the same on every device.
pub(super) fn random_fixed(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for seed in 0..6 {
        rows.extend(random_rows(bench, 2, seed)?);
    }
    Ok(rows)
}

/// A random geometry that fits its input.
fn random(stream: &mut Stream) -> ConvCase {
    let mut below = |n: u64| (stream.next() % n) as usize;
    let axes = 1 + below(3);
    let groups = [1, 1, 2, 3][below(4)];
    let mut shape = ConvShape {
        groups,
        ..ConvShape::new([1; 3])
    };
    let mut input = [1; 3];
    for axis in 3 - axes..3 {
        shape.kernel[axis] = 1 + below(3);
        shape.stride[axis] = 1 + below(3);
        shape.dilation[axis] = 1 + below(2);
        shape.padding[axis] = below(3);
        let span = (shape.kernel[axis] - 1) * shape.dilation[axis] + 1;
        input[axis] = span + below(5);
    }
    let channels = [groups * (1 + below(9)), groups * (1 + below(9))];
    case(axes, channels, input, shape)
}

/// Both ways and the sum of `b` examples of a random geometry.
pub(super) fn random_rows(bench: &Bench, b: usize, seed: u64) -> Result<Vec<Row>, CheckError> {
    let mut stream = Stream(seed);
    let conv = random(&mut stream);
    let sample = Sample::new(bench, conv, b, &mut stream)?;
    let mut rows = sample.norms()?;
    rows.push(sample.sum()?);
    Ok(rows)
}

/// Three examples of each of the large geometries.
fn large(bench: &Bench) -> Result<Vec<Sample<'_>>, KernelError> {
    let sample = |(place, conv): (usize, ConvCase)| {
        Sample::new(bench, conv, 3, &mut bench.stream(30 + place as u64))
    };
    LARGE.into_iter().enumerate().map(sample).collect()
}

/// Examples of one geometry that is not among [`CONVS`], with numbers of its own.
struct Sample<'a> {
    images: Images<'a>,
    b: usize,
    x: Vec<f64>,
    g: Vec<f64>,
}

impl<'a> Sample<'a> {
    fn new(
        bench: &'a Bench,
        conv: ConvCase,
        b: usize,
        stream: &mut Stream,
    ) -> Result<Self, KernelError> {
        let [x_len, g_len] = conv.lens()?;
        let mut numbers = |n: usize| -> Vec<f64> {
            let numbers = stream.numbers(b * n);
            numbers.into_iter().map(|x| bench.round(x)).collect()
        };
        let (x, g) = (numbers(x_len), numbers(g_len));
        let images = Images::new(bench, conv, b, [&x, &g])?;
        Ok(Self { images, b, x, g })
    }

    /// The norms, by both ways.
    fn norms(&self) -> Result<Vec<Row>, CheckError> {
        let Self { images, b, x, g } = self;
        let Images { bench, case, .. } = images;
        let mut want = vec![0.0; *b];
        reference::conv_norm_sq(&case.layout()?, x, g, &mut want).map_err(refused)?;
        let mut rows = Vec::new();
        for (op, how) in [
            ("conv_norm_sq gram", LinearNorm::Gram),
            ("conv_norm_sq materialised", LinearNorm::Materialised),
        ] {
            let out = bench.upload_sums(&[*b], &vec![0.0; *b]);
            images.norm(&out, how)?;
            let error = elementwise_error(&bench.download_sums(&out)?, &want);
            rows.push(self.row(op, error, NORM_BUDGET));
        }
        Ok(rows)
    }

    /// The sum, without every third example.
    fn sum(&self) -> Result<Row, CheckError> {
        let Self { images, b, x, g } = self;
        let Images { bench, case, .. } = images;
        let factors: Vec<f64> = (0..*b)
            .map(|i| if i % 3 == 2 { 0.0 } else { 0.5 })
            .collect();
        let mut want = vec![0.0; case.weight().iter().product()];
        let out = bench.upload_sums(&case.weight(), &want);
        reference::weighted_sum_conv(&case.layout()?, x, g, &factors, &mut want)
            .map_err(refused)?;
        images.sum(&bench.upload_sums(&[*b], &factors), &out)?;
        let error = relative_error(&bench.download_sums(&out)?, &want);
        Ok(self.row("weighted_sum_conv", error, SUM_BUDGET))
    }

    fn row(&self, op: &str, error: f64, budget: f64) -> Row {
        let Images { bench, case, .. } = &self.images;
        let (dtype, budget) = (bench.input_name(), bench.budget(budget));
        Row::measured(op, dtype, case.words(self.b), error, budget)
    }
}

fn refused(error: ReferenceError) -> CheckError {
    CheckError::Reference(format!("{error:?}"))
}
