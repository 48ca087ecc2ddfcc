//! The conformance suite on the default adapter.

dp_kernels::conformance_tests!("wgpu", dp_backend_wgpu::open);
