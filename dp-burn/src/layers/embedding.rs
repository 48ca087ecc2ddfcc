//! The private token embedding.

use super::Init;
use crate::ops;
use crate::tape::{Leaf, Site, Tape};
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

/// Rows of `table [V, d]` by token id.
///
/// # Privacy
/// Counts with `sum_{t,t'} [id_t = id_t'] <g_t, g_t'>`: tokens that occur twice in an example add up.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[V, d]`.
    pub table: Param<Tensor<2>>,
}

impl Embedding {
    /// Normal rows of deviation `std`.
    pub fn new(init: &mut Init, vocabulary: usize, d: usize, std: f64) -> Self {
        Self {
            table: init.normal(vocabulary, d, std),
        }
    }

    /// `ids [B, T]`, each below V, to `[B, T, d]`.
    pub fn forward(&self, ids: Tensor<2, Int>, tape: &mut Tape) -> Tensor<3> {
        let tap = tape.tap();
        tape.note(|| Site::Embedding {
            table: Leaf::matrix(&self.table),
            ids: ids.clone(),
            tap: tap.clone(),
        });
        ops::embedding(self.table.val(), ids, tap)
    }
}
