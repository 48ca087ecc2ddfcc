//! The report of an audit: a page, a line of JSON, and the same in the terminal.

use std::fs;

use plotters::prelude::*;
use serde_json::{Map, Value, json};

use super::NOT_COVERED;
use super::args::Sink;
use crate::date::today;
use crate::error::Failure;
use crate::files::write_atomically;
use crate::output::{note, say};
use crate::report::ReportError;
use crate::report::html::{STYLE, escape, figure, section, table};
use crate::report::plot::{INK, NON_PRIVATE, PRIVATE, draw, text};
use crate::verify::{COMMIT, VERSION};

/// What an audit found.
pub struct Found {
    /// `step`, `run` or `model`.
    pub audit: &'static str,
    /// The heading of the page.
    pub title: &'static str,
    /// One sentence that says what came out.
    pub verdict: String,
    /// The heads of the table; the first is of the names.
    pub heads: Vec<String>,
    /// Its rows: a name, and a value for each further head.
    pub rows: Vec<Vec<String>>,
    /// What the figures rest on, a sentence each.
    pub notes: Vec<String>,
    /// SVG, label and caption.
    pub figures: Vec<(Option<String>, String, String)>,
    /// The figures for machines.
    pub json: Value,
}

impl Found {
    /// Writes report.html and audit.jsonl, and prints the table.
    ///
    /// # Errors
    /// A folder or file that can't be written.
    pub fn write(&self, sink: &Sink) -> Result<(), Failure> {
        let unwritable = |what: &std::path::Path, error: std::io::Error| {
            Failure::new(format!(
                "{what:?} cannot be written: {error}; choose another --out"
            ))
        };
        fs::create_dir_all(&sink.out).map_err(|error| unwritable(&sink.out, error))?;
        for (name, text) in [
            ("audit.jsonl", self.line()? + "\n"),
            ("report.html", self.html()),
        ] {
            let path = sink.out.join(name);
            write_atomically(&path, text.as_bytes()).map_err(|error| unwritable(&path, error))?;
        }
        say!("{}", self.text())?;
        note!("{}", sink.out.join("report.html").display());
        Ok(())
    }

    fn line(&self) -> Result<String, Failure> {
        let mut line = Map::new();
        line.insert("audit".into(), self.audit.into());
        line.insert("version".into(), VERSION.into());
        line.insert("commit".into(), COMMIT.into());
        line.insert("date".into(), today().into());
        if let Value::Object(fields) = &self.json {
            line.extend(fields.clone());
        }
        line.insert("covered_by_epsilon".into(), false.into());
        Ok(serde_json::to_string(&line)?)
    }

    fn text(&self) -> String {
        let width = self.rows.iter().map(|row| row[0].len()).max().unwrap_or(0);
        let mut text = format!("{}\n", self.verdict);
        if self.heads.len() > 2 {
            text += &format!("{:width$}", "");
            for head in &self.heads[1..] {
                text += &format!("  {head:<28}");
            }
            text = text.trim_end().to_owned() + "\n";
        }
        for row in &self.rows {
            text += &format!("{:width$}", row[0]);
            for cell in &row[1..] {
                text += &format!("  {cell:<28}");
            }
            text = text.trim_end().to_owned() + "\n";
        }
        text + NOT_COVERED
    }

    fn html(&self) -> String {
        let heads: Vec<&str> = self.heads.iter().map(String::as_str).collect();
        let mut sections = section("Figures", &table(&heads, &self.rows));
        for (svg, label, caption) in &self.figures {
            sections += &section(label, &figure(svg.clone(), label, caption));
        }
        let notes = self.notes.iter().map(String::as_str);
        let notes: String = notes
            .chain([NOT_COVERED])
            .map(|note| format!("<dd>{}</dd>\n", escape(note)))
            .collect();
        sections += &section("What this rests on", &format!("<dl>\n{notes}</dl>\n"));
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>dpcube audit</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{}</h1>\n<p class=\"verdict\">{}</p>\n{sections}\
             <footer>Written by dpcube {VERSION}. This page is one file and fetches nothing.</footer>\n\
             </main>\n</body>\n</html>\n",
            escape(self.title),
            escape(&self.verdict),
        )
    }
}

