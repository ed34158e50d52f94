//! How much of a request's body was read from its client: where the next request begins, if anybody
//! knows.
//!
//! A client's connection goes on after an answer only with a [`BodyEnd`] in hand, and only the reader
//! that has come to the end of the body gives one. Without that, what is left of a body would be read
//! as requests.

use wire::h1::{BodyError, BodyLength, BodyReader, BodyStep};

/// Proof that a request's body was read to its end: what comes next is another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BodyEnd(());

impl BodyEnd {
    /// `None` as long as the reader is not there.
    pub(crate) fn of(reader: &BodyReader) -> Option<Self> {
        reader.is_done().then_some(Self(()))
    }
}

/// How much of a request's body was read. Later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BodyRead {
    /// Nothing: it may still be skipped.
    None,
    /// Some: what comes next on the connection is its rest.
    Part,
    /// All of it.
    Whole(BodyEnd),
}

impl BodyRead {
    /// Its end, if it was reached.
    pub(crate) fn end(self) -> Option<BodyEnd> {
        match self {
            Self::Whole(end) => Some(end),
            Self::None | Self::Part => None,
        }
    }
}

/// How much of a body stands in a buffer and stays there.
pub(crate) struct BodySeen {
    reader: BodyReader,
    looked_at: usize,
    payload: usize,
}

impl BodySeen {
    /// Nothing was looked at yet.
    pub(crate) fn new(length: BodyLength) -> Self {
        Self {
            reader: BodyReader::new(length),
            looked_at: 0,
            payload: 0,
        }
    }

    /// Whether all of it is there, or at least so much. `came` begins with what was there before.
    pub(crate) fn is_enough(
        &mut self,
        came: &[u8],
        at_least: Option<usize>,
    ) -> Result<bool, BodyError> {
        while !self.reader.is_done() {
            let new = came.get(self.looked_at..).unwrap_or_default();
            self.looked_at += match self.reader.next(new)? {
                BodyStep::Data { start, end } => {
                    self.payload += end - start;
                    end
                }
                BodyStep::Skip(count) => count,
                BodyStep::End { consumed, .. } => consumed,
                BodyStep::NeedMore => break,
            };
        }
        let enough = at_least.is_some_and(|least| self.payload >= least);
        Ok(enough || self.reader.is_done())
    }
}
