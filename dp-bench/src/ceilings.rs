//! What the device reaches at best: copying, reading, multiplying matrices.

// CubeCL expands casts that are idle in the host's types.
#![allow(clippy::unnecessary_cast)]

use cubecl::{ir::FloatKind, prelude::*, std::tensor::TensorHandle};
use dp_kernels::{Ceilings, Routine, Transposes, matmul};
use serde::{Deserialize, Serialize};

use crate::data::Stream;
use crate::{Bench, BenchError, Clock, Cost};

/// Rates measured on the device before anything else, the best of some tries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DeviceCeilings {
    /// Bytes a second of a copy, read and written both counted.
    pub copy_bytes_per_s: f64,
    /// Bytes a second of a norm that hardly does more than read.
    pub read_bytes_per_s: f64,
    /// FLOP a second of an f32 product of large square matrices, with the quickest exact routine on the device.
    pub gemm_flop_per_s: f64,
    /// FLOP a second of a bf16 product of such matrices on the device's matrix units; none where it has none for the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemm_half_flop_per_s: Option<f64>,
}

/// Which ceiling a row runs into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// The bandwidth.
    Memory,
    /// The rate of matrix products.
    Compute,
}

/// Tries of which the best counts.
const TRIES: usize = 5;
/// A product this long hides what a launch costs.
const LONG_ENOUGH: f64 = 0.03;
/// Sides of the products that are tried.
const SIDES: [usize; 5] = [512, 1024, 2048, 4096, 8192];
/// At most this much is copied, whatever the cache.
const MOST_COPIED: u64 = 1 << 30;

impl DeviceCeilings {
    /// Measures them on an idle device; takes a second or a few.
    ///
    /// # Errors
    /// [`BenchError`] where a launcher or the device refuses.
    pub fn measure(bench: &Bench) -> Result<Self, BenchError> {
        let kernels = Ceilings::measure(&bench.backend)?;
        Ok(Self {
            copy_bytes_per_s: copy_rate(bench)?,
            read_bytes_per_s: kernels.read_bytes(),
            gemm_flop_per_s: single_rate(bench)?,
            gemm_half_flop_per_s: match bench.backend.tuning.matrix_units.is_some() {
                true => Some(half_rate(bench)?),
                false => None,
            },
        })
    }

    /// The larger of the two bandwidths. What a processor adds to in place can pass it: a copy also fetches the lines that it writes, uncounted.
    #[must_use]
    pub fn bytes_per_s(&self) -> f64 {
        self.copy_bytes_per_s.max(self.read_bytes_per_s)
    }

    /// The least seconds that a cost allows, and what binds.
    #[must_use]
    pub fn least(&self, cost: &Cost) -> (f64, Bound) {
        let moving = cost.bytes as f64 / self.bytes_per_s();
        let rate = match self.gemm_half_flop_per_s {
            Some(rate) if cost.half => rate,
            _ => self.gemm_flop_per_s,
        };
        let computing = cost.flop as f64 / rate;
        if moving >= computing {
            (moving, Bound::Memory)
        } else {
            (computing, Bound::Compute)
        }
    }
}

fn copy_rate(bench: &Bench) -> Result<f64, BenchError> {
    let tuning = &bench.backend.tuning;
    let bytes = (4 * bench.cache().0).min(MOST_COPIED).min(bench.memory / 2);
    let lanes = tuning.vector_bytes() / size_of::<f32>();
    let vectors = bytes as usize / 2 / tuning.vector_bytes();
    let from = bench.upload_f32(&[vectors, lanes], &Stream::new(1).bell(vectors * lanes));
    let to = bench.zeros(&[vectors, lanes]);
    // A processor's unit copies its share from end to end: units that take turns fetch ahead what another one needs.
    let run = if tuning.is_cpu() {
        vectors.div_ceil(tuning.units() as usize)
    } else {
        1
    };
    let units = vectors.div_ceil(run);
    let cubes = units.div_ceil(tuning.units() as usize);
    let x = cubes.min(tuning.max_cubes as usize);
    let count = CubeCount::Static(x as u32, cubes.div_ceil(x) as u32, 1);
    let launch = || {
        copy_vectors::launch(
            bench.client(),
            count.clone(),
            CubeDim::new_1d(tuning.units()),
            lanes,
            buffer(&from, vectors),
            buffer(&to, vectors),
            vectors as u32,
            run,
        );
        Ok(())
    };
    let seconds = best(bench, launch)?;
    let copied = 2 * vectors * lanes * size_of::<f32>();
    // A copy that did not happen would be the fastest of all.
    let last = vectors * lanes - 1;
    if bench.download(&to)?[last] != bench.download(&from)?[last] {
        return Err(BenchError::Device("a copy that is not one".into()));
    }
    Ok(copied as f64 / seconds)
}

