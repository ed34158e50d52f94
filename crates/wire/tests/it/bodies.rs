//! Bodies, followed in passing.

use wire::h1::{BodyError, BodyLength, BodyReader, BodyStep};

/// What came of a body: payload, trailers, and how many bytes of the input it took.
type Outcome = Result<(Vec<u8>, String, usize), BodyError>;

/// Feeds `input` in pieces of the given sizes (the last of which is used for the rest), as a
/// connection would, and reports what came of it when the connection then ends.
pub(crate) fn read_in_pieces(length: BodyLength, input: &[u8], sizes: &[usize]) -> Outcome {
    let (mut reader, mut payload, mut at, mut received) = (BodyReader::new(length), vec![], 0, 0);
    let mut sizes = sizes
        .iter()
        .copied()
        .chain(std::iter::repeat(*sizes.last().unwrap_or(&1)));
    loop {
        let window = &input[at..received];
        match reader.next(window)? {
            BodyStep::Data { start, end } => {
                assert!(start < end && end <= window.len());
                payload.extend_from_slice(&window[start..end]);
                at += end;
            }
            BodyStep::Skip(taken) => {
                assert!(taken > 0 && taken == window.len());
                at += taken;
            }
            BodyStep::End { consumed, trailers } => {
                assert!(reader.is_done() && reader.finish_on_close().is_ok());
                let again = BodyStep::End {
                    consumed: 0,
                    trailers: None,
                };
                assert_eq!(reader.next(b"next message"), Ok(again));
                let trailers = trailers.map_or(String::new(), |fields| format!("{fields:?}"));
                return Ok((payload, trailers, at + consumed));
            }
            BodyStep::NeedMore if received < input.len() => {
                let piece = sizes.next().unwrap_or(1).max(1);
                received = input.len().min(received + piece);
            }
            BodyStep::NeedMore => {
                reader.finish_on_close()?;
                return Ok((payload, String::new(), at));
            }
        }
    }
}

/// Checks what a chunked body is: `PAYLOAD [TRAILERS] +REST`, or the error. Every way of cutting it
/// in two, and feeding single bytes, must give the same.
#[track_caller]
fn check(input: &[u8], expected: &str) {
    check_length(BodyLength::Chunked, input, expected);
}

#[track_caller]
fn check_length(length: BodyLength, input: &[u8], expected: &str) {
    let whole = read_in_pieces(length, input, &[input.len()]);
    let shown = match &whole {
        Ok((payload, trailers, taken)) => {
            format!(
                "{}{trailers} +{}",
                payload.escape_ascii(),
                input.len() - taken
            )
        }
        Err(error) => format!("{error:?}"),
    };
    assert_eq!(shown, expected, "{}", input.escape_ascii());
    assert_eq!(read_in_pieces(length, input, &[1]), whole, "byte by byte");
    for cut in 1..input.len() {
        assert_eq!(
            read_in_pieces(length, input, &[cut, input.len()]),
            whole,
            "cut at {cut}"
        );
    }
}

