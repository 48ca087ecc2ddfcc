//! The largest or smallest value that keeps a budget.

use std::ops::RangeInclusive;

use dp_core::accounting::{
    AccountingError, Adjacency, Event, Target, calibrate_noise, calibrate_rate, calibrate_steps,
};

use super::engine::After;
use super::error::AccountError;
use super::events::History;
use super::spec::Step;

/// The smallest noise in the range, rounded up, whose step meets the target.
pub fn noise(
    adjacency: Adjacency,
    target: Target,
    range: RangeInclusive<f64>,
    describe: impl FnMut(f64) -> Result<Step, AccountError>,
) -> Result<f64, AccountError> {
    let mut probe = Probe::new(describe);
    let before = History::empty(adjacency);
    let mut accountant = After(&before);
    let events = |noise| probe.event(noise);
    let found = calibrate_noise(&mut accountant, adjacency, target, range, events);
    probe.settle(found)
}

/// The largest rate in the range, rounded down, whose step meets the target.
pub fn rate(
    adjacency: Adjacency,
    target: Target,
    range: RangeInclusive<f64>,
    describe: impl FnMut(f64) -> Result<Step, AccountError>,
) -> Result<f64, AccountError> {
    let mut probe = Probe::new(describe);
    let before = History::empty(adjacency);
    let mut accountant = After(&before);
    let events = |rate| probe.event(rate);
    let found = calibrate_rate(&mut accountant, adjacency, target, range, events);
    probe.settle(found)
}

/// The largest number, 0 to `most`, whose step meets the target after `before`. It is described from 1 on.
pub fn steps(
    before: &History,
    target: Target,
    most: u64,
    describe: impl FnMut(u64) -> Result<Step, AccountError>,
) -> Result<u64, AccountError> {
    let mut probe = Probe::new(describe);
    let mut accountant = After(before);
    let events = |steps| match steps {
        0 => probe.event(1).map(|(event, _)| (event, 0)),
        _ => probe.event(steps),
    };
    let found = calibrate_steps(&mut accountant, before.adjacency, target, most, events);
    probe.settle(found)
}

/// Describes the steps that a search asks for.
struct Probe<F> {
    describe: F,
    /// Why a step couldn't be described; it ended the search.
    failed: Option<AccountError>,
}

impl<F> Probe<F> {
    fn new(describe: F) -> Self {
        Self {
            describe,
            failed: None,
        }
    }

    fn event<V>(&mut self, value: V) -> [(Event, u64); 1]
    where
        F: FnMut(V) -> Result<Step, AccountError>,
    {
        match (self.describe)(value) {
            Ok(step) => [(step.event, step.count)],
            Err(error) => {
                self.failed = Some(error);
                // No accountant takes this one.
                [(Event::Gaussian { sigma: f64::NAN }, u64::MAX)]
            }
        }
    }

    fn settle<T>(self, found: Result<T, AccountingError>) -> Result<T, AccountError> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(found?),
        }
    }
}
