use crate::accounting::Event;
use crate::clipping::{NoisedCounts, QuantileError};

use super::bytes::{BLOCK, Block, CRC_AT, get, put};
use super::charge::Charge;
use super::crc32c::crc32c;
use super::error::{Fault, Field};

/// Length of a record, in bytes.
pub const RECORD_LEN: usize = BLOCK;

/// Identity of one start of a process, drawn at random; not a secret.
pub type ProcessId = [u8; 16];

pub(super) const KIND_AT: usize = 0;
const SAMPLER_AT: usize = 1;
const GROUP_AT: usize = 4;
pub(super) const SEQUENCE_AT: usize = 8;
pub(super) const STEP_AT: usize = 16;
const RATE_AT: usize = 24;
const SIGMA_AT: usize = 32;
const CLIP_AT: usize = 40;
const ETA_AT: usize = 48;
const COUNT_AT: usize = 56;
const RESERVATION_AT: usize = 64;
/// Of a reservation, where a commit has what it confirms.
const GROUPS_AT: usize = 64;
const COUNT_STD_AT: usize = 68;
const PROCESS_AT: usize = 72;
/// First byte of the chain value, and length of what it covers of this record.
pub(super) const CHAIN_AT: usize = 92;

const START: u8 = 1;
const RESERVE: u8 = 2;
const COMMIT: u8 = 3;

const FULL_BATCH: u8 = 1;
const POISSON: u8 = 2;
const POISSON_GROUPS: u8 = 3;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry {
    /// A process opened the ledger. Its keys are new; open reservations of a former process stay spent.
    Start {
        /// Identity of the process start.
        process: ProcessId,
    },
    /// A step is about to be released and is spent from here on.
    Reserve {
        /// Step of the run, the number that selects its noise.
        step: u64,
        /// What it costs.
        charge: Charge,
    },
    /// The step was released.
    Commit {
        /// Step of the reservation.
        step: u64,
        /// Sequence number of the reservation.
        reservation: u64,
    },
}

/// An entry and its place in the ledger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// 0 for the first record, then one more each.
    pub sequence: u64,
    /// What the record says.
    pub entry: Entry,
}

impl Record {
    /// The payload (bytes `0..CHAIN_AT`); chain and checksum are left zero for [`seal`].
    pub(super) fn encode(&self) -> Block {
        let mut block = [0; BLOCK];
        put(&mut block, SEQUENCE_AT, self.sequence.to_le_bytes());
        match self.entry {
            Entry::Start { process } => {
                block[KIND_AT] = START;
                put(&mut block, PROCESS_AT, process);
            }
            Entry::Reserve { step, charge } => {
                block[KIND_AT] = RESERVE;
                put(&mut block, STEP_AT, step.to_le_bytes());
                encode_charge(&mut block, &charge);
            }
            Entry::Commit { step, reservation } => {
                block[KIND_AT] = COMMIT;
                put(&mut block, STEP_AT, step.to_le_bytes());
                put(&mut block, RESERVATION_AT, reservation.to_le_bytes());
            }
        }
        block
    }

    /// Reads the payload. The error carries the offset of the field within the record.
    pub(super) fn decode(block: &Block) -> Result<Self, (usize, Fault)> {
        let step = u64::from_le_bytes(get(block, STEP_AT));
        let entry = match block[KIND_AT] {
            START => Entry::Start {
                process: get(block, PROCESS_AT),
            },
            RESERVE => Entry::Reserve {
                step,
                charge: decode_charge(block)?,
            },
            COMMIT => {
                let reservation = u64::from_le_bytes(get(block, RESERVATION_AT));
                Entry::Commit { step, reservation }
            }
            _ => return Err((KIND_AT, Fault::Invalid(Field::Kind))),
        };
        let record = Self {
            sequence: u64::from_le_bytes(get(block, SEQUENCE_AT)),
            entry,
        };
        // One entry has one encoding, so that whatever a field carries is either read or refused.
        let canonical = record.encode();
        match (0..CHAIN_AT).find(|&at| block[at] != canonical[at]) {
            Some(at) => Err((at, Fault::Invalid(Field::Unused))),
            None => Ok(record),
        }
    }
}

/// Puts the chain value and the checksum on an encoded payload.
pub(super) fn seal(block: &mut Block, link: [u8; 32]) {
    put(block, CHAIN_AT, link);
    let crc = crc32c(&block[..CRC_AT]);
    put(block, CRC_AT, crc.to_le_bytes());
}

/// Checks the checksum of a record.
pub(super) fn verify_checksum(block: &Block) -> Result<(), Fault> {
    let stored = u32::from_le_bytes(get(block, CRC_AT));
    let computed = crc32c(&block[..CRC_AT]);
    if stored == computed {
        Ok(())
    } else {
        Err(Fault::Checksum { stored, computed })
    }
}

