//! What is told of a list of times.

/// Order statistics of some times, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many.
    pub n: usize,
    /// The shortest.
    pub min: f64,
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The smallest that at least 95% of them don't exceed (nearest rank).
    pub p95: f64,
}

impl Summary {
    /// Of `times` in any order; `None` where there is none, or one is not a number.
    #[must_use]
    pub fn of(times: &[f64]) -> Option<Self> {
        if times.is_empty() || times.iter().any(|time| time.is_nan()) {
            return None;
        }
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let middle = n / 2;
        let median = if n.is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        // In integers: 0.95 n in f64 can land above the whole number that it is.
        let rank = (95 * n).div_ceil(100);
        Some(Self {
            n,
            min: sorted[0],
            median,
            p95: sorted[rank - 1],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(n: u32) -> Vec<f64> {
        // Not in order: 7 is prime to every n used here.
        (0..n).map(|i| f64::from(i * 7 % n + 1)).collect()
    }

    #[test]
    fn known_lists() {
        let of = |times: &[f64]| {
            let Summary {
                n,
                min,
                median,
                p95,
            } = Summary::of(times).unwrap();
            (n, min, median, p95)
        };
        assert_eq!(of(&[3.0]), (1, 3.0, 3.0, 3.0));
        assert_eq!(of(&[4.0, 1.0]), (2, 1.0, 2.5, 4.0));
        assert_eq!(of(&[9.0, 1.0, 2.0]), (3, 1.0, 2.0, 9.0));
        assert_eq!(of(&up_to(19)), (19, 1.0, 10.0, 19.0));
        assert_eq!(of(&up_to(20)), (20, 1.0, 10.5, 19.0));
        assert_eq!(of(&up_to(100)), (100, 1.0, 50.5, 95.0));
        assert_eq!(of(&up_to(101)), (101, 1.0, 51.0, 96.0));
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
    }
}
