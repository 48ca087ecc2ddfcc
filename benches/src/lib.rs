//! Criterion benches; `cargo bench -p dp-benches` runs them, `-- FILTER` some of them.
//!
//! They use nothing above dp-core, so that no run of them waits for the CubeCL tree to be built.
