//! Trade-off curves, adversaries, calibrations and budgets, from several engines.

mod common;

use common::sized;
use dp_core::accounting::{
    Accountant, AccountingError, Adjacency, Bounds, Event, Gdp, Rdp, Run, Target, belief,
    calibrate_noise, calibrate_rate, calibrate_sigma, calibrate_steps, delta, epsilon, gdp_delta,
    gdp_epsilon, gdp_limit, gdp_mu, membership_advantage, positive_predictive_value,
    posterior_belief, remaining_epsilon, remaining_steps, trade_off, trade_off_curve,
    true_positive_rate,
};
use proptest::prelude::*;

/// The exact engine under add/remove; counts what it is asked.
#[derive(Default)]
struct Counted {
    calls: u32,
}

impl Accountant for Counted {
    fn delta(&mut self, run: Run<'_>, at: f64) -> Result<Bounds, AccountingError> {
        self.calls += 1;
        delta(run.events, at)
    }

    fn epsilon(&mut self, run: Run<'_>, at: f64) -> Result<Bounds, AccountingError> {
        self.calls += 1;
        epsilon(run.events, at)
    }
}

fn poisson(rate: f64, sigma: f64) -> Event {
    Event::PoissonGaussian { rate, sigma }
}

/// `Phi(Phi^-1(1 - alpha) - mu)` by mpmath 1.3 at 40 digits: mu, alpha, beta.
const GAUSSIAN: [(f64, f64, f64); 9] = [
    (0.01, 1e-6, 0.999_998_949_322_593),
    (0.01, 0.05, 0.948_960_132_148_909_5),
    (0.01, 0.9, 0.098_256_243_272_885_72),
    (1.0, 1e-6, 0.999_912_782_389_859_6),
    (1.0, 0.05, 0.740_488_977_158_555_9),
    (1.0, 0.9, 0.011_257_914_512_604_762),
    (4.0, 1e-6, 0.774_402_510_146_184_9),
    (4.0, 0.05, 0.009_257_705_373_495_398),
    (4.0, 0.9, 6.404720903401641e-08),
];

#[test]
fn gaussian_trade_off_is_the_closed_form() {
    for (mu, alpha, beta) in GAUSSIAN {
        let events = [(Event::Gaussian { sigma: 1.0 / mu }, 1)];
        let run = Run::add_remove(&events);
        let mut engine = Counted::default();
        for found in [
            trade_off(&mut engine, run, alpha).unwrap(),
            trade_off(&mut Gdp, run, alpha).unwrap(),
        ] {
            assert!(
                found.lower <= beta * (1.0 + 1e-13) && beta <= found.upper * (1.0 + 1e-13),
                "{mu} {alpha}: {found:?} {beta}"
            );
            assert!(
                found.upper - found.lower <= 1e-8 * (1.0 - alpha),
                "{mu} {alpha}: {found:?}"
            );
        }
        assert!(engine.calls <= 60, "{mu} {alpha}: {} calls", engine.calls);
    }
}

/// The worst (eps, delta) mechanism has the piecewise linear curve of its one pair.
#[test]
fn pure_trade_off_from_an_engine_with_kinks() {
    struct Pure;
    impl Accountant for Pure {
        fn delta(&mut self, _: Run<'_>, at: f64) -> Result<Bounds, AccountingError> {
            let (e0, d0) = (1.0f64, 0.01);
            let finite = ((e0.exp() - at.exp()) / (1.0 + e0.exp())).max(0.0);
            let value = d0 + (1.0 - d0) * finite;
            Ok(Bounds {
                lower: value,
                estimate: value,
                upper: value,
            })
        }
        fn epsilon(&mut self, _: Run<'_>, _: f64) -> Result<Bounds, AccountingError> {
            Err(AccountingError::UndefinedEngine)
        }
    }
    let e = 1f64.exp();
    for alpha in [1e-3, 0.05, 0.2, 0.2663, 0.4, 0.8, 0.985, 0.995] {
        let found = trade_off(&mut Pure, Run::add_remove(&[]), alpha).unwrap();
        let truth = (1.0 - 0.01 - e * alpha)
            .max((1.0 - 0.01 - alpha) / e)
            .max(0.0);
        assert!(
            found.lower <= truth + 1e-15 && truth <= found.upper + 1e-15,
            "{alpha}: {found:?} {truth}"
        );
        assert!(found.upper - found.lower < 1e-3, "{alpha}: {found:?}");
        assert!(
            (found.lower - truth).abs() < 1e-3,
            "{alpha}: {found:?} {truth}"
        );
    }
}

