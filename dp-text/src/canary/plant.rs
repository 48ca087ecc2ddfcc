//! Planting canaries in the training records.

use super::Canary;
use crate::records::Records;
use crate::seeded::Draws;

/// Training records with canaries among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    /// The records and the canaries.
    pub records: Records,
    /// For each canary, the places of its copies in `records`, in ascending order.
    pub places: Vec<Vec<usize>>,
}

/// Adds `copies` records of each canary to `records` at random places, the same for the same seed.
///
/// All copies of a canary belong to one invented patient: a user of its own where users are known.
/// The given records keep their order and none is lost.
pub fn plant(records: Records, canaries: &[Canary], copies: usize, seed: u64) -> Planted {
    let added = canaries.len() * copies;
    let total = records.len() + added;
    let drawn = Draws::new("plant", seed, 0).distinct(added, total);
    let mut owner = vec![None; total];
    let mut places = vec![Vec::with_capacity(copies); canaries.len()];
    for (copy, &place) in drawn.iter().enumerate() {
        owner[place] = Some(copy / copies);
        places[copy / copies].push(place);
    }
    places.iter_mut().for_each(|places| places.sort_unstable());
    Planted {
        records: records.interleave(canaries, &owner),
        places,
    }
}