/// Points of false positive and true positive rate; the second line is drawn in the colour of what has no privacy.
pub struct Curves<'a> {
    /// Of what is audited.
    pub audited: &'a [(f64, f64)],
    /// Of the other model, or empty.
    pub other: &'a [(f64, f64)],
    /// The most that the claim allows, or empty: drawn dashed.
    pub allowed: &'a [(f64, f64)],
}

/// The curves over a diagonal that knows nothing.
///
/// # Errors
/// A plot that could not be drawn.
pub fn roc(curves: &Curves<'_>) -> Result<Option<String>, ReportError> {
    draw((720, 420), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(20)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        chart
            .configure_mesh()
            .axis_style(INK.mix(0.5))
            .bold_line_style(INK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .label_style(text(14))
            .axis_desc_style(text(15))
            .x_desc("false positive rate")
            .y_desc("true positive rate")
            .x_label_formatter(&|x| format!("{x:.1}"))
            .y_label_formatter(&|y| format!("{y:.1}"))
            .draw()?;
        let diagonal = [(0.0, 0.0), (1.0, 1.0)];
        chart.draw_series(LineSeries::new(diagonal, INK.mix(0.3).stroke_width(1)))?;
        let dashed = DashedLineSeries::new(
            curves.allowed.iter().copied(),
            6,
            5,
            INK.mix(0.7).stroke_width(1),
        );
        chart.draw_series(dashed)?;
        for (points, colour) in [(curves.other, NON_PRIVATE), (curves.audited, PRIVATE)] {
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            chart.draw_series(line)?;
        }
        Ok(())
    })
    .map(Some)
}

/// At most a few hundred of the points, the first and the last among them.
pub fn thinned(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let all: Vec<_> = points.collect();
    let every = all.len().div_ceil(400).max(1);
    let last = all.last().copied();
    let mut kept: Vec<_> = all.into_iter().step_by(every).collect();
    kept.extend(last);
    kept
}

/// A number for JSON, which has no infinity.
pub fn number(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else {
        Value::Null
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_it_is_not() {
        let found = Found {
            audit: "step",
            title: "An <audit>",
            verdict: "1 <= 2".into(),
            heads: vec!["".into(), "value".into()],
            rows: vec![vec!["lower bound".into(), "1.5".into()]],
            notes: vec!["a & b".into()],
            figures: vec![(None, "none".into(), "nothing".into())],
            json: json!({ "lower": 1.5 }),
        };
        let page = found.html();
        assert!(page.contains("An &lt;audit&gt;") && page.contains("1 &lt;= 2"));
        assert!(page.contains("not covered by the epsilon") && page.contains("a &amp; b"));
        assert!(!page.contains("<script") && !page.contains("href"));
        assert!(found.text().contains("lower bound  1.5\n"));
        assert!(found.text().ends_with(NOT_COVERED));
        let line: Value = serde_json::from_str(&found.line().unwrap()).unwrap();
        assert_eq!(
            (&line["lower"], &line["audit"]),
            (&json!(1.5), &json!("step"))
        );
        assert_eq!(line["covered_by_epsilon"], json!(false));
    }

    #[test]
    fn ends_stay_where_points_are_thinned() {
        let points = (0..=5000).map(|i| (f64::from(i), 0.0));
        let kept = thinned(points);
        assert!(kept.len() < 410 && kept[0].0 == 0.0 && kept[kept.len() - 1].0 == 5000.0);
        assert!(thinned(std::iter::empty()).is_empty());
        let drawn = |points: &[(f64, f64)]| {
            let curves = Curves {
                audited: points,
                other: &[],
                allowed: &[],
            };
            roc(&curves).unwrap().unwrap()
        };
        assert_ne!(
            drawn(&[(0.0, 0.0), (1.0, 1.0)]),
            drawn(&[(0.0, 0.5), (1.0, 1.0)])
        );
    }
}
