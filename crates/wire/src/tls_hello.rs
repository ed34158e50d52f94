//! The first message of a TLS client, as far as one can see without keys (RFC 8446 section 4.1.2,
//! RFC 6066 section 3): what a balancer that passes TLS through routes by. Also whether a server's
//! first bytes are a ServerHello.
//!
//! It decrypts nothing and checks no meaning beyond that of the frame. A hello spread over several
//! records is put together; one whose lengths do not agree, or that names two servers, is none.

use std::borrow::Cow;
use std::ops::Range;

/// Bytes of a hello message at most. Real ones have a few hundred, post-quantum key shares a few
/// thousand; what is longer than four records of the largest size is no hello worth waiting for.
const HELLO_LEN_MAX: usize = 64 * 1024;

/// Bytes in one record at most (RFC 8446 section 5.1).
const RECORD_LEN_MAX: usize = 1 << 14;

/// Content type of handshake records.
const HANDSHAKE: u8 = 22;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_GROUPS: u16 = 10;
const EXTENSION_SIGNATURES: u16 = 13;
const EXTENSION_ALPN: u16 = 16;
const EXTENSION_TICKET: u16 = 35;
const EXTENSION_KEY_SHARE: u16 = 51;

/// What the first bytes of a stream are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    /// It.
    Is(T),
    /// Nothing that speaks against it, and not all of it.
    NotYet,
    /// Something else.
    Not,
}

/// A ClientHello. What it says is not proven by anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello<'a> {
    message: Cow<'a, [u8]>,
    version: u16,
    ciphers: Range<usize>,
    extensions: Extensions,
}

/// Where the extensions that are asked for stand in the message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Extensions {
    server_name: Option<Range<usize>>,
    alpn: Option<Range<usize>>,
    groups: Option<Range<usize>>,
    signatures: Option<Range<usize>>,
    key_share: Option<Range<usize>>,
    ticket: Option<Range<usize>>,
}

impl<'a> ClientHello<'a> {
    /// The version in the message: major times 65536 plus minor, as HAProxy writes it. TLS 1.3 says
    /// 1.2 here, 3.3 that is.
    pub fn version(&self) -> u32 {
        let [major, minor] = self.version.to_be_bytes();
        (u32::from(major) << 16) + u32::from(minor)
    }

    /// The name of the server that is asked for (RFC 6066 section 3).
    pub fn server_name(&self) -> Option<Cow<'a, [u8]>> {
        self.part(self.extensions.server_name.as_ref())
    }

    /// The protocol that the client would like best (RFC 7301).
    pub fn first_protocol(&self) -> Option<Cow<'a, [u8]>> {
        self.part(self.extensions.alpn.as_ref())
    }

    /// The cipher suites, two bytes each.
    pub fn ciphers(&self) -> Cow<'a, [u8]> {
        self.slice(self.ciphers.clone())
    }

    /// The groups for key exchange, two bytes each (RFC 8446 section 4.2.7).
    pub fn groups(&self) -> Option<Cow<'a, [u8]>> {
        self.part(self.extensions.groups.as_ref())
    }

    /// The signature schemes, two bytes each (RFC 8446 section 4.2.3).
    pub fn signatures(&self) -> Option<Cow<'a, [u8]>> {
        self.part(self.extensions.signatures.as_ref())
    }

    /// The groups that a key share is sent for, two bytes each (RFC 8446 section 4.2.8).
    pub fn key_share_groups(&self) -> Option<Vec<u8>> {
        let list = &self.message[self.extensions.key_share.clone()?];
        let mut groups = Vec::new();
        let mut rest = Reader::new(list);
        while let Some(group) = rest.take(2) {
            groups.extend_from_slice(group);
            rest.counted(2)?;
        }
        Some(groups)
    }

    /// The session ticket (RFC 5077), empty where the client only says that it knows of tickets.
    pub fn ticket(&self) -> Option<Cow<'a, [u8]>> {
        self.part(self.extensions.ticket.as_ref())
    }

    fn part(&self, range: Option<&Range<usize>>) -> Option<Cow<'a, [u8]>> {
        range.map(|range| self.slice(range.clone()))
    }

    fn slice(&self, range: Range<usize>) -> Cow<'a, [u8]> {
        match &self.message {
            Cow::Borrowed(message) => Cow::Borrowed(&message[range]),
            Cow::Owned(message) => Cow::Owned(message[range].to_vec()),
        }
    }
}

