//! What the bounds must notice.

extern crate std;
use super::super::normal::ln_delta;
use super::super::{Event, Run};
use super::compose::{Composed, compose};
use super::discretise::Side;
use super::plan::{Plan, Query, TAILS};
use super::query::{delta_at, epsilon_at};
use super::{DIRECTIONS, Pld, pld_workspace_len};
use std::vec;

const EPSILON: f64 = 4.3;
const EVENTS: [(Event, u64); 1] = [(Event::Gaussian { sigma: 10.0 }, 100)];

/// Delta on one side, with the composed measure moved by some buckets and another tilt.
fn delta(side: Side, moved: i32, tilt: Option<f64>) -> f64 {
    let run = Run::add_remove(&EVENTS);
    let mut workspace = vec![0.0; pld_workspace_len(1 << 14)];
    let mut pld = Pld::new(&mut workspace).expect("workspace");
    let mut plan = Plan::new(&run, DIRECTIONS[0], Query::Epsilon(EPSILON)).expect("plan");
    // Twice as wide as the plan wants, so that another tilt's law fits too.
    let interval = 2.0 * pld.interval(&run, &plan).expect("interval");
    if let Some(tilt) = tilt {
        // Without the tilt more of the tail beyond the window counts.
        plan.tilt = tilt;
        plan.top += 3.0;
    }
    let mut work = pld.parts().expect("parts");
    let law = compose(&run, DIRECTIONS[0], side, &plan, interval, &mut work).expect("law");
    let mut measure = law.measure.to_vec();
    let len = measure.len() as i32;
    measure.rotate_right(moved.rem_euclid(len) as usize);
    // A loss that moves takes its mass along, not its tilted mass.
    for mass in &mut measure {
        *mass *= libm::exp(law.theta * f64::from(moved));
    }
    let law = Composed {
        measure: &measure,
        ..law
    };
    delta_at(&law, plan.top, EPSILON).expect("inside")
}

fn truth() -> f64 {
    libm::exp(ln_delta(EPSILON, 1.0))
}

#[test]
#[cfg_attr(miri, ignore = "a composition takes Miri many minutes")]
fn one_bucket_is_seen() {
    // The last two have losses one bucket too low, or too high.
    let cases = [
        (Side::Above, 0, true),
        (Side::Below, 0, false),
        (Side::Above, -1, false),
        (Side::Below, 1, true),
    ];
    for (side, moved, is_above) in cases {
        let delta = delta(side, moved, None);
        assert_eq!(delta >= truth(), is_above, "{side:?} {moved}: {delta}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "a composition takes Miri many minutes")]
fn the_tilt_does_not_matter_where_rounding_does_not() {
    let tilted = delta(Side::Above, 0, None);
    let plain = delta(Side::Above, 0, Some(1.0));
    assert!(plain >= truth());
    assert!((plain / tilted - 1.0).abs() < 1e-4, "{plain} {tilted}");
}

/// Found by fuzzing: the buckets of a loss of 1e9 at an interval of 1e-12 are more than an i64 holds.
#[test]
fn a_window_too_far_away_has_no_answer() {
    let law = Composed {
        measure: &[1.0],
        interval: 1e-12,
        theta: 1e-12,
        ln_scale: 0.0,
        relative: 0.0,
        noise: 0.0,
        infinite: 0.0,
        tails: [(0.0, 0.0); TAILS],
        side: Side::Below,
    };
    for top in [1e9, f64::INFINITY, f64::NAN, -1e9] {
        assert_eq!(delta_at(&law, top, 1e9), None, "{top}");
        assert_eq!(epsilon_at(&law, top, 1e-6), None, "{top}");
    }
    assert!(epsilon_at(&law, 1e-9, 0.5).is_some());
}
