//! What every launcher is handed first: where to enqueue, how to cut the work, whose memory holds intermediate results.

use crate::check::{Arg, check_elements};
use crate::workspace::alignment;
use crate::{KernelError, Tuning, Workspace};
use core::fmt;
use cubecl::{
    CubeElement,
    client::Client,
    ir::{ElemType, FloatKind},
    std::tensor::TensorHandle,
};

/// A tensor that could not be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is no f32 tensor without gaps.
    #[error(transparent)]
    Tensor(#[from] KernelError),
    /// The device failed, now or in a launch before.
    #[error("reading from the device: {0}")]
    Device(String),
}

/// Where a launcher enqueues, how it cuts the work, and where it puts its intermediate results.
///
/// Borrowed and cheap: make one where it is needed, with [`Backend::launch`](crate::Backend::launch) or from a client of your own.
///
/// ```
/// use dp_kernels::{Backend, KernelError, Launch, Workspace, bias_norm_sq};
/// use cubecl::std::tensor::TensorHandle;
///
/// fn norms(device: &Backend, workspace: &Workspace, g: &TensorHandle, norms_sq: &TensorHandle) -> Result<(), KernelError> {
///     let launch = device.launch().with_workspace(workspace);
///     bias_norm_sq(&launch, g, norms_sq)
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    pub(crate) client: &'a Client,
    pub(crate) tuning: &'a Tuning,
    workspace: Option<&'a Workspace>,
}

impl<'a> Launch<'a> {
    /// Launches on `client`, cut by `tuning`, which is of its device. Intermediate results take memory from the runtime's pool, launch by launch.
    ///
    /// # Panics
    /// Panics where one is of a processor and the other of a GPU: units of a GPU would write over each other's sums, and norms would be any number.
    #[must_use]
    pub fn new(client: &'a Client, tuning: &'a Tuning) -> Self {
        let is_cpu = client.properties().hardware.num_cpu_cores.is_some();
        assert_eq!(
            tuning.is_cpu, is_cpu,
            "the tuning is of another device: take Tuning::for_client of this client"
        );
        Self {
            client,
            tuning,
            workspace: None,
        }
    }

    /// The same, with intermediate results in `workspace`: no launcher then allocates on the device, once `workspace` is large enough.
    ///
    /// Results have the same bits with a workspace and without.
    #[must_use]
    pub fn with_workspace(self, workspace: &'a Workspace) -> Self {
        Self {
            workspace: Some(workspace),
            ..self
        }
    }

    /// Where it enqueues.
    #[must_use]
    pub fn client(&self) -> &'a Client {
        self.client
    }

    /// How the work is cut.
    #[must_use]
    pub fn tuning(&self) -> &'a Tuning {
        self.tuning
    }

    /// `values` on the device, as f32 of `shape`: for small things, and for a program that has no buffers of its own yet.
    ///
    /// # Errors
    /// [`KernelError::Values`] where there are more or fewer of them than the shape has elements.
    pub fn upload(&self, shape: &[usize], values: &[f32]) -> Result<TensorHandle, KernelError> {
        let expected = check_elements("upload", "values", shape)?;
        if values.len() != expected {
            return Err(KernelError::Values {
                expected,
                actual: values.len(),
            });
        }
        let handle = match values {
            [] => self.client.empty(size_of::<f32>()),
            _ => self.client.create_from_slice(f32::as_bytes(values)),
        };
        let dtype = ElemType::Float(FloatKind::F32);
        Ok(TensorHandle::new_contiguous(shape.to_vec(), handle, dtype))
    }

    /// Zeros on the device, f32 of `shape`.
    ///
    /// # Errors
    /// [`KernelError::TooLarge`].
    pub fn zeros(&self, shape: &[usize]) -> Result<TensorHandle, KernelError> {
        let len = check_elements("zeros", "values", shape)?;
        self.upload(shape, &vec![0.0; len])
    }

    /// What is in an f32 tensor. Waits for the device: never between the launches of a step.
    ///
    /// # Errors
    /// [`ReadError`].
    ///
    /// # Privacy
    /// Only what was noised may be read out, and what is public: no norm, no factor, no sum before its noise.
    pub fn read(&self, tensor: &TensorHandle) -> Result<Vec<f32>, ReadError> {
        let len = Arg::new("read", "tensor", tensor)?.is_f32()?.len();
        let bytes = self.client.read_one(tensor.handle.clone());
        let bytes = bytes.map_err(|error| ReadError::Device(format!("{error:?}")))?;
        Ok(f32::from_bytes(&bytes)[..len].to_vec())
    }

    /// Buffers for everything that the launcher `op` writes and reads back itself, not initialised.
    ///
    /// A launcher asks once, for all of it and before it launches anything: every asking starts at the beginning of the workspace,
    /// and a launcher that is refused must have written nothing.
    pub(crate) fn scratch<const N: usize>(
        &self,
        op: &'static str,
        rooms: [Room; N],
    ) -> Result<[TensorHandle; N], KernelError> {
        let buffers = self.scratches(op, rooms.into())?;
        Ok(buffers.try_into().expect("a buffer for each room"))
    }

    /// Likewise, where how many there are depends on the shapes. None at all ask for no memory.
    pub(crate) fn scratches(
        &self,
        op: &'static str,
        rooms: Vec<Room>,
    ) -> Result<Vec<TensorHandle>, KernelError> {
        let mut sizes = Vec::with_capacity(rooms.len());
        for room in &rooms {
            let elements = check_elements(op, "workspace", &room.shape)?;
            sizes.push((elements * room.dtype.size()).max(4) as u64);
        }
        let handles = match self.workspace {
            _ if rooms.is_empty() => Vec::new(),
            Some(workspace) => {
                let alignment = alignment(self.client);
                for size in &mut sizes {
                    *size = size.next_multiple_of(alignment);
                }
                workspace.slices(self.client, op, &sizes)?
            }
            None => sizes
                .iter()
                .map(|size| self.client.empty(*size as usize))
                .collect(),
        };
        let buffers = rooms.into_iter().zip(handles);
        Ok(buffers
            .map(|(room, handle)| TensorHandle::new_contiguous(room.shape, handle, room.dtype))
            .collect())
    }
}

impl fmt::Debug for Launch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch")
            .field("client", &self.client.name())
            .field("tuning", &self.tuning)
            .field("workspace", &self.workspace)
            .finish()
    }
}

/// The shape and type of one intermediate result.
pub(crate) struct Room {
    shape: Vec<usize>,
    dtype: ElemType,
}

impl Room {
    pub(crate) fn f32(shape: &[usize]) -> Self {
        Self::of(shape, ElemType::Float(FloatKind::F32))
    }

    pub(crate) fn of(shape: &[usize], dtype: ElemType) -> Self {
        Self {
            shape: shape.to_vec(),
            dtype,
        }
    }
}
