//! The rows as a person reads them.

use dp_bench::{Bound, Header, LeftOut, Line, Row};

/// The heads of the columns; those after the fourth are numbers.
const HEADS: [&str; 13] = [
    "op",
    "layer",
    "shape",
    "dtype",
    "median",
    "min",
    "p95",
    "n",
    "GB/s",
    "GFLOP/s",
    "% ceiling",
    "binds",
    "DP/non-DP",
];
const WORDS: usize = 4;

/// The device, the table, the rows that are not verified, and what was left out with its reasons.
pub fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    let (mut cells, mut wrong, mut left_out) =
        (vec![HEADS.map(str::to_owned)], Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::Run(header) => text.push_str(&head(header)),
            Line::Row(row) => {
                cells.push(row_cells(row));
                if !row.verified.ok {
                    wrong.push(row);
                }
            }
            Line::LeftOut(row) => left_out.push(row),
        }
    }
    text.push_str(&aligned(&cells, WORDS));
    for row in wrong {
        text.push_str(&format!(
            "\nNOT VERIFIED {}: {}\n    {}\n",
            row.words(),
            why(row),
            row.repeat
        ));
    }
    text.push_str(&left_out_text(&left_out));
    text
}

/// What ran, on what: a line each.
pub fn head(header: &Header) -> String {
    let mut text = format!(
        "{}: {} ({}), dpcube {}, commit {}, {}\n{}\n",
        header.backend,
        header.device,
        header.driver,
        header.version,
        header.commit.as_deref().unwrap_or("unknown"),
        header.date,
        ceilings(header),
    );
    if let Some(note) = &header.note {
        text.push_str(&format!("{note}\n"));
    }
    text.push_str(&format!("{}\n\n", conditions(header)));
    text
}

/// What the device reaches at best.
pub fn ceilings(header: &Header) -> String {
    let ceilings = &header.ceilings;
    let halves = ceilings.gemm_half_flop_per_s.map_or(String::new(), |rate| {
        format!(", bf16 matrix product {:.1} GFLOP/s", rate * 1e-9)
    });
    format!(
        "ceilings measured in this run: copy {:.1} GB/s, read {:.1} GB/s, f32 matrix product {:.1} GFLOP/s{halves}",
        ceilings.copy_bytes_per_s * 1e-9,
        ceilings.read_bytes_per_s * 1e-9,
        ceilings.gemm_flop_per_s * 1e-9,
    )
}

/// What a reader must know of every number.
pub fn conditions(header: &Header) -> String {
    let cache = header.cache_bytes >> 20;
    let told = if header.cache_told { "" } else { ", assumed" };
    let load = header.load_before.map_or(String::new(), |load| {
        format!(", load {load:.1} before the run")
    });
    format!(
        "transfers between host and device are not timed; working sets go up to 4 last-level caches of {cache} MiB{told}{load}"
    )
}

/// Why a row is not verified.
pub fn why(row: &Row) -> String {
    let verified = &row.verified;
    match (verified.error, verified.budget) {
        (Some(error), Some(budget)) => {
            format!(
                "error {error:.3e} is above {budget:.1e} ({})",
                verified.what
            )
        }
        (None, Some(_)) => format!("the error is no number ({})", verified.what),
        _ => verified.what.clone(),
    }
}

/// A row's cells.
pub fn row_cells(row: &Row) -> [String; 13] {
    let layer = format!("{} {}", row.model, row.layer);
    let mut cells = [row.op.clone(), layer, row.shape.clone(), row.dtype.clone()].to_vec();
    match &row.time {
        None => {
            cells.push("not verified".into());
            cells.resize(HEADS.len(), "-".into());
        }
        Some(time) => {
            let rate = |rate: f64| match rate {
                0.0 => "-".to_owned(),
                rate => three(rate),
            };
            cells.extend([
                seconds(time.median),
                seconds(time.min),
                seconds(time.p95),
                time.n.to_string(),
                rate(time.gb_per_s),
                rate(time.gflop_per_s),
                three(time.percent_of_ceiling),
                match time.bound {
                    Bound::Memory => "memory".into(),
                    Bound::Compute => "compute".into(),
                },
                time.ratio.map_or("-".into(), |ratio| format!("{ratio:.3}")),
            ]);
        }
    }
    let mut cells = cells.into_iter();
    [(); 13].map(|()| cells.next().unwrap_or_default())
}

/// The heads of [`row_cells`].
pub fn heads() -> [&'static str; 13] {
    HEADS
}

/// Three significant digits, no exponent.
pub fn three(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

/// In s, ms or us, with three significant digits.
pub fn seconds(value: f64) -> String {
    if value >= 1.0 {
        format!("{} s", three(value))
    } else if value >= 1e-3 {
        format!("{} ms", three(value * 1e3))
    } else {
        format!("{} us", three(value * 1e6))
    }
}

/// What was left out, by reason.
fn left_out_text(rows: &[&LeftOut]) -> String {
    let mut text = String::new();
    for (why, words) in by_reason(rows) {
        text.push_str(&format!("\nLEFT OUT: {why}\n"));
        for words in words {
            text.push_str(&format!("    {words}\n"));
        }
    }
    text
}

/// The rows of each reason, in the order in which they come.
pub fn by_reason<'a>(rows: &[&'a LeftOut]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows {
        match reasons.iter_mut().find(|(why, _)| *why == row.why) {
            Some((_, words)) => words.push(&row.words),
            None => reasons.push((&row.why, vec![&row.words])),
        }
    }
    reasons
}

/// Columns as wide as their widest cell: the first `words` to the left, the numbers after them to the right.
pub fn aligned<const N: usize>(rows: &[[String; N]], words: usize) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (width, cell)) in widths.iter().zip(row).enumerate() {
            line.push_str(&if column < words {
                format!("{cell:width$}  ")
            } else {
                format!("{cell:>width$}  ")
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
