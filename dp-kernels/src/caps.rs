//! What the launchers take on a device, said beforehand.

use core::fmt;
use cubecl::{
    client::Client,
    ir::{ElemType, FloatKind, features::TypeUsage},
};

/// The element types that kernels are made for; a device may lack some.
pub(crate) const INPUTS: [FloatKind; 3] = [FloatKind::F32, FloatKind::F16, FloatKind::BF16];

/// What the launchers of this crate take on a device. The conformance suite holds it against their answers.
///
/// No kernel needs atomics or plane operations, and none needs f64. What the hardware is (units, planes, memory) is in
/// [`Description`](crate::Description).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Element types of what differs per example: A, G, xhat, the rows of [`zero_dead_rows`](crate::zero_dead_rows).
    /// Another of f32, f16 and bf16 is refused as [`UnsupportedType`](crate::KernelError::UnsupportedType), any other
    /// type as [`ElementType`](crate::KernelError::ElementType).
    pub inputs: Vec<FloatKind>,
    /// Element types of what is summed: norms, factors, weighted sums, targets of noise; operands of
    /// [`matmul`](crate::matmul). Any other is refused as [`ElementType`](crate::KernelError::ElementType).
    pub accumulators: Vec<FloatKind>,
    /// Whether kernels on this device can compute with f64. No launcher here takes it.
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
        Self {
            inputs: INPUTS
                .into_iter()
                .filter(|kind| computes_with(client, *kind))
                .collect(),
            accumulators: vec![FloatKind::F32],
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
            "inputs {}; sums {}; f64 {}; {} elements an argument, {} bytes a buffer, {} bytes shared memory",
            names(&self.inputs),
            names(&self.accumulators),
            if self.f64 {
                "on the device, in no kernel"
            } else {
                "absent"
            },
            self.max_elements,
            self.max_buffer,
            self.shared_memory,
        )
    }
}

/// Whether the device reads buffers of this type and converts it.
pub(crate) fn computes_with(client: &Client, kind: FloatKind) -> bool {
    let usage = client.properties().type_usage(ElemType::Float(kind));
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
