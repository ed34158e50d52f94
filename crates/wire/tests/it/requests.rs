//! Heads of requests: what each means, or why it is refused.

use wire::h1::{
    self, BodyLength, Framing, HeadScanner, Limits, Parsed, Reason, Rejected, parse_request,
};
use wire::head::RequestHead;

/// Small enough for the tests of the bounds to be readable.
const LIMITS: Limits = Limits {
    head_bytes_max: 400,
    fields_max: 8,
    lenient: false,
};

/// Checks what `bytes` mean: `METHOD TARGET BODY +REST` with the length of the body and the number of
/// bytes behind the head, or `Partial`, or the reason of the refusal.
///
/// Besides, every beginning of them must lead to the same answer or to none yet, the scanner must
/// say when to look, and what is written from the head must mean the same.
#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let parsed = parse_request(bytes, &LIMITS);
    assert_eq!(show(&parsed, bytes), expected, "{}", bytes.escape_ascii());
    for len in 0..bytes.len() {
        check_prefix(&parsed, parse_request(&bytes[..len], &LIMITS), len);
    }
    check_scanner(bytes, &parsed);
    if let Ok(Parsed::Complete { head, .. }) = &parsed {
        check_written(head);
    }
}

/// The same for a GET of HTTP/1.1 with Host and these lines.
#[track_caller]
fn check_fields(lines: &str, expected: &str) {
    check_fields_of("GET / HTTP/1.1", lines, expected);
}

#[track_caller]
fn check_fields_of(first: &str, lines: &str, expected: &str) {
    check(
        format!("{first}\r\nHost: a\r\n{lines}\r\n\r\n").as_bytes(),
        expected,
    );
}

/// The same for the value of Host.
#[track_caller]
fn check_host(host: &str, expected: &str) {
    check(
        format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
        expected,
    );
}

fn show(parsed: &Result<Parsed<RequestHead>, Rejected>, bytes: &[u8]) -> String {
    match parsed {
        Err(rejected) => format!("{:?}", rejected.reason),
        Ok(Parsed::Partial) => "Partial".to_owned(),
        Ok(Parsed::Complete { head, consumed }) => {
            let body = match h1::request_body(head) {
                Ok(BodyLength::Length(length)) => length.to_string(),
                other => format!("{:?}", other.unwrap()),
            };
            let (target, rest) = (head.target().escape_ascii(), bytes.len() - consumed);
            format!("{} {target} {body} +{rest}", head.method)
        }
    }
}

#[track_caller]
fn check_prefix(
    whole: &Result<Parsed<RequestHead>, Rejected>,
    prefix: Result<Parsed<RequestHead>, Rejected>,
    len: usize,
) {
    match (&prefix, whole) {
        (Ok(Parsed::Partial), _) => {}
        (Ok(Parsed::Complete { consumed, .. }), _) => {
            assert!(*consumed <= len);
            assert_eq!(&prefix, whole, "cut at {len}");
        }
        (Err(_), _) => assert_eq!(&prefix, whole, "cut at {len}"),
    }
}

/// Fed byte by byte, parsing only when the scanner says so finds the same.
#[track_caller]
fn check_scanner(bytes: &[u8], whole: &Result<Parsed<RequestHead>, Rejected>) {
    let (mut scanner, mut parses) = (HeadScanner::new(), 0);
    for len in 1..=bytes.len() {
        if !scanner.is_worth_parsing(&bytes[..len], &LIMITS) {
            continue;
        }
        parses += 1;
        let parsed = parse_request(&bytes[..len], &LIMITS);
        if parsed != Ok(Parsed::Partial) {
            assert_eq!(&parsed, whole);
            assert!(parses <= 3, "parsed {parses} times");
            return;
        }
    }
    // What is wrong within a line may be said a little later, at the end of a head or a limit.
    let late = whole
        .as_ref()
        .is_err_and(|rejected| rejected.reason == Reason::MethodInvalid);
    assert!(
        late || *whole == Ok(Parsed::Partial),
        "the scanner missed {whole:?}"
    );
}

