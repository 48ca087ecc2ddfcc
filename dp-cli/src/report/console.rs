//! The report as text, side by side, for a terminal.

use super::number::{bits, bytes, plain, seconds, upper};
use super::{Report, RunSummary};

pub(super) fn text(report: &Report) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    let mut row = |name: &str, value: &dyn Fn(&RunSummary) -> String| {
        rows.push([
            name.to_owned(),
            value(&report.non_private),
            value(&report.private),
        ]);
    };
    row("held-out loss, nats per token", &|run| {
        plain(run.held_out_loss)
    });
    row("step time, median", &|run| seconds(run.step_seconds));
    row("tokens per second", &|run| plain(run.tokens_per_s));
    row("peak memory", &|run| bytes(run.peak_memory_bytes));
    row("codes recited", &|run| {
        format!("{} of {}", run.recited(), run.canaries.len())
    });
    let canaries = report
        .non_private
        .canaries
        .iter()
        .zip(&report.private.canaries);
    for (index, (non_private, private)) in canaries.enumerate() {
        let told = |canary: &super::CanaryResult| {
            let recited = if canary.recited { ", recited" } else { "" };
            format!("{} bits{recited}", bits(canary.exposure))
        };
        rows.push([
            format!("exposure of canary {}", index + 1),
            told(non_private),
            told(private),
        ]);
    }
    let spent = &report.privacy.statement;
    let spent = format!("{} at delta {}", upper(spent.upper), upper(spent.delta));
    rows.push(["epsilon".into(), "infinite".into(), spent]);
    rows.insert(0, ["".into(), "without privacy".into(), "private".into()]);
    let mut text = aligned(&rows);
    text.push_str(&format!(
        "\nA private step takes {} times as long.\n{}\n\n",
        plain(report.step_time_ratio),
        report.verdict()
    ));
    for sentence in &report.statement {
        text.push_str(sentence);
        text.push('\n');
    }
    text
}

/// Columns as wide as their widest cell; two spaces between.
fn aligned(rows: &[[String; 3]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let (first, second) = (width(0).unwrap_or(0), width(1).unwrap_or(0));
    let line = |[a, b, c]: &[String; 3]| format!("{a:first$}  {b:second$}  {c}\n");
    rows.iter().map(line).collect()
}
