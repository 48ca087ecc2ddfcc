use dp_core::ledger::{Charge, Head, ProcessId};

/// A durable reservation of one step: the right to release it once.
///
/// It opens the noise key ([`NoiseKey::for_step`](crate::keys::NoiseKey::for_step)) and is given back to
/// [`LedgerFile::commit`](super::LedgerFile::commit). It cannot be made, copied or kept beyond the commit. One that
/// is dropped instead stays spent.
#[derive(Debug)]
#[must_use = "a reservation that is not committed stays spent"]
pub struct Reservation {
    pub(super) sequence: u64,
    pub(super) step: u64,
    pub(super) charge: Charge,
    pub(super) process: ProcessId,
    /// Head of the ledger with this reservation as its last record: tells ledgers apart.
    pub(super) head: Head,
}

impl Reservation {
    /// The step reserved.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// What it cost.
    #[must_use]
    pub fn charge(&self) -> &Charge {
        &self.charge
    }

    /// The process start that made it.
    #[must_use]
    pub fn process(&self) -> &ProcessId {
        &self.process
    }
}
