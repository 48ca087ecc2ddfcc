//! Moving test data to a device and back.

use super::CheckError;
use super::data::{Case, Host, Stream};
use crate::{Backend, Launch, Tuning};
use cubecl::{
    CubeElement,
    client::Client,
    ir::{ElemType, FloatKind, IntKind, UIntKind},
    std::tensor::TensorHandle,
};
use half::{bf16, f16};

/// A device under test, and the element type of the inputs.
pub struct Bench {
    /// The device.
    pub backend: Backend,
    /// What A, G and xhat are stored as: f32, f16 or bf16. Sums and norms are f32 always.
    pub input: FloatKind,
    /// Chooses the numbers of the inputs; 0 unless [`with_seed`](Self::with_seed) says otherwise.
    pub seed: u64,
}

pub(super) const F32: ElemType = ElemType::Float(FloatKind::F32);

impl Bench {
    /// A bench on `backend`, with f32 inputs.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self::with_input(backend, FloatKind::F32)
    }

    /// A bench on `backend`, with inputs of another type.
    #[must_use]
    pub fn with_input(backend: Backend, input: FloatKind) -> Self {
        Self {
            backend,
            input,
            seed: 0,
        }
    }

    /// The same bench with other numbers in the inputs of every check: the shapes stay, and one seed gives the
    /// same numbers on every device.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The stream number `number` of this bench's numbers.
    pub(super) fn stream(&self, number: u64) -> Stream {
        Stream(self.mixed(number))
    }

    /// `number` itself where the bench's seed is 0.
    pub(super) fn mixed(&self, number: u64) -> u64 {
        number.wrapping_add(self.seed.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    /// One bench for each type of inputs that kernels take and the device has.
    #[must_use]
    pub fn every_input(backend: &Backend) -> Vec<Self> {
        backend
            .caps()
            .inputs
            .into_iter()
            .map(|kind| Self::with_input(backend.clone(), kind))
            .collect()
    }

    /// The name of the inputs' type.
    pub(super) fn input_name(&self) -> &'static str {
        match self.input {
            FloatKind::F16 => "f16",
            FloatKind::BF16 => "bf16",
            _ => "f32",
        }
    }

    /// `value` as the inputs' type holds it.
    pub(super) fn round(&self, value: f32) -> f32 {
        match self.input {
            FloatKind::F16 => f16::from_f32(value).to_f32(),
            FloatKind::BF16 => bf16::from_f32(value).to_f32(),
            _ => value,
        }
    }

    /// Inputs of `case`, in numbers that their type holds.
    pub(super) fn host(&self, case: Case, seed: u64) -> Host {
        let mut host = Host::new(case, self.mixed(seed));
        for values in [
            &mut host.a,
            &mut host.g,
            &mut host.xhat,
            &mut host.delta,
            &mut host.image,
            &mut host.image_g,
        ] {
            for value in values {
                *value = self.round(*value);
            }
        }
        host
    }

    /// `values` on the device, as the inputs' type.
    pub(super) fn upload_input(&self, shape: &[usize], values: &[f32]) -> TensorHandle {
        let dtype = ElemType::Float(self.input);
        match self.input {
            FloatKind::F16 => {
                let values: Vec<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
                self.place(shape, f16::as_bytes(&values), dtype)
            }
            FloatKind::BF16 => {
                let values: Vec<bf16> = values.iter().map(|v| bf16::from_f32(*v)).collect();
                self.place(shape, bf16::as_bytes(&values), dtype)
            }
            FloatKind::F32 => self.upload(shape, values),
            // No launcher takes it, so that its bytes don't matter.
            _ => self.place(shape, &vec![0; values.len() * size_of::<f64>()], dtype),
        }
    }

    /// What every launcher is handed.
    pub(super) fn launch(&self) -> Launch<'_> {
        self.backend.launch()
    }

    pub(super) fn client(&self) -> &Client {
        &self.backend.client
    }

    pub(super) fn tuning(&self) -> &Tuning {
        &self.backend.tuning
    }

    /// `values` on the device.
    pub(super) fn upload(&self, shape: &[usize], values: &[f32]) -> TensorHandle {
        self.place(shape, f32::as_bytes(values), F32)
    }

    /// Ids as u32.
    pub(super) fn upload_u32(&self, shape: &[usize], values: &[u32]) -> TensorHandle {
        self.place(shape, u32::as_bytes(values), ElemType::UInt(UIntKind::U32))
    }

    /// Ids as i32.
    pub(super) fn upload_i32(&self, shape: &[usize], values: &[u32]) -> TensorHandle {
        let values: Vec<i32> = values.iter().map(|v| *v as i32).collect();
        self.place(shape, i32::as_bytes(&values), ElemType::Int(IntKind::I32))
    }

    fn place(&self, shape: &[usize], bytes: &[u8], dtype: ElemType) -> TensorHandle {
        let handle = if bytes.is_empty() {
            self.client().empty(4)
        } else {
            self.client().create_from_slice(bytes)
        };
        TensorHandle::new_contiguous(shape.to_vec(), handle, dtype)
    }

    /// The values of a tensor of the inputs' type.
    pub(super) fn download_input(&self, tensor: &TensorHandle) -> Result<Vec<f32>, CheckError> {
        let len: usize = tensor.shape().iter().product();
        if len == 0 || self.input == FloatKind::F32 {
            return self.download(tensor);
        }
        let bytes = self
            .client()
            .read_one(tensor.handle.clone())
            .map_err(|error| CheckError::Device(format!("{error:?}")))?;
        let mut values: Vec<f32> = match self.input {
            FloatKind::F16 => f16::from_bytes(&bytes).iter().map(|v| v.to_f32()).collect(),
            _ => bf16::from_bytes(&bytes)
                .iter()
                .map(|v| v.to_f32())
                .collect(),
        };
        values.truncate(len);
        Ok(values)
    }

    /// The values of an f32 tensor.
    pub(super) fn download(&self, tensor: &TensorHandle) -> Result<Vec<f32>, CheckError> {
        let len: usize = tensor.shape().iter().product();
        if len == 0 {
            return Ok(Vec::new());
        }
        let bytes = self
            .client()
            .read_one(tensor.handle.clone())
            .map_err(|error| CheckError::Device(format!("{error:?}")))?;
        let mut values = f32::from_bytes(&bytes).to_vec();
        values.truncate(len);
        Ok(values)
    }
}

