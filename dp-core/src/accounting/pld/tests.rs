//! What the bounds must notice.

extern crate std;
use super::super::normal::ln_delta;
use super::super::{Event, Run};
use super::compose::{Composed, compose};
use super::discretise::Side;
use super::plan::{Plan, Query};
use super::query::delta_at;
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
