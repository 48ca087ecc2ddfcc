//! From a file of records to what the loop trains on and measures with.

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
    /// Counts for the report.
    pub summary: DataSummary,
    dataset: Dataset,
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
        let seed = args.settings.seed;
        let records = Records::read(&args.data, args.user_field.as_deref())?;
        let blank = records.blank();
        let split = HeldOut::new(seed).split(records)?;
        let canaries = canaries(args.canaries, seed)?;
        let planted = plant(split.train, &canaries, CANARY_COPIES, seed);
        let records = planted.records;

        let batch = args.settings.batch;
        if batch > records.len() as u64 {
            return Err(Failure::new(format!(
                "--batch is {batch}, above the {0} training records of {1:?}: choose at most {0}",
                records.len(),
                args.data
            )));
        }
        let dataset = Dataset {
            fingerprint: dataset_fingerprint(records.texts()),
            records: records.len() as u64,
        };
        let train = Encoded::new(tokenizer, records.texts(), context)?;
        let held_out = Encoded::new(tokenizer, split.held_out.texts(), context)?;
        let users = records.users();
        let summary = DataSummary {
            source: args.data.display().to_string(),
            train_records: train.len() as u64,
            held_out_records: held_out.len() as u64,
            cut_records: train.cut() as u64,
            blank_lines: blank as u64,
            users: users.map(|users| users.count as u64),
            most_records_of_a_user: users.map(|users| users.most_records as u64),
        };
        Ok(Self {
            train,
            held_out,
            canaries,
            summary,
            dataset,
        })
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
