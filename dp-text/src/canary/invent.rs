//! Inventing canaries.

use super::Canary;
use crate::seeded::Draws;

const FIRST: [&str; 24] = [
    "Marla", "Odo", "Tilda", "Jorun", "Wenna", "Piet", "Ysolt", "Bram", "Corin", "Delia", "Edda",
    "Fenno", "Greta", "Hollis", "Inga", "Jasper", "Keziah", "Lorcan", "Merle", "Nerys", "Orla",
    "Percy", "Quilla", "Rufus",
];
const LAST: [&str; 24] = [
    "Quint", "Abbot", "Brask", "Cobley", "Durrow", "Eskew", "Fairle", "Gosset", "Hulme", "Ivory",
    "Jesper", "Kettle", "Lamkin", "Mundy", "Norrel", "Orchard", "Pengol", "Rusk", "Sorley", "Tarr",
    "Umber", "Vane", "Wick", "Yarrow",
];
const STREET: [&str; 12] = [
    "Birch Lane",
    "Mill Road",
    "Quay Street",
    "Fern Close",
    "Kiln Row",
    "Abbey Walk",
    "Oak Hill",
    "Tanner Way",
    "Heron Court",
    "Salt Yard",
    "Elm Place",
    "Dyke Road",
];

/// The most canaries there are names for.
pub const MOST_CANARIES: usize = FIRST.len() * LAST.len();

/// Number of 6-digit codes, 000000 to 999999.
pub(super) const CODES: u64 = 1_000_000;

/// Why canaries could not be invented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} canaries asked for; there are names for {MOST_CANARIES}")]
pub struct CanaryError {
    /// The number asked for.
    pub asked: usize,
}

/// `count` canaries with distinct names and distinct codes, the same for the same seed.
///
/// Codes are uniform over all 6-digit numbers, as are the random codes that they are ranked among.
///
/// # Errors
/// [`CanaryError`] beyond [`MOST_CANARIES`].
pub fn canaries(count: usize, seed: u64) -> Result<Vec<Canary>, CanaryError> {
    if count > MOST_CANARIES {
        return Err(CanaryError { asked: count });
    }
    let mut draws = Draws::new("canaries", seed, 0);
    let names = draws.distinct(count, MOST_CANARIES);
    let codes = draws.distinct(count, CODES as usize);
    let canary = |(name, code): (usize, usize)| {
        let (first, last) = (FIRST[name / LAST.len()], LAST[name % LAST.len()]);
        let number = 1 + draws.below(99);
        let street = STREET[draws.below(STREET.len() as u64) as usize];
        Canary {
            prefix: format!("patient {first} {last} of {number} {street} has code"),
            code: format!("{code:06}"),
        }
    };
    Ok(names.into_iter().zip(codes).map(canary).collect())
}
