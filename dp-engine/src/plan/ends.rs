//! What the ends of the noise leave bare: noise ends where a normal distribution doesn't.

use dp_core::accounting::Event;
use dp_core::noise::normal::LARGEST_NORMAL;

/// Parameters that a plan thinks of.
const MOST_PARAMETERS: f64 = (1u64 << 40) as f64;

/// An upper bound on the probability that a unit moves a value, in any of these events, past where noise of a normal's tails ends, in a model of up to 2^40
/// parameters: whoever sees such a value knows that the unit is there (docs/proofs/gaussian-noise.md).
pub(super) fn beyond(events: &[(Event, u64)]) -> f64 {
    let of_each = events
        .iter()
        .map(|&(event, count)| count as f64 * beyond_in_one(event));
    of_each.sum::<f64>().min(1.0)
}

fn beyond_in_one(event: Event) -> f64 {
    // How often the unit is drawn, and by how many of the noise's standard deviations it then moves the sum.
    let (times, shift) = match event {
        Event::Gaussian { sigma } => (1.0, 1.0 / sigma),
        Event::PoissonGaussian { rate, sigma } => (rate, 1.0 / sigma),
        // At most as often as all of its records together, and at most by all of them.
        Event::GroupPoissonGaussian { rate, sigma, group } => {
            let group = f64::from(group);
            (rate * group, group / sigma)
        }
        // No plan and no ledger holds another one; of its noise nothing is said.
        _ => return 1.0,
    };
    let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let left = LARGEST_NORMAL - shift;
    // A tail is less than its density by Mills' ratio; nothing is said where it is none.
    let of_one = if left > 1.0 {
        density(left) / left
    } else {
        1.0
    };
    let of_all = density(LARGEST_NORMAL) * MOST_PARAMETERS.sqrt() * shift;
    times * (of_one + of_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Event = Event::PoissonGaussian {
        rate: 0.01,
        sigma: 0.8,
    };

    fn near(a: f64, b: f64) {
        assert!((a / b - 1.0).abs() < 1e-12, "{a} {b}");
    }

    /// The note's figures: sigma 1, 20 draws and 2^40 parameters.
    #[test]
    fn a_draw_costs_what_the_note_says() {
        for (sigma, expected) in [(1.0, 2e-13), (0.5, 1e-12)] {
            let bare = beyond(&[(Event::Gaussian { sigma }, 20)]);
            assert!(
                (0.5 * expected..1.5 * expected).contains(&bare),
                "{sigma}: {bare}"
            );
        }
    }

    #[test]
    fn events_add_up_each_with_its_own_noise() {
        let full = Event::Gaussian { sigma: 2.0 };
        let (steps, fulls) = (beyond(&[(STEP, 100)]), beyond(&[(full, 3)]));
        near(beyond(&[(STEP, 100), (full, 3)]), steps + fulls);
        near(beyond(&[(STEP, 60), (STEP, 40)]), steps);
        near(beyond(&[(Event::Gaussian { sigma: 0.8 }, 1)]), steps);
        assert_eq!(beyond(&[]), 0.0);
        assert_eq!(beyond(&[(full, u64::MAX)]), 1.0);
    }

    #[test]
    fn a_group_is_drawn_more_often_and_moves_more() {
        let of = |group| Event::GroupPoissonGaussian {
            rate: 0.01,
            sigma: 0.8,
            group,
        };
        near(beyond(&[(of(1), 100)]), beyond(&[(STEP, 100)]));
        let twice = Event::PoissonGaussian {
            rate: 0.02,
            sigma: 0.4,
        };
        near(beyond(&[(of(2), 100)]), beyond(&[(twice, 100)]));
    }

    #[test]
    fn of_noise_that_is_not_known_all_is_bare() {
        assert_eq!(beyond(&[(Event::Laplace { scale: 9.0 }, 1)]), 1.0);
        assert_eq!(beyond(&[(Event::Gaussian { sigma: 0.1 }, 1)]), 1.0);
    }
}
