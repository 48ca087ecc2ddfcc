//! The hardened release: rounded to a grid, noised in integers.

use super::ReferenceError;
use crate::noise::Key;
use crate::noise::discrete::{check_discrete_request, fill_discrete_gaussian};
use crate::noise::hardened::{Hardened, from_grid, to_grid};

/// Replaces each element of the clipped sum `target` by `grid (round(element / grid) + noise)`, `noise` that of
/// [`fill_discrete_gaussian`].
///
/// # Errors
/// [`ReferenceError::Noise`] as [`fill_discrete_gaussian`]; `target` is then as it was.
pub fn release_hardened(
    target: &mut [f32],
    first_element: u64,
    plan: &Hardened,
    key: &Key,
    step: u64,
    tensor: u32,
) -> Result<(), ReferenceError> {
    let len = target.len() as u64;
    check_discrete_request(first_element, len, plan.sigma(), tensor)?;
    let inverse_grid = 1.0 / plan.grid();
    for (i, value) in target.iter_mut().enumerate() {
        let mut noise = [0];
        let element = first_element + i as u64;
        fill_discrete_gaussian(&mut noise, element, plan.sigma(), key, step, tensor)?;
        *value = from_grid(to_grid(*value, inverse_grid), noise[0], plan.grid());
    }
    Ok(())
}
