//! The PROXY protocol, both versions.

use wire::h1::Parsed;
use wire::proxy_protocol::{self, Proxied, ProxyError, V1_LEN_MAX, V2_LEN_MAX, parse};

/// Checks what is at the beginning of `bytes`: `SRC > DST +REST`, `Local +REST`, `Partial` or the
/// error. Every beginning must lead to the same or to nothing yet.
#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let parsed = parse(bytes);
    assert_eq!(
        show(&parsed, bytes.len()),
        expected,
        "{}",
        bytes.escape_ascii()
    );
    for len in 0..bytes.len() {
        match parse(&bytes[..len]) {
            Ok(Parsed::Partial) => {}
            prefix => assert_eq!(prefix, parsed, "cut at {len}"),
        }
    }
}

fn show(parsed: &Result<Parsed<Proxied>, ProxyError>, len: usize) -> String {
    match parsed {
        Err(error) => format!("{error:?}"),
        Ok(Parsed::Partial) => "Partial".to_owned(),
        Ok(Parsed::Complete {
            head: Proxied::Local,
            consumed,
        }) => {
            format!("Local +{}", len - consumed)
        }
        Ok(Parsed::Complete {
            head: Proxied::Addresses { src, dst },
            consumed,
        }) => {
            format!("{src} > {dst} +{}", len - consumed)
        }
    }
}

/// A header of version 2, the announced length being that of `tail`.
fn v2(version_command: u8, family: u8, tail: &[u8]) -> Vec<u8> {
    v2_announcing(version_command, family, tail.len() as u16, tail)
}

fn v2_announcing(version_command: u8, family: u8, len: u16, tail: &[u8]) -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    [
        signature,
        &[version_command, family][..],
        &len.to_be_bytes(),
        tail,
    ]
    .concat()
}

/// 10.0.0.1:4660 to 10.0.0.2:80.
const IPV4: [u8; 12] = [10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80];

#[track_caller]
fn check_tlvs(tlvs: &[u8], expected: &str) {
    check(&v2(0x21, 0x11, &[&IPV4, tlvs].concat()), expected);
}

const READ: &str = "10.0.0.1:4660 > 10.0.0.2:80 +0";

#[test]
fn lines_are_read() {
    check(b"PROXY TCP4 10.0.0.1 10.0.0.2 4660 80\r\n", READ);
    check(
        b"PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\nGET /",
        "1.2.3.4:0 > 5.6.7.8:65535 +5",
    );
    check(
        b"PROXY TCP6 ::1 fe80::2 1 2\r\n",
        "[::1]:1 > [fe80::2]:2 +0",
    );
    check(
        b"PROXY TCP6 ::FFFF:1.2.3.4 ::1 1 2\r\n",
        "[::ffff:1.2.3.4]:1 > [::1]:2 +0",
    );
    check(b"PROXY UNKNOWN\r\n", "Local +0");
    check(b"PROXY UNKNOWN whatever 1 2 \xff\r\nX", "Local +1");
}

#[test]
fn lines_are_exact() {
    let lines = [
        "TCP4 1.2.3.4 5.6.7.8 1 2 ",
        "TCP4 1.2.3.4 5.6.7.8 1 2 3",
        "TCP4  1.2.3.4 5.6.7.8 1 2",
        " TCP4 1.2.3.4 5.6.7.8 1 2",
        "TCP4 1.2.3.4 5.6.7.8 1",
        "TCP4 1.2.3.4 5.6.7.8",
        "TCP4",
        "",
        "TCP4 1.2.3 5.6.7.8 1 2",
        "TCP4 01.2.3.4 5.6.7.8 1 2",
        "TCP4 1.2.3.256 5.6.7.8 1 2",
        "TCP4 1.2.3.4 5.6.7.8 01 2",
        "TCP4 1.2.3.4 5.6.7.8 +1 2",
        "TCP4 1.2.3.4 5.6.7.8 65536 2",
        "TCP4 1.2.3.4 5.6.7.8 -1 2",
        "TCP4 1.2.3.4 5.6.7.8 x 2",
        "TCP4 1.2.3.4 5.6.7.8 1 00",
        "TCP4 ::1 ::1 1 2",
        "TCP6 1.2.3.4 5.6.7.8 1 2",
        "TCP6 ::1 1.2.3.4 1 2",
        "TCP6 ::1%eth0 ::1 1 2",
        "TCP6 [::1] [::1] 1 2",
        "TCP5 1.2.3.4 5.6.7.8 1 2",
        "tcp4 1.2.3.4 5.6.7.8 1 2",
        "UDP4 a b 1 2",
        "TCP4\t1.2.3.4 5.6.7.8 1 2",
        "UNKNOWNX",
        "unknown",
        "UNKNOWN a\rb",
        "TCP4 1.2.3.4 5.6.7.8 1 2\r",
        "TCP4 1.2.3.4\0 5.6.7.8 1 2",
        "TCP4 1.2.3.4 \u{ff15}.6.7.8 1 2",
    ];
    for line in lines {
        check(format!("PROXY {line}\r\n").as_bytes(), "Line");
    }
    check(b"PROXY UNKNOWN\n", "Line");
    check(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "Line");
    for other in [
        &b"PROXYTCP4"[..],
        b"proxy TCP4",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"\n",
        b"PRX",
    ] {
        check(other, "Signature");
    }
    for partial in [
        &b""[..],
        b"P",
        b"PROXY ",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r",
    ] {
        check(partial, "Partial");
    }
}

