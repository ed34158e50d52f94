//! A frame header that was read is written the same, and a stream has the same frames however cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::ws::frame::{FrameError, FrameHeader, FrameInfo, FrameScanner};

fuzz_target!(|data: &[u8]| {
    let Some((&piece, stream)) = data.split_first() else {
        return;
    };
    if let Ok(Some((header, len))) = FrameHeader::parse(stream) {
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(out, stream[..len]);
    }
    let whole = scan(stream, stream.len().max(1));
    assert_eq!(scan(stream, usize::from(piece).max(1)), whole);
    assert_eq!(scan(stream, 1), whole);
});

fn scan(stream: &[u8], piece: usize) -> (Vec<FrameInfo>, Result<(), FrameError>) {
    let (mut scanner, mut seen) = (FrameScanner::new(), Vec::new());
    let end = stream
        .chunks(piece)
        .try_for_each(|bytes| scanner.on_bytes(bytes, |info| seen.push(info)));
    (seen, end)
}
