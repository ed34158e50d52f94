//! Heads as values: fields, targets, methods, and what a connection is told.

use wire::h1::{
    Limits, Parsed, expects_continue, parse_request, strip_hop_by_hop, wants_keep_alive,
};
use wire::head::{Fields, Method, RequestHead, ResponseHead, Version};

fn fields(pairs: &[(&'static str, &'static str)]) -> Fields {
    pairs
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()))
        .collect()
}

fn show(fields: &Fields) -> String {
    let lines = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.escape_ascii()));
    lines.collect::<Vec<_>>().join(", ")
}

fn parsed(text: &str) -> RequestHead {
    match parse_request(text.as_bytes(), &Limits::default()) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => panic!("{other:?}: {text}"),
    }
}

#[test]
fn fields_keep_their_order_and_lose_their_case() {
    let mut it = fields(&[("B", "1"), ("a", "2"), ("b", "3")]);
    assert_eq!(show(&it), "b: 1, a: 2, b: 3");
    assert_eq!(it.get("B"), Some(&b"1"[..]));
    assert_eq!(it.get_all("b").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(it.get("c"), None);
    assert!(it.set("A", b"4") && it.append("c", b"5"));
    assert_eq!(show(&it), "b: 1, b: 3, a: 4, c: 5");
    assert_eq!((it.remove("B"), it.remove("x"), it.len()), (2, 0, 2));
    it.retain(|name, value| name == "a" && value == b"4");
    assert_eq!(show(&it), "a: 4");
    assert!(!it.is_empty() && it.contains("A") && !it.contains("c"));
}

#[test]
fn fields_of_a_parsed_head_can_be_changed() {
    let mut head = parsed("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B:2\r\n\r\n");
    assert!(head.fields.set("X-A", b"3") && head.fields.append("X-C", b"4"));
    assert_eq!(show(&head.fields), "host: a, x-b: 2, x-a: 3, x-c: 4");
}

#[test]
fn fields_cannot_split_a_message() {
    let mut it = Fields::new();
    assert!(it.append("a", b"1\r\nB: 2\0\x7f3"));
    assert!(it.append("c", b" \r\n\t 4 \n"));
    assert_eq!(show(&it), "a: 1  B: 2  3, c: 4");
    for name in ["", "a b", "a:", "a\r\nb", "\u{e9}", "a\0"] {
        assert!(!it.append(name, b"5"), "{name:?}");
    }
    assert_eq!(it.len(), 2);
}

#[test]
fn lists_are_taken_apart() {
    let it = fields(&[("X", "a, b,,c ,"), ("y", "z"), ("x", "\td"), ("x", "")]);
    assert_eq!(it.tokens("x").collect::<Vec<_>>(), [b"a", b"b", b"c", b"d"]);
    assert!(it.has_token("X", "B") && !it.has_token("x", "z"));
}

/// Path, query and host of a target.
#[track_caller]
fn check_target(first: &str, host: &str, expected: &str) {
    let head = parsed(&format!("{first} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or(b"-").to_vec()).unwrap();
    let shown = [Some(head.path()), head.query(), head.host()]
        .map(text)
        .join(" ");
    assert_eq!(shown, expected);
}

#[test]
fn targets_have_parts() {
    check_target("GET /", "a", "/ - a");
    check_target("GET /b/c?d?e", "a:1", "/b/c d?e a:1");
    check_target("GET /?", "a", "/  a");
    check_target("GET /http://x/", "a", "/http://x/ - a");
    check_target("GET http://a/b?c", "A", "/b c a");
    check_target("GET http://a", "a", "/ - a");
    check_target("GET http://a?b/c", "a", "/ b/c a");
    check_target("OPTIONS *", "a", "* - a");
    check_target("OPTIONS http://a", "a", "* - a");
    check_target("CONNECT a:1", "a:1", " - a:1");
}

#[test]
fn targets_can_be_replaced_by_targets_only() {
    let mut head = parsed("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    for bad in [
        "", "x", "*", "/a b", "/a\r\nb", "/#", "/\u{e9}", "?x", "ftp://a/",
    ] {
        assert!(!head.set_target(bad.as_bytes()), "{bad:?}");
    }
    assert_eq!(head.target(), b"/x");
    assert!(head.set_target(b"/y?z"));
    assert_eq!((head.path(), head.query()), (&b"/y"[..], Some(&b"z"[..])));
    assert!(RequestHead::new(Method::OPTIONS, b"*").is_some());
    assert!(RequestHead::new(Method::GET, b"*").is_none());
    assert!(RequestHead::new(Method::GET, b"no").is_none());
    assert!(RequestHead::new(Method::CONNECT, b"a:1").is_none());
}

#[test]
fn methods_are_known_by_name() {
    assert_eq!(Method::new(b"GET"), Some(Method::GET));
    assert_ne!(Method::new(b"Get"), Some(Method::GET));
    assert_eq!(Method::new(b"BREW").unwrap().as_bytes(), b"BREW");
    for bad in [&b""[..], b"A B", b"A\n", b"\xff", &[b'A'; 33]] {
        assert_eq!(Method::new(bad), None);
    }
    assert!(Method::HEAD.is_head() && Method::CONNECT.is_connect() && !Method::GET.is_head());
    assert!(Method::GET.is_safe() && !Method::PUT.is_safe() && Method::PUT.is_idempotent());
    assert!(!Method::POST.is_idempotent() && !Method::new(b"BREW").unwrap().is_idempotent());
}

#[test]
fn statuses_have_phrases() {
    let mut head = ResponseHead::new(503);
    assert_eq!(head.reason(), b"Service Unavailable");
    head.set_status(418, None);
    assert_eq!(head.reason(), b"I'm a teapot");
    head.set_status(599, None);
    assert_eq!((head.status, head.reason()), (599, &b"Server Error"[..]));
    head.set_status(200, Some(b"Fine\r\nX: y"));
    assert_eq!(head.reason(), b"Fine  X: y");
}

#[test]
fn connections_are_kept_if_asked_for() {
    let cases = [
        (Version::Http11, "", true),
        (Version::Http11, "close", false),
        (Version::Http11, "x, CLOSE", false),
        (Version::Http11, "keep-alive, close", false),
        (Version::Http11, "closed", true),
        (Version::Http10, "", false),
        (Version::Http10, "Keep-Alive", true),
        (Version::Http10, "close, keep-alive", false),
    ];
    for (version, connection, kept) in cases {
        let it = fields(&[("connection", connection)]);
        assert_eq!(
            wants_keep_alive(version, &it),
            kept,
            "{version:?} {connection}"
        );
    }
}

#[test]
fn hop_by_hop_fields_go() {
    let check = |connection: &'static str, expected: &str| {
        let mut it = fields(&[
            ("Host", "a"),
            ("Connection", connection),
            ("Keep-Alive", "1"),
            ("Proxy-Connection", "x"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "y"),
            ("X-Hop", "1"),
            ("X-Forwarded-For", "2"),
            ("Content-Length", "3"),
        ]);
        strip_hop_by_hop(&mut it);
        assert_eq!(show(&it), expected);
    };
    let rest = "x-forwarded-for: 2, content-length: 3";
    check("", &format!("host: a, x-hop: 1, {rest}"));
    check("keep-alive", &format!("host: a, x-hop: 1, {rest}"));
    check("close, X-HOP", &format!("host: a, {rest}"));
    check(
        "host, x-forwarded-for, content-length",
        &format!("host: a, x-hop: 1, {rest}"),
    );
}

#[test]
fn clients_may_wait_for_100() {
    let expect = |version: &str| {
        let lines = "Host: a\r\nExpect: 100-Continue\r\n\r\n";
        expects_continue(&parsed(&format!("POST / HTTP/{version}\r\n{lines}")))
    };
    assert!(expect("1.1") && !expect("1.0"));
    assert!(!expects_continue(&parsed(
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n"
    )));
}
