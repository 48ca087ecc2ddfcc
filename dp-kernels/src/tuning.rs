//! Launch parameters, read from the device's properties.

use crate::Routine;
use crate::tile::tensor::{self, MatrixUnits};
use cubecl::{
    client::Client,
    ir::ElemType,
    prelude::{CubeCount, CubeDim},
};
use dp_core::sensitivity::ClippedSum;

/// As how many roundings a stretch of 256 products counts that a matrix unit adds up: 16 instructions, each of which
/// cuts 16 products, the sum so far and the result to 24 bits, twice a rounding's error each.
pub const STRETCH_ROUNDINGS: u64 = (tensor::STRETCH as u64 / 16) * 18 * 2;

/// Cubes of ordinary units that keep one multiprocessor busy.
pub(crate) const BUSY_CUBES: usize = 4;

/// How to cut work for one device.
///
/// On the CPU runtime a cube's units are tasks on a pool of threads, and each of them walks all
/// cubes of the launch: units are the parallelism, cubes are a loop, and a barrier costs thread
/// switches. So there a row is one unit's, and kernels with barriers are never launched. On a GPU a
/// row is shared by many units, which meet in a tree in shared memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tuning {
    // These three are the device's and nobody's choice: with others a sum would lose terms, or two units write one place.
    /// Whether units are threads of a processor, not lanes of a GPU.
    pub(crate) is_cpu: bool,
    /// Units of one cube, a power of two on a GPU.
    pub(crate) units: u32,
    /// The widest load, in bytes, a power of two.
    pub(crate) vector_bytes: usize,
    /// The most cubes along one axis of a launch.
    pub max_cubes: u32,
    /// Cubes that keep a GPU busy.
    pub busy_cubes: usize,
    /// What a GPU has that multiplies 16-bit floats in matrices and adds them up in f32.
    pub matrix_units: Option<MatrixUnits>,
    /// The exact routine for [`matmul`](crate::matmul).
    pub routine: Routine,
}

impl Tuning {
    /// Reads the launch parameters off the device behind `client`.
    #[must_use]
    pub fn for_client(client: &Client) -> Self {
        let hardware = &client.properties().hardware;
        let is_cpu = hardware.num_cpu_cores.is_some();
        let units = if is_cpu {
            hardware.max_units_per_cube.max(1)
        } else {
            let most = hardware.max_units_per_cube.clamp(1, 256);
            1 << most.ilog2()
        };
        // A GPU unit loads at most 16 bytes at once, whatever the device says of its bus.
        let vector_bytes = if is_cpu {
            hardware.load_width as usize / 8
        } else {
            16
        };
        let (x, y, _) = hardware.max_cube_count;
        Self {
            is_cpu,
            units,
            vector_bytes: 1 << vector_bytes.clamp(4, 64).ilog2(),
            max_cubes: x.min(y),
            busy_cubes: BUSY_CUBES * hardware.num_streaming_multiprocessors.unwrap_or(16) as usize,
            matrix_units: MatrixUnits::of(client).filter(|_| !is_cpu),
            routine: Routine::for_client(client),
        }
    }

