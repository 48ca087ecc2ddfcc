//! Matrix products, with the routine chosen on purpose: our own on a processor, on CUDA and for f64, cubek's f32 on other GPUs.

mod registers;
mod tensor;
mod tiles;

pub(crate) use registers::launch_transpose;

use crate::check::{Arg, check_elements};
use crate::{KernelError, Launch};
use cubecl::{
    client::Client,
    ir::{ElemType, FloatKind},
    std::tensor::TensorHandle,
};
use cubek::matmul::{
    definition::{MatmulElems, MatmulGlobalElems},
    launch::launch_ref,
    multi_level,
    routine::BlueprintStrategy,
    strategy::Strategy,
    tiled,
};
use cubek::std::InputBinding;

/// Which operands are read transposed: their last two axes swapped, by strides, nothing copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transposes {
    /// `lhs [.., k, m]` instead of `[.., m, k]`.
    pub lhs: bool,
    /// `rhs [.., n, k]` instead of `[.., k, n]`.
    pub rhs: bool,
}

impl Transposes {
    /// Neither.
    pub const NONE: Self = Self {
        lhs: false,
        rhs: false,
    };
    /// `lhs^T rhs`.
    pub const LHS: Self = Self {
        lhs: true,
        rhs: false,
    };
    /// `lhs rhs^T`.
    pub const RHS: Self = Self {
        lhs: false,
        rhs: true,
    };
}

/// Which routine computes a product.
///
/// The library's own choice is a trap on the CPU runtime, where it takes 33 s for a 512^3 product
/// that [`Routine::CpuGemm`] makes in 1.4 ms (cubek 0.3.1, 2 cores with AVX-512): it is not offered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Routine {
    /// This crate's register tiles on the processor's vector units: f32 or f64, contiguous operands. CPU only.
    ///
    /// Measured on 2 threads of an AMD EPYC with AVX-512, `[2048, 256]` by `[256, 1024]` and its two
    /// transposed siblings: 420, 340 (`lhs^T`) and 450 (`rhs^T`) GFLOP/s, [`Routine::CpuGemm`] 91, 56 and 6.
    Registers,
    /// cubek's register tiles: other types and strides too; slow where the last axis of `rhs` as read
    /// isn't contiguous. CPU only.
    CpuGemm,
    /// cubek's register tiles on a GPU's ordinary units, f32 products throughout; f64 operands get [`Routine::Tiles`].
    Units,
    /// This crate's tiles in shared memory on a GPU's ordinary units: f32 or f64, contiguous operands. GPU only; what f64 has there.
    Tiles,
    /// This crate's tiles on a GPU's matrix units: f16 or bf16, contiguous operands whose rows are multiples of 8, results of the same
    /// type. GPUs whose [`Tuning::matrix_units`](crate::Tuning::matrix_units) says so.
    MatrixUnits,
    /// Tensor cores where the device has them for the types, else [`Routine::Units`]. f32 operands
    /// are then rounded to TF32: not for anything that a norm was taken of.
    TensorCores,
    /// One unit for each element of the result. Slow, runs anywhere.
    Naive,
}

impl Routine {
    /// The exact routine for the device behind `client`.
    #[must_use]
    pub fn for_client(client: &Client) -> Self {
        if client.properties().hardware.num_cpu_cores.is_some() {
            Self::Registers
        } else if client.name().starts_with("cuda") {
            Self::Tiles
        } else {
            Self::Units
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Registers => "Registers",
            Self::CpuGemm => "CpuGemm",
            Self::Units => "Units",
            Self::Tiles => "Tiles",
            Self::MatrixUnits => "MatrixUnits",
            Self::TensorCores => "TensorCores",
            Self::Naive => "Naive",
        }
    }

    fn is_for_cpu(self) -> bool {
        matches!(self, Self::Registers | Self::CpuGemm)
    }

    /// cubek's strategy, of a routine that is cubek's.
    fn strategy(self) -> Option<Strategy> {
        match self {
            Self::Registers | Self::Tiles | Self::MatrixUnits => None,
            Self::CpuGemm => Some(
                tiled::Strategy::CpuGemm(BlueprintStrategy::Inferred(Default::default())).into(),
            ),
            Self::Units => Some(
                multi_level::Strategy::SimpleUnit(BlueprintStrategy::Inferred(Default::default()))
                    .into(),
            ),
            Self::TensorCores => Some(Strategy::Auto),
            Self::Naive => Some(multi_level::Strategy::Naive.into()),
        }
    }
}

