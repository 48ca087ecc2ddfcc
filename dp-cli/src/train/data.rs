//! From a file of records to what the loop trains on and measures with.

use std::num::NonZeroU32;

use dp_core::ledger::Unit;
use dp_engine::checkpoint::Dataset;
use dp_engine::fingerprint::dataset_fingerprint;
use dp_engine::users::Owners;
use dp_text::canary::{Canary, canaries, plant};
use dp_text::records::{HeldOut, Records};
use dp_text::rows::Encoded;
use dp_text::tokenizer::Tokenizer;

use crate::args::TrainArgs;
use crate::error::Failure;
use crate::report::DataSummary;

/// Records of each invented patient.
pub const CANARY_COPIES: usize = 16;

/// Whose each training record is, and how many of a user's a step uses.
pub struct Users {
    /// The records of each.
    pub owners: Owners,
    /// The most of them in a step.
    pub most_records: NonZeroU32,
}

impl Users {
    fn of(records: &Records, args: &TrainArgs) -> Result<Option<Self>, Failure> {
        let Some(user_ids) = records.user_ids() else {
            return Ok(None);
        };
        let owners = Owners::new(user_ids);
        if owners.users() < 2 {
            return Err(Failure::new(format!(
                "{:?}: all {} training records are of one user: a guarantee for a user needs at least 2, and thousands to learn anything",
                args.data,
                records.len()
            )));
        }
        let most_records = NonZeroU32::new(args.records_per_user).ok_or_else(|| {
            Failure::new("--records-per-user is 0: use at least 1 record of a user")
        })?;
        Ok(Some(Self {
            owners,
            most_records,
        }))
    }
}

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
    users: Option<Users>,
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

        let users = Users::of(&records, args)?;
        let (units, plural) = match &users {
            None => (records.len(), "records"),
            Some(users) => (users.owners.users(), "users"),
        };
        let batch = args.settings.batch;
        if batch > units as u64 {
            return Err(Failure::new(format!(
                "--batch is {batch}, above the {units} training {plural} of {:?}: choose at most {units}",
                args.data
            )));
        }
        let dataset = Dataset {
            fingerprint: dataset_fingerprint(records.texts()),
            records: records.len() as u64,
        };
        let train = Encoded::new(tokenizer, records.texts(), context)?;
        let held_out = Encoded::new(tokenizer, split.held_out.texts(), context)?;
        let summary = DataSummary {
            source: args.data.display().to_string(),
            train_records: train.len() as u64,
            held_out_records: held_out.len() as u64,
            cut_records: train.cut() as u64,
            blank_lines: blank as u64,
            users: users.as_ref().map(|users| users.owners.users() as u64),
        };
        Ok(Self {
            train,
            held_out,
            canaries,
            users,
            summary,
            dataset,
        })
    }

    /// Which data set this is, for ledger and checkpoint.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Whose each record is, where --user-field says so.
    pub fn users(&self) -> Option<&Users> {
        self.users.as_ref()
    }

    /// Whose presence a guarantee hides.
    pub fn unit(&self) -> Unit {
        self.users
            .as_ref()
            .map_or(Unit::Record, |users| Unit::User {
                most_records: users.most_records,
                owners: users.owners.fingerprint(),
            })
    }

    /// Number of units that a step draws among, N.
    pub fn units(&self) -> u64 {
        let users = self.users.as_ref();
        users.map_or(self.dataset.records, |users| users.owners.users() as u64)
    }

    /// Groups of records whose guarantee is weaker than a record's: their name and size. Of users, each planted patient is one.
    pub fn groups(&self) -> Vec<(String, u32)> {
        if self.canaries.is_empty() || self.users.is_some() {
            return Vec::new();
        }
        vec![("planted patient".into(), CANARY_COPIES as u32)]
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
        if let Some(users) = &self.users {
            notes.push(format!(
                "{} users to train on, of each at most {} records a step: the guarantee is for a user",
                users.owners.users(),
                users.most_records
            ));
        }
        notes
    }
}
