//! The page: one file that opens from disk, reads in light, dark and print, and fetches nothing.

use std::collections::BTreeSet;

use dp_bench::{Header, LeftOut, Line, Row};

use super::plots::{self, Ratio};
use super::table::{by_reason, ceilings, conditions, heads, row_cells, why};
use crate::report::ReportError;
use crate::report::html::{STYLE, escape, figure, section, table};

/// What only this page needs.
const MORE_STYLE: &str = "\
main { max-width: 76rem; }
figure { max-width: 52rem; margin: 0 0 1.5rem; }
.wide table { white-space: nowrap; }
.sum { background: #4a9d5c; }
.other { background: #9678be; }
.bad { color: #c0392b; }
";

/// The row of a whole layer, privately and not.
const LAYER: &str = "linear_layer";
/// Points that make a scaling.
const POINTS: usize = 3;

/// The page of a result.
///
/// # Errors
/// A plot that could not be drawn.
pub fn page(lines: &[Line]) -> Result<String, ReportError> {
    let (mut headers, mut rows, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::Run(header) => headers.push(header),
            Line::Row(row) => rows.push(row),
            Line::LeftOut(row) => left_out.push(row),
        }
    }
    let mut sections = String::new();
    for header in headers {
        sections.push_str(&section("The device", &device(header)));
        sections.push_str(&section("Roofline", &roofline(&rows, header)?));
    }
    sections.push_str(&section("What privacy costs a layer", &models(&rows)?));
    sections.push_str(&section("Scaling", &scalings(&rows)?));
    sections.push_str(&section("Every row", &every_row(&rows)));
    sections.push_str(&section("Left out", &left_out_list(&left_out)));
    let verified = rows.iter().filter(|row| row.verified.ok).count();
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>dpcube bench</title>\n<style>\n{STYLE}{MORE_STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Throughput of private training</h1>\n\
         <p class=\"verdict\">{verified} of {} rows are verified and timed, {} were left out.</p>\n{sections}\
         <footer>Written by dpcube {}. This page is one file and fetches nothing.</footer>\n\
         </main>\n</body>\n</html>\n",
        rows.len(),
        left_out.len(),
        env!("CARGO_PKG_VERSION"),
    ))
}

fn device(header: &Header) -> String {
    let mut rows = vec![
        ["Device", &format!("{}: {}", header.backend, header.device)].map(str::to_owned),
        ["Driver", &header.driver].map(str::to_owned),
        [
            "Program",
            &format!(
                "dpcube {}, commit {}, {}, extent {}, {} s a row",
                header.version,
                header.commit.as_deref().unwrap_or("unknown"),
                header.date,
                header.extent,
                header.seconds_per_row
            ),
        ]
        .map(str::to_owned),
        ["Ceilings", &ceilings(header)].map(str::to_owned),
        ["Conditions", &conditions(header)].map(str::to_owned),
    ];
    if let Some(note) = &header.note {
        rows.push(["Note", note].map(str::to_owned));
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    table(&["", ""], &rows)
}

fn roofline(rows: &[&Row], header: &Header) -> Result<String, ReportError> {
    let keys = plots::KINDS
        .map(|(_, class, name)| format!("<span class=\"key {class}\"></span> {}", escape(name)));
    let caption = format!(
        "{}. The line is what the ceilings allow; a point's distance below it is what the kernel leaves. Bytes are the least that \
         the operation has to move, so a small shape that stays in a cache can stand above the slope.",
        keys.join(" ")
    );
    // A whole layer, by either way, is its parts' sum.
    let is_part = |row: &&Row| !row.op.starts_with(LAYER);
    let parts: Vec<&Row> = rows.iter().copied().filter(is_part).collect();
    let svg = plots::roofline(&parts, &header.ceilings)?;
    let label = format!("Roofline of {}", header.device);
    Ok(figure(svg, &label, &caption))
}

const LEGEND: &str = "<span class=\"key non-private\"></span> without privacy <span class=\"key private\"></span> private";

/// Every model, examples and tokens of which all Linears of a block were timed.
fn models(rows: &[&Row]) -> Result<String, ReportError> {
    let layers: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| row.op == LAYER && row.count > 0 && row.time.is_some())
        .collect();
    let mut ratios = Vec::new();
    for (model, layer_count) in widths() {
        let of_model = layers.iter().filter(|row| row.model == model);
        let sizes: BTreeSet<(&str, u64, u64)> = of_model
            .map(|row| (row.dtype.as_str(), row.b, row.t))
            .collect();
        for (dtype, b, t) in sizes {
            let here: Vec<&&Row> = layers
                .iter()
                .filter(|row| {
                    row.model == model && (row.dtype.as_str(), row.b, row.t) == (dtype, b, t)
                })
                .collect();
            if here.len() != layer_count {
                continue;
            }
            let sum = |of: &dyn Fn(&dp_bench::Time) -> f64| -> f64 {
                let times = here
                    .iter()
                    .filter_map(|row| Some((row.count, row.time.as_ref()?)));
                times.map(|(count, time)| count as f64 * of(time)).sum()
            };
            let private = sum(&|time| time.median);
            let plain = sum(&|time| time.non_private_median.unwrap_or(f64::NAN));
            ratios.push(Ratio {
                name: format!("{model} {dtype} B {b} T {t}"),
                ratio: private / plain,
            });
        }
    }
    let caption = format!(
        "{LEGEND}. All Linears of the model's blocks, each as often as the model has it: forward, input gradient and weight gradient \
         against forward, input gradient, norm by its faster way and weighted sum. Attention, norms and the head are not in it."
    );
    let label = "Time of a model's Linears, private over without privacy";
    Ok(figure(plots::ratios(&ratios)?, label, &caption))
}

/// How many Linears the blocks of each model have.
fn widths() -> Vec<(&'static str, usize)> {
    let models = dp_bench::models::transformers();
    models
        .into_iter()
        .map(|model| (model.name, model.layers.len()))
        .collect()
}

/// Tokens a second of each layer that was followed over tokens or over examples.
fn scalings(rows: &[&Row]) -> Result<String, ReportError> {
    let layers: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| row.op == LAYER && row.time.is_some())
        .collect();
    let names: BTreeSet<(&str, &str, &str)> = layers
        .iter()
        .map(|row| (row.model.as_str(), row.layer.as_str(), row.dtype.as_str()))
        .collect();
    let mut html = String::new();
    for (model, layer, dtype) in names {
        let here: Vec<&Row> = layers
            .iter()
            .copied()
            .filter(|row| row.model == model && row.layer == layer && row.dtype == dtype)
            .collect();
        for (along, x_label, fixed) in [
            (
                (|row| row.t) as fn(&Row) -> u64,
                "tokens, T",
                (|row| row.b) as fn(&Row) -> u64,
            ),
            (|row| row.b, "examples, B", |row| row.t),
        ] {
            let Some(series) = longest(&here, along, fixed) else {
                continue;
            };
            let points = |of: &dyn Fn(&dp_bench::Time) -> Option<f64>| -> Vec<(f64, f64)> {
                let point = |row: &&Row| {
                    let seconds = of(row.time.as_ref()?)?;
                    Some((along(row) as f64, (row.b * row.t) as f64 / seconds))
                };
                series.iter().filter_map(point).collect()
            };
            let plain = points(&|time| time.non_private_median);
            let private = points(&|time| Some(time.median));
            let at = if x_label.starts_with('t') { "B" } else { "T" };
            let name = format!("{model} {layer} in {dtype}, {at} {}", fixed(series[0]));
            let svg = plots::scaling(&plain, &private, x_label)?;
            let caption = format!("{LEGEND}. {}.", escape(&name));
            html.push_str(&figure(svg, &name, &caption));
        }
    }
    if html.is_empty() {
        html.push_str("<p>No layer was timed at three sizes.</p>\n");
    }
    Ok(html)
}