impl Bench {
    /// The values of a u32 tensor.
    pub(super) fn download_u32(&self, tensor: &TensorHandle) -> Result<Vec<u32>, CheckError> {
        let len: usize = tensor.shape().iter().product();
        let bytes = self
            .client()
            .read_one(tensor.handle.clone())
            .map_err(|error| CheckError::Device(format!("{error:?}")))?;
        let mut values = u32::from_bytes(&bytes).to_vec();
        values.truncate(len);
        Ok(values)
    }
}

/// The largest `|got - want|`, relative to the largest `|want|`; infinite where one is NaN and the other
/// isn't, or the lengths differ.
pub(super) fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let scale = want.iter().map(|w| f64::from(w.abs())).fold(0.0, f64::max);
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    let worst = got
        .iter()
        .zip(want)
        .map(|(g, w)| difference(*g, *w))
        .fold(0.0, f64::max);
    if worst == 0.0 {
        0.0
    } else {
        worst / scale.max(f64::from(f32::MIN_POSITIVE))
    }
}

/// The largest relative error of each value against its own reference.
pub(super) fn elementwise_error(got: &[f32], want: &[f32]) -> f64 {
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    got.iter()
        .zip(want)
        .map(|(g, w)| {
            let d = difference(*g, *w);
            if d == 0.0 {
                0.0
            } else {
                d / f64::from(w.abs()).max(f64::from(f32::MIN_POSITIVE))
            }
        })
        .fold(0.0, f64::max)
}

fn difference(got: f32, want: f32) -> f64 {
    if got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()) {
        return 0.0;
    }
    let d = (f64::from(got) - f64::from(want)).abs();
    if d.is_nan() { f64::INFINITY } else { d }
}

/// The first place where the bits differ.
pub(super) fn first_difference(got: &[f32], want: &[f32]) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("{} values, not {}", got.len(), want.len()));
    }
    let place = got
        .iter()
        .zip(want)
        .position(|(g, w)| g.to_bits() != w.to_bits())?;
    Some(format!(
        "value {place} is {:e}, not {:e}",
        got[place], want[place]
    ))
}
