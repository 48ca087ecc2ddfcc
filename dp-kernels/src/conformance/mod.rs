//! The conformance suite: every launcher against `dp_core::reference`, on any device.
//!
//! A backend crate instantiates it with [`conformance_tests!`](crate::conformance_tests) and gets one
//! test for every check; a program runs [`checks`] and prints the [`Row`]s.

mod axes;
mod bench;
mod cancellation;
mod capabilities;
mod clipping;
mod conv;
mod data;
mod groups;
mod hardened;
mod isolation;
mod kept;
mod matmul;
mod noise;
mod norms;
mod ops;
mod oracle;
mod random;
mod refusals;
mod require;
mod sums;
mod types;
mod update;
mod words;
mod workspaces;

pub use bench::Bench;
pub use data::{Case, Host};
pub use random::random_case;
pub use require::{open_or_skip, report_run, skip_unless_required};

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The launcher, and its variant where it has some.
    pub op: String,
    /// Element type of the inputs.
    pub dtype: String,
    /// The shape, in words.
    pub shape: String,
    /// The largest error found, in the unit of `budget`.
    pub max_error: f64,
    /// The largest error allowed: relative unless the op says otherwise.
    pub budget: f64,
    /// Whether it is within the budget, and nothing else is wrong.
    pub verdict: Verdict,
}

/// Whether a comparison passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Pass,
    /// It did not, and why.
    Fail(String),
}

impl Row {
    /// A row whose verdict is whether `max_error` is within `budget`; NaN is not.
    #[must_use]
    pub fn measured(
        op: impl Into<String>,
        dtype: impl Into<String>,
        shape: impl Into<String>,
        max_error: f64,
        budget: f64,
    ) -> Self {
        let verdict = if max_error <= budget {
            Verdict::Pass
        } else {
            Verdict::Fail(format!("error {max_error:.3e} is above {budget:.1e}"))
        };
        Self {
            op: op.into(),
            dtype: dtype.into(),
            shape: shape.into(),
            max_error,
            budget,
            verdict,
        }
    }

    /// A row for a property that holds or doesn't.
    #[must_use]
    pub fn holds(
        op: impl Into<String>,
        dtype: impl Into<String>,
        shape: impl Into<String>,
        failure: Option<String>,
    ) -> Self {
        Self {
            op: op.into(),
            dtype: dtype.into(),
            shape: shape.into(),
            max_error: if failure.is_none() {
                0.0
            } else {
                f64::INFINITY
            },
            budget: 0.0,
            verdict: failure.map_or(Verdict::Pass, Verdict::Fail),
        }
    }
}

/// What stopped a check before it could compare.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A launcher refused what it should take.
    #[error(transparent)]
    Kernel(#[from] crate::KernelError),
    /// The device failed.
    #[error("reading back: {0}")]
    Device(String),
    /// The reference refused what the check gave it.
    #[error("the reference: {0}")]
    Reference(String),
}

/// One check: some launchers over a spread of shapes.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name, as a test shows it.
    pub name: &'static str,
    /// Runs it. Nothing panics; what differs is a row that fails.
    pub run: fn(&Bench) -> Result<Vec<Row>, CheckError>,
}

/// Defines the list of checks, and the macro that turns each into a test.
macro_rules! define_checks {
    ($dollar:tt $($name:ident => $run:path),* $(,)?) => {
        /// All checks, in the order of a step.
        #[must_use]
        pub fn checks() -> &'static [Check] {
            &[$(Check { name: stringify!($name), run: $run }),*]
        }

        /// Instantiates every conformance check as a test: `conformance_tests!(my_backend::open)`,
        /// with a function that gives a `Result<Backend, BackendError>`.
        ///
        /// Where the device can't be opened, a test prints `SKIPPED` and why, and passes; it fails
        /// where the environment variable `DPCUBE_REQUIRE` lists the backend.
        #[macro_export]
        macro_rules! conformance_tests {
            ($dollar backend:expr, $dollar open:path) => {
                $(
                    #[test]
                    fn $name() {
                        $crate::conformance::assert_check(
                            stringify!($name),
                            $dollar backend,
                            $dollar open,
                        );
                    }
                )*
            };
        }
    };
}

define_checks! { $
    linear_norms => norms::linear,
    column_and_position_norms => norms::columns,
    embedding_norms => norms::embedding,
    tied_norms => norms::tied,
    lora_norms => norms::lora,
    channel_norms => norms::channels,
    conv_norms => conv::norms,
    given_gradient_norms => norms::given,
    kept_gradients => kept::gradients,
    norms_under_cancellation => cancellation::gram,
    tied_norms_under_cancellation => cancellation::tied,
    clip_factors => clipping::factors,
    zero_dead_rows => clipping::zero_dead_rows,
    group_clip_factors => groups::factors,
    group_isolation => groups::isolation,
    quantile_counts => groups::counts,
    linear_sums => sums::linear,
    column_and_position_sums => sums::columns,
    embedding_sums => sums::embedding,
    tied_sums => sums::tied,
    lora_sums => sums::lora,
    channel_sums => sums::channels,
    conv_sums => conv::sums,
    random_convs => conv::random_fixed,
    given_gradient_sums => sums::given,
    dead_examples_never_reach_a_sum => isolation::dead_examples,
    examples_do_not_see_each_other => isolation::perturbation,
    microbatches_do_not_matter => isolation::microbatches,
    one_bad_row_stays_alone => isolation::bad_rows,
    axes_of_a_launch_do_not_matter => axes::short,
    generator_words => words::known,
    noise_is_the_hosts => noise::against_host,
    noise_in_every_type => noise::as_f32,
    noise_does_not_see_shards => noise::shards,
    noise_known_values => noise::known_values,
    hardened_release => hardened::against_host,
    private_update => update::against_host,
    private_update_in_one_pass => update::fused_is_separate,
    private_update_of_many => update::many,
    private_update_copies => update::copies,
    matrix_products => matmul::products,
    callers_workspace => workspaces::all,
    capabilities_are_the_launchers => capabilities::agree,
    types_agree => types::agree,
    refusals => refusals::all,
}

/// Runs the check `name` on the device that `open` opens, for every type of inputs it has, and panics with every failed row: for tests.
///
/// # Panics
/// When a row fails, when the check stops, when there is no such check, or when the device can't be
/// opened although `DPCUBE_REQUIRE` lists `backend`.
pub fn assert_check(
    name: &str,
    backend: &str,
    open: impl FnOnce() -> Result<crate::Backend, crate::BackendError>,
) {
    let Some(backend) = open_or_skip(backend, open) else {
        return;
    };
    let check = checks()
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("no check named {name}"));
    let mut rows = Vec::new();
    for bench in Bench::every_input(&backend) {
        let more = (check.run)(&bench).unwrap_or_else(|error| panic!("{name}: {error}"));
        rows.extend(more);
    }
    assert!(!rows.is_empty(), "{name} compared nothing");
    let failed: Vec<String> = rows
        .iter()
        .filter_map(|row| match &row.verdict {
            Verdict::Pass => None,
            Verdict::Fail(why) => Some(format!("{} {} {}: {why}", row.op, row.dtype, row.shape)),
        })
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} rows failed:\n{}",
        failed.len(),
        rows.len(),
        failed.join("\n")
    );
}
