//! The conformance suite on the first CUDA device.

dp_kernels::conformance_tests!("cuda", dp_backend_cuda::open);
