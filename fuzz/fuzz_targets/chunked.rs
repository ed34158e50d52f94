//! A chunked body has the same payload, trailers and end however it was cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::h1::{BodyError, BodyLength, BodyReader, BodyStep};
use wire::head::Fields;

fuzz_target!(|data: &[u8]| {
    let Some((&piece, body)) = data.split_first() else {
        return;
    };
    let whole = read(body, body.len().max(1));
    assert_eq!(read(body, usize::from(piece).max(1)), whole);
    assert_eq!(read(body, 1), whole);
});

type Outcome = Result<(Vec<u8>, Option<Fields>, usize), BodyError>;

fn read(body: &[u8], piece: usize) -> Outcome {
    let (mut reader, mut payload, mut at, mut received) =
        (BodyReader::new(BodyLength::Chunked), Vec::new(), 0, 0);
    loop {
        match reader.next(&body[at..received])? {
            BodyStep::Data { start, end } => {
                assert!(start < end);
                payload.extend_from_slice(&body[at + start..at + end]);
                at += end;
            }
            BodyStep::Skip(taken) => {
                assert!(taken > 0);
                at += taken;
            }
            BodyStep::End { consumed, trailers } => return Ok((payload, trailers, at + consumed)),
            BodyStep::NeedMore if received < body.len() => {
                received = body.len().min(received + piece);
            }
            BodyStep::NeedMore => {
                reader.finish_on_close()?;
                return Ok((payload, None, at));
            }
        }
    }
}
