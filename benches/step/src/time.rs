//! What a step took.

use dp_burn::profile::{Start, Timing};

/// Two steps that ran one after the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The private one.
    pub private: Timing,
    /// The ordinary one.
    pub ordinary: Timing,
}

/// Times `work`, which waits for the device itself.
pub(crate) fn time<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Timing), E> {
    let start = Start::now();
    let done = work()?;
    Ok((done, start.elapsed()))
}

/// The median over the pairs of private / ordinary, by what `of` takes from a timing.
#[must_use]
pub fn median_ratio(pairs: &[Pair], of: impl Fn(&Timing) -> f64) -> f64 {
    let ratios = pairs
        .iter()
        .map(|pair| of(&pair.private) / of(&pair.ordinary));
    median(ratios.collect())
}

/// The median; of an even number of values the mean of the middle two, of none NaN.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (None, _) => f64::NAN,
        (Some(value), 1) => *value,
        (Some(value), _) => (value + values[middle - 1]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!(median(vec![]).is_nan());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    /// The ratio is taken within a pair, so that load that comes and goes hits both.
    #[test]
    fn the_ratio_is_of_neighbours() {
        let timing = |wall| Timing {
            wall,
            processor: None,
        };
        let pairs = [(1.2, 1.0), (12.0, 10.0), (5.0, 1.0)].map(|(private, ordinary)| Pair {
            private: timing(private),
            ordinary: timing(ordinary),
        });
        assert!((median_ratio(&pairs, |timing| timing.wall) - 1.2).abs() < 1e-12);
    }
}
