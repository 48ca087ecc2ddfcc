//! Text for a private run: records, held-out split, tokenizers, fixed-shape rows, canaries.
//!
//! A record is the unit of privacy, so this crate is careful about what a record is: one line of a
//! text file or one `.jsonl` object becomes exactly one example. It is cut where it is longer than
//! the context, never split over two examples, so that one record can reach one per-example
//! gradient only.
//!
//! The way of the data: [`records::Records::read`], [`records::HeldOut::split`],
//! [`canary::plant`] into the training side, [`rows::Encoded::new`] by a
//! [`tokenizer::Tokenizer`], and [`rows::Rows`] of fixed shape for the model. After training,
//! [`canary::exposure()`] measures what the model remembers of the planted secrets.
//!
//! Everything that looks random here is a pure function of a seed: it decides the order of data
//! and the canaries, never the sampling of batches or the noise, which carry the guarantee.

pub mod canary;
pub mod records;
pub mod rows;
mod seeded;
pub mod tokenizer;
