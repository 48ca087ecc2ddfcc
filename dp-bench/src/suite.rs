//! The run: what is asked for is measured, and each row is told as soon as it is known.

use std::time::{Duration, Instant};

use crate::measure::{Found, Measurement, Timed, measure};
use crate::{
    Bench, Cost, Filter, Group, Header, LeftOut, Line, Op, Pair, Pick, Row, Summary, Time, Verified,
};

/// What to measure, and for how long.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which rows.
    pub filter: Filter,
    /// Time of measuring for each row. A launch that would take longer by the ceilings is left out.
    pub per_row: Duration,
    /// The most samples of a row; three it takes always.
    pub samples: usize,
    /// When no further group is begun.
    pub deadline: Option<Instant>,
    /// The command that runs this device and extent, to which a row adds its filter.
    pub command: String,
}

/// Who looks on.
pub trait Watch {
    /// Group number `index` of `of` begins.
    fn group(&self, index: usize, of: usize, words: &str);
    /// A row or a row left out; called as soon as it is known.
    fn line(&mut self, line: &Line);
    /// Whether to stop. Asked between launches; what a group has measured by then is kept.
    fn stop(&self) -> bool;
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Rows, verified or not.
    pub rows: usize,
    /// Rows that are not verified.
    pub unverified: usize,
    /// Rows that were asked for and left out.
    pub left_out: usize,
    /// Whether [`Watch::stop`] ended it.
    pub stopped: bool,
}

/// Runs what `settings` selects of `groups` and hands each line to `watch`.
///
/// Nothing panics: a launcher or a driver that does gives a row that is not verified.
pub fn run(
    bench: &Bench,
    header: &Header,
    groups: &[Box<dyn Group>],
    settings: &Settings,
    watch: &mut dyn Watch,
) -> Outcome {
    let all: Vec<Vec<String>> = groups.iter().map(|group| words(&**group)).collect();
    let filter = &settings.filter;
    let exact = filter.is_exact(all.iter().flatten().map(String::as_str));
    let chosen: Vec<(&dyn Group, Vec<bool>)> = groups
        .iter()
        .zip(&all)
        .map(|(group, words)| {
            let wanted = words.iter().map(|words| filter.takes(words, exact));
            (&**group, wanted.collect::<Vec<_>>())
        })
        .filter(|(_, wanted)| wanted.contains(&true))
        .collect();
    let of = chosen.len();
    let mut suite = Suite {
        bench,
        header,
        settings,
        watch,
        outcome: Outcome::default(),
    };
    for (index, (group, wanted)) in chosen.into_iter().enumerate() {
        if suite.watch.stop() {
            suite.leave_out(group, &wanted, "the run was stopped");
        } else if settings.deadline.is_some_and(|end| Instant::now() >= end) {
            let why =
                "the time of the whole run was used up; run it without --quick, or with --filter";
            suite.leave_out(group, &wanted, why);
        } else {
            let place = group.place();
            let name = format!("{} {} {}", place.model, place.layer, place.shape);
            suite.watch.group(index, of, &name);
            suite.group(group, &wanted);
        }
    }
    suite.outcome.stopped = suite.watch.stop();
    suite.outcome
}

/// The words of a group's rows: its ops, then its pairs.
fn words(group: &dyn Group) -> Vec<String> {
    let ops = group.ops().into_iter().map(|op| op.name);
    let names = ops.chain(group.pairs().into_iter().map(|pair| pair.name));
    names.map(|name| group.place().words(&name)).collect()
}

struct Suite<'a> {
    bench: &'a Bench,
    header: &'a Header,
    settings: &'a Settings,
    watch: &'a mut dyn Watch,
    outcome: Outcome,
}

