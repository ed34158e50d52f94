//! Heads of responses: nodes are as little trusted as clients.

use wire::h1::{self, BodyLength, Framing, Limits, Parsed, Rejected, parse_response};
use wire::head::{Method, ResponseHead};

const LIMITS: Limits = Limits {
    head_bytes_max: 300,
    fields_max: 6,
    lenient: false,
};

/// Checks what `bytes` mean as the answer to GET: `STATUS "REASON" BODY +REST`, or `Partial`, or the
/// reason of the refusal. Every beginning must lead to the same or to nothing yet, and what is
/// written from the head must mean the same.
#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    check_answer_to(&Method::GET, bytes, expected);
}

#[track_caller]
fn check_answer_to(method: &Method, bytes: &[u8], expected: &str) {
    let parsed = parse_response(bytes, &LIMITS);
    assert_eq!(
        show(&parsed, method, bytes.len()),
        expected,
        "{}",
        bytes.escape_ascii()
    );
    for len in 0..bytes.len() {
        match parse_response(&bytes[..len], &LIMITS) {
            Ok(Parsed::Partial) => {}
            prefix => assert_eq!(prefix, parsed, "cut at {len}"),
        }
    }
    if let Ok(Parsed::Complete { head, .. }) = &parsed {
        check_written(head, method);
    }
}

/// The same for a 200 with these lines.
#[track_caller]
fn check_fields(lines: &str, expected: &str) {
    check(
        format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").as_bytes(),
        expected,
    );
}

fn show(parsed: &Result<Parsed<ResponseHead>, Rejected>, method: &Method, len: usize) -> String {
    match parsed {
        Err(rejected) => format!("{:?}", rejected.reason),
        Ok(Parsed::Partial) => "Partial".to_owned(),
        Ok(Parsed::Complete { head, consumed }) => match h1::response_body(head, method) {
            Err(rejected) => format!("{:?}", rejected.reason),
            Ok(body) => {
                let (reason, rest) = (head.reason().escape_ascii(), len - consumed);
                let body = match body {
                    BodyLength::Length(length) => length.to_string(),
                    other => format!("{other:?}"),
                };
                format!("{} \"{reason}\" {body} +{rest}", head.status)
            }
        },
    }
}

#[track_caller]
fn check_written(head: &ResponseHead, method: &Method) {
    let Ok(body) = h1::response_body(head, method) else {
        return;
    };
    let announced = h1::response_body(head, &Method::GET).map_or(Framing::None, Framing::from);
    let mut written = Vec::new();
    h1::write_response(head, announced, None, &mut written);
    let read = parse_response(&written, &Limits::default());
    let Ok(Parsed::Complete {
        head: read,
        consumed,
    }) = read
    else {
        panic!("{} from {head:?}: {read:?}", written.escape_ascii());
    };
    assert_eq!((consumed, read.status), (written.len(), head.status));
    assert_eq!(h1::response_body(&read, method), Ok(body));
}

#[test]
fn plain_responses_are_read() {
    check(b"HTTP/1.1 200 OK\r\n\r\n", "200 \"OK\" UntilClose +0");
    check(b"HTTP/1.0 200 OK\r\n\r\n", "200 \"OK\" UntilClose +0");
    check(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "200 \"OK\" 3 +3",
    );
    check(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "200 \"OK\" 0 +0",
    );
    check(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "200 \"OK\" Chunked +5",
    );
    check(
        b"HTTP/1.1 404 Not Found Here\r\n\r\n",
        "404 \"Not Found Here\" UntilClose +0",
    );
    check(b"HTTP/1.1 200 \r\n\r\n", "200 \"\" UntilClose +0");
    check(b"HTTP/1.1 200\r\n\r\n", "200 \"\" UntilClose +0");
    check(
        b"HTTP/1.1 200 \xc3\xa9\tx\r\n\r\n",
        "200 \"\\xc3\\xa9\\tx\" UntilClose +0",
    );
    check(b"HTTP/1.1 599 x\r\n\r\n", "599 \"x\" UntilClose +0");
}

#[test]
fn incomplete_responses_wait() {
    check(b"", "Partial");
    check(b"HTT", "Partial");
    check(b"HTTP/1.1 200 OK\r\n", "Partial");
    check(b"HTTP/1.1 200 OK\r\nA: b\r\n\r", "Partial");
}

