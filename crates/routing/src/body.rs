//! What came of a message's body and was not passed on yet (manual 7.3.6, "req.body").

use std::borrow::Cow;

use wire::h1::{BodyLength, BodyReader, BodyStep};

/// The bytes behind a head, as they came, and how the body in them is delimited.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    /// What came.
    pub came: &'a [u8],
    /// Where the body ends.
    pub length: BodyLength,
}

impl<'a> Body<'a> {
    /// What of it is payload.
    pub(crate) fn payload(&self) -> Cow<'a, [u8]> {
        match self.length {
            BodyLength::Empty => Cow::Borrowed(&[]),
            BodyLength::UntilClose => Cow::Borrowed(self.came),
            BodyLength::Length(length) => {
                let whole = usize::try_from(length).unwrap_or(usize::MAX);
                Cow::Borrowed(&self.came[..whole.min(self.came.len())])
            }
            BodyLength::Chunked => Cow::Owned(without_chunks(self.came)),
        }
    }

    /// How long it says it is, or what came of one that does not say.
    pub(crate) fn size(&self) -> u64 {
        match self.length {
            BodyLength::Length(length) => length,
            _ => self.payload().len() as u64,
        }
    }
}

fn without_chunks(mut came: &[u8]) -> Vec<u8> {
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let mut payload = Vec::new();
    loop {
        let used = match reader.next(came) {
            Ok(BodyStep::Data { start, end }) => {
                payload.extend_from_slice(&came[start..end]);
                end
            }
            Ok(BodyStep::Skip(count)) => count,
            // What is no chunk is found, and refused, where the body is read.
            Ok(BodyStep::End { .. } | BodyStep::NeedMore) | Err(_) => return payload,
        };
        came = &came[used..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_payload_is_shown() {
        let check = |came: &str, length, expected: &str, size| {
            let came = came.as_bytes();
            let body = Body { came, length };
            assert_eq!(String::from_utf8_lossy(&body.payload()), expected);
            assert_eq!(body.size(), size, "{expected}");
        };
        check("abcdefGET /", BodyLength::Length(6), "abcdef", 6);
        check("abc", BodyLength::Length(6), "abc", 6);
        check("GET /", BodyLength::Empty, "", 0);
        check("3\r\nabc\r\n2\r\nd", BodyLength::Chunked, "abcd", 4);
        check("3\r\nabc\r\n0\r\n\r\nGET /", BodyLength::Chunked, "abc", 3);
        check("3\r\nabcX", BodyLength::Chunked, "abc", 3);
    }
}
