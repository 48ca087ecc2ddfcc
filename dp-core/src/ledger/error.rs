use core::fmt;

/// A fault of a ledger and the byte it was found at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LedgerError {
    /// Offset from the start of the ledger: of the field at fault, or of the record where the fault can lie
    /// anywhere in it (checksum, chain).
    pub offset: u64,
    /// What is wrong there.
    pub fault: Fault,
}

/// A field of the header or of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Length of a record, in the header.
    RecordLength,
    /// Unit of privacy, in the header.
    Unit,
    /// The most records of a user, at least 1, in the header.
    MostRecords,
    /// Bytes that must be zero.
    Unused,
    /// Kind of the record.
    Kind,
    /// Sampler of a reservation.
    Sampler,
    /// Group size.
    Group,
    /// Sampling rate, in (0, 1].
    Rate,
    /// Noise multiplier, finite and above 0.
    Sigma,
    /// Clipping norm, finite and above 0.
    Clip,
    /// Allowance for rounding, finite and at least 0.
    Eta,
    /// How many times the event happened, at least 1.
    Count,
    /// Groups that were counted, at most [`MAX_GROUPS`](crate::clipping::MAX_GROUPS).
    Groups,
    /// Standard deviation of the noise on a count.
    CountStd,
}

/// What is wrong with a ledger, or with a record that should be appended.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Shorter than a header.
    HeaderCut {
        /// Bytes present.
        length: u64,
    },
    /// The first bytes are not those of a ledger.
    NotALedger,
    /// A version that this build cannot read.
    Version {
        /// Version in the header.
        found: u32,
    },
    /// The checksum does not fit the bytes.
    Checksum {
        /// Checksum stored.
        stored: u32,
        /// Checksum of the bytes present.
        computed: u32,
    },
    /// The record does not continue the hash chain: it or an earlier one was altered.
    Chain,
    /// A sequence number out of order: records were removed, repeated or moved.
    Sequence {
        /// Number that should follow.
        expected: u64,
        /// Number found.
        found: u64,
    },
    /// A field holds a value outside its range.
    Invalid(Field),
    /// The bytes after the last whole record are not the beginning of a record that could follow.
    ForeignTail,
    /// A reservation or a commit before any process start.
    NoStart,
    /// A step that this process start has already reserved; its noise would repeat.
    StepRepeated {
        /// Step asked for.
        step: u64,
        /// Highest step reserved since the start.
        last: u64,
    },
    /// A commit that does not confirm the open reservation.
    NotReserved {
        /// Step of the commit.
        step: u64,
        /// Sequence number of the reservation that it names.
        reservation: u64,
    },
    /// A counter would pass 2^64 - 1.
    Overflow,
    /// Counts released with a sum have so little noise that they alone cost what the charge says for both.
    Counts {
        /// Noise multiplier that is charged for both.
        sigma: f64,
        /// The counts' own noise multiplier, which must be above it.
        counts: f64,
    },
    /// More kinds of event than the caller has room for.
    TooManyEvents {
        /// Room given.
        capacity: usize,
    },
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RecordLength => "the record length",
            Self::Unit => "the unit of privacy",
            Self::MostRecords => "the most records of a user",
            Self::Unused => "a byte that must be zero",
            Self::Kind => "the kind of record",
            Self::Sampler => "the sampler",
            Self::Group => "the group size",
            Self::Rate => "the sampling rate",
            Self::Sigma => "the noise multiplier",
            Self::Clip => "the clipping norm",
            Self::Eta => "eta",
            Self::Count => "the count",
            Self::Groups => "the number of groups counted",
            Self::CountStd => "the standard deviation of the counts' noise",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderCut { length } => write!(f, "the header is cut: {length} bytes of 128"),
            Self::NotALedger => f.write_str("not a privacy ledger"),
            Self::Version { found } => write!(f, "ledger version {found} is not known here"),
            Self::Checksum { stored, computed } => write!(
                f,
                "checksum mismatch: stored {stored:08x}, computed {computed:08x}"
            ),
            Self::Chain => f.write_str("the record does not continue the hash chain"),
            Self::Sequence { expected, found } => {
                write!(f, "record number {found} where {expected} should follow")
            }
            Self::Invalid(field) => write!(f, "{field} is out of range"),
            Self::ForeignTail => {
                f.write_str("the bytes after the last record do not begin a record")
            }
            Self::NoStart => f.write_str("no process start comes before this record"),
            Self::StepRepeated { step, last } => write!(
                f,
                "step {step} is not after step {last}, which this process has already reserved"
            ),
            Self::NotReserved { step, reservation } => write!(
                f,
                "the commit of step {step} names record {reservation}, which is not the open reservation"
            ),
            Self::Overflow => f.write_str("a counter is full"),
            Self::Counts { sigma, counts } => write!(
                f,
                "counts of noise multiplier {counts} leave a sum no room beside them in a charge of {sigma}: raise the noise of the counts"
            ),
            Self::TooManyEvents { capacity } => {
                write!(f, "more than {capacity} different events")
            }
        }
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.offset, self.fault)
    }
}

impl core::error::Error for Fault {}

impl core::error::Error for LedgerError {}
