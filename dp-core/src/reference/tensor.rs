//! A view of a row-major tensor with three axes.

use super::{Operand, ReferenceError};

/// A borrowed row-major tensor `[batch, rows, columns]`.
#[derive(Clone, Copy, Debug)]
pub struct Tensor3<'a> {
    data: &'a [f32],
    shape: [usize; 3],
}

impl<'a> Tensor3<'a> {
    /// A view of `data` with the given shape.
    ///
    /// # Errors
    /// [`ReferenceError::TooLarge`] and [`ReferenceError::Length`] when they don't fit.
    pub fn new(data: &'a [f32], shape: [usize; 3]) -> Result<Self, ReferenceError> {
        let elements = shape[0]
            .checked_mul(shape[1])
            .and_then(|n| n.checked_mul(shape[2]))
            .ok_or(ReferenceError::TooLarge { shape })?;
        ReferenceError::check_length(Operand::Data, data.len(), elements)?;
        Ok(Self { data, shape })
    }

    /// `[batch, rows, columns]`.
    pub const fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The elements, row-major.
    pub const fn data(&self) -> &'a [f32] {
        self.data
    }

    /// The vector at `[batch, row, ..]`.
    pub(super) fn row(&self, batch: usize, row: usize) -> &'a [f32] {
        let [_, rows, columns] = self.shape;
        let start = (batch * rows + row) * columns;
        &self.data[start..start + columns]
    }

    /// The element at `[batch, row, column]`, in f64.
    pub(super) fn at(&self, batch: usize, row: usize, column: usize) -> f64 {
        let [_, rows, columns] = self.shape;
        f64::from(self.data[(batch * rows + row) * columns + column])
    }

    /// Checks that the first axes agree with `other`'s, as many as `axes`.
    pub(super) fn check_same(
        &self,
        other: &Self,
        axes: usize,
        operand: Operand,
    ) -> Result<(), ReferenceError> {
        for axis in 0..axes {
            ReferenceError::check_axis(operand, axis, other.shape[axis], self.shape[axis])?;
        }
        Ok(())
    }
}

pub(super) fn dot(x: &[f32], y: &[f32]) -> f64 {
    x.iter()
        .zip(y)
        .map(|(x, y)| f64::from(*x) * f64::from(*y))
        .sum()
}

pub(super) fn add_into(target: &mut f32, value: f64) {
    *target = (f64::from(*target) + value) as f32;
}
