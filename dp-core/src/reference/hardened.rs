//! The hardened release: rounded to a grid, noised in integers.

use super::ReferenceError;
use crate::noise::HardenedDraw;
use crate::noise::discrete::fill_discrete_gaussian;
use crate::noise::hardened::{from_grid, to_grid};
use crate::real::Real;

/// Replaces each element of the clipped sum `target` by `grid (round(element / grid) + noise)`, `noise` that of
/// [`fill_discrete_gaussian`]. An f64 element is rounded to f32 first.
///
/// # Errors
/// [`ReferenceError::Noise`] as [`HardenedDraw::check`]; `target` is then as it was.
pub fn release_hardened<F: Real>(
    target: &mut [F],
    draw: &HardenedDraw<'_>,
) -> Result<(), ReferenceError> {
    draw.check(target.len() as u64)?;
    let HardenedDraw {
        plan, key, step, ..
    } = draw;
    let inverse_grid = 1.0 / plan.grid();
    for (i, value) in target.iter_mut().enumerate() {
        let mut noise = [0];
        let element = draw.first_element + i as u64;
        fill_discrete_gaussian(&mut noise, element, plan.sigma(), key, *step, draw.tensor)?;
        let exact = value.widen() as f32;
        *value = F::from(from_grid(
            to_grid(exact, inverse_grid),
            noise[0],
            plan.grid(),
        ));
    }
    Ok(())
}
