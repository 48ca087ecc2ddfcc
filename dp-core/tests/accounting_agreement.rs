//! Three engines that share little must not contradict each other: contour integral, privacy loss distributions, Rényi.

mod common;

use common::sized;
use dp_core::accounting::{
    Accountant, AccountingError, Adjacency, Bounds, Event, Exact, GaussianMixture, Pld, Rdp, Run,
    Workspace, pld_workspace_len,
};
use proptest::prelude::*;

const ADJACENCIES: [Adjacency; 3] = [
    Adjacency::AddRemove,
    Adjacency::ZeroOut,
    Adjacency::ReplaceOne,
];

/// Every kind of event that has a curve, with its strength between the two numbers' magnitudes.
fn kinds(rate: f64, sigma: f64) -> Vec<Event> {
    let mixture = GaussianMixture::new(
        &[0.0, 1.0, 2.0],
        &[1.0 - 0.8 * rate, 0.6 * rate, 0.2 * rate],
        sigma,
    );
    let population = 1000;
    let batch = (rate * 1000.0).ceil() as u64;
    vec![
        Event::Gaussian { sigma },
        Event::PoissonGaussian { rate, sigma },
        Event::GroupPoissonGaussian {
            rate,
            sigma: 2.0 * sigma,
            group: 3,
        },
        Event::MixtureGaussian(mixture.expect("mixture")),
        Event::FixedSizeGaussian {
            population,
            batch,
            sigma,
        },
        Event::TruncatedPoissonGaussian {
            population,
            rate,
            max_batch: batch + batch / 4 + 1,
            sigma,
        },
        Event::ShuffledGaussian { sigma },
        Event::MatrixGaussian {
            sensitivity: 3.0,
            sigma: 3.0 * sigma,
        },
        Event::Laplace { scale: sigma },
        Event::PoissonLaplace { rate, scale: sigma },
        Event::DiscreteGaussian {
            sigma: 3.0 * sigma,
            sensitivity: 2,
        },
        Event::DiscreteLaplace {
            decay: 0.4 / sigma,
            sensitivity: 3,
        },
        Event::RandomizedResponse {
            noise: (0.4 + 0.1 * sigma).min(0.95),
            buckets: 4,
        },
        Event::ApproximateDp {
            epsilon: 0.5 / sigma,
            delta: 1e-9,
        },
        Event::ApproximateDp {
            epsilon: 0.3 / sigma,
            delta: 0.0,
        },
    ]
}

struct Engines {
    exact: Box<Workspace<8192, 4096>>,
    pld: Vec<f64>,
    compared: usize,
    unanswered: usize,
    wrong: Vec<String>,
    /// Makes the privacy loss distributions' bounds wrong by this factor, to see that it is noticed.
    spoilt: f64,
}

impl Engines {
    fn new(bits: u32) -> Self {
        Self {
            exact: Box::new(Workspace::new()),
            pld: vec![0.0; pld_workspace_len(1 << bits)],
            compared: 0,
            unanswered: 0,
            wrong: Vec::new(),
            spoilt: 1.0,
        }
    }

    /// Asks all engines for epsilon at `delta`, and for delta at that epsilon and at half of it.
    fn compare(&mut self, run: Run<'_>, delta: f64) {
        let what = format!("{run:?} delta {delta:e}");
        let Some(upper) = self.one(&what, &mut |engine| engine.epsilon(run, delta)) else {
            return;
        };
        for epsilon in [upper, 0.5 * upper] {
            let what = format!("{run:?} epsilon {epsilon:e}");
            self.one(&what, &mut |engine| engine.delta(run, epsilon));
        }
    }

    /// One query; gives the distributions' upper bound.
    fn one(
        &mut self,
        what: &str,
        query: &mut dyn FnMut(&mut dyn Accountant) -> Result<Bounds, AccountingError>,
    ) -> Option<f64> {
        let exact = query(&mut Exact::new(&mut self.exact));
        let pld = query(&mut Pld::new(&mut self.pld).expect("workspace"));
        let rdp = query(&mut Rdp);
        let pld = match pld {
            Ok(b) => Bounds {
                lower: b.lower * self.spoilt,
                estimate: b.estimate * self.spoilt,
                upper: b.upper * self.spoilt,
            },
            Err(AccountingError::InfiniteLoss { .. }) => {
                let infinite = |answer: &Result<Bounds, AccountingError>| {
                    matches!(answer, Err(AccountingError::InfiniteLoss { .. }))
                };
                if !infinite(&exact) || !infinite(&rdp) {
                    self.wrong
                        .push(format!("{what}: infinite, but {exact:?}, {rdp:?}"));
                }
                return None;
            }
            Err(error) => {
                self.wrong.push(format!("{what}: pld {error}"));
                return None;
            }
        };
        if !(pld.lower <= pld.estimate && pld.estimate <= pld.upper) {
            self.wrong.push(format!("{what}: pld {pld:?}"));
        }
        match exact {
            Ok(exact) => {
                if !(exact.lower <= pld.upper && pld.lower <= exact.upper) {
                    self.wrong
                        .push(format!("{what}: exact {exact:?} pld {pld:?}"));
                }
                if let Ok(rdp) = rdp
                    && rdp.upper < exact.lower
                {
                    self.wrong
                        .push(format!("{what}: exact {exact:?} rdp {rdp:?}"));
                }
            }
            // A nearly discrete loss: only the other two can be compared.
            Err(
                AccountingError::NotConverged { .. } | AccountingError::WorkspaceTooSmall { .. },
            ) => {
                self.unanswered += 1;
            }
            Err(error) => self.wrong.push(format!("{what}: exact {error}")),
        }
        match rdp {
            Ok(rdp) if rdp.upper < pld.lower => {
                self.wrong.push(format!("{what}: rdp {rdp:?} pld {pld:?}"));
            }
            Ok(_) => {}
            Err(error) => self.wrong.push(format!("{what}: rdp {error}")),
        }
        self.compared += 1;
        Some(pld.upper)
    }

