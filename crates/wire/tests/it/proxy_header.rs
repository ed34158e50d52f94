//! PROXY headers as they are sent: HAProxy's bytes, and what our own receiver makes of them.

use std::net::SocketAddr;

use wire::h1::Parsed;
use wire::proxy_header::{Header, Ssl, write_v1, write_v2};
use wire::proxy_protocol::{Proxied, parse};

fn pair(src: &str, dst: &str) -> Option<(SocketAddr, SocketAddr)> {
    Some((src.parse().unwrap(), dst.parse().unwrap()))
}

fn check_v1(addresses: Option<(SocketAddr, SocketAddr)>, expected: &str) {
    let mut out = Vec::new();
    write_v1(addresses, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn version_1_is_a_line() {
    let v4 = pair("127.0.0.1:42004", "127.0.0.1:44293");
    check_v1(v4, "PROXY TCP4 127.0.0.1 127.0.0.1 42004 44293\r\n");
    let v6 = pair("[::1]:50696", "[::1]:54659");
    check_v1(v6, "PROXY TCP6 ::1 ::1 50696 54659\r\n");
    let mixed = pair("10.0.0.1:1", "[fd00::1]:2");
    check_v1(mixed, "PROXY TCP6 ::ffff:10.0.0.1 fd00::1 1 2\r\n");
    check_v1(None, "PROXY UNKNOWN\r\n");
}

fn check_v2(header: &Header<'_>, hex: &str, rest: &[u8]) {
    let mut out = Vec::new();
    write_v2(header, &mut out);
    let seen: String = out[12..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!((&*seen, &out[16..]), (hex, rest));
    let expected = match header.addresses {
        Some((src, dst)) => Proxied::Addresses { src, dst },
        None => Proxied::Local,
    };
    let parsed = parse(&out).unwrap();
    let whole = Parsed::Complete {
        head: expected,
        consumed: out.len(),
    };
    assert_eq!(parsed, whole);
}

/// All of these were sent by HAProxy 2.6.
#[test]
fn version_2_is_haproxys_to_the_byte() {
    let plain = Header {
        addresses: pair("127.0.0.1:42322", "127.0.0.1:42605"),
        ..Header::default()
    };
    let addresses = b"\x7f\x00\x00\x01\x7f\x00\x00\x01\xa5R\xa6m";
    check_v2(&plain, "2111000c", addresses);
    let summed = Header {
        crc32c: true,
        ..plain
    };
    let sum = b"\x03\x00\x04L\xeb\xd8\xba";
    check_v2(&summed, "21110013", &[&addresses[..], sum].concat());
    check_v2(&Header::default(), "20000000", b"");
    let local = Header {
        crc32c: true,
        ..Header::default()
    };
    check_v2(&local, "20000007", b"\x03\x00\x04\xa9\xb8~\x8f");
    let ssl = Header {
        ssl: Some(None),
        ..Header::default()
    };
    check_v2(&ssl, "20000008", b" \x00\x05\x00\x00\x00\x00\x00");
    let all = Header {
        addresses: pair("127.0.0.1:48598", "127.0.0.1:51431"),
        authority: Some(b"name.example"),
        unique_id: Some(b"uid-5114"),
        ssl: Some(Some(Ssl {
            version: "TLSv1.3",
            cipher: Some("TLS_AES_256_GCM_SHA384"),
            key: Some("RSA2048"),
            signature: Some("RSA-SHA256"),
            certificate: true,
            common_name: Some(b"client one"),
        })),
        ..Header::default()
    };
    let rest = b"\x7f\x00\x00\x01\x7f\x00\x00\x01\xbd\xd6\xc8\xe7\x02\x00\x0cname.example\
        \x05\x00\x08uid-5114 \x00L\x07\x00\x00\x00\x00!\x00\x07TLSv1.3\"\x00\nclient one%\x00\x07RSA2048$\x00\nRSA-SHA256\
        #\x00\x16TLS_AES_256_GCM_SHA384";
    check_v2(&all, "21110075", rest);
}

#[test]
fn a_value_too_long_to_be_looked_at_is_left_out() {
    let header = Header {
        unique_id: Some(&[b'x'; 70_000]),
        ..Header::default()
    };
    check_v2(&header, "20000000", b"");
}
