//! What turns differential-privacy primitives into a private training run, whatever framework trains.
//!
//! A run goes through these, in order:
//!
//! 1. [`fingerprint`] names the data set and the configuration.
//! 2. [`plan`] turns a target (epsilon, delta) into a noise multiplier, or refuses with a reason.
//! 3. [`keys`] draws this process's secret keys from the operating system.
//! 4. [`ledger`] opens the privacy ledger: one writer, a budget cap, recovery after a crash.
//! 5. For each step: [`batches`], of records or of [`users`], draws the Poisson batch and cuts it into microbatches of fixed shape; the
//!    framework clips and sums; [`LedgerFile::reserve`](ledger::LedgerFile::reserve) makes the cost durable;
//!    only its [`Reservation`](ledger::Reservation) opens the noise key
//!    ([`NoiseKey::for_step`](keys::NoiseKey::for_step)); the framework adds the noise, steps its optimizer
//!    and [commits](ledger::LedgerFile::commit).
//! 6. [`checkpoint`] writes and reads what a resumed run needs.
//! 7. [`report`] states what was promised and what was spent.
//!
//! [`accountant`] is what 2, 4 and 7 ask. [`run::PrivateRun`] holds 3, 4 and 5 together, for a program that brings no order of its own.

pub mod accountant;
pub mod batches;
pub mod checkpoint;
pub mod fingerprint;
pub mod keys;
pub mod ledger;
pub mod plan;
pub mod report;
pub mod run;
pub mod users;

mod fs;
