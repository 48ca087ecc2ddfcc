//! Matrix products.

use super::{Operand, ReferenceError, Tensor3};

/// Which operands of a product are read transposed (their last two axes exchanged).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Transposes {
    /// Read the left operand as `[.., k, m]`.
    pub lhs: bool,
    /// Read the right operand as `[.., n, k]`.
    pub rhs: bool,
}

/// Overwrites `out` `[batch, m, n]` with the batched product of `lhs` `[batch, m, k]` and `rhs`
/// `[batch, k, n]`, either one transposed on request. A batch of 1 is used for every product.
///
/// # Errors
/// [`ReferenceError::Axis`] and [`ReferenceError::Length`] when the shapes disagree.
pub fn matmul(
    lhs: Tensor3<'_>,
    rhs: Tensor3<'_>,
    out: &mut [f32],
    transposes: Transposes,
) -> Result<(), ReferenceError> {
    let [lhs_batch, rows, shared] = oriented(lhs, transposes.lhs);
    let [rhs_batch, rhs_shared, columns] = oriented(rhs, transposes.rhs);
    let batch = lhs_batch.max(rhs_batch);
    if lhs_batch != 1 {
        ReferenceError::check_axis(Operand::Left, 0, lhs_batch, batch)?;
    }
    if rhs_batch != 1 {
        ReferenceError::check_axis(Operand::Right, 0, rhs_batch, batch)?;
    }
    let rhs_axis = if transposes.rhs { 2 } else { 1 };
    ReferenceError::check_axis(Operand::Right, rhs_axis, rhs_shared, shared)?;
    ReferenceError::check_length(Operand::Out, out.len(), batch * rows * columns)?;

    let left = |b: usize, i, k| {
        let b = b.min(lhs_batch - 1);
        if transposes.lhs {
            lhs.at(b, k, i)
        } else {
            lhs.at(b, i, k)
        }
    };
    let right = |b: usize, k, j| {
        let b = b.min(rhs_batch - 1);
        if transposes.rhs {
            rhs.at(b, j, k)
        } else {
            rhs.at(b, k, j)
        }
    };
    for b in 0..batch {
        for i in 0..rows {
            for j in 0..columns {
                let sum: f64 = (0..shared).map(|k| left(b, i, k) * right(b, k, j)).sum();
                out[(b * rows + i) * columns + j] = sum as f32;
            }
        }
    }
    Ok(())
}

fn oriented(x: Tensor3<'_>, transposed: bool) -> [usize; 3] {
    let [batch, rows, columns] = x.shape();
    if transposed {
        [batch, columns, rows]
    } else {
        [batch, rows, columns]
    }
}
