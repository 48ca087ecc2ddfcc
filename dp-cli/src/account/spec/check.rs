//! Whether a description says what its mechanism needs, no more, and under a relation that it has a cost under.

use dp_core::accounting::Adjacency;

use super::form::Form;
use super::words::{adjective, meaning, other_home};
use super::{AccountError, Noise, Spec};

impl Spec {
    pub(super) fn check_fields(
        &self,
        form: Form,
        needed: &[&'static str],
        possible: &[&'static str],
    ) -> Result<(), AccountError> {
        let own = form.name(self);
        let given = self.given();
        if let (Form::Full | Form::Discrete, Some(rate)) = (form, self.rate)
            && rate != 1.0
        {
            return Err(AccountError::problem(format!(
                "{} {rate} contradicts {} full, which uses every record: leave {0} out or give 1",
                self.voice.name("rate"),
                self.voice.name("sampler")
            )));
        }
        let missing = needed.iter().find(|name| {
            let here = given.iter().any(|(other, given)| other == *name && *given);
            let counted = **name == "steps" && self.count.is_some();
            !here && !counted
        });
        if let Some(name) = missing {
            return Err(AccountError::problem(format!(
                "{own} needs {}, {}",
                self.voice.name(name),
                meaning(name)
            )));
        }
        let spare = given
            .iter()
            .find(|(name, given)| *given && !needed.contains(name) && !possible.contains(name));
        match spare {
            None => Ok(()),
            Some((name, _)) => Err(AccountError::problem(format!(
                "{} does not go with {own}: leave it out{}",
                self.voice.name(name),
                other_home(name)
            ))),
        }
    }

    pub(super) fn check_relation(
        &self,
        form: Form,
        adjacency: Adjacency,
    ) -> Result<(), AccountError> {
        let group = self.group.is_some_and(|group| group != 1);
        let sampled_laplace = form == Form::Poisson
            && self.noise == Noise::Laplace
            && self.rate.is_some_and(|rate| rate != 1.0);
        let good: &[Adjacency] = match form {
            _ if group || sampled_laplace => &[Adjacency::AddRemove, Adjacency::ZeroOut],
            Form::Truncated | Form::Bins => &[Adjacency::AddRemove, Adjacency::ZeroOut],
            Form::FixedSize => &[Adjacency::ReplaceOne],
            Form::Shuffle => &[Adjacency::ZeroOut, Adjacency::ReplaceOne],
            _ => &[
                Adjacency::AddRemove,
                Adjacency::ZeroOut,
                Adjacency::ReplaceOne,
            ],
        };
        if good.contains(&adjacency) {
            return Ok(());
        }
        let good: Vec<_> = good.iter().map(|&relation| adjective(relation)).collect();
        let own = if group {
            format!("a group of {} records", self.group.unwrap_or(1))
        } else {
            form.name(self)
        };
        Err(AccountError::problem(format!(
            "{own} has no proven cost under {} adjacency: give {} {}",
            adjective(adjacency),
            self.voice.name("adjacency"),
            good.join(" or ")
        )))
    }
}
