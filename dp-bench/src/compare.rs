//! Two results side by side.

use crate::{Line, Row};

/// What two results say of the same rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    /// Rows that both have timed, in the order of the first.
    pub changes: Vec<Change>,
    /// Rows that only the first has timed.
    pub only_first: Vec<String>,
    /// Rows that only the second has timed.
    pub only_second: Vec<String>,
}

/// One row in both.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its words.
    pub words: String,
    /// Seconds of the first's median.
    pub first: f64,
    /// Seconds of the second's.
    pub second: f64,
    /// Second over first: below 1 the second is faster.
    pub ratio: f64,
}

/// The rows of both by their words: op, model, layer, element type and shape.
#[must_use]
pub fn compare(first: &[Line], second: &[Line]) -> Comparison {
    let (first, second) = (timed(first), timed(second));
    let find = |rows: &[(String, f64)], words: &str| {
        let row = rows.iter().find(|(other, _)| other == words);
        row.map(|(_, median)| *median)
    };
    let mut comparison = Comparison::default();
    for (words, median) in &first {
        match find(&second, words) {
            Some(other) => comparison.changes.push(Change {
                words: words.clone(),
                first: *median,
                second: other,
                ratio: other / median,
            }),
            None => comparison.only_first.push(words.clone()),
        }
    }
    for (words, _) in second {
        if find(&first, &words).is_none() {
            comparison.only_second.push(words);
        }
    }
    comparison
}

fn timed(lines: &[Line]) -> Vec<(String, f64)> {
    let rows = lines.iter().filter_map(|line| match line {
        Line::Row(row) => Some(row),
        _ => None,
    });
    rows.filter_map(|row: &Row| Some((row.words(), row.time.as_ref()?.median)))
        .collect()
}
