//! From bytes to a run and a query, and what must hold of the answers. The fuzz target and dp-core's test share this.

mod case;
mod engines;
mod oracle;
mod values;

/// Decodes the bytes and checks every engine's answers; false where the bytes stand for no run.
///
/// # Panics
/// Where an answer is wrong, with the run as Rust code.
pub(crate) fn check(bytes: &[u8]) -> bool {
    match case::Case::decode(bytes) {
        Ok(case) => {
            oracle::check(&case);
            true
        }
        Err(_) => false,
    }
}
