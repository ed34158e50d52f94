//! Heads of HTTP/1: read, changed for the next hop, written.

use std::hint::black_box;

use wire::h1::{self, Connection, Framing, HeadScanner, Limits, Parsed};
use wire::head::ResponseHead;

use crate::scene::{BROWSER, connection, parsed, talkative};
use crate::{HotPath, Step, path};

pub(crate) const PATHS: &[HotPath] = &[
    path("request-parse-11-fields", 200, || {
        parse_request(BROWSER.to_owned())
    }),
    path(
        "request-parse-60-fields",
        100,
        || parse_request(talkative()),
    ),
    path("request-forward-11-fields", 200, || {
        forward(BROWSER.to_owned())
    }),
    path("request-forward-60-fields", 100, || forward(talkative())),
    path("upgrade-check", 200, upgrade_check),
    path("response-parse-101", 200, || parse_response(SWITCHING)),
    path("response-parse-200", 200, || parse_response(FOUND)),
    path("response-write-101", 200, || {
        write_response(SWITCHING, Framing::None, Some(Connection::Upgrade))
    }),
    path("response-write-200", 200, || {
        write_response(FOUND, Framing::Length(1024), None)
    }),
];

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\n\
Upgrade: websocket\r\n\
Connection: Upgrade\r\n\
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const FOUND: &str = "HTTP/1.1 200 OK\r\n\
Date: Sun, 22 Nov 2026 09:00:00 GMT\r\n\
Content-Type: application/json; charset=utf-8\r\n\
Content-Length: 1024\r\n\
ETag: W/\"400-8rFQ0c\"\r\n\
Cache-Control: no-store\r\n\
Vary: Accept-Encoding\r\n\r\n";

/// As the engine does it: is it worth it, then all at once.
fn parse_request(text: String) -> Step {
    let limits = Limits::default();
    Box::new(move || {
        let bytes = black_box(text.as_bytes());
        let worth = HeadScanner::new().is_worth_parsing(bytes, &limits);
        assert!(worth, "the head is whole");
        black_box(h1::parse_request(bytes, &limits)).expect("the request is right");
    })
}

/// A copy of the head loses what is for one hop, gets the client's address and is written.
fn forward(text: String) -> Step {
    let head = parsed(&text);
    let client = connection().src.expect("it has one").ip().to_string();
    let mut out = Vec::with_capacity(16 * 1024);
    Box::new(move || {
        let mut head = black_box(&head).clone();
        h1::strip_around_upgrade(&mut head.fields);
        head.fields.append("x-forwarded-for", client.as_bytes());
        out.clear();
        h1::write_request(
            &head,
            Framing::None,
            Some(Connection::KeepAlive),
            black_box(&mut out),
        );
    })
}

/// Is it a handshake, and is the answer to it one?
fn upgrade_check() -> Step {
    let request = parsed(BROWSER);
    let response = response(SWITCHING);
    Box::new(
        move || match wire::ws::upgrade_request(black_box(&request)) {
            wire::ws::Upgrade::WebSocket(key) => {
                let answer = wire::ws::check_switching(black_box(&response), &request, &key);
                black_box(answer).expect("the answer is the key's");
            }
            other => unreachable!("it is a handshake, not {other:?}"),
        },
    )
}

fn response(text: &str) -> ResponseHead {
    match h1::parse_response(text.as_bytes(), &Limits::default()) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => unreachable!("the response is whole and right, not {other:?}"),
    }
}

fn parse_response(text: &'static str) -> Step {
    Box::new(move || {
        let parsed = h1::parse_response(black_box(text.as_bytes()), &Limits::default());
        black_box(parsed).expect("the response is right");
    })
}

fn write_response(text: &str, framing: Framing, connection: Option<Connection>) -> Step {
    let head = response(text);
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        h1::write_response(black_box(&head), framing, connection, black_box(&mut out));
    })
}
