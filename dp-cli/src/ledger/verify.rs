//! `dpcube ledger verify`.

use std::path::Path;

use dp_core::ledger::Head;
use dp_engine::checkpoint::{self, Checkpoint};
use dp_engine::ledger::{LedgerFileError, inspect};

use super::{VerifyArgs, read, words};
use crate::error::Failure;
use crate::output::say;
use crate::train::CHECKPOINT;

/// Says of every ledger whether it is whole; those that cannot be read stop it.
pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let mut damaged = 0;
    for named in &args.ledgers {
        match check(named)? {
            Ok(says) => say!("{}: {says}", named.display())?,
            Err(says) => {
                damaged += 1;
                say!("{}: DAMAGED: {says}", named.display())?;
            }
        }
    }
    if damaged == 0 {
        return Ok(());
    }
    Err(Failure::unmet(format!(
        "{damaged} of {} ledgers do not hold what was written: restore them from a backup",
        args.ledgers.len()
    )))
}

/// What is to be said of one ledger: that it is whole, or what is wrong.
fn check(named: &Path) -> Result<Result<String, String>, Failure> {
    let contents = match inspect(&read::found(named)?) {
        Ok(contents) => contents,
        Err(LedgerFileError::Corrupt { source, .. }) => return Ok(Err(source.to_string())),
        Err(error) => return Err(error.into()),
    };
    let mut says = format!(
        "whole, {} records, {} steps reserved",
        contents.records.len(),
        contents.summary.state.reservations()
    );
    if let Some(head) = checkpoint_head(named)? {
        let Some(head) = head else {
            return Ok(Err(
                "the checkpoint in its folder is of a run without a ledger, whose model has no guarantee".into(),
            ));
        };
        if !contents.contains(&head) {
            return Ok(Err(format!(
                "it does not contain the {} records that the run's checkpoint saw: it was cut or replaced",
                head.records
            )));
        }
        says += &format!(", contains the {} that the checkpoint saw", head.records);
    }
    if let Some(torn) = &contents.summary.torn {
        says += &format!("; {}", words::torn(torn));
    }
    Ok(Ok(says))
}

/// How far the ledger went when the run in this folder wrote its checkpoint, if there is one and it names a ledger.
fn checkpoint_head(named: &Path) -> Result<Option<Option<Head>>, Failure> {
    let place = named.join(CHECKPOINT);
    if !named.is_dir() || !checkpoint::exists(&place) {
        return Ok(None);
    }
    let checkpoint = Checkpoint::load(&place)?;
    let head = checkpoint.manifest().ledger.map(|head| Head {
        records: head.records,
        digest: head.digest,
    });
    Ok(Some(head))
}