/// The rows of one value of `fixed` that have the most values of `along`, in their order; none with fewer than three.
fn longest<'a>(
    rows: &[&'a Row],
    along: fn(&Row) -> u64,
    fixed: fn(&Row) -> u64,
) -> Option<Vec<&'a Row>> {
    let values: BTreeSet<u64> = rows.iter().map(|row| fixed(row)).collect();
    let series = values.into_iter().map(|value| {
        let mut series: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| fixed(row) == value)
            .collect();
        series.sort_by_key(|row| along(row));
        series.dedup_by_key(|row| along(row));
        series
    });
    series
        .filter(|series| series.len() >= POINTS)
        .max_by_key(Vec::len)
}

fn every_row(rows: &[&Row]) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| Vec::from(row_cells(row))).collect();
    let mut html = format!("<div class=\"wide\">\n{}</div>\n", table(&heads(), &cells));
    for row in rows.iter().filter(|row| !row.verified.ok) {
        html.push_str(&format!(
            "<p class=\"bad\">Not verified: {}: {}. <code>{}</code></p>\n",
            escape(&row.words()),
            escape(&why(row)),
            escape(&row.repeat)
        ));
    }
    html
}

fn left_out_list(rows: &[&LeftOut]) -> String {
    if rows.is_empty() {
        return "<p>Nothing.</p>\n".into();
    }
    let mut html = String::from("<dl>\n");
    for (why, words) in by_reason(rows) {
        html.push_str(&format!("<dt>{}</dt>\n", escape(why)));
        for words in words {
            html.push_str(&format!("<dd>{}</dd>\n", escape(words)));
        }
    }
    html + "</dl>\n"
}
