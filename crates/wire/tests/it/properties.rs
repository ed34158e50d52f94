//! What holds for all inputs.

use proptest::prelude::*;
use proptest::sample::select;

use crate::bodies::read_in_pieces;
use wire::h1::{
    self, BodyLength, Connection, Framing, Limits, Parsed, parse_request, parse_response,
};
use wire::head::{Fields, Method, RequestHead, ResponseHead, Version};
use wire::{proxy_protocol, ws};

const LIMITS: Limits = Limits {
    head_bytes_max: 2000,
    fields_max: 20,
    lenient: false,
};

/// Pieces out of which messages, right and wrong, are glued: random bytes alone would hardly ever
/// get past the first one.
const PIECES: [&[u8]; 44] = [
    b"GET ",
    b"POST ",
    b"CONNECT ",
    b"OPTIONS ",
    b"/",
    b"*",
    b"http://a/",
    b"a:80",
    b" ",
    b"\t",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"HTTP/1.1 ",
    b"200 OK",
    b"101 ",
    b"204",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b":",
    b",",
    b";",
    b"Host: a\r\n",
    b"Host: ",
    b"Content-Length: ",
    b"3",
    b"0",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: ",
    b"chunked",
    b"Connection: ",
    b"upgrade",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"Sec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"X: y\r\n",
    b"a",
    b"=",
    b"\"",
    b"\\",
];

const PROXY_BEGINNINGS: [&[u8]; 3] = [
    b"PROXY TCP4 ",
    b"PROXY UNKNOWN ",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0",
];

fn glued() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(select(&PIECES[..]), 0..24).prop_map(|pieces| pieces.concat())
}

/// Chunked bodies, most of them slightly wrong.
fn chunked_like() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 14] = [
        b"3\r\nabc\r\n",
        b"1\r\nx\r\n",
        b"0\r\n",
        b"0\r\n\r\n",
        b"\r\n",
        b"5",
        b"a",
        b";a=b",
        b"\"",
        b"\n",
        b"X: y\r\n",
        b"Host: b\r\n",
        b" ",
        b"\r",
    ];
    prop::collection::vec(select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat())
}

fn token() -> impl Strategy<Value = String> {
    "[a-z0-9!#$%&'*+.^_`|~-]{1,12}"
}

/// Any bytes: what rules may put into a field.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ -~]{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..12)
    ]
}

fn fields() -> impl Strategy<Value = Fields> {
    let owned = [
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "host",
        "x-a",
    ];
    let name = prop_oneof![token(), select(owned.to_vec()).prop_map(str::to_owned)];
    prop::collection::vec((name, value()), 0..8).prop_map(|pairs| {
        pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect()
    })
}

fn request() -> impl Strategy<Value = RequestHead> {
    let method = prop_oneof![
        select(&[Method::GET, Method::POST, Method::HEAD, Method::OPTIONS][..]),
        "[A-Z]{1,20}x".prop_map(|name| Method::new(name.as_bytes()).unwrap())
    ];
    let target = prop_oneof!["/[!-\"$-~]{0,20}", "https?://[a-z]{1,5}(/[!-\"$-~]{0,9})?"];
    (method, target, fields(), "[a-z.]{1,9}(:[1-9][0-9]{0,3})?").prop_map(
        |(method, target, fields, host)| {
            let mut head = RequestHead::new(method, target.as_bytes()).unwrap();
            head.fields = fields;
            // Not every text is a host, and the writer takes the operator's word for it.
            head.fields.set("host", host.as_bytes());
            head.fields.remove("expect");
            head
        },
    )
}

fn framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::None),
        Just(Framing::Chunked),
        (0..=i64::MAX as u64).prop_map(Framing::Length)
    ]
}

fn connection() -> impl Strategy<Value = Option<Connection>> {
    select(
        &[
            None,
            Some(Connection::Close),
            Some(Connection::KeepAlive),
            Some(Connection::Upgrade),
        ][..],
    )
}

