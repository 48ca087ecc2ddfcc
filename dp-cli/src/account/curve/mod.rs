//! `dpcube account curve`: epsilon over the steps.

mod plot;

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use dp_core::accounting::Bounds;
use serde_json::{Value, json};

use super::args::{DeltaFlag, Format, FormatFlag, MechanismArgs, RateFlag};
use super::engine;
use super::error::AccountError;
use super::events::History;
use super::round;
use super::text;
use super::wait::Wait;
use crate::files::write_atomically;

#[derive(Args, Debug)]
pub struct CurveArgs {
    /// Noise multipliers, one curve each: several values with commas between, or the flag again.
    #[arg(
        long,
        required = true,
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    sigma: Vec<f64>,
    #[command(flatten)]
    rate: RateFlag,
    /// Where the curves end.
    #[arg(long)]
    steps: Option<u64>,
    #[command(flatten)]
    delta: DeltaFlag,
    /// Draw the curves into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the numbers into this file: sigma,steps,lower,upper.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Logarithmic axes, and steps that grow by a factor.
    #[arg(long)]
    log: bool,
    /// Points of a curve [default: 100, in a table on the terminal 10].
    #[arg(long, value_name = "N")]
    points: Option<u64>,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    mechanism: MechanismArgs,
}

/// One multiplier's curve.
struct Curve {
    sigma: f64,
    /// Steps done, with what they cost.
    points: Vec<(u64, Bounds)>,
}

/// As many colours as there are that are told apart.
const MOST_CURVES: usize = plot::COLOURS.len();
const MOST_POINTS: u64 = 10_000;

pub fn run(args: &CurveArgs, out: &mut impl Write) -> Result<(), AccountError> {
    let to_files = args.svg.is_some() || args.csv.is_some();
    let points = args.points.unwrap_or(if to_files { 100 } else { 10 });
    if !(1..=MOST_POINTS).contains(&points) {
        return Err(AccountError::problem(format!(
            "--points {points} is not in 1..={MOST_POINTS}: give a number in that range"
        )));
    }
    if args.sigma.len() > MOST_CURVES {
        return Err(AccountError::problem(format!(
            "{} values of --sigma are more than the {MOST_CURVES} curves that a plot can hold apart: give fewer",
            args.sigma.len()
        )));
    }
    if args.mechanism.events.is_some() {
        return Err(AccountError::problem(
            "--events does not go with curve, which follows one mechanism: give that by flags",
        ));
    }
    let (unit, last) = axis(args)?;
    let (curves, what) = curves(args, &steps(last, points, args.log))?;
    // Both files are made before the first is written.
    let csv = csv(unit, &curves);
    if let Some(path) = &args.svg {
        let drawn = plot::svg(&curves, unit, args.delta.delta, args.log)?;
        save(path, &drawn)?;
    }
    if let Some(path) = &args.csv {
        save(path, &csv)?;
    }
    match args.format.format {
        Format::Json => writeln!(out, "{}", json(unit, &curves))?,
        Format::Text if to_files => {
            for path in [&args.svg, &args.csv].into_iter().flatten() {
                writeln!(out, "wrote     {}", path.display())?;
            }
        }
        Format::Text => {
            write!(out, "{}", table(unit, &curves))?;
            let delta = args.delta.delta;
            writeln!(
                out,
                "\nepsilon at delta {}, upper bound rounded up",
                round::given(delta)
            )?;
            writeln!(out, "holds for  {}", text::relation(&what))?;
        }
    }
    Ok(())
}

/// What the curves run over, and to where.
fn axis(args: &CurveArgs) -> Result<(&'static str, u64), AccountError> {
    let spec = args
        .mechanism
        .spec(args.sigma.first().copied(), args.rate.rate, args.steps);
    // Says what is missing, before anything is computed.
    spec.resolve(args.mechanism.adjacency())?;
    let Some(unit) = spec.unit()? else {
        return Err(AccountError::problem(
            "--sensitivity makes the whole run one event, which has no curve over its steps: ask for epsilon",
        ));
    };
    let last = match unit {
        "epochs" => spec.epochs.map_or(0, u64::from),
        _ => spec.steps.unwrap_or(0),
    };
    if last == 0 {
        return Err(AccountError::problem(format!(
            "--{unit} 0 leaves nothing to draw: give at least 1"
        )));
    }
    Ok((unit, last))
}

