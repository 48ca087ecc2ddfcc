//! Whether a tokenizer lets a model know one code from another.

use super::{Canary, Completion};
use crate::tokenizer::Tokenizer;

/// Whether `tokenizer` gives back the code of each of `canaries`, and each digit in every place of a code.
///
/// A code that comes back is told from every other one by its ids. Where it does not, as with a tokenizer of words that has its
/// unknown token for each number, all codes are equally likely whatever the model kept, and exposure and recitation would say that it
/// knows nothing. Without canaries there is nothing to lose.
pub fn keeps_codes(tokenizer: &Tokenizer, canaries: &[Canary]) -> bool {
    canaries.iter().all(|canary| {
        let digits = ('0'..='9').map(|digit| digit.to_string().repeat(canary.code.len()));
        std::iter::once(canary.code.clone())
            .chain(digits)
            .all(|code| comes_back(tokenizer, &canary.with_code(&code), &code))
    })
}

/// Whether the text of `completion` ends in `code` after the way to ids and back.
fn comes_back(tokenizer: &Tokenizer, completion: &Completion, code: &str) -> bool {
    let text = format!("{}{}", completion.prefix, completion.text);
    let decoded = tokenizer
        .encode(&text)
        .and_then(|ids| tokenizer.decode(&ids));
    decoded.is_ok_and(|decoded| decoded.trim_end().ends_with(code))
}
