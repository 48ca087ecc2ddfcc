//! `dpcube account explain`: a run's promise in words.

mod odds;

use std::io::Write;

use clap::Args;
use dp_core::accounting::Adjacency;
use serde_json::json;

use super::args::{DeltaFlag, Format, FormatFlag, MechanismArgs, RateFlag, SigmaFlag, StepsFlag};
use super::engine;
use super::error::AccountError;
use super::events::{History, Unit};
use super::round::{down, given, percent_up, up};
use super::spec::adjective;
use odds::Odds;

#[derive(Args, Debug)]
pub struct ExplainArgs {
    #[command(flatten)]
    sigma: SigmaFlag,
    #[command(flatten)]
    rate: RateFlag,
    #[command(flatten)]
    steps: StepsFlag,
    #[command(flatten)]
    delta: DeltaFlag,
    /// Number of records in the data, or of users where the events are about users; delta is judged against it.
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// False positive rate of the adversary's test.
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.001,
        allow_negative_numbers = true
    )]
    false_positives: f64,
    /// What the adversary believes beforehand.
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.5,
        allow_negative_numbers = true
    )]
    prior: f64,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    mechanism: MechanismArgs,
}

/// A promise and what follows from it. All are upper bounds.
struct Promise<'a> {
    history: &'a History,
    epsilon: f64,
    delta: f64,
    records: Option<u64>,
    false_positives: f64,
    prior: f64,
    odds: Odds,
}

pub fn run(args: &ExplainArgs, out: &mut impl Write) -> Result<(), AccountError> {
    for (flag, value) in [
        ("false-positives", args.false_positives),
        ("prior", args.prior),
    ] {
        if !(value > 0.0 && value < 1.0) {
            return Err(AccountError::problem(format!(
                "--{flag} {value} is not between 0 and 1: give a probability, for example 0.01"
            )));
        }
    }
    if args.records == Some(0) {
        return Err(AccountError::problem(
            "--records 0: give the number of records in the data, or leave it out",
        ));
    }
    let history = (args.mechanism).history(args.sigma.sigma, args.rate.rate, args.steps.steps)?;
    let delta = args.delta.delta;
    let epsilon = engine::epsilon(history.run(), delta)?.upper;
    let promise = Promise {
        history: &history,
        epsilon,
        delta,
        records: args.records,
        false_positives: args.false_positives,
        prior: args.prior,
        odds: Odds::of(&history, delta, args.false_positives, args.prior)?,
    };
    match args.format.format {
        Format::Text => writeln!(out, "{}", promise.paragraph())?,
        Format::Json => {
            let Odds {
                advantage,
                true_positives,
                posterior,
            } = promise.odds;
            let answer = json!({
                "epsilon": epsilon,
                "delta": delta,
                "adjacency": adjective(history.adjacency),
                "advantage": advantage,
                "false_positive_rate": promise.false_positives,
                "true_positive_rate": true_positives,
                "prior": promise.prior,
                "posterior": posterior,
                "band": band(epsilon),
                "text": promise.paragraph(),
            });
            writeln!(out, "{answer}")?;
        }
    }
    Ok(())
}