impl Suite<'_> {
    fn leave_out(&mut self, group: &dyn Group, wanted: &[bool], why: &str) {
        for (words, _) in words(group).into_iter().zip(wanted).filter(|(_, w)| **w) {
            self.left_out(words, why.to_owned());
        }
    }

    fn left_out(&mut self, words: String, why: String) {
        self.outcome.left_out += 1;
        self.watch.line(&Line::LeftOut(LeftOut { words, why }));
    }

    fn row(&mut self, row: Row) {
        self.outcome.rows += 1;
        self.outcome.unverified += usize::from(!row.verified.ok);
        self.watch.line(&Line::Row(row));
    }

    /// One group. `wanted` says which of its ops and then pairs are asked for.
    fn group(&mut self, group: &dyn Group, wanted: &[bool]) {
        let (ops, pairs) = (group.ops(), group.pairs());
        let (wanted_ops, wanted_pairs) = wanted.split_at(ops.len());
        let needed = needed(&ops, &pairs, wanted_ops, wanted_pairs);
        let watch = &*self.watch;
        let measurement = measure(
            self.bench,
            &self.header.ceilings,
            self.settings,
            group,
            &needed,
            &|| watch.stop(),
        );
        for (index, op) in ops.iter().enumerate().filter(|(i, _)| wanted_ops[*i]) {
            self.op(group, &measurement, op, &measurement.ops[index]);
        }
        for (pair, _) in pairs.iter().zip(wanted_pairs).filter(|(_, w)| **w) {
            self.pair(group, &measurement, &ops, pair);
        }
    }

    fn op(&mut self, group: &dyn Group, measurement: &Measurement, op: &Op, found: &Found) {
        let words = group.place().words(&op.name);
        let blank = |verified| self.blank(group, measurement, &op.name, op.cost, verified);
        match found {
            Found::Unwanted => {}
            Found::LeftOut(why) => self.left_out(words, why.clone()),
            Found::Wrong(verified) => self.row(blank(verified.clone())),
            Found::Right(timed) => {
                let mut row = blank(timed.verified.clone());
                row.time = self.time(measurement, timed.launches, &timed.times, &op.cost);
                let plain = op.without_privacy.map(|other| &measurement.ops[other]);
                if let (Some(Found::Right(plain)), Some(time)) = (plain, &mut row.time) {
                    compare(time, &timed.times, &plain.times);
                }
                self.row(row);
            }
        }
    }

    /// The row of sums over a group's ops.
    fn pair(&mut self, group: &dyn Group, measurement: &Measurement, ops: &[Op], pair: &Pair) {
        let words = group.place().words(&pair.name);
        let found = &measurement.ops;
        if let Some(why) = pair.ops().into_iter().find_map(|op| match &found[op] {
            Found::LeftOut(why) => Some(format!("{} was: {why}", ops[op].name)),
            _ => None,
        }) {
            return self.left_out(words, why);
        }
        let wrong = |op: &usize| !matches!(found[*op], Found::Right(_));
        let wrong: Vec<&str> = pair
            .ops()
            .iter()
            .filter(|op| wrong(op))
            .map(|op| ops[*op].name.as_str())
            .collect();
        if !wrong.is_empty() {
            let verified = Verified::nothing(format!("{} not verified", wrong.join(", ")));
            let row = self.blank(group, measurement, &pair.name, Cost::default(), verified);
            return self.row(row);
        }
        let timed = |op: usize| match &found[op] {
            Found::Right(timed) => timed,
            _ => unreachable!("every op was found right above"),
        };
        let median = |op: usize| Summary::of(&timed(op).times).map_or(f64::MAX, |s| s.median);
        let picked: Vec<usize> = pair
            .private
            .iter()
            .filter_map(|pick| match pick {
                Pick::One(op) => Some(*op),
                Pick::Fastest(ops) => ops
                    .iter()
                    .copied()
                    .min_by(|a, b| median(*a).total_cmp(&median(*b))),
            })
            .collect();
        let private = sums(&picked.iter().map(|op| timed(*op)).collect::<Vec<_>>());
        let plain = sums(&pair.plain.iter().map(|op| timed(*op)).collect::<Vec<_>>());
        let cost = picked.iter().fold(Cost::default(), |sum, op| Cost {
            bytes: sum.bytes + ops[*op].cost.bytes,
            flop: sum.flop + ops[*op].cost.flop,
            half: sum.half || ops[*op].cost.half,
        });
        let names: Vec<&str> = picked.iter().map(|op| ops[*op].name.as_str()).collect();
        let verified = Verified {
            ok: true,
            what: format!("each of its parts: {}", names.join(", ")),
            error: None,
            budget: None,
        };
        let mut row = self.blank(group, measurement, &pair.name, cost, verified);
        row.time = self.time(measurement, 1, &private, &cost);
        if let Some(time) = &mut row.time {
            compare(time, &private, &plain);
        }
        self.row(row);
    }

    fn blank(
        &self,
        group: &dyn Group,
        measurement: &Measurement,
        op: &str,
        cost: Cost,
        verified: Verified,
    ) -> Row {
        let place = group.place();
        let filter = place.words(op).replace('\'', r"'\''");
        let repeat = format!("{} --filter '{filter}'", self.settings.command);
        let working_set = measurement.working_set;
        Row::new(self.header, place, op, cost, working_set, repeat, verified)
    }

    fn time(
        &self,
        measurement: &Measurement,
        launches: usize,
        times: &[f64],
        cost: &Cost,
    ) -> Option<Time> {
        let summary = Summary::of(times)?;
        let clock = measurement.clock.name();
        let ceilings = &self.header.ceilings;
        Some(Time::new(&summary, launches, clock, cost, ceilings))
    }
}

