//! The private positional embedding.

use super::Init;
use crate::ops;
use crate::tape::{Leaf, Site, Tape};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// Adds row t of `table [T, d]` to token t.
///
/// # Privacy
/// Counts with `sum_t |g_t|^2`: each place has parameters of its own.
#[derive(Module, Debug)]
pub struct Position {
    /// `[T, d]`.
    pub table: Param<Tensor<2>>,
}

impl Position {
    /// Normal rows of deviation `std`.
    pub fn new(init: &mut Init, context: usize, d: usize, std: f64) -> Self {
        Self {
            table: init.normal(context, d, std),
        }
    }

    /// `x [B, T, d]`, T at most the table's; on a private tape exactly the table's.
    pub fn forward(&self, x: Tensor<3>, tape: &mut Tape) -> Tensor<3> {
        let tap = tape.tap();
        tape.note(|| Site::Position {
            table: Leaf::matrix(&self.table),
            tap: tap.clone(),
        });
        ops::position(x, self.table.val(), tap)
    }
}
