//! The conformance suite on the processor.

dp_kernels::conformance_tests!("cpu", dp_backend_cpu::open);
