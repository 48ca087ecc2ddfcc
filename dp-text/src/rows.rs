//! Records as rows of fixed shape: input ids, targets and loss weights.

use crate::canary::Completion;
use crate::tokenizer::{Specials, Tokenizer, TokenizerError};

/// Records as token ids, each cut to the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    tokens: Vec<u32>,
    /// Where each record ends in `tokens`.
    ends: Vec<usize>,
    context: usize,
    specials: Specials,
    cut: usize,
}

/// `[rows, context]` of input ids, targets and weights, row-major, for one microbatch.
///
/// A record of tokens `x_1 .. x_n` gives the inputs `bos, x_1, .., x_n` and the targets
/// `x_1, .., x_n, eos`; behind them stands `pad` with weight 0. The weights of a row's valid targets
/// are one over their number, so that the sum over a row of weight times cross-entropy is the mean
/// over the tokens of that record and no other. A row without a record has weight 0 throughout.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Number of rows, B.
    pub rows: usize,
    /// Places in a row, T.
    pub context: usize,
    /// Input ids `[B, T]`.
    pub ids: Vec<i32>,
    /// Target ids `[B, T]`.
    pub targets: Vec<i32>,
    /// Loss weights `[B, T]`.
    pub weights: Vec<f32>,
    /// Number of valid targets in all rows.
    pub tokens: usize,
}

/// Why rows could not be filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// A record that is not there.
    #[error("record {record} asked for; there are {records}")]
    NoSuchRecord {
        /// The record asked for.
        record: usize,
        /// Number of records.
        records: usize,
    },
    /// More records than rows.
    #[error("{records} records for {rows} rows")]
    TooManyRecords {
        /// Number of records given.
        records: usize,
        /// Number of rows.
        rows: usize,
    },
    /// Records encoded for one context, rows made for another.
    #[error("records cut to a context of {encoded} tokens for rows of {rows}")]
    OtherContext {
        /// Context of the records.
        encoded: usize,
        /// Context of the rows.
        rows: usize,
    },
    /// A text that must not be cut and does not fit.
    #[error("a canary has {tokens} tokens; the model's context holds {context}")]
    TooLong {
        /// Its tokens.
        tokens: usize,
        /// Places in a row.
        context: usize,
    },
    /// A text could not be encoded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl Encoded {
    /// Encodes every text and cuts it to `context` tokens.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn new(
        tokenizer: &Tokenizer,
        texts: &[String],
        context: usize,
    ) -> Result<Self, TokenizerError> {
        let mut encoded = Self {
            tokens: Vec::new(),
            ends: Vec::with_capacity(texts.len()),
            context,
            specials: tokenizer.specials(),
            cut: 0,
        };
        // In chunks, so that uncut ids of a large corpus are not all held at once.
        for chunk in texts.chunks(4096) {
            for ids in tokenizer.encode_all(chunk)? {
                encoded.cut += usize::from(ids.len() > context);
                encoded.tokens.extend(ids.iter().take(context));
                encoded.ends.push(encoded.tokens.len());
            }
        }
        Ok(encoded)
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Number of records that lost text because they were longer than the context.
    pub fn cut(&self) -> usize {
        self.cut
    }

    /// The places in a row that the records were cut to.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The tokens of a record, cut, without special tokens.
    pub fn record(&self, record: usize) -> Option<&[u32]> {
        let end = *self.ends.get(record)?;
        let start = match record {
            0 => 0,
            _ => *self.ends.get(record - 1)?,
        };
        self.tokens.get(start..end)
    }
}

impl Rows {
    /// Rows without a record, to be filled.
    pub fn new(rows: usize, context: usize) -> Self {
        let places = rows * context;
        Self {
            rows,
            context,
            ids: vec![0; places],
            targets: vec![0; places],
            weights: vec![0.0; places],
            tokens: 0,
        }
    }

