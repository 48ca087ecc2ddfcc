use super::bytes::{BLOCK, Block, CRC_AT, first_nonzero, get, put};
use super::crc32c::crc32c;
use super::error::{Fault, Field, LedgerError};
use super::record::RECORD_LEN;

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = BLOCK;

/// Version of the format that this build writes, and the only one that it reads.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"DPLEDGER";
const VERSION_AT: usize = 8;
const RECORD_LENGTH_AT: usize = 12;
const DATASET_AT: usize = 16;
const CONFIG_AT: usize = 48;
const UNUSED_AT: usize = 80;

/// A SHA-256 digest that identifies a data set or a configuration.
pub type Fingerprint = [u8; 32];

/// What a ledger is about: one data set, one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Fingerprint of the data set whose privacy is spent.
    pub dataset: Fingerprint,
    /// Fingerprint of the configuration that spends it.
    pub config: Fingerprint,
}

impl Header {
    /// The bytes of this header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut block = [0; HEADER_LEN];
        put(&mut block, 0, MAGIC);
        put(&mut block, VERSION_AT, VERSION.to_le_bytes());
        put(
            &mut block,
            RECORD_LENGTH_AT,
            (RECORD_LEN as u32).to_le_bytes(),
        );
        put(&mut block, DATASET_AT, self.dataset);
        put(&mut block, CONFIG_AT, self.config);
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
        check(block).map_err(|(at, fault)| LedgerError {
            offset: at as u64,
            fault,
        })?;
        Ok(Self {
            dataset: get(block, DATASET_AT),
            config: get(block, CONFIG_AT),
        })
    }
}

fn check(block: &Block) -> Result<(), (usize, Fault)> {
    if get::<8>(block, 0) != MAGIC {
        return Err((0, Fault::NotALedger));
    }
    // The version decides how everything after it is laid out, the checksum included, so it comes first.
    let found = u32::from_le_bytes(get(block, VERSION_AT));
    if found != VERSION {
        return Err((VERSION_AT, Fault::Version { found }));
    }
    let stored = u32::from_le_bytes(get(block, CRC_AT));
    let computed = crc32c(&block[..CRC_AT]);
    if stored != computed {
        return Err((0, Fault::Checksum { stored, computed }));
    }
    if u32::from_le_bytes(get(block, RECORD_LENGTH_AT)) != RECORD_LEN as u32 {
        return Err((RECORD_LENGTH_AT, Fault::Invalid(Field::RecordLength)));
    }
    match first_nonzero(block, UNUSED_AT..CRC_AT) {
        Some(at) => Err((at, Fault::Invalid(Field::Unused))),
        None => Ok(()),
    }
}
