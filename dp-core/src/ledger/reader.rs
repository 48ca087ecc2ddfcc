use super::error::{Fault, LedgerError};
use super::header::{HEADER_LEN, Header};
use super::record::{RECORD_LEN, Record, check_beginning};
use super::state::State;

/// The incomplete record that a crash left at the end of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Length of the ledger without it: where to cut.
    pub offset: u64,
    /// Bytes to cut off.
    pub bytes: u64,
}

/// What a whole walk over a ledger found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Data set and configuration.
    pub header: Header,
    /// The machine after the last whole record.
    pub state: State,
    /// The torn tail, if there is one.
    pub torn: Option<Torn>,
}

/// Walks the bytes of a ledger and checks all of it: an iterator over its records, in order.
///
/// The iterator ends after the last whole record or after the first error; [`Reader::summary`] then says which.
///
/// # Example
/// ```
/// use dp_core::ledger::{Entry, Header, Reader, State, Unit};
///
/// let header = Header { dataset: [1; 32], config: [2; 32], unit: Unit::Record };
/// let (record, state) = State::new(&header).append(Entry::Start { process: [3; 16] }).unwrap();
/// let ledger = [header.encode(), record].concat();
///
/// let mut reader = Reader::new(&ledger).unwrap();
/// assert_eq!(reader.next().unwrap().unwrap().entry, Entry::Start { process: [3; 16] });
/// assert_eq!(reader.summary().unwrap().state, state);
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    header: Header,
    state: State,
    rest: &'a [u8],
    offset: u64,
    failed: Option<LedgerError>,
}

impl<'a> Reader<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// As [`Header::decode`].
    pub fn new(ledger: &'a [u8]) -> Result<Self, LedgerError> {
        let header = Header::decode(ledger)?;
        Ok(Self {
            header,
            state: State::new(&header),
            rest: ledger.get(HEADER_LEN..).unwrap_or_default(),
            offset: HEADER_LEN as u64,
            failed: None,
        })
    }

    /// What the ledger is about.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The machine after the records yielded so far.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Walks what is left and says how the ledger ends.
    ///
    /// # Errors
    /// The first fault found, now or before.
    pub fn summary(mut self) -> Result<Summary, LedgerError> {
        for record in self.by_ref() {
            record?;
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        let torn = (!self.rest.is_empty()).then_some(Torn {
            offset: self.offset,
            bytes: self.rest.len() as u64,
        });
        Ok(Summary {
            header: self.header,
            state: self.state,
            torn,
        })
    }

    fn fail(&mut self, within: usize, fault: Fault) -> LedgerError {
        let error = LedgerError {
            offset: self.offset + within as u64,
            fault,
        };
        self.failed = Some(error);
        error
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Record, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed.is_some() {
            return None;
        }
        let Some((block, rest)) = self.rest.split_first_chunk::<RECORD_LEN>() else {
            let begins = check_beginning(self.rest, self.state.head().records);
            return begins
                .err()
                .map(|at| Err(self.fail(at, Fault::ForeignTail)));
        };
        match self.state.replay(block) {
            Ok((record, after)) => {
                self.state = after;
                self.rest = rest;
                self.offset += RECORD_LEN as u64;
                Some(Ok(record))
            }
            Err((at, fault)) => Some(Err(self.fail(at, fault))),
        }
    }
}