/// `vectors` vectors of the tensor.
fn buffer(tensor: &TensorHandle, vectors: usize) -> BufferArg {
    // SAFETY: the tensors above have `vectors` rows of one vector each.
    unsafe { BufferArg::from_raw_parts(tensor.handle.clone(), vectors) }
}

/// `to[i] = from[i]`; a unit takes `run` neighbours.
#[cube(launch)]
fn copy_vectors<N: Size>(
    from: &[Vector<f32, N>],
    to: &mut [Vector<f32, N>],
    vectors: u32,
    #[comptime] run: usize,
) {
    let unit = CUBE_POS as usize * CUBE_DIM as usize + UNIT_POS as usize;
    let first = unit * run;
    for i in 0..run {
        if first + i < vectors as usize {
            to[first + i] = from[first + i];
        }
    }
}

/// The best rate of square products, by each way of reading the operands, from the side on that takes long enough.
fn gemm_rate(bench: &Bench, kind: FloatKind, routine: Routine) -> Result<f64, BenchError> {
    let mut most: f64 = 0.0;
    for side in SIDES {
        let shape = [side, side];
        let lhs = bench.upload(&shape, &Stream::new(2).bell(side * side), kind);
        let rhs = bench.upload(&shape, &Stream::new(3).bell(side * side), kind);
        let out = bench.upload(&shape, &vec![0.0; side * side], kind);
        let mut shortest = f64::INFINITY;
        for transposes in [Transposes::NONE, Transposes::LHS, Transposes::RHS] {
            let launch = || {
                Ok(matmul(
                    &bench.launch(),
                    &lhs,
                    &rhs,
                    &out,
                    transposes,
                    routine,
                )?)
            };
            let seconds = best(bench, launch)?;
            shortest = shortest.min(seconds);
            most = most.max(2.0 * (side as f64).powi(3) / seconds);
        }
        if shortest >= LONG_ENOUGH {
            break;
        }
    }
    Ok(most)
}

/// The better of the exact routines for f32: on a GPU cubek's is the quicker for large squares.
fn single_rate(bench: &Bench) -> Result<f64, BenchError> {
    let tuning = &bench.backend.tuning;
    let ours = gemm_rate(bench, FloatKind::F32, tuning.routine)?;
    if tuning.is_cpu() || tuning.routine == Routine::Units {
        return Ok(ours);
    }
    Ok(ours.max(gemm_rate(bench, FloatKind::F32, Routine::Units)?))
}

/// The better of both routines for 16-bit floats.
fn half_rate(bench: &Bench) -> Result<f64, BenchError> {
    let ours = gemm_rate(bench, FloatKind::BF16, Routine::MatrixUnits)?;
    Ok(ours.max(gemm_rate(bench, FloatKind::BF16, Routine::TensorCores)?))
}

/// What multiplies matrices of a type without privacy: the exact routine for f32, the fastest that was found for 16-bit floats.
pub(crate) fn ordinary_routine(bench: &Bench, kind: FloatKind) -> Routine {
    match kind {
        FloatKind::F16 | FloatKind::BF16 => Routine::MatrixUnits,
        _ => bench.backend.tuning.routine,
    }
}

/// Seconds of the shortest of a few launches; the first, which compiles, isn't counted.
fn best(bench: &Bench, launch: impl Fn() -> Result<(), BenchError>) -> Result<f64, BenchError> {
    let clock = Clock::of(bench, &launch)?;
    launch()?;
    let mut shortest = f64::INFINITY;
    for _ in 0..TRIES {
        shortest = shortest.min(clock.time(bench, &launch)?);
    }
    Ok(shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What binds is what takes longer at its own rate.
    #[test]
    fn the_longer_time_binds() {
        let ceilings = DeviceCeilings {
            copy_bytes_per_s: 10.0,
            read_bytes_per_s: 20.0,
            gemm_flop_per_s: 100.0,
            gemm_half_flop_per_s: Some(400.0),
        };
        let of = |bytes, flop, half| ceilings.least(&Cost { bytes, flop, half });
        let least = |bytes, flop| of(bytes, flop, false);
        assert_eq!(least(40, 100), (2.0, Bound::Memory));
        assert_eq!(least(40, 300), (3.0, Bound::Compute));
        assert_eq!(least(0, 100), (1.0, Bound::Compute));
        assert_eq!(of(20, 600, true), (1.5, Bound::Compute));
    }
}
