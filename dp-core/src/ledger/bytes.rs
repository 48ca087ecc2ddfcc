//! Little-endian fields at fixed places. The offsets are constants of the layout and lie inside the block.

pub(super) const BLOCK: usize = 128;
/// Where the checksum lies in the header and in every record.
pub(super) const CRC_AT: usize = 124;

pub(super) type Block = [u8; BLOCK];

pub(super) fn put<const N: usize>(block: &mut Block, at: usize, bytes: [u8; N]) {
    block[at..at + N].copy_from_slice(&bytes);
}

pub(super) fn get<const N: usize>(block: &Block, at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&block[at..at + N]);
    bytes
}

/// Offset of the first byte of `range` that is not zero.
pub(super) fn first_nonzero(block: &Block, range: core::ops::Range<usize>) -> Option<usize> {
    range.into_iter().find(|&at| block[at] != 0)
}
