//! `dpcube bench compare`: two results side by side.

use std::path::Path;

use dp_bench::{Comparison, Header, Line, Summary, compare, read};

use super::table::{aligned, seconds};
use crate::error::Failure;
use crate::output::answer;

/// Reads both and prints the ratios of all rows that both have timed.
///
/// # Errors
/// A file that is no result, with the line; no row in common.
pub fn run(first: &Path, second: &Path) -> Result<(), Failure> {
    let (first_lines, second_lines) = (read(first)?, read(second)?);
    let comparison = compare(&first_lines, &second_lines);
    if comparison.changes.is_empty() {
        return Err(Failure::new(format!(
            "{first:?} and {second:?} have no timed row in common: compare results of the same extent and element types"
        )));
    }
    answer(text(&first_lines, &second_lines, &comparison))?;
    Ok(())
}

fn text(first: &[Line], second: &[Line], comparison: &Comparison) -> String {
    let mut text = format!("A  {}\nB  {}\n\n", name(first), name(second));
    let mut rows = vec![["row", "A", "B", "B/A"].map(str::to_owned)];
    for change in &comparison.changes {
        rows.push([
            change.words.clone(),
            seconds(change.first),
            seconds(change.second),
            format!("{:.3}", change.ratio),
        ]);
    }
    text.push_str(&aligned(&rows, 1));
    let ratios: Vec<f64> = comparison
        .changes
        .iter()
        .map(|change| change.ratio)
        .collect();
    if let Some(summary) = Summary::of(&ratios) {
        text.push_str(&format!(
            "\n{} rows in both; B/A below 1 is faster in B; median {:.3}\n",
            summary.n, summary.median
        ));
    }
    for (of, only) in [
        ("A", &comparison.only_first),
        ("B", &comparison.only_second),
    ] {
        for words in only {
            text.push_str(&format!("only in {of}: {words}\n"));
        }
    }
    text
}

/// Device, driver, commit and day of a result.
pub fn name(lines: &[Line]) -> String {
    let header = lines.iter().find_map(|line| match line {
        Line::Run(header) => Some(header),
        _ => None,
    });
    header.map_or(String::new(), |header: &Header| {
        let note = header.note.as_deref().map(|note| format!(", {note}"));
        format!(
            "{}: {} ({}), dpcube {}, commit {}, {}{}",
            header.backend,
            header.device,
            header.driver,
            header.version,
            header.commit.as_deref().unwrap_or("unknown"),
            header.date,
            note.unwrap_or_default()
        )
    })
}
