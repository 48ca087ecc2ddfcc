//! A device with what a bench needs of it: buffers to and from, what fits, waiting.

use cubecl::{
    CubeElement,
    client::Client,
    ir::{ElemType, FloatKind, UIntKind},
    std::tensor::TensorHandle,
};
use dp_kernels::{Backend, CeilingError, KernelError, Launch, Workspace};
use half::{bf16, f16};

/// What kept a row from being measured.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A launcher refused what it should take.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The device failed.
    #[error("the device answered {0}")]
    Device(String),
    /// The reference refused what it was given.
    #[error("the reference: {0}")]
    Reference(String),
    /// The ceilings could not be measured.
    #[error(transparent)]
    Ceiling(#[from] CeilingError),
}

impl BenchError {
    pub(crate) fn device(error: impl core::fmt::Debug) -> Self {
        Self::Device(format!("{error:?}"))
    }
}

impl From<dp_core::reference::ReferenceError> for BenchError {
    fn from(error: dp_core::reference::ReferenceError) -> Self {
        Self::Reference(error.to_string())
    }
}

/// What is taken for the last-level cache where the runtime doesn't tell its size.
const USUAL_CACHE: u64 = 64 << 20;

/// A device under measurement.
#[derive(Debug)]
pub struct Bench {
    /// The device.
    pub backend: Backend,
    /// The most bytes that the buffers of one group may take.
    pub memory: u64,
    /// Where launchers write their intermediate results, as in a training program: after the warm-up none allocates.
    workspace: Workspace,
}

pub(crate) const F32: ElemType = ElemType::Float(FloatKind::F32);

impl Bench {
    /// On `backend`, with at most `memory` bytes of buffers at a time.
    #[must_use]
    pub fn new(backend: Backend, memory: u64) -> Self {
        Self {
            backend,
            memory,
            workspace: Workspace::growing(),
        }
    }

    /// The last-level cache in bytes, and whether the runtime told it.
    #[must_use]
    pub fn cache(&self) -> (u64, bool) {
        let told = self
            .client()
            .properties()
            .hardware
            .last_level_cache_size
            .filter(|bytes| *bytes > 0);
        (
            told.map_or(USUAL_CACHE, |bytes| bytes as u64),
            told.is_some(),
        )
    }

    /// What a launcher is handed first.
    pub(crate) fn launch(&self) -> Launch<'_> {
        self.backend.launch().with_workspace(&self.workspace)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.backend.client
    }

    /// Waits for everything that was launched.
    pub(crate) fn wait(&self) -> Result<(), BenchError> {
        cubecl::future::block_on(self.client().sync()).map_err(BenchError::device)
    }

    /// `values` on the device as f32, f16 or bf16.
    pub(crate) fn upload(&self, shape: &[usize], values: &[f32], kind: FloatKind) -> TensorHandle {
        let dtype = ElemType::Float(kind);
        match kind {
            FloatKind::F16 => {
                let values: Vec<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
                self.place(shape, f16::as_bytes(&values), dtype)
            }
            FloatKind::BF16 => {
                let values: Vec<bf16> = values.iter().map(|v| bf16::from_f32(*v)).collect();
                self.place(shape, bf16::as_bytes(&values), dtype)
            }
            _ => self.place(shape, f32::as_bytes(values), F32),
        }
    }

    pub(crate) fn upload_f32(&self, shape: &[usize], values: &[f32]) -> TensorHandle {
        self.place(shape, f32::as_bytes(values), F32)
    }

    pub(crate) fn upload_u32(&self, shape: &[usize], values: &[u32]) -> TensorHandle {
        let dtype = ElemType::UInt(UIntKind::U32);
        self.place(shape, u32::as_bytes(values), dtype)
    }

    /// Zeros, written once: pages of a processor that nobody wrote would all be the same page.
    pub(crate) fn zeros(&self, shape: &[usize]) -> TensorHandle {
        self.upload_f32(shape, &vec![0.0; shape.iter().product()])
    }

    fn place(&self, shape: &[usize], bytes: &[u8], dtype: ElemType) -> TensorHandle {
        let handle = self.client().create_from_slice(bytes);
        TensorHandle::new_contiguous(shape.to_vec(), handle, dtype)
    }

    /// The values of an f32, f16 or bf16 tensor.
    pub(crate) fn download(&self, tensor: &TensorHandle) -> Result<Vec<f32>, BenchError> {
        let len: usize = tensor.shape().iter().product();
        let bytes = self
            .client()
            .read_one(tensor.handle.clone())
            .map_err(BenchError::device)?;
        let mut values = match tensor.dtype {
            ElemType::Float(FloatKind::F16) => {
                f16::from_bytes(&bytes).iter().map(|v| v.to_f32()).collect()
            }
            ElemType::Float(FloatKind::BF16) => {
                let values = bf16::from_bytes(&bytes);
                values.iter().map(|v| v.to_f32()).collect()
            }
            _ => f32::from_bytes(&bytes).to_vec(),
        };
        values.truncate(len);
        Ok(values)
    }
}

/// How a row names an element type.
pub(crate) fn type_name(kind: FloatKind) -> &'static str {
    match kind {
        FloatKind::F16 => "f16",
        FloatKind::BF16 => "bf16",
        _ => "f32",
    }
}

/// `value` as the type holds it.
pub(crate) fn round(value: f32, kind: FloatKind) -> f32 {
    match kind {
        FloatKind::F16 => f16::from_f32(value).to_f32(),
        FloatKind::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

/// Bytes of one element.
pub(crate) fn width(kind: FloatKind) -> u64 {
    match kind {
        FloatKind::F16 | FloatKind::BF16 => 2,
        _ => 4,
    }
}
