//! The exact accountant against reference values that others computed: closed forms at 50 digits
//! and contour integrals with independent brackets (`data/accounting_public.json`).

use dp_core::accounting::{Bounds, Event, calibrate_sigma, delta, epsilon};
use serde_json::Value;

struct Row {
    id: String,
    mechanism: String,
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

/// The events of a row, if this accountant has them.
fn events(mechanism: &str, params: &Value) -> Option<Vec<(Event, u64)>> {
    let sampled = |part: &Value| {
        let event = Event::PoissonGaussian {
            rate: number(part, "q"),
            sigma: number(part, "sigma"),
        };
        (event, part["steps"].as_u64().expect("steps"))
    };
    Some(match mechanism {
        "gaussian" => {
            let sigma = number(params, "sigma");
            vec![(
                Event::Gaussian { sigma },
                params["steps"].as_u64().expect("steps"),
            )]
        }
        "gdp" => {
            let sigma = 1.0 / number(params, "mu");
            vec![(Event::Gaussian { sigma }, 1)]
        }
        "gaussian_heterogeneous" => params["sigmas"]
            .as_array()
            .expect("sigmas")
            .iter()
            .map(|sigma| {
                let sigma = sigma.as_f64().expect("sigma");
                (Event::Gaussian { sigma }, 1)
            })
            .collect(),
        "poisson_subsampled_gaussian" => vec![sampled(params)],
        "heterogeneous" => {
            let parts = params["parts"].as_array().expect("parts");
            if parts.iter().any(|part| part["type"] != "poisson_gaussian") {
                return None;
            }
            parts.iter().map(sampled).collect()
        }
        "calibrate_sigma_poisson_gaussian" => Vec::new(),
        _ => return None,
    })
}

fn rows() -> Vec<Row> {
    let text = include_str!("data/accounting_public.json");
    let file: Value = serde_json::from_str(text).expect("reference file");
    let rows = file["rows"].as_array().expect("rows");
    rows.iter()
        .filter_map(|row| {
            let mechanism = row["mechanism"].as_str().expect("mechanism").to_owned();
            Some(Row {
                id: row["id"].as_str().expect("id").to_owned(),
                events: events(&mechanism, &row["params"])?,
                mechanism,
                params: row["params"].clone(),
                query: row["query"].clone(),
                truth: number(row, "truth"),
                err: number(row, "err"),
            })
        })
        .collect()
}

fn answer(row: &Row) -> Option<Bounds> {
    match row.query["kind"].as_str().expect("kind") {
        "eps_from_delta" => Some(
            epsilon(&row.events, number(&row.query, "delta"))
                .unwrap_or_else(|e| panic!("{}: {e}", row.id)),
        ),
        "delta_from_eps" => Some(
            delta(&row.events, number(&row.query, "eps"))
                .unwrap_or_else(|e| panic!("{}: {e}", row.id)),
        ),
        _ => None,
    }
}

#[test]
fn every_row_is_within_bounds() {
    let (mut checked, mut widened) = (0, 0);
    println!(
        "{:6} {:28} {:>12} {:>10} {:>10} {:>10}",
        "row", "mechanism", "truth", "rel.err", "width", "time us"
    );
    for row in rows() {
        let start = std::time::Instant::now();
        let Some(bounds) = answer(&row) else { continue };
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
        // The truth is only known to within its own error and the last bits of its f64.
        let room = row.err + 2.0 * f64::EPSILON * row.truth;
        assert!(bounds.lower <= row.truth + room, "{}: {bounds:?}", row.id);
        assert!(bounds.upper >= row.truth - room, "{}: {bounds:?}", row.id);
        assert!(bounds.lower <= bounds.estimate && bounds.estimate <= bounds.upper);
        // Rare losses (few sampled steps matter) may be answered by a wider, still true, bound.
        if width > 1e-6 {
            widened += 1;
        }
        if row.mechanism.starts_with("g") {
            assert!(
                (bounds.estimate / row.truth - 1.0).abs() <= 1e-10,
                "{}",
                row.id
            );
        }
        checked += 1;
    }
    assert!(checked >= 40, "only {checked} rows");
    assert!(widened <= 1, "{widened} rows are wide");
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
    assert!(checked >= 6, "only {checked} rows");
}
