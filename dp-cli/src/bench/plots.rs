//! The plots of the page, as SVG without fonts or bitmaps.

use dp_bench::{DeviceCeilings, Row};
use plotters::prelude::*;

use crate::report::ReportError;
use crate::report::plot::{INK, NON_PRIVATE, PRIVATE, draw, text};

const SIZE: (u32, u32) = (720, 380);
/// Of weighted sums.
const SUM: RGBColor = RGBColor(74, 157, 92);
/// Of noise, updates and factors.
const OTHER: RGBColor = RGBColor(150, 120, 190);

/// The kinds of rows that a roofline tells apart: colour, class on the page, name.
pub const KINDS: [(RGBColor, &str, &str); 4] = [
    (NON_PRIVATE, "non-private", "products without privacy"),
    (PRIVATE, "private", "norms"),
    (SUM, "sum", "weighted sums"),
    (OTHER, "other", "noise and updates"),
];

fn kind(op: &str) -> RGBColor {
    if op.starts_with("matmul") {
        NON_PRIVATE
    } else if op.contains("norm_sq") {
        PRIVATE
    } else if op.starts_with("weighted_sum") {
        SUM
    } else {
        OTHER
    }
}

/// Every row with FLOP: how many to the byte, and the rate that it reached; the roofs are the ceilings', the upper one that of
/// 16-bit floats.
pub fn roofline(rows: &[&Row], ceilings: &DeviceCeilings) -> Result<Option<String>, ReportError> {
    let points: Vec<(f64, f64, RGBColor)> = rows
        .iter()
        .filter_map(|row| {
            let rate = row.time.as_ref()?.gflop_per_s;
            let intensity = row.flop as f64 / row.bytes as f64;
            (row.flop > 0 && row.bytes > 0).then(|| (intensity, rate, kind(&row.op)))
        })
        .collect();
    if points.is_empty() {
        return Ok(None);
    }
    let bandwidth = ceilings.bytes_per_s() * 1e-9;
    let peaks = [
        Some(ceilings.gemm_flop_per_s),
        ceilings.gemm_half_flop_per_s,
    ];
    let peaks: Vec<f64> = peaks
        .into_iter()
        .flatten()
        .map(|peak| peak * 1e-9)
        .collect();
    let ridges = peaks.iter().map(|peak| peak / bandwidth);
    let xs = points.iter().map(|point| point.0).chain(ridges);
    let (x_low, x_high) = wide(xs);
    let ys = points
        .iter()
        .map(|point| point.1)
        .chain(peaks.iter().copied());
    let (y_low, y_high) = wide(ys);
    draw(SIZE, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(20)
            .x_label_area_size(42)
            .y_label_area_size(72)
            .build_cartesian_2d((x_low..x_high).log_scale(), (y_low..y_high).log_scale())?;
        chart
            .configure_mesh()
            .axis_style(INK.mix(0.5))
            .bold_line_style(INK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .label_style(text(14))
            .axis_desc_style(text(15))
            .x_desc("FLOP a byte")
            .y_desc("GFLOP/s")
            .x_label_formatter(&|x| power(*x))
            .y_label_formatter(&|y| power(*y))
            .draw()?;
        for &peak in &peaks {
            let roof = |x: f64| (bandwidth * x).min(peak);
            let ridge = (peak / bandwidth).clamp(x_low, x_high);
            let ends = [x_low, ridge, x_high].map(|x| (x, roof(x).max(y_low)));
            chart.draw_series(LineSeries::new(ends, INK.stroke_width(2)))?;
        }
        let dot = |&(x, y, colour): &(f64, f64, RGBColor)| {
            Circle::new((x, y), 4, colour.mix(0.8).filled())
        };
        chart.draw_series(points.iter().map(dot))?;
        Ok(())
    })
    .map(Some)
}

/// One bar chart row: what it is of, and private time over time without privacy.
pub struct Ratio {
    /// Its words.
    pub name: String,
    /// The ratio.
    pub ratio: f64,
}