/// `out = lhs rhs`, overwritten; all leading axes are a batch.
///
/// `lhs [.., m, k]`, `rhs [.., k, n]` (as read, after `transposes`), `out [.., m, n]`. All three have the
/// same leading axes. Types and strides as the routine takes them; contiguous f32 with every one. f64 is for this crate's own,
/// [`Routine::Registers`] and [`Routine::Tiles`], where the device has it: nothing holds cubek's routines to f64's precision here. So
/// f64 operands get the second where [`Routine::Units`] was asked for, and the device's [`Tuning::routine`](crate::Tuning::routine) takes either type.
///
/// # Errors
/// [`KernelError::Rank`] or [`KernelError::Shape`] when the shapes don't agree, [`KernelError::Matmul`],
/// [`KernelError::ElementType`] or [`KernelError::NotContiguous`] when the routine refuses types,
/// strides or device, [`KernelError::MixedTypes`] or [`KernelError::UnsupportedType`] when one of this crate's own does.
///
/// # Precision
/// f32 sums over `k` (f64 for f64 operands), in an order that is the routine's.
pub fn matmul(
    launch: &Launch<'_>,
    lhs: &TensorHandle,
    rhs: &TensorHandle,
    out: &TensorHandle,
    transposes: Transposes,
    routine: Routine,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "matmul";
    let rank = out.shape().len();
    for (argument, tensor) in [("lhs", lhs), ("rhs", rhs), ("out", out)] {
        check_elements(op, argument, tensor.shape())?;
        let actual = tensor.shape().len();
        if actual != rank || actual < 2 {
            let expected = rank.max(2);
            return Err(KernelError::Rank {
                op,
                argument,
                expected,
                actual,
            });
        }
    }
    let batch: Vec<usize> = out.shape()[..rank - 2].to_vec();
    let (m, n) = (out.shape()[rank - 2], out.shape()[rank - 1]);
    let k = lhs.shape()[if transposes.lhs { rank - 2 } else { rank - 1 }];
    let lhs_tail = if transposes.lhs { [k, m] } else { [m, k] };
    let rhs_tail = if transposes.rhs { [n, k] } else { [k, n] };
    has_shape(op, "lhs", lhs, &batch, lhs_tail)?;
    has_shape(op, "rhs", rhs, &batch, rhs_tail)?;
    if batch.iter().product::<usize>() * m * n == 0 {
        return Ok(());
    }
    let refused = |reason: String| KernelError::Matmul {
        op,
        m,
        n,
        k,
        routine: routine.name(),
        reason,
    };
    if k == 0 {
        return Err(refused("nothing to sum over".into()));
    }
    if routine.is_for_cpu() != client.properties().hardware.num_cpu_cores.is_some() {
        return Err(refused("not a routine for this device".into()));
    }
    let wide = ElemType::Float(FloatKind::F64);
    let routine = match routine {
        Routine::Units if lhs.dtype == wide => Routine::Tiles,
        routine => routine,
    };
    let Some(strategy) = routine.strategy() else {
        let a = Arg::new(op, "lhs", lhs)?;
        let a = match routine {
            Routine::MatrixUnits => a.is_float(client)?,
            _ => a.is_sum(client)?,
        };
        let product = Product {
            op,
            a,
            b: Arg::new(op, "rhs", rhs)?.same_type(&a)?,
            out: Arg::new(op, "out", out)?.same_type(&a)?,
            z: batch.iter().product(),
            m,
            n,
            k,
            a_transposed: transposes.lhs,
            b_transposed: transposes.rhs,
        };
        match routine {
            Routine::Registers => registers::launch(launch, &product)?,
            Routine::MatrixUnits => {
                let units =
                    tensor::units_for(launch, &product).map_err(|why| refused(why.into()))?;
                let cut = tensor::cut(&product, units, launch.tuning);
                let parts = launch.scratches(op, tensor::rooms(&product, cut.slices))?;
                let parts = parts.first().map(|parts| Arg::new(op, "workspace", parts));
                tensor::launch(launch, &product, parts.transpose()?.as_ref(), cut);
            }
            _ => tiles::launch(launch, &product),
        }
        return Ok(());
    };
    for (argument, tensor) in [("lhs", lhs), ("rhs", rhs), ("out", out)] {
        if tensor.dtype == wide {
            return Err(KernelError::ElementType {
                op,
                argument,
                expected: "f32, f16 or bf16",
                actual: tensor.dtype,
            });
        }
    }
    let mut left = InputBinding::new(lhs.clone().binding(), lhs.dtype);
    if transposes.lhs {
        left.swap_dims(rank - 2, rank - 1);
    }
    let mut right = InputBinding::new(rhs.clone().binding(), rhs.dtype);
    if transposes.rhs {
        right.swap_dims(rank - 2, rank - 1);
    }
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems {
        lhs: lhs.dtype,
        rhs: rhs.dtype,
        out: out.dtype,
    });
    launch_ref(
        &strategy,
        client,
        left,
        right,
        out.clone().binding(),
        &mut types,
    )
    .map_err(|error| refused(error.to_string()))
}

/// One checked product, its batch flattened, all of one type: `a [z, m, k]` or `[z, k, m]`, `b [z, k, n]` or `[z, n, k]`.
struct Product<'a> {
    op: &'static str,
    a: Arg<'a>,
    b: Arg<'a>,
    out: Arg<'a>,
    z: usize,
    m: usize,
    n: usize,
    k: usize,
    a_transposed: bool,
    b_transposed: bool,
}

fn has_shape(
    op: &'static str,
    argument: &'static str,
    tensor: &TensorHandle,
    batch: &[usize],
    tail: [usize; 2],
) -> Result<(), KernelError> {
    let expected = [batch, &tail].concat();
    let actual: &[usize] = tensor.shape();
    if actual == expected {
        return Ok(());
    }
    Err(KernelError::Shape {
        op,
        argument,
        expected,
        actual: actual.to_vec(),
    })
}
