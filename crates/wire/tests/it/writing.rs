//! What is written.

use wire::h1::{
    Connection, Framing, Limits, Parsed, parse_request, write_chunk_head, write_chunk_tail,
    write_last_chunk, write_request, write_response,
};
use wire::head::{Fields, Method, RequestHead, ResponseHead};

#[track_caller]
fn check_request(head: &RequestHead, framing: Framing, how: Option<Connection>, expected: &str) {
    let mut out = Vec::new();
    write_request(head, framing, how, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[track_caller]
fn check_response(head: &ResponseHead, framing: Framing, how: Option<Connection>, expected: &str) {
    let mut out = Vec::new();
    write_response(head, framing, how, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

fn parsed(text: &str) -> RequestHead {
    match parse_request(text.as_bytes(), &Limits::default()) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => panic!("{other:?}: {text}"),
    }
}

#[test]
fn requests_are_written_anew() {
    let head = parsed("GET /a?b HTTP/1.0\r\nX-Y:  z \r\nHost: h\r\n\r\n");
    check_request(
        &head,
        Framing::None,
        None,
        "GET /a?b HTTP/1.1\r\nx-y: z\r\nhost: h\r\n\r\n",
    );
    let head = parsed("GET / HTTP/1.0\r\n\r\n");
    check_request(
        &head,
        Framing::None,
        None,
        "GET / HTTP/1.1\r\nhost: \r\n\r\n",
    );
    let head = parsed("GET http://h:81/a HTTP/1.0\r\n\r\n");
    check_request(
        &head,
        Framing::None,
        None,
        "GET /a HTTP/1.1\r\nhost: h:81\r\n\r\n",
    );
    let head = parsed("OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n");
    check_request(
        &head,
        Framing::None,
        None,
        "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n",
    );
}

#[test]
fn the_writer_owns_framing_and_connection() {
    let text =
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: a\r\nUpgrade: h2c\r\n\r\n";
    let mut head = parsed(text);
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("content-length", "7"),
        ("host", "i"),
    ] {
        assert!(head.fields.append(name, value.as_bytes()));
    }
    let begin = "POST / HTTP/1.1\r\nhost: h\r\n";
    check_request(&head, Framing::None, None, &format!("{begin}\r\n"));
    check_request(&head, Framing::UntilClose, None, &format!("{begin}\r\n"));
    let length = format!("{begin}content-length: 5\r\nconnection: close\r\n\r\n");
    check_request(&head, Framing::Length(5), Some(Connection::Close), &length);
    let chunked = format!("{begin}transfer-encoding: chunked\r\n\r\n");
    check_request(&head, Framing::Chunked, None, &chunked);
    let upgrade = format!("{begin}connection: Upgrade\r\nupgrade: websocket\r\n\r\n");
    check_request(&head, Framing::None, Some(Connection::Upgrade), &upgrade);
}

#[test]
fn responses_are_framed_as_their_status_allows() {
    let with = |status| {
        let mut head = ResponseHead::new(status);
        assert!(head.fields.append("Content-Length", b"9") && head.fields.append("A", b"b"));
        head
    };
    let ok = "HTTP/1.1 200 OK\r\n";
    check_response(
        &with(200),
        Framing::None,
        None,
        &format!("{ok}content-length: 0\r\na: b\r\n\r\n"),
    );
    check_response(
        &with(200),
        Framing::Length(3),
        None,
        &format!("{ok}content-length: 3\r\na: b\r\n\r\n"),
    );
    let kept = format!("{ok}transfer-encoding: chunked\r\na: b\r\nconnection: keep-alive\r\n\r\n");
    check_response(
        &with(200),
        Framing::Chunked,
        Some(Connection::KeepAlive),
        &kept,
    );
    let closed = format!("{ok}a: b\r\nconnection: close\r\n\r\n");
    check_response(
        &with(200),
        Framing::UntilClose,
        Some(Connection::Close),
        &closed,
    );
    for framing in [Framing::None, Framing::Length(3), Framing::Chunked] {
        check_response(
            &with(204),
            framing,
            None,
            "HTTP/1.1 204 No Content\r\na: b\r\n\r\n",
        );
        check_response(
            &with(100),
            framing,
            None,
            "HTTP/1.1 100 Continue\r\na: b\r\n\r\n",
        );
    }
    let unmodified = "HTTP/1.1 304 Not Modified\r\na: b\r\n";
    check_response(
        &with(304),
        Framing::None,
        None,
        &format!("{unmodified}\r\n"),
    );
    check_response(
        &with(304),
        Framing::Chunked,
        None,
        &format!("{unmodified}\r\n"),
    );
    let length = "HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\na: b\r\n\r\n";
    check_response(&with(304), Framing::Length(3), None, length);
    let switching = "HTTP/1.1 101 Switching Protocols\r\na: b\r\n";
    let switching = format!("{switching}connection: Upgrade\r\nupgrade: websocket\r\n\r\n");
    check_response(
        &with(101),
        Framing::None,
        Some(Connection::Upgrade),
        &switching,
    );
}

#[test]
fn impossible_statuses_are_not_written() {
    for status in [0, 99, 600, 1000] {
        let mut out = Vec::new();
        write_response(&ResponseHead::new(status), Framing::None, None, &mut out);
        assert!(out.starts_with(b"HTTP/1.1 500 \r\n"), "{status}");
    }
}

#[test]
fn chunks_are_written() {
    for (len, expected) in [
        (0, ""),
        (1, "1\r\n"),
        (15, "f\r\n"),
        (16, "10\r\n"),
        (0xabc0, "abc0\r\n"),
    ] {
        let mut out = Vec::new();
        write_chunk_head(len, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
    let trailers: Fields = [("X", &b"y"[..]), ("Content-Length", b"5"), ("Host", b"h")]
        .into_iter()
        .collect();
    let mut out = Vec::new();
    write_chunk_tail(&mut out);
    write_last_chunk(Some(&trailers), &mut out);
    write_last_chunk(None, &mut out);
    assert_eq!(out, b"\r\n0\r\nx: y\r\n\r\n0\r\n\r\n");
}

#[test]
fn a_request_of_our_own_is_written() {
    let mut head = RequestHead::new(Method::GET, b"/health").unwrap();
    assert!(head.fields.set("Host", b"node") && head.fields.set("User-Agent", b"x\r\nY: z"));
    let expected = "GET /health HTTP/1.1\r\nhost: node\r\nuser-agent: x  Y: z\r\n\r\n";
    check_request(&head, Framing::None, None, expected);
}
