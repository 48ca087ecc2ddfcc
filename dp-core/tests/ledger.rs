//! The ledger's format and machine: round trips, every truncation, every flipped bit, every broken rule.

mod common;

use core::num::NonZeroU32;

use common::sized;
use dp_core::accounting::Event;
use dp_core::clipping::NoisedCounts;
use dp_core::ledger::{
    Charge, Entry, Fault, Field, HEADER_LEN, Head, Header, LedgerError, RECORD_LEN, Reader, Record,
    State, Summary, Torn, Unit, crc32c, spent,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const HEADER: Header = Header {
    dataset: [0xD5; 32],
    config: [0xC0; 32],
    unit: Unit::Record,
};

/// The same, where the unit of privacy is the user.
const OF_USERS: Header = Header {
    unit: Unit::User {
        most_records: NonZeroU32::new(0x0403).unwrap(),
        owners: [0x0E; 32],
    },
    ..HEADER
};

const CHARGE: Charge = Charge {
    event: Event::PoissonGaussian {
        rate: 0.0125,
        sigma: 0.83,
    },
    clip: 1.5,
    eta: 1e-3,
    count: 1,
    counts: None,
};

/// The bytes that a sequence of entries makes.
fn write(entries: &[Entry]) -> Vec<u8> {
    write_under(&HEADER, entries)
}

fn write_under(header: &Header, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    let mut state = State::new(header);
    for &entry in entries {
        let (record, after) = state.append(entry).unwrap();
        bytes.extend(record);
        state = after;
    }
    bytes
}

fn read(bytes: &[u8]) -> Result<(Vec<Record>, Summary), LedgerError> {
    let mut reader = Reader::new(bytes)?;
    let records = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok((records, reader.summary()?))
}

/// Records of the ledger that most tests read.
const RECORDS: usize = sized(200, 11);

/// Those records as a run with crashes leaves them: starts, confirmed and unconfirmed reservations, three events.
fn many_records() -> Vec<Entry> {
    let events = [
        CHARGE.event,
        Event::Gaussian { sigma: 4.25 },
        Event::GroupPoissonGaussian {
            rate: 0.5,
            sigma: 2.0,
            group: 16,
        },
    ];
    let mut entries = Vec::new();
    let mut step = 0;
    while entries.len() < RECORDS {
        if step % sized(30, 2) == 0 {
            entries.push(Entry::Start {
                process: [entries.len() as u8; 16],
            });
        }
        let event = events[step as usize % 3];
        let reservation = entries.len() as u64;
        entries.push(Entry::Reserve {
            step,
            charge: Charge {
                event,
                count: step + 1,
                ..CHARGE
            },
        });
        if step % sized(5, 2) != sized(4, 1) {
            entries.push(Entry::Commit { step, reservation });
        }
        step += 1;
    }
    entries.truncate(RECORDS);
    entries
}

#[test]
fn many_records_read_back() {
    let entries = many_records();
    let bytes = write(&entries);
    assert_eq!(bytes.len(), HEADER_LEN + RECORDS * RECORD_LEN);
    let (records, summary) = read(&bytes).unwrap();
    assert_eq!(records.len(), RECORDS);
    for (i, (record, entry)) in records.iter().zip(&entries).enumerate() {
        assert_eq!((record.sequence, record.entry), (i as u64, *entry));
    }
    assert_eq!(summary.header, HEADER);
    assert_eq!(summary.torn, None);
    assert_eq!(summary.state.head().records, RECORDS as u64);
}

#[test]
fn cut_at_every_byte() {
    let entries = many_records();
    let bytes = write(&entries);
    for length in (0..bytes.len()).step_by(sized(1, 293)) {
        let result = read(&bytes[..length]);
        if length < HEADER_LEN {
            let length = length as u64;
            let fault = Fault::HeaderCut { length };
            assert_eq!(
                result.unwrap_err(),
                LedgerError {
                    offset: length,
                    fault
                }
            );
            continue;
        }
        let whole = (length - HEADER_LEN) / RECORD_LEN;
        let rest = (length - HEADER_LEN) % RECORD_LEN;
        let (records, summary) = result.unwrap();
        assert_eq!(records.len(), whole, "cut at {length}");
        assert!(
            records
                .iter()
                .zip(&entries)
                .all(|(record, entry)| record.entry == *entry)
        );
        let torn = Torn {
            offset: (length - rest) as u64,
            bytes: rest as u64,
        };
        assert_eq!(summary.torn, (rest > 0).then_some(torn), "cut at {length}");
        // What is left after the cut is the ledger as it was before the torn append.
        assert_eq!(read(&bytes[..length - rest]).unwrap().0, records);
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let mut bytes = write_under(&OF_USERS, &many_records());
    every_flipped_bit(&bytes[..4 * RECORD_LEN]);
    bytes = write(&many_records());
    every_flipped_bit(&bytes);
}

fn every_flipped_bit(bytes: &[u8]) {
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let mut damaged = bytes.to_vec();
            scope.spawn(move || {
                let bits = 0..damaged.len() * 8;
                for bit in bits.skip(worker).step_by(workers * sized(1, 2003)) {
                    damaged[bit / 8] ^= 1 << (bit % 8);
                    let error = read(&damaged).expect_err("a flipped bit was accepted");
                    // The error names the block that was damaged: its first byte or the field.
                    let block = bit / 8 / RECORD_LEN;
                    assert_eq!(
                        error.offset as usize / RECORD_LEN,
                        block,
                        "bit {bit}: {error}"
                    );
                    damaged[bit / 8] ^= 1 << (bit % 8);
                }
            });
        }
    });
}

