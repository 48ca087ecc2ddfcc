//! Random shapes against the reference.

use dp_kernels::conformance::{Bench, Verdict, open_or_skip, random_case};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[test]
fn norms_and_sums_of_random_shapes() {
    let Some(backend) = open_or_skip("wgpu", dp_backend_wgpu::open) else {
        return;
    };
    let bench = Bench::new(backend);
    let shapes = (0..6usize, 0..70usize, 1..80usize, 1..80usize, 1..300usize);
    // Few cases: a new width means a new kernel to compile.
    let config = Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&(shapes, any::<u64>()), |((b, t, d, p, v), seed)| {
        let rows = random_case(&bench, [b, t, d, p, v], seed)
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        for row in rows {
            prop_assert_eq!(&row.verdict, &Verdict::Pass, "{:?}", row);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
