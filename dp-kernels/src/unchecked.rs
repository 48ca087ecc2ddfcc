//! Loads without CubeCL's clamp of every index, for the loops of a processor's products: what is clamped can't be an address by itself.

use cubecl::prelude::*;

/// `list[index]`, for an index that the kernel has shown to be inside.
#[cube]
pub(crate) fn read<E: CubePrimitive>(list: &[E], index: usize) -> E {
    // SAFETY: the callers' tiles end at the last row, column and token of operands whose sizes the launcher has compared with their buffers;
    // places of an unfolded input are those that the table has, or are not read.
    unsafe { *list.get_unchecked(index) }
}
