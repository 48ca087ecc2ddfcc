use dp_core::accounting::{self, Event};
use serde::{Deserialize, Serialize};

use crate::accountant;

/// The guarantee for a person who owns several records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupStatement {
    /// What the group is called, for example "patient".
    pub name: String,
    /// Records of the group.
    pub records: u32,
    /// Upper bound on epsilon at `delta` for the whole group, by the mixture of Gaussians; `None` where the
    /// accountant gives no answer.
    pub epsilon: Option<f64>,
    /// Failure probability, that of the run.
    pub delta: f64,
    /// Epsilon of the generic bound, which knows nothing of the mechanism: `records` times the run's.
    pub generic_epsilon: f64,
    /// Delta of the generic bound; 1 says that the bound promises nothing.
    pub generic_delta: f64,
}

impl GroupStatement {
    /// The guarantee of `spent` for a group of `records` records, whose run as a whole has `epsilon` at `delta`
    /// for one record.
    #[must_use]
    pub fn new(
        name: String,
        records: u32,
        spent: &[(Event, u64)],
        epsilon: f64,
        delta: f64,
    ) -> Self {
        let events: Option<Vec<_>> = spent
            .iter()
            .map(|&(event, n)| Some((of_group(event, records)?, n)))
            .collect();
        let bounds = events.and_then(|events| accountant::of_spent(&events, delta).ok());
        let (generic_epsilon, generic_delta) = accounting::group_privacy(epsilon, delta, records);
        Self {
            name,
            records,
            epsilon: bounds.map(|bounds| bounds.upper),
            delta,
            generic_epsilon,
            generic_delta,
        }
    }
}

/// The event as a group of records sees it: they are drawn independently, and all added or removed together.
fn of_group(event: Event, records: u32) -> Option<Event> {
    let (rate, sigma, group) = match event {
        Event::Gaussian { sigma } => (1.0, sigma, records),
        Event::PoissonGaussian { rate, sigma } => (rate, sigma, records),
        Event::GroupPoissonGaussian { rate, sigma, group } => {
            (rate, sigma, group.checked_mul(records)?)
        }
        _ => return None,
    };
    Some(if rate < 1.0 {
        Event::GroupPoissonGaussian { rate, sigma, group }
    } else {
        // All of the group is in every batch: the sum moves by up to `group` clipping norms.
        Event::Gaussian {
            sigma: sigma / f64::from(group),
        }
    })
}
