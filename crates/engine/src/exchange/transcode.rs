//! Bodies from a buffer to the other side, framed anew.

use wire::h1::{self, BodyError, BodyReader, BodyStep};

use crate::buffer::{Buffer, BufferPool};
use crate::measure;

/// How the other side gets a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// As bytes.
    Plain,
    /// In chunks.
    Chunks,
    /// Not at all: it asked for a head alone.
    Nothing,
}

/// Moves what is in `buffer` of a body to `out`, framed anew, and tells `used` what each step counts
/// (see `measure`). `Ok(true)`: that was the end of it.
pub(super) fn transcode(
    buffer: &mut Buffer,
    reader: &mut BodyReader,
    sent: Sent,
    out: &mut Vec<u8>,
    pool: &BufferPool,
    mut used: impl FnMut(usize),
) -> Result<bool, BodyError> {
    while !reader.is_done() {
        let (consumed, counted) = match reader.next(buffer.bytes())? {
            BodyStep::Data { start, end } => {
                let data = &buffer.bytes()[start..end];
                match sent {
                    Sent::Plain => out.extend_from_slice(data),
                    Sent::Chunks => {
                        h1::write_chunk_head(data.len(), out);
                        out.extend_from_slice(data);
                        h1::write_chunk_tail(out);
                    }
                    Sent::Nothing => {}
                }
                (end, end - start)
            }
            BodyStep::Skip(count) => (count, 0),
            BodyStep::End { consumed, trailers } => {
                if sent == Sent::Chunks {
                    h1::write_last_chunk(trailers.as_ref(), out);
                }
                (consumed, measure::end(consumed, trailers.as_ref()))
            }
            BodyStep::NeedMore => return Ok(false),
        };
        used(counted);
        buffer.consume(consumed, pool);
    }
    Ok(true)
}
