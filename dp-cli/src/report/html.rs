//! The page: one file that opens from disk, reads in light, dark and print, and fetches nothing.

use std::fmt::Write;

use dp_text::canary::mean_exposure_of_ignorance;

use super::number::{self, bytes, count, plain, seconds, upper};
use super::plot::{self, Level, Line, NON_PRIVATE, PRIVATE};
use super::{Report, ReportError, RunSummary, UNCOVERED};

pub(crate) const STYLE: &str = include_str!("style.css");

pub(super) fn page(report: &Report) -> Result<String, ReportError> {
    let sections = [
        section("Side by side", &comparison(report)),
        section("Held-out loss", &held_out_loss(report)?),
        section("What the models remember", &memory(report)?),
        section("Privacy spent", &privacy_spent(report)?),
        section("Privacy statement", &statement_list(report)),
        section("Settings", &settings(report)),
    ];
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>dpcube: what privacy cost and what it bought</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>What privacy cost and what it bought</h1>\n\
         <p class=\"verdict\">{}</p>\n<p>{}</p>\n{}\
         <footer>Written by dpcube {}. This page is one file and fetches nothing.</footer>\n\
         </main>\n</body>\n</html>\n",
        escape(&report.verdict()),
        escape(UNCOVERED),
        sections.concat(),
        env!("CARGO_PKG_VERSION"),
    ))
}

/// `text` with the five characters replaced that mean something in HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // A control character is invalid in HTML; what a model generates may hold one.
            control if control.is_control() && control != '\n' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

pub(crate) fn section(title: &str, body: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", escape(title))
}

/// A table; the cells are text and become HTML here.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = String::from("<table>\n<thead><tr>");
    for cell in head {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(cell));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            let _ = match column {
                0 => write!(html, "<th scope=\"row\">{cell}</th>"),
                _ => write!(html, "<td>{cell}</td>"),
            };
        }
        html.push_str("</tr>\n");
    }
    html + "</tbody>\n</table>\n"
}

pub(crate) fn figure(svg: Option<String>, label: &str, caption: &str) -> String {
    let drawing = svg.unwrap_or_else(|| "<p>There are no values to draw.</p>\n".into());
    format!(
        "<figure role=\"group\" aria-label=\"{}\">\n{drawing}<figcaption>{caption}</figcaption>\n\
         </figure>\n",
        escape(label)
    )
}

const LEGEND: &str = "<span class=\"key non-private\"></span> without privacy \
                      <span class=\"key private\"></span> private";

fn comparison(report: &Report) -> String {
    let (non_private, private) = (&report.non_private, &report.private);
    let row = |name: &str, value: &dyn Fn(&RunSummary) -> String| {
        vec![name.to_owned(), value(non_private), value(private)]
    };
    let bits = |value: Option<f64>| {
        value.map_or("no canaries".into(), |value| number::bits(value) + " bits")
    };
    let mut rows = vec![
        row("Held-out loss", &|run| {
            format!("{} nats per token", plain(run.held_out_loss))
        }),
        row("Perplexity", &|run| plain(run.held_out_loss.exp())),
        row("Codes recited", &|run| {
            format!("{} of {}", run.recited(), run.canaries.len())
        }),
        row("Mean exposure", &|run| bits(run.mean_exposure())),
        row("Largest exposure", &|run| bits(run.largest_exposure())),
        row("Steps", &|run| count(run.steps)),
        row("Median step time", &|run| seconds(run.step_seconds)),
        row("Tokens per second", &|run| plain(run.tokens_per_s)),
        row("Peak memory", &|run| bytes(run.peak_memory_bytes)),
    ];
    let spent = &report.privacy.statement;
    let spent = format!("{} at delta {}", upper(spent.upper), upper(spent.delta));
    rows.push(vec!["Epsilon".into(), "infinite".into(), spent]);
    format!(
        "{}<p>A private step takes {} times as long as one without privacy.</p>\n",
        table(&["", "Without privacy", "Private"], &rows),
        plain(report.step_time_ratio)
    )
}

fn held_out_loss(report: &Report) -> Result<String, ReportError> {
    let line = |run: &RunSummary, colour| Line {
        colour,
        points: run
            .held_out_curve
            .iter()
            .map(|point| (point.step as f64, point.loss))
            .collect(),
    };
    let lines = [
        line(&report.non_private, NON_PRIVATE),
        line(&report.private, PRIVATE),
    ];
    let svg = plot::lines(&lines, None, "nats per token", false)?;
    let caption =
        format!("{LEGEND}. Loss on records that were drawn for the training of neither model.");
    Ok(figure(
        svg,
        "Held-out loss over steps of both runs",
        &caption,
    ))
}

