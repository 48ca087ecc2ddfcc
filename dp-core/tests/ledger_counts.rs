//! Charges for a sum and counts released together: how much noise each has, what may stand in a ledger, and what no older build takes.

mod common;

use common::sized;
use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
use dp_core::clipping::{MAX_GROUPS, NoisedCounts, QuantileError};
use dp_core::ledger::{
    Charge, Entry, Fault, Field, HEADER_LEN, Header, LedgerError, RECORD_LEN, Reader, Record,
    State, Unit, crc32c, spent,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const HEADER: Header = Header {
    dataset: [0xD5; 32],
    config: [0xC0; 32],
    unit: Unit::Record,
};

const ALONE: Charge = Charge {
    event: Event::PoissonGaussian {
        rate: 0.0125,
        sigma: 0.83,
    },
    clip: 1.5,
    eta: 1e-3,
    count: 1,
    counts: None,
};

fn counts(groups: usize, std: f32) -> NoisedCounts {
    NoisedCounts::new(groups, std).unwrap()
}

fn with(counts: NoisedCounts) -> Charge {
    Charge {
        counts: Some(counts),
        ..ALONE
    }
}

const START: Entry = Entry::Start {
    process: [0xA1; 16],
};

/// The bytes that a sequence of entries makes.
fn write(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = HEADER.encode().to_vec();
    let mut state = State::new(&HEADER);
    for &entry in entries {
        let (record, after) = state.append(entry).unwrap();
        bytes.extend(record);
        state = after;
    }
    bytes
}

fn reserve(step: u64, charge: Charge) -> Entry {
    Entry::Reserve { step, charge }
}

fn read(bytes: &[u8]) -> Result<Vec<Record>, LedgerError> {
    let mut reader = Reader::new(bytes)?;
    let records = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    reader.summary()?;
    Ok(records)
}

/// The noise multiplier of what is released, by theorem 1, from the noise that sum and counts truly get: on a coordinate of a sum that one
/// example moves by `sensitivity`, and on counts that it moves by half the root of their number.
fn of_what_is_released(sum_std: f64, sensitivity: f64, counts: NoisedCounts) -> f64 {
    let moved_sum = sensitivity / sum_std;
    let moved_counts = f64::from(counts.groups()).sqrt() / 2.0 / f64::from(counts.std());
    1.0 / moved_sum.hypot(moved_counts)
}

/// A number as the sum of two f64, for about 104 bits.
#[derive(Clone, Copy)]
struct Double(f64, f64);

impl Double {
    fn of_product(a: f64, b: f64) -> Self {
        let product = a * b;
        Self(product, a.mul_add(b, -product))
    }

    fn times(self, other: Self) -> Self {
        let Self(product, rest) = Self::of_product(self.0, other.0);
        let rest = rest + self.0 * other.1 + self.1 * other.0;
        Self(product + rest, rest - ((product + rest) - product))
    }

    fn plus(self, other: Self) -> Self {
        let sum = self.0 + other.0;
        let part = sum - self.0;
        let rest = (self.0 - (sum - part)) + (other.0 - part) + self.1 + other.1;
        Self(sum + rest, rest - ((sum + rest) - sum))
    }
}

/// Whether a sum of noise multiplier `gradient` and the counts have at least `z` together: `z^2 (4 std^2 + groups gradient^2)` is not above
/// `4 std^2 gradient^2`.
fn costs_at_most(z: f64, gradient: f64, counts: NoisedCounts) -> bool {
    let square = |x| Double::of_product(x, x);
    let (counted, gradient) = (square(2.0 * f64::from(counts.std())), square(gradient));
    let groups = Double(f64::from(counts.groups()), 0.0);
    let left = square(z).times(counted.plus(groups.times(gradient)));
    let right = counted.times(gradient);
    let difference = left.plus(Double(-right.0, -right.1));
    difference.0 <= 0.0
}

proptest! {
    /// Sum and counts together have the noise that the event says: never less, and no more than rounding.
    #[test]
    fn the_noise_is_that_of_theorem_1(
        sigma in 0.3f64..30.0,
        slack in 1.0001f64..50.0,
        groups in 1usize..=MAX_GROUPS,
        clip in 1e-6f64..1e6,
        eta in 0.0f64..0.1,
    ) {
        let std = (sigma * slack * (groups as f64).sqrt() / 2.0) as f32;
        prop_assume!(std >= 0.05);
        let counts = counts(groups, std);
        let charge = Charge { event: Event::PoissonGaussian { rate: 0.01, sigma }, clip, eta, ..with(counts) };
        prop_assert_eq!(charge.check(), Ok(()));
        prop_assert!(charge.noise_multiplier() > sigma);
        let released = of_what_is_released(charge.noise_std(), clip * (1.0 + eta), counts);
        // How much of sigma's last digits a combination near the counts' own multiplier keeps.
        let room = 4e-15 / (1.0 - sigma / counts.multiplier());
        prop_assert!(released >= sigma * (1.0 - 2e-15), "{released} is below {sigma}");
        prop_assert!(released <= sigma * (1.0 + room), "{released} is above {sigma}");
        // Without counts the sum has sigma itself.
        let alone = Charge { counts: None, ..charge };
        prop_assert_eq!((alone.noise_multiplier(), alone.noise_std()), (sigma, sigma * clip * (1.0 + eta)));
    }

    /// Rounded outward, to the last bit: in twice the precision the sum and the counts never have less noise together than the event says.
    #[test]
    fn the_multipliers_are_rounded_outward(
        z in 0.3f64..30.0,
        slack in prop_oneof![1.0001f64..1.01, 1.0f64..50.0],
        groups in 1usize..=MAX_GROUPS,
    ) {
        let std = (z * slack * (groups as f64).sqrt() / 2.0) as f32;
        prop_assume!(std >= 0.05);
        let counts = counts(groups, std);
        let Ok(gradient) = counts.gradient_multiplier(z) else {
            return Err(TestCaseError::reject("no room for the sum"));
        };
        prop_assert!(costs_at_most(z, gradient, counts), "{gradient} is too small");
        let back = counts.combined_multiplier(gradient).unwrap();
        prop_assert!(costs_at_most(back, gradient, counts), "{back} is too large");
        // The control: what is a little more is told from it.
        prop_assert!(!costs_at_most(z * (1.0 + 1e-12 + 1e-14 / (slack - 1.0)), gradient, counts));
    }

    #[test]
    fn what_is_written_is_read(sigma in 1e-6f64..1e3, groups in 1usize..=MAX_GROUPS, slack in 1.001f32..9.0) {
        let std = (sigma as f32 * slack * (groups as f32).sqrt() / 2.0).max(0.05);
        let charge = Charge { event: Event::Gaussian { sigma }, ..with(counts(groups, std)) };
        let entries = [START, reserve(3, charge), reserve(4, ALONE)];
        let records = read(&write(&entries)).unwrap();
        prop_assert!(records.iter().map(|record| record.entry).eq(entries));
    }
}

/// The negative control: a sum noised as if there were no counts, with counts beside it, costs visibly more than the charge says; and the
/// check of the noise above would notice.
#[test]
fn a_charge_that_forgets_the_counts_is_cheaper_than_the_truth() {
    let counts = counts(1, 0.9);
    let Event::PoissonGaussian { rate, sigma } = ALONE.event else {
        panic!("the charge's event")
    };
    let truth = of_what_is_released(ALONE.noise_std(), ALONE.clip * (1.0 + ALONE.eta), counts);
    assert!(truth < 0.92 * sigma, "{truth}");
    let charge = with(counts);
    let remembered =
        of_what_is_released(charge.noise_std(), charge.clip * (1.0 + charge.eta), counts);
    assert!((remembered / sigma - 1.0).abs() < 1e-14, "{remembered}");

    let mut memory = Workspace::<2048, 1024>::new();
    let mut epsilon = |sigma| {
        let steps = [(Event::PoissonGaussian { rate, sigma }, sized(1000, 20))];
        Exact::new(&mut memory)
            .epsilon(Run::add_remove(&steps), 1e-5)
            .unwrap()
    };
    let (charged, true_cost) = (epsilon(sigma), epsilon(truth));
    assert!(
        true_cost.lower > 1.1 * charged.upper,
        "{true_cost:?} {charged:?}"
    );
}

/// Counts that alone cost what is charged for both, or more.
#[test]
fn counts_with_too_little_noise_are_refused() {
    let started = State::new(&HEADER).append(START).unwrap().1;
    for (groups, std, fits) in [
        (1, 0.415, false),
        (1, 0.41, false),
        (1, 0.4151, true),
        (4, 0.829, false),
        (4, 0.831, true),
    ] {
        let charge = with(counts(groups, std));
        let answer = started.append(reserve(0, charge));
        if fits {
            assert!(answer.is_ok() && charge.noise_std().is_finite());
            continue;
        }
        let fault = Fault::Counts {
            sigma: 0.83,
            counts: counts(groups, std).multiplier(),
        };
        assert_eq!(answer, Err(fault), "{groups} {std}");
        assert!(fault.to_string().contains("raise the noise of the counts"));
        assert!(charge.noise_std().is_nan());
    }
    for std in [0.0, 0.049, -1.0, f32::NAN, f32::INFINITY] {
        let refused = NoisedCounts::new(1, std);
        assert!(matches!(refused, Err(QuantileError::CountStd { .. })));
    }
    for groups in [0, MAX_GROUPS + 1] {
        let refused = QuantileError::Groups { groups };
        assert_eq!(NoisedCounts::new(groups, 5.0), Err(refused));
    }
}

/// What the accountant is told of a ledger is the event, once, whatever the clipping norm was.
#[test]
fn steps_of_different_clipping_norms_are_one_event() {
    let charge = with(counts(1, 5.0));
    let entries = [1.5, 0.25, 7.0].map(|clip| Charge { clip, ..charge });
    let entries = [
        START,
        reserve(0, entries[0]),
        reserve(1, entries[1]),
        reserve(2, entries[2]),
    ];
    let mut slots = [(Event::Gaussian { sigma: 1.0 }, 0)];
    let found = spent(&write(&entries), &mut slots).unwrap();
    assert_eq!(found.events, [(ALONE.event, 3)]);
}

fn small() -> Vec<u8> {
    let charge = with(counts(0x0102, 40.25));
    let commit = Entry::Commit {
        step: 7,
        reservation: 1,
    };
    write(&[START, reserve(7, charge), commit, reserve(8, ALONE)])
}

#[test]
fn cut_at_every_byte_and_with_every_bit_flipped() {
    let bytes = small();
    let whole = read(&bytes).unwrap();
    for length in (HEADER_LEN..bytes.len()).step_by(sized(1, 29)) {
        let records = read(&bytes[..length]).unwrap();
        assert_eq!(records, whole[..(length - HEADER_LEN) / RECORD_LEN]);
    }
    for bit in (0..bytes.len() * 8).step_by(sized(1, 37)) {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = read(&damaged).expect_err("a flipped bit was accepted");
        let block = bit / 8 / RECORD_LEN;
        assert_eq!(error.offset as usize / RECORD_LEN, block, "bit {bit}");
    }
}

/// The layout, and what an older build says of it: it wants bytes 64 to 72 of a reservation zero and refuses the record otherwise.
#[test]
fn the_layout_is_frozen() {
    let bytes = &small()[..4 * RECORD_LEN];
    assert_eq!(&bytes[..16], b"DPLEDGER\x01\0\0\0\x80\0\0\0");
    let reservation = &bytes[2 * RECORD_LEN..3 * RECORD_LEN];
    assert_eq!(reservation[64..68], [2, 1, 0, 0]);
    assert_eq!(reservation[68..72], 40.25f32.to_le_bytes());
    // Nothing else differs from the charge of a sum alone.
    let alone = write(&[START, reserve(7, ALONE)]);
    let alone = &alone[2 * RECORD_LEN..];
    assert_eq!(
        (&reservation[..64], &reservation[72..92]),
        (&alone[..64], &alone[72..92])
    );
    assert_eq!(alone[64..72], [0; 8]);
    // Head of the first three records, computed by an independent program (Python's hashlib and struct).
    let mut reader = Reader::new(bytes).unwrap();
    reader.by_ref().for_each(drop);
    let digest = reader.summary().unwrap().state.head().digest;
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "9ecb226d9715dac5b38572523d5c229def19e8dddd742f6281e6a6ce76e28eea"
    );
}

