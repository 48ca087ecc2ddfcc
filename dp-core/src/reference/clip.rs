//! From norms to factors, dead rows, and noise.

use super::{Operand, Real, ReferenceError};
use crate::clipping::Clipping;
use crate::noise::{Generator, Key, check_request, fill_gaussian};

/// Writes each example's clip factor: that of its norm where `mask` is exactly 1, else 0.
///
/// All three slices are `[B]`. A norm that is NaN, infinite or negative gives exactly 0.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn clip_factors<R: Real>(
    norms_sq: &[R],
    mask: &[f32],
    factors: &mut [R],
    clipping: Clipping,
) -> Result<(), ReferenceError> {
    ReferenceError::check_length(Operand::Mask, mask.len(), norms_sq.len())?;
    ReferenceError::check_length(Operand::Factors, factors.len(), norms_sq.len())?;
    for ((factor, norm_sq), mask) in factors.iter_mut().zip(norms_sq).zip(mask) {
        *factor = if *mask == 1.0 {
            clipping.factor(*norm_sq)
        } else {
            R::round(0.0)
        };
    }
    Ok(())
}

/// Overwrites with exact zeros the rows of `x` `[B, ..]` whose factor is 0, whatever they hold.
///
/// # Errors
/// [`ReferenceError::Length`] when `x` does not divide into as many rows as there are factors.
pub fn zero_dead_rows<R: Real>(x: &mut [R], factors: &[R]) -> Result<(), ReferenceError> {
    let row = x.len().checked_div(factors.len()).unwrap_or(0);
    ReferenceError::check_length(Operand::Data, x.len(), row * factors.len())?;
    if row == 0 {
        return Ok(());
    }
    for (row, factor) in x.chunks_exact_mut(row).zip(factors) {
        if factor.widen() == 0.0 {
            row.fill(R::round(0.0));
        }
    }
    Ok(())
}

/// Adds the Gaussian noise of [`fill_gaussian`] to `target`: in f32, to which an f64 target is rounded first.
///
/// # Errors
/// [`ReferenceError::Noise`] as [`fill_gaussian`]; `target` is then as it was.
pub fn add_gaussian_noise<R: Real>(
    target: &mut [R],
    first_element: u64,
    std: f32,
    key: &Key,
    generator: Generator,
    step: u64,
    tensor: u32,
) -> Result<(), ReferenceError> {
    const CHUNK: usize = Generator::ChaCha20.elements_per_group() as usize;
    check_request(first_element, target.len() as u64, std, generator, tensor)?;

    let mut first = first_element;
    for chunk in target.chunks_mut(CHUNK) {
        let mut noise = [0.0; CHUNK];
        let noise = &mut noise[..chunk.len()];
        fill_gaussian(noise, first, std, key, generator, step, tensor)?;
        for (target, noise) in chunk.iter_mut().zip(noise.iter()) {
            *target = R::from(target.widen() as f32 + noise);
        }
        first += chunk.len() as u64;
    }
    Ok(())
}