    fn report(&self) -> String {
        println!(
            "{} queries, {} without the contour",
            self.compared, self.unanswered
        );
        self.wrong.join("\n")
    }
}

/// The events that the relation knows.
fn known(adjacency: Adjacency, rate: f64, sigma: f64) -> Vec<Event> {
    let kinds = kinds(rate, sigma).into_iter().step_by(sized(1, 4));
    let mut events: Vec<Event> = kinds.collect();
    events.retain(|event| {
        let alone = [(*event, 1)];
        let run = Run {
            adjacency,
            events: &alone,
        };
        !matches!(
            Rdp.epsilon(run, 0.5),
            Err(AccountingError::UndefinedAdjacency { .. })
        )
    });
    events
}

#[test]
fn every_event_alone_and_repeated() {
    let mut engines = Engines::new(sized(14, 8));
    for adjacency in ADJACENCIES {
        for event in known(adjacency, 0.05, 1.0) {
            // Zero-out has add/remove's pairs, but for this one.
            let other = !matches!(event, Event::ShuffledGaussian { .. });
            if adjacency == Adjacency::ZeroOut && other {
                continue;
            }
            let counts = [(1, 1e-4), (2, 1e-6), (30, 1e-7)];
            for (count, delta) in counts.into_iter().take(sized(3, 1)) {
                let events = [(event, count)];
                let run = Run {
                    adjacency,
                    events: &events,
                };
                engines.compare(run, delta);
            }
        }
    }
    let report = engines.report();
    assert!(report.is_empty(), "{report}");
    assert!(engines.compared > sized(100, 5) && engines.unanswered * 10 < engines.compared);
}

#[test]
#[cfg_attr(miri, ignore = "two events composed take Miri many minutes")]
fn every_pair_of_events() {
    let mut engines = Engines::new(sized(14, 8));
    // Zero-out has add/remove's pairs.
    for adjacency in [Adjacency::AddRemove, Adjacency::ReplaceOne] {
        let first = known(adjacency, 0.1, 1.5);
        let second = known(adjacency, 0.2, 2.0);
        for (i, one) in first.iter().enumerate() {
            for (j, two) in second.iter().enumerate().skip(i).step_by(4) {
                let events = [(*one, 1 + 7 * (j as u64 % 4 / 2)), (*two, 3)];
                let run = Run {
                    adjacency,
                    events: &events,
                };
                engines.compare(run, 1e-5);
            }
        }
    }
    let report = engines.report();
    assert!(report.is_empty(), "{report}");
    assert!(engines.compared > 100 && engines.unanswered * 10 < engines.compared);
}

#[test]
fn a_wrong_engine_is_noticed() {
    let mut engines = Engines::new(sized(14, 8));
    engines.spoilt = 1.01;
    let events = [
        (
            Event::PoissonGaussian {
                rate: 0.1,
                sigma: 1.0,
            },
            50,
        ),
        (Event::Laplace { scale: 2.0 }, sized(3, 1)),
    ];
    // Miri gets the second alone, which has a closed form.
    let events = &events[sized(0, 1)..];
    engines.compare(Run::add_remove(events), 1e-6);
    assert!(engines.wrong.len() >= 2, "{}", engines.report());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sized(12, 1)))]

    #[test]
    #[cfg_attr(miri, ignore = "two events composed take Miri many minutes")]
    fn any_pair_of_events(
        adjacency in prop::sample::select(&ADJACENCIES[..]),
        kinds in (0usize..100, 0usize..100),
        ln_rates in (-6.0f64..0.0, -6.0f64..0.0),
        ln_sigmas in (-0.7f64..3.0, -0.7f64..3.0),
        counts in (1u64..200, 0u64..20),
        ln_delta in -50.0f64..-1.0,
    ) {
        let mut engines = Engines::new(sized(14, 8));
        let one = known(adjacency, ln_rates.0.exp(), ln_sigmas.0.exp());
        let two = known(adjacency, ln_rates.1.exp(), ln_sigmas.1.exp());
        let events = [(one[kinds.0 % one.len()], counts.0), (two[kinds.1 % two.len()], counts.1)];
        engines.compare(Run { adjacency, events: &events }, ln_delta.exp());
        let report = engines.report();
        prop_assert!(report.is_empty(), "{}", report);
    }
}
