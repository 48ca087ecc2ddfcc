//! What a launcher refuses, with the values that made it refuse.

use cubecl::ir::ElemType;

/// A launch that was refused before anything ran on the device.
///
/// Every launcher checks its arguments at the boundary and returns one of these; nothing has been
/// written when it does. What goes wrong on the device later surfaces when the caller reads a
/// buffer back, as everywhere in CubeCL.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// An argument has the wrong number of axes.
    #[error("{op}: `{argument}` has {actual} axes, expected {expected}")]
    Rank {
        /// The launcher.
        op: &'static str,
        /// The argument.
        argument: &'static str,
        /// Axes wanted.
        expected: usize,
        /// Axes given.
        actual: usize,
    },
    /// An argument's shape does not agree with the others'.
    #[error("{op}: `{argument}` has shape {actual:?}, expected {expected:?}")]
    Shape {
        /// The launcher.
        op: &'static str,
        /// The argument.
        argument: &'static str,
        /// Shape wanted.
        expected: Vec<usize>,
        /// Shape given.
        actual: Vec<usize>,
    },
    /// An argument's element type is none of those that the launcher takes.
    #[error("{op}: `{argument}` holds {actual}, expected {expected}")]
    ElementType {
        /// The launcher.
        op: &'static str,
        /// The argument.
        argument: &'static str,
        /// What is taken, in words.
        expected: &'static str,
        /// What was given.
        actual: ElemType,
    },
    /// An argument's element type doesn't go with another's: one type for all inputs, and f64 for the norms, factors and sums
    /// of f64 inputs, f32 for those of any other.
    #[error(
        "{op}: `{argument}` holds {actual}, but `{other}` holds {other_type}, beside which it must be {expected}"
    )]
    MixedTypes {
        /// The launcher.
        op: &'static str,
        /// The argument.
        argument: &'static str,
        /// What was given.
        actual: ElemType,
        /// What goes with the other.
        expected: ElemType,
        /// The other argument.
        other: &'static str,
        /// What that one holds.
        other_type: ElemType,
    },
    /// The device computes with no such type.
    #[error("{op}: this device has no arithmetic on {dtype}")]
    UnsupportedType {
        /// The launcher.
        op: &'static str,
        /// The type.
        dtype: ElemType,
    },
    /// An argument is not laid out row-major without gaps.
    #[error("{op}: `{argument}` of shape {shape:?} is not contiguous, its strides are {strides:?}")]
    NotContiguous {
        /// The launcher.
        op: &'static str,
        /// The argument.
        argument: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides, in elements.
        strides: Vec<usize>,
    },
    /// An argument's buffer is smaller than its shape says.
    #[error("{op}: the buffer of `{argument}` holds {actual} bytes, its shape needs {needed}")]
    BufferTooSmall {
        /// The launcher.
        op: &'static str,
        /// The argument.
        argument: &'static str,
        /// Bytes that the shape needs.
        needed: u64,
        /// Bytes there.
        actual: u64,
    },
    /// More or fewer values to upload than the shape has elements.
    #[error("upload: {actual} values for a shape of {expected} elements")]
    Values {
        /// Elements of the shape.
        expected: usize,
        /// Values given.
        actual: usize,
    },
    /// The caller's workspace is smaller than what the launcher writes between its kernels.
    #[error(
        "{op}: the workspace has {available} usable bytes, {needed} are needed: hand over a larger buffer, or `Workspace::growing()`"
    )]
    WorkspaceTooSmall {
        /// The launcher.
        op: &'static str,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes there, from the first that the device can bind.
        available: u64,
    },
    /// More elements than the kernels can index with 32 bits.
    #[error("{op}: `{argument}` would have {elements} elements, the kernels index at most {limit}")]
    TooLarge {
        /// The launcher.
        op: &'static str,
        /// The argument, or the workspace.
        argument: &'static str,
        /// Elements wanted.
        elements: u64,
        /// The most that can be indexed.
        limit: u64,
    },
    /// The clipping policy cannot bound anything.
    #[error("{op}: {source}")]
    Clipping {
        /// The launcher.
        op: &'static str,
        /// What is wrong with it.
        source: dp_core::clipping::ClippingError,
    },
    /// The counts of adaptive clipping were refused.
    #[error("{op}: {source}")]
    Quantile {
        /// The launcher.
        op: &'static str,
        /// What is wrong with them.
        source: dp_core::clipping::QuantileError,
    },
    /// A view would start where the device cannot bind a buffer.
    #[error(
        "{op}: row {row} of `{argument}` starts at byte {offset}, the device binds at multiples of {alignment}: make rows longer"
    )]
    Misaligned {
        /// The launcher.
        op: &'static str,
        /// The argument.
        argument: &'static str,
        /// The row.
        row: usize,
        /// Where it starts.
        offset: u64,
        /// What the device asks for.
        alignment: u64,
    },
    /// The geometry is not one of a convolution over this input.
    #[error("{op}: {source}")]
    Conv {
        /// The launcher.
        op: &'static str,
        /// What is wrong with it.
        source: dp_core::reference::ConvError,
    },
    /// The request for noise was refused.
    #[error("{op}: {source}")]
    Noise {
        /// The launcher.
        op: &'static str,
        /// What is wrong with it.
        source: dp_core::noise::NoiseError,
    },
    /// A number of the update was refused.
    #[error("{op}: {source}")]
    Update {
        /// The launcher.
        op: &'static str,
        /// What is wrong with it.
        source: dp_core::update::UpdateError,
    },
    /// The optimizer's rule keeps another number of moments.
    #[error("{op}: {actual} moments given, the rule keeps {expected}")]
    Moments {
        /// The launcher.
        op: &'static str,
        /// Moments that the rule keeps.
        expected: usize,
        /// Moments given.
        actual: usize,
    },
    /// Fewer draws of noise than there are parameters.
    #[error("{op}: {actual} draws of noise for {expected} parameters; give one to each")]
    Draws {
        /// The launcher.
        op: &'static str,
        /// Parameters given.
        expected: usize,
        /// Draws given.
        actual: usize,
    },
    /// The matrix product's routine can't run this problem on this device.
    #[error("{op}: no product [{m}, {k}] x [{k}, {n}] by {routine}: {reason}")]
    Matmul {
        /// The launcher.
        op: &'static str,
        /// Rows of the result.
        m: usize,
        /// Columns of the result.
        n: usize,
        /// The axis summed over.
        k: usize,
        /// The routine.
        routine: &'static str,
        /// The library's answer.
        reason: String,
    },
}
