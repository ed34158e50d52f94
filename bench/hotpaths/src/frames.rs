//! WebSocket frames in passing.

use std::hint::black_box;

use wire::ws::frame::{FrameScanner, Opcode, write_frame};

use crate::{HotPath, Step, path};

pub(crate) const PATHS: &[HotPath] = &[
    path("frame-scan-64-bytes", 1000, || scan(64, 64 * 1024)),
    path("frame-scan-16-kib", 1000, || scan(16 * 1024, 64 * 1024)),
    path("frame-scan-16-kib-in-pieces", 1000, || {
        scan(16 * 1024, 4096)
    }),
];

/// One masked frame of so many bytes, that comes in reads of so many.
fn scan(len: usize, read_len: usize) -> Step {
    let mut bytes = Vec::new();
    write_frame(
        Opcode::Binary,
        &vec![7; len],
        Some([1, 2, 3, 4]),
        &mut bytes,
    );
    let mut scanner = FrameScanner::new();
    Box::new(move || {
        let mut messages = 0;
        for piece in black_box(&bytes).chunks(read_len) {
            let count =
                |info: wire::ws::frame::FrameInfo| messages += u64::from(info.ends_message());
            scanner
                .on_bytes(piece, count)
                .expect("the frames are right");
        }
        assert_eq!(messages, 1);
    })
}