impl Promise<'_> {
    fn paragraph(&self) -> String {
        let sentences = [
            self.guarantee(),
            self.adversary(),
            self.standing(),
            self.failure(),
        ];
        sentences.join(" ")
    }

    fn guarantee(&self) -> String {
        let epsilon = up(self.epsilon, 4);
        let (relation, question) = self.relation();
        // Of the number that is shown, so that a reader gets the same.
        let factor = epsilon.parse().unwrap_or(self.epsilon).exp();
        let times = if factor < 1e6 {
            format!(" (that is, by a factor of at most {})", up(factor, 4))
        } else {
            String::new()
        };
        format!(
            "This run ({}) is differentially private with epsilon {epsilon} and delta {} under {}: take two data \
             sets that differ in {relation}; whatever the run publishes, the probability of any set of outcomes is at most \
             e^{epsilon} times as large for one of them as for the other{times}, plus delta. This limits how well an \
             adversary can tell {question}, even one that sees all that is published, knows every other record and \
             has unlimited computing power.",
            self.history.described.join("; "),
            given(self.delta),
            match self.history.adjacency {
                Adjacency::AddRemove => "add/remove adjacency",
                Adjacency::ZeroOut => "zero-out adjacency",
                Adjacency::ReplaceOne => "replace-one adjacency",
            },
        )
    }

    fn is_about_users(&self) -> bool {
        matches!(self.history.unit, Unit::User { .. })
    }

    /// How neighbours differ, and what their likeness hides.
    fn relation(&self) -> (&'static str, &'static str) {
        if self.is_about_users() {
            return match self.history.adjacency {
                Adjacency::AddRemove => (
                    "all records of one user, which are in one and not in the other",
                    "whether a given user's records were in the data",
                ),
                Adjacency::ZeroOut => (
                    "all records of one user, whose contribution is replaced by nothing in the other",
                    "whether a given user's records contributed",
                ),
                Adjacency::ReplaceOne => (
                    "all records of one user, which are another user's in the other",
                    "which of two given users was in the data",
                ),
            };
        }
        let groups = self.history.has_groups();
        match (self.history.adjacency, groups) {
            (Adjacency::AddRemove, false) => (
                "one record that is in one and not in the other",
                "whether a given record was in the data",
            ),
            (Adjacency::AddRemove, true) => (
                "all records of one person, which are in one and not in the other",
                "whether a given person's records were in the data",
            ),
            (Adjacency::ZeroOut, false) => (
                "one record whose contribution is replaced by nothing in the other",
                "whether a given record contributed",
            ),
            (Adjacency::ZeroOut, true) => (
                "all records of one person, whose contributions are replaced by nothing in the other",
                "whether a given person's records contributed",
            ),
            (Adjacency::ReplaceOne, _) => (
                "one record, which is another in the other",
                "which of two given records was in the data",
            ),
        }
    }

    fn adversary(&self) -> String {
        let Odds {
            advantage,
            true_positives,
            posterior,
        } = self.odds;
        format!(
            "In numbers: for whoever tries to tell, the rate of true positives exceeds that of false positives by at \
             most {} (membership-inference advantage); a test with a false positive rate of {}% has a true positive \
             rate of at most {}; and a belief of {}% in the right answer becomes at most {}, except with \
             probability delta.",
            percent_up(advantage),
            plain(self.false_positives * 100.0),
            percent_up(true_positives),
            plain(self.prior * 100.0),
            percent_up(posterior),
        )
    }

    fn standing(&self) -> String {
        format!(
            "By the usual bands (up to 2 strong, 1 to 3 for regulated data, 4 to 8 industry practice, above 8 weak), \
             epsilon {} is {}.",
            up(self.epsilon, 4),
            match band(self.epsilon) {
                "strong" => "strong",
                "strong, regulated" => "strong, and within what is customary for regulated data",
                "regulated" => "within what is customary for regulated data",
                "between" =>
                    "more than what is customary for regulated data, and less than industry practice often takes",
                "industry" => "what industry practice takes",
                _ => "weak: the promise alone says little, whatever attacks achieve today",
            }
        )
    }

    fn failure(&self) -> String {
        let (one, many) = if self.is_about_users() {
            ("all records of a user", "users")
        } else {
            ("a record", "records")
        };
        let general = format!(
            "Delta is the part of the probability for which nothing is promised: publishing {one} in full with \
             probability delta would be allowed"
        );
        match self.records {
            None => format!(
                "{general}, so it should be well below one over the number of {many}; {} is below a tenth of that \
                 for up to {} {many}.",
                given(self.delta),
                down(0.1 / self.delta, 2)
            ),
            Some(records) => {
                let expected = self.delta * records as f64;
                let verdict = if expected <= 0.1 {
                    "well below one, as it should be"
                } else if expected < 1.0 {
                    "below one, but not well below: take a smaller delta"
                } else {
                    "not below one, which is no protection worth the name: take a smaller delta"
                };
                format!(
                    "{general}, for each of the {records} {many}; delta times their number is {}, {verdict}.",
                    up(expected, 3)
                )
            }
        }
    }
}

/// Where epsilon stands; between the bands it is in none.
fn band(epsilon: f64) -> &'static str {
    match epsilon {
        _ if epsilon < 1.0 => "strong",
        _ if epsilon <= 2.0 => "strong, regulated",
        _ if epsilon <= 3.0 => "regulated",
        _ if epsilon < 4.0 => "between",
        _ if epsilon <= 8.0 => "industry",
        _ => "weak",
    }
}

/// A number that a person gave, times a hundred, without the digits that this brings.
fn plain(percent: f64) -> f64 {
    (percent * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bands_are_the_documented_ones() {
        let bands = [0.5, 1.0, 2.0, 2.001, 3.0, 3.5, 4.0, 8.0, 8.001].map(band);
        let (strong, both) = ("strong", "strong, regulated");
        let expected = [
            strong,
            both,
            both,
            "regulated",
            "regulated",
            "between",
            "industry",
            "industry",
            "weak",
        ];
        assert_eq!(bands, expected);
    }
}
