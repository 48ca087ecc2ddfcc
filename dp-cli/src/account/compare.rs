//! `dpcube account compare`: one run by every engine.

use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use dp_core::accounting::{AccountingError, Bounds};
use serde_json::{Value, json};

use super::args::{DeltaFlag, Format, FormatFlag, MechanismArgs, RateFlag, SigmaFlag, StepsFlag};
use super::engine::{ENGINES, Engine};
use super::error::AccountError;
use super::events::History;
use super::round::given;
use super::text;
use super::wait::Wait;

#[derive(Args, Debug)]
pub struct CompareArgs {
    #[command(flatten)]
    sigma: SigmaFlag,
    #[command(flatten)]
    rate: RateFlag,
    #[command(flatten)]
    steps: StepsFlag,
    #[command(flatten)]
    delta: DeltaFlag,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    mechanism: MechanismArgs,
}

/// Most runs of an engine; its time is their median.
const RUNS: usize = 11;
/// No further run of an engine that took this long altogether.
const ENOUGH: Duration = Duration::from_millis(500);

/// What one engine said.
struct Row {
    engine: &'static Engine,
    answer: Result<Bounds, AccountingError>,
    time: Duration,
}

pub fn run(args: &CompareArgs, out: &mut impl Write) -> Result<(), AccountError> {
    let history = (args.mechanism).history(args.sigma.sigma, args.rate.rate, args.steps.steps)?;
    let delta = args.delta.delta;
    let mut wait = Wait::new(ENGINES.len() as u64);
    let mut rows = Vec::new();
    for engine in &ENGINES {
        rows.push(row(engine, &history, delta));
        wait.step();
    }
    drop(wait);
    // Where no engine has an answer, the first one says why.
    if let Some(Err(error)) = rows.first().map(|row| row.answer)
        && rows.iter().all(|row| row.answer.is_err())
    {
        return Err(error.into());
    }
    match args.format.format {
        Format::Json => {
            let rows: Vec<_> = rows.iter().map(Row::json).collect();
            writeln!(out, "{}", Value::Array(rows))?;
        }
        Format::Text => {
            writeln!(
                out,
                "{:<8}{:>24}{:>24}{:>12}{:>12}  what it is",
                "engine", "lower", "upper", "rel. width", "time"
            )?;
            for row in &rows {
                writeln!(out, "{}", row.line())?;
            }
            writeln!(out)?;
            text::write_run(out, &history, &format!(", delta {}", given(delta)))?;
        }
    }
    Ok(())
}

fn row(engine: &'static Engine, history: &History, delta: f64) -> Row {
    let mut times = Vec::new();
    let started = Instant::now();
    let answer = loop {
        let begin = Instant::now();
        let answer = (engine.epsilon)(history.run(), delta);
        times.push(begin.elapsed());
        if times.len() == RUNS || started.elapsed() > ENOUGH {
            break answer;
        }
    };
    times.sort_unstable();
    Row {
        engine,
        answer,
        time: times[times.len() / 2],
    }
}

impl Row {
    fn json(&self) -> Value {
        let Engine { name, worth, .. } = self.engine;
        match &self.answer {
            Ok(bounds) => json!({
                "engine": name,
                "lower": bounds.lower,
                "upper": bounds.upper,
                // JSON has no infinity: null where nothing is known from below.
                "relative_width": Some(bounds.relative_width()).filter(|width| width.is_finite()),
                "seconds": self.time.as_secs_f64(),
                "worth": worth,
            }),
            Err(error) => json!({"engine": name, "error": error.to_string()}),
        }
    }

    fn line(&self) -> String {
        let name = self.engine.name;
        match &self.answer {
            Ok(bounds) => {
                let width = bounds.relative_width();
                let width = if width.is_finite() {
                    format!("{width:.1e}")
                } else {
                    "unknown".to_owned()
                };
                format!(
                    "{name:<8}{:>24}{:>24}{width:>12}{:>12}  {}",
                    bounds.lower,
                    bounds.upper,
                    milliseconds(self.time),
                    self.engine.worth
                )
            }
            Err(error) => format!("{name:<8}no answer: {error}"),
        }
    }
}

fn milliseconds(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    if milliseconds < 0.1 {
        format!("{:.1} us", milliseconds * 1e3)
    } else {
        format!("{milliseconds:.2} ms")
    }
}
