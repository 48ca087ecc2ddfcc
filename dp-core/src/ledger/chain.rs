use sha2::{Digest, Sha256};

use super::header::{HEADER_LEN, Header};

/// How far a ledger goes: the number of its records and the chain value of the last one.
///
/// Whoever keeps a head outside the ledger can tell later whether the ledger still contains what it contained
/// then: a ledger that was cut or rewritten has another chain value at that record, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of records.
    pub records: u64,
    /// Chain value after the last of them; of the header when there is none.
    pub digest: [u8; 32],
}

impl Head {
    /// The head of a ledger that has no record yet.
    #[must_use]
    pub fn of_header(header: &Header) -> Self {
        Self {
            records: 0,
            digest: sha256(&[], &header.encode()[..HEADER_LEN]),
        }
    }

    /// Chain value of a record whose payload follows this head.
    pub(super) fn link(&self, payload: &[u8]) -> [u8; 32] {
        sha256(&self.digest, payload)
    }
}

fn sha256(former: &[u8], bytes: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(former)
        .chain_update(bytes)
        .finalize()
        .into()
}