/// The fields that are passed on as they are.
fn plain(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    let owned = [
        "host",
        "connection",
        "upgrade",
        "content-length",
        "transfer-encoding",
        "keep-alive",
        "proxy-connection",
    ];
    fields
        .iter()
        .filter(|(name, _)| !owned.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_request(&bytes, &LIMITS);
        let _ = parse_response(&bytes, &LIMITS);
        let _ = proxy_protocol::parse(&bytes);
        let _ = ws::frame::FrameHeader::parse(&bytes);
        let _ = ws::frame::FrameScanner::new().on_bytes(&bytes, |_| {});
        let _ = read_in_pieces(BodyLength::Chunked, &bytes, &[7]);
    }

    #[test]
    fn heads_mean_the_same_however_they_are_cut(bytes in glued(), cut in any::<prop::sample::Index>()) {
        let prefix = &bytes[..cut.index(bytes.len() + 1)];
        let (early, late) = (parse_request(prefix, &LIMITS), parse_request(&bytes, &LIMITS));
        prop_assert!(early == Ok(Parsed::Partial) || early == late, "{early:?} {late:?}");
        let (early, late) = (parse_response(prefix, &LIMITS), parse_response(&bytes, &LIMITS));
        prop_assert!(early == Ok(Parsed::Partial) || early == late, "{early:?} {late:?}");
    }

    #[test]
    fn whatever_is_accepted_is_sent_on_with_the_same_meaning(bytes in glued()) {
        if let Ok(Parsed::Complete { head, .. }) = parse_request(&bytes, &LIMITS) {
            let _ = ws::upgrade_request(&head);
            let body = h1::request_body(&head).unwrap();
            let mut out = Vec::new();
            h1::write_request(&head, Framing::from(body), None, &mut out);
            let again = parse_request(&out, &Limits::default());
            let Ok(Parsed::Complete { head: again, consumed }) = again else {
                return Err(TestCaseError::fail(format!("{head:?} {again:?}")));
            };
            prop_assert_eq!(consumed, out.len());
            prop_assert_eq!(h1::request_body(&again), Ok(body));
            prop_assert_eq!((again.method.clone(), again.path_and_query()), (head.method.clone(), head.path_and_query()));
            prop_assert_eq!(plain(&again.fields), plain(&head.fields));
        }
    }

    #[test]
    fn written_requests_have_one_meaning(head in request(), framing in framing(), how in connection()) {
        let mut out = Vec::new();
        h1::write_request(&head, framing, how, &mut out);
        let parsed = parse_request(&out, &Limits { head_bytes_max: 100_000, fields_max: 100, lenient: false });
        let Ok(Parsed::Complete { head: read, consumed }) = parsed else {
            return Err(TestCaseError::fail(format!("{parsed:?} {}", out.escape_ascii())));
        };
        prop_assert_eq!(consumed, out.len());
        prop_assert_eq!(h1::request_body(&read).map(Framing::from).ok(), Some(framing));
        prop_assert_eq!(read.path_and_query(), head.path_and_query());
        prop_assert_eq!(read.host(), head.fields.get("host"));
        prop_assert_eq!(plain(&read.fields), plain(&head.fields));
        prop_assert_eq!(read.fields.contains("upgrade"), how == Some(Connection::Upgrade));
        prop_assert_eq!(h1::wants_keep_alive(Version::Http11, &read.fields), how != Some(Connection::Close));
    }

    #[test]
    fn written_responses_have_one_meaning(
        status in 200..600u16,
        fields in fields(),
        reason in value(),
        framing in framing(),
        how in connection(),
    ) {
        let mut head = ResponseHead::new(200);
        head.set_status(status, Some(&reason));
        head.fields = fields;
        let mut out = Vec::new();
        h1::write_response(&head, framing, how, &mut out);
        let parsed = parse_response(&out, &Limits { head_bytes_max: 100_000, fields_max: 100, lenient: false });
        let Ok(Parsed::Complete { head: read, consumed }) = parsed else {
            return Err(TestCaseError::fail(format!("{parsed:?} {}", out.escape_ascii())));
        };
        prop_assert_eq!((consumed, read.status), (out.len(), status));
        let expected = match (status, framing) {
            (204 | 304, _) => BodyLength::Empty,
            (_, Framing::Length(length)) => BodyLength::Length(length),
            (_, Framing::Chunked) => BodyLength::Chunked,
            _ => BodyLength::Length(0),
        };
        prop_assert_eq!(h1::response_body(&read, &Method::GET), Ok(expected));
        prop_assert_eq!(plain(&read.fields), plain(&head.fields));
    }

    #[test]
    fn bodies_mean_the_same_however_they_are_cut(
        body in chunked_like(),
        sizes in prop::collection::vec(1..9usize, 1..9),
    ) {
        let whole = read_in_pieces(BodyLength::Chunked, &body, &[body.len()]);
        prop_assert_eq!(read_in_pieces(BodyLength::Chunked, &body, &sizes), whole);
    }

    #[test]
    fn chunks_written_are_chunks_read(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..9),
        trailers in fields(),
        sizes in prop::collection::vec(1..60usize, 1..9),
    ) {
        let mut out = Vec::new();
        for chunk in &chunks {
            h1::write_chunk_head(chunk.len(), &mut out);
            out.extend_from_slice(chunk);
            h1::write_chunk_tail(&mut out);
        }
        h1::write_last_chunk(Some(&trailers), &mut out);
        let end = out.len();
        out.extend_from_slice(b"GET / HTTP/1.1\r\n");
        let (payload, _, taken) = read_in_pieces(BodyLength::Chunked, &out, &sizes).unwrap();
        prop_assert_eq!((payload, taken), (chunks.concat(), end));
    }

    #[test]
    fn frames_are_found_however_they_are_cut(
        lens in prop::collection::vec(0..400usize, 0..6),
        mask in any::<Option<[u8; 4]>>(),
        piece in 1..50usize,
    ) {
        let mut out = Vec::new();
        for len in &lens {
            ws::frame::write_frame(ws::frame::Opcode::Binary, &vec![7; *len], mask, &mut out);
        }
        let (mut scanner, mut seen) = (ws::frame::FrameScanner::new(), Vec::new());
        for bytes in out.chunks(piece) {
            scanner.on_bytes(bytes, |info| seen.push(info.header.payload_len as usize)).unwrap();
        }
        prop_assert_eq!(seen, lens);
    }

    #[test]
    fn proxy_headers_mean_the_same_however_they_are_cut(
        begin in select(&PROXY_BEGINNINGS[..]),
        rest in prop::collection::vec(select(&b"0123456789.: \r\n\0\x0c\xff"[..]), 0..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = [begin, &rest].concat();
        let early = proxy_protocol::parse(&bytes[..cut.index(bytes.len() + 1)]);
        let late = proxy_protocol::parse(&bytes);
        prop_assert!(early == Ok(Parsed::Partial) || early == late, "{early:?} {late:?}");
    }
}
