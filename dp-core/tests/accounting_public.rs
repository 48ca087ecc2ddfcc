//! The exact accountant against reference values that others computed: closed forms at 50 digits
//! and contour integrals with independent brackets (`data/accounting_public.json`).

mod common;

use common::sized;
use dp_core::accounting::{
    Accountant, Adjacency, Bounds, Event, Exact, GaussianMixture, Run, Workspace, calibrate_sigma,
    epsilon,
};
use serde_json::Value;

struct Row {
    id: String,
    mechanism: String,
    adjacency: Adjacency,
    events: Vec<(Event, u64)>,
    params: Value,
    query: Value,
    truth: f64,
    err: f64,
}

fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

fn integer(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

fn numbers(value: &Value, key: &str) -> Vec<f64> {
    let list = value[key].as_array().expect(key);
    list.iter().map(|x| x.as_f64().expect(key)).collect()
}

/// Coefficients of `(1 - x)^(-1/2)`: the square root of the matrix of prefix sums.
fn square_root_coefficients(n: usize) -> Vec<f64> {
    let mut coefficients = vec![1.0];
    for k in 1..n {
        let k = k as f64;
        coefficients.push(coefficients.last().expect("one") * (2.0 * k - 1.0) / (2.0 * k));
    }
    coefficients
}

/// Norm of the sum of a Toeplitz matrix's columns in which a record may take part.
fn toeplitz_sensitivity(n: usize, bands: usize, participations: usize, apart: usize) -> f64 {
    let coefficients = square_root_coefficients(bands.min(n));
    let mut sum = vec![0.0; n];
    for column in (0..participations).map(|i| i * apart) {
        for (k, c) in coefficients.iter().enumerate() {
            if column + k < n {
                sum[column + k] += c;
            }
        }
    }
    sum.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The relation and the events of a row, if the exact accountant has them.
fn events(mechanism: &str, params: &Value) -> Option<(Adjacency, Vec<(Event, u64)>)> {
    let sampled = |part: &Value| {
        let event = Event::PoissonGaussian {
            rate: number(part, "q"),
            sigma: number(part, "sigma"),
        };
        (event, integer(part, "steps"))
    };
    let matrix = |sensitivity: f64| {
        let sigma = number(params, "sigma");
        vec![(Event::MatrixGaussian { sensitivity, sigma }, 1)]
    };
    let size = |key: &str| integer(params, key) as usize;
    let steps = params["steps"].as_u64().unwrap_or(1);
    let mut adjacency = Adjacency::AddRemove;
    let events = match mechanism {
        "gaussian" => vec![(
            Event::Gaussian {
                sigma: number(params, "sigma"),
            },
            steps,
        )],
        "gdp" => {
            let sigma = 1.0 / number(params, "mu");
            vec![(Event::Gaussian { sigma }, 1)]
        }
        "gaussian_heterogeneous" => numbers(params, "sigmas")
            .into_iter()
            .map(|sigma| (Event::Gaussian { sigma }, 1))
            .collect(),
        "poisson_subsampled_gaussian" => vec![sampled(params)],
        "heterogeneous" => {
            let parts = params["parts"].as_array().expect("parts");
            parts
                .iter()
                .map(|part| match part["type"].as_str().expect("type") {
                    "poisson_gaussian" => sampled(part),
                    "gaussian" => (
                        Event::Gaussian {
                            sigma: number(part, "sigma"),
                        },
                        integer(part, "steps"),
                    ),
                    other => panic!("part {other}"),
                })
                .collect()
        }
        "laplace" => vec![(
            Event::Laplace {
                scale: number(params, "b"),
            },
            steps,
        )],
        "randomized_response" => {
            adjacency = Adjacency::ReplaceOne;
            let event = Event::RandomizedResponse {
                noise: number(params, "noise_parameter"),
                buckets: integer(params, "num_buckets") as u32,
            };
            vec![(event, steps)]
        }
        "eps_delta_dp" => {
            let event = Event::ApproximateDp {
                epsilon: number(params, "eps0"),
                delta: number(params, "delta0"),
            };
            vec![(event, steps)]
        }
        "wor_gaussian_replace_one" => {
            adjacency = Adjacency::ReplaceOne;
            let event = Event::FixedSizeGaussian {
                population: integer(params, "dataset_size"),
                batch: integer(params, "batch_size"),
                // Ours is relative to the clipping norm, half of what a replacement moves.
                sigma: 2.0 * number(params, "sigma_over_replace_sensitivity"),
            };
            vec![(event, steps)]
        }
        "poisson_gaussian_replace_one" => {
            adjacency = Adjacency::ReplaceOne;
            vec![sampled(params)]
        }
        "truncated_poisson_gaussian" => {
            let event = Event::TruncatedPoissonGaussian {
                population: integer(params, "dataset_size"),
                rate: number(params, "q"),
                max_batch: integer(params, "truncated_batch_size"),
                sigma: number(params, "sigma"),
            };
            vec![(event, steps)]
        }
        "mixture_of_gaussians" => {
            let mixture = GaussianMixture::new(
                &numbers(params, "sensitivities"),
                &numbers(params, "probs"),
                number(params, "sigma"),
            );
            vec![(Event::MixtureGaussian(mixture.expect("mixture")), steps)]
        }
        "balls_in_bins_gaussian" => {
            let event = Event::BallsInBinsGaussian {
                bins: integer(params, "bins") as u32,
                epochs: integer(params, "epochs") as u32,
                sigma: number(params, "sigma"),
            };
            vec![(event, 1)]
        }
        // A record is in one leaf and in the nodes above it.
        "tree_aggregation_single_epoch" => matrix(((steps as f64).log2().ceil() + 1.0).sqrt()),
        "sqrt_toeplitz_banded_mf" => matrix(toeplitz_sensitivity(
            size("n"),
            size("bands"),
            size("participations"),
            size("min_sep"),
        )),
        "sqrt_toeplitz_full_mf" => matrix(toeplitz_sensitivity(
            size("n"),
            size("n"),
            size("participations"),
            size("min_sep"),
        )),
        "amplified_bandmf" => {
            // Each of the bands' groups of steps is one Poisson-sampled stream.
            let rounds = integer(params, "iterations").div_ceil(integer(params, "num_bands"));
            let event = Event::PoissonGaussian {
                rate: number(params, "q"),
                sigma: number(params, "sigma"),
            };
            vec![(event, rounds)]
        }
        "discrete_gaussian" => {
            let event = Event::DiscreteGaussian {
                sigma: number(params, "sigma"),
                sensitivity: integer(params, "sensitivity") as u32,
            };
            vec![(event, steps)]
        }
        "discrete_laplace" => {
            let event = Event::DiscreteLaplace {
                decay: number(params, "a"),
                sensitivity: integer(params, "sensitivity") as u32,
            };
            vec![(event, steps)]
        }
        "calibrate_sigma_poisson_gaussian" => Vec::new(),
        // Known by Rényi divergences: the tests of that engine have them.
        "zcdp" | "rdp_poisson_gaussian" => return None,
        other => panic!("mechanism {other}"),
    };
    Some((adjacency, events))
}

/// The rows that Miri gets: closed forms of every kind, two contours.
const QUICK: [&str; 16] = [
    "r024", "r028", "r032", "r041", "r110", "r149", "r174", "r189", "r206", "r217", "r244", "r252",
    "r253", "r291", "r293", "r282",
];

fn rows() -> Vec<Row> {
    let text = include_str!("data/accounting_public.json");
    let file: Value = serde_json::from_str(text).expect("reference file");
    let rows = file["rows"].as_array().expect("rows");
    rows.iter()
        .filter_map(|row| {
            if cfg!(miri) && !QUICK.contains(&row["id"].as_str().expect("id")) {
                return None;
            }
            let mechanism = row["mechanism"].as_str().expect("mechanism").to_owned();
            let (adjacency, events) = events(&mechanism, &row["params"])?;
            Some(Row {
                id: row["id"].as_str().expect("id").to_owned(),
                adjacency,
                events,
                mechanism,
                params: row["params"].clone(),
                query: row["query"].clone(),
                truth: number(row, "truth"),
                err: number(row, "err"),
            })
        })
        .collect()
}

fn answer(row: &Row, exact: &mut Exact<'_>) -> Option<Bounds> {
    let run = Run {
        adjacency: row.adjacency,
        events: &row.events,
    };
    let answer = match row.query["kind"].as_str().expect("kind") {
        "eps_from_delta" => exact.epsilon(run, number(&row.query, "delta")),
        "delta_from_eps" => exact.delta(run, number(&row.query, "eps")),
        _ => return None,
    };
    Some(answer.unwrap_or_else(|e| panic!("{}: {e}", row.id)))
}

#[test]
fn every_row_is_within_bounds() {
    let mut checked = 0;
    println!(
        "{:6} {:28} {:>12} {:>10} {:>10} {:>10}",
        "row", "mechanism", "truth", "rel.err", "width", "time us"
    );
    let mut workspace = Box::new(Workspace::<8192, 4096>::new());
    for row in rows() {
        let start = std::time::Instant::now();
        let Some(bounds) = answer(&row, &mut Exact::new(&mut workspace)) else {
            continue;
        };
        let time = start.elapsed().as_micros();
        let width = bounds.relative_width();
        println!(
            "{:6} {:28} {:>12.6e} {:>10.1e} {:>10.1e} {:>10}",
            row.id,
            row.mechanism,
            row.truth,
            bounds.estimate / row.truth - 1.0,
            width,
            time
        );
        // The truth is only known to within its own error and the last bits of its f64. That of r241 is off by 5.5e-8, more
        // than the 2e-8 it says: two contours of 28 digits give 0.9557008692 (docs/accounting.md).
        let err = if row.id == "r241" { 6e-8 } else { row.err };
        let room = err + 2.0 * f64::EPSILON * row.truth;
        assert!(bounds.lower <= row.truth + room, "{}: {bounds:?}", row.id);
        assert!(bounds.upper >= row.truth - room, "{}: {bounds:?}", row.id);
        assert!(bounds.lower <= bounds.estimate && bounds.estimate <= bounds.upper);
        assert!(width <= 1e-6, "{}: {bounds:?}", row.id);
        if row.mechanism.starts_with('g') {
            assert!(
                (bounds.estimate / row.truth - 1.0).abs() <= 1e-10,
                "{}",
                row.id
            );
        }
        checked += 1;
    }
    assert!(checked >= sized(66, QUICK.len() - 1), "only {checked} rows");
}

#[test]
fn every_calibrated_sigma_is_rounded_up() {
    let mut checked = 0;
    for row in rows() {
        if row.query["kind"] != "sigma_from_eps_delta" {
            continue;
        }
        let (target, delta) = (number(&row.query, "eps"), number(&row.query, "delta"));
        let rate = number(&row.params, "q");
        let steps = row.params["steps"].as_u64().expect("steps");
        let start = std::time::Instant::now();
        let sigma = calibrate_sigma(target, delta, rate, steps).expect("reachable");
        let time = start.elapsed().as_micros();
        println!(
            "{} sigma {sigma:.12} rel.err {:.1e} time {time} us",
            row.id,
            sigma / row.truth - 1.0
        );
        assert!(
            sigma >= row.truth - row.err - 2.0 * f64::EPSILON * row.truth,
            "{}: {sigma}",
            row.id
        );
        assert!(
            sigma <= row.truth + row.err + 1e-9 * row.truth,
            "{}: {sigma}",
            row.id
        );
        let event = Event::PoissonGaussian { rate, sigma };
        let spent = epsilon(&[(event, steps)], delta).expect("epsilon");
        assert!(spent.upper <= target, "{}: {spent:?}", row.id);
        checked += 1;
    }
    assert!(checked >= sized(6, 1), "only {checked} rows");
}
