//! Which engine of the accountant a figure comes from, in words.

use dp_core::accounting::{Accountant, Bounds, ContourMark, Event, Exact, LawNode, Run};

use crate::accountant::{MARKS, NODES};

/// The widest bounds that are called exact: those for which no second engine is asked.
const NARROW: f64 = 1e-7;

/// How the accountant came to `answer`, its bounds on epsilon of `spent` at `delta`.
///
/// It doesn't say. So the exact engine is asked once more, alone: what it says by itself is its answer, and anything else has another engine in it.
pub(super) fn that_answered(spent: &[(Event, u64)], delta: f64, answer: Bounds) -> &'static str {
    let mut nodes = vec![LawNode::EMPTY; NODES];
    let mut marks = vec![ContourMark::EMPTY; MARKS];
    let alone = Exact::in_slices(&mut nodes, &mut marks).epsilon(Run::add_remove(spent), delta);
    in_words(alone.ok(), answer)
}

fn in_words(alone: Option<Bounds>, answer: Bounds) -> &'static str {
    match alone {
        None => {
            "privacy loss distribution on a grid, since the contour integral has no bound here; both directions of add/remove"
        }
        Some(alone) if alone != answer => {
            "the narrower of the bounds by the contour integral of the privacy loss distribution, which are wide here, and by that distribution on a \
             grid; both directions of add/remove"
        }
        Some(_) if answer.relative_width() <= NARROW => {
            "exact: closed form or contour integral of the privacy loss distribution, both directions of add/remove"
        }
        Some(_) => {
            "contour integral of the privacy loss distribution, whose bounds are wide here; both directions of add/remove"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(lower: f64, upper: f64) -> Bounds {
        Bounds {
            lower,
            estimate: upper,
            upper,
        }
    }

    #[test]
    fn only_a_narrow_answer_of_the_exact_engine_is_exact() {
        let narrow = bounds(2.0, 2.0 + 1e-9);
        for answer in [narrow, bounds(0.0, 0.0)] {
            assert!(in_words(Some(answer), answer).starts_with("exact: "));
        }
        let wide = bounds(1.0, 3.0);
        for (alone, words) in [
            (Some(wide), "bounds are wide"),
            (Some(bounds(0.5, 4.0)), "the narrower of"),
            (None, "on a grid, since"),
        ] {
            let said = in_words(alone, wide);
            assert!(!said.contains("exact") && said.contains(words), "{said}");
        }
        // However narrow, another engine's answer is no contour integral.
        assert!(!in_words(None, narrow).contains("exact"));
        assert!(!in_words(Some(wide), narrow).contains("exact"));
    }
}
