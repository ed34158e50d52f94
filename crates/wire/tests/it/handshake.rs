//! The WebSocket handshake, both halves.

use wire::h1::{Limits, Parsed, parse_request, parse_response};
use wire::head::{RequestHead, ResponseHead};
use wire::ws::{ClientKey, Upgrade, check_switching, upgrade_request};

/// The key of the example in RFC 6455 §1.3, and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn request(text: &str) -> RequestHead {
    match parse_request(text.as_bytes(), &Limits::default()) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => panic!("{other:?}: {text}"),
    }
}

fn response(text: &str) -> ResponseHead {
    match parse_response(text.as_bytes(), &Limits::default()) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => panic!("{other:?}: {text}"),
    }
}

/// The lines of a right handshake, of which the tests replace some.
const ASKED: [&str; 5] = [
    "Host: a",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

const ANSWERED: [&str; 3] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

/// `lines` with the field `name` replaced by `with`, which may be no line or several.
fn replaced(lines: &[&str], name: &str, with: &[&str]) -> String {
    let kept = lines
        .iter()
        .filter(|line| !line.starts_with(&format!("{name}:")));
    kept.chain(with).map(|line| format!("{line}\r\n")).collect()
}

/// Checks what a handshake is when its field `name` is replaced.
#[track_caller]
fn check_asked(name: &str, with: &[&str], expected: &str) {
    check_request(
        "GET /chat HTTP/1.1",
        &replaced(&ASKED, name, with),
        expected,
    );
}

#[track_caller]
fn check_request(first: &str, lines: &str, expected: &str) {
    let shown = match upgrade_request(&request(&format!("{first}\r\n{lines}\r\n"))) {
        Upgrade::WebSocket(key) => {
            assert_eq!(key.as_bytes(), KEY.as_bytes());
            "WebSocket".to_owned()
        }
        Upgrade::Invalid(error) => format!("Invalid({error:?}) {}", error.status()),
        other => format!("{other:?}"),
    };
    assert_eq!(shown, expected, "{first} {lines}");
}

/// Checks whether a 101 is accepted when its field `name` is replaced; `offered` are further lines
/// of the request.
#[track_caller]
fn check_answered(offered: &[&str], name: &str, with: &[&str], expected: &str) {
    let lines = replaced(&ANSWERED, name, with);
    check_response(offered, &format!("HTTP/1.1 101 x\r\n{lines}\r\n"), expected);
}

#[track_caller]
fn check_response(offered: &[&str], text: &str, expected: &str) {
    let lines = replaced(&ASKED, "", offered);
    let request = request(&format!("GET / HTTP/1.1\r\n{lines}\r\n"));
    let Upgrade::WebSocket(key) = upgrade_request(&request) else {
        panic!("{request:?}")
    };
    let shown = match check_switching(&response(text), &request, &key) {
        Ok(()) => "Ok".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn a_key_has_one_answer() {
    let Upgrade::WebSocket(key) = upgrade_request(&request(&format!(
        "GET / HTTP/1.1\r\n{}\r\n",
        replaced(&ASKED, "", &[])
    ))) else {
        panic!("not a WebSocket")
    };
    assert_eq!(key.accept(), ACCEPT.as_bytes());
    assert_eq!(ClientKey::new(*b"the sample nonce"), key);
}

#[test]
fn handshakes_are_recognised() {
    check_asked("X", &[], "WebSocket");
    check_asked("Upgrade", &["uPGRADE: WebSocket"], "WebSocket");
    check_asked("Upgrade", &["Upgrade: h2c, websocket"], "WebSocket");
    check_asked(
        "Connection",
        &["Connection: keep-alive, upgrade"],
        "WebSocket",
    );
    check_asked(
        "Connection",
        &["Connection: keep-alive", "Connection: UPGRADE"],
        "WebSocket",
    );
    check_asked("X", &["Content-Length: 0"], "WebSocket");
    check_asked(
        "X",
        &["Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c"],
        "WebSocket",
    );
    check_asked(
        "X",
        &["Sec-WebSocket-Extensions: permessage-deflate; x=\"1\""],
        "WebSocket",
    );
}

#[test]
fn other_upgrades_are_ignored() {
    check_request("GET / HTTP/1.1", "Host: a\r\n", "No");
    check_request("GET / HTTP/1.1", "Host: a\r\nConnection: upgrade\r\n", "No");
    check_asked("Upgrade", &[], "No");
    check_asked("Upgrade", &["Upgrade: h2c"], "Other");
    check_asked("Upgrade", &["Upgrade:"], "Other");
    check_asked("Upgrade", &["Upgrade: websocket/13"], "Other");
    check_asked("Upgrade", &["Upgrade: xwebsocket"], "Other");
    check_asked("Upgrade", &["Upgrade: websocket x"], "Other");
    check_asked("Connection", &[], "Other");
    check_asked("Connection", &["Connection: close"], "Other");
    check_asked("Connection", &["Connection: upgraded"], "Other");
    check_request("GET / HTTP/1.0", &replaced(&ASKED, "", &[]), "Other");
}

#[test]
fn broken_handshakes_are_refused() {
    let body = "Invalid(Body) 400";
    check_asked("X", &["Content-Length: 5"], body);
    check_asked("X", &["Transfer-Encoding: chunked"], body);
    for method in ["POST", "HEAD", "OPTIONS", "get", "GETS"] {
        let lines = replaced(&ASKED, "", &[]);
        check_request(
            &format!("{method} / HTTP/1.1"),
            &lines,
            "Invalid(Method) 400",
        );
    }
    let version = "Invalid(Version) 426";
    check_asked("Sec-WebSocket-Version", &[], version);
    for value in [
        "", "1337", "12", "8", "013", "13.0", "+13", "13,8", "8, 13", "13 13", "0xd",
    ] {
        check_asked(
            "Sec-WebSocket-Version",
            &[&format!("Sec-WebSocket-Version: {value}")],
            version,
        );
    }
    check_asked("X", &["Sec-WebSocket-Version: 13"], version);
    check_asked("X", &["Sec-WebSocket-Version: 8"], version);
}

#[test]
fn broken_keys_are_refused() {
    let expected = "Invalid(Key) 400";
    check_asked("Sec-WebSocket-Key", &[], expected);
    check_asked(
        "X",
        &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
        expected,
    );
    let keys = [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZR==",
    ];
    let more = [
        "dGhlIHNhbXBsZSBub25jZSE=",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub2 5jZQ==",
    ];
    let odd = [
        "dGhlIHNhbXBsZSBub25j-_==",
        "====dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZQ==,x",
    ];
    for key in keys.iter().chain(&more).chain(&odd) {
        check_asked(
            "Sec-WebSocket-Key",
            &[&format!("Sec-WebSocket-Key: {key}")],
            expected,
        );
    }
    check_asked(
        "X",
        &["Sec-WebSocket-Protocol: a b"],
        "Invalid(Protocol) 400",
    );
    check_asked(
        "X",
        &["Sec-WebSocket-Protocol: \"a\""],
        "Invalid(Protocol) 400",
    );
}

#[test]
fn right_answers_open_the_tunnel() {
    check_answered(&[], "X", &[], "Ok");
    check_answered(&[], "Upgrade", &["upgrade: WEBSOCKET"], "Ok");
    check_answered(
        &[],
        "Connection",
        &["Connection: keep-alive, Upgrade"],
        "Ok",
    );
    check_answered(&[], "X", &["Content-Length: 0"], "Ok");
    let offered = [
        "Sec-WebSocket-Protocol: a, b",
        "Sec-WebSocket-Extensions: p; x, q",
    ];
    check_answered(&offered, "X", &["Sec-WebSocket-Protocol: b"], "Ok");
    check_answered(
        &offered,
        "X",
        &["Sec-WebSocket-Extensions: q, p; y=1"],
        "Ok",
    );
}

#[test]
fn wrong_answers_do_not() {
    check_response(&[], "HTTP/1.1 200 OK\r\n\r\n", "Status");
    check_response(
        &[],
        "HTTP/1.1 426 x\r\nUpgrade: websocket\r\n\r\n",
        "Status",
    );
    let lines = replaced(&ANSWERED, "", &[]);
    check_response(&[], &format!("HTTP/1.1 100 x\r\n{lines}\r\n"), "Status");
    check_response(&[], &format!("HTTP/1.0 101 x\r\n{lines}\r\n"), "Status");
    check_response(&[], "HTTP/1.1 101 x\r\n\r\n", "NotWebSocket");
    check_answered(&[], "Upgrade", &[], "NotWebSocket");
    check_answered(&[], "Upgrade", &["Upgrade: h2c"], "NotWebSocket");
    check_answered(&[], "Upgrade", &["Upgrade: websocket, h2c"], "NotWebSocket");
    check_answered(&[], "X", &["Upgrade: websocket"], "NotWebSocket");
    check_answered(&[], "Connection", &[], "NotWebSocket");
    check_answered(&[], "Connection", &["Connection: close"], "NotWebSocket");
    check_answered(&[], "X", &["Content-Length: 5"], "Body");
    check_answered(&[], "X", &["Transfer-Encoding: chunked"], "Body");
    let wrong = [
        "",
        "x",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo",
        "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        KEY,
    ];
    for accept in wrong {
        let line = format!("Sec-WebSocket-Accept: {accept}");
        check_answered(&[], "Sec-WebSocket-Accept", &[&line], "Accept");
    }
    check_answered(&[], "Sec-WebSocket-Accept", &[], "Accept");
    check_answered(&[], "X", &["Sec-WebSocket-Accept: x"], "Accept");
}

#[test]
fn nodes_choose_only_what_was_offered() {
    let offered = [
        "Sec-WebSocket-Protocol: a, b",
        "Sec-WebSocket-Extensions: p; x, q",
    ];
    check_answered(&[], "X", &["Sec-WebSocket-Protocol: a"], "Protocol");
    check_answered(&offered, "X", &["Sec-WebSocket-Protocol: c"], "Protocol");
    check_answered(&offered, "X", &["Sec-WebSocket-Protocol: A"], "Protocol");
    check_answered(&offered, "X", &["Sec-WebSocket-Protocol: a, b"], "Protocol");
    check_answered(&offered, "X", &["Sec-WebSocket-Protocol:"], "Protocol");
    let twice = ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"];
    check_answered(&offered, "X", &twice, "Protocol");
    check_answered(&[], "X", &["Sec-WebSocket-Extensions: p"], "Extension");
    check_answered(
        &offered,
        "X",
        &["Sec-WebSocket-Extensions: p, r"],
        "Extension",
    );
    check_answered(&offered, "X", &["Sec-WebSocket-Extensions: x"], "Extension");
}