#[test]
fn chunks_are_joined() {
    check(b"0\r\n\r\n", " +0");
    check(b"3\r\nabc\r\n0\r\n\r\n", "abc +0");
    check(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde +0");
    check(b"3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1", "abc +14");
    check(b"a\r\n0123456789\r\n0\r\n\r\n", "0123456789 +0");
    check(b"A\r\n0123456789\r\n0\r\n\r\n", "0123456789 +0");
    check(b"0003\r\nabc\r\n000\r\n\r\n", "abc +0");
    check(b"0000000000000001\r\na\r\n0\r\n\r\n", "a +0");
    check(b"5\r\n\r\n0\r\n\r\n0\r\n\r\n", "\\r\\n0\\r\\n +0");
    check(b"2\r\n\r\n\r\n0\r\n\r\n", "\\r\\n +0");
}

#[test]
fn unfinished_chunks_are_truncated() {
    for input in [
        "",
        "3",
        "3\r",
        "3\r\n",
        "3\r\nab",
        "3\r\nabc",
        "3\r\nabc\r",
        "3\r\nabc\r\n",
    ] {
        check(input.as_bytes(), "Truncated");
    }
    for input in [
        "0",
        "0\r\n",
        "0\r\n\r",
        "0\r\nX: y\r\n",
        "0;a",
        "0;a=\"",
        "0\r\nX",
    ] {
        check(input.as_bytes(), "Truncated");
    }
}

#[test]
fn chunk_sizes_are_hexadecimal_digits() {
    for size in [
        "", "0x3", "+3", "-3", " 3", "3 ", "\t3", "3\t", "3 3", "3h", "x", "3_0", "3,", "\0",
    ] {
        check(
            format!("{size}\r\nabc\r\n0\r\n\r\n").as_bytes(),
            "SizeInvalid",
        );
    }
    for size in [
        "3 ;a", "3\u{b}", "\u{ff13}", "3:", "3.0", "\"3\"", "3\0", "g", "3\u{a0}",
    ] {
        check(
            format!("{size}\r\nabc\r\n0\r\n\r\n").as_bytes(),
            "SizeInvalid",
        );
    }
    check(b"3\r\nabc\r\n\r\n\r\n", "SizeInvalid");
    check(b"3\r\nabc\r\n 0\r\n\r\n", "SizeInvalid");
}

#[test]
fn chunk_sizes_are_bounded() {
    check(b"8000000000000000\r\na", "SizeTooLarge");
    check(b"ffffffffffffffff\r\na", "SizeTooLarge");
    check(b"10000000000000003\r\nabc", "SizeTooLarge");
    check(b"00000000000000003\r\nabc\r\n0\r\n\r\n", "SizeTooLarge");
    check(b"100000000000000000000000000000003\r\nabc", "SizeTooLarge");
    check(b"7fffffffffffffff\r\na", "Truncated");
}

#[test]
fn lines_of_chunk_framing_end_in_cr_lf() {
    check(b"3\nabc\r\n0\r\n\r\n", "LineEnd");
    check(b"3\rabc\r\n0\r\n\r\n", "LineEnd");
    check(b"3\r\r\nabc\r\n0\r\n\r\n", "LineEnd");
    check(b"\nabc", "LineEnd");
    check(b"3;a\nabc\r\n0\r\n\r\n", "LineEnd");
    check(b"3;a\rabc\r\n0\r\n\r\n", "LineEnd");
    check(b"0\n\r\n", "LineEnd");
    check(b"0\r\r\n\r\n", "LineEnd");
    check(b"0\r\n\n", "Trailer(BareLf)");
    check(b"0\r\n\r\r\n\r\n", "Trailer(NameInvalid)");
}

#[test]
fn chunk_data_is_followed_by_cr_lf() {
    check(b"3\r\nabcd\r\n0\r\n\r\n", "DataEnd");
    check(b"3\r\nabc0\r\n\r\n", "DataEnd");
    check(b"3\r\nabc\n0\r\n\r\n", "DataEnd");
    check(b"3\r\nabc\r0\r\n\r\n", "DataEnd");
    check(b"3\r\nabcXX0\r\n\r\n", "DataEnd");
    check(b"3\r\nabc\r\r\n0\r\n\r\n", "DataEnd");
    check(b"3\r\nabc\0\n0\r\n\r\n", "DataEnd");
}

#[test]
fn well_formed_extensions_are_dropped() {
    check(b"3;a\r\nabc\r\n0\r\n\r\n", "abc +0");
    check(b"3;a=b\r\nabc\r\n0;c\r\n\r\n", "abc +0");
    check(b"3;a=b;c;d=e\r\nabc\r\n0\r\n\r\n", "abc +0");
    check(b"3;a=\"b c;\\\" \t\xff\"\r\nabc\r\n0\r\n\r\n", "abc +0");
    check(b"3;a=\"\";b\r\nabc\r\n0\r\n\r\n", "abc +0");
}

#[test]
fn malformed_extensions_are_refused() {
    for extension in [
        ";", ";;a", ";a;", ";=b", ";a=", ";a==b", "; a", ";a ", ";a =b", ";a= b",
    ] {
        check(
            format!("3{extension}\r\nabc\r\n0\r\n\r\n").as_bytes(),
            "ExtensionInvalid",
        );
    }
    for extension in [
        ";a=\"b",
        ";a=\"b\"c",
        ";\0",
        ";a\0",
        ";a=\"\0\"",
        ";a=\u{e9}",
        ";a,b",
    ] {
        check(
            format!("3{extension}\r\nabc\r\n0\r\n\r\n").as_bytes(),
            "ExtensionInvalid",
        );
    }
    check(b"3;a=\"b\\\r\nabc\r\n0\r\n\r\n", "ExtensionInvalid");
    check(b"3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n", "ExtensionInvalid");
    check(b"3;\nabc\r\n0\r\n\r\n", "LineEnd");
    check(b"3;a=\"\n\"\r\nabc\r\n0\r\n\r\n", "LineEnd");
}

#[test]
fn extensions_are_bounded() {
    let line = |len: usize| format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(len));
    check(line(255).as_bytes(), "abc +0");
    check(line(256).as_bytes(), "ExtensionTooLong");
    // Many small chunks that are nearly nothing but extensions.
    let chunk = format!("1;{}\r\nx\r\n", "a".repeat(200));
    let body = format!("{}0\r\n\r\n", chunk.repeat(30));
    let outcome = read_in_pieces(BodyLength::Chunked, body.as_bytes(), &[64]);
    assert_eq!(outcome, Err(BodyError::ExtensionTooLong));
    // The same extensions before chunks that are worth them.
    let chunk = format!("100;{}\r\n{}\r\n", "a".repeat(200), "x".repeat(256));
    let body = format!("{}0\r\n\r\n", chunk.repeat(30));
    let (payload, ..) = read_in_pieces(BodyLength::Chunked, body.as_bytes(), &[64]).unwrap();
    assert_eq!(payload.len(), 30 * 256);
}

