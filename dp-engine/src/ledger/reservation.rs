use dp_core::ledger::{Charge, Head, ProcessId};

/// A durable reservation of one step: the right to release it once.
///
/// It opens the noise key ([`NoiseKey::for_step`](crate::keys::NoiseKey::for_step)) and is given back to
/// [`LedgerFile::commit`](super::LedgerFile::commit). It cannot be made, copied or kept beyond the commit. One that
/// is dropped instead stays spent.
///
/// ```compile_fail,E0382
/// # use dp_engine::ledger::{LedgerFile, Reservation};
/// fn twice(ledger: &mut LedgerFile, reservation: Reservation) {
///     ledger.commit(reservation).unwrap();
///     ledger.commit(reservation).unwrap(); // moved by the first
/// }
/// ```
/// ```compile_fail,E0382
/// # use dp_engine::{keys::NoiseKey, ledger::{LedgerFile, Reservation}};
/// fn late(ledger: &mut LedgerFile, key: &NoiseKey, reservation: Reservation) {
///     ledger.commit(reservation).unwrap();
///     key.for_step(&reservation).unwrap(); // no noise after the commit
/// }
/// ```
/// ```compile_fail,E0599
/// # use dp_engine::ledger::Reservation;
/// fn copied(reservation: &Reservation) -> Reservation {
///     Reservation::clone(reservation) // there is one
/// }
/// ```
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
