//! First words of protocols that are passed through: TLS hellos, RDP cookies.

use proptest::prelude::*;

use wire::rdp::{self, Cookie};
use wire::tls_hello::{ClientHello, Seen, client_hello, client_version, server_hello};

fn counted(length_bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let mut out = length[length.len() - length_bytes..].to_vec();
    out.extend_from_slice(content);
    out
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &counted(2, data)].concat()
}

fn server_name(name: &str) -> Vec<u8> {
    let entry = [&[0][..], &counted(2, name.as_bytes())].concat();
    extension(0, &counted(2, &entry))
}

fn alpn(names: &[&str]) -> Vec<u8> {
    let names: Vec<u8> = names
        .iter()
        .flat_map(|name| counted(1, name.as_bytes()))
        .collect();
    extension(16, &counted(2, &names))
}

/// A handshake message: a ClientHello with these extensions, and bytes behind them.
fn message(extensions: &[Vec<u8>], behind: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(counted(1, &[9; 32]));
    body.extend(counted(2, &[0x13, 1, 0x13, 2]));
    body.extend(counted(1, &[0]));
    body.extend(counted(2, &extensions.concat()));
    body.extend_from_slice(behind);
    [&[1][..], &counted(3, &body)].concat()
}

/// In records of at most so many bytes.
fn records(message: &[u8], length: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &counted(2, part)].concat();
    message.chunks(length).flat_map(record).collect()
}

fn usual() -> Vec<Vec<u8>> {
    vec![
        extension(10, &counted(2, &[0, 29, 0, 23])),
        server_name("chat.example"),
        alpn(&["h2", "http/1.1"]),
        extension(35, b""),
        extension(51, &counted(2, &[0, 29, 0, 2, 1, 2])),
    ]
}

fn seen(bytes: &[u8]) -> Option<ClientHello<'_>> {
    match client_hello(bytes) {
        Seen::Is(hello) => Some(hello),
        _ => None,
    }
}

#[test]
fn a_hello_tells_what_is_asked_for() {
    let bytes = records(&message(&usual(), b""), 16384);
    let hello = seen(&bytes).expect("it is whole");
    assert_eq!(hello.server_name().as_deref(), Some(&b"chat.example"[..]));
    assert_eq!(hello.first_protocol().as_deref(), Some(&b"h2"[..]));
    assert_eq!(hello.groups().as_deref(), Some(&[0, 29, 0, 23][..]));
    assert_eq!(hello.key_share_groups(), Some(vec![0, 29]));
    assert_eq!(hello.ticket().as_deref(), Some(&b""[..]));
    assert_eq!(hello.signatures(), None);
    assert_eq!(*hello.ciphers(), [0x13, 1, 0x13, 2]);
    assert_eq!(hello.version(), 196_611);
}

#[test]
fn a_hello_in_pieces_is_the_same_hello() {
    let message = message(&usual(), b"");
    for length in [1, 2, 3, 5, 50, message.len() - 1] {
        let bytes = records(&message, length);
        let hello = seen(&bytes).unwrap_or_else(|| panic!("records of {length}"));
        assert_eq!(hello.server_name().as_deref(), Some(&b"chat.example"[..]));
    }
}

#[test]
fn until_it_is_whole_nothing_is_known() {
    let bytes = records(&message(&usual(), b""), 60);
    for cut in 0..bytes.len() {
        assert_eq!(client_hello(&bytes[..cut]), Seen::NotYet, "{cut}");
    }
}

