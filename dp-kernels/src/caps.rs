//! What the launchers take on a device, said beforehand.

use core::fmt;
use cubecl::{
    client::Client,
    ir::{ElemType, FloatKind, UIntKind, features::TypeUsage},
};

/// The element types that kernels are made for; a device may lack some.
pub(crate) const INPUTS: [FloatKind; 4] = [
    FloatKind::F32,
    FloatKind::F16,
    FloatKind::BF16,
    FloatKind::F64,
];

/// The element types that they are summed in: f64 in f64, the others in f32.
pub(crate) const ACCUMULATORS: [FloatKind; 2] = [FloatKind::F32, FloatKind::F64];

/// What the launchers of this crate take on a device. The conformance suite holds it against their answers.
///
/// No kernel needs atomics or plane operations; 16-bit floats go through matrix units where
/// [`Tuning::matrix_units`](crate::Tuning::matrix_units) says that they are there. What the hardware is (units, planes, memory) is in
/// [`Description`](crate::Description).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Element types of what differs per example: A, G, xhat, the rows of [`zero_dead_rows`](crate::zero_dead_rows).
    /// Another of f32, f16, bf16 and f64 is refused as [`UnsupportedType`](crate::KernelError::UnsupportedType), any other
    /// type as [`ElementType`](crate::KernelError::ElementType).
    pub inputs: Vec<FloatKind>,
    /// Element types of what is summed: norms, factors, weighted sums, targets of noise. Those of f64 inputs are f64, those of any
    /// other inputs f32; a mix is refused as [`MixedTypes`](crate::KernelError::MixedTypes), a type that is neither as
    /// [`ElementType`](crate::KernelError::ElementType).
    pub accumulators: Vec<FloatKind>,
    /// Whether launchers take f64 on this device: all or none.
    pub f64: bool,
    /// The most elements of one argument: kernels index with 32 bits. More are refused as
    /// [`TooLarge`](crate::KernelError::TooLarge).
    pub max_elements: u64,
    /// The largest buffer that the runtime allocates in one piece, in bytes.
    pub max_buffer: u64,
    /// Shared memory of a cube, in bytes.
    pub shared_memory: usize,
}

impl Capabilities {
    /// Reads them off the device behind `client`; nothing is launched.
    #[must_use]
    pub fn of(client: &Client) -> Self {
        let properties = client.properties();
        let there = |kinds: &[FloatKind]| -> Vec<FloatKind> {
            let kinds = kinds.iter().copied();
            kinds.filter(|kind| computes_with(client, *kind)).collect()
        };
        Self {
            inputs: there(&INPUTS),
            accumulators: there(&ACCUMULATORS),
            f64: computes_with(client, FloatKind::F64),
            max_elements: crate::check::MAX_ELEMENTS,
            max_buffer: properties.memory.max_page_size,
            shared_memory: properties.hardware.max_shared_memory_size,
        }
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |kinds: &[FloatKind]| {
            let names: Vec<&str> = kinds.iter().map(|kind| kind_name(*kind)).collect();
            names.join(" ")
        };
        write!(
            f,
            "inputs {}; sums {}; {}; {} elements an argument, {} bytes a buffer, {} bytes shared memory",
            names(&self.inputs),
            names(&self.accumulators),
            if self.f64 {
                "f64 everywhere"
            } else {
                "f64 absent"
            },
            self.max_elements,
            self.max_buffer,
            self.shared_memory,
        )
    }
}

/// Whether the device reads buffers of this type and converts it, and rounds as the kernels take for granted.
pub(crate) fn computes_with(client: &Client, kind: FloatKind) -> bool {
    has(client, ElemType::Float(kind)) && (kind != FloatKind::F64 || rounds_f64(client))
}

/// Whether f64 arithmetic is IEEE 754's, and u64 there to look at its bits.
///
/// Not by way of wgpu, whatever the device says: Vulkan asks of 64-bit instructions no more than the precision of 32-bit ones
/// (specification, "Precision and Operation of SPIR-V Instructions"), which the bound of an f64 clip factor is below, and the
/// other APIs have no f64.
fn rounds_f64(client: &Client) -> bool {
    !client.name().starts_with("wgpu") && has(client, ElemType::UInt(UIntKind::U64))
}

fn has(client: &Client, elem: ElemType) -> bool {
    let usage = client.properties().type_usage(elem);
    usage.contains(TypeUsage::Buffer) && usage.contains(TypeUsage::Conversion)
}

pub(crate) fn kind_name(kind: FloatKind) -> &'static str {
    match kind {
        FloatKind::F16 => "f16",
        FloatKind::BF16 => "bf16",
        FloatKind::F32 => "f32",
        FloatKind::F64 => "f64",
        FloatKind::TF32 => "tf32",
        FloatKind::Flex32 => "flex32",
        FloatKind::E4M3 => "e4m3",
        FloatKind::E5M2 => "e5m2",
        _ => "another float",
    }
}