/// A last record that fails its checksum may stand for a release: it must not pass for a torn tail.
#[test]
fn a_damaged_last_record_is_not_a_torn_tail() {
    let mut bytes = write(&many_records());
    let last = bytes.len() - RECORD_LEN;
    bytes[last..].fill(0);
    let error = read(&bytes).unwrap_err();
    assert_eq!(error.offset as usize, last);
    assert!(matches!(error.fault, Fault::Checksum { stored: 0, .. }));
}

#[test]
fn bytes_that_begin_no_record_are_not_a_torn_tail() {
    let bytes = write(&many_records());
    let mut next = [0; RECORD_LEN];
    next[0] = 2;
    next[1] = 1;
    next[8..16].copy_from_slice(&(RECORDS as u64).to_le_bytes());
    let tail_error = |at: usize, value: u8, length: usize| {
        let mut tail = next;
        tail[at] = value;
        let error = read(&[&bytes, &tail[..length]].concat()).unwrap_err();
        assert_eq!(error.fault, Fault::ForeignTail);
        error.offset as usize - bytes.len()
    };
    assert!(read(&[&bytes, &next[..90]].concat()).is_ok());
    assert_eq!(tail_error(0, 0, 1), 0);
    assert_eq!(tail_error(0, 4, 90), 0);
    assert_eq!(tail_error(1, 9, 90), 1);
    assert_eq!(tail_error(3, 1, 90), 3);
    assert_eq!(tail_error(8, RECORDS as u8 + 1, 9), 8);
    // With all of its payload present, the payload must be one: here sigma is 0.
    assert_eq!(tail_error(1, 1, 100), 32);
}

/// Whoever edits a record and mends its checksum is found out by the chain, there or at the next record.
#[test]
fn the_chain_finds_an_edit_with_a_mended_checksum() {
    let bytes = write(&many_records());
    let mend = |bytes: &mut [u8], block: usize| {
        let (from, to) = (block * RECORD_LEN, block * RECORD_LEN + RECORD_LEN - 4);
        let crc = crc32c(&bytes[from..to]);
        bytes[to..to + 4].copy_from_slice(&crc.to_le_bytes());
    };
    let mut edited = bytes.clone();
    // Block 2 is record 1, the first reservation; halve its sigma.
    edited[2 * RECORD_LEN + 32..2 * RECORD_LEN + 40].copy_from_slice(&0.415f64.to_le_bytes());
    mend(&mut edited, 2);
    let error = read(&edited).unwrap_err();
    assert_eq!(
        error,
        LedgerError {
            offset: 2 * 128 + 92,
            fault: Fault::Chain
        }
    );

    // Another configuration in the header changes where the chain begins.
    let mut edited = bytes.clone();
    edited[48] ^= 1;
    mend(&mut edited, 0);
    assert_eq!(read(&edited).unwrap_err().fault, Fault::Chain);

    // A record taken out: the next one is out of order.
    let mut edited = bytes;
    edited.drain(2 * RECORD_LEN..3 * RECORD_LEN);
    let fault = Fault::Sequence {
        expected: 1,
        found: 2,
    };
    assert_eq!(
        read(&edited).unwrap_err(),
        LedgerError {
            offset: 2 * 128 + 8,
            fault
        }
    );
}

