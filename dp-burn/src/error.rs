//! Why private gradients can't be made.

use burn::module::ParamId;
use dp_kernels::KernelError;
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
    /// The module has no parameters.
    #[error("the module has no float parameters, so there is nothing to train")]
    EmptyModule,
    /// A kernel refused its arguments.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}
