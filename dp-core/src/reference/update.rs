//! Noise, division by the expected batch, and an optimizer's step, in one pass.

use super::{Operand, Real, ReferenceError};
use crate::noise::{GaussianDraw, fill_gaussian};
use crate::update::UpdateRule;

/// What [`noised_update`] reads and writes, all of one length.
#[derive(Debug)]
pub struct Updated<'a, R = f32> {
    /// The clipped sum of the logical batch.
    pub sum: &'a mut [R],
    /// The parameter.
    pub parameter: &'a mut [R],
    /// The rule's first moment (momentum); empty where it has none.
    pub moment_1: &'a mut [R],
    /// The rule's second moment; empty where it has none.
    pub moment_2: &'a mut [R],
}

/// Adds the noise of `draw` to the clipped sum, divides by `expected_batch` and moves the parameter by `rule`; sets the sum to
/// zero if `zero_sum`, and leaves it as it was otherwise.
///
/// # Errors
/// [`ReferenceError`] when lengths disagree, the noise is refused or a number of the rule is out of range; nothing is written then.
///
/// # Precision
/// f32, each operation rounded once. Where the numbers are f64, the sum is rounded to f32 and noised there, and all that follows is f64.
pub fn noised_update<R: Real>(
    updated: Updated<'_, R>,
    draw: &GaussianDraw<'_>,
    expected_batch: f64,
    rule: UpdateRule,
    zero_sum: bool,
) -> Result<(), ReferenceError> {
    let Updated {
        sum,
        parameter,
        moment_1,
        moment_2,
    } = updated;
    let c = rule.coefficients(expected_batch)?;
    let len = sum.len();
    ReferenceError::check_length(Operand::Data, parameter.len(), len)?;
    let kept = |moment: usize| if rule.moments() >= moment { len } else { 0 };
    ReferenceError::check_length(Operand::Moment, moment_1.len(), kept(1))?;
    ReferenceError::check_length(Operand::Moment, moment_2.len(), kept(2))?;
    draw.check(len as u64)?;

    for (i, sum) in sum.iter_mut().enumerate() {
        let mut noise = [0.0];
        fill_gaussian(
            &mut noise,
            draw.first_element + i as u64,
            draw.std,
            draw.key,
            draw.generator,
            draw.step,
            draw.tensor,
        )?;
        let p = parameter[i];
        let noised = sum.widen() as f32 + noise[0];
        let g = R::from(noised) * R::from(c.scale);
        let [decay, beta_1, beta_2] = [c.decay, c.beta_1, c.beta_2].map(R::from);
        let one = R::from(1.0);
        parameter[i] = match rule {
            UpdateRule::Sgd { nesterov, .. } => {
                let g = g + decay * p;
                let direction = if moment_1.is_empty() {
                    g
                } else {
                    moment_1[i] = beta_1 * moment_1[i] + g;
                    let ahead = g + beta_1 * moment_1[i];
                    if nesterov { ahead } else { moment_1[i] }
                };
                p - R::from(c.rate) * direction
            }
            UpdateRule::AdamW { .. } => {
                moment_1[i] = beta_1 * moment_1[i] + (one - beta_1) * g;
                moment_2[i] = beta_2 * moment_2[i] + (one - beta_2) * g * g;
                let spread = (moment_2[i] * R::from(c.unbias_2)).square_root();
                let spread = spread + R::from(c.epsilon);
                p * decay - moment_1[i] * R::from(c.unbias_1) / spread
            }
        };
        if zero_sum {
            *sum = R::from(0.0);
        }
    }
    Ok(())
}