#[test]
fn a_curve_is_its_points_and_checks_its_lengths() {
    // Miri gets the closed form: a curve asks the engine some hundred times.
    let events = [sized((poisson(0.01, 1.0), 1000), (poisson(1.0, 1.0), 1))];
    let run = Run::add_remove(&events);
    let alphas = [1e-6, 1e-3, 0.1, 0.5, 0.9, 1.0];
    let mut betas = [Bounds {
        lower: 0.0,
        estimate: 0.0,
        upper: 0.0,
    }; 6];
    let mut engine = Counted::default();
    trade_off_curve(&mut engine, run, &alphas, &mut betas).unwrap();
    for (alpha, beta) in alphas.iter().zip(betas) {
        let one = trade_off(&mut engine, run, *alpha).unwrap();
        assert!(
            one.lower <= beta.upper && beta.lower <= one.upper,
            "{alpha}"
        );
        assert!(beta.upper - beta.lower < 1e-7, "{alpha}: {beta:?}");
        assert!(beta.lower <= beta.estimate && beta.estimate <= beta.upper);
    }
    assert!(betas.windows(2).all(|w| w[1].lower <= w[0].upper));
    assert_eq!(
        trade_off_curve(&mut engine, run, &alphas, &mut betas[1..]),
        Err(AccountingError::WrongLength {
            expected: 6,
            given: 5
        })
    );
    for bad in [f64::NAN, -0.1, 1.1] {
        assert!(matches!(
            trade_off(&mut engine, run, bad),
            Err(AccountingError::InvalidProbability { .. })
        ));
    }
}

/// For a Gaussian: advantage `2 Phi(mu/2) - 1`, rate `Phi(mu - Phi^-1(1 - fpr))`, loss quantile `mu^2/2 + mu Phi^-1(1 - delta)`.
#[test]
fn adversaries_of_a_gaussian() {
    let events = [(Event::Gaussian { sigma: 1.0 }, 1)];
    let run = Run::add_remove(&events);
    let mut engine = Counted::default();
    let advantage = membership_advantage(&mut engine, run).unwrap();
    assert!(advantage.lower <= 0.382_924_922_548_026_2 && advantage.upper >= 0.382_924_922_548_026);
    assert!(advantage.relative_width() < 1e-12);
    let rate = true_positive_rate(&mut engine, run, 0.05).unwrap();
    let truth = 1.0 - 0.740_488_977_158_555_9;
    assert!(
        rate.lower <= truth && truth <= rate.upper && rate.upper - rate.lower < 1e-8,
        "{rate:?}"
    );
    let precision = positive_predictive_value(&mut engine, run, 0.1, 0.05).unwrap();
    let truth = 0.1 * truth / (0.1 * truth + 0.9 * 0.05);
    assert!(
        precision.lower <= truth
            && truth <= precision.upper
            && precision.upper - precision.lower < 1e-7
    );
    for delta in [0.1, 1e-3, 1e-6, 1e-9] {
        let quantile = 0.5 + normal_quantile(delta);
        let after = posterior_belief(&mut engine, run, 0.3, delta).unwrap();
        let truth = 1.0 / (1.0 + 0.7 / 0.3 * (-quantile).exp());
        assert!(
            after.lower <= truth && truth <= after.upper,
            "{delta}: {after:?} {truth}"
        );
        assert!(after.upper < 1.0 && after.lower > 0.3);
    }
}

