//! Moving test data to a device and back.

use super::CheckError;
use super::data::{Case, Host, Stream};
use crate::tuning::BUSY_CUBES;
use crate::{Backend, Launch, MatrixUnits, Tuning, Workspace};
use cubecl::{
    CubeElement, MemoryPoolsReport, MemoryScope,
    client::Client,
    ir::{ElemType, FloatKind, IntKind, UIntKind},
    std::tensor::TensorHandle,
};
use cubecl_environment::stream::StreamId;
use dp_core::reference::Real;
use half::{bf16, f16};

/// A device under test, and the element type of the inputs.
pub struct Bench {
    /// The device.
    pub backend: Backend,
    /// What A, G and xhat are stored as: f32, f16, bf16 or f64. Norms, factors and sums are f64 where they are, else f32.
    pub input: FloatKind,
    /// Chooses the numbers of the inputs; 0 unless [`with_seed`](Self::with_seed) says otherwise.
    pub seed: u64,
    /// Where the launchers' intermediate results are; the runtime's pool where it is missing.
    workspace: Option<Workspace>,
    /// The stream that inputs are uploaded on; the current one where it is missing.
    data: Option<StreamId>,
}

/// Of f64 sums over the shapes here, relative: a few hundred units in the last place, where f32 has 5e8.
const WIDE_BUDGET: f64 = 1e-12;

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
            workspace: None,
            data: None,
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

    /// One bench for each type of inputs that kernels take and the device has; more for those that it multiplies by matrix units: in each way that it
    /// can, and as a device of one multiprocessor would, whose tiles are wide and follow each other.
    #[must_use]
    pub fn every_input(backend: &Backend) -> Vec<Self> {
        let mut backends = vec![backend.clone()];
        if backend.tuning.matrix_units == Some(MatrixUnits::Warpgroups) {
            let mut other = backend.clone();
            other.tuning.matrix_units = Some(MatrixUnits::Planes);
            backends.push(other);
        }
        if backend.tuning.matrix_units.is_some() {
            let mut small = backend.clone();
            small.tuning.busy_cubes = BUSY_CUBES;
            backends.push(small);
        }
        let benches_of = |kind: FloatKind| {
            let is_half = matches!(kind, FloatKind::F16 | FloatKind::BF16);
            let ways = if is_half { backends.len() } else { 1 };
            let backends = backends.iter().take(ways).cloned();
            backends.map(move |backend| Self::with_input(backend, kind))
        };
        backend
            .caps()
            .inputs
            .into_iter()
            .flat_map(benches_of)
            .collect()
    }

    /// The name of the inputs' type.
    pub(super) fn input_name(&self) -> &'static str {
        match self.input {
            FloatKind::F16 => "f16",
            FloatKind::BF16 => "bf16",
            FloatKind::F64 => "f64",
            _ => "f32",
        }
    }

    /// Whether norms, factors and sums are f64.
    pub(super) fn is_wide(&self) -> bool {
        self.input == FloatKind::F64
    }

    /// The name of the type that inputs are summed in.
    pub(super) fn sum_name(&self) -> &'static str {
        if self.is_wide() { "f64" } else { "f32" }
    }

    /// The budget of a comparison whose numbers are summed in f32, or [`WIDE_BUDGET`] where they are summed in f64.
    pub(super) fn budget(&self, of_f32: f64) -> f64 {
        if self.is_wide() { WIDE_BUDGET } else { of_f32 }
    }

    /// `value` as the inputs' type holds it.
    pub(super) fn round(&self, value: f64) -> f64 {
        let narrow = value as f32;
        match self.input {
            FloatKind::F16 => f16::from_f32(narrow).to_f64(),
            FloatKind::BF16 => bf16::from_f32(narrow).to_f64(),
            FloatKind::F64 => value,
            _ => f64::from(narrow),
        }
    }

    /// `value` as the type of the sums holds it.
    pub(super) fn round_sum(&self, value: f64) -> f64 {
        if self.is_wide() {
            value
        } else {
            f64::from(value as f32)
        }
    }

    /// Inputs of `case`, in numbers that their type holds.
    pub(super) fn host(&self, case: Case, seed: u64) -> Host {
        let mut host = Host::new(case, self.mixed(seed));
        for value in host.inputs_mut() {
            *value = self.round(*value);
        }
        for factor in &mut host.factors {
            *factor = self.round_sum(*factor);
        }
        host
    }

    /// `values` on the device, as the inputs' type.
    pub(super) fn upload_input(&self, shape: &[usize], values: &[f64]) -> TensorHandle {
        self.upload_as(self.input, shape, values)
    }

    /// `values` on the device, as the type that inputs are summed in.
    pub(super) fn upload_sums(&self, shape: &[usize], values: &[f64]) -> TensorHandle {
        let kind = if self.is_wide() {
            FloatKind::F64
        } else {
            FloatKind::F32
        };
        self.upload_as(kind, shape, values)
    }

    fn upload_as(&self, kind: FloatKind, shape: &[usize], values: &[f64]) -> TensorHandle {
        let dtype = ElemType::Float(kind);
        let narrow = values.iter().map(|v| *v as f32);
        match kind {
            FloatKind::F16 => {
                let values: Vec<f16> = narrow.map(f16::from_f32).collect();
                self.place(shape, f16::as_bytes(&values), dtype)
            }
            FloatKind::BF16 => {
                let values: Vec<bf16> = narrow.map(bf16::from_f32).collect();
                self.place(shape, bf16::as_bytes(&values), dtype)
            }
            FloatKind::F32 => self.upload(shape, &narrow.collect::<Vec<f32>>()),
            FloatKind::F64 => self.place(shape, f64::as_bytes(values), dtype),
            // No launcher takes it, so that its bytes don't matter.
            _ => self.place(shape, &vec![0; size_of_val(values)], dtype),
        }
    }

    /// The same bench, launching in `workspace`.
    pub(super) fn with_workspace(&self, workspace: Workspace) -> Self {
        Self {
            backend: self.backend.clone(),
            input: self.input,
            seed: self.seed,
            workspace: Some(workspace),
            data: self.data,
        }
    }

    /// The same bench, uploading on the stream `data` whatever stream launches.
    pub(super) fn with_data_on(self, data: StreamId) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }

    /// What every launcher is handed.
    pub(super) fn launch(&self) -> Launch<'_> {
        let launch = self.backend.launch();
        match &self.workspace {
            Some(workspace) => launch.with_workspace(workspace),
            None => launch,
        }
    }

    /// The workspace that it launches in.
    pub(super) fn workspace(&self) -> Option<&Workspace> {
        self.workspace.as_ref()
    }

    /// What the current stream has of the device's memory for buffers, beside what the runtime keeps for itself.
    pub(super) fn pools(&self) -> Vec<MemoryPoolsReport> {
        let report = self.client().memory_report(MemoryScope::CurrentStream);
        report.streams.into_iter().map(|s| s.pools).collect()
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
        let upload = || {
            if bytes.is_empty() {
                self.client().empty(4)
            } else {
                self.client().create_from_slice(bytes)
            }
        };
        let handle = match self.data {
            Some(data) => data.executes(upload),
            None => upload(),
        };
        TensorHandle::new_contiguous(shape.to_vec(), handle, dtype)
    }

    /// The values of a tensor of the inputs' type.
    pub(super) fn download_input(&self, tensor: &TensorHandle) -> Result<Vec<f64>, CheckError> {
        self.download_as(self.input, tensor)
    }

    /// The values of a tensor of the type that inputs are summed in.
    pub(super) fn download_sums(&self, tensor: &TensorHandle) -> Result<Vec<f64>, CheckError> {
        let kind = if self.is_wide() {
            FloatKind::F64
        } else {
            FloatKind::F32
        };
        self.download_as(kind, tensor)
    }

    fn download_as(&self, kind: FloatKind, tensor: &TensorHandle) -> Result<Vec<f64>, CheckError> {
        let len: usize = tensor.shape().iter().product();
        if len == 0 {
            return Ok(Vec::new());
        }
        let bytes = self
            .client()
            .read_one(tensor.handle.clone())
            .map_err(|error| CheckError::Device(format!("{error:?}")))?;
        let mut values: Vec<f64> = match kind {
            FloatKind::F16 => f16::from_bytes(&bytes).iter().map(|v| v.to_f64()).collect(),
            FloatKind::BF16 => bf16::from_bytes(&bytes)
                .iter()
                .map(|v| v.to_f64())
                .collect(),
            FloatKind::F64 => f64::from_bytes(&bytes).to_vec(),
            _ => f32::from_bytes(&bytes)
                .iter()
                .map(|v| f64::from(*v))
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
pub(super) fn relative_error<R: Real>(got: &[R], want: &[R]) -> f64 {
    let scale = want.iter().map(|w| w.widen().abs()).fold(0.0, f64::max);
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
pub(super) fn elementwise_error<R: Real>(got: &[R], want: &[R]) -> f64 {
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
                d / w.widen().abs().max(f64::from(f32::MIN_POSITIVE))
            }
        })
        .fold(0.0, f64::max)
}

fn difference<R: Real>(got: R, want: R) -> f64 {
    let (got, want) = (got.widen(), want.widen());
    if got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()) {
        return 0.0;
    }
    let d = (got - want).abs();
    if d.is_nan() { f64::INFINITY } else { d }
}

/// The first place where the bits differ.
pub(super) fn first_difference<R: Real>(got: &[R], want: &[R]) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("{} values, not {}", got.len(), want.len()));
    }
    let place = got
        .iter()
        .zip(want)
        .position(|(g, w)| g.widen().to_bits() != w.widen().to_bits())?;
    Some(format!(
        "value {place} is {:e}, not {:e}",
        got[place].widen(),
        want[place].widen()
    ))
}
