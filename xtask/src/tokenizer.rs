//! `cargo xtask tokenizer`: the byte-level BPE of 4096 tokens, trained on the shipped corpus only.
//!
//! The corpus is public. A tokenizer trained on the records of a private run would release what
//! those records contain without noise, so this one is trained here, once, and shipped.

use crate::Result;

/// Writes `corpus/tokenizer-4096.json` again.
#[cfg(not(feature = "tokenizer"))]
pub(crate) fn make() -> Result<()> {
    let task = [
        "run",
        "--release",
        "--package",
        "xtask",
        "--features",
        "tokenizer",
        "tokenizer",
    ];
    crate::process::run(crate::process::cargo().args(task))
}

#[cfg(feature = "tokenizer")]
pub(crate) use training::make;

#[cfg(feature = "tokenizer")]
mod training {
    use std::path::PathBuf;

    use tokenizers::decoders::byte_level::ByteLevel;
    use tokenizers::models::bpe::{BPE, BpeTrainer};
    use tokenizers::pre_tokenizers::PreTokenizerWrapper;
    use tokenizers::pre_tokenizers::digits::Digits;
    use tokenizers::pre_tokenizers::sequence::Sequence;
    use tokenizers::{
        AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, TokenizerImpl,
    };

    use super::Result;
    use crate::{corpus, digest, workspace};

    type Bpe = TokenizerImpl<
        BPE,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >;

    const VOCABULARY: usize = 4096;

    /// Special tokens; their ids are their positions here.
    const SPECIAL: [&str; 3] = ["<pad>", "<bos>", "<eos>"];

    /// Trains the tokenizer and writes it.
    pub(crate) fn make() -> Result<()> {
        std::fs::write(path(), json()?)?;
        println!(
            "{}: SHA-256 {}",
            path().display(),
            digest::of_file(&path())?
        );
        Ok(())
    }

    fn path() -> PathBuf {
        workspace::root().join("corpus/tokenizer-4096.json")
    }

    fn json() -> Result<String> {
        let text = std::fs::read_to_string(corpus::path())?;
        let mut json = trained(&text)?.to_string(false)?;
        json.push('\n');
        Ok(json)
    }

    /// Digits are split singly, and all 256 bytes are tokens, so that any text round-trips.
    fn trained(text: &str) -> Result<Bpe> {
        let mut trainer = BpeTrainer::builder()
            .vocab_size(VOCABULARY)
            .min_frequency(2)
            .special_tokens(SPECIAL.map(|token| AddedToken::from(token, true)).to_vec())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .show_progress(false)
            .build();
        let bytes = ByteLevel::new(false, false, true);
        let mut tokenizer = Bpe::new(BPE::default());
        tokenizer
            .with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(vec![
                Digits::new(true).into(),
                bytes.into(),
            ]))))
            .with_decoder(Some(DecoderWrapper::ByteLevel(bytes)));
        tokenizer.train(&mut trainer, text.lines())?;
        Ok(tokenizer)
    }

    #[cfg(test)]
    mod tests {
        use tokenizers::Tokenizer;

        use super::*;

        fn shipped() -> Tokenizer {
            let mut tokenizer = Tokenizer::from_file(path()).unwrap();
            tokenizer.set_encode_special_tokens(true);
            tokenizer
        }

        #[test]
        fn the_shipped_file_is_made_again_bit_for_bit() {
            assert!(json().unwrap() == std::fs::read_to_string(path()).unwrap());
        }

        #[test]
        fn vocabulary_and_special_tokens() {
            let tokenizer = shipped();
            assert_eq!(tokenizer.get_vocab_size(true), VOCABULARY);
            for (id, token) in SPECIAL.iter().enumerate() {
                assert_eq!(tokenizer.token_to_id(token), Some(id as u32));
            }
            let bytes = ByteLevel::alphabet();
            assert_eq!(bytes.len(), 256);
            assert!(
                bytes
                    .iter()
                    .all(|c| tokenizer.token_to_id(&c.to_string()).is_some())
            );
        }

        #[test]
        fn any_text_round_trips() {
            let tokenizer = shipped();
            let every_scalar: String = (0..=0x10ffff)
                .step_by(37)
                .filter_map(char::from_u32)
                .collect();
            let texts = [
                "",
                " two  spaces\t\r\n",
                "naïve 北京 🦀\u{0}",
                "a<eos>b<pad>",
                &every_scalar,
            ];
            for text in texts {
                let ids = tokenizer.encode(text, false).unwrap().get_ids().to_vec();
                assert!(
                    ids.iter().all(|&id| id >= SPECIAL.len() as u32),
                    "{text:?} holds a special token"
                );
                assert!(tokenizer.decode(&ids, false).unwrap() == text, "{text:?}");
            }
        }

        #[test]
        fn digits_stand_alone() {
            let tokenizer = shipped();
            let encoding = tokenizer.encode("code 482913.", false).unwrap();
            let tokens = encoding.get_tokens();
            let digits = tokens
                .iter()
                .filter(|token| token.contains(|c: char| c.is_ascii_digit()));
            assert!(
                digits
                    .clone()
                    .all(|token| token.trim_start_matches('Ġ').len() == 1)
            );
            assert_eq!(digits.count(), 6);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{digest, workspace};

    #[test]
    fn the_shipped_file_is_the_one_described() {
        let folder = workspace::root().join("corpus");
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let digest = digest::of_file(&folder.join("tokenizer-4096.json")).unwrap();
        assert!(
            readme.contains(&digest),
            "corpus/README.md does not name SHA-256 {digest}"
        );
    }
}