    /// Whether units are threads of a processor, not lanes of a GPU.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        self.is_cpu
    }

    /// Units of one cube, a power of two on a GPU.
    #[must_use]
    pub fn units(&self) -> u32 {
        self.units
    }

    /// The widest load, in bytes, a power of two.
    #[must_use]
    pub fn vector_bytes(&self) -> usize {
        self.vector_bytes
    }

    /// The same for inputs that no matrix unit takes, f32 and f64: their sums owe nothing to how matrix units round.
    #[must_use]
    pub fn without_matrix_units(&self) -> Self {
        Self {
            matrix_units: None,
            ..self.clone()
        }
    }

    /// The most roundings between an element of a clipped gradient and the finished sum over a logical batch of
    /// `microbatches` microbatches of `examples` by `tokens`: what
    /// [`ClippedSum::sum_depth`](dp_core::sensitivity::ClippedSum) wants.
    ///
    /// On a processor every weighted sum adds up an example's tokens first and then the examples (those of several short
    /// examples at once only where that is no deeper); on a GPU a tile may
    /// walk all tokens of a microbatch, in up to `examples` slices. One rounding is the product with the factor.
    ///
    /// Where 16-bit inputs go through matrix units their sums are taken in stretches, each of which counts as
    /// [`STRETCH_ROUNDINGS`] (docs/proofs/sensitivity.md), which is more than its additions only where there are few of them.
    ///
    /// Of a convolution and of channels the positions are the tokens. A tied table is summed in two parts, the embedding's
    /// and the head's: count its microbatches twice.
    #[must_use]
    pub fn weighted_sum_depth(&self, examples: u64, tokens: u64, microbatches: u64) -> u64 {
        let microbatch = if self.is_cpu {
            tokens + examples * microbatches
        } else {
            examples * tokens + examples + self.stretch_roundings()
        };
        microbatch + microbatches + 1
    }

    /// The most roundings between an element of A or G and a Linear's part of an example's squared norm, `T` by `[d, p]`,
    /// whichever way it is taken: what [`ClippedSum::norm_depth`](dp_core::sensitivity::ClippedSum) wants of one layer. What
    /// is added into the norm after it, a rounding for each further launch, comes on top.
    ///
    /// Gram: the two dot products, one after the other at most, `d + p`; their product; on a processor no more than `T` products, or 64, of
    /// a cell's row of tiles in each of four sums, its 16 rows, and the `T / 64` cells and as many blocks, on a GPU 64 pairs, a
    /// tree of 64 units and `T^2 / 2048` tiles.
    /// Materialised: `T` for an element, then the squares: on a processor `2 d` of a lane and `p` partial sums, on a GPU 64
    /// of a unit, a tree and `d p / 1024` tiles with the ragged ones, `(d + p) / 32`. By matrix units: a stretch of either dot
    /// product, what is left of them in stretches, 32 pairs a stretch of a unit and a tree of 256.
    #[must_use]
    pub fn linear_norm_depth(&self, tokens: u64, inputs: u64, outputs: u64) -> u64 {
        let gram = inputs + outputs + tokens + tokens * tokens / 1024;
        let materialised = tokens + 2 * inputs + outputs + inputs * outputs / 1024;
        gram.max(materialised) + 96 + 2 * self.stretch_roundings()
    }

    fn stretch_roundings(&self) -> u64 {
        if self.matrix_units.is_some() {
            STRETCH_ROUNDINGS
        } else {
            0
        }
    }

    /// The sum over a logical batch of at most `terms` examples, in microbatches of `examples` by `tokens`, as the kernels take it on this
    /// device: what [`ClippedSum::eta`] turns into the rounding that the noise must cover.
    ///
    /// `norm_depth` and `cancellation` are [`ClippedSum`]'s.
    #[must_use]
    pub fn clipped_sum(
        &self,
        terms: u64,
        [examples, tokens]: [u64; 2],
        norm_depth: u64,
        cancellation: f64,
    ) -> ClippedSum {
        let microbatches = terms.div_ceil(examples.max(1));
        ClippedSum {
            terms,
            sum_depth: self.weighted_sum_depth(examples, tokens, microbatches),
            norm_depth,
            cancellation,
        }
    }

    /// The most elements of one load where everything is f32.
    pub(crate) fn lanes(&self) -> usize {
        self.vector_bytes / size_of::<f32>()
    }

    /// The most elements of one load that is summed as `accumulator`: it is the sums that have to fit, whatever is loaded.
    pub(crate) fn lanes_of(&self, accumulator: ElemType) -> usize {
        (self.vector_bytes / accumulator.size()).max(1)
    }

    /// Whether each unit takes whole examples: where none is idle for long meanwhile.
    pub(crate) fn takes_whole_examples(&self, examples: usize) -> bool {
        let units = self.units as usize;
        10 * examples.div_ceil(units) * units <= 11 * examples
    }

    /// How many units share a row of `work` loads: one on a CPU, otherwise a power of two.
    pub(crate) fn width(&self, work: usize) -> u32 {
        if self.is_cpu {
            return 1;
        }
        let wanted = work.max(1).next_power_of_two();
        wanted.min(self.units as usize) as u32
    }

    /// The launch of `rows` rows with `width` units each; a kernel finds its row by
    /// [`row_of`](crate::reduce::row_of) and must ignore rows past the last.
    ///
    /// A processor's units take runs of neighbouring rows each: what one of them fetches ahead of itself it will need itself, and no two write
    /// one line of the cache. On a GPU neighbouring units take neighbouring rows.
    pub(crate) fn grid(&self, rows: usize, width: u32) -> (CubeCount, CubeDim) {
        let (long, short, dim) = self.cubes(rows, width);
        let count = if self.is_cpu {
            CubeCount::Static(short, long, 1)
        } else {
            CubeCount::Static(long, 1, short)
        };
        (count, dim)
    }

    /// Likewise, of rows that a processor's units take in turn: where neighbours differ in work, or share what they read.
    pub(crate) fn grid_in_turn(&self, rows: usize) -> (CubeCount, CubeDim) {
        let (long, short, dim) = self.cubes(rows, 1);
        (CubeCount::Static(long, 1, short), dim)
    }

    /// The cubes of two axes, most of them along the first, and their units.
    fn cubes(&self, rows: usize, width: u32) -> (u32, u32, CubeDim) {
        let rows_per_cube = (self.units / width).max(1) as usize;
        let cubes = rows.div_ceil(rows_per_cube).max(1);
        let long = cubes.min(self.max_cubes as usize);
        let short = cubes.div_ceil(long);
        let dim = CubeDim::new_1d(width * rows_per_cube as u32);
        (long as u32, short as u32, dim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::MAX_ELEMENTS;

    fn units_of(is_cpu: bool, units: u32, max_cubes: u32) -> Tuning {
        Tuning {
            is_cpu,
            units,
            vector_bytes: 16,
            max_cubes,
            busy_cubes: 528,
            matrix_units: None,
            routine: Routine::Units,
        }
    }

    /// The rows of a launch's units, cube after cube, as [`row_of`](crate::reduce::row_of) counts them.
    fn rows((count, dim): (CubeCount, CubeDim), width: u32) -> Vec<u32> {
        let CubeCount::Static(x, y, z) = count else {
            panic!("a launch of one size");
        };
        // The first axis is the quickest.
        let cubes = (0..x * y * z).map(|cube| (cube / (x * y) * x + cube % x, cube / x % y));
        cubes
            .flat_map(|(cube, cube_y)| {
                (0..dim.x).map(move |unit| row(cube, dim.x, unit, width).expect("few") * y + cube_y)
            })
            .collect()
    }

    /// The row of a unit on the second axis's first cube, as [`row_of`](crate::reduce::row_of) has it, unless a number on the way has no 32 bits.
    fn row(cube: u32, dim: u32, unit: u32, width: u32) -> Option<u32> {
        cube.checked_mul(dim / width)?.checked_add(unit / width)
    }

    /// Rows whose units are more than 2^32: of odd lengths, which go by single elements, so that nearly half of their units have none.
    #[test]
    fn rows_of_the_largest_tensors_are_all_taken() {
        for units in [64, 256] {
            let tuning = units_of(false, units, u32::from(u16::MAX));
            for length in [1, 3, 33, 65, 129] {
                let width = tuning.width(length);
                let rows = MAX_ELEMENTS as usize / length;
                let (CubeCount::Static(x, 1, z), dim) = tuning.grid(rows, width) else {
                    panic!("a launch of one size")
                };
                let last = row((z - 1) * x + x - 1, dim.x, dim.x - 1, width);
                assert!(
                    last.is_some_and(|last| last as usize >= rows - 1),
                    "{units} units, {rows} rows of {length}: {last:?}"
                );
            }
        }
    }

    /// Every row has its units, however many cubes an axis takes; on a processor a unit's rows follow each other.
    #[test]
    fn rows_are_all_taken() {
        for (is_cpu, units, max_cubes) in [
            (true, 2, 3),
            (true, 3, 1000),
            (false, 8, 5),
            (false, 8, 1000),
        ] {
            let tuning = units_of(is_cpu, units, max_cubes);
            for all in [1, 2, 7, 8, 17, 18] {
                for width in if is_cpu { vec![1] } else { vec![1, 2, 8] } {
                    let mut found = rows(tuning.grid(all, width), width);
                    found.sort_unstable();
                    found.dedup();
                    let wanted: Vec<u32> = (0..found.len() as u32).collect();
                    assert_eq!(found, wanted, "{tuning:?}, {all} rows");
                    assert!(found.len() >= all, "{tuning:?}, {all} rows");
                }
                let in_turn = rows(tuning.grid_in_turn(all), 1);
                assert!(in_turn.len() >= all);
            }
        }
        let run = rows(units_of(true, 2, 1000).grid(6, 1), 1);
        let of_first: Vec<u32> = run.into_iter().step_by(2).collect();
        assert_eq!(of_first, [0, 1, 2]);
        let in_turn = rows(units_of(true, 2, 1000).grid_in_turn(6), 1);
        assert_eq!(in_turn, [0, 1, 2, 3, 4, 5]);
        // Neighbours of a GPU are neighbours, on however many axes.
        for max_cubes in [2, 1000] {
            let of_a_gpu = rows(units_of(false, 2, max_cubes).grid(6, 1), 1);
            assert_eq!(of_a_gpu[..6], [0, 1, 2, 3, 4, 5]);
        }
    }

    /// What matrix units round is charged where they may be used, and to nobody who says that they are not.
    #[test]
    fn matrix_units_are_charged_to_who_uses_them() {
        let with = Tuning {
            matrix_units: Some(MatrixUnits::Planes),
            ..units_of(false, 256, 1 << 16)
        };
        let without = with.without_matrix_units();
        let sums = [&with, &without].map(|tuning| tuning.weighted_sum_depth(8, 1024, 3));
        assert_eq!(sums, [sums[1] + STRETCH_ROUNDINGS, 8 * 1024 + 8 + 3 + 1]);
        let norms = [&with, &without].map(|tuning| tuning.linear_norm_depth(1024, 768, 3072));
        assert_eq!(norms[0], norms[1] + 2 * STRETCH_ROUNDINGS);
    }
}