/// Two bars for each, one under the other: without privacy 1, private the ratio.
pub fn ratios(ratios: &[Ratio]) -> Result<Option<String>, ReportError> {
    let most = ratios.iter().map(|one| one.ratio).fold(1.0, f64::max);
    if ratios.is_empty() || !most.is_finite() {
        return Ok(None);
    }
    let count = ratios.len();
    let size = (SIZE.0, 60 + 46 * count as u32);
    draw(size, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(48)
            .x_label_area_size(42)
            .y_label_area_size(190)
            .build_cartesian_2d(0.0..most * 1.05, -(count as f64) - 0.5..-0.5)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .axis_style(INK.mix(0.5))
            .bold_line_style(INK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .label_style(text(14))
            .axis_desc_style(text(15))
            .x_desc("time, without privacy = 1")
            .x_label_formatter(&|x| format!("{x:.1}"))
            .y_labels(2 * count + 2)
            .y_label_formatter(&|y| {
                let place = -*y - 1.0;
                let whole = place.fract().abs() < 1e-9 && place >= 0.0;
                let named = whole.then(|| ratios.get(place as usize));
                named
                    .flatten()
                    .map_or(String::new(), |one| one.name.clone())
            })
            .draw()?;
        for (place, one) in ratios.iter().enumerate() {
            let centre = -(place as f64) - 1.0;
            let bar = |from: f64, to: f64, value: f64, colour: RGBColor| {
                let corners = [(0.0, centre + from), (value, centre + to)];
                Rectangle::new(corners, colour.filled())
            };
            chart.draw_series([
                bar(0.02, 0.36, 1.0, NON_PRIVATE),
                bar(-0.36, -0.02, one.ratio, PRIVATE),
            ])?;
            let label = format!("{:.2}", one.ratio);
            let at = (one.ratio + most * 0.01, centre - 0.02);
            chart.draw_series([Text::new(label, at, text(14))])?;
        }
        Ok(())
    })
    .map(Some)
}

/// Rates along an axis that doubles: without privacy and private.
pub fn scaling(
    plain: &[(f64, f64)],
    private: &[(f64, f64)],
    x_label: &str,
) -> Result<Option<String>, ReportError> {
    let all = || plain.iter().chain(private);
    if all().next().is_none() {
        return Ok(None);
    }
    let (x_low, x_high) = wide(all().map(|point| point.0));
    let most = all().map(|point| point.1).fold(0.0, f64::max);
    draw(SIZE, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(20)
            .x_label_area_size(42)
            .y_label_area_size(72)
            .build_cartesian_2d((x_low..x_high).log_scale().base(2.0), 0.0..most * 1.08)?;
        chart
            .configure_mesh()
            .axis_style(INK.mix(0.5))
            .bold_line_style(INK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .label_style(text(14))
            .axis_desc_style(text(15))
            .x_desc(x_label)
            .y_desc("tokens a second")
            .x_label_formatter(&|x| power(*x))
            .y_label_formatter(&|y| power(*y))
            .draw()?;
        for (points, colour) in [(plain, NON_PRIVATE), (private, PRIVATE)] {
            chart.draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(2),
            ))?;
            let dot = |point: &(f64, f64)| Circle::new(*point, 3, colour.filled());
            chart.draw_series(points.iter().map(dot))?;
        }
        Ok(())
    })
    .map(Some)
}

/// A range around positive values with room at both ends, never empty.
fn wide(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite() && *value > 0.0)
        .fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    (low / 1.6, high * 1.6)
}

/// A tick of a logarithmic axis.
fn power(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.0} M", value / 1e6),
        value if value >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value >= 1.0 => format!("{value:.0}"),
        value => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_ticks() {
        let (low, high) = wide([2.0, 8.0, f64::NAN, 0.0].into_iter());
        assert!(low < 2.0 && high > 8.0 && low > 0.0);
        assert_eq!(
            [power(1e7), power(2e4), power(64.0), power(0.25)],
            ["10 M", "20 k", "64", "0.25"]
        );
    }

    /// Rows are told apart by what they are.
    #[test]
    fn every_kind_has_its_colour() {
        let colours = [
            "matmul forward",
            "bias_norm_sq",
            "weighted_sum_conv",
            "clip_factors flat",
        ]
        .map(kind);
        assert_eq!(colours, KINDS.map(|(colour, ..)| colour));
    }
}
