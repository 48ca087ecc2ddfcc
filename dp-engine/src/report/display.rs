use std::fmt;

use super::{
    AdaptiveClip, GroupStatement, PrivacyStatement, Sampler, SpentBefore, SpentEvent, Unit,
};
use crate::fingerprint::hex;

impl fmt::Display for PrivacyStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            delta,
            records,
            unit,
            units,
            rate,
            sigma,
            clip,
            ..
        } = self;
        let (whose, without) = match unit {
            Unit::Record => ("one record (add or remove it)", "that one record"),
            Unit::User { .. } => (
                "one user with all their records (add or remove them)",
                "that one user's records",
            ),
        };
        writeln!(
            f,
            "Guarantee: ({:.4}, {delta:e})-differential privacy for {whose}{}.",
            Up(self.upper),
            match &self.before {
                Some(_) => ", over this run and those before it",
                None => "",
            }
        )?;
        writeln!(
            f,
            "  Whatever anybody learns from the model{} is likelier, or less likely, by a factor of at most {} than it would be without \
             {without}, give or take a probability of {delta:e}.",
            if self.upper <= ABOUT_AS_WELL {
                format!(", they would have learnt about as well without {without}: it")
            } else {
                String::new()
            },
            Factor(self.upper)
        )?;
        writeln!(
            f,
            "Epsilon at delta {delta:e}: {:.6} (true value between {:.6} and {:.6}; target {}).",
            self.epsilon,
            Down(self.lower),
            Up(self.upper),
            self.target_epsilon
        )?;
        writeln!(
            f,
            "Steps spent: {} of {} planned{}.",
            self.steps,
            self.steps_planned,
            match self.unconfirmed {
                0 => String::new(),
                n => format!(" ({n} reserved without a confirmed release: counted as spent)"),
            }
        )?;
        let plural = match unit {
            Unit::Record => "records",
            Unit::User { .. } => "users",
        };
        match self.sampler {
            Sampler::Poisson => writeln!(
                f,
                "Sampler: Poisson; each of {units} {plural} is in a step with probability {rate}, independently, \
                 drawn from a secret key."
            )?,
            Sampler::Full => writeln!(f, "Sampler: none; all {units} {plural} are in every step.")?,
        }
        if let Unit::User { most_records, .. } = unit {
            writeln!(
                f,
                "  Of a user that is in a step, at most {most_records} records are used, by a draw that depends on no other user."
            )?;
        }
        let gradient = match unit {
            Unit::Record => "each record's gradient",
            Unit::User { .. } => {
                "each user's gradient, the mean over the records that are used, as one"
            }
        };
        match &self.adaptive_clip {
            None => writeln!(
                f,
                "Mechanism: {gradient} clipped to L2 norm {clip}, summed, and Gaussian noise added: sigma = \
                 {sigma} times {clip} * (1 + {}), the last factor for rounding.",
                self.eta
            )?,
            Some(AdaptiveClip {
                quantile,
                rate,
                count_std,
                sum_sigma,
                ..
            }) => writeln!(
                f,
                "Mechanism: {gradient} clipped to L2 norm C, summed, and Gaussian noise added: {sum_sigma} times C * (1 + {}), \
                 the last factor for rounding. How many {plural} of the step are within C is released with noise of standard \
                 deviation {count_std}; together that is sigma = {sigma}.\n  \
                 C began at {clip} and follows quantile {quantile} of the norms, by these noised counts alone, with learning rate {rate}.",
                self.eta
            )?,
        }
        for event in self
            .events
            .iter()
            .filter(|event| event.sigma != *sigma || event.rate != *rate || event.group != 1)
        {
            writeln!(f, "  Also spent: {event}.")?;
        }
        if let Some(before) = &self.before {
            writeln!(f, "{before}")?;
        }
        writeln!(f, "Accountant: {}.", self.accountant)?;
        writeln!(f, "Noise generator: {}.", self.rng)?;
        if self.without_noise.is_empty() {
            writeln!(f, "Computed from private records without noise: nothing.")?;
        } else {
            writeln!(
                f,
                "Computed from private records WITHOUT noise, outside the guarantee:"
            )?;
            for item in &self.without_noise {
                writeln!(f, "  - {item}")?;
            }
        }
        for group in &self.groups {
            writeln!(f, "{group}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "Warning: {warning}.")?;
        }
        writeln!(f, "Data set: {records} records, SHA-256 {}.", self.dataset)?;
        if let Unit::User { owners, .. } = unit {
            writeln!(
                f,
                "Users: {units}, SHA-256 of whose each record is {owners}."
            )?;
        }
        write!(
            f,
            "Ledger: {} records, head {}.",
            self.ledger_records, self.ledger_digest
        )
    }
}