/// Looks for a ClientHello at the beginning of what a client sent.
pub fn client_hello(bytes: &[u8]) -> Seen<ClientHello<'_>> {
    match first_message(bytes, CLIENT_HELLO) {
        Seen::Is(message) => read_client_hello(message).map_or(Seen::Not, Seen::Is),
        Seen::NotYet => Seen::NotYet,
        Seen::Not => Seen::Not,
    }
}

/// Whether what a server sent begins with a whole ServerHello.
pub fn server_hello(bytes: &[u8]) -> Seen<()> {
    match first_message(bytes, SERVER_HELLO) {
        Seen::Is(_) => Seen::Is(()),
        Seen::NotYet => Seen::NotYet,
        Seen::Not => Seen::Not,
    }
}

/// The version of a stream that begins with a hello of a client: of TLS, or of SSL 2 as clients
/// spoke it that knew newer ones too.
pub fn client_version(bytes: &[u8]) -> Seen<u32> {
    if let [first, rest @ ..] = bytes
        && *first >= 0x80
    {
        return ssl2_version(*first, rest);
    }
    match client_hello(bytes) {
        Seen::Is(hello) => Seen::Is(hello.version()),
        Seen::NotYet => Seen::NotYet,
        Seen::Not => Seen::Not,
    }
}

/// SSL 2 (RFC 5246, appendix E.2): two bytes of length with the highest bit set, type 1, version.
fn ssl2_version(first: u8, rest: &[u8]) -> Seen<u32> {
    /// Type, version and three lengths: no hello is shorter.
    const LENGTH_MIN: usize = 9;
    let [second, kind, major, minor, ..] = rest else {
        return match rest.get(1) {
            None | Some(&CLIENT_HELLO) => Seen::NotYet,
            Some(_) => Seen::Not,
        };
    };
    let length = usize::from(first & 0x7f) << 8 | usize::from(*second);
    if *kind != CLIENT_HELLO || length < LENGTH_MIN || !matches!(major, 2 | 3) {
        return Seen::Not;
    }
    Seen::Is((u32::from(*major) << 16) + u32::from(*minor))
}

/// The body of the first handshake message, put together from as many records as it takes.
fn first_message(bytes: &[u8], wanted: u8) -> Seen<Cow<'_, [u8]>> {
    let mut together: Vec<u8> = Vec::new();
    let mut rest = bytes;
    loop {
        let fragment = match first_fragment(rest) {
            Seen::Is((fragment, behind)) => {
                rest = behind;
                fragment
            }
            Seen::NotYet => return not_yet(bytes, &together, wanted),
            Seen::Not => return Seen::Not,
        };
        if together.is_empty()
            && let Some(whole) = whole_message(fragment)
        {
            return body(whole, wanted).map_or(Seen::Not, |body| Seen::Is(Cow::Borrowed(body)));
        }
        together.extend_from_slice(fragment);
        if is_wrong(&together, wanted) {
            return Seen::Not;
        }
        if let Some(length) = whole_message(&together).map(<[u8]>::len) {
            together.truncate(length);
            together.drain(..4);
            return Seen::Is(Cow::Owned(together));
        }
    }
}

/// More is to come; unless what is there of an unfinished record tells already that it is no hello.
fn not_yet<'a>(bytes: &'a [u8], together: &[u8], wanted: u8) -> Seen<Cow<'a, [u8]>> {
    let begun = bytes.get(5..).unwrap_or_default();
    if together.is_empty() && is_wrong(begun, wanted) {
        return Seen::Not;
    }
    Seen::NotYet
}

/// The content of the first record and what is behind it.
fn first_fragment(bytes: &[u8]) -> Seen<(&[u8], &[u8])> {
    if bytes.first().is_some_and(|kind| *kind != HANDSHAKE)
        || bytes.get(1).is_some_and(|major| *major != 3)
    {
        return Seen::Not;
    }
    let Some(length) = bytes.get(3..5) else {
        return Seen::NotYet;
    };
    let length = usize::from(length[0]) << 8 | usize::from(length[1]);
    // Empty handshake records are forbidden (RFC 8446 section 5.1).
    if length == 0 || length > RECORD_LEN_MAX {
        return Seen::Not;
    }
    match bytes[5..].split_at_checked(length) {
        Some(parts) => Seen::Is(parts),
        None => Seen::NotYet,
    }
}

