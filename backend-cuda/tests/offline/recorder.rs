//! A device that compiles every launch to CUDA C++ and runs none.

use cubecl::{
    CubeCount,
    client::Client,
    cmma::MatrixLayout,
    ir::{
        ContiguousElements, DeviceIdentity, DeviceProperties, ElemType, FloatKind,
        HardwareProperties, MemoryDeviceProperties, MmaProperties, TargetProperties, VectorSize,
        features::{Features, Plane},
    },
    profile::{ProfileDuration, TimingMethod},
};
use cubecl_common::{
    bytes::Bytes,
    device::{DeviceId, DeviceService, ServerUtilitiesHandle, ServiceId},
};
use cubecl_cpp::{
    cuda::{
        arch::CudaArchitecture, mma::manual::contiguous_elements_cuda, supported_mma_combinations,
    },
    shared::{CompilationOptions, CppCompiler, register_mma_features},
    target::Cuda,
};
use cubecl_environment::{future::DynFut, stream::StreamId};
use cubecl_server::{
    allocator::ContiguousMemoryLayoutPolicy,
    compiler::Compiler,
    dry_run::LaunchMode,
    kernel::{CubeKernel, define_kernel},
    logging::ServerLogger,
    memory_management::{ManagedMemoryHandle, MemoryAllocationMode, StreamMemoryReport},
    server::{
        BufferBinding, CopyDescriptor, KernelArguments, ProfileError, ProfilingToken, Server,
        ServerCommunication, ServerError, ServerStorage, ServerUtilities,
    },
    storage::{BytesResource, BytesStorage, ManagedResource},
    timestamp_profiler::TimestampProfiler,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// One kernel that was launched.
pub(crate) struct Recording {
    /// The function's name.
    pub(crate) name: String,
    /// What tells it from its other instances.
    pub(crate) id: String,
    /// CUDA C++, or why there is none.
    pub(crate) source: Result<String, String>,
}

static RECORDINGS: Mutex<BTreeMap<String, Recording>> = Mutex::new(BTreeMap::new());

/// What the recorder says it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Machine {
    /// An H100.
    Gpu,
    /// A processor, so that the kernels for processors are launched too.
    Processor,
}

/// A client of the recorder.
pub(crate) fn client(machine: Machine) -> Client {
    Client::load::<Recorder>(DeviceId::new(0, machine as u16))
}

/// What was launched until now, each kernel once.
pub(crate) fn take() -> Vec<Recording> {
    let mut recordings = RECORDINGS.lock().expect("no launch panics while recording");
    std::mem::take(&mut *recordings).into_values().collect()
}

#[derive(Debug)]
struct Recorder {
    utilities: Arc<ServerUtilities>,
    timestamps: TimestampProfiler,
}

impl DeviceService for Recorder {
    fn init(device: DeviceId) -> Self {
        let (utilities, _captures) = ServerUtilities::init(
            ServiceId::of::<Self>(device),
            "recorder",
            properties(device.index_id == Machine::Processor as u16),
            fragments(),
            Arc::new(ServerLogger::default()),
            ContiguousMemoryLayoutPolicy::new(512),
        );
        Self {
            utilities: Arc::new(utilities),
            timestamps: TimestampProfiler::default(),
        }
    }

    fn utilities(&self) -> ServerUtilitiesHandle {
        self.utilities.clone() as ServerUtilitiesHandle
    }
}

/// How CUDA lays out the fragments of its matrix instructions, as cubecl-cuda says it.
fn fragments() -> TargetProperties {
    TargetProperties {
        mma: MmaProperties {
            register_size_bits: 32,
            const_plane_size: 32,
            register_layout_a: MatrixLayout::RowMajor,
            register_layout_b: MatrixLayout::ColMajor,
            register_layout_acc: MatrixLayout::RowMajor,
            register_duplication_a: 1,
            register_duplication_b: 1,
            register_duplication_acc: 1,
            contiguous_elements: ContiguousElements::new(contiguous_elements_cuda),
        },
    }
}

