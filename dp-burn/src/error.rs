//! Why private gradients can't be made.

use burn::module::ParamId;
use dp_core::clipping::NoisedCounts;
use dp_kernels::{KernelError, ReadError};
use thiserror::Error;

/// Why private gradients can't be made. Nothing is released when one is returned.
#[derive(Debug, Error)]
pub enum PrivacyError {
    /// A parameter of the module took no part in the private forward pass: its gradient would be
    /// missing, or formed without clipping and noise.
    #[error(
        "parameter {0} of the module has no private gradient: run it through a private layer, or take it out of the module"
    )]
    Uncovered(ParamId),
    /// A parameter was used twice in one forward pass: the norm's cross term is not computed.
    #[error(
        "parameter {0} was used twice in one forward pass, and the norm of a shared parameter's gradient has a cross term that isn't computed here: use separate parameters"
    )]
    Shared(ParamId),
    /// A parameter that took part is not one of the module's.
    #[error(
        "parameter {0} took part in the forward pass but is not one of the module that these gradients were made for"
    )]
    Unknown(ParamId),
    /// A layer has a parameter that is trained and one that is frozen.
    #[error(
        "parameter {0} is frozen and another of its layer is not: freeze all parameters of the layer (`no_grad` on the layer), or none"
    )]
    PartlyFrozen(ParamId),
    /// A parameter was used outside its private layer too.
    #[error(
        "parameter {0} was used outside its private layer too, and that part of its gradient would be missing: use it through the layer alone, once"
    )]
    Outside(ParamId),
    /// A parameter is frozen now and was trained when the sums were made, or the other way round.
    #[error(
        "parameter {0} was frozen or thawed since these sums were made: make new ones between two logical batches (PrivateGradients::new)"
    )]
    FrozenSince(ParamId),
    /// A parameter that has a sum is not one of the module's.
    #[error(
        "parameter {0} has a sum and is not one of the module that is to be moved: step the whole module that the sums were made for, since a sum \
         that a step passes by would hold its batch beside the next one's, with noise for one"
    )]
    Absent(ParamId),
    /// A call that writes the sums failed on its way, so that nobody knows what they hold.
    #[error(
        "an earlier call failed on its way and the sums may hold a part of a batch: drop them, make new ones, and go back to the last checkpoint \
         where a step had begun"
    )]
    HalfDone,
    /// A tap caught no gradient: the layer's output did not reach the loss.
    #[error(
        "the output of the layer with parameter {0} did not reach the loss: its gradient is missing"
    )]
    Unreached(ParamId),
    /// The tape was not private, so that nothing was recorded.
    #[error("the forward pass recorded no private layer: hand it Tape::private")]
    EmptyTape,
    /// The mask has another length than the microbatch has examples.
    #[error(
        "the mask has {mask} numbers and the microbatch {rows} examples: give one 0 or 1 for each example"
    )]
    Mask {
        /// Length of the mask.
        mask: usize,
        /// Examples of the microbatch.
        rows: usize,
    },
    /// The rows of the microbatch are no whole number of examples.
    #[error(
        "the microbatch has {rows} rows, and every {of_example} are one example: fill up the last one with empty rows"
    )]
    RowsOfExample {
        /// Rows of the microbatch.
        rows: usize,
        /// Rows of an example.
        of_example: usize,
    },
    /// The divisor is not a positive number.
    #[error(
        "the divisor of the noised sum is {0}: it is the expected batch size q * N, a positive number"
    )]
    Divisor(f64),
    /// A clipping norm that follows a quantile was asked for of sums that are not clipped to a norm.
    #[error(
        "a clipping norm that follows a quantile is for flat clipping: automatic clipping scales every gradient, whatever its norm"
    )]
    NotFlat,
    /// Norms of several groups were asked for, where one of the whole gradient is taken.
    #[error("the counts are of {0} groups, and the norm here is of the whole gradient: choose 1")]
    Groups(usize),
    /// The step was not charged with the counts that its sums have, or was charged with counts that they don't have.
    #[error(
        "the step was charged for {}, and the sums have {}: charge them as they are (Plan::with_adaptive_clip and Plan::charge_at)",
        counts(*charged),
        counts(*counted)
    )]
    Counts {
        /// What the reservation says.
        charged: Option<NoisedCounts>,
        /// What the sums have.
        counted: Option<NoisedCounts>,
    },
    /// The step was charged for a smaller clipping norm than its gradients have.
    #[error(
        "the step was charged for clipping norm {charged} and its gradients are clipped to {clip}: charge the norm that they have \
         (PrivateGradients::clip)"
    )]
    ChargedClip {
        /// The gradients'.
        clip: f32,
        /// The reservation's.
        charged: f64,
    },
    /// Counts were released and made no clipping norm yet, or none were released.
    #[error(
        "the next clipping norm comes from the counts of a step, after its release and before the next batch: call next_clip once between them"
    )]
    NextClip,
    /// Sums with an adaptive clipping norm were released without taking the next one.
    #[error(
        "these sums count for the next clipping norm: release them by release_with_clip, which gives it"
    )]
    WithClip,
    /// The device could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The module has no parameters.
    #[error("the module has no float parameters, so there is nothing to train")]
    EmptyModule,
    /// A kernel refused its arguments.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

fn counts(counts: Option<NoisedCounts>) -> String {
    counts.map_or_else(
        || "a sum alone".to_owned(),
        |counts| {
            format!(
                "counts of {} group(s) with noise of standard deviation {}",
                counts.groups(),
                counts.std()
            )
        },
    )
}