#[test]
fn the_status_line_is_exact() {
    check(b"\r\nHTTP/1.1 200 OK\r\n\r\n", "VersionInvalid");
    check(b" HTTP/1.1 200 OK\r\n\r\n", "VersionInvalid");
    check(b"hello, here is some text", "VersionInvalid");
    check(b"<html>", "VersionInvalid");
    check(b"ICY 200 OK\r\n\r\n", "VersionInvalid");
    check(b"http/1.1 200 OK\r\n\r\n", "VersionInvalid");
    check(b"HTTP/1.1200 OK\r\n\r\n", "VersionInvalid");
    check(b"HTTP/2.0 200 OK\r\n\r\n", "VersionUnsupported");
    check(b"HTTP/1.2 200 OK\r\n\r\n", "VersionUnsupported");
    check(b"HTTP/2 200\r\n\r\n", "VersionInvalid");
    check(b"HTTP/1.1\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1 \r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1  200 OK\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1\t200 OK\r\n\r\n", "VersionInvalid");
    check(b"HTTP/1.1 20 OK\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1 2000 OK\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1 200OK\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1 2x0 OK\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1 +20 OK\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1 099 OK\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1 600 OK\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1 999 OK\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1 000 OK\r\n\r\n", "StatusInvalid");
    check(b"HTTP/1.1 200 O\0K\r\n\r\n", "ReasonInvalid");
    check(b"HTTP/1.1 200 O\rK\r\n\r\n", "ReasonInvalid");
    check(b"HTTP/1.1 200 \x1b[1m\r\n\r\n", "ReasonInvalid");
    check(b"HTTP/1.1 200 OK\n\n", "BareLf");
    check(b"HTTP/1.1 200 OK\r\r\n\r\n", "ReasonInvalid");
}

#[test]
fn response_fields_are_as_strict_as_those_of_requests() {
    check_fields("A: b", "200 \"OK\" UntilClose +0");
    check_fields("A: b\nSet-Cookie: c", "BareLf");
    check_fields("A: b\rSet-Cookie: c", "BareCr");
    check_fields("A: b\0", "ValueInvalid");
    check_fields("A : b", "SpaceBeforeColon");
    check_fields("A", "ColonMissing");
    check_fields(": b", "NameEmpty");
    check_fields("A: b\r\n c", "Folded");
    check_fields(" A: b", "Folded");
    check_fields("A\u{1}: b", "NameInvalid");
    check_fields(&["A: b"; 6].join("\r\n"), "200 \"OK\" UntilClose +0");
    check_fields(&["A: b"; 7].join("\r\n"), "TooManyFields");
    check_fields(&format!("A: {}", "b".repeat(300)), "TooLarge");
    check(
        &[b"HTTP/1.1 200 ".as_slice(), &[b'x'; 300]].concat(),
        "TooLarge",
    );
}

#[test]
fn the_framing_of_a_response_is_single() {
    check_fields(
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "LengthAndEncoding",
    );
    check_fields(
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "LengthAndEncoding",
    );
    check_fields("Content-Length: 3\r\nContent-Length: 3", "LengthRepeated");
    check_fields("Content-Length: 3\r\nContent-Length: 4", "LengthRepeated");
    check_fields("Content-Length: 3, 3", "LengthRepeated");
    check_fields("Content-Length: -1", "LengthInvalid");
    check_fields("Content-Length:", "LengthInvalid");
    check_fields("Content-Length: 0x3", "LengthInvalid");
    check_fields("Content-Length: 18446744073709551619", "LengthInvalid");
    check_fields("Transfer-Encoding: gzip, chunked", "EncodingInvalid");
    check_fields("Transfer-Encoding: identity", "EncodingInvalid");
    check_fields(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "EncodingInvalid",
    );
    check(
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "EncodingInHttp10",
    );
}

#[test]
fn some_responses_have_no_body() {
    let head = Method::HEAD;
    check_answer_to(
        &head,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        "200 \"OK\" Empty +0",
    );
    check_answer_to(&head, b"HTTP/1.1 200 OK\r\n\r\n", "200 \"OK\" Empty +0");
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check_answer_to(&head, chunked, "200 \"OK\" Empty +0");
    check_answer_to(
        &Method::CONNECT,
        b"HTTP/1.1 200 OK\r\n\r\n",
        "200 \"OK\" Empty +0",
    );
    check_answer_to(
        &Method::CONNECT,
        b"HTTP/1.1 400 No\r\n\r\n",
        "400 \"No\" UntilClose +0",
    );
    check(
        b"HTTP/1.1 204 No Content\r\n\r\n",
        "204 \"No Content\" Empty +0",
    );
    check(
        b"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n",
        "204 \"x\" Empty +0",
    );
    check(
        b"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\nabcde",
        "BodyNotAllowed",
    );
    check(
        b"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "BodyNotAllowed",
    );
    check(
        b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n",
        "304 \"x\" Empty +0",
    );
    check(
        b"HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "304 \"x\" Empty +0",
    );
    check(
        b"HTTP/1.1 205 x\r\nContent-Length: 0\r\n\r\n",
        "205 \"x\" 0 +0",
    );
}

#[test]
fn interim_responses_have_no_body_and_are_known() {
    check(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200",
        "100 \"Continue\" Empty +12",
    );
    check(b"HTTP/1.1 103 x\r\nLink: y\r\n\r\n", "103 \"x\" Empty +0");
    check(
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n\x81\0",
        "101 \"x\" Empty +2",
    );
    check(
        b"HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n",
        "BodyNotAllowed",
    );
    check(
        b"HTTP/1.1 101 x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "BodyNotAllowed",
    );
    for (status, interim) in [
        (100, true),
        (101, false),
        (103, true),
        (199, true),
        (200, false),
    ] {
        assert_eq!(ResponseHead::new(status).is_interim(), interim, "{status}");
    }
}
