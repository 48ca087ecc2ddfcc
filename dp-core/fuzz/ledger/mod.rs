//! What the fuzz target `ledger` and dp-core's test `ledger_fuzz_corpus` do with bytes.

mod case;
mod edit;

use dp_core::accounting::Event;
use dp_core::ledger::{
    Entry, HEADER_LEN, LedgerError, RECORD_LEN, Reader, Record, State, Summary, spent,
};

use case::Case;

/// Reads the ledger that `bytes` stand for and panics where a promise of the reader does not hold. `false` if they
/// stand for none.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(case) = Case::decode(bytes) else {
        return false;
    };
    match case {
        Case::Any { ledger } => drop(walk(&ledger)),
        Case::Edited { before, after } => {
            let whole = walk(&before).expect("what the machine wrote is a ledger");
            assert_eq!(whole.1.torn, None);
            if let Ok((records, summary)) = walk(&after) {
                assert_prefix(&before, &whole.0, &after, &records, &summary);
            }
        }
    }
    true
}

/// What is read of an edited ledger is the beginning of the original, to the byte.
///
/// The header has a checksum but no chain before it, and a checksum can be forged: a ledger without records may be one of
/// another data set. Its records can't be: the chain begins with the header.
fn assert_prefix(
    before: &[u8],
    written: &[Record],
    after: &[u8],
    records: &[Record],
    summary: &Summary,
) {
    let kept = HEADER_LEN + records.len() * RECORD_LEN;
    if records.is_empty() && after[..HEADER_LEN] != before[..HEADER_LEN] {
        return;
    }
    assert!(kept <= before.len(), "more records than were written");
    assert!(
        after[..kept] == before[..kept],
        "edited bytes were accepted"
    );
    assert_eq!(records, &written[..records.len()]);
    assert_eq!(summary.state.head().records, records.len() as u64);
}

/// Reads the whole and holds what is promised of any bytes.
fn walk(ledger: &[u8]) -> Result<(Vec<Record>, Summary), LedgerError> {
    let read = read(ledger);
    match &read {
        Ok((records, summary)) => holds(ledger, records, summary),
        Err(error) => assert!(
            error.offset <= ledger.len() as u64,
            "{error} is beyond byte {}",
            ledger.len()
        ),
    }
    read
}

fn read(ledger: &[u8]) -> Result<(Vec<Record>, Summary), LedgerError> {
    let mut reader = Reader::new(ledger)?;
    let records = reader.by_ref().collect::<Result<Vec<_>, _>>();
    assert!(reader.next().is_none(), "a reader that ended goes on");
    let summary = reader.summary();
    let records = records.inspect_err(|error| assert_eq!(summary, Err(*error)))?;
    Ok((records, summary?))
}

/// The records make the same bytes again, one entry having one encoding; the rest is the torn tail; what was spent is
/// the sum of the reservations, confirmed or not.
fn holds(ledger: &[u8], records: &[Record], summary: &Summary) {
    let mut again = summary.header.encode().to_vec();
    let mut state = State::new(&summary.header);
    for (sequence, record) in records.iter().enumerate() {
        assert_eq!(record.sequence, sequence as u64);
        let (block, after) = state
            .append(record.entry)
            .expect("what was read may be appended");
        again.extend(block);
        state = after;
    }
    assert_eq!(state, summary.state);
    let torn = ledger.len() - again.len();
    assert!(ledger.starts_with(&again), "another encoding was accepted");
    assert!(torn < RECORD_LEN);
    assert_eq!(summary.torn.map_or(0, |torn| torn.bytes), torn as u64);
    assert!(
        summary
            .torn
            .is_none_or(|torn| torn.offset == again.len() as u64)
    );
    assert!(state.commits() <= state.reservations());

    let charges = records.iter().filter_map(|record| match record.entry {
        Entry::Reserve { charge, .. } => Some(charge.count),
        _ => None,
    });
    let charges: Vec<u64> = charges.collect();
    assert_eq!(charges.len() as u64, state.reservations());
    let mut slots = vec![(Event::Gaussian { sigma: 1.0 }, 0); charges.len()];
    // Only a count of one event beyond u64 makes it fail: there is a slot for each.
    if let Ok(found) = spent(ledger, &mut slots) {
        let sum = |counts: &mut dyn Iterator<Item = u64>| counts.map(u128::from).sum::<u128>();
        assert_eq!(
            sum(&mut found.events.iter().map(|event| event.1)),
            sum(&mut charges.into_iter())
        );
        assert_eq!(found.summary, *summary);
    } else {
        assert!(
            charges.iter().map(|&count| u128::from(count)).sum::<u128>() > u128::from(u64::MAX)
        );
    }
}