#[test]
fn what_is_no_hello_is_known_at_once() {
    let twice = [server_name("a"), server_name("b")];
    let two_names = [0u8, 0, 1, b'a', 0, 0, 1, b'b'];
    let short_list = [0, 3, 0, 0, 9, b'a'];
    let check = |bytes: &[u8]| assert_eq!(client_hello(bytes), Seen::Not, "{bytes:?}");
    check(b"GET / HTTP/1.1\r\n");
    check(b"SSH-2.0-x\r\n");
    check(&[22, 2]);
    check(&[22, 3, 1, 0, 0]); // an empty record
    check(&[22, 3, 1, 0xff, 0xff]); // a record too long
    check(&[22, 3, 1, 0, 9, 2]); // another message
    check(&[22, 3, 1, 0, 9, 1, 0xff, 0xff, 0xff]); // a message too long
    check(&records(&message(&twice, b""), 16384));
    check(&records(
        &message(&[extension(0, &counted(2, &two_names))], b""),
        99,
    ));
    check(&records(&message(&[extension(0, &short_list)], b""), 16384));
    check(&records(&message(&[vec![0, 0, 9]], b""), 16384));
    check(&records(&message(&usual(), b"behind"), 16384));
}

#[test]
fn versions_of_old_and_new() {
    let bytes = records(&message(&usual(), b""), 16384);
    assert_eq!(client_version(&bytes), Seen::Is(196_611));
    let ssl2 = [0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10];
    assert_eq!(client_version(&ssl2), Seen::Is(196_609));
    assert_eq!(client_version(&ssl2[..3]), Seen::NotYet);
    assert_eq!(client_version(&[0x80, 0x2e, 4]), Seen::Not);
    assert_eq!(client_version(b"GET"), Seen::Not);
}

#[test]
fn a_server_says_hello_too() {
    let hello = [22, 3, 3, 0, 6, 2, 0, 0, 2, 3, 3];
    assert_eq!(server_hello(&hello), Seen::Is(()));
    assert_eq!(server_hello(&hello[..10]), Seen::NotYet);
    assert_eq!(server_hello(b"HTTP/1.1 200"), Seen::Not);
    assert_eq!(client_hello(&hello), Seen::Not);
}

#[test]
fn cookies_of_remote_desktops() {
    let check = |text: &str, expected: Seen<(&str, &str)>| {
        let bytes = [&[3, 0, 0, 50, 45, 0xe0, 0, 0, 0, 0, 0][..], text.as_bytes()].concat();
        let expected = match expected {
            Seen::Is((name, value)) => Seen::Is(Cookie {
                name: name.as_bytes(),
                value: value.as_bytes(),
            }),
            Seen::NotYet => Seen::NotYet,
            Seen::Not => Seen::Not,
        };
        assert_eq!(rdp::cookie(&bytes), expected, "{text:?}");
    };
    check(
        "Cookie: mstshash=Bob\r\n\x01\x00",
        Seen::Is(("mstshash", "Bob")),
    );
    check("cookie:MSTS=1.2.3\r\n", Seen::Is(("MSTS", "1.2.3")));
    check("Cookie: mstshash=Bo", Seen::NotYet);
    check("Coo", Seen::NotYet);
    check("", Seen::NotYet);
    check("Cookie: mstshash\r\n", Seen::Not);
    check("Token: a=b\r\n", Seen::Not);
    check(&format!("Cookie: a={}", "b".repeat(600)), Seen::Not);
}

proptest! {
    /// What is said early is never taken back, whatever comes and however it is cut.
    #[test]
    fn an_early_answer_stays(
        mut bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            (1usize..300).prop_map(|length| records(&message(&usual(), b""), length)),
        ],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let whole = client_hello(&bytes);
        if let Seen::Is(hello) = &whole {
            let _ = (hello.server_name(), hello.key_share_groups(), hello.first_protocol());
        }
        let (version, server, cookie) = (client_version(&bytes), server_hello(&bytes), rdp::cookie(&bytes));
        for cut in 0..bytes.len() {
            let seen = &bytes[..cut];
            let early = client_hello(seen);
            prop_assert!(early == Seen::NotYet || early == whole);
            let early = client_version(seen);
            prop_assert!(early == Seen::NotYet || early == version);
            let early = server_hello(seen);
            prop_assert!(early == Seen::NotYet || early == server);
            let early = rdp::cookie(seen);
            prop_assert!(early == Seen::NotYet || early == cookie);
        }
    }
}