#[test]
fn trailers_are_read_and_filtered() {
    check(b"0\r\nX: y\r\n\r\nrest", "[\"x: y\"] +4");
    check(
        b"1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\n",
        "a[\"x: y\", \"z: \"] +0",
    );
    check(b"0\r\nContent-Length: 5\r\n\r\n", " +0");
    check(
        b"0\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n",
        "[\"x: y\"] +0",
    );
    check(
        b"0\r\nHost: b\r\nConnection: close\r\nUpgrade: x\r\n\r\n",
        " +0",
    );
    check(
        b"0\r\nAuthorization: b\r\nX-Forwarded-For: 1.2.3.4\r\nCookie: c\r\n\r\n",
        " +0",
    );
    check(
        b"0\r\nSec-WebSocket-Key: x\r\nIf-Match: y\r\nSet-Cookie: z\r\n\r\n",
        " +0",
    );
}

#[test]
fn malformed_trailers_are_refused() {
    check(b"0\r\nX\r\n\r\n", "Trailer(ColonMissing)");
    check(b"0\r\nX : y\r\n\r\n", "Trailer(SpaceBeforeColon)");
    check(b"0\r\nX: y\n\r\n", "Trailer(BareLf)");
    check(b"0\r\nX: y\rZ: a\r\n\r\n", "Trailer(BareCr)");
    check(b"0\r\nX: y\0\r\n\r\n", "Trailer(ValueInvalid)");
    check(b"0\r\nX: y\r\n z\r\n\r\n", "Trailer(Folded)");
    check(b"0\r\n: y\r\n\r\n", "Trailer(NameEmpty)");
    check(b"0\r\nGET / HTTP/1.1\r\n\r\n", "Trailer(SpaceBeforeColon)");
}

#[test]
fn trailers_are_bounded() {
    let trailers = |fields: usize, len: usize| {
        let line = format!("X: {}\r\n", "y".repeat(len));
        format!("0\r\n{}\r\n", line.repeat(fields))
    };
    let outcome = |body: String| read_in_pieces(BodyLength::Chunked, body.as_bytes(), &[700]);
    assert!(outcome(trailers(32, 10)).is_ok());
    assert_eq!(
        outcome(trailers(33, 10)),
        Err(BodyError::Trailer(wire::h1::Reason::TooManyFields))
    );
    assert!(outcome(trailers(1, 8000)).is_ok());
    assert_eq!(outcome(trailers(1, 8200)), Err(BodyError::TrailersTooLong));
    let endless = read_in_pieces(
        BodyLength::Chunked,
        &[b"0\r\nX: ", &[b'y'; 9000][..]].concat(),
        &[9],
    );
    assert_eq!(endless, Err(BodyError::TrailersTooLong));
}

#[test]
fn lengths_are_counted() {
    check_length(BodyLength::Empty, b"", " +0");
    check_length(BodyLength::Empty, b"next", " +4");
    check_length(BodyLength::Length(0), b"next", " +4");
    check_length(BodyLength::Length(3), b"abc", "abc +0");
    check_length(BodyLength::Length(3), b"abcnext", "abc +4");
    check_length(BodyLength::Length(3), b"ab", "Truncated");
    check_length(BodyLength::Length(u64::MAX), b"ab", "Truncated");
    check_length(BodyLength::UntilClose, b"", " +0");
    check_length(BodyLength::UntilClose, b"abc", "abc +0");
}

#[test]
fn a_broken_body_stays_broken() {
    let mut reader = BodyReader::new(BodyLength::Chunked);
    for input in [&b"x"[..], b"0\r\n\r\n", b""] {
        assert_eq!(reader.next(input), Err(BodyError::SizeInvalid));
    }
    assert_eq!(reader.finish_on_close(), Err(BodyError::SizeInvalid));
    assert!(!reader.is_done());
}