    /// Fills row `i` with `records[i]`; `None`, and rows behind the last record, stay empty.
    ///
    /// # Errors
    /// [`RowsError`] where a record or a row is missing, or the context is another one.
    pub fn fill(&mut self, encoded: &Encoded, records: &[Option<usize>]) -> Result<(), RowsError> {
        if encoded.context != self.context {
            return Err(RowsError::OtherContext {
                encoded: encoded.context,
                rows: self.context,
            });
        }
        self.clear(encoded.specials, records.len())?;
        for (row, record) in records.iter().enumerate() {
            let Some(record) = *record else { continue };
            let tokens = encoded.record(record).ok_or(RowsError::NoSuchRecord {
                record,
                records: encoded.len(),
            })?;
            let valid = self.write(row, tokens, encoded.specials);
            let weight = 1.0 / valid as f32;
            self.row_mut(row)
                .2
                .iter_mut()
                .take(valid)
                .for_each(|place| *place = weight);
            self.tokens += valid;
        }
        Ok(())
    }

    /// Makes the rows of an owner count as one: of every `of_owner` rows in turn, the weights are divided by the number of them that
    /// hold a record, so that their sum of weight times cross-entropy is the mean over these records. 1 changes nothing.
    pub fn average(&mut self, of_owner: usize) {
        if of_owner <= 1 {
            return;
        }
        let context = self.context;
        for rows in self.weights.chunks_mut(of_owner * context) {
            // The first place of a record has a target, so it has a weight.
            let records = rows.chunks(context).filter(|row| row[0] > 0.0).count();
            let share = 1.0 / records.max(1) as f32;
            rows.iter_mut().for_each(|weight| *weight *= share);
        }
    }

    /// Fills row `i` with the text of `completions[i]` and gives weight 1 to each token of the
    /// completion, 0 to the prefix and the end: the sum over a row of weight times
    /// log-probability is the log-likelihood of the completion given the prefix.
    ///
    /// # Errors
    /// [`RowsError::TooLong`] where a text does not fit; see [`RowsError`].
    pub fn fill_completions(
        &mut self,
        tokenizer: &Tokenizer,
        completions: &[Completion],
    ) -> Result<(), RowsError> {
        let specials = tokenizer.specials();
        self.clear(specials, completions.len())?;
        for (row, completion) in completions.iter().enumerate() {
            let prefix = tokenizer.encode(&completion.prefix)?;
            let text = tokenizer.encode(&format!("{}{}", completion.prefix, completion.text))?;
            if text.len() > self.context {
                return Err(RowsError::TooLong {
                    tokens: text.len(),
                    context: self.context,
                });
            }
            // Where a token reaches over the end of the prefix, it counts as completion.
            let start = prefix.iter().zip(&text).take_while(|(a, b)| a == b).count();
            self.write(row, &text, specials);
            let weights = self.row_mut(row).2;
            weights
                .iter_mut()
                .take(text.len())
                .skip(start)
                .for_each(|place| *place = 1.0);
            self.tokens += text.len() - start;
        }
        Ok(())
    }

    fn clear(&mut self, specials: Specials, records: usize) -> Result<(), RowsError> {
        if records > self.rows {
            return Err(RowsError::TooManyRecords {
                records,
                rows: self.rows,
            });
        }
        self.ids.fill(specials.pad as i32);
        self.targets.fill(specials.pad as i32);
        self.weights.fill(0.0);
        self.tokens = 0;
        Ok(())
    }

    /// Writes ids and targets of one row and gives the number of valid targets.
    fn write(&mut self, row: usize, tokens: &[u32], specials: Specials) -> usize {
        let (ids, targets, _) = self.row_mut(row);
        let inputs = std::iter::once(&specials.bos).chain(tokens);
        ids.iter_mut()
            .zip(inputs)
            .for_each(|(place, &id)| *place = id as i32);
        let wanted = tokens.iter().chain(std::iter::once(&specials.eos));
        targets
            .iter_mut()
            .zip(wanted)
            .map(|(place, &id)| *place = id as i32)
            .count()
    }

    fn row_mut(&mut self, row: usize) -> (&mut [i32], &mut [i32], &mut [f32]) {
        let places = row * self.context..(row + 1) * self.context;
        (
            &mut self.ids[places.clone()],
            &mut self.targets[places.clone()],
            &mut self.weights[places],
        )
    }
}
