//! One private step of two layers, and the ways to get it wrong.
//!
//! The step is made of dp-core's pieces: the plain twins of the kernels, which the conformance suite holds against every backend, and the noise
//! whose bits are the kernels'. A wrong step is ordinary code of this test that uses the same pieces wrongly, in one place.

use dp_core::accounting::Event;
use dp_core::clipping::Clipping;
use dp_core::ledger::Charge;
use dp_core::noise::{Generator, Key};
use dp_core::reference::{
    add_gaussian_noise, clip_factors, gradient_norm_sq, weighted_sum_gradient,
};

pub const CLIP: f32 = 0.8;
pub const SIGMA: f64 = 0.5;
/// Expected batch size, the divisor.
pub const EXPECTED: f32 = 32.0;
pub const LAYERS: usize = 2;
/// Elements of a layer.
pub const WIDTH: usize = 16;
/// Elements of a layer that one shard holds and noises.
pub const SHARD: usize = 8;

/// A record: its gradient at each layer, not clipped.
pub type Record = [[f32; WIDTH]; LAYERS];
/// What leaves a step.
pub type Release = [[f32; WIDTH]; LAYERS];

/// What the accountant was told.
pub const CHARGE: Charge = Charge {
    event: Event::Gaussian { sigma: SIGMA },
    clip: CLIP as f64,
    eta: 1e-6,
    count: 1,
    counts: None,
};

/// A step: as it must be, unless a method says otherwise.
pub trait Step {
    fn clip(&self) -> f32 {
        CLIP
    }

    fn noise_std(&self) -> f32 {
        CHARGE.noise_std() as f32
    }

    fn is_noised(&self, _layer: usize, _drawn: usize) -> bool {
        true
    }

    /// The step of the noise's counter.
    fn noise_step(&self, step: u64) -> u64 {
        step
    }

    /// The element of the noise's counter at which a shard begins.
    fn first_element(&self, shard: usize) -> u64 {
        (shard * SHARD) as u64
    }

    fn divisor(&self, _drawn: usize) -> f32 {
        EXPECTED
    }

    /// Clips each record's gradient of all layers together, sums, noises shard by shard, and divides.
    fn release(&self, batch: &[Record], key: &Key, step: u64) -> Release {
        let factors = self.factors(batch);
        let mut release = [[0.0; WIDTH]; LAYERS];
        for (layer, sum) in release.iter_mut().enumerate() {
            let of_layer: Vec<f32> = batch.iter().flat_map(|record| record[layer]).collect();
            weighted_sum_gradient(&of_layer, &factors, sum).unwrap();
            for (shard, part) in sum.chunks_mut(SHARD).enumerate() {
                if self.is_noised(layer, batch.len()) {
                    let (first, step) = (self.first_element(shard), self.noise_step(step));
                    let (std, generator) = (self.noise_std(), Generator::ChaCha20);
                    add_gaussian_noise(part, first, std, key, generator, step, layer as u32)
                        .unwrap();
                }
            }
            let divisor = self.divisor(batch.len());
            sum.iter_mut().for_each(|value| *value /= divisor);
        }
        release
    }

    fn factors(&self, batch: &[Record]) -> Vec<f32> {
        let gradients: Vec<f32> = batch.iter().flatten().flatten().copied().collect();
        let (mut norms, mut factors) = (vec![0.0; batch.len()], vec![0.0; batch.len()]);
        gradient_norm_sq(&gradients, &mut norms).unwrap();
        let mask = vec![1.0; batch.len()];
        let clipping = Clipping::Flat { clip: self.clip() };
        clip_factors(&norms, &mask, &mut factors, clipping).unwrap();
        factors
    }
}

pub struct TrueStep;
impl Step for TrueStep {}

/// The noise of the average, sigma C / B, added to the sum.
pub struct NoiseOfTheAverage;
impl Step for NoiseOfTheAverage {
    fn noise_std(&self) -> f32 {
        CHARGE.noise_std() as f32 / EXPECTED
    }
}

pub struct OneAndAHalfClip;
impl Step for OneAndAHalfClip {
    fn clip(&self) -> f32 {
        1.5 * CLIP
    }
}

pub struct LayerWithoutNoise;
impl Step for LayerWithoutNoise {
    fn is_noised(&self, layer: usize, _drawn: usize) -> bool {
        layer != 1
    }
}

pub struct SameNoiseAtEveryStep;
impl Step for SameNoiseAtEveryStep {
    fn noise_step(&self, _step: u64) -> u64 {
        0
    }
}

/// Each shard draws with the run's key from its own element 0.
pub struct SameKeyOnEachShard;
impl Step for SameKeyOnEachShard {
    fn first_element(&self, _shard: usize) -> u64 {
        0
    }
}

pub struct NoNoiseOnAnEmptyBatch;
impl Step for NoNoiseOnAnEmptyBatch {
    fn is_noised(&self, _layer: usize, drawn: usize) -> bool {
        drawn > 0
    }
}

pub struct DrawnBatchAsDivisor;
impl Step for DrawnBatchAsDivisor {
    fn divisor(&self, drawn: usize) -> f32 {
        drawn.max(1) as f32
    }
}
