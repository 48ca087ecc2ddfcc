//! The privacy ledger: what has been spent on a data set, in a form that survives a crash and shows tampering.
//!
//! A ledger is a header of [`HEADER_LEN`] bytes and then records of [`RECORD_LEN`] bytes each, nothing else.
//! Before anything computed from private records leaves the private computation, a *reservation* of its cost is
//! appended and made durable; afterwards a *commit* confirms it. A reservation that was never confirmed counts
//! as spent: the crash may have come after the release. So what a ledger says was spent is never less than what
//! was released, and at most one reservation more for each process start.
//!
//! A ledger stores events (sampler, rate, noise multiplier, how many), never an epsilon: epsilon is a matter of
//! the accountant and of delta, and a better accountant must be able to read an old ledger.
//!
//! This module is bytes in, bytes out, without allocation: [`State::append`] makes the bytes of the next record
//! and refuses what may not follow; [`Reader`] checks and walks the bytes of a ledger; [`spent`] folds them into
//! events for the accountant. Files, locks and `fsync` are the business of the engine.
//!
//! # Layout
//! All integers and floats are little-endian. Header, 128 bytes:
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | magic `"DPLEDGER"` |
//! | 8..12 | version, `u32`: 1, or 2 where the unit of privacy is the user |
//! | 12..16 | record length, `u32`, [`RECORD_LEN`] |
//! | 16..48 | fingerprint of the data set |
//! | 48..80 | fingerprint of the configuration |
//! | 80 | unit of privacy, `u8` (version 2): 2, the user |
//! | 81..84 | zero |
//! | 84..88 | the most records of a user that a step uses, `u32`, at least 1 (version 2) |
//! | 88..120 | fingerprint of whose each record is (version 2) |
//! | 120..124 | zero |
//! | 124..128 | CRC32C of bytes 0..124 |
//!
//! Version 1 has zeros from 80 to 124; its unit is the record. A ledger of records is written as version 1, so one header has one
//! encoding.
//!
//! Record, 128 bytes; a field that its kind has no use for is zero:
//!
//! | bytes | content |
//! |---|---|
//! | 0 | kind: 1 start, 2 reserve, 3 commit |
//! | 1 | sampler of a reservation: 1 none (full batch), 2 Poisson, 3 Poisson with groups |
//! | 2..4 | zero |
//! | 4..8 | group size, `u32` (sampler 3) |
//! | 8..16 | sequence number: 0 for the first record, then one more each, `u64` |
//! | 16..24 | step, `u64` (reserve, commit) |
//! | 24..32 | sampling rate, `f64` (samplers 2 and 3) |
//! | 32..40 | noise multiplier sigma, `f64` (reserve) |
//! | 40..48 | clipping norm, `f64` (reserve) |
//! | 48..56 | eta, `f64` (reserve) |
//! | 56..64 | count, `u64` (reserve) |
//! | 64..72 | sequence number of the confirmed reservation, `u64` (commit) |
//! | 64..68 | groups whose counts are released with the sum, `u32`; 0 for none (reserve) |
//! | 68..72 | standard deviation of the noise on each of these counts, `f32` (reserve) |
//! | 72..88 | process start identity, 16 bytes (start) |
//! | 88..92 | zero |
//! | 92..124 | chain: SHA-256 of the former chain value and bytes 0..92 of this record |
//! | 124..128 | CRC32C of bytes 0..124 |
//!
//! The chain starts with the SHA-256 of the header. Lengths are fixed so that no damaged length field can make a
//! whole record look cut, and divide 512 so that no record straddles a disk sector.
//!
//! # Torn tail
//! A crash during an append leaves the first bytes of one record at the end. [`Reader`] recognises that by the
//! length alone, checks what is there against the record that could follow, and reports it in [`Summary::torn`];
//! the caller cuts it off. It was not durable when the process died, so nothing was released on the strength of
//! it. Every other deviation is a [`LedgerError`] that names the byte. A record of full length that fails its
//! checksum is *not* a torn tail, not even the last one: it may stand for a release.
//!
//! # Privacy
//! The CRC finds accidents. The chain finds edits by anybody who does not rewrite everything after them. Neither
//! finds a ledger cut at a record boundary or rewritten as a whole; for that, keep a [`Head`] elsewhere (a
//! checkpoint, a report) and compare it ([`Reader::new`], then [`State::head`] on the way).

mod bytes;
mod chain;
mod charge;
mod crc32c;
mod error;
mod header;
mod reader;
mod record;
mod spent;
mod state;

pub use chain::Head;
pub use charge::Charge;
pub use crc32c::crc32c;
pub use error::{Fault, Field, LedgerError};
pub use header::{Fingerprint, HEADER_LEN, Header, Unit, VERSION};
pub use reader::{Reader, Summary, Torn};
pub use record::{Entry, ProcessId, RECORD_LEN, Record};
pub use spent::{Spent, SpentEvents, spent};
pub use state::{OpenReservation, State};
