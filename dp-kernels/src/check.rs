//! The boundary: every launcher reads its arguments through [`Arg`], which checks what the kernels
//! rely on (shape, type, layout, room in the buffer, 32-bit indices).

use crate::KernelError;
use crate::caps::{ACCUMULATORS, INPUTS, computes_with};
use cubecl::{
    client::Client,
    ir::{ElemType, FloatKind, IntKind, UIntKind},
    prelude::BufferArg,
    std::tensor::TensorHandle,
};

/// The kernels index with 32 bits, and round up to whole cubes and tiles: keep a margin.
pub(crate) const MAX_ELEMENTS: u64 = (u32::MAX - (1 << 20)) as u64;

/// One argument of one launcher.
#[derive(Clone, Copy)]
pub(crate) struct Arg<'a> {
    op: &'static str,
    name: &'static str,
    tensor: &'a TensorHandle,
}

impl<'a> Arg<'a> {
    /// Checks the layout and the buffer of `tensor`.
    pub(crate) fn new(
        op: &'static str,
        name: &'static str,
        tensor: &'a TensorHandle,
    ) -> Result<Self, KernelError> {
        let arg = Self { op, name, tensor };
        check_elements(op, name, tensor.shape())?;
        if tensor.metadata.is_tiled() || !is_contiguous(tensor.shape(), tensor.strides()) {
            return Err(KernelError::NotContiguous {
                op,
                argument: name,
                shape: tensor.shape().to_vec(),
                strides: tensor.strides().to_vec(),
            });
        }
        let needed = (arg.len() * tensor.dtype.size()) as u64;
        let actual = tensor.handle.size_in_used();
        if actual < needed {
            return Err(KernelError::BufferTooSmall {
                op,
                argument: name,
                needed,
                actual,
            });
        }
        Ok(arg)
    }

    /// The shape, of exactly `N` axes.
    pub(crate) fn dims<const N: usize>(&self) -> Result<[usize; N], KernelError> {
        let shape: &[usize] = self.tensor.shape();
        shape.try_into().map_err(|_| KernelError::Rank {
            op: self.op,
            argument: self.name,
            expected: N,
            actual: shape.len(),
        })
    }

    /// The shape must be `expected`.
    pub(crate) fn has_shape(self, expected: &[usize]) -> Result<Self, KernelError> {
        let actual: &[usize] = self.tensor.shape();
        if actual == expected {
            return Ok(self);
        }
        Err(KernelError::Shape {
            op: self.op,
            argument: self.name,
            expected: expected.to_vec(),
            actual: actual.to_vec(),
        })
    }

    /// The elements must be f32.
    pub(crate) fn is_f32(self) -> Result<Self, KernelError> {
        match self.tensor.dtype {
            ElemType::Float(FloatKind::F32) => Ok(self),
            _ => Err(self.wrong_type("f32")),
        }
    }

    /// The elements must be f32, f16, bf16 or f64, and the device must compute with them.
    pub(crate) fn is_float(self, client: &Client) -> Result<Self, KernelError> {
        self.is_one_of(&INPUTS, "f32, f16, bf16 or f64", client)
    }

    /// The elements must be f32 or f64, and the device must compute with them: sums whose inputs aren't there to ask.
    pub(crate) fn is_sum(self, client: &Client) -> Result<Self, KernelError> {
        self.is_one_of(&ACCUMULATORS, "f32 or f64", client)
    }

    fn is_one_of(
        self,
        kinds: &[FloatKind],
        expected: &'static str,
        client: &Client,
    ) -> Result<Self, KernelError> {
        let kind = match self.tensor.dtype {
            ElemType::Float(kind) if kinds.contains(&kind) => kind,
            _ => return Err(self.wrong_type(expected)),
        };
        if computes_with(client, kind) {
            return Ok(self);
        }
        Err(KernelError::UnsupportedType {
            op: self.op,
            dtype: self.tensor.dtype,
        })
    }

