//! A ledger made of bytes, in one of three ways.

use arbitrary::{Result, Unstructured};
use dp_core::accounting::Event;
use dp_core::clipping::NoisedCounts;
use dp_core::ledger::{Charge, Entry, Header, RECORD_LEN, State, Unit};
use sha2::{Digest, Sha256};

use super::edit;

/// Most records of a ledger that is made of entries.
const MAX_ENTRIES: usize = 24;
/// Where chain value and checksum of a record lie (the layout in `dp_core::ledger`).
const CHAIN: usize = 92;
pub(super) const CHECKSUM: usize = 124;

pub(super) enum Case {
    /// Bytes from nowhere, or records of any content with a chain and checksums that are right.
    Any { ledger: Vec<u8> },
    /// A ledger that the machine wrote, and what edits made of it.
    Edited { before: Vec<u8>, after: Vec<u8> },
}

impl Case {
    /// Bytes that are missing count as zeros.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut u = Unstructured::new(bytes);
        Ok(match u.arbitrary::<u8>()? % 8 {
            0 => Self::Any {
                ledger: rest(&mut u)?,
            },
            1 => {
                let header = header(&mut u)?.encode();
                let tail = rest(&mut u)?;
                Self::Any {
                    ledger: [&header[..], &tail].concat(),
                }
            }
            2..=4 => Self::Any {
                ledger: forged(&mut u)?,
            },
            _ => {
                let before = written(&mut u)?;
                let after = edit::all(&mut u, &before)?;
                Self::Edited { before, after }
            }
        })
    }
}

fn rest(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(u.bytes(u.len())?.to_vec())
}

fn header(u: &mut Unstructured<'_>) -> Result<Header> {
    let (dataset, config) = ([u.arbitrary()?; 32], [u.arbitrary()?; 32]);
    let unit = match u.arbitrary::<u8>()? {
        0..64 => Unit::User {
            most_records: u.arbitrary()?,
            owners: [u.arbitrary()?; 32],
        },
        _ => Unit::Record,
    };
    Ok(Header {
        dataset,
        config,
        unit,
    })
}

/// A ledger of the entries that the machine lets pass.
fn written(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let header = header(u)?;
    let mut bytes = header.encode().to_vec();
    let mut state = State::new(&header);
    for _ in 0..usize::from(u.arbitrary::<u8>()?) % (MAX_ENTRIES + 1) {
        let refused = state;
        match state.append(entry(u, &state)?) {
            Ok((record, after)) => {
                bytes.extend(record);
                state = after;
            }
            Err(_) => assert_eq!(state, refused),
        }
    }
    Ok(bytes)
}

/// Records of any payload, sealed: what lies behind the checksums, which no fuzzer would pass.
fn forged(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let header = header(u)?;
    let mut bytes = header.encode().to_vec();
    let mut state = State::new(&header);
    let mut chain = state.head().digest;
    for sequence in 0..u64::from(u.arbitrary::<u8>()?) % (MAX_ENTRIES as u64 + 1) {
        // Mostly a good record with some bytes of its own, since hardly any payload from nowhere is one.
        let mut block = match state.append(entry(u, &state)?) {
            Ok((record, after)) => {
                state = after;
                record
            }
            Err(_) => [0; RECORD_LEN],
        };
        block[8..16].copy_from_slice(&sequence.to_le_bytes());
        for _ in 0..u.arbitrary::<u8>()? % 4 {
            let at = usize::from(u.arbitrary::<u8>()?) % CHAIN;
            block[at] = u.arbitrary()?;
        }
        chain = Sha256::new()
            .chain_update(chain)
            .chain_update(&block[..CHAIN])
            .finalize()
            .into();
        block[CHAIN..CHECKSUM].copy_from_slice(&chain);
        edit::mend(&mut block);
        bytes.extend(block);
    }
    let tail = usize::from(u.arbitrary::<u8>()?) % RECORD_LEN;
    bytes.extend(u.bytes(tail.min(u.len()))?);
    Ok(bytes)
}

/// An entry that mostly may follow `state`, and one time in eight is anything.
fn entry(u: &mut Unstructured<'_>, state: &State) -> Result<Entry> {
    let kind: u8 = u.arbitrary()?;
    let open = state.open();
    Ok(match kind % 4 {
        0 => Entry::Start {
            process: [u.arbitrary()?; 16],
        },
        3 if kind < 224 => match open {
            Some(open) => Entry::Commit {
                step: open.step,
                reservation: open.sequence,
            },
            None => Entry::Start {
                process: [kind; 16],
            },
        },
        3 => Entry::Commit {
            step: u.arbitrary()?,
            reservation: u.arbitrary()?,
        },
        _ => Entry::Reserve {
            step: match kind < 224 {
                true => state.head().records * 3 + u64::from(kind),
                false => u.arbitrary()?,
            },
            charge: charge(u)?,
        },
    })
}

fn charge(u: &mut Unstructured<'_>) -> Result<Charge> {
    let sigma = float(u)?;
    let kind: u8 = u.arbitrary()?;
    let event = match kind % 4 {
        0 => Event::Gaussian { sigma },
        1 => Event::GroupPoissonGaussian {
            rate: float(u)?,
            sigma,
            group: u.arbitrary()?,
        },
        2 => Event::PoissonGaussian { rate: 1.0, sigma },
        _ => Event::PoissonGaussian {
            rate: float(u)?,
            sigma,
        },
    };
    Ok(Charge {
        event,
        clip: float(u)?,
        eta: 0.0,
        count: match u.arbitrary::<u8>()? {
            byte if byte < 250 => u64::from(byte),
            _ => u.arbitrary()?,
        },
        counts: match kind {
            192.. => counts(u)?,
            _ => None,
        },
    })
}

/// Mostly with room beside a multiplier below 1.
fn counts(u: &mut Unstructured<'_>) -> Result<Option<NoisedCounts>> {
    let groups = 1 + usize::from(u.arbitrary::<u16>()?) % 300;
    let std = 16.0 * float(u)?;
    Ok(NoisedCounts::new(groups, std as f32).ok())
}

/// In (0, 1] mostly, any bits rarely.
fn float(u: &mut Unstructured<'_>) -> Result<f64> {
    Ok(match u.arbitrary::<u8>()? {
        byte if byte < 250 => f64::from(byte + 1) / 256.0,
        _ => f64::from_bits(u.arbitrary()?),
    })
}
