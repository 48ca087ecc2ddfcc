//! The largest or smallest value that keeps a budget, where cost rises or falls with it.

/// Relative accuracy of a searched number.
const ACCURACY: f64 = 1e-9;

/// The largest count with `fits`, 0 if none, `most` if all do. `fits` must be true up to there and false beyond.
pub fn largest_count<E>(most: u64, mut fits: impl FnMut(u64) -> Result<bool, E>) -> Result<u64, E> {
    let mut good = 0;
    let mut step = 1_u64;
    let mut bad = loop {
        if good == most {
            return Ok(most);
        }
        let next = good.saturating_add(step).min(most);
        if !fits(next)? {
            break next;
        }
        good = next;
        step = step.saturating_mul(4);
    };
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(good)
}

/// A positive number with `fits` next to one without, both in the range from `good` to `bad`; `good` must fit.
pub fn edge<E>(
    good: f64,
    bad: f64,
    mut fits: impl FnMut(f64) -> Result<bool, E>,
) -> Result<f64, E> {
    let (mut good, mut bad) = (good, bad);
    while (good / bad).ln().abs() > ACCURACY {
        let middle = (good * bad).sqrt();
        if fits(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn the_edge_is_found_from_the_safe_side() {
        for limit in [0, 1, 2, 3, 4, 5, 6, 1000, u64::MAX - 1, u64::MAX] {
            let found = largest_count(u64::MAX, |n| Ok::<_, Infallible>(n <= limit));
            assert_eq!(found, Ok(limit));
        }
        assert_eq!(largest_count(7, |_| Ok::<_, Infallible>(true)), Ok(7));
        let up = edge(1.0, 9.0, |x| Ok::<_, Infallible>(x <= 2.5)).unwrap();
        let down = edge(9.0, 1.0, |x| Ok::<_, Infallible>(x >= 2.5)).unwrap();
        assert!((2.5 - 1e-8..=2.5).contains(&up));
        assert!((2.5..2.5 + 1e-8).contains(&down));
    }
}