/// Checks that `tail`, shorter than a record, can be the beginning of record number `sequence`. The error is the
/// offset of a byte that rules it out.
pub(super) fn check_beginning(tail: &[u8], sequence: u64) -> Result<(), usize> {
    let mut block = [0; BLOCK];
    let present = tail.len().min(BLOCK);
    block[..present].copy_from_slice(&tail[..present]);
    if present > CHAIN_AT {
        return match Record::decode(&block) {
            Ok(record) if record.sequence != sequence => Err(SEQUENCE_AT),
            Ok(_) => Ok(()),
            Err((at, _)) => Err(at),
        };
    }
    let known = sequence.to_le_bytes();
    let ruled_out = |at: usize| match at {
        KIND_AT => !(START..=COMMIT).contains(&block[at]),
        SAMPLER_AT => block[at] > POISSON_GROUPS,
        2 | 3 => block[at] != 0,
        SEQUENCE_AT..STEP_AT => block[at] != known[at - SEQUENCE_AT],
        _ => false,
    };
    (0..present).find(|&at| ruled_out(at)).map_or(Ok(()), Err)
}

fn encode_charge(block: &mut Block, charge: &Charge) {
    let (sampler, rate, sigma, group) = match charge.event {
        Event::Gaussian { sigma } => (FULL_BATCH, 0.0, sigma, 0),
        Event::PoissonGaussian { rate, sigma } => (POISSON, rate, sigma, 0),
        Event::GroupPoissonGaussian { rate, sigma, group } => (POISSON_GROUPS, rate, sigma, group),
        // No checked charge holds one; code 0 is refused by every reader.
        _ => (0, 0.0, 0.0, 0),
    };
    block[SAMPLER_AT] = sampler;
    put(block, GROUP_AT, group.to_le_bytes());
    put(block, RATE_AT, rate.to_le_bytes());
    put(block, SIGMA_AT, sigma.to_le_bytes());
    put(block, CLIP_AT, charge.clip.to_le_bytes());
    put(block, ETA_AT, charge.eta.to_le_bytes());
    put(block, COUNT_AT, charge.count.to_le_bytes());
    if let Some(counts) = charge.counts {
        put(block, GROUPS_AT, counts.groups().to_le_bytes());
        put(block, COUNT_STD_AT, counts.std().to_le_bytes());
    }
}

fn decode_charge(block: &Block) -> Result<Charge, (usize, Fault)> {
    let float = |at| f64::from_le_bytes(get(block, at));
    let (rate, sigma) = (float(RATE_AT), float(SIGMA_AT));
    let group = u32::from_le_bytes(get(block, GROUP_AT));
    let event = match block[SAMPLER_AT] {
        FULL_BATCH => Event::Gaussian { sigma },
        POISSON => Event::PoissonGaussian { rate, sigma },
        POISSON_GROUPS => Event::GroupPoissonGaussian { rate, sigma, group },
        _ => return Err((SAMPLER_AT, Fault::Invalid(Field::Sampler))),
    };
    let count = u64::from_le_bytes(get(block, COUNT_AT));
    let charge = Charge {
        event,
        clip: float(CLIP_AT),
        eta: float(ETA_AT),
        count,
        counts: decode_counts(block)?,
    };
    charge
        .check()
        .map_err(|fault| (field_offset(fault), fault))?;
    Ok(charge)
}

/// No groups are no counts; a standard deviation without any is then found to be of no use.
fn decode_counts(block: &Block) -> Result<Option<NoisedCounts>, (usize, Fault)> {
    let groups = u32::from_le_bytes(get(block, GROUPS_AT));
    if groups == 0 {
        return Ok(None);
    }
    let std = f32::from_le_bytes(get(block, COUNT_STD_AT));
    match NoisedCounts::new(groups as usize, std) {
        Ok(counts) => Ok(Some(counts)),
        Err(QuantileError::Groups { .. }) => Err((GROUPS_AT, Fault::Invalid(Field::Groups))),
        Err(_) => Err((COUNT_STD_AT, Fault::Invalid(Field::CountStd))),
    }
}

fn field_offset(fault: Fault) -> usize {
    match fault {
        Fault::Invalid(Field::Rate) => RATE_AT,
        Fault::Invalid(Field::Group) => GROUP_AT,
        Fault::Invalid(Field::Sigma) => SIGMA_AT,
        Fault::Invalid(Field::Clip) => CLIP_AT,
        Fault::Invalid(Field::Eta) => ETA_AT,
        Fault::Invalid(Field::Count) => COUNT_AT,
        Fault::Counts { .. } => COUNT_STD_AT,
        _ => KIND_AT,
    }
}
