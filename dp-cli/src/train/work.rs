//! What one step computes: its batches, and the gradients of each.

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Device;
use dp_burn::{Batch, PrivateGradients, Tape, Transformer};
use dp_core::clipping::Clipping;
use dp_engine::batches::{Batches, LogicalBatch};
use dp_text::rows::Rows;

use super::data::Data;
use super::norms::Norms;
use super::private::{Guarantee, units_at_once};
use crate::args::Settings;
use crate::error::Failure;
use crate::model::upload;

/// The sums of a private run, clipped as its next step is charged.
pub fn sums_of(
    model: &Transformer,
    guarantee: &Guarantee,
    norms: Norms,
    rows_of_unit: usize,
) -> Result<PrivateGradients, Failure> {
    let clip = guarantee.clip();
    let sums = PrivateGradients::new(model, Clipping::Flat { clip })
        .planned(norms.planner, norms.asked)
        .with_rows_of_example(rows_of_unit);
    Ok(match guarantee.plan().adaptive_clip() {
        None => sums,
        Some(policy) => sums.with_adaptive_clip(*policy)?,
    })
}

/// The batches of a run without privacy, in a repeatable order.
pub fn seeded(data: &Data, settings: &Settings) -> Result<Batches, Failure> {
    let Settings {
        batch,
        microbatch,
        seed,
        ..
    } = *settings;
    let units = data.units();
    let rate = batch as f64 / units as f64;
    let most_records = data.unit().most_records();
    let at_once = units_at_once(microbatch, most_records.get() as usize);
    Ok(match data.users() {
        None => Batches::seeded(units, rate, at_once, seed)?,
        Some(users) => {
            Batches::seeded_users(users.owners.clone(), most_records, rate, at_once, seed)?
        }
    })
}

/// What the gradients of one logical batch are made from.
pub struct Work<'a> {
    /// Of the run.
    pub data: &'a Data,
    /// Tokens of a row.
    pub context: usize,
    /// A device that records a graph.
    pub graph: &'a Device,
    /// Expected batch size.
    pub batch: u64,
    /// Rows of a record, 1, or of a user.
    pub rows_of_unit: usize,
}

impl Work<'_> {
    /// Adds the clipped gradients of the batch into `sums`; nothing for an empty one.
    pub fn add_clipped(
        &self,
        model: &Transformer,
        batch: LogicalBatch<'_>,
        sums: &mut PrivateGradients,
    ) -> Result<(), Failure> {
        self.each_microbatch(batch, |batch| {
            let mut tape = Tape::private(self.graph);
            let losses = model.losses(&batch, &mut tape).sum();
            Ok(sums.add(tape, losses, batch.mask)?)
        })
    }

    /// Ordinary summed gradients over the expected batch size; `None` for an empty batch.
    pub fn ordinary(
        &self,
        model: &Transformer,
        batch: LogicalBatch<'_>,
    ) -> Result<Option<GradientsParams>, Failure> {
        if batch.is_empty() {
            return Ok(None);
        }
        let mut sums = GradientsAccumulator::new();
        self.each_microbatch(batch, |batch| {
            let mut tape = Tape::ordinary(self.graph);
            let loss = model.losses(&batch, &mut tape).sum() / self.batch as f64;
            sums.accumulate(model, GradientsParams::from_grads(loss.backward(), model));
            Ok(())
        })?;
        Ok(Some(sums.grads()))
    }

    fn each_microbatch(
        &self,
        batch: LogicalBatch<'_>,
        mut work: impl FnMut(Batch) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for microbatch in batch.microbatches() {
            let mut rows = Rows::new(microbatch.records.len(), self.context);
            let records: Vec<Option<usize>> = microbatch
                .records
                .iter()
                .map(|r| r.map(|r| r as usize))
                .collect();
            rows.fill(&self.data.train, &records)?;
            rows.average(self.rows_of_unit);
            work(upload(&rows, microbatch.mask, self.graph))?;
        }
        Ok(())
    }
}
