//! Edits of a ledger: what disks, crashes and people do to a file.

use arbitrary::{Result, Unstructured};
use dp_core::ledger::{RECORD_LEN, crc32c};

use super::case::CHECKSUM;

/// Most edits of one ledger.
const MAX_EDITS: u8 = 6;

/// `before` after some edits, one at least.
pub(super) fn all(u: &mut Unstructured<'_>, before: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = before.to_vec();
    for _ in 0..=u.arbitrary::<u8>()? % MAX_EDITS {
        one(u, &mut bytes)?;
    }
    Ok(bytes)
}

fn one(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    match u.arbitrary::<u8>()? % 9 {
        0 => {
            if let Some(at) = place(u, bytes.len())? {
                bytes[at] = u.arbitrary()?;
            }
        }
        1 => {
            if let Some(at) = place(u, bytes.len())? {
                bytes[at] ^= 1 << (u.arbitrary::<u8>()? % 8);
            }
        }
        2 => {
            let length = place(u, bytes.len() + 1)?.unwrap_or(0);
            bytes.truncate(length);
        }
        3 => {
            let at = place(u, bytes.len() + 1)?.unwrap_or(0);
            let inserted = span(u)?.to_vec();
            bytes.splice(at..at, inserted);
        }
        4 => {
            let (first, last) = two(u, bytes.len() + 1)?;
            bytes.drain(first..last);
        }
        // What the checksums don't see, from here on: only the chain is against it.
        5 => {
            if let Some(block) = place(u, bytes.len() / RECORD_LEN)? {
                let block = &mut bytes[block * RECORD_LEN..][..RECORD_LEN];
                block[usize::from(u.arbitrary::<u8>()?) % CHECKSUM] = u.arbitrary()?;
                mend(block);
            }
        }
        6 => {
            let (first, last) = two(u, bytes.len() / RECORD_LEN)?;
            for i in 0..RECORD_LEN {
                if first < last {
                    bytes.swap(first * RECORD_LEN + i, last * RECORD_LEN + i);
                }
            }
        }
        7 => {
            let (first, last) = two(u, bytes.len() / RECORD_LEN)?;
            bytes.drain(first * RECORD_LEN..last * RECORD_LEN);
        }
        _ => {
            let (first, last) = two(u, bytes.len() / RECORD_LEN)?;
            let copy = bytes[first * RECORD_LEN..last * RECORD_LEN].to_vec();
            let at = place(u, bytes.len() / RECORD_LEN + 1)?.unwrap_or(0) * RECORD_LEN;
            bytes.splice(at..at, copy);
        }
    }
    Ok(())
}

/// Puts the right checksum on a block.
pub(super) fn mend(block: &mut [u8]) {
    let checksum = crc32c(&block[..CHECKSUM]);
    block[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
}

/// Up to a few bytes of the input.
fn span<'a>(u: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let length = usize::from(u.arbitrary::<u8>()?) % 160;
    u.bytes(length.min(u.len()))
}

/// A place below `end`, if there is one.
fn place(u: &mut Unstructured<'_>, end: usize) -> Result<Option<usize>> {
    let any = usize::from(u.arbitrary::<u16>()?);
    Ok((end > 0).then(|| any % end))
}

/// Two places below `end` in order; zeros if there is none.
fn two(u: &mut Unstructured<'_>, end: usize) -> Result<(usize, usize)> {
    let (a, b) = (place(u, end)?.unwrap_or(0), place(u, end)?.unwrap_or(0));
    Ok((a.min(b), a.max(b)))
}
