//! Runs that can be integrated by hand: two steps on a grid, and a contour over Gaussian events.

mod common;

use common::sized;
use dp_core::accounting::{
    Accountant, Adjacency, ContourMark, Event, Exact, LawNode, Rdp, Run, Workspace, delta, epsilon,
};

/// Delta of two sampled steps, the worse direction, by the midpoint rule over both outputs.
fn two_steps(rate: f64, sigma: f64, epsilon: f64) -> f64 {
    const NODES: usize = sized(3000, 200);
    let (from, to) = (-9.0 * sigma, 9.0 * sigma + 1.0);
    let width = (to - from) / NODES as f64;
    let points: Vec<(f64, f64)> = (0..NODES)
        .map(|i| {
            let x = from + width * (i as f64 + 0.5);
            let base = (-x * x / (2.0 * sigma * sigma)).exp()
                / (sigma * (2.0 * std::f64::consts::PI).sqrt());
            let ratio = 1.0 - rate + rate * ((2.0 * x - 1.0) / (2.0 * sigma * sigma)).exp();
            (base * width, ratio)
        })
        .collect();
    let bar = epsilon.exp();
    let (mut remove, mut add) = (0.0, 0.0);
    for &(q1, r1) in &points {
        for &(q2, r2) in &points {
            let ratio = r1 * r2;
            remove += q1 * q2 * (ratio - bar).max(0.0);
            add += q1 * q2 * (1.0 - bar * ratio).max(0.0);
        }
    }
    f64::max(remove, add)
}

#[test]
fn two_steps_match_direct_integration() {
    for (rate, sigma, at) in [
        (0.9, 1.5, 0.1),
        (0.1, 1.0, 0.3),
        (0.3, 0.8, 1.0),
        (0.5, 2.0, 0.2),
        (0.02, 1.0, 0.05),
        // The slow corner, where the answer is allowed to be wide but not wrong.
        (0.01, 3.0, 0.002),
        (0.005, 3.0, 0.005),
    ]
    .into_iter()
    .take(sized(7, 1))
    {
        let precision = sized(1e-4, 1e-2);
        let event = Event::PoissonGaussian { rate, sigma };
        let bounds = delta(&[(event, 2)], at).expect("two steps");
        let truth = two_steps(rate, sigma, at);
        println!("q {rate} sigma {sigma} eps {at}: {bounds:?}, by hand {truth:e}");
        assert!(
            bounds.lower <= truth * (1.0 + precision),
            "{bounds:?} {truth}"
        );
        assert!(
            bounds.upper >= truth * (1.0 - precision),
            "{bounds:?} {truth}"
        );
        if bounds.relative_width() < 1e-6 {
            assert!(
                (bounds.estimate / truth - 1.0).abs() < precision,
                "{bounds:?} {truth}"
            );
        }
    }
}

#[test]
fn the_contour_adds_gaussian_events() {
    // A rate this near to one is a Gaussian to ten digits, but goes by the contour.
    let nearly_full = Event::PoissonGaussian {
        rate: 1.0 - 1e-12,
        sigma: 4.0,
    };
    let gaussian = |sigma| Event::Gaussian { sigma };
    for (n, m) in [(50, 30), (1, 200), (500, 1)].into_iter().take(sized(3, 1)) {
        let contour = epsilon(&[(nearly_full, n), (gaussian(5.0), m)], 1e-6).expect("contour");
        let closed = epsilon(&[(gaussian(4.0), n), (gaussian(5.0), m)], 1e-6).expect("closed");
        let error = contour.estimate / closed.estimate - 1.0;
        assert!(error.abs() < 1e-9, "{contour:?} {closed:?}");
    }
}

#[test]
fn a_billion_steps_cost_no_digits() {
    // The same total by many small steps and by the central limit they are at.
    let event = Event::PoissonGaussian {
        rate: 1e-6,
        sigma: 100.0,
    };
    let spent = epsilon(&[(event, 1_000_000_000)], 1e-6).expect("epsilon");
    // Variance of one loss: rate^2 (e^{1/sigma^2} - 1).
    let mu = (1e9 * 1e-12 * (1e-4f64).exp_m1()).sqrt();
    let limit = epsilon(&[(Event::Gaussian { sigma: 1.0 / mu }, 1)], 1e-6).expect("limit");
    assert!(spent.relative_width() < 1e-6, "{spent:?}");
    assert!(
        (spent.estimate / limit.estimate - 1.0).abs() < 1e-3,
        "{spent:?} {limit:?}"
    );
}

