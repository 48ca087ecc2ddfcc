//! From a file of records to what the loop trains on and measures with.

use std::num::NonZeroU32;
use std::path::Path;

use dp_burn::ModelConfig;
use dp_core::ledger::Unit;
use dp_engine::checkpoint::Dataset;
use dp_engine::fingerprint::dataset_fingerprint;
use dp_engine::users::Owners;
use dp_text::canary::{Canary, MOST_CANARIES, canaries, keeps_codes, plant};
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
    /// The places of their copies in `train`, in ascending order.
    pub planted: Vec<usize>,
    /// The seed of the split and the canaries.
    pub seed: u64,
    /// Counts for the report.
    pub summary: DataSummary,
    users: Option<Users>,
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
    /// A file that holds no records to train on, or a tokenizer with which nothing could be told of the canaries; the message names what is
    /// wrong with it.
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
        if !keeps_codes(tokenizer, &texts.canaries) {
            let name = match &args.settings.tokenizer {
                Some(name) => format!("{name:?}"),
                None => tokenizer.fingerprint(),
            };
            return Err(Failure::new(format!(
                "--canaries plants codes of six digits, and tokenizer {name} does not give them back, so that nothing could be told of what the model \
                 keeps of them: choose one that knows every digit, such as --tokenizer bytes, or leave out --canaries"
            )));
        }
        let users = Users::of(&texts.train, args)?;
        let (units, plural) = match &users {
            None => (texts.train.len(), "records"),
            Some(users) => (users.owners.users(), "users"),
        };
        let batch = args.settings.batch;
        if batch > units as u64 {
            return Err(Failure::new(format!(
                "--batch is {batch}, above the {units} training {plural} of {:?}: choose at most {units}",
                args.data
            )));
        }
        texts.encode(&source, users, tokenizer, context)
    }

    /// The same for a run that is done, whose users nobody draws any more.
    ///
    /// # Errors
    /// As [`Data::prepare`].
    pub fn read(
        source: &Source<'_>,
        tokenizer: &Tokenizer,
        context: usize,
    ) -> Result<Self, Failure> {
        Texts::read(source)?.encode(source, None, tokenizer, context)
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
                "{} records are longer than the context of {} tokens and were cut to it: what is beyond is not trained on. --model small has a context \
                 of {}, and the tokens of --tokenizer wordnet-4096 are longer than bytes",
                summary.cut_records,
                self.train.context(),
                ModelConfig::small(0).context
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
        let canaries = canaries(source.canaries, source.seed).map_err(|error| {
            Failure::new(format!(
                "--canaries is {}: plant at most {MOST_CANARIES}, for there are no more names",
                error.asked
            ))
        })?;
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
        users: Option<Users>,
        tokenizer: &Tokenizer,
        context: usize,
    ) -> Result<Data, Failure> {
        let dataset = Dataset {
            fingerprint: dataset_fingerprint(self.train.texts()),
            records: self.train.len() as u64,
        };
        let train = Encoded::new(tokenizer, self.train.texts(), context)?;
        let held_out = Encoded::new(tokenizer, self.held_out.texts(), context)?;
        let summary = DataSummary {
            source: source.data.display().to_string(),
            train_records: train.len() as u64,
            held_out_records: held_out.len() as u64,
            cut_records: train.cut() as u64,
            blank_lines: self.blank as u64,
            users: users.as_ref().map(|users| users.owners.users() as u64),
        };
        Ok(Data {
            train,
            held_out,
            canaries: self.canaries,
            planted: self.planted,
            seed: source.seed,
            summary,
            users,
            dataset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of so many records, each of a number and that text.
    fn notes(count: usize, text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        let lines = (0..count).map(|i| format!("note {i} {text}\n"));
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        let source = Source {
            data: &path,
            user_field: None,
            seed: 0,
            canaries: 0,
        };
        let data = Data::read(&source, &Tokenizer::Bytes, 64).unwrap();
        data.notes().join("\n")
    }

    #[test]
    fn cut_records_are_told_with_the_way_out() {
        let said = notes(40, &"long ".repeat(20));
        for words in [
            "records are longer than the context of 64 tokens",
            "what is beyond is not trained on",
            "--model small has a context of 128",
            "--tokenizer wordnet-4096",
        ] {
            assert!(said.contains(words), "{words:?} is not in {said}");
        }
        // How much was cut off would be one more number without noise: the statement lists that of the records alone.
        assert!(!said.contains('%'), "{said}");
        assert!(!notes(40, "short").contains("context"));
    }
}