#[test]
fn lines_are_bounded() {
    let unknown = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16));
    check(unknown(V1_LEN_MAX).as_bytes(), "Local +0");
    check(unknown(V1_LEN_MAX + 1).as_bytes(), "TooLong");
    check(&[b"PROXY ".as_slice(), &[b'x'; 500]].concat(), "TooLong");
}

#[test]
fn binary_headers_are_read() {
    check(&v2(0x21, 0x11, &IPV4), READ);
    check(
        &[v2(0x21, 0x11, &IPV4), b"GET".to_vec()].concat(),
        "10.0.0.1:4660 > 10.0.0.2:80 +3",
    );
    let ipv6 = [&[0; 15][..], &[1], &[0; 15], &[2], &[0, 1, 0, 2]].concat();
    check(&v2(0x21, 0x21, &ipv6), "[::1]:1 > [::2]:2 +0");
    check(&v2(0x20, 0x00, &[]), "Local +0");
    check(&v2(0x20, 0x11, &IPV4), "Local +0");
    check(&v2(0x20, 0xff, &[1, 2, 3]), "Local +0");
    check(&v2(0x21, 0x00, &[]), "Local +0");
    check(&v2(0x21, 0x00, &[9; 40]), "Local +0");
    check(&v2(0x21, 0x12, &IPV4), "Local +0");
    check(&v2(0x21, 0x22, &[0; 36]), "Local +0");
    check(&v2(0x21, 0x31, &[b'/'; 216]), "Local +0");
    check(&v2(0x21, 0x32, &[b'/'; 216]), "Local +0");
}

#[test]
fn binary_headers_are_exact() {
    check(&v2(0x11, 0x11, &IPV4), "Version");
    check(&v2(0x31, 0x11, &IPV4), "Version");
    check(&v2(0x01, 0x11, &IPV4), "Version");
    check(&v2(0x22, 0x11, &IPV4), "Command");
    check(&v2(0x2f, 0x11, &IPV4), "Command");
    for family in [0x01, 0x02, 0x10, 0x13, 0x20, 0x23, 0x30, 0x33, 0x41, 0xff] {
        check(&v2(0x21, family, &IPV4), "Family");
    }
    check(&v2(0x21, 0x11, &IPV4[..11]), "Length");
    check(&v2(0x21, 0x11, &[]), "Length");
    check(&v2(0x21, 0x21, &[0; 35]), "Length");
    check(&v2(0x21, 0x31, &[0; 215]), "Length");
    check(b"\r\n\r\n\0\r\nQUIT\r", "Signature");
    check(b"\r\nGET / HTTP/1.1\r\n", "Signature");
    check(b"\r\n\r\n\0\r\nQUIT\n", "Partial");
    check(&v2_announcing(0x21, 0x11, 12, &IPV4[..11]), "Partial");
}

#[test]
fn binary_headers_are_bounded() {
    check(&v2(0x20, 0x00, &vec![0; V2_LEN_MAX]), "Local +0");
    check(
        &v2_announcing(0x20, 0x00, V2_LEN_MAX as u16 + 1, &[]),
        "TooLong",
    );
    check(&v2_announcing(0x21, 0x11, 0xffff, &IPV4), "TooLong");
}

