use dp_core::ledger::{Charge, ProcessId};

/// A durable reservation of one step: the right to release it once.
///
/// It opens the noise key once ([`NoiseKey::for_step`](crate::keys::NoiseKey::for_step)), and the [`Receipt`] that is left of it then
/// goes to [`LedgerFile::commit`](super::LedgerFile::commit). It cannot be made, copied or kept beyond that. One that
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
///     key.for_step(reservation).unwrap(); // no noise after the commit
/// }
/// ```
/// ```compile_fail,E0382
/// # use dp_engine::{keys::NoiseKey, ledger::{LedgerFile, Reservation}};
/// fn again(key: &NoiseKey, reservation: Reservation) {
///     key.for_step(reservation).unwrap();
///     key.for_step(reservation).unwrap(); // its noise is out
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
    pub(super) charge: Charge,
    pub(super) receipt: Receipt,
}

/// What is left of a [`Reservation`] once its noise was handed out: what a commit needs, and no right to noise.
///
/// ```compile_fail,E0599
/// # use dp_engine::ledger::Receipt;
/// fn copied(receipt: &Receipt) -> Receipt {
///     Receipt::clone(receipt) // there is one
/// }
/// ```
#[derive(Debug)]
#[must_use = "a reservation that is not committed stays spent"]
pub struct Receipt {
    pub(super) sequence: u64,
    pub(super) step: u64,
    pub(super) process: ProcessId,
}

/// For a step that is committed without noise: its right to noise is given up.
impl From<Reservation> for Receipt {
    fn from(reservation: Reservation) -> Self {
        reservation.receipt
    }
}

impl Reservation {
    /// The step reserved.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.receipt.step
    }

    /// What it cost.
    #[must_use]
    pub fn charge(&self) -> &Charge {
        &self.charge
    }

    /// The process start that made it.
    #[must_use]
    pub fn process(&self) -> &ProcessId {
        &self.receipt.process
    }
}
