//! `dpcube bench bounds`: what each row of a result costs by count, what the device allows for that, and what it took.

use std::path::Path;

use dp_bench::{Bound, Header, Line, Row, Time, read};

use super::compare::name;
use super::table::{ceilings, seconds, three};
use crate::error::Failure;
use crate::output::answer;

/// Prints a Markdown table of the timed rows.
///
/// # Errors
/// A file that is no result, with the line; a result without a timed row.
pub fn run(result: &Path) -> Result<(), Failure> {
    let lines = read(result)?;
    let Some(text) = text(&lines) else {
        return Err(Failure::new(format!(
            "{result:?} has no timed row: rows that are not verified have no time, so mend what they say first"
        )));
    };
    answer(text)?;
    Ok(())
}

fn text(lines: &[Line]) -> Option<String> {
    let rows: Vec<(&Row, &Time)> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Row(row) => Some((row, row.time.as_ref()?)),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let mut text = format!("{}\n\n", name(lines));
    for line in lines {
        if let Line::Run(header) = line {
            text.push_str(&introduction(header));
        }
    }
    text.push_str(
        "| op | layer | shape | type | MB | MFLOP | binds | bound | median | gap |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (row, time) in rows {
        let least = time.median * time.percent_of_ceiling / 100.0;
        let binds = match time.bound {
            Bound::Memory => "memory",
            Bound::Compute => "products",
        };
        text.push_str(&format!(
            "| {} | {} {} | {} | {} | {} | {} | {binds} | {} | {} | {:.2} |\n",
            row.op,
            row.model,
            row.layer,
            row.shape,
            row.dtype,
            three(row.bytes as f64 * 1e-6),
            three(row.flop as f64 * 1e-6),
            seconds(least),
            seconds(time.median),
            time.median / least,
        ));
    }
    Some(text)
}

fn introduction(header: &Header) -> String {
    format!(
        "{}.\n\nMB and MFLOP are the least that the op moves and multiplies or adds, by count; the bound is the time that the \
         ceiling which binds allows for them, and the gap the median over the bound.\n\n",
        ceilings(header)
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::text;
    use dp_bench::{Line, read};

    const HEADER: &str = r#"{"line":"run","backend":"cpu","device":"d","driver":"l","version":"0","commit":"abc","date":"2026-01-31",
        "note":null,"extent":"quick","seconds_per_row":0.1,"cache_bytes":1,"cache_told":true,"memory_bytes":1,"load_before":null,
        "ceilings":{"copy_bytes_per_s":1e10,"read_bytes_per_s":1e10,"gemm_flop_per_s":1e11}}"#;

    fn row(time: &str) -> String {
        format!(
            r#"{{"line":"row","op":"bias_norm_sq","model":"m","layer":"l","shape":"B 1","b":1,"t":1,"count":1,"dtype":"f32",
            "backend":"cpu","device":"d","driver":"l","commit":null,"verified":{{"ok":true,"what":"all","error":0.0,"budget":1.0}},
            "time":{time},"bytes":20000000,"flop":5000000,"working_set_bytes":1,"repeat":"r"}}"#
        )
    }

    fn lines(texts: &[&str]) -> Vec<Line> {
        texts
            .iter()
            .map(|text| serde_json::from_str(text).expect("a line"))
            .collect()
    }

    #[test]
    fn the_gap_is_the_median_over_the_bound() {
        let timed = row(
            r#"{"n":3,"launches":1,"clock":"wall","min":0.003,"median":0.004,"p95":0.005,"gb_per_s":5.0,"gflop_per_s":1.25,
            "percent_of_ceiling":50.0,"bound":"memory","ratio":null,"non_private_median":null}"#,
        );
        let found = text(&lines(&[HEADER, &timed, &row("null")])).expect("a timed row");
        let rows: Vec<&str> = found.lines().filter(|line| line.contains("bias")).collect();
        assert_eq!(
            rows,
            [
                "| bias_norm_sq | m l | B 1 | f32 | 20.0 | 5.00 | memory | 2.00 ms | 4.00 ms | 2.00 |"
            ]
        );
    }

    /// The pages of recorded results hold what is printed of them, to the last character: nothing is said in the program's name that it didn't say.
    #[test]
    fn the_pages_are_what_is_printed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (page, result) in [
            ("bounds.md", "2026-11-26-cpu-quick.jsonl"),
            ("bounds-xeon.md", "2026-11-27-xeon-quick.jsonl"),
            ("bounds-h200.md", "2026-11-27-h200-quick.jsonl"),
        ] {
            let lines = read(&root.join("benches/results").join(result)).expect("a result");
            let printed = text(&lines).expect("a timed row");
            let written = fs::read_to_string(root.join("docs").join(page)).expect("a page");
            assert!(written.ends_with(printed.as_str()), "{page}");
        }
    }

    #[test]
    fn a_result_without_times_has_no_table() {
        assert_eq!(text(&lines(&[HEADER, &row("null")])), None);
    }
}