#[test]
fn vectors_end_where_they_must() {
    check_tlvs(&[0x04, 0, 0], READ);
    check_tlvs(&[0x04, 0, 2, 9, 9], READ);
    check_tlvs(&[0x02, 0, 1, b'a', 0xe0, 0, 0], READ);
    for cut in [
        &[0x04][..],
        &[0x04, 0],
        &[0x04, 0, 1],
        &[0x04, 0, 3, 9, 9],
        &[0x04, 0xff, 0xff, 9],
    ] {
        check_tlvs(cut, "Tlv");
    }
    check_tlvs(&[0x04, 0, 0, 0x04], "Tlv");
    check_tlvs(&[&[0x05, 0, 128][..], &[1; 128]].concat(), READ);
    check_tlvs(&[&[0x05, 0, 129][..], &[1; 129]].concat(), "Tlv");
}

#[test]
fn vectors_within_vectors_end_where_they_must() {
    check_tlvs(&[0x20, 0, 5, 1, 0, 0, 0, 0], READ);
    check_tlvs(&[0x20, 0, 9, 1, 0, 0, 0, 0, 0x21, 0, 1, b'x'], READ);
    check_tlvs(&[0x20, 0, 4, 1, 0, 0, 0], "Tlv");
    check_tlvs(&[0x20, 0, 6, 1, 0, 0, 0, 0, 0x21], "Tlv");
    // The inner vector reaches into what follows the outer one.
    check_tlvs(&[0x20, 0, 8, 1, 0, 0, 0, 0, 0x21, 0, 3, 0x04, 0, 0], "Tlv");
}

#[test]
fn checksums_are_verified() {
    let mut header = v2(
        0x21,
        0x11,
        &[&IPV4[..], &[0x03, 0, 4, 0, 0, 0, 0], &[0x04, 0, 0]].concat(),
    );
    check(&header, "Checksum");
    let sum = crc32c(&header);
    header[31..35].copy_from_slice(&sum.to_be_bytes());
    check(&header, READ);
    header[17] ^= 1;
    check(&header, "Checksum");
    check_tlvs(&[0x03, 0, 3, 0, 0, 0], "Tlv");
    // The check value of CRC-32C, to know that this reckoning is right itself.
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

/// CRC-32C the slow way: by division of polynomials, most significant bit first.
fn crc32c(bytes: &[u8]) -> u32 {
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit & 1)));
    let sum = bits.fold(u32::MAX, |sum, bit| {
        let carry = sum >> 31 ^ bit;
        sum << 1 ^ if carry == 1 { 0x1edc_6f41 } else { 0 }
    });
    !sum.reverse_bits()
}

#[test]
fn extensions_are_found_by_their_type() {
    let check = |command: u8, family: u8, kind: u8, expected: &[&[u8]]| {
        let tlvs: &[&[u8]] = &[
            &[0x02, 0, 1, b'a', 0xea, 0, 2, 1, 2, 0xea, 0, 0],
            &[0x20, 0, 11, 1, 0, 0, 0, 0, 0x22, 0, 3, b'j', b'o', b'e'],
        ];
        let header = v2(command, family, &[&IPV4[..], &tlvs.concat()].concat());
        let extensions = proxy_protocol::extensions(&header);
        let found: Vec<&[u8]> = proxy_protocol::values_of(extensions, kind).collect();
        assert_eq!(found, expected, "{command:#x} {family:#x} {kind:#x}");
    };
    check(0x21, 0x11, 0x02, &[b"a"]);
    check(0x21, 0x11, 0xea, &[&[1, 2], &[]]);
    // The names in a client's certificate are within what is told of TLS.
    check(0x21, 0x11, 0x22, &[b"joe"]);
    check(0x21, 0x11, 0x05, &[]);
    // Of a check by the sender itself, and of no address at all, nothing counts.
    check(0x20, 0x11, 0x02, &[]);
    check(0x21, 0x00, 0x02, &[]);
    for broken in [
        &b""[..],
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        b"\r\n\r\n\0\r\nQUIT\n",
    ] {
        assert!(proxy_protocol::extensions(broken).is_empty());
    }
}
