//! WebSocket frame headers and the scanner that counts frames in passing.

use wire::ws::frame::{
    self, FrameError, FrameHeader, FrameInfo, FrameScanner, Opcode, apply_mask, write_close,
    write_frame, write_ping,
};

/// Checks what is at the beginning of `bytes`: `OPCODE fin rsv masked LENGTH @HEADER`, or the error.
#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let parsed = FrameHeader::parse(bytes);
    let shown = match parsed {
        Ok(None) => "Partial".to_owned(),
        Ok(Some((header, len))) => show(&header) + &format!(" @{len}"),
        Err(error) => format!("{error:?}"),
    };
    assert_eq!(shown, expected);
    if let Ok(Some((header, len))) = parsed {
        let mut written = Vec::new();
        header.encode(&mut written);
        assert_eq!(written, bytes[..len]);
    }
}

fn show(header: &FrameHeader) -> String {
    let mut text = format!("{:?}", header.opcode);
    for (set, word) in [(header.fin, " fin"), (header.mask.is_some(), " masked")] {
        text += if set { word } else { "" };
    }
    if header.rsv != 0 {
        text += &format!(" rsv{}", header.rsv);
    }
    format!("{text} {}", header.payload_len)
}

/// Checks which frames go by, however the bytes are cut.
#[track_caller]
fn check_scan(bytes: &[u8], expected: &str) {
    for piece in 1..=bytes.len() {
        let (shown, end) = scan(bytes, piece);
        let end = end.map_or_else(|error| format!(" {error:?}"), |()| String::new());
        assert_eq!(shown + &end, expected, "in pieces of {piece}");
    }
}

fn scan(bytes: &[u8], piece: usize) -> (String, Result<(), FrameError>) {
    let (mut scanner, mut seen) = (FrameScanner::new(), Vec::new());
    let end = bytes.chunks(piece).try_for_each(|bytes| {
        scanner.on_bytes(bytes, |info: FrameInfo| {
            let code = info
                .close_code
                .map_or(String::new(), |code| format!(" code {code}"));
            let message = if info.ends_message() { " message" } else { "" };
            seen.push(show(&info.header) + message + &code);
        })
    });
    (seen.join(", "), end)
}

#[test]
fn headers_are_read() {
    check(&[], "Partial");
    check(&[0x81], "Partial");
    check(&[0x81, 5], "Text fin 5 @2");
    check(&[0x01, 5], "Text 5 @2");
    check(&[0x82, 0], "Binary fin 0 @2");
    check(&[0xc1, 5], "Text fin rsv4 5 @2");
    check(&[0x00, 125], "Continuation 125 @2");
    check(&[0x89, 0x80, 1, 2, 3, 4], "Ping fin masked 0 @6");
    check(&[0x89, 0x80, 1, 2, 3], "Partial");
    check(&[0x82, 126, 0], "Partial");
    check(&[0x82, 126, 0, 126], "Binary fin 126 @4");
    check(&[0x82, 126, 0xff, 0xff], "Binary fin 65535 @4");
    check(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], "Binary fin 65536 @10");
    check(
        &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9],
        "Binary fin masked 65536 @14",
    );
    check(
        &[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &format!("Binary fin {} @10", i64::MAX),
    );
    check(&[0x8a, 125], "Pong fin 125 @2");
}

#[test]
fn malformed_headers_are_refused() {
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        check(&[0x80 | opcode], "Opcode");
        check(&[0x80 | opcode, 0], "Opcode");
    }
    for opcode in [8, 9, 0xa] {
        check(&[opcode, 0], "Control");
        check(&[0x80 | opcode, 126], "Control");
        check(&[0x80 | opcode, 127], "Control");
    }
    check(&[0x82, 126, 0, 125], "Length");
    check(&[0x82, 126, 0, 0], "Length");
    check(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "Length");
    check(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], "Length");
}

#[test]
fn frames_are_counted_in_passing() {
    check_scan(b"\x81\x02hi", "Text fin 2 message");
    check_scan(
        b"\x81\x02hi\x82\x00\x8a\x01x",
        "Text fin 2 message, Binary fin 0 message, Pong fin 1",
    );
    check_scan(
        b"\x01\x02hi\x89\x00\x80\x01!",
        "Text 2, Ping fin 0, Continuation fin 1 message",
    );
    check_scan(b"\x81\x05hi", "Text fin 5 message");
    check_scan(b"\x88\x00", "Close fin 0");
    check_scan(b"\x88\x01x", "Close fin 1");
    check_scan(b"\x88\x02\x03\xe8", "Close fin 2 code 1000");
    check_scan(
        b"\x88\x05\x03\xe9bye\x81\x00",
        "Close fin 5 code 1001, Text fin 0 message",
    );
    check_scan(
        b"\x88\x82\x01\x02\x03\x04\x02\xea",
        "Close fin masked 2 code 1000",
    );
    check_scan(b"\x81\x00\x83\x00\x81\x00", "Text fin 0 message Opcode");
    check_scan(b"GET / HTTP/1.1\r\n", " Opcode");
    let long = [&[0x82, 126, 1, 0][..], &[0xff; 256], b"\x89\x00"].concat();
    check_scan(&long, "Binary fin 256 message, Ping fin 0");
}

#[test]
fn a_lost_scanner_stays_lost() {
    let mut scanner = FrameScanner::new();
    assert_eq!(scanner.on_bytes(b"\x83", |_| {}), Err(FrameError::Opcode));
    let report = |info| panic!("{info:?}");
    assert_eq!(
        scanner.on_bytes(b"\x81\x00", report),
        Err(FrameError::Opcode)
    );
    assert_eq!(scanner.on_bytes(b"", report), Err(FrameError::Opcode));
}

#[test]
fn frames_are_written() {
    let mut out = Vec::new();
    write_ping(b"hi", None, &mut out);
    assert_eq!(out, b"\x89\x02hi");
    out.clear();
    // The example of RFC 6455 §5.7.
    write_frame(
        Opcode::Text,
        b"Hello",
        Some([0x37, 0xfa, 0x21, 0x3d]),
        &mut out,
    );
    assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    apply_mask([0x37, 0xfa, 0x21, 0x3d], &mut out[6..]);
    assert_eq!(&out[6..], b"Hello");
    out.clear();
    write_close(1012, "restart", Some([0; 4]), &mut out);
    assert_eq!(out, b"\x88\x89\0\0\0\0\x03\xf4restart");
    out.clear();
    write_close(1001, &"é".repeat(100), None, &mut out);
    assert_eq!(out.len(), 2 + 2 + 122);
    assert_eq!(out[1], 124);
    out.clear();
    write_ping(&[0; 300], None, &mut out);
    assert_eq!(out.len(), 2 + frame::CONTROL_LEN_MAX);
}
