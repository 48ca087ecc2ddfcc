//! A machine without a GPU: a typed answer that says what is missing.

use dp_kernels::BackendError;

#[test]
fn a_missing_device_is_an_error_that_names_it() {
    let Err(error) = dp_backend_cuda::open_index(4096) else {
        panic!("no machine has 4097 GPUs");
    };
    assert!(
        matches!(
            error,
            BackendError::NoDevice {
                backend: "cuda",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("no CUDA device"), "{error}");
}
