//! The curves as SVG, to stand alone: on white, with its own colours.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::Curve;
use crate::account::error::AccountError;
use crate::account::round::given;

/// Told apart in print and with the usual kinds of colour blindness: Okabe and Ito's, without yellow.
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(80, 80, 80),
];
const INK: RGBColor = RGBColor(34, 34, 34);
const SIZE: (u32, u32) = (760, 460);
/// Plotters rounds to whole units; at this many units a pixel no step shows in a line.
const FINE: u32 = 8;
/// Curves that end this far apart can't be read off one linear axis.
const SPREAD: f64 = 20.0;

type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// What the axes say.
struct Labels {
    x: String,
    y: String,
}

/// Upper bounds of epsilon over steps.
pub fn svg(curves: &[Curve], unit: &str, delta: f64, log: bool) -> Result<String, AccountError> {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let first = all()
        .map(|(steps, _)| *steps as f64)
        .fold(f64::INFINITY, f64::min);
    let last = all().map(|(steps, _)| *steps as f64).fold(1.0, f64::max);
    let positive = || {
        all()
            .map(|(_, b)| b.upper)
            .filter(|upper| *upper > 0.0 && upper.is_finite())
    };
    let (low, high) = (
        positive().fold(f64::INFINITY, f64::min),
        positive().fold(0.0, f64::max),
    );
    if high == 0.0 {
        return Err(AccountError::problem(
            "epsilon is 0 at every point, so there is nothing to draw: give a smaller delta or sigma, or more steps",
        ));
    }
    let ends = curves.iter().filter_map(|curve| curve.points.last());
    let (least, most) = ends.fold((f64::INFINITY, 0.0_f64), |(least, most), (_, bounds)| {
        (least.min(bounds.upper), most.max(bounds.upper))
    });
    let log_y = log || most > SPREAD * least;
    let labels = Labels {
        x: if unit == "steps" {
            "training steps"
        } else {
            "training epochs"
        }
        .to_owned(),
        y: format!("epsilon at delta {} (upper bound)", given(delta)),
    };
    let x_end = if last > first { last } else { last * 1.1 };
    let (y_low, y_high) = (low / 1.25, high * 1.25);
    let mut text = String::new();
    {
        let area =
            SVGBackend::with_string(&mut text, (SIZE.0 * FINE, SIZE.1 * FINE)).into_drawing_area();
        let drawn = match (log && last > 1.0, log_y) {
            (true, _) => {
                let start = if last > first { first } else { first / 1.1 };
                let x = (start..x_end).log_scale();
                paint(
                    &area,
                    x,
                    (y_low..y_high).log_scale(),
                    curves,
                    &labels,
                    log_y,
                )
            }
            (false, true) => {
                let y = (y_low..y_high).log_scale();
                paint(&area, 0.0..x_end, y, curves, &labels, log_y)
            }
            (false, false) => paint(&area, 0.0..x_end, 0.0..high * 1.08, curves, &labels, log_y),
        };
        drawn.and_then(|()| area.present()).map_err(|error| {
            AccountError::problem(format!("cannot draw the plot: {error}; use --csv"))
        })?;
    }
    let (width, height) = SIZE;
    let drawn = format!("width=\"{}\" height=\"{}\"", width * FINE, height * FINE);
    let shown = format!("width=\"{width}\" height=\"{height}\"");
    Ok(text.replacen(&drawn, &shown, 1))
}

fn paint<'a, X, Y>(
    area: &Area<'a>,
    x: X,
    y: Y,
    curves: &[Curve],
    labels: &Labels,
    log_y: bool,
) -> Result<(), DrawError<'a>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .margin(12 * FINE)
        .margin_right(28 * FINE)
        .x_label_area_size(46 * FINE)
        .y_label_area_size(72 * FINE)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .axis_style(INK.mix(0.6).stroke_width(FINE))
        .set_all_tick_mark_size(5 * FINE)
        .bold_line_style(INK.mix(0.14).stroke_width(FINE))
        .light_line_style(TRANSPARENT)
        .label_style(font(14))
        .axis_desc_style(font(15))
        .x_desc(labels.x.as_str())
        .y_desc(labels.y.as_str())
        .x_label_formatter(&|x| tick(*x))
        .y_label_formatter(&|y| tick(*y))
        .draw()?;
    // Where rising curves are not.
    let legend = if log_y {
        SeriesLabelPosition::LowerRight
    } else {
        SeriesLabelPosition::UpperLeft
    };
    for (curve, colour) in curves.iter().zip(COLOURS) {
        let style = colour.stroke_width(2 * FINE);
        let points = curve.points.iter();
        let points = points.map(|(steps, bounds)| (*steps as f64, bounds.upper));
        let points: Vec<_> = points
            .filter(|(_, y)| y.is_finite() && (*y > 0.0 || !log_y))
            .collect();
        if let [only] = points[..] {
            chart.draw_series([Circle::new(only, 3 * FINE, colour.filled())])?;
        }
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(format!("sigma {}", curve.sigma))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20 * FINE as i32, y)], style));
    }
    chart
        .configure_series_labels()
        .position(legend)
        .margin(14 * FINE)
        .background_style(WHITE.mix(0.85))
        .border_style(INK.mix(0.3).stroke_width(FINE))
        .legend_area_size(28 * FINE)
        .label_font(font(14))
        .draw()
}

fn font<'a>(size: u32) -> TextStyle<'a> {
    ("sans-serif", size * FINE).into_font().color(&INK)
}

/// A tick with the digits that it needs, and no more.
fn tick(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    if rounded == 0.0 || (1e-3..1e7).contains(&rounded.abs()) {
        format!("{rounded}")
    } else {
        format!("{rounded:e}")
    }
}
