//! From a file of records to what the loop trains on and measures with.

use std::path::Path;

use dp_engine::checkpoint::Dataset;
use dp_engine::fingerprint::dataset_fingerprint;
use dp_text::canary::{Canary, canaries, plant};
use dp_text::records::{HeldOut, Records};
use dp_text::rows::Encoded;
use dp_text::tokenizer::Tokenizer;

use crate::args::TrainArgs;
use crate::error::Failure;
use crate::report::DataSummary;

/// Records of each invented patient.
pub const CANARY_COPIES: usize = 16;

/// Everything that comes from the records.
pub struct Data {
    /// Training records, canaries among them.
    pub train: Encoded,
    /// Held-out records.
    pub held_out: Encoded,
    /// The planted secrets.
    pub canaries: Vec<Canary>,
    /// The places of their copies in `train`, in ascending order.
    pub planted: Vec<usize>,
    /// The seed of the split and the canaries.
    pub seed: u64,
    /// Counts for the report.
    pub summary: DataSummary,
    dataset: Dataset,
}

/// Which records, and how they are split and planted.
pub struct Source<'a> {
    /// The file.
    pub data: &'a Path,
    /// Field that says whose record it is.
    pub user_field: Option<&'a str>,
    /// Seed of the held-out split and of the canaries.
    pub seed: u64,
    /// Number of canaries to plant.
    pub canaries: usize,
}

impl Data {
    /// Reads, splits, plants and encodes.
    ///
    /// # Errors
    /// A file that holds no records to train on; the message names what is wrong with it.
    pub fn prepare(
        args: &TrainArgs,
        tokenizer: &Tokenizer,
        context: usize,
    ) -> Result<Self, Failure> {
        let source = Source {
            data: &args.data,
            user_field: args.user_field.as_deref(),
            seed: args.settings.seed,
            canaries: args.canaries,
        };
        let texts = Texts::read(&source)?;
        let (batch, records) = (args.settings.batch, texts.train.len());
        if batch > records as u64 {
            return Err(Failure::new(format!(
                "--batch is {batch}, above the {records} training records of {:?}: choose at most {records}",
                args.data
            )));
        }
        texts.encode(&source, tokenizer, context)
    }

    /// The same for a run that is done.
    ///
    /// # Errors
    /// As [`Data::prepare`].
    pub fn read(
        source: &Source<'_>,
        tokenizer: &Tokenizer,
        context: usize,
    ) -> Result<Self, Failure> {
        Texts::read(source)?.encode(source, tokenizer, context)
    }

    /// Which data set this is, for ledger and checkpoint.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Groups of records whose guarantee is weaker than a record's: their name and size.
    pub fn groups(&self) -> Vec<(String, u32)> {
        let mut groups = Vec::new();
        if !self.canaries.is_empty() {
            groups.push(("planted patient".into(), CANARY_COPIES as u32));
        }
        if let Some(most) = self.summary.most_records_of_a_user {
            groups.push((
                "user with the most records".into(),
                u32::try_from(most).unwrap_or(u32::MAX),
            ));
        }
        groups
    }

    /// What a person should know of the records before the training starts.
    pub fn notes(&self) -> Vec<String> {
        let summary = &self.summary;
        let mut notes = vec![format!(
            "{} records to train on, {} held out",
            summary.train_records, summary.held_out_records
        )];
        if summary.cut_records > 0 {
            notes.push(format!(
                "{} records are longer than the context of {} tokens and were cut to it",
                summary.cut_records,
                self.train.context()
            ));
        }
        if summary.blank_lines > 0 {
            notes.push(format!("{} blank lines skipped", summary.blank_lines));
        }
        if let (Some(users), Some(most)) = (summary.users, summary.most_records_of_a_user) {
            notes.push(format!(
                "{users} users, the largest with {most} records: the guarantee is for one record, and weaker for a user"
            ));
        }
        notes
    }
}

/// Records as text, split and planted.
struct Texts {
    train: Records,
    held_out: Records,
    canaries: Vec<Canary>,
    planted: Vec<usize>,
    blank: usize,
}

impl Texts {
    fn read(source: &Source<'_>) -> Result<Self, Failure> {
        let records = Records::read(source.data, source.user_field)?;
        let blank = records.blank();
        let split = HeldOut::new(source.seed).split(records)?;
        let canaries = canaries(source.canaries, source.seed)?;
        let planted = plant(split.train, &canaries, CANARY_COPIES, source.seed);
        let mut places = planted.places.concat();
        places.sort_unstable();
        Ok(Self {
            train: planted.records,
            held_out: split.held_out,
            canaries,
            planted: places,
            blank,
        })
    }

    fn encode(
        self,
        source: &Source<'_>,
        tokenizer: &Tokenizer,
        context: usize,
    ) -> Result<Data, Failure> {
        let dataset = Dataset {
            fingerprint: dataset_fingerprint(self.train.texts()),
            records: self.train.len() as u64,
        };
        let train = Encoded::new(tokenizer, self.train.texts(), context)?;
        let held_out = Encoded::new(tokenizer, self.held_out.texts(), context)?;
        let users = self.train.users();
        let summary = DataSummary {
            source: source.data.display().to_string(),
            train_records: train.len() as u64,
            held_out_records: held_out.len() as u64,
            cut_records: train.cut() as u64,
            blank_lines: self.blank as u64,
            users: users.map(|users| users.count as u64),
            most_records_of_a_user: users.map(|users| users.most_records as u64),
        };
        Ok(Data {
            train,
            held_out,
            canaries: self.canaries,
            planted: self.planted,
            seed: source.seed,
            summary,
            dataset,
        })
    }
}
