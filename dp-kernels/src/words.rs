//! A few numbers from the host in a buffer on the device, without a buffer of their own for the way there.

use crate::Launch;
use crate::check::Arg;
use cubecl::prelude::*;

/// How many words one launch carries.
const CARRIED: usize = 32;

/// Writes `words` into `to`, a buffer of as many 32-bit elements: they travel as arguments of the launch.
pub(crate) fn launch_words(launch: &Launch<'_>, words: &[u32], to: &Arg<'_>) {
    for (place, carried) in words.chunks(CARRIED).enumerate() {
        write_words::launch(
            launch.client,
            CubeCount::Static(1, 1, 1),
            CubeDim::new_1d(1),
            to.buffer(1),
            carried.iter().copied().collect(),
            (place * CARRIED) as u32,
        );
    }
}

/// `to[first..] = words`, by one unit.
#[cube(launch)]
pub(crate) fn write_words(to: &mut [u32], words: &Sequence<u32>, first: u32) {
    #[unroll]
    for i in 0..words.len() {
        to[first as usize + i] = words[i];
    }
}
