//! How much of a request's body was read from its client: where the next request begins, if anybody
//! knows.
//!
//! A client's connection goes on after an answer only with a [`BodyEnd`] in hand, and only the reader
//! that has come to the end of the body gives one. Without that, what is left of a body would be read
//! as requests.

use wire::h1::BodyReader;

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