impl fmt::Display for SpentEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rate,
            sigma,
            group,
            count,
            ..
        } = self;
        write!(f, "{count} times sigma {sigma}, rate {rate}, group {group}")
    }
}

impl fmt::Display for SpentBefore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Of it, spent by runs before this one on the same data set: epsilon at most {:.4}; by this run alone: at most {:.4}.",
            Up(self.upper),
            Up(self.this_run)
        )?;
        write!(
            f,
            "\n  That is for settings that were chosen without looking at what the earlier runs released. Where they followed from it, \
             rely on the sum of the runs: epsilon {:.4} at delta {:e}, if that total was fixed before the first of them. If a larger one was, \
             rely on that; if none was, no figure is proven.",
            Up(self.sum),
            self.sum_delta
        )?;
        for event in &self.events {
            write!(f, "\n  Before: {event}.")?;
        }
        for prior in &self.ledgers {
            let (records, head) = (prior.head.records, hex(&prior.head.digest));
            let path = prior.ledger.display();
            write!(f, "\n  Ledger {path}: {records} records, head {head}.")?;
        }
        Ok(())
    }
}

impl fmt::Display for GroupStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            records,
            delta,
            ..
        } = self;
        write!(
            f,
            "A {name} with {records} records has a weaker guarantee: "
        )?;
        match self.epsilon {
            Some(epsilon) => write!(f, "epsilon {:.4} at delta {delta:e}", Up(epsilon))?,
            None => write!(f, "no figure from the accountant at delta {delta:e}")?,
        }
        let (epsilon, delta) = (self.generic_epsilon, self.generic_delta);
        if delta < 1.0 {
            write!(
                f,
                " (the generic bound says epsilon {:.4} at delta {delta:e}).",
                Up(epsilon)
            )
        } else {
            write!(
                f,
                " (the generic bound, {records} times epsilon, promises nothing: its delta is 1)."
            )
        }
    }
}

/// The largest epsilon at which two probabilities may be called about the same: a factor of e.
const ABOUT_AS_WELL: f64 = 1.0;

/// Shows the factor that this epsilon is, rounded up: `e^epsilon`, with no more digits than say something.
struct Factor(f64);

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factor = self.0.exp();
        let digits = match factor {
            _ if factor < 10.0 => 2,
            _ if factor < 100.0 => 1,
            _ if factor < 1e6 => 0,
            // Nobody reads more of it than how long it is; as a power of ten it is also there where it is no f64 any more.
            _ => return write!(f, "10^{:.0}", Up(self.0 * std::f64::consts::LOG10_E)),
        };
        write!(f, "{:.digits$}", Up(factor))
    }
}

/// Shows a number with so many decimals, four where it isn't said, rounded up: a promise must not look better than it is.
struct Up(f64);

impl fmt::Display for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_sided(f, self.0, 1.0)
    }
}

/// The same rounded down, for what is not above the truth.
struct Down(f64);

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_sided(f, self.0, -1.0)
    }
}

/// Rounded to the nearest, and a unit of the last decimal further where that went to the other side than `side` says.
fn one_sided(f: &mut fmt::Formatter<'_>, value: f64, side: f64) -> fmt::Result {
    let digits = f.precision().unwrap_or(4);
    let nearest = format!("{value:.digits$}");
    let shown: f64 = nearest.parse().unwrap_or(value);
    if (shown - value) * side >= 0.0 || value.is_nan() {
        return f.write_str(&nearest);
    }
    let unit = 10f64.powi(-i32::try_from(digits).unwrap_or(4));
    write!(f, "{:.digits$}", shown + side * unit)
}