/// Losses at atoms meet again on the contour after they have cancelled: a sum that ended where they cancel would
/// miss what comes back. A Gaussian event far too weak to matter takes such runs off their closed forms.
#[test]
#[cfg_attr(miri, ignore = "its smallest case takes Miri many minutes")]
fn atoms_that_cancel_come_back() {
    let nothing = (Event::Gaussian { sigma: 1e5 }, 1);
    let mut memory = Box::new(Workspace::<8192, 4096>::new());
    let mut narrow = 0;
    for (adjacency, event, count, delta) in [
        (
            Adjacency::ReplaceOne,
            Event::RandomizedResponse {
                noise: 0.8,
                buckets: 4,
            },
            100,
            1e-9,
        ),
        (
            Adjacency::AddRemove,
            Event::ApproximateDp {
                epsilon: 0.1,
                delta: 0.0,
            },
            400,
            1e-6,
        ),
        (
            Adjacency::AddRemove,
            Event::Laplace { scale: 2.0 },
            200,
            1e-6,
        ),
        (
            Adjacency::AddRemove,
            Event::DiscreteGaussian {
                sigma: 3.0,
                sensitivity: 1,
            },
            50,
            1e-6,
        ),
        (
            Adjacency::AddRemove,
            Event::DiscreteLaplace {
                decay: 0.3,
                sensitivity: 5,
            },
            60,
            1e-6,
        ),
    ] {
        let mut ask = |events: &[(Event, u64)]| {
            let run = Run { adjacency, events };
            Exact::new(&mut memory).epsilon(run, delta)
        };
        let alone = ask(&[(event, count)]).expect("closed form or lattice");
        assert!(alone.relative_width() < 1e-8, "{event:?}: {alone:?}");
        // No answer is honest here, a wrong one is not.
        if let Ok(with) = ask(&[(event, count), nothing]) {
            println!("{event:?}: {alone:?} {with:?}");
            assert!(with.upper >= alone.lower, "{event:?}: {alone:?} {with:?}");
            assert!(
                with.lower <= alone.upper * (1.0 + 1e-3),
                "{event:?}: {alone:?} {with:?}"
            );
            narrow += u32::from(with.relative_width() < 1e-2);
        }
    }
    assert!(
        narrow >= 2,
        "only {narrow} of the mixed runs have an answer"
    );
}

/// Delta far below what a small workspace resolves: where the curve is smoothed for it, what was split off and the aliases grow with
/// the smoothing. Without that the bound came out as good as zero.
#[test]
#[cfg_attr(miri, ignore = "its smallest case takes Miri many minutes")]
fn smoothing_does_not_hide_what_was_split_off() {
    let event = Event::PoissonGaussian {
        rate: 0.004_114_9,
        sigma: 2.541,
    };
    let events = [(event, 5)];
    let mut last = f64::INFINITY;
    for at in [3.07, 3.2, 3.4, 3.6, 3.72] {
        let mut workspace = Box::new(Workspace::<1024, 256>::new());
        let small = Exact::new(&mut workspace).delta(Run::add_remove(&events), at);
        let known = delta(&events, at).expect("a bound");
        assert!(
            known.relative_width() < 1e-3 && known.upper < last,
            "{at}: {known:?}"
        );
        last = known.lower;
        if let Ok(small) = small {
            assert!(
                small.lower <= known.upper && known.lower <= small.upper,
                "{at}: {small:?} {known:?}"
            );
        }
    }
}

