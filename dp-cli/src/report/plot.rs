//! Plots as SVG inside the page, by the `plotters` crate without fonts or bitmaps.

use plotters::prelude::*;

use super::ReportError;

/// Colours that read on white and on black, and in print as two greys.
pub(crate) const PRIVATE: RGBColor = RGBColor(47, 125, 209);
/// Of the run without privacy.
pub(crate) const NON_PRIVATE: RGBColor = RGBColor(217, 119, 40);

/// Plotters knows no `currentColor`; this colour, used by nothing else, stands for it.
pub(crate) const INK: RGBColor = RGBColor(1, 2, 3);
const SIZE: (u32, u32) = (720, 320);

/// A line of a plot. Points that are not finite are left out.
pub(super) struct Line {
    pub colour: RGBColor,
    pub points: Vec<(f64, f64)>,
}

/// A level that the values are compared to.
pub(crate) struct Level {
    pub value: f64,
    pub label: String,
}

/// Lines over steps. `None` where there is no finite point.
///
/// The axis of values starts at 0 where `from_zero`, else a little below the smallest.
pub(super) fn lines(
    lines: &[Line],
    level: Option<&Level>,
    y_label: &str,
    from_zero: bool,
) -> Result<Option<String>, ReportError> {
    let lines: Vec<Line> = lines.iter().map(Line::finite).collect();
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let last_step = points().map(|(x, _)| x).fold(1.0, f64::max);
    let values = points()
        .map(|(_, y)| y)
        .chain(level.map(|level| level.value));
    let Some((low, high)) = range(values, from_zero) else {
        return Ok(None);
    };
    if points().next().is_none() {
        return Ok(None);
    }
    draw(SIZE, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(20)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d(0.0..last_step, low..high)?;
        chart
            .configure_mesh()
            .axis_style(INK.mix(0.5))
            .bold_line_style(INK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .label_style(text(14))
            .axis_desc_style(text(15))
            .x_desc("steps")
            .y_desc(y_label)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| tick(*y, high - low))
            .draw()?;
        if let Some(level) = level {
            let ends = [(0.0, level.value), (last_step, level.value)];
            chart.draw_series(DashedLineSeries::new(
                ends,
                6,
                5,
                INK.mix(0.6).stroke_width(1),
            ))?;
            let place = (last_step * 0.01, level.value + (high - low) * 0.06);
            chart.draw_series([Text::new(level.label.clone(), place, text(14))])?;
        }
        for line in &lines {
            let style = line.colour.stroke_width(2);
            chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
            if line.points.len() <= 40 {
                let dot = |&point: &(f64, f64)| Circle::new(point, 3, line.colour.filled());
                chart.draw_series(line.points.iter().map(dot))?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// Two bars side by side for each of the numbered groups, from 0 up. `None` without a group.
pub(crate) fn bars(
    groups: &[(f64, f64)],
    level: &Level,
    most: f64,
    x_label: &str,
    y_label: &str,
) -> Result<Option<String>, ReportError> {
    let count = groups.len() as f64;
    let values = groups
        .iter()
        .flat_map(|&(a, b)| [a, b])
        .chain([level.value, most]);
    let Some((_, high)) = range(values, true) else {
        return Ok(None);
    };
    if groups.is_empty() {
        return Ok(None);
    }
    draw(SIZE, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(20)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d(0.5..count + 0.5, 0.0..high)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .axis_style(INK.mix(0.5))
            .bold_line_style(INK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .label_style(text(14))
            .axis_desc_style(text(15))
            .x_labels(groups.len().min(32))
            .x_desc(x_label)
            .y_desc(y_label)
            .x_label_formatter(&|x| {
                if x.fract() == 0.0 {
                    format!("{x:.0}")
                } else {
                    String::new()
                }
            })
            .y_label_formatter(&|y| tick(*y, high))
            .draw()?;
        for (index, &(left, right)) in groups.iter().enumerate() {
            let centre = index as f64 + 1.0;
            let bar = |from: f64, to: f64, value: f64, colour: RGBColor| {
                // A bar of nothing still shows as a thin line.
                let value = if value.is_finite() {
                    value.max(high * 0.004)
                } else {
                    0.0
                };
                Rectangle::new(
                    [(centre + from, 0.0), (centre + to, value)],
                    colour.filled(),
                )
            };
            let bars = [
                bar(-0.34, -0.02, left, NON_PRIVATE),
                bar(0.02, 0.34, right, PRIVATE),
            ];
            chart.draw_series(bars)?;
        }
        let ends = [(0.5, level.value), (count + 0.5, level.value)];
        chart.draw_series(DashedLineSeries::new(
            ends,
            6,
            5,
            INK.mix(0.8).stroke_width(1),
        ))?;
        Ok(())
    })
    .map(Some)
}

/// What painting may answer.
pub(crate) type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

/// An SVG of `size`, painted by `paint`; what is drawn in [`INK`] takes the colour of the page's text.
pub(crate) fn draw<'a, F>(size: (u32, u32), paint: F) -> Result<String, ReportError>
where
    F: for<'b> FnOnce(
        &DrawingArea<SVGBackend<'b>, plotters::coord::Shift>,
    ) -> Result<(), DrawError<'b>>,
{
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = paint(&area).and_then(|()| area.present());
        drawn.map_err(|error| ReportError::Plot(error.to_string()))?;
    }
    Ok(svg.replace("#010203", "currentColor"))
}

/// Text of this size in the page's colour.
pub(crate) fn text<'a>(size: u32) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(&INK)
}

impl Line {
    fn finite(&self) -> Self {
        let finite = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
        Self {
            colour: self.colour,
            points: self.points.iter().filter(finite).copied().collect(),
        }
    }
}

/// A range around the finite values that is never empty, with a margin of 8%.
fn range(values: impl Iterator<Item = f64>, from_zero: bool) -> Option<(f64, f64)> {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold(None, |range: Option<(f64, f64)>, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })?;
    let low = if from_zero { low.min(0.0) } else { low };
    let margin = 0.08 * (high - low).max(low.abs().max(high.abs()) * 1e-3).max(1e-6);
    Some((if from_zero { low } else { low - margin }, high + margin))
}

/// A tick of an axis that spans `span`, with as many decimals as it takes to tell ticks apart.
pub(crate) fn tick(value: f64, span: f64) -> String {
    let decimals = (1.0 - span.abs().log10()).ceil().clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An axis has a length, whatever the values.
    #[test]
    fn a_range_is_never_empty() {
        for values in [
            vec![0.0],
            vec![5.0; 3],
            vec![-2.0],
            vec![1e9, 1e9],
            vec![0.0, f64::NAN],
        ] {
            for from_zero in [true, false] {
                let (low, high) = range(values.iter().copied(), from_zero).unwrap();
                let inside = |value: &f64| value.is_nan() || (low..high).contains(value);
                assert!(values.iter().all(inside), "{values:?}: {low} to {high}");
            }
        }
        assert_eq!(range([f64::NAN, f64::INFINITY].into_iter(), true), None);
        assert_eq!(range([3.0].into_iter(), true).unwrap().0, 0.0);
    }

    #[test]
    fn ticks_tell_values_apart() {
        assert_eq!(
            [tick(8.0, 9.0), tick(0.25, 0.5), tick(1200.0, 5000.0)],
            ["8.0", "0.25", "1200"]
        );
    }
}
