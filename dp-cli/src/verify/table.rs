//! The rows as a person reads them, and as Markdown.

use dp_kernels::conformance::{Row, Verdict};

use super::{Found, Tested};

/// The heads of the columns.
const HEADS: [&str; 7] = [
    "check",
    "op",
    "dtype",
    "shape",
    "max error",
    "budget",
    "verdict",
];

/// The device, its table, its failed rows with the commands that repeat them, and the sum.
pub fn text(tested: &Tested, seed: u64) -> String {
    let mut lines = vec![HEADS.map(str::to_owned)];
    lines.extend(lines_of(&tested.found));
    let mut text = format!("{}\n\n{}\n", tested.header(), aligned(&lines));
    for failed in tested.failed() {
        let Verdict::Fail(why) = &failed.row.verdict else {
            continue;
        };
        text.push_str(&format!(
            "FAILED {} {}: {why}\n    {}\n",
            failed.check,
            super::filter::words(&failed.row),
            tested.repeat(failed, seed)
        ));
    }
    text.push_str(&tested.sum());
    text.push('\n');
    text
}

/// The whole file: what was verified where, when and by what.
pub fn markdown(tested: &[Tested], skipped: &[String], seed: u64, date: &str) -> String {
    let mut text = format!(
        "# Conformance\n\n\
         Written by `dpcube verify --markdown`, not by hand. Every launcher was compared with its plain-Rust reference in\n\
         `dp_core::reference`. A line is all shapes of one launcher and element type with the worst of them; where nothing was\n\
         measured, the property holds to the bit or it fails.\n\n\
         dpcube {}, commit {}, seed {seed}, {date}.\n",
        super::VERSION,
        super::COMMIT.unwrap_or("unknown"),
    );
    for device in tested {
        text.push_str(&format!("\n## {}\n\n", device.description.backend));
        for line in device.header().lines() {
            text.push_str(&format!("- {line}\n"));
        }
        text.push_str(&format!(
            "- {}\n\n| {} |\n|{}\n",
            device.sum(),
            HEADS.join(" | "),
            "---|".repeat(HEADS.len())
        ));
        for line in lines_of(&device.found) {
            text.push_str(&format!(
                "| {} |\n",
                line.map(|cell| cell.replace('|', "\\|")).join(" | ")
            ));
        }
    }
    if !skipped.is_empty() {
        text.push_str("\n## Skipped\n\n");
        for line in skipped {
            text.push_str(&format!("- {line}\n"));
        }
    }
    text
}

/// A line for each check, launcher and type: its one shape or how many, and the worst row.
fn lines_of(found: &[Found]) -> Vec<[String; 7]> {
    let mut groups: Vec<(&Found, Vec<&Row>)> = Vec::new();
    for one in found {
        let same = |first: &Found| {
            (first.check, &first.row.op, &first.row.dtype)
                == (one.check, &one.row.op, &one.row.dtype)
        };
        match groups.iter_mut().find(|(first, _)| same(first)) {
            Some((_, rows)) => rows.push(&one.row),
            None => groups.push((one, vec![&one.row])),
        }
    }
    groups
        .into_iter()
        .map(|(first, rows)| line(first.check, &rows))
        .collect()
}

fn line(check: &str, rows: &[&Row]) -> [String; 7] {
    let failed = rows.iter().filter(|row| is_failed(row)).count();
    let worst = rows
        .iter()
        .max_by(|a, b| nearness(a).total_cmp(&nearness(b)))
        .unwrap_or(&rows[0]);
    let (error, budget) = if worst.budget == 0.0 {
        ("-".to_owned(), "-".to_owned())
    } else {
        (
            format!("{:.1e}", worst.max_error),
            format!("{:.1e}", worst.budget),
        )
    };
    [
        check.to_owned(),
        worst.op.clone(),
        worst.dtype.clone(),
        match rows {
            [only] => only.shape.clone(),
            several => format!("{} shapes", several.len()),
        },
        error,
        budget,
        match (failed, rows.len()) {
            (0, _) => "pass".to_owned(),
            (_, 1) => "FAIL".to_owned(),
            (failed, _) => format!("FAIL ({failed})"),
        },
    ]
}

/// How near its budget a row is; a failed one, NaN or not, is beyond every other.
fn nearness(row: &Row) -> f64 {
    let share = row.max_error / row.budget;
    match (is_failed(row), share.is_finite()) {
        (true, true) => 1e300 + share,
        (true, false) => f64::INFINITY,
        (false, true) => share,
        (false, false) => 0.0,
    }
}

/// Whether it did not pass.
pub fn is_failed(row: &Row) -> bool {
    row.verdict != Verdict::Pass
}

/// Columns as wide as their widest cell; two spaces between.
fn aligned(lines: &[[String; 7]]) -> String {
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