/// The numbers of steps to ask for, evenly apart or, on a logarithmic axis, by a factor.
fn steps(last: u64, points: u64, log: bool) -> Vec<u64> {
    let mut steps: Vec<u64> = (1..=points)
        .map(|point| {
            if point == points {
                last
            } else if log {
                let share = (point - 1) as f64 / (points - 1) as f64;
                ((last as f64).powf(share).round() as u64).clamp(1, last)
            } else {
                // In 128 bits, where no product of the two overflows.
                ((u128::from(last) * u128::from(point) / u128::from(points)) as u64).max(1)
            }
        })
        .collect();
    steps.dedup();
    steps
}

fn curves(args: &CurveArgs, steps: &[u64]) -> Result<(Vec<Curve>, History), AccountError> {
    let adjacency = args.mechanism.adjacency();
    let mut wait = Wait::new((args.sigma.len() * steps.len()) as u64);
    let mut what = History::empty(adjacency);
    let mut curves = Vec::new();
    for &sigma in &args.sigma {
        let spec = args.mechanism.spec(Some(sigma), args.rate.rate, args.steps);
        let mut points = Vec::new();
        for &steps in steps {
            let step = spec.with_units(steps)?.resolve(adjacency)?;
            what = History::of(adjacency, step);
            points.push((steps, engine::epsilon(what.run(), args.delta.delta)?));
            wait.step();
        }
        curves.push(Curve { sigma, points });
    }
    Ok((curves, what))
}

fn csv(unit: &str, curves: &[Curve]) -> String {
    let mut csv = format!("sigma,{unit},lower,upper\n");
    for Curve { sigma, points } in curves {
        for (steps, bounds) in points {
            // Writing to a String does not fail.
            let _ = writeln!(csv, "{sigma},{steps},{},{}", bounds.lower, bounds.upper);
        }
    }
    csv
}

fn json(unit: &str, curves: &[Curve]) -> Value {
    let point = |sigma: f64, &(steps, bounds): &(u64, Bounds)| json!({"sigma": sigma, unit: steps, "lower": bounds.lower, "upper": bounds.upper});
    let of = |curve: &Curve| -> Vec<Value> {
        let points = curve.points.iter();
        points.map(|each| point(curve.sigma, each)).collect()
    };
    Value::Array(curves.iter().flat_map(of).collect())
}

fn table(unit: &str, curves: &[Curve]) -> String {
    let mut table = format!("{unit:>12}");
    for curve in curves {
        table += &format!("{:>14}", format!("sigma {}", curve.sigma));
    }
    table.push('\n');
    let rows = curves.first().map_or(0, |curve| curve.points.len());
    for row in 0..rows {
        for (column, curve) in curves.iter().enumerate() {
            let (steps, bounds) = &curve.points[row];
            if column == 0 {
                table += &format!("{steps:>12}");
            }
            table += &format!("{:>14}", round::up(bounds.upper, 5));
        }
        table.push('\n');
    }
    table
}

fn save(path: &Path, content: &str) -> Result<(), AccountError> {
    write_atomically(path, content.as_bytes()).map_err(|source| AccountError::Save {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_end_where_asked_and_none_comes_twice() {
        assert_eq!(steps(100, 4, false), [25, 50, 75, 100]);
        assert_eq!(steps(1000, 4, true), [1, 10, 100, 1000]);
        assert_eq!(steps(3, 100, false), [1, 2, 3]);
        assert_eq!(steps(3, 100, true), [1, 2, 3]);
        assert_eq!(steps(7, 1, true), [7]);
        let many = steps(u64::MAX, 100, false);
        assert!(many.is_sorted() && many.len() == 100 && many[99] == u64::MAX);
    }
}
