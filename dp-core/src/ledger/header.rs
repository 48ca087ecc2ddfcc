use core::fmt;
use core::num::NonZeroU32;
use core::ops::Range;

use super::bytes::{BLOCK, Block, CRC_AT, first_nonzero, get, put};
use super::crc32c::crc32c;
use super::error::{Fault, Field, LedgerError};
use super::record::RECORD_LEN;

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = BLOCK;

/// Newest version of the format that this build writes and reads. Ledgers whose unit is the record are of version 1 still: what
/// version 2 adds is the unit.
pub const VERSION: u32 = 2;
const OF_RECORDS: u32 = 1;

const MAGIC: [u8; 8] = *b"DPLEDGER";
const VERSION_AT: usize = 8;
const RECORD_LENGTH_AT: usize = 12;
const DATASET_AT: usize = 16;
const CONFIG_AT: usize = 48;
const UNIT_AT: usize = 80;
const MOST_RECORDS_AT: usize = 84;
const OWNERS_AT: usize = 88;
const UNUSED_AT: usize = 120;

/// The code of a unit; 0 in version 1, which knows the record only.
const USER: u8 = 2;

/// A SHA-256 digest that identifies a data set or a configuration.
pub type Fingerprint = [u8; 32];

/// Whose presence a ledger's events hide: what is added or removed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// One record.
    Record,
    /// One user with all of their records.
    User {
        /// The most records of a user that a step uses.
        most_records: NonZeroU32,
        /// Fingerprint of whose each record is.
        owners: Fingerprint,
    },
}

impl Unit {
    /// Whether the spends of two ledgers on one data set add up for the same unit: both hide a record, or the same users.
    ///
    /// # Privacy
    /// What is charged for a record says nothing of what a user with many records spent, nor the other way round: with a
    /// record less, a user is still drawn and adds another vector.
    #[must_use]
    pub fn adds_up_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Record, Self::Record) => true,
            (Self::User { owners, .. }, Self::User { owners: others, .. }) => owners == others,
            _ => false,
        }
    }

    /// The most rows of a microbatch that one unit takes.
    #[must_use]
    pub fn most_records(&self) -> NonZeroU32 {
        match *self {
            Self::Record => NonZeroU32::MIN,
            Self::User { most_records, .. } => most_records,
        }
    }

    /// What several of them are called.
    #[must_use]
    pub fn plural(&self) -> &'static str {
        match self {
            Self::Record => "records",
            Self::User { .. } => "users",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record => "record",
            Self::User { .. } => "user",
        })
    }
}

/// What a ledger is about: one data set, one configuration, one unit of privacy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Fingerprint of the data set whose privacy is spent.
    pub dataset: Fingerprint,
    /// Fingerprint of the configuration that spends it.
    pub config: Fingerprint,
    /// Whose presence is hidden.
    pub unit: Unit,
}

impl Header {
    /// The bytes of this header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut block = [0; HEADER_LEN];
        put(&mut block, 0, MAGIC);
        let version = match self.unit {
            Unit::Record => OF_RECORDS,
            Unit::User { .. } => VERSION,
        };
        put(&mut block, VERSION_AT, version.to_le_bytes());
        put(
            &mut block,
            RECORD_LENGTH_AT,
            (RECORD_LEN as u32).to_le_bytes(),
        );
        put(&mut block, DATASET_AT, self.dataset);
        put(&mut block, CONFIG_AT, self.config);
        if let Unit::User {
            most_records,
            owners,
        } = self.unit
        {
            block[UNIT_AT] = USER;
            put(
                &mut block,
                MOST_RECORDS_AT,
                most_records.get().to_le_bytes(),
            );
            put(&mut block, OWNERS_AT, owners);
        }
        let crc = crc32c(&block[..CRC_AT]);
        put(&mut block, CRC_AT, crc.to_le_bytes());
        block
    }

    /// Reads the header at the beginning of a ledger.
    ///
    /// # Errors
    /// [`Fault::HeaderCut`], [`Fault::NotALedger`], [`Fault::Version`], [`Fault::Checksum`] or
    /// [`Fault::Invalid`], with the byte.
    pub fn decode(ledger: &[u8]) -> Result<Self, LedgerError> {
        let Some(block) = ledger.first_chunk::<HEADER_LEN>() else {
            return Err(LedgerError {
                offset: ledger.len() as u64,
                fault: Fault::HeaderCut {
                    length: ledger.len() as u64,
                },
            });
        };
        let unit = check(block).map_err(|(at, fault)| LedgerError {
            offset: at as u64,
            fault,
        })?;
        Ok(Self {
            dataset: get(block, DATASET_AT),
            config: get(block, CONFIG_AT),
            unit,
        })
    }
}

/// Checks every byte but those of the fingerprints, and gives the unit.
fn check(block: &Block) -> Result<Unit, (usize, Fault)> {
    if get::<8>(block, 0) != MAGIC {
        return Err((0, Fault::NotALedger));
    }
    // The version decides how everything after it is laid out, the checksum included, so it comes first.
    let version = u32::from_le_bytes(get(block, VERSION_AT));
    if !(OF_RECORDS..=VERSION).contains(&version) {
        return Err((VERSION_AT, Fault::Version { found: version }));
    }
    let stored = u32::from_le_bytes(get(block, CRC_AT));
    let computed = crc32c(&block[..CRC_AT]);
    if stored != computed {
        return Err((0, Fault::Checksum { stored, computed }));
    }
    if u32::from_le_bytes(get(block, RECORD_LENGTH_AT)) != RECORD_LEN as u32 {
        return Err((RECORD_LENGTH_AT, Fault::Invalid(Field::RecordLength)));
    }
    if version == OF_RECORDS {
        all_zero(block, UNIT_AT..CRC_AT)?;
        return Ok(Unit::Record);
    }
    // A ledger of records has one encoding, which is version 1.
    if block[UNIT_AT] != USER {
        return Err((UNIT_AT, Fault::Invalid(Field::Unit)));
    }
    all_zero(block, UNIT_AT + 1..MOST_RECORDS_AT)?;
    all_zero(block, UNUSED_AT..CRC_AT)?;
    let most_records = NonZeroU32::new(u32::from_le_bytes(get(block, MOST_RECORDS_AT)))
        .ok_or((MOST_RECORDS_AT, Fault::Invalid(Field::MostRecords)))?;
    Ok(Unit::User {
        most_records,
        owners: get(block, OWNERS_AT),
    })
}

fn all_zero(block: &Block, places: Range<usize>) -> Result<(), (usize, Fault)> {
    match first_nonzero(block, places) {
        Some(at) => Err((at, Fault::Invalid(Field::Unused))),
        None => Ok(()),
    }
}