/// What is sent on is a request of one meaning, and it is the one that was received.
#[track_caller]
fn check_written(head: &RequestHead) {
    let body = h1::request_body(head).unwrap();
    let mut written = Vec::new();
    h1::write_request(head, Framing::from(body), None, &mut written);
    let read = parse_request(&written, &Limits::default());
    let Ok(Parsed::Complete {
        head: read,
        consumed,
    }) = read
    else {
        panic!("{} from {head:?}: {read:?}", written.escape_ascii());
    };
    assert_eq!(consumed, written.len());
    assert_eq!(read.method, head.method);
    assert_eq!(h1::request_body(&read), Ok(body));
    if !head.method.is_connect() {
        assert_eq!((read.path(), read.query()), (head.path(), head.query()));
    }
}

#[test]
fn plain_requests_are_read() {
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / Empty +0");
    check(b"GET / HTTP/1.1\r\nhOsT: a\r\n\r\n", "GET / Empty +0");
    check(b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", "GET / Empty +0");
    check(
        b"GET / HTTP/1.1\r\nHost: \t a \t \r\n\r\n",
        "GET / Empty +0",
    );
    check(b"GET / HTTP/1.0\r\n\r\n", "GET / Empty +0");
    check(
        b"HEAD /x?y HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /x?y Empty +0",
    );
    check(
        b"PROPFIND /d HTTP/1.1\r\nHost: a\r\n\r\n",
        "PROPFIND /d Empty +0",
    );
    check(b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "get / Empty +0");
    check(
        b"M!#$%&'*+-.^_`|~9 / HTTP/1.1\r\nHost: a\r\n\r\n",
        "M!#$%&\\'*+-.^_`|~9 / Empty +0",
    );
    check(
        b"GET /\"<>\\^`{|} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\\\"<>\\\\^`{|} Empty +0",
    );
    check(
        b"GET /%00%0d%0a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%00%0d%0a Empty +0",
    );
    check(
        b"GET //a/../b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET //a/../b Empty +0",
    );
}

#[test]
fn what_follows_the_head_is_left_alone() {
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", "GET / Empty +3");
    check(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyX",
        "POST / 4 +5",
    );
    check(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\r\n",
        "POST / 0 +2",
    );
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\n\n\0", "GET / Empty +3");
}

#[test]
fn incomplete_heads_wait() {
    check(b"", "Partial");
    check(b"\r", "Partial");
    check(b"\r\n", "Partial");
    check(b"G", "Partial");
    check(b"GET / HTTP/1.1", "Partial");
    check(b"GET / HTTP/1.1\r", "Partial");
    check(b"GET / HTTP/1.1\r\n", "Partial");
    check(b"GET / HTTP/1.1\r\nHost: a\r\n", "Partial");
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\r", "Partial");
}

#[test]
fn a_few_empty_lines_before_a_request_are_skipped() {
    check(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / Empty +0");
    check(
        b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / Empty +0",
    );
    check(
        b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "EmptyLines",
    );
    check(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "BareLf");
    check(b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "BareLf");
    check(b"\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "BareCr");
    check(b" \r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodInvalid");
}

#[test]
fn lines_end_in_cr_lf() {
    check(b"GET / HTTP/1.1\nHost: a\r\n\r\n", "BareLf");
    check(b"GET / HTTP/1.1\r\nHost: a\n\r\n", "BareLf");
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\n", "BareLf");
    check(b"GET / HTTP/1.1\nHost: a\n\n", "BareLf");
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", "NameInvalid");
    check(b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "BareCr");
    check(b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET / HTTP/1.1\rHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", "BareCr");
    check(b"GET\r/ HTTP/1.1\r\nHost: a\r\n\r\n", "BareCr");
    check(b"GET\n", "BareLf");
    check_fields("X: a\nY: b", "BareLf");
    check_fields("X: a\rY: b", "BareCr");
    check_fields("X: a\r Y: b", "BareCr");
    check_fields("X: a\r\n\nContent-Length: 5", "BareLf");
}

#[test]
fn the_method_is_a_token() {
    check(b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodInvalid");
    check(b"\tGET / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodInvalid");
    check(b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodInvalid");
    check(b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "MethodInvalid");
    check(b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodInvalid");
    check(b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodInvalid");
    check(b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodInvalid");
    check(
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "MethodInvalid",
    );
    check(b"\x80", "MethodInvalid");
    check(&[b'A'; 33], "MethodInvalid");
    check(&[b'A'; 32], "Partial");
}

#[test]
fn the_request_line_has_three_parts() {
    check(b"GET\r\n\r\n", "VersionMissing");
    check(b"GET /\r\n\r\n", "VersionMissing");
    check(b"GET / \r\n\r\n", "VersionMissing");
    check(b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET HTTP/1.1\r\nHost: a\r\n\r\n", "VersionMissing");
}

#[test]
fn the_version_is_1_0_or_1_1() {
    check(b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "VersionUnsupported");
    check(b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", "VersionUnsupported");
    check(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "VersionUnsupported");
    check(b"GET / http/1.1\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET / HTTP/11.1\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET / HTTP/1\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET / RTSP/1.0\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"GET / HTTP/\x001.1\r\nHost: a\r\n\r\n", "VersionInvalid");
    check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "Http2Preface");
    check(b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
}

#[test]
fn the_target_is_visible_ascii_without_fragment() {
    check(b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        "TargetInvalid",
    );
    check(b"GET /\x0b HTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(b"GET # HTTP/1.1\r\nHost: a\r\n\r\n", "TargetInvalid");
    check(
        b"GET http://a/#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "TargetInvalid",
    );
}

#[test]
fn the_target_has_the_form_of_its_method() {
    check(b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
    check(b"GET ?x HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
    check(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
    check(
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * Empty +0",
    );
    check(b"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
    check(
        b"OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS /x Empty +0",
    );
    check(b"GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "TargetForm");
    check(b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
    check(b"GET \\a HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
    check(b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
    check(
        b"GET javascript:x HTTP/1.1\r\nHost: a\r\n\r\n",
        "TargetForm",
    );
    check(b"GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
    check(
        b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "CONNECT a:443 Empty +0",
    );
    check(b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
    check(b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm");
    check(
        b"CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "TargetForm",
    );
    check(b"CONNECT a:1/ HTTP/1.1\r\nHost: a:1\r\n\r\n", "TargetForm");
    check(b"CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n", "HostMismatch");
    check(b"CONNECT a:1 HTTP/1.1\r\nHost: a:2\r\n\r\n", "HostMismatch");
}

#[test]
fn an_absolute_target_agrees_with_host() {
    check(
        b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ Empty +0",
    );
    check(
        b"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/?q Empty +0",
    );
    check(
        b"GET http://a/b?q HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/b?q Empty +0",
    );
    check(
        b"GET HTTP://A/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET HTTP://A/ Empty +0",
    );
    check(
        b"GET https://a/ HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "GET https://a/ Empty +0",
    );
    check(
        b"GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a:80/ Empty +0",
    );
    check(
        b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS http://a Empty +0",
    );
    check(b"GET http://a/ HTTP/1.0\r\n\r\n", "GET http://a/ Empty +0");
    check(b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "HostMismatch");
    check(b"GET http://a/ HTTP/1.0\r\nHost: b\r\n\r\n", "HostMismatch");
    check(b"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", "HostMismatch");
    check(
        b"GET http://a:8080/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "HostMismatch",
    );
    check(
        b"GET http://a:443/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "HostMismatch",
    );
    check(
        b"GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "HostMismatch",
    );
    check(b"GET http://a/ HTTP/1.1\r\n\r\n", "HostMissing");
    check(
        b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
        "AuthorityInvalid",
    );
    check(
        b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        "AuthorityInvalid",
    );
    check(
        b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "AuthorityInvalid",
    );
    check(
        b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
        "AuthorityInvalid",
    );
    check(
        b"GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "AuthorityInvalid",
    );
    check(
        b"GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "AuthorityInvalid",
    );
}

#[test]
fn host_is_there_once() {
    check(b"GET / HTTP/1.1\r\n\r\n", "HostMissing");
    check(b"GET / HTTP/1.1\r\nX-Host: a\r\n\r\n", "HostMissing");
    check(
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "HostRepeated",
    );
    check(
        b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        "HostRepeated",
    );
    check(
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "HostRepeated",
    );
    check(
        b"GET / HTTP/1.1\r\nHost:\r\nHost: b\r\n\r\n",
        "HostRepeated",
    );
    check(
        b"GET / HTTP/1.1\r\nHost : a\r\nHost: b\r\n\r\n",
        "SpaceBeforeColon",
    );
    check(
        b"GET / HTTP/1.1\r\nX: 1\r\n Host: b\r\nHost: a\r\n\r\n",
        "Folded",
    );
}

#[test]
fn host_is_host_and_port() {
    for good in [
        "a",
        "A.b-c.example",
        "a:0",
        "a:65535",
        "a_b",
        "10.0.0.1:80",
        "[::1]:80",
        "",
    ] {
        check_host(good, "GET / Empty +0");
    }
    for good in [
        "[fe80::1]",
        "%41",
        "a!$&'()*+;=b",
        "~",
        "xn--bcher-kva.example",
        "a.",
    ] {
        check_host(good, "GET / Empty +0");
    }
    for bad in [
        "a b", "a,b", "a:", "a:b", "a:65536", "a:+1", "a:-1", "a:080", "a: 80", "a:80:80",
    ] {
        check_host(bad, "HostInvalid");
    }
    for bad in [
        "a/b", "a?b", "a#b", "u@a", "a\\b", "\"a\"", "<a>", "a|b", "a\tb", "é", "http://a",
    ] {
        check_host(bad, "HostInvalid");
    }
    for bad in [
        ":80",
        "[",
        "[]",
        "[::1",
        "[::1]x",
        "[::1%25eth0]",
        "[v1.x]",
        "[1.2.3.4]",
        "%",
        "%4",
    ] {
        check_host(bad, "HostInvalid");
    }
    for bad in ["%zz", "::1", "]", "a]", "[[::1]]", "a^b", "a`b", "{a}"] {
        check_host(bad, "HostInvalid");
    }
}

#[test]
fn field_lines_are_name_colon_value() {
    check_fields("X:", "GET / Empty +0");
    check_fields("X:a:b", "GET / Empty +0");
    check_fields("X_Y: underscores are kept", "GET / Empty +0");
    check_fields("X: \u{e9} is obs-text", "GET / Empty +0");
    check_fields("X: a\tb", "GET / Empty +0");
    check_fields(": a", "NameEmpty");
    check_fields(":", "NameEmpty");
    check_fields("X", "ColonMissing");
    check_fields("X-Y-Z", "ColonMissing");
    check_fields("X : a", "SpaceBeforeColon");
    check_fields("X\t: a", "SpaceBeforeColon");
    check_fields("X Y: a", "SpaceBeforeColon");
    check_fields("X\0: a", "NameInvalid");
    check_fields("\0X: a", "NameInvalid");
    check_fields("X\u{b}: a", "NameInvalid");
    check_fields("X(: a", "NameInvalid");
    check_fields("X@: a", "NameInvalid");
    check_fields("\"X\": a", "NameInvalid");
    check_fields("X\u{e9}: a", "NameInvalid");
    check_fields("X\rY: a", "NameInvalid");
    check_fields("GET / HTTP/1.1", "SpaceBeforeColon");
}

#[test]
fn values_hold_no_control_characters() {
    check_fields("X: \0", "ValueInvalid");
    check_fields("X: a\0b", "ValueInvalid");
    check_fields("X: a\u{1}", "ValueInvalid");
    check_fields("X: a\u{8}b", "ValueInvalid");
    check_fields("X: \u{b}", "ValueInvalid");
    check_fields("X: \u{c}a", "ValueInvalid");
    check_fields("X: a\u{1b}[31m", "ValueInvalid");
    check_fields("X: a\u{7f}", "ValueInvalid");
    check_fields("Host\0: b", "NameInvalid");
}

#[test]
fn folded_lines_are_refused() {
    check_fields("X: a\r\n b", "Folded");
    check_fields("X: a\r\n\tb", "Folded");
    check_fields("X:\r\n a", "Folded");
    check_fields(" X: a", "Folded");
    check_fields("Transfer-Encoding:\r\n chunked", "Folded");
    check_fields("Content-Length:\r\n\t5", "Folded");
    check_fields("X: a\r\n ", "Folded");
    check(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "Folded");
    check(b"GET / HTTP/1.1\r\n\tHost: a\r\nHost: b\r\n\r\n", "Folded");
}

#[test]
fn content_length_is_one_plain_number() {
    check_fields("Content-Length: 5", "GET / 5 +0");
    check_fields("Content-Length: 005", "GET / 5 +0");
    check_fields("content-LENGTH:5 ", "GET / 5 +0");
    check_fields(
        "Content-Length: 9223372036854775807",
        "GET / 9223372036854775807 +0",
    );
    for bad in [
        "", "+5", "-5", "5 5", "0x5", "5.0", "5e1", "five", "5;", "\"5\"", "５", "5\u{a0}",
    ] {
        check_fields(&format!("Content-Length: {bad}"), "LengthInvalid");
    }
    for bad in [
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999",
        "5_0",
    ] {
        check_fields(&format!("Content-Length: {bad}"), "LengthInvalid");
    }
    for bad in ["5, 5", "5,5", "5,", ",5", "5, 6", "0,0"] {
        check_fields(&format!("Content-Length: {bad}"), "LengthRepeated");
    }
    check_fields("Content-Length: 5\r\nContent-Length: 5", "LengthRepeated");
    check_fields("Content-Length: 5\r\nContent-Length: 6", "LengthRepeated");
    check_fields("Content-Length: 0\r\ncontent-length: 0", "LengthRepeated");
    check_fields("Content-Length:\r\nContent-Length: 5", "LengthInvalid");
    check_fields("Content_Length: 5", "GET / Empty +0");
    check_fields("Content-Length: 5\0", "ValueInvalid");
}

#[test]
fn transfer_encoding_is_one_chunked() {
    check_fields("Transfer-Encoding: chunked", "GET / Chunked +0");
    check_fields("transfer-encoding:Chunked", "GET / Chunked +0");
    check_fields("Transfer-Encoding: \t CHUNKED \t", "GET / Chunked +0");
    let bad = [
        "",
        "identity",
        "xchunked",
        "chunkedx",
        "chunked,",
        ",chunked",
        "chunked, chunked",
    ];
    for bad in bad {
        check_fields(&format!("Transfer-Encoding: {bad}"), "EncodingInvalid");
    }
    let bad = [
        "gzip, chunked",
        "chunked, gzip",
        "chunked;q=1",
        "\"chunked\"",
        "chunk",
        "cow",
    ];
    for bad in bad {
        check_fields(&format!("Transfer-Encoding: {bad}"), "EncodingInvalid");
    }
    let bad = [
        "chunked\u{a0}",
        "chunked chunked",
        "identity, chunked",
        "trailers",
        "chunKed\u{212a}",
    ];
    for bad in bad {
        check_fields(&format!("Transfer-Encoding: {bad}"), "EncodingInvalid");
    }
    for bad in ["chunked\u{b}", "\u{b}chunked", "\0chunked", "\u{c}chunked"] {
        check_fields(&format!("Transfer-Encoding: {bad}"), "ValueInvalid");
    }
    check_fields("Transfer-Encoding : chunked", "SpaceBeforeColon");
    check_fields("Transfer-Encoding\u{b}: chunked", "NameInvalid");
    check_fields(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "EncodingInvalid",
    );
    check_fields(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "EncodingInvalid",
    );
    check_fields(
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "EncodingInvalid",
    );
    check_fields(
        "Transfer-Encoding:\r\nTransfer-Encoding: chunked",
        "EncodingInvalid",
    );
    check_fields("Transfer_Encoding: chunked", "GET / Empty +0");
    check_fields("X: a\rTransfer-Encoding: chunked", "BareCr");
}

#[test]
fn two_framings_are_refused() {
    check_fields(
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "LengthAndEncoding",
    );
    check_fields(
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "LengthAndEncoding",
    );
    check_fields(
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "LengthAndEncoding",
    );
    check_fields(
        "Content-Length: 5\r\nX: y\r\ntransfer-encoding: chunked",
        "LengthAndEncoding",
    );
    check_fields(
        "Content-Length: 5\r\nTransfer-Encoding: x",
        "EncodingInvalid",
    );
    check_fields(
        "Content-Length: x\r\nTransfer-Encoding: chunked",
        "LengthInvalid",
    );
    let post = "POST / HTTP/1.1";
    check_fields_of(
        post,
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "LengthAndEncoding",
    );
}

#[test]
fn http_1_0_has_no_chunks_and_few_bodies() {
    let post = "POST / HTTP/1.0";
    check_fields_of(post, "Transfer-Encoding: chunked", "EncodingInHttp10");
    check_fields_of(post, "Transfer-Encoding: identity", "EncodingInHttp10");
    check_fields_of(post, "Content-Length: 3", "POST / 3 +0");
    check_fields_of("GET / HTTP/1.0", "Content-Length: 3", "BodyInHttp10");
    check_fields_of("HEAD / HTTP/1.0", "Content-Length: 3", "BodyInHttp10");
    check_fields_of("DELETE / HTTP/1.0", "Content-Length: 3", "BodyInHttp10");
    check_fields_of("GET / HTTP/1.0", "Content-Length: 0", "GET / 0 +0");
    check_fields_of("GET / HTTP/1.0", "Expect: 100-continue", "GET / Empty +0");
}

#[test]
fn connect_has_no_body() {
    let lines = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n";
    check(
        format!("{lines}Content-Length: 3\r\n\r\n").as_bytes(),
        "BodyNotAllowed",
    );
    check(
        format!("{lines}Transfer-Encoding: chunked\r\n\r\n").as_bytes(),
        "BodyNotAllowed",
    );
    check(
        format!("{lines}Content-Length: 0\r\n\r\n").as_bytes(),
        "CONNECT a:1 0 +0",
    );
}

#[test]
fn expect_is_100_continue() {
    let lengthy = "Content-Length: 3\r\nExpect:";
    check_fields(&format!("{lengthy} 100-continue"), "GET / 3 +0");
    check_fields(&format!("{lengthy} 100-Continue"), "GET / 3 +0");
    for bad in [
        "",
        "100",
        "y 100-continue",
        "100-continue, x",
        "100-continue,",
        "x=100-continue",
    ] {
        check_fields(&format!("{lengthy} {bad}"), "ExpectInvalid");
    }
    check_fields(
        "Expect: 100-continue\r\nExpect: 100-continue",
        "ExpectInvalid",
    );
    check_fields("Expect:\r\n 100-continue", "Folded");
}

#[test]
fn heads_are_bounded() {
    let long = |len: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "y".repeat(len - rest)
        )
    };
    check(long(LIMITS.head_bytes_max).as_bytes(), "GET / Empty +0");
    check(long(LIMITS.head_bytes_max + 1).as_bytes(), "TooLarge");
    check(long(LIMITS.head_bytes_max * 3).as_bytes(), "TooLarge");
    check(
        format!("GET /{} HTTP/1.1\r\n", "x".repeat(400)).as_bytes(),
        "TooLarge",
    );
    check(
        format!("GET / HTTP/1.1\r\n{}", "x".repeat(400)).as_bytes(),
        "TooLarge",
    );
    check_fields(&["X: y"; 7].join("\r\n"), "GET / Empty +0");
    check_fields(&["X: y"; 8].join("\r\n"), "TooManyFields");
    check_fields(&["X: y"; 9].join("\r\n"), "TooManyFields");
}

#[test]
fn reasons_have_statuses() {
    let cases = [
        (Reason::BareLf, 400),
        (Reason::TooLarge, 400),
        (Reason::HostMissing, 400),
        (Reason::LengthAndEncoding, 400),
        (Reason::VersionUnsupported, 505),
        (Reason::Http2Preface, 505),
        (Reason::BodyInHttp10, 413),
        (Reason::ExpectInvalid, 417),
    ];
    for (reason, status) in cases {
        assert_eq!(reason.status(), status, "{reason:?}");
    }
}

#[test]
fn refusals_tell_the_place() {
    let place = |bytes: &[u8]| parse_request(bytes, &LIMITS).unwrap_err().at;
    assert_eq!(place(b"GET /\x01 HTTP/1.1\r\n"), 5);
    assert_eq!(place(b"\r\nGET /\x01 HTTP/1.1\r\n"), 7);
    assert_eq!(place(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0\r\n"), 29);
    assert_eq!(
        place(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"),
        41
    );
    assert_eq!(place(b"GET / HTTP/1.1\r\nX: y\r\nHost: a b\r\n\r\n"), 28);
    assert_eq!(place(b"GET / HTTP/1.1\r\nHost: a\n"), 23);
}
