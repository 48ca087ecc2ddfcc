use super::bytes::{Block, get};
use super::chain::Head;
use super::error::Fault;
use super::header::Header;
use super::record::{
    CHAIN_AT, Entry, KIND_AT, RECORD_LEN, Record, SEQUENCE_AT, STEP_AT, seal, verify_checksum,
};

/// A reservation that no commit has confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenReservation {
    /// Sequence number of its record.
    pub sequence: u64,
    /// Step that it reserved.
    pub step: u64,
}

/// What may follow in a ledger: the reserve/commit machine and the hash chain.
///
/// Pure: a transition gives the bytes to append and the state after them, and the caller adopts that state once
/// the bytes are durable. The rules:
/// - the first record is a start;
/// - within one start every reservation is for a later step than the one before: noise is a function of (key,
///   step, tensor, element), and one start has one key, so a step reserved twice would repeat its noise;
/// - a commit confirms the latest reservation of the same start, once;
/// - a reservation or a start while another reservation is open leaves that one unconfirmed, which is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    head: Head,
    starts: u64,
    reservations: u64,
    commits: u64,
    open: Option<OpenReservation>,
    last_step: Option<u64>,
}

impl State {
    /// The state of a ledger that has only its header.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self {
            head: Head::of_header(header),
            starts: 0,
            reservations: 0,
            commits: 0,
            open: None,
            last_step: None,
        }
    }

    /// The bytes of the record that says `entry`, and the state once they are appended.
    ///
    /// # Errors
    /// [`Fault::NoStart`], [`Fault::StepRepeated`], [`Fault::NotReserved`], [`Fault::Invalid`] or
    /// [`Fault::Overflow`]; nothing has changed then.
    ///
    /// # Privacy
    /// The bytes of a reservation must be durable before anything that it pays for is released.
    pub fn append(&self, entry: Entry) -> Result<([u8; RECORD_LEN], Self), Fault> {
        if let Entry::Reserve { charge, .. } = &entry {
            charge.check()?;
        }
        let record = Record {
            sequence: self.head.records,
            entry,
        };
        let mut after = self.follow(&record)?;
        let mut block = record.encode();
        after.head.digest = self.head.link(&block[..CHAIN_AT]);
        seal(&mut block, after.head.digest);
        Ok((block, after))
    }

    /// Checks a stored record against this state. The error carries the offset within the record.
    pub(super) fn replay(&self, block: &Block) -> Result<(Record, Self), (usize, Fault)> {
        verify_checksum(block).map_err(|fault| (0, fault))?;
        let record = Record::decode(block)?;
        let mut after = self
            .follow(&record)
            .map_err(|fault| (field_offset(fault), fault))?;
        after.head.digest = self.head.link(&block[..CHAIN_AT]);
        if get::<32>(block, CHAIN_AT) != after.head.digest {
            return Err((CHAIN_AT, Fault::Chain));
        }
        Ok((record, after))
    }

    /// How far the ledger goes.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Number of process starts.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.starts
    }

    /// Number of reservations; all of them are spent.
    #[must_use]
    pub fn reservations(&self) -> u64 {
        self.reservations
    }

    /// Number of reservations that were confirmed.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// The reservation that can be confirmed next.
    #[must_use]
    pub fn open(&self) -> Option<OpenReservation> {
        self.open
    }

    /// Highest step reserved since the last start.
    #[must_use]
    pub fn last_step(&self) -> Option<u64> {
        self.last_step
    }

    /// The state after `record`, all but the chain value.
    fn follow(&self, record: &Record) -> Result<Self, Fault> {
        let expected = self.head.records;
        if record.sequence != expected {
            return Err(Fault::Sequence {
                expected,
                found: record.sequence,
            });
        }
        let mut after = *self;
        after.head.records = increment(expected)?;
        match record.entry {
            Entry::Start { .. } => {
                after.starts = increment(self.starts)?;
                after.open = None;
                after.last_step = None;
            }
            Entry::Reserve { step, .. } => {
                if self.starts == 0 {
                    return Err(Fault::NoStart);
                }
                if let Some(last) = self.last_step.filter(|&last| step <= last) {
                    return Err(Fault::StepRepeated { step, last });
                }
                after.reservations = increment(self.reservations)?;
                after.open = Some(OpenReservation {
                    sequence: expected,
                    step,
                });
                after.last_step = Some(step);
            }
            Entry::Commit { step, reservation } => {
                if self.starts == 0 {
                    return Err(Fault::NoStart);
                }
                if self.open
                    != Some(OpenReservation {
                        sequence: reservation,
                        step,
                    })
                {
                    return Err(Fault::NotReserved { step, reservation });
                }
                after.commits = increment(self.commits)?;
                after.open = None;
            }
        }
        Ok(after)
    }
}

fn increment(counter: u64) -> Result<u64, Fault> {
    counter.checked_add(1).ok_or(Fault::Overflow)
}

fn field_offset(fault: Fault) -> usize {
    match fault {
        Fault::Sequence { .. } => SEQUENCE_AT,
        Fault::StepRepeated { .. } | Fault::NotReserved { .. } => STEP_AT,
        _ => KIND_AT,
    }
}