/// The ops that have to be measured for the rows that are wanted: their own, those that a pair sums, those that a
/// ratio is to.
fn needed(ops: &[Op], pairs: &[Pair], wanted_ops: &[bool], wanted_pairs: &[bool]) -> Vec<bool> {
    let mut needed = wanted_ops.to_vec();
    for (pair, _) in pairs.iter().zip(wanted_pairs).filter(|(_, w)| **w) {
        for op in pair.ops() {
            needed[op] = true;
        }
    }
    for (op, _) in ops.iter().zip(wanted_ops).filter(|(_, w)| **w) {
        if let Some(other) = op.without_privacy {
            needed[other] = true;
        }
    }
    needed
}

impl Pair {
    /// Every op that it sums, or may.
    fn ops(&self) -> Vec<usize> {
        let private = self.private.iter().flat_map(|pick| match pick {
            Pick::One(op) => vec![*op],
            Pick::Fastest(ops) => ops.clone(),
        });
        private.chain(self.plain.iter().copied()).collect()
    }
}

/// Round by round, the times of several ops added up.
fn sums(ops: &[&Timed]) -> Vec<f64> {
    let rounds = ops.iter().map(|op| op.times.len()).min().unwrap_or(0);
    (0..rounds)
        .map(|round| ops.iter().map(|op| op.times[round]).sum())
        .collect()
}

/// The ratio round by round: both sides of each were timed right after another.
fn compare(time: &mut Time, private: &[f64], plain: &[f64]) {
    let ratios: Vec<f64> = private.iter().zip(plain).map(|(a, b)| a / b).collect();
    time.ratio = Summary::of(&ratios).map(|summary| summary.median);
    time.non_private_median = Summary::of(plain).map(|summary| summary.median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops() -> Vec<Op> {
        let mut ops =
            ["forward", "backward", "gram", "materialised", "sum"].map(|name| Op::new(name, 1, 1));
        ops[4].without_privacy = Some(1);
        ops.into()
    }

    fn pair() -> Pair {
        Pair {
            name: "layer".into(),
            private: vec![Pick::One(0), Pick::Fastest(vec![2, 3])],
            plain: vec![0],
        }
    }

    /// What is asked for brings along what its ratio is to; what nobody needs is not measured.
    #[test]
    fn only_what_is_needed_is_measured() {
        let needed = |ops_wanted: [bool; 5], pair_wanted| {
            needed(&ops(), &[pair()], &ops_wanted, &[pair_wanted])
        };
        let nothing = [false; 5];
        assert_eq!(needed(nothing, false), nothing);
        assert_eq!(needed(nothing, true), [true, false, true, true, false]);
        let sum = [false, false, false, false, true];
        assert_eq!(needed(sum, false), [false, true, false, false, true]);
    }

    /// A ratio is of the rounds, not of medians that come from different rounds.
    #[test]
    fn ratios_are_taken_round_by_round() {
        let timed = |times: &[f64]| Timed {
            verified: Verified::nothing(""),
            launches: 1,
            times: times.to_vec(),
        };
        let (a, b) = (timed(&[1.0, 10.0, 100.0]), timed(&[1.0, 20.0, 5.0, 7.0]));
        let private = sums(&[&a, &b]);
        assert_eq!(private, [2.0, 30.0, 105.0]);
        let ceilings = crate::DeviceCeilings {
            copy_bytes_per_s: 1.0,
            read_bytes_per_s: 1.0,
            gemm_flop_per_s: 1.0,
            gemm_half_flop_per_s: None,
        };
        let summary = Summary::of(&private).unwrap();
        let mut time = Time::new(&summary, 1, "wall", &Cost::default(), &ceilings);
        compare(&mut time, &private, &[1.0, 10.0, 105.0]);
        assert_eq!(
            time.ratio,
            Some(2.0),
            "of 2, 3 and 1; the medians would give 3"
        );
        assert_eq!(time.non_private_median, Some(10.0));
    }
}