/// What cubecl-cuda reads off an H100, as far as kernels are chosen by it. A processor differs in what tells the two apart.
fn properties(is_processor: bool) -> DeviceProperties {
    let gpu = HardwareProperties {
        load_width: 128,
        vector_register_count: None,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 1024,
        max_shared_memory_size: 232_448,
        max_cube_count: (i32::MAX as u32, 65_535, 65_535),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 64),
        num_streaming_multiprocessors: Some(132),
        num_tensor_cores: Some(4),
        min_tensor_cores_dim: Some(8),
        num_cpu_cores: None,
        last_level_cache_size: None,
        max_vector_size: VectorSize::MAX,
        cube_mma_reserved_shared_memory: 0,
    };
    let hardware = if is_processor {
        HardwareProperties {
            max_units_per_cube: 2,
            num_streaming_multiprocessors: None,
            num_cpu_cores: Some(2),
            ..gpu
        }
    } else {
        gpu
    };
    let memory = MemoryDeviceProperties::new(20 << 30, 512).with_max_memory(80 << 30);
    let identity = DeviceIdentity {
        name: "recorder".into(),
        // By which the kernels know an H100's matrix units; the suite asks for those of other GPUs too.
        fingerprint: if is_processor { "recorder" } else { "ptx_sm90" }.into(),
        physical: None,
    };
    let timing = TimingMethod::System;
    let mut properties =
        DeviceProperties::new(Features::default(), memory, hardware, timing, identity);
    cubecl_cpp::register_supported_types(&mut properties);
    properties.features.plane.insert(Plane::Ops);
    if !is_processor {
        let hopper = CudaArchitecture {
            version: 90,
            tensor_cores: true,
        };
        register_mma_features(supported_mma_combinations(&hopper), &mut properties);
        properties.features.copy_async = true;
        let ldmatrix = &mut properties.features.matmul.ldmatrix;
        ldmatrix.extend([FloatKind::F16, FloatKind::BF16].map(ElemType::Float));
    }
    properties
}

impl ServerCommunication for Recorder {}

impl Server for Recorder {
    unsafe fn launch(
        &mut self,
        kernel: Box<dyn CubeKernel>,
        _count: CubeCount,
        _bindings: KernelArguments,
        _stream: StreamId,
        _mode: LaunchMode,
    ) {
        let id = kernel.id().to_string();
        if RECORDINGS
            .lock()
            .is_ok_and(|recordings| recordings.contains_key(&id))
        {
            return;
        }
        let source = define_kernel(&*kernel)
            .map_err(|error| format!("{error:?}"))
            .and_then(|definition| {
                CppCompiler::<Cuda>::default()
                    .compile(definition, &CompilationOptions::default())
                    .map(|code| code.to_string())
                    .map_err(|error| format!("{error:?}"))
            });
        let recording = Recording {
            name: function_name(kernel.name()),
            id: id.clone(),
            source,
        };
        if let Ok(mut recordings) = RECORDINGS.lock() {
            recordings.entry(id).or_insert(recording);
        }
    }

    fn read(
        &mut self,
        descriptors: Vec<CopyDescriptor>,
        _stream: StreamId,
    ) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        let zeros = descriptors
            .iter()
            .map(|d| Bytes::from_bytes_vec(vec![0; d.handle.size_in_used() as usize]))
            .collect();
        Box::pin(async move { Ok(zeros) })
    }

    fn logger(&self) -> Arc<ServerLogger> {
        self.utilities.logger.clone()
    }

    fn utilities(&self) -> Arc<ServerUtilities> {
        self.utilities.clone()
    }

    fn initialize_memory(
        &mut self,
        _memory: ManagedMemoryHandle,
        _size: u64,
        _stream: StreamId,
    ) -> Result<(), ServerError> {
        Ok(())
    }

    fn write(&mut self, _descriptors: Vec<(CopyDescriptor, Bytes)>, _stream: StreamId) {}

    fn sync(
        &mut self,
        _handles: Vec<BufferBinding>,
        _stream: StreamId,
    ) -> DynFut<Result<(), ServerError>> {
        Box::pin(async { Ok(()) })
    }

    fn check(
        &mut self,
        _handles: Vec<BufferBinding>,
        _stream: StreamId,
    ) -> Result<(), ServerError> {
        Ok(())
    }

    fn flush(&mut self, _stream: StreamId) -> Result<(), ServerError> {
        Ok(())
    }

    fn memory_report(&mut self, _stream: StreamId) -> Option<StreamMemoryReport> {
        None
    }

    fn memory_cleanup(&mut self, _stream: StreamId) -> Result<(), ServerError> {
        Ok(())
    }

    fn start_profile(&mut self, _stream: StreamId) -> Result<ProfilingToken, ServerError> {
        Ok(self.timestamps.start())
    }

    fn end_profile(
        &mut self,
        _stream: StreamId,
        token: ProfilingToken,
    ) -> Result<ProfileDuration, ProfileError> {
        self.timestamps.stop(token)
    }

    fn allocation_mode(&mut self, _mode: MemoryAllocationMode, _stream: StreamId) {}
}

impl ServerStorage for Recorder {
    type Storage = BytesStorage;

    fn get_resource(
        &mut self,
        _binding: BufferBinding,
        _stream: StreamId,
    ) -> Result<ManagedResource<BytesResource>, ServerError> {
        unimplemented!("the recorder has no memory")
    }
}

/// `dp_kernels::norm::gram::gram_shared::GramShared` is `gram_shared`'s: the module before the type.
fn function_name(path: &str) -> String {
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").nth(1).unwrap_or(path).to_owned()
}
