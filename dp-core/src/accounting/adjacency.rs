//! Which data sets count as neighbours, and a run as the accountants take it.

use super::Event;

/// Which two data sets a guarantee can't tell apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Adjacency {
    /// One record more or less.
    #[default]
    AddRemove,
    /// One record's contribution is replaced by nothing, and the data set keeps its size ("zero-out").
    ZeroOut,
    /// One record is replaced by another. A sum of clipped contributions then moves by up to twice
    /// the clipping norm.
    ReplaceOne,
}

/// A list of events with counts, and the neighbouring relation that they are accounted under.
///
/// Neither the order of the events nor the split of their counts matters.
///
/// ```
/// use dp_core::accounting::{Adjacency, Event, Run};
/// let events = [(Event::Gaussian { sigma: 2.0 }, 10)];
/// assert_eq!(Run::add_remove(&events).adjacency, Adjacency::AddRemove);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run<'a> {
    /// The neighbouring relation.
    pub adjacency: Adjacency,
    /// What happened, and how often.
    pub events: &'a [(Event, u64)],
}

impl<'a> Run<'a> {
    /// A run under add/remove adjacency.
    #[must_use]
    pub const fn add_remove(events: &'a [(Event, u64)]) -> Self {
        Self {
            adjacency: Adjacency::AddRemove,
            events,
        }
    }

    /// A run under zero-out adjacency.
    #[must_use]
    pub const fn zero_out(events: &'a [(Event, u64)]) -> Self {
        Self {
            adjacency: Adjacency::ZeroOut,
            events,
        }
    }

    /// A run under replace-one adjacency.
    #[must_use]
    pub const fn replace_one(events: &'a [(Event, u64)]) -> Self {
        Self {
            adjacency: Adjacency::ReplaceOne,
            events,
        }
    }
}
