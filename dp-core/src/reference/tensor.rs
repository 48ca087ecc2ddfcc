//! A view of a row-major tensor with three axes.

use super::{Operand, Real, ReferenceError};

/// A borrowed row-major tensor `[batch, rows, columns]` of f32 or f64.
#[derive(Clone, Copy, Debug)]
pub struct Tensor3<'a, R = f32> {
    data: &'a [R],
    shape: [usize; 3],
}

impl<'a, R: Real> Tensor3<'a, R> {
    /// A view of `data` with the given shape.
    ///
    /// # Errors
    /// [`ReferenceError::TooLarge`] and [`ReferenceError::Length`] when they don't fit.
    pub fn new(data: &'a [R], shape: [usize; 3]) -> Result<Self, ReferenceError> {
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
    pub const fn data(&self) -> &'a [R] {
        self.data
    }

    /// The vector at `[batch, row, ..]`.
    pub(super) fn row(&self, batch: usize, row: usize) -> &'a [R] {
        let [_, rows, columns] = self.shape;
        let start = (batch * rows + row) * columns;
        &self.data[start..start + columns]
    }

    /// The element at `[batch, row, column]`, in f64.
    pub(super) fn at(&self, batch: usize, row: usize, column: usize) -> f64 {
        let [_, rows, columns] = self.shape;
        self.data[(batch * rows + row) * columns + column].widen()
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

pub(super) fn dot<R: Real>(x: &[R], y: &[R]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x.widen() * y.widen()).sum()
}

pub(super) fn add_into<R: Real>(target: &mut R, value: f64) {
    *target = R::round(target.widen() + value);
}
