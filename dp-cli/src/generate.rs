//! `dpcube generate`: continue a prompt with a trained model.

use dp_core::noise::chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::args::GenerateArgs;
use crate::device;
use crate::error::Failure;
use crate::model::{self, Reader, likeliest};
use crate::output::say;

/// Prints the prompt and its continuation.
///
/// # Errors
/// A folder without a model, a prompt longer than the context, a temperature that is no temperature.
pub fn run(args: &GenerateArgs) -> Result<(), Failure> {
    if !(args.temperature.is_finite() && args.temperature >= 0.0) {
        return Err(Failure::new(format!(
            "--temperature is {}: it must be 0 (the likeliest token) or a number above 0",
            args.temperature
        )));
    }
    let (checkpoint, tokenizer) = model::stored(&args.model)?;
    let (device, _) = device::open(args.device)?;
    let (model, config) = model::load(&checkpoint, &device)?;
    let reader = Reader {
        model,
        config,
        tokenizer: &tokenizer,
        device,
    };

    let mut random = ChaCha20Rng::seed_from_u64(args.seed);
    let choose = |logits: &[f32]| match args.temperature {
        0.0 => likeliest(logits),
        temperature => draw(logits, temperature, uniform(&mut random)),
    };
    let text = reader.complete(&[&args.prompt], args.max_tokens, choose)?;
    say!("{}{}", args.prompt, text.concat())?;
    Ok(())
}

/// A number in [0, 1) from the upper 53 bits.
fn uniform(random: &mut impl Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// The token that a uniform number in [0, 1) falls on.
fn draw(logits: &[f32], temperature: f64, uniform: f64) -> usize {
    let peak = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |&logit: &f32| (f64::from(logit - peak) / temperature).exp();
    let mut left = uniform * logits.iter().map(weight).sum::<f64>();
    for (token, logit) in logits.iter().enumerate() {
        left -= weight(logit);
        if left < 0.0 {
            return token;
        }
    }
    likeliest(logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_model() {
        let logits = [0.0, f32::ln(3.0), f32::NEG_INFINITY];
        assert_eq!(draw(&logits, 1.0, 0.24), 0);
        assert_eq!(draw(&logits, 1.0, 0.26), 1);
        assert_eq!(draw(&logits, 1.0, 0.999_999), 1);
        // At temperature 1/2 the odds are squared: 1 to 9.
        assert_eq!(draw(&logits, 0.5, 0.09), 0);
        assert_eq!(draw(&logits, 0.5, 0.11), 1);
        assert_eq!(likeliest(&logits), 1);
    }
}