/// Whether the beginning of a message speaks against what is wanted.
fn is_wrong(message: &[u8], wanted: u8) -> bool {
    message.first().is_some_and(|kind| *kind != wanted)
        || message_length(message).is_some_and(|length| length > HELLO_LEN_MAX)
}

fn message_length(message: &[u8]) -> Option<usize> {
    let length = message.get(1..4)?;
    Some(usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]))
}

/// The message with its header, when all of it is there.
fn whole_message(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..4 + message_length(bytes)?)
}

fn body(message: &[u8], wanted: u8) -> Option<&[u8]> {
    (!is_wrong(message, wanted)).then(|| &message[4..])
}

fn read_client_hello(message: Cow<'_, [u8]>) -> Option<ClientHello<'_>> {
    let mut reader = Reader::new(&message);
    let version = reader.number()?;
    let _random = reader.take(32)?;
    let session_id = reader.counted(1)?;
    let ciphers = reader.counted(2)?;
    let compression = reader.counted(1)?;
    let extensions = match reader.is_empty() {
        // TLS 1.2 and older may have none.
        true => Extensions::default(),
        false => read_extensions(reader.counted(2)?, &message)?,
    };
    let fits = session_id.len() <= 32
        && !ciphers.is_empty()
        && ciphers.len().is_multiple_of(2)
        && !compression.is_empty()
        && reader.is_empty();
    let ciphers = place(ciphers, &message);
    fits.then_some(ClientHello {
        message,
        version,
        ciphers,
        extensions,
    })
}

/// Reads all extensions. None may come twice (RFC 8446 section 4.2): of the ones that are asked
/// for, the second would be another meaning.
fn read_extensions(list: &[u8], message: &[u8]) -> Option<Extensions> {
    let mut found = Extensions::default();
    let mut reader = Reader::new(list);
    while !reader.is_empty() {
        let kind = reader.number()?;
        let data = reader.counted(2)?;
        let (field, value) = match kind {
            EXTENSION_SERVER_NAME => (&mut found.server_name, host_name(data)?),
            EXTENSION_ALPN => (&mut found.alpn, first_name(data)?),
            EXTENSION_GROUPS => (&mut found.groups, whole_list(data)?),
            EXTENSION_SIGNATURES => (&mut found.signatures, whole_list(data)?),
            EXTENSION_KEY_SHARE => (&mut found.key_share, key_shares(data)?),
            EXTENSION_TICKET => (&mut found.ticket, data),
            _ => continue,
        };
        if field.replace(place(value, message)).is_some() {
            return None;
        }
    }
    Some(found)
}

/// The one host name in a list of names (RFC 6066 section 3).
fn host_name(data: &[u8]) -> Option<&[u8]> {
    const HOST_NAME: &[u8] = &[0];
    let mut names = Reader::new(whole_list(data)?);
    let mut host = None;
    while !names.is_empty() {
        let kind = names.take(1)?;
        let name = names.counted(2)?;
        if kind == HOST_NAME && host.replace(name).is_some() {
            return None;
        }
    }
    host.filter(|host| !host.is_empty())
}

/// The first of a list of protocol names (RFC 7301 section 3.1).
fn first_name(data: &[u8]) -> Option<&[u8]> {
    let mut names = Reader::new(whole_list(data)?);
    let first = names.counted(1)?;
    while !names.is_empty() {
        names.counted(1)?;
    }
    Some(first)
}

/// A list of key shares, each a group and a key.
fn key_shares(data: &[u8]) -> Option<&[u8]> {
    let list = whole_list(data)?;
    let mut shares = Reader::new(list);
    while !shares.is_empty() {
        shares.take(2)?;
        shares.counted(2)?;
    }
    Some(list)
}

/// What stands behind a length of two bytes, when it is all there is.
fn whole_list(data: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(data);
    let list = reader.counted(2)?;
    reader.is_empty().then_some(list)
}

/// Where a part stands in the message it was taken from.
fn place(part: &[u8], message: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - message.as_ptr().addr();
    start..start + part.len()
}

/// Takes bytes off the front; never more than there are.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// What stands behind a length of that many bytes.
    fn counted(&mut self, length_bytes: usize) -> Option<&'a [u8]> {
        let length = self.take(length_bytes)?;
        let length = length
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.take(length)
    }
}