    /// The elements must be of the type that `inputs` are summed in.
    pub(crate) fn sums_of(self, inputs: &Arg<'_>) -> Result<Self, KernelError> {
        match self.tensor.dtype {
            ElemType::Float(kind) if ACCUMULATORS.contains(&kind) => {
                self.beside(inputs, inputs.accumulator())
            }
            _ => Err(self.wrong_type("f32 or f64")),
        }
    }

    /// The type that elements of this argument are summed in: f64 for f64, f32 for any other.
    pub(crate) fn accumulator(&self) -> ElemType {
        match self.tensor.dtype {
            wide @ ElemType::Float(FloatKind::F64) => wide,
            _ => ElemType::Float(FloatKind::F32),
        }
    }

    /// The elements must be i32 or u32.
    pub(crate) fn is_index(self) -> Result<Self, KernelError> {
        match self.tensor.dtype {
            ElemType::Int(IntKind::I32) | ElemType::UInt(UIntKind::U32) => Ok(self),
            _ => Err(self.wrong_type("i32 or u32")),
        }
    }

    /// The elements must have the type of `other`'s.
    pub(crate) fn same_type(self, other: &Arg<'_>) -> Result<Self, KernelError> {
        match self.tensor.dtype {
            ElemType::Float(kind) if INPUTS.contains(&kind) => self.beside(other, other.dtype()),
            _ => Err(self.wrong_type("f32, f16, bf16 or f64")),
        }
    }

    /// The elements must be `expected`, because of what `other` holds.
    fn beside(self, other: &Arg<'_>, expected: ElemType) -> Result<Self, KernelError> {
        if self.dtype() == expected {
            return Ok(self);
        }
        Err(KernelError::MixedTypes {
            op: self.op,
            argument: self.name,
            actual: self.dtype(),
            expected,
            other: other.name,
            other_type: other.dtype(),
        })
    }

    pub(crate) fn dtype(&self) -> ElemType {
        self.tensor.dtype
    }

    /// How many elements.
    pub(crate) fn len(&self) -> usize {
        self.tensor.shape().iter().product()
    }

    /// The widest vector that starts and ends every row of `row` elements, no wider than `most`
    /// elements, and that the start of the buffer is aligned for.
    pub(crate) fn vector(&self, row: usize, most: usize) -> usize {
        let offset = self.tensor.handle.offset_start.unwrap_or(0) as usize / self.dtype().size();
        let mut width = most.max(1);
        while !row.is_multiple_of(width) || !offset.is_multiple_of(width) {
            width /= 2;
        }
        width
    }

    /// The kernel argument, as vectors of `vector` elements.
    pub(crate) fn buffer(&self, vector: usize) -> BufferArg {
        // SAFETY: `new` saw that the buffer holds `len` elements.
        unsafe { BufferArg::from_raw_parts(self.tensor.handle.clone(), self.len() / vector) }
    }

    fn wrong_type(&self, expected: &'static str) -> KernelError {
        KernelError::ElementType {
            op: self.op,
            argument: self.name,
            expected,
            actual: self.tensor.dtype,
        }
    }
}

/// Whether `shape` can be indexed by a kernel; how many elements it has. One without elements must not be too large along its other axes, whose
/// products are taken too.
pub(crate) fn check_elements(
    op: &'static str,
    argument: &'static str,
    shape: &[usize],
) -> Result<usize, KernelError> {
    let elements = shape
        .iter()
        .filter(|&&extent| extent > 0)
        .try_fold(1u64, |n, &extent| n.checked_mul(extent as u64))
        .unwrap_or(u64::MAX);
    if elements > MAX_ELEMENTS {
        return Err(KernelError::TooLarge {
            op,
            argument,
            elements,
            limit: MAX_ELEMENTS,
        });
    }
    let is_empty = shape.contains(&0);
    Ok(if is_empty { 0 } else { elements as usize })
}

/// Whether the elements lie row-major without gaps; an axis of one element may have any stride.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    for (&extent, &stride) in shape.iter().zip(strides).rev() {
        if extent != 1 && stride != expected {
            return extent == 0;
        }
        expected *= extent;
    }
    true
}
