//! A run and a query, made of bytes.

use std::fmt;

use arbitrary::{Error, Result, Unstructured};
use dp_core::accounting::{Adjacency, Event, GaussianMixture, MAX_COMPONENTS, Run};

use super::values::{count, epsilon, integer, probability, scale, small};

/// Most events of a run.
const MAX_EVENTS: usize = 4;

#[derive(Clone, Copy, Debug)]
pub(super) enum Query {
    Delta { epsilon: f64 },
    Epsilon { delta: f64 },
    TradeOff { false_positive_rate: f64 },
}

pub(super) struct Case {
    pub adjacency: Adjacency,
    pub events: Vec<(Event, u64)>,
    pub query: Query,
}

impl Case {
    /// Bytes that are missing count as zeros.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut u = Unstructured::new(bytes);
        let adjacency = match u.arbitrary::<u8>()? % 4 {
            0 | 1 => Adjacency::AddRemove,
            2 => Adjacency::ZeroOut,
            _ => Adjacency::ReplaceOne,
        };
        let query = match u.arbitrary::<u8>()? {
            // Rarely: it takes many of the others.
            byte if byte >= 248 => Query::TradeOff {
                false_positive_rate: probability(&mut u, 1e-6)?,
            },
            byte if byte % 2 == 0 => Query::Epsilon {
                delta: probability(&mut u, 1e-15)?,
            },
            _ => Query::Delta {
                epsilon: epsilon(&mut u)?,
            },
        };
        let events = usize::from(u.arbitrary::<u8>()?) % (MAX_EVENTS + 1);
        let events = (0..events)
            .map(|_| Ok((event(&mut u)?, count(&mut u)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            adjacency,
            events,
            query,
        })
    }

    pub fn run(&self) -> Run<'_> {
        Run {
            adjacency: self.adjacency,
            events: &self.events,
        }
    }
}

fn event(u: &mut Unstructured<'_>) -> Result<Event> {
    // Twice as often what training runs are made of.
    Ok(match u.arbitrary::<u8>()? % 20 {
        0 => Event::Gaussian { sigma: scale(u)? },
        1..=3 => Event::PoissonGaussian {
            rate: probability(u, 1e-9)?,
            sigma: scale(u)?,
        },
        4 | 5 => Event::GroupPoissonGaussian {
            rate: probability(u, 1e-9)?,
            sigma: scale(u)?,
            group: small(u, 256)?,
        },
        6 => Event::MixtureGaussian(mixture(u)?),
        7 | 8 => Event::FixedSizeGaussian {
            population: integer(u)?,
            batch: integer(u)?,
            sigma: scale(u)?,
        },
        9 | 10 => Event::TruncatedPoissonGaussian {
            population: integer(u)?,
            rate: probability(u, 1e-9)?,
            max_batch: integer(u)?,
            sigma: scale(u)?,
        },
        // Balls in bins take a second a question: few of them are drawn, and those are cheap.
        11 => Event::BallsInBinsGaussian {
            bins: 1,
            epochs: small(u, 1000)?,
            sigma: scale(u)?,
        },
        12 => Event::ShuffledGaussian { sigma: scale(u)? },
        13 => Event::MatrixGaussian {
            sensitivity: scale(u)?,
            sigma: scale(u)?,
        },
        14 => Event::Laplace { scale: scale(u)? },
        15 => Event::PoissonLaplace {
            rate: probability(u, 1e-9)?,
            scale: scale(u)?,
        },
        16 => Event::DiscreteGaussian {
            sigma: scale(u)?,
            sensitivity: small(u, 1 << 16)?,
        },
        17 => Event::DiscreteLaplace {
            decay: scale(u)?,
            sensitivity: small(u, 1 << 16)?,
        },
        18 if u.arbitrary::<bool>()? => Event::RandomizedResponse {
            noise: probability(u, 1e-9)?,
            buckets: small(u, 1 << 20)?,
        },
        18 => Event::ZeroConcentratedDp { rho: epsilon(u)? },
        _ => Event::ApproximateDp {
            epsilon: epsilon(u)?,
            delta: probability(u, 1e-15)?,
        },
    })
}

fn mixture(u: &mut Unstructured<'_>) -> Result<GaussianMixture> {
    let sigma = scale(u)?;
    let len = usize::from(u.arbitrary::<u8>()?) % (MAX_COMPONENTS + 2);
    let mut shifts = Vec::new();
    let mut weights = Vec::new();
    for _ in 0..len {
        // Often the same shift twice, or none.
        shifts.push(match u.arbitrary::<u8>()? % 4 {
            0 => 0.0,
            1 => 1.0,
            _ => scale(u)?,
        });
        weights.push(probability(u, 1e-12)?);
    }
    // One time in four the weights stay as they are, whatever their sum.
    if !u.arbitrary::<u8>()?.is_multiple_of(4) || len == 1 {
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }
    GaussianMixture::new(&shifts, &weights, sigma).map_err(|_| Error::IncorrectFormat)
}

/// As Rust code, but for `NaN` and `inf`.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Run {{ adjacency: {:?}, events: &[", self.adjacency)?;
        for (event, count) in &self.events {
            match event {
                Event::MixtureGaussian(mixture) => {
                    let (shifts, weights) = mixture.components();
                    writeln!(
                        f,
                        "    (Event::MixtureGaussian(GaussianMixture::new(&{shifts:?}, &{weights:?}, {:?})?), {count}),",
                        mixture.sigma()
                    )?;
                }
                event => writeln!(f, "    (Event::{event:?}, {count}),")?,
            }
        }
        write!(f, "] }}, Query::{:?}", self.query)
    }
}