/// `Phi^-1(1 - p)` for the four that are used (mpmath 1.3).
fn normal_quantile(p: f64) -> f64 {
    match p {
        0.1 => 1.281_551_565_544_600_4,
        1e-3 => 3.090_232_306_167_813_6,
        1e-6 => 4.753_424_308_822_899,
        1e-9 => 5.997_807_015_007_686,
        _ => unreachable!(),
    }
}

#[test]
fn belief_of_pure_privacy() {
    assert!((belief(0.5, 0.0).unwrap() - 0.5).abs() < 1e-15);
    assert!((belief(0.01, 3.0).unwrap() - 0.168_664_788_706_820_06).abs() < 1e-12);
    assert_eq!(belief(0.5, f64::INFINITY).unwrap(), 1.0);
    for bad in [0.0, 1.0, f64::NAN] {
        assert!(matches!(
            belief(bad, 1.0),
            Err(AccountingError::InvalidProbability { .. })
        ));
    }
    assert!(matches!(
        belief(0.5, f64::NAN),
        Err(AccountingError::InvalidEpsilon { .. })
    ));
    // A pure mechanism's belief is the closed form's, to what a delta of 1e-12 costs.
    let events = [(
        Event::ApproximateDp {
            epsilon: 1.0,
            delta: 0.0,
        },
        1,
    )];
    let after = posterior_belief(&mut Rdp, Run::add_remove(&events), 0.5, 1e-12).unwrap();
    assert!(
        after.upper >= 0.731_058_578_630_004_9 && after.upper < 0.732,
        "{after:?}"
    );
}

#[test]
fn gdp_rows_and_proven_mu() {
    // r032, r035.
    for (mu, delta, truth) in [
        (0.01, 1e-3, 0.009_048_072_593_038_798),
        (1.0, 1e-9, 6.173_935_046_670_908),
    ] {
        let direct = gdp_epsilon(mu, delta).unwrap();
        let events = [(Event::Gaussian { sigma: 1.0 / mu }, 1)];
        let run = Gdp.epsilon(Run::add_remove(&events), delta).unwrap();
        for found in [direct, run] {
            assert!(
                found.lower <= truth && truth <= found.upper && found.relative_width() < 1e-10,
                "{found:?}"
            );
        }
        let back = gdp_delta(mu, truth).unwrap();
        assert!((back.upper / delta - 1.0).abs() < 1e-9);
    }
    // A pure event of epsilon 1 is covered by mu = 2 Phi^-1(e / (1 + e)).
    let mu_of = |event: Event| gdp_mu(Run::add_remove(&[(event, 1)])).unwrap().upper;
    let pure = mu_of(Event::ApproximateDp {
        epsilon: 1.0,
        delta: 0.0,
    });
    assert!((pure / 1.232_035_385_344_901 - 1.0).abs() < 1e-13, "{pure}");
    // It covers it: at every epsilon the exact delta of the pure event is no larger, and at zero they meet.
    for e0 in [1e-6f64, 1e-3, 0.1, 1.0, 10.0, 1e3] {
        let mu = mu_of(Event::ApproximateDp {
            epsilon: e0,
            delta: 0.0,
        });
        for share in [0.0, 0.3, 0.9, 0.999] {
            let at = share * e0;
            let exact = -(at - e0).exp_m1() / (1.0 + (-e0).exp());
            let covered = gdp_delta(mu, at).unwrap().upper;
            assert!(
                covered >= exact * (1.0 - 1e-12),
                "{e0} {share}: {covered} {exact}"
            );
            if share == 0.0 {
                assert!(covered <= exact * (1.0 + 1e-6), "{e0}: {covered} {exact}");
            }
        }
    }
    let zcdp = [(Event::ZeroConcentratedDp { rho: 0.1 }, 1)];
    assert_eq!(
        Gdp.delta(Run::add_remove(&zcdp), 1.0),
        Err(AccountingError::UndefinedEngine)
    );
    for bad in [f64::NAN, -1.0, f64::INFINITY] {
        assert!(matches!(
            gdp_epsilon(bad, 0.1),
            Err(AccountingError::InvalidMu { .. })
        ));
    }
    assert!(matches!(
        gdp_limit(0.0, 1.0, 1),
        Err(AccountingError::InvalidRate { .. })
    ));
    assert!(matches!(
        gdp_limit(0.1, f64::NAN, 1),
        Err(AccountingError::InvalidSigma { .. })
    ));
    // The limit is no bound: here it promises less than the run costs.
    let run = [(poisson(0.01, 0.5), 1000)];
    let limit = gdp_epsilon(gdp_limit(0.01, 0.5, 1000).unwrap(), 1e-9).unwrap();
    assert!(limit.upper < epsilon(&run, 1e-9).unwrap().lower);
}