/// A record with a good checksum and a good chain value, but counts that no writer makes.
#[test]
fn forged_counts_are_refused_with_the_byte() {
    let bytes = write(&[START, reserve(7, with(counts(3, 40.25)))]);
    let forged = |record: usize, at: usize, value: &[u8]| {
        let mut forged = bytes[..(record + 2) * RECORD_LEN].to_vec();
        let from = (record + 1) * RECORD_LEN;
        let mut state = State::new(&HEADER);
        if record > 0 {
            state = state.append(START).unwrap().1;
        }
        let block = &mut forged[from..];
        block[at..at + value.len()].copy_from_slice(value);
        let link = Sha256::new()
            .chain_update(state.head().digest)
            .chain_update(&block[..92])
            .finalize();
        block[92..124].copy_from_slice(&link);
        let crc = crc32c(&block[..124]);
        block[124..].copy_from_slice(&crc.to_le_bytes());
        let error = read(&forged).expect_err("forged counts were accepted");
        (error.offset as usize - from, error.fault)
    };
    let invalid = |at, field| (at, Fault::Invalid(field));
    let too_many = (MAX_GROUPS as u32 + 1).to_le_bytes();
    assert_eq!(forged(1, 64, &too_many), invalid(64, Field::Groups));
    for std in [0.0f32, -40.25, f32::NAN, 1e30] {
        let answer = forged(1, 68, &std.to_le_bytes());
        assert_eq!(answer, invalid(68, Field::CountStd));
    }
    // No groups and yet their noise, whose first byte that is not zero is named.
    assert_eq!(forged(1, 64, &[0; 4]), invalid(70, Field::Unused));
    let little = counts(3, 0.5);
    let fault = Fault::Counts {
        sigma: 0.83,
        counts: little.multiplier(),
    };
    assert_eq!(forged(1, 68, &little.std().to_le_bytes()), (68, fault));
    // A start counts nothing.
    assert_eq!(forged(0, 64, &[1]), invalid(64, Field::Unused));
}