/// What is left above an edge may be a tiny part of a step's moment (here 1e-12): what the nodes miss of the moment is then no longer
/// small against it. Truths: the first by integration at 40 digits, the second by convolving the law on grids of 4e-4 and 2e-4,
/// extrapolated.
#[test]
#[cfg_attr(miri, ignore = "its smallest case takes Miri many minutes")]
fn what_the_nodes_miss_is_small_against_what_a_split_leaves() {
    for (rate, sigma, steps, at, truth, precision) in [
        (
            0.001_669_832_644_171_916_3,
            1.865_503_149_671_955_2,
            2,
            0.079_749_502_671_599_54,
            1.982_176_077_764_23e-16,
            1e-12,
        ),
        (0.004_114_9, 2.541, 5, 3.07, 1.023_630_72e-105, 1e-7),
    ] {
        let events = [(Event::PoissonGaussian { rate, sigma }, steps)];
        for (nodes, points) in [(1024, 256), (2048, 1024), (8192, 4096)] {
            let mut nodes = vec![LawNode::EMPTY; nodes];
            let mut points = vec![ContourMark::EMPTY; points];
            let mut exact = Exact::in_slices(&mut nodes, &mut points);
            let bounds = exact.delta(Run::add_remove(&events), at).expect("a bound");
            assert!(
                bounds.lower <= truth * (1.0 + precision)
                    && truth * (1.0 - precision) <= bounds.upper,
                "{truth} is not in {bounds:?} of {} nodes",
                nodes.len()
            );
        }
        let known = delta(&events, at).expect("a bound");
        assert!(known.relative_width() < 1e-3, "{known:?}");
    }
}

/// Balls in bins composed with others: what dominates them from above, what they leak alone from below.
#[test]
#[cfg_attr(miri, ignore = "its smallest case takes Miri many minutes")]
fn balls_in_bins_compose_as_what_dominates_them() {
    let bins = Event::BallsInBinsGaussian {
        bins: 10,
        epochs: 1,
        sigma: 1.0,
    };
    let gaussian = Event::Gaussian { sigma: 1.0 };
    let step = Event::PoissonGaussian {
        rate: 0.01,
        sigma: 1.0,
    };
    let alone = epsilon(&[(bins, 1)], 1e-5).expect("bounds");
    assert!(alone.relative_width() < 1e-3);
    for (others, times) in [(vec![], 2), (vec![(step, 100)], 1)] {
        let run = |first: Event| [vec![(first, times)], others.clone()].concat();
        let (ours, above) = (run(bins), run(gaussian));
        let bounds = epsilon(&ours, 1e-5).expect("bounds");
        let dominating = epsilon(&above, 1e-5).expect("bounds");
        assert_eq!(bounds.upper, dominating.upper);
        assert!(bounds.lower >= alone.lower && bounds.lower <= bounds.upper);
        let (here, there) = (
            delta(&ours, 1.0).expect("bounds"),
            delta(&above, 1.0).expect("bounds"),
        );
        assert_eq!(here.upper, there.upper);
        assert!(here.lower <= here.upper && here.lower > 0.0);
    }
}

/// Two steps whose losses hardly leave the largest one: the contour has no bound there, the moments have.
#[test]
#[cfg_attr(miri, ignore = "its smallest case takes Miri many minutes")]
fn losses_that_end_are_answered_near_their_end() {
    for rate in [0.9052440144977026, 0.5] {
        let events = [(Event::PoissonLaplace { rate, scale: 1.0 }, 2)];
        let run = Run::add_remove(&events);
        let largest = 2.0 * (1.0 - rate + rate * 1f64.exp()).ln();
        let mut workspace = Box::new(Workspace::<8192, 4096>::new());
        let mut last = 0.0;
        for ln_delta in [-5.0, -23.0, -44.62436644007106] {
            let target = f64::exp(ln_delta);
            let answer = Exact::new(&mut workspace)
                .epsilon(run, target)
                .expect("an answer");
            assert!(
                answer.upper <= largest * (1.0 + 1e-9),
                "{answer:?} above {largest}"
            );
            assert!(answer.upper >= last, "{answer:?} after {last}");
            // The moments' bound is theirs too, over all real orders.
            let rdp = Rdp.epsilon(run, target).expect("an answer");
            assert!(
                answer.upper <= rdp.upper * (1.0 + 1e-5),
                "{answer:?} {rdp:?}"
            );
            assert!(answer.lower <= rdp.upper, "{answer:?} {rdp:?}");
            // Two such outputs alone have delta at that epsilon.
            let at = 0.999 * answer.lower;
            let back = Exact::new(&mut workspace)
                .delta(run, at)
                .expect("an answer");
            assert!(back.upper >= target, "{back:?} at {at}");
            last = answer.lower;
        }
        // Both outputs beyond the record's value have the largest loss.
        let chance = ((1.0 - rate) * 0.5 * f64::exp(-1.0) + rate * 0.5).powi(2);
        let below = Exact::new(&mut workspace)
            .delta(run, 0.999 * largest)
            .expect("an answer");
        assert!(
            below.upper >= chance * (1.0 - (-0.001 * largest).exp()),
            "{below:?} {chance}"
        );
    }
}