fn memory(report: &Report) -> Result<String, ReportError> {
    let pairs = || {
        report
            .non_private
            .canaries
            .iter()
            .zip(&report.private.canaries)
    };
    let Some((first, _)) = pairs().next() else {
        return Ok("<p>No canaries were planted.</p>\n".into());
    };
    let ignorance = mean_exposure_of_ignorance(first.codes as usize);
    let most = (first.codes as f64).log2();
    let level = Level {
        value: ignorance,
        label: String::new(),
    };
    let groups: Vec<_> = pairs().map(|(a, b)| (a.exposure, b.exposure)).collect();
    let svg = plot::bars(&groups, &level, most, "canary", "exposure, bits")?;
    let caption = format!(
        "{LEGEND}. A canary is an invented patient whose code was planted in the training records. \
         Exposure is how far its code stands out among {} random codes, at most {} bits. The dashed \
         line, {} bits, is what a model that knows nothing shows on average.",
        count(first.codes - 1),
        plain(most),
        number::bits(ignorance)
    );
    let told = |recited| if recited { "yes" } else { "no" }.to_owned();
    let rows: Vec<_> = pairs()
        .enumerate()
        .map(|(index, (a, b))| {
            vec![
                (index + 1).to_string(),
                a.prompt.clone(),
                number::bits(a.exposure),
                told(a.recited),
                a.completion.clone(),
                number::bits(b.exposure),
                told(b.recited),
                b.completion.clone(),
            ]
        })
        .collect();
    let head = [
        "",
        "Prompt",
        "Exposure without privacy",
        "Recited",
        "Completion",
        "Exposure private",
        "Recited",
        "Completion",
    ];
    Ok(
        figure(svg, "Exposure of each canary in both runs", &caption)
            + "<div class=\"wide\">\n"
            + &table(&head, &rows)
            + "</div>\n",
    )
}

fn privacy_spent(report: &Report) -> Result<String, ReportError> {
    let privacy = &report.privacy;
    let points = privacy
        .epsilon_curve
        .iter()
        .map(|point| (point.step as f64, point.epsilon));
    let line = Line {
        colour: PRIVATE,
        points: points.collect(),
    };
    let target = Level {
        value: privacy.statement.target_epsilon,
        label: format!("target {}", plain(privacy.statement.target_epsilon)),
    };
    let svg = plot::lines(&[line], Some(&target), "epsilon", true)?;
    let caption = format!(
        "<span class=\"key private\"></span> Epsilon spent at delta {}, upper bound.",
        escape(&upper(privacy.statement.delta))
    );
    Ok(figure(
        svg,
        "Epsilon over steps of the private run",
        &caption,
    ))
}

/// Each line up to its first colon becomes a heading; indented lines belong to the one above.
fn statement_list(report: &Report) -> String {
    let mut html = String::from("<dl>\n");
    for line in &report.statement {
        let text = line.trim_start();
        if text.len() < line.len() {
            let _ = writeln!(html, "<dd>{}</dd>", escape(text));
            continue;
        }
        match text.split_once(':') {
            Some((heading, rest)) => {
                let _ = writeln!(html, "<dt>{}</dt>", escape(heading));
                if !rest.is_empty() {
                    let _ = writeln!(html, "<dd>{}</dd>", escape(rest.trim_start()));
                }
            }
            None => {
                let _ = writeln!(html, "<dd>{}</dd>", escape(text));
            }
        }
    }
    html + "</dl>\n"
}

fn settings(report: &Report) -> String {
    let (non_private, private) = (&report.non_private, &report.private);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for setting in &non_private.settings {
        rows.push(vec![
            setting.name.clone(),
            setting.value.clone(),
            "not set".into(),
        ]);
    }
    for setting in &private.settings {
        match rows.iter_mut().find(|row| row[0] == setting.name) {
            Some(row) => row[2] = setting.value.clone(),
            None => {
                rows.push(vec![
                    setting.name.clone(),
                    "not set".into(),
                    setting.value.clone(),
                ]);
            }
        }
    }
    let mut row = |name: &str, value: &dyn Fn(&RunSummary) -> String| {
        rows.push(vec![name.to_owned(), value(non_private), value(private)]);
    };
    row("Parameters", &|run| count(run.parameters));
    row("Data", &|run| run.data.source.clone());
    row("Training records", &|run| count(run.data.train_records));
    row("Held-out records", &|run| count(run.data.held_out_records));
    row("Records cut to the context", &|run| {
        count(run.data.cut_records)
    });
    row("Blank lines skipped", &|run| count(run.data.blank_lines));
    table(&["", "Without privacy", "Private"], &rows)
}