#[test]
fn the_layout_is_frozen() {
    let bytes = write(&[
        Entry::Start {
            process: [0xA1; 16],
        },
        Entry::Reserve {
            step: 7,
            charge: CHARGE,
        },
        Entry::Commit {
            step: 7,
            reservation: 1,
        },
    ]);
    assert_eq!(&bytes[..16], b"DPLEDGER\x01\0\0\0\x80\0\0\0");
    assert_eq!(
        (&bytes[16..48], &bytes[48..80]),
        (&[0xD5; 32][..], &[0xC0; 32][..])
    );
    let reserve = &bytes[256..384];
    assert_eq!(&reserve[..8], &[2, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        &reserve[8..24],
        &[1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
    );
    let float = |at: usize| f64::from_le_bytes(reserve[at..at + 8].try_into().unwrap());
    assert_eq!(
        (float(24), float(32), float(40), float(48)),
        (0.0125, 0.83, 1.5, 1e-3)
    );
    assert_eq!(&reserve[56..64], &[1, 0, 0, 0, 0, 0, 0, 0]);
    // Head of these three records, computed by an independent program (Python's hashlib and struct).
    let head = read(&bytes).unwrap().1.state.head();
    assert_eq!(head.records, 3);
    assert_eq!(hex(&head.digest), FROZEN_HEAD);
}

/// Ledgers whose unit is the user are of version 2; the records after the header are the same, but for the chain.
#[test]
fn the_layout_of_users_is_frozen() {
    let header = OF_USERS.encode();
    assert_eq!(&header[..16], b"DPLEDGER\x02\0\0\0\x80\0\0\0");
    assert_eq!(&header[80..88], &[2, 0, 0, 0, 3, 4, 0, 0]);
    assert_eq!(
        (&header[88..120], &header[120..124]),
        (&[0x0E; 32][..], &[0; 4][..])
    );
    assert_eq!(header[16..80], HEADER.encode()[16..80]);
    let start = Entry::Start {
        process: [0xA1; 16],
    };
    let bytes = write_under(&OF_USERS, &[start]);
    let (records, summary) = read(&bytes).unwrap();
    assert_eq!((records[0].entry, summary.header), (start, OF_USERS));
    assert_eq!(bytes[128..220], write(&[start])[128..220]);
    // Computed by an independent program (Python's hashlib and struct).
    assert_eq!(hex(&summary.state.head().digest), FROZEN_HEAD_OF_USERS);
}

#[test]
fn only_spends_of_one_unit_add_up() {
    let of = |most_records, owner| Unit::User {
        most_records: NonZeroU32::new(most_records).unwrap(),
        owners: [owner; 32],
    };
    assert!(Unit::Record.adds_up_with(&Unit::Record));
    assert!(of(1, 5).adds_up_with(&of(9, 5)));
    assert!(!of(1, 5).adds_up_with(&of(1, 6)));
    for unit in [of(1, 0), of(1, 5)] {
        assert!(!unit.adds_up_with(&Unit::Record) && !Unit::Record.adds_up_with(&unit));
    }
}

const FROZEN_HEAD_OF_USERS: &str =
    "4d80c8bb53737baaa3e8de9f36f6a45568b9031db2c2a0511807d907f85b7748";

const FROZEN_HEAD: &str = "36346406866485b01fe5e7b7a072d6c982c767f22146eebfba0a2351ba9291e7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A record with a good checksum and a good chain value, but a payload that no writer makes.
#[test]
fn forged_payloads_are_refused_with_the_byte() {
    let start = Entry::Start { process: [1; 16] };
    let reserve = Entry::Reserve {
        step: 3,
        charge: CHARGE,
    };
    let commit = Entry::Commit {
        step: 3,
        reservation: 1,
    };
    let forged = |entries: &[Entry], at: usize, value: &[u8]| {
        let (last, before) = entries.split_last().unwrap();
        let mut bytes = write(before);
        let mut state = State::new(&HEADER);
        for &entry in before {
            state = state.append(entry).unwrap().1;
        }
        let mut record = state.append(*last).unwrap().0;
        record[at..at + value.len()].copy_from_slice(value);
        let chain = Sha256::new()
            .chain_update(state.head().digest)
            .chain_update(&record[..92]);
        record[92..124].copy_from_slice(&chain.finalize());
        let crc = crc32c(&record[..124]);
        record[124..].copy_from_slice(&crc.to_le_bytes());
        bytes.extend(record);
        read(&bytes).map_err(|error| {
            assert_eq!(error.offset as usize / RECORD_LEN, entries.len());
            (error.offset as usize % RECORD_LEN, error.fault)
        })
    };
    assert!(
        forged(&[start, reserve, commit], 0, &[3]).is_ok(),
        "the forgery itself is good"
    );
    let invalid = |at, field| Err((at, Fault::Invalid(field)));
    assert_eq!(forged(&[start], 0, &[0]), invalid(0, Field::Kind));
    assert_eq!(forged(&[start], 0, &[4]), invalid(0, Field::Kind));
    // Fields that the kind has no use for.
    for at in [1, 2, 4, 16, 24, 32, 40, 48, 56, 64, 88, 91] {
        assert_eq!(
            forged(&[start], at, &[1]),
            invalid(at, Field::Unused),
            "start, byte {at}"
        );
    }
    // At byte 64 a reservation has its counts (tests/ledger_counts.rs).
    for at in [2, 4, 68, 72, 88] {
        assert_eq!(
            forged(&[start, reserve], at, &[1]),
            invalid(at, Field::Unused),
            "byte {at}"
        );
    }
    for at in [1, 4, 24, 32, 40, 48, 56, 72] {
        let result = forged(&[start, reserve, commit], at, &[1]);
        assert_eq!(result, invalid(at, Field::Unused), "commit, byte {at}");
    }
    // Values out of range.
    let nan = f64::NAN.to_le_bytes();
    let two = 2f64.to_le_bytes();
    for (at, value, field) in [
        (1, &[0][..], Field::Sampler),
        (1, &[4], Field::Sampler),
        (1, &[3], Field::Group),
        (24, &two, Field::Rate),
        (32, &nan, Field::Sigma),
        (40, &nan, Field::Clip),
        (48, &nan, Field::Eta),
        (56, &[0], Field::Count),
    ] {
        let named = if field == Field::Group { 4 } else { at };
        assert_eq!(forged(&[start, reserve], at, value), invalid(named, field));
    }
    // Steps and reservations that the machine refuses.
    let again = Entry::Reserve {
        step: 4,
        charge: CHARGE,
    };
    let fault = Fault::StepRepeated { step: 3, last: 3 };
    assert_eq!(forged(&[start, reserve, again], 16, &[3]), Err((16, fault)));
    let fault = Fault::NotReserved {
        step: 3,
        reservation: 0,
    };
    assert_eq!(
        forged(&[start, reserve, commit], 64, &[0]),
        Err((16, fault))
    );
    let mut without_start = write(&[start, reserve]);
    without_start.drain(HEADER_LEN..HEADER_LEN + RECORD_LEN);
    assert!(read(&without_start).is_err());
}

#[test]
fn headers_that_are_refused() {
    let fault_of = |header: Header, at: usize, value: u8, mend: bool| {
        let mut bytes = header.encode();
        bytes[at] = value;
        if mend {
            let crc = crc32c(&bytes[..124]).to_le_bytes();
            bytes[124..].copy_from_slice(&crc);
        }
        Header::decode(&bytes).unwrap_err()
    };
    let fault = |at, value, mend| fault_of(HEADER, at, value, mend);
    for good in [HEADER, OF_USERS] {
        assert_eq!(Header::decode(&good.encode()), Ok(good));
    }
    assert_eq!(
        fault(0, b'X', true),
        LedgerError {
            offset: 0,
            fault: Fault::NotALedger
        }
    );
    for found in [0, 3] {
        assert_eq!(
            fault(8, found as u8, true),
            LedgerError {
                offset: 8,
                fault: Fault::Version { found }
            }
        );
    }
    let invalid = |offset, field| LedgerError {
        offset,
        fault: Fault::Invalid(field),
    };
    assert_eq!(fault(12, 64, true), invalid(12, Field::RecordLength));
    assert_eq!(fault(99, 1, true), invalid(99, Field::Unused));
    assert!(matches!(fault(20, 1, false).fault, Fault::Checksum { .. }));

    // A ledger of records is of version 1, one of users of version 2 and has at least one record of each.
    assert_eq!(fault(8, 2, true), invalid(80, Field::Unit));
    assert_eq!(fault_of(OF_USERS, 8, 1, true), invalid(80, Field::Unused));
    for unit in [0, 1, 3] {
        assert_eq!(fault_of(OF_USERS, 80, unit, true), invalid(80, Field::Unit));
    }
    for at in [81, 83, 120, 123] {
        assert_eq!(
            fault_of(OF_USERS, at, 1, true),
            invalid(at as u64, Field::Unused)
        );
    }
    let mut nobody = OF_USERS.encode();
    nobody[84..88].fill(0);
    let crc = crc32c(&nobody[..124]).to_le_bytes();
    nobody[124..].copy_from_slice(&crc);
    assert_eq!(
        Header::decode(&nobody).unwrap_err(),
        invalid(84, Field::MostRecords)
    );
}

#[test]
fn charges_that_are_refused() {
    let started = State::new(&HEADER)
        .append(Entry::Start { process: [1; 16] })
        .unwrap()
        .1;
    let refused = |charge: Charge| {
        let entry = Entry::Reserve { step: 0, charge };
        started
            .append(entry)
            .expect_err("a bad charge was accepted")
    };
    let event = |rate, sigma| Charge {
        event: Event::PoissonGaussian { rate, sigma },
        ..CHARGE
    };
    for bad in [0.0, -0.5, 1.0 + f64::EPSILON, f64::NAN, f64::INFINITY] {
        assert_eq!(
            refused(event(bad, 1.0)),
            Fault::Invalid(Field::Rate),
            "{bad}"
        );
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            refused(event(0.5, bad)),
            Fault::Invalid(Field::Sigma),
            "{bad}"
        );
        assert_eq!(
            refused(Charge {
                clip: bad,
                ..CHARGE
            }),
            Fault::Invalid(Field::Clip),
            "{bad}"
        );
    }
    for bad in [-1e-300, f64::NAN, f64::INFINITY] {
        assert_eq!(
            refused(Charge { eta: bad, ..CHARGE }),
            Fault::Invalid(Field::Eta),
            "{bad}"
        );
    }
    assert_eq!(
        refused(Charge { count: 0, ..CHARGE }),
        Fault::Invalid(Field::Count)
    );
    let group = Event::GroupPoissonGaussian {
        rate: 0.5,
        sigma: 1.0,
        group: 0,
    };
    assert_eq!(
        refused(Charge {
            event: group,
            ..CHARGE
        }),
        Fault::Invalid(Field::Group)
    );
    assert!(
        started
            .append(Entry::Reserve {
                step: 0,
                charge: event(1.0, 1.0)
            })
            .is_ok()
    );
}

#[test]
fn the_machine_refuses_what_may_not_follow() {
    let new = State::new(&HEADER);
    let reserve = |step| Entry::Reserve {
        step,
        charge: CHARGE,
    };
    assert_eq!(new.append(reserve(0)), Err(Fault::NoStart));
    assert_eq!(
        new.append(Entry::Commit {
            step: 0,
            reservation: 0
        }),
        Err(Fault::NoStart)
    );

    let started = new.append(Entry::Start { process: [1; 16] }).unwrap().1;
    let not_reserved = |step, reservation| Err(Fault::NotReserved { step, reservation });
    assert_eq!(
        started.append(Entry::Commit {
            step: 0,
            reservation: 0
        }),
        not_reserved(0, 0)
    );

    let reserved = started.append(reserve(5)).unwrap().1;
    assert_eq!(
        reserved.append(Entry::Commit {
            step: 6,
            reservation: 1
        }),
        not_reserved(6, 1)
    );
    assert_eq!(
        reserved.append(Entry::Commit {
            step: 5,
            reservation: 0
        }),
        not_reserved(5, 0)
    );
    // The noise of step 5 under this start's key may be out already.
    let repeated = |step| Err(Fault::StepRepeated { step, last: 5 });
    assert_eq!(reserved.append(reserve(5)), repeated(5));
    assert_eq!(reserved.append(reserve(4)), repeated(4));

    let committed = reserved
        .append(Entry::Commit {
            step: 5,
            reservation: 1,
        })
        .unwrap()
        .1;
    assert_eq!(
        committed.append(Entry::Commit {
            step: 5,
            reservation: 1
        }),
        not_reserved(5, 1)
    );
    assert_eq!(committed.append(reserve(5)), repeated(5));

    // A new start has a new key, so it may go back; the reservation of the former one cannot be confirmed.
    let again = reserved
        .append(Entry::Start { process: [2; 16] })
        .unwrap()
        .1;
    assert_eq!(
        again.append(Entry::Commit {
            step: 5,
            reservation: 1
        }),
        not_reserved(5, 1)
    );
    assert!(again.append(reserve(5)).is_ok());
    // A reservation given up for the next one stays spent.
    let next = reserved.append(reserve(6)).unwrap().1;
    assert_eq!((next.reservations(), next.commits()), (2, 0));
    assert_eq!(
        next.append(Entry::Commit {
            step: 5,
            reservation: 1
        }),
        not_reserved(5, 1)
    );
    assert!(
        next.append(Entry::Commit {
            step: 6,
            reservation: 2
        })
        .is_ok()
    );
}

#[test]
fn unconfirmed_reservations_are_spent() {
    let entries = many_records();
    let mut slots = [(Event::Gaussian { sigma: 1.0 }, 77); 3];
    let found = spent(&write(&entries), &mut slots).unwrap();
    let mut expected: Vec<(Event, u64)> = Vec::new();
    for entry in &entries {
        if let Entry::Reserve { charge, .. } = entry {
            match expected
                .iter_mut()
                .find(|(event, _)| *event == charge.event)
            {
                Some((_, count)) => *count += charge.count,
                None => expected.push((charge.event, charge.count)),
            }
        }
    }
    assert_eq!(found.events, expected);
    let state = found.summary.state;
    assert!(state.reservations() > state.commits() + sized(10, 0));
    let starts = |entry: &&Entry| matches!(entry, Entry::Start { .. });
    assert_eq!(state.starts(), entries.iter().filter(starts).count() as u64);
    assert!(state.starts() > 2);
}

#[test]
fn spent_refuses_what_does_not_fit() {
    let bytes = write(&many_records());
    let mut slots = [(Event::Gaussian { sigma: 1.0 }, 0); 2];
    let error = spent(&bytes, &mut slots).unwrap_err();
    assert_eq!(error.fault, Fault::TooManyEvents { capacity: 2 });
    let reserve = |step| Entry::Reserve {
        step,
        charge: Charge {
            count: u64::MAX,
            ..CHARGE
        },
    };
    let bytes = write(&[Entry::Start { process: [0; 16] }, reserve(0), reserve(1)]);
    let error = spent(&bytes, &mut slots).unwrap_err();
    assert_eq!(
        error,
        LedgerError {
            offset: 3 * 128,
            fault: Fault::Overflow
        }
    );
}

#[test]
fn the_reader_stops_at_the_first_fault() {
    let mut bytes = write(&many_records());
    bytes[5 * RECORD_LEN + 7] ^= 0x40;
    let mut reader = Reader::new(&bytes).unwrap();
    assert_eq!(reader.by_ref().filter(Result::is_ok).count(), 4);
    assert_eq!(reader.next(), None);
    assert_eq!(reader.summary().unwrap_err().offset, 5 * 128);
}

fn event() -> impl Strategy<Value = Event> {
    let rate = (0u64..=1 << 53).prop_map(|n| (n.max(1) as f64) / (1u64 << 53) as f64);
    let sigma = (f64::MIN_POSITIVE..=f64::MAX).prop_union(5e-324..=1e-300);
    (0..3, rate, sigma, 1u32..).prop_map(|(kind, rate, sigma, group)| match kind {
        0 => Event::Gaussian { sigma },
        1 => Event::PoissonGaussian { rate, sigma },
        _ => Event::GroupPoissonGaussian { rate, sigma, group },
    })
}

prop_compose! {
    fn charge()(
        event in event(),
        clip in 1e-300..1e300,
        eta in 0.0..10.0,
        count in 1u64..=u64::MAX,
        counts in prop::option::of((1usize..=1 << 16, 0.05f32..1e9)),
    ) -> Charge {
        let counts = counts.and_then(|(groups, std)| NoisedCounts::new(groups, std).ok());
        let charge = Charge { event, clip, eta, count, counts };
        // Large multipliers leave counts no room.
        match charge.check() {
            Ok(()) => charge,
            Err(_) => Charge { counts: None, ..charge },
        }
    }
}

/// A run: starts, reservations of growing steps, commits of some.
fn run() -> impl Strategy<Value = Vec<Entry>> {
    let round = (
        any::<[u8; 16]>(),
        0u8..8,
        0u64..1 << 40,
        charge(),
        any::<bool>(),
    );
    proptest::collection::vec(round, 0..sized(20, 3)).prop_map(|rounds| {
        let mut entries = vec![Entry::Start { process: [9; 16] }];
        let mut next = 0;
        for (process, restart, skip, charge, confirmed) in rounds {
            if restart == 0 {
                entries.push(Entry::Start { process });
                next = 0;
            }
            let (step, reservation) = (next + skip, entries.len() as u64);
            entries.push(Entry::Reserve { step, charge });
            if confirmed {
                entries.push(Entry::Commit { step, reservation });
            }
            next = step + 1;
        }
        entries
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        header in any::<([u8; 32], [u8; 32])>(),
        user in any::<Option<(NonZeroU32, [u8; 32])>>(),
        entries in run(),
    ) {
        let unit = user.map_or(Unit::Record, |(most_records, owners)| Unit::User { most_records, owners });
        let header = Header { dataset: header.0, config: header.1, unit };
        let mut bytes = header.encode().to_vec();
        let mut state = State::new(&header);
        for &entry in &entries {
            let (record, after) = state.append(entry).unwrap();
            bytes.extend(record);
            state = after;
        }
        let (records, summary) = read(&bytes).unwrap();
        let read_back: Vec<_> = records.iter().map(|record| record.entry).collect();
        prop_assert_eq!(read_back, entries);
        prop_assert_eq!(summary, Summary { header, state, torn: None });
    }

    /// Several damaged bytes at once: never accepted as something else, never a panic.
    #[test]
    fn damage_is_an_error_or_an_exact_prefix(
        entries in run(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        keep in any::<prop::sample::Index>(),
    ) {
        let whole = write(&entries);
        let mut bytes = whole.clone();
        bytes.truncate(keep.index(whole.len()) + 1);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok((records, summary)) = read(&bytes) {
            let kept = bytes.len() - summary.torn.map_or(0, |torn| torn.bytes as usize);
            prop_assert_eq!(&bytes[..kept], &whole[..kept]);
            prop_assert!(records.iter().zip(&entries).all(|(record, entry)| record.entry == *entry));
        }
    }

    /// Bytes from nowhere.
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1024), valid in any::<bool>()) {
        let bytes = if valid { [&HEADER.encode()[..], &bytes].concat() } else { bytes };
        if let Ok((records, _)) = read(&bytes) {
            prop_assert_eq!(records.len(), 0);
        }
    }

    /// The head of any prefix is on the way of the whole, and of no other ledger.
    #[test]
    fn heads_tell_ledgers_apart(entries in run(), at in any::<prop::sample::Index>()) {
        let at = at.index(entries.len() + 1);
        let heads = |entries: &[Entry]| -> Vec<Head> {
            let mut state = State::new(&HEADER);
            let mut heads = vec![state.head()];
            for &entry in entries {
                state = state.append(entry).unwrap().1;
                heads.push(state.head());
            }
            heads
        };
        let all = heads(&entries);
        prop_assert_eq!(all[at], *heads(&entries[..at]).last().unwrap());
        let mut other = entries.clone();
        other[0] = Entry::Start { process: [8; 16] };
        prop_assert!(heads(&other)[1..].iter().zip(&all[1..]).all(|(a, b)| a.digest != b.digest));
    }
}