#[test]
#[cfg_attr(miri, ignore = "its many contours take Miri many minutes")]
fn calibrated_noise_meets_its_target_in_few_calls() {
    for (e, d, rate, steps) in [
        (1.0, 1e-5, 0.004_266, 14_062),
        (8.0, 1e-5, 0.004, 5000),
        (0.1, 1e-6, 0.01, 1000),
        (4.0, 1e-12, 0.1, 2000),
    ] {
        let target = Target {
            epsilon: e,
            delta: d,
        };
        let mut engine = Counted::default();
        let events = |sigma| [(poisson(rate, sigma), steps)];
        let sigma = calibrate_noise(
            &mut engine,
            Adjacency::AddRemove,
            target,
            0.05..=1e9,
            events,
        )
        .unwrap();
        assert!(engine.calls <= 16, "{} calls", engine.calls);
        assert!(epsilon(&events(sigma), d).unwrap().upper <= e);
        assert!(epsilon(&events(sigma * (1.0 - 1e-9)), d).unwrap().upper > e);
        let direct = calibrate_sigma(e, d, rate, steps).unwrap();
        assert!((direct / sigma - 1.0).abs() < 1e-9, "{direct} {sigma}");
        let rdp =
            calibrate_noise(&mut Rdp, Adjacency::AddRemove, target, 0.05..=1e9, events).unwrap();
        assert!(rdp > sigma && rdp < 1.2 * sigma, "{rdp} {sigma}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "its many contours take Miri many minutes")]
fn calibrated_rates_and_steps_keep_their_promise() {
    let target = Target {
        epsilon: 2.0,
        delta: 1e-6,
    };
    let mut engine = Counted::default();
    let of_rate = |rate| [(poisson(rate, 1.0), 1000)];
    let rate = calibrate_rate(
        &mut engine,
        Adjacency::AddRemove,
        target,
        1e-6..=1.0,
        of_rate,
    )
    .unwrap();
    assert!(engine.calls <= 16, "{} calls", engine.calls);
    assert!(epsilon(&of_rate(rate), 1e-6).unwrap().upper <= 2.0);
    assert!(epsilon(&of_rate(rate * (1.0 + 1e-9)), 1e-6).unwrap().upper > 2.0);

    let of_steps = |steps| {
        [
            (poisson(0.01, 1.0), steps),
            (Event::Gaussian { sigma: 10.0 }, 1),
        ]
    };
    let mut engine = Counted::default();
    let steps = calibrate_steps(
        &mut engine,
        Adjacency::AddRemove,
        target,
        u64::MAX,
        of_steps,
    )
    .unwrap();
    assert!(engine.calls <= 20, "{} calls", engine.calls);
    assert!(steps > 0);
    assert!(epsilon(&of_steps(steps), 1e-6).unwrap().upper <= 2.0);
    assert!(epsilon(&of_steps(steps + 1), 1e-6).unwrap().upper > 2.0);
    let few = calibrate_steps(&mut engine, Adjacency::AddRemove, target, 10, of_steps).unwrap();
    assert_eq!(few, 10);

    // What is left after a third of them is the rest.
    let spent = of_steps(steps / 3);
    let mut scratch = [spent[0]; 3];
    let left = remaining_steps(
        &mut engine,
        Run::add_remove(&spent),
        target,
        poisson(0.01, 1.0),
        &mut scratch,
    )
    .unwrap();
    assert_eq!(left, steps - steps / 3);
    assert_eq!(
        remaining_steps(
            &mut engine,
            Run::add_remove(&spent),
            target,
            spent[0].0,
            &mut scratch[..2]
        ),
        Err(AccountingError::WrongLength {
            expected: 3,
            given: 2
        })
    );
    let rest = remaining_epsilon(&mut engine, Run::add_remove(&spent), target).unwrap();
    let cost = epsilon(&spent, 1e-6).unwrap().upper;
    assert!(rest > 0.0 && cost + rest <= 2.0 && cost + rest > 2.0 - 1e-14);
}

/// Steps that cost so little that no count reaches the target.
#[test]
fn no_more_steps_are_found_than_can_be_counted() {
    let target = Target {
        epsilon: 1.0,
        delta: 1e-6,
    };
    let of_steps = |steps| [(Event::Gaussian { sigma: 1e9 }, steps)];
    assert_eq!(
        calibrate_steps(&mut Gdp, Adjacency::AddRemove, target, u64::MAX, of_steps).unwrap(),
        1 << 53
    );
}

/// A count near that.
#[test]
#[cfg_attr(miri, ignore = "its many queries take Miri many minutes")]
fn a_count_of_16_digits_is_found() {
    let target = Target {
        epsilon: 1.0,
        delta: 1e-6,
    };
    let of_steps = |steps| [(Event::Gaussian { sigma: 1e8 }, steps)];
    let steps =
        calibrate_steps(&mut Gdp, Adjacency::AddRemove, target, u64::MAX, of_steps).unwrap();
    let truth = 1e16 / (422.467_888_932_683_54f64.powi(2) / 1e4);
    assert!(
        (steps as f64 / truth - 1.0).abs() < 1e-10,
        "{steps} {truth}"
    );
}

#[test]
fn impossible_targets_say_what_they_reach() {
    let target = Target {
        epsilon: 1e-3,
        delta: 1e-12,
    };
    let events = |sigma| [(Event::Gaussian { sigma }, 100)];
    let failed = calibrate_noise(&mut Gdp, Adjacency::AddRemove, target, 0.1..=10.0, events);
    assert!(
        matches!(failed, Err(AccountingError::Unreachable { epsilon: 1e-3, max_sigma: 10.0, reached }) if reached > 1.0),
        "{failed:?}"
    );
    let of_rate = |rate| {
        [
            (poisson(rate, 1.0), 100),
            (Event::Gaussian { sigma: 1.0 }, 1),
        ]
    };
    let failed = calibrate_rate(
        &mut Counted::default(),
        Adjacency::AddRemove,
        target,
        1e-3..=1.0,
        of_rate,
    );
    assert!(
        matches!(failed, Err(AccountingError::BudgetExceeded { epsilon: 1e-3, reached }) if reached > 1.0),
        "{failed:?}"
    );
    let of_steps = |steps| [(Event::Gaussian { sigma: 1.0 }, steps + 1)];
    let failed = calibrate_steps(&mut Gdp, Adjacency::AddRemove, target, 10, of_steps);
    assert!(matches!(
        failed,
        Err(AccountingError::BudgetExceeded { .. })
    ));
    let spent = [(Event::Gaussian { sigma: 1.0 }, 1)];
    assert!(matches!(
        remaining_epsilon(&mut Gdp, Run::add_remove(&spent), target),
        Err(AccountingError::BudgetExceeded { .. })
    ));
    assert_eq!(
        calibrate_steps(&mut Gdp, Adjacency::AddRemove, target, 10, |n| [(
            spent[0].0, n
        )])
        .unwrap(),
        0
    );
    // Values outside their domain.
    for (epsilon, delta) in [
        (0.0, 0.1),
        (f64::NAN, 0.1),
        (f64::INFINITY, 0.1),
        (1.0, 0.0),
        (1.0, 1.0),
        (1.0, f64::NAN),
    ] {
        let bad = Target { epsilon, delta };
        assert!(calibrate_noise(&mut Gdp, Adjacency::AddRemove, bad, 0.1..=10.0, events).is_err());
        assert!(calibrate_steps(&mut Gdp, Adjacency::AddRemove, bad, 9, of_steps).is_err());
    }
    for (min, max) in [
        (0.0, 1.0),
        (2.0, 1.0),
        (1.0, f64::INFINITY),
        (f64::NAN, 1.0),
    ] {
        assert!(matches!(
            calibrate_noise(&mut Gdp, Adjacency::AddRemove, target, min..=max, events),
            Err(AccountingError::InvalidRange { .. })
        ));
    }
    // An end of the range that meets the target is the answer.
    let easy = Target {
        epsilon: 1e3,
        delta: 0.5,
    };
    assert_eq!(
        calibrate_noise(&mut Gdp, Adjacency::AddRemove, easy, 5.0..=10.0, events).unwrap(),
        5.0
    );
    let of_rate = |rate| [(poisson(rate, 1.0), 1)];
    assert_eq!(
        calibrate_rate(
            &mut Counted::default(),
            Adjacency::AddRemove,
            easy,
            1e-3..=0.5,
            of_rate
        )
        .unwrap(),
        0.5
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sized(32, 1)))]

    /// f falls, lies below 1 - alpha, is its own inverse within its bounds, and never promises more than Gdp's proven mu lets.
    #[test]
    fn trade_off_is_a_symmetric_falling_curve(
        rate in 1e-3f64..0.5,
        sigma in 0.6f64..5.0,
        steps in 5u64..3000,
        alpha in 1e-4f64..0.9,
        factor in 1.05f64..2.0,
    ) {
        // Miri gets the full batch, which has a closed form, here and below.
        let events = [(poisson(sized(rate, 1.0), sigma), steps)];
        let run = Run::add_remove(&events);
        let mut engine = Counted::default();
        let Ok(low) = trade_off(&mut engine, run, alpha) else { return Ok(()) };
        let high = trade_off(&mut engine, run, (alpha * factor).min(1.0)).unwrap();
        prop_assert!(low.lower <= low.upper && low.upper <= 1.0 - alpha);
        prop_assert!(high.lower <= low.upper);
        let back = trade_off(&mut engine, run, low.upper).unwrap();
        prop_assert!(back.lower <= alpha * (1.0 + 1e-12), "{alpha} {low:?} {back:?}");
        // A looser engine promises less.
        let loose = trade_off(&mut Gdp, run, alpha).unwrap();
        prop_assert!(loose.lower <= low.upper);
        let rate_at = true_positive_rate(&mut engine, run, alpha).unwrap();
        let advantage = membership_advantage(&mut engine, run).unwrap();
        prop_assert!(rate_at.lower - alpha <= advantage.upper);
    }

    /// Noise and rate: what is returned meets the target, and a little less noise doesn't.
    #[test]
    fn calibrations_keep_their_promise(
        ln_target in -2.0f64..3.0,
        ln_rate in -6.0f64..-0.5,
        steps in 20u64..20_000,
    ) {
        let target = Target { epsilon: ln_target.exp(), delta: 1e-6 };
        let mut engine = Counted::default();
        let events = |sigma| [(poisson(sized(ln_rate.exp(), 1.0), sigma), steps)];
        if let Ok(sigma) = calibrate_noise(&mut engine, Adjacency::AddRemove, target, 0.3..=1e4, events) {
            prop_assert!(epsilon(&events(sigma), 1e-6).unwrap().upper <= target.epsilon);
            prop_assert!(sigma == 0.3 || epsilon(&events(sigma * (1.0 - 1e-8)), 1e-6).map_or(true, |b| b.upper > target.epsilon));
        }
        prop_assert!(engine.calls <= 40, "{} calls", engine.calls);
    }
}
