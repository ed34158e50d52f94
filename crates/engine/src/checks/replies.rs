//! What servers of protocols that we know say of themselves (manual 4.2, "option smtpchk" and its like).
//! Pure; the bytes are foreign, and nothing of them is believed beyond what is there.

use config::model::sequence::Reply;
use routing::health::CheckCode;

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// There is more to come.
    Partial,
    /// All is well; a code and what it says of itself, where it does.
    Well(u16, String),
    /// It is not.
    Bad(CheckCode, u16, String),
}

/// What the bytes so far mean; `ended`: no more will come.
pub(super) fn understand(reply: Reply, bytes: &[u8], ended: bool) -> Meaning {
    let understood = match reply {
        Reply::Smtp => smtp(bytes, ended),
        Reply::MysqlGreeting => mysql(bytes, true),
        Reply::MysqlLogin => mysql(bytes, false),
        Reply::Redis => redis(bytes, ended),
        Reply::Pgsql => pgsql(bytes, ended),
        Reply::Ldap => ldap(bytes),
        Reply::Spop => spop(bytes),
    };
    match understood {
        Meaning::Partial if ended => Meaning::Bad(CheckCode::Layer7Response, 0, cut_short(reply)),
        understood => understood,
    }
}

/// How many bytes an answer that was understood has, where another one follows it unasked.
pub(super) fn used(reply: Reply, bytes: &[u8]) -> usize {
    match (reply, bytes) {
        (Reply::MysqlGreeting, [low, middle, high, ..]) => {
            4 + (usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16)
        }
        _ => 0,
    }
}

fn cut_short(reply: Reply) -> String {
    match reply {
        Reply::Ldap => NOT_LDAP.into(),
        Reply::Spop => INVALID_FRAME.into(),
        _ => String::new(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The first line.
fn line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    &bytes[..end.unwrap_or(bytes.len())]
}

/// Lines that begin with three digits; all but the last have a hyphen behind them (RFC 5321 section
/// 4.2.1).
fn smtp(bytes: &[u8], ended: bool) -> Meaning {
    let mut rest = bytes;
    loop {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            let bad = || Meaning::Bad(CheckCode::Layer7Response, 0, text(line(rest)));
            return if ended { bad() } else { Meaning::Partial };
        };
        let (whole, more) = (line(&rest[..end]), &rest[end + 1..]);
        let digits = whole
            .get(..3)
            .filter(|code| code.iter().all(u8::is_ascii_digit));
        let Some(digits) = digits else {
            return Meaning::Bad(CheckCode::Layer7Response, 0, text(whole));
        };
        let code = digits
            .iter()
            .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        match whole.get(3) {
            Some(b'-') => rest = more,
            None | Some(b' ') => {
                let said = text(whole.get(4..).unwrap_or_default());
                return match code {
                    200..=299 => Meaning::Well(code, said),
                    code => Meaning::Bad(CheckCode::Layer7Status, code, said),
                };
            }
            Some(_) => return Meaning::Bad(CheckCode::Layer7Response, 0, text(whole)),
        }
    }
}

fn redis(bytes: &[u8], ended: bool) -> Meaning {
    const PONG: &[u8] = b"+PONG\r\n";
    if bytes.starts_with(PONG) {
        return Meaning::Well(0, "Redis server is ok".into());
    }
    let whole = ended || bytes.contains(&b'\n');
    if !whole && bytes.len() < PONG.len() {
        return Meaning::Partial;
    }
    Meaning::Bad(CheckCode::Layer7Status, 0, text(line(bytes)))
}

/// A packet: its length in three bytes, a number, and what is in it. 255 begins an error: its code, and a
/// text behind a state of five bytes that a sharp announces.
fn mysql(bytes: &[u8], greeting: bool) -> Meaning {
    const HEADER: usize = 4;
    let [low, middle, high, _, ..] = bytes else {
        return Meaning::Partial;
    };
    let length = usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16;
    let packet = &bytes[HEADER..];
    // Nothing that is said here is longer.
    const LENGTH_MAX: usize = 4096;
    if !(1..=LENGTH_MAX).contains(&length) {
        return Meaning::Bad(CheckCode::Layer7Response, 0, String::new());
    }
    if packet.len() < length && packet.first() != Some(&255) {
        return Meaning::Partial;
    }
    let packet = &packet[..length.min(packet.len())];
    match packet {
        [255, low, high, message @ ..] => {
            let message = match message {
                [b'#', _, _, _, _, _, message @ ..] => message,
                message => message,
            };
            let code = u16::from_le_bytes([*low, *high]);
            Meaning::Bad(CheckCode::Layer7Status, code, text(message))
        }
        [255, ..] => Meaning::Partial,
        // The version of the protocol, and of the server.
        [_, rest @ ..] if greeting => {
            let end = rest.iter().position(|byte| *byte == 0);
            match end {
                Some(end) => Meaning::Well(0, text(&rest[..end])),
                None => Meaning::Bad(CheckCode::Layer7Response, 0, String::new()),
            }
        }
        _ => Meaning::Well(0, String::new()),
    }
}

/// `R` asks for a proof, or for none; `E` is an error, which begins with how bad it is.
fn pgsql(bytes: &[u8], ended: bool) -> Meaning {
    let unknown = || {
        Meaning::Bad(
            CheckCode::Layer7Status,
            0,
            "PostgreSQL unknown error".into(),
        )
    };
    match bytes {
        [] if ended => unknown(),
        [] => Meaning::Partial,
        [b'R', 0, 0, 0, 8..=255, 0, 0, 0, 0 | 2..=7 | 9 | 10, ..] => {
            Meaning::Well(0, "PostgreSQL server is ok".into())
        }
        [b'R', ..] if bytes.len() < 9 && !ended => Meaning::Partial,
        [b'E', _, _, _, _, b'S', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == 0);
            match end {
                Some(end) => Meaning::Bad(CheckCode::Layer7Response, 0, text(&rest[..end])),
                None if ended => unknown(),
                None => Meaning::Partial,
            }
        }
        [b'E', ..] if bytes.len() < 6 && !ended => Meaning::Partial,
        _ => unknown(),
    }
}

const NOT_LDAP: &str = "Not LDAPv3 protocol";

/// SEQUENCE { messageID 1, [APPLICATION 1] { ENUMERATED resultCode … } } (RFC 4511 section 4.2.2).
fn ldap(bytes: &[u8]) -> Meaning {
    const BAD: fn() -> Meaning = || Meaning::Bad(CheckCode::Layer7Response, 0, NOT_LDAP.into());
    let mut rest = bytes;
    macro_rules! expect {
        ($($byte:expr),*) => {
            $(match rest.split_first() {
                None => return Meaning::Partial,
                Some((first, more)) if *first == $byte => rest = more,
                Some(_) => return BAD(),
            })*
        };
    }
    expect!(0x30);
    match length(rest) {
        None => return Meaning::Partial,
        Some(more) => rest = more,
    }
    expect!(2, 1, 1, 0x61);
    match length(rest) {
        None => return Meaning::Partial,
        Some(more) => rest = more,
    }
    expect!(0x0a, 1);
    match rest.first() {
        None => Meaning::Partial,
        Some(0) => Meaning::Well(0, "Success".into()),
        Some(code) => Meaning::Bad(
            CheckCode::Layer7Status,
            u16::from(*code),
            "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9".into(),
        ),
    }
}

/// What is behind a length, short or long: what is in it is looked at anyway.
fn length(bytes: &[u8]) -> Option<&[u8]> {
    let (first, rest) = bytes.split_first()?;
    let more = if *first & 0x80 == 0 {
        0
    } else {
        usize::from(first & 0x7f)
    };
    rest.get(more..)
}

const INVALID_FRAME: &str = "invalid frame received";

/// A frame: its length, its type (101 is an agent's HELLO), flags of which the last bit says that it is
/// whole, two numbers, and pairs of names and typed values.
fn spop(bytes: &[u8]) -> Meaning {
    let bad = |what: &str| Meaning::Bad(CheckCode::Layer7Response, 0, what.into());
    let Some((length, frame)) = bytes.split_first_chunk::<4>() else {
        return Meaning::Partial;
    };
    let length = u32::from_be_bytes(*length) as usize;
    /// As large as we said that frames may be.
    const FRAME_MAX: usize = 16380;
    if !(7..=FRAME_MAX).contains(&length) {
        return bad(INVALID_FRAME);
    }
    if frame.len() < length {
        return Meaning::Partial;
    }
    let [101, _, _, _, 1, 0, 0, pairs @ ..] = &frame[..length] else {
        return bad(INVALID_FRAME);
    };
    match agent_version(pairs) {
        Some(version) if version.trim_ascii().starts_with(b"2.") => {
            Meaning::Well(0, "SPOA server is ok".into())
        }
        Some(_) => bad("unsupported version"),
        None => bad(INVALID_FRAME),
    }
}

/// The value of `version` among the pairs; `None` where they cannot be read so far.
fn agent_version(mut pairs: &[u8]) -> Option<&[u8]> {
    while !pairs.is_empty() {
        let (name, rest) = counted(pairs)?;
        let (kind, rest) = rest.split_first()?;
        let (value, rest) = match kind & 15 {
            // Nothing, and a boolean, which is in the flags.
            0 | 1 => (&[][..], rest),
            // Numbers.
            2..=5 => (&[][..], number(rest)?.1),
            6 => rest.split_at_checked(4)?,
            7 => rest.split_at_checked(16)?,
            // Texts and blocks.
            8 | 9 => counted(rest)?,
            _ => return None,
        };
        if name == b"version" {
            return Some(value);
        }
        pairs = rest;
    }
    None
}

fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// A number of one to ten bytes: from 240 on, four bits of the first, then seven of each.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let mut value = u64::from(*first);
    if *first < 240 {
        return Some((value, rest));
    }
    let mut shift = 4;
    loop {
        let (next, more) = rest.split_first()?;
        rest = more;
        value = value.checked_add(u64::from(*next).checked_shl(shift)?)?;
        if *next < 128 {
            return Some((value, rest));
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: Reply, bytes: &[u8], expected: &str) {
        let shown = match understand(reply, bytes, false) {
            Meaning::Partial => "...".to_owned(),
            Meaning::Well(code, text) => format!("{code} {text}"),
            Meaning::Bad(code, status, text) => format!("{} {status} {text}", code.short()),
        };
        assert_eq!(shown, expected, "{:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn each_protocol_is_understood_as_far_as_a_check_needs() {
        use Reply::*;
        check(Smtp, b"220 x.example ESMTP\r\n", "220 x.example ESMTP");
        check(Smtp, b"250-x\r\n250-SIZE\r\n250 DSN\r\n", "250 DSN");
        check(Smtp, b"250-x\r\n250-SIZE\r\n", "...");
        check(Smtp, b"421 later\r\n", "L7STS 421 later");
        check(Smtp, b"hello\r\n", "L7RSP 0 hello");
        check(Redis, b"+PONG\r\n", "0 Redis server is ok");
        check(Redis, b"+PO", "...");
        check(Redis, b"-NOAUTH who?\r\n", "L7STS 0 -NOAUTH who?");
        check(MysqlGreeting, b"\x08\0\0\0\x0a8.0.19\0", "0 8.0.19");
        check(MysqlGreeting, b"\x09\0\0\0\x0a8.0.", "...");
        check(
            MysqlGreeting,
            b"\x0b\0\0\0\xff\x10\x04too many",
            "L7STS 1040 too many",
        );
        check(
            MysqlLogin,
            b"\x0f\0\0\x02\xff\x15\x04#28000denied",
            "L7STS 1045 denied",
        );
        check(MysqlLogin, b"\x07\0\0\x02\0\0\0\x02\0\0\0", "0 ");
        check(MysqlGreeting, b"what is this", "L7RSP 0 ");
        check(Pgsql, b"R\0\0\0\x08\0\0\0\0", "0 PostgreSQL server is ok");
        check(
            Pgsql,
            b"R\0\0\0\x17\0\0\0\x0aSCRAM",
            "0 PostgreSQL server is ok",
        );
        check(Pgsql, b"E\0\0\0\x0bSFATAL\0", "L7RSP 0 FATAL");
        check(Pgsql, b"HTTP/1.1", "L7STS 0 PostgreSQL unknown error");
        check(
            Ldap,
            b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0",
            "0 Success",
        );
        check(
            Ldap,
            b"\x30\x84\0\0\0\x10\x02\x01\x01\x61\x84\0\0\0\x07\x0a\x01",
            "...",
        );
        check(
            Ldap,
            b"\x30\x0c\x02\x01\x01\x60\x07",
            "L7RSP 0 Not LDAPv3 protocol",
        );
        check(
            Spop,
            b"\0\0\0\x14\x65\0\0\0\x01\0\0\x07version\x08\x032.0",
            "0 SPOA server is ok",
        );
        check(
            Spop,
            b"\0\0\0\x14\x65\0\0\0\x01\0\0\x07version\x08\x031.0",
            "L7RSP 0 unsupported version",
        );
        check(Spop, b"\0\0\0\0", "L7RSP 0 invalid frame received");
        check(Spop, b"\0\0\0\x20\x65", "...");
    }

    #[test]
    fn no_answer_panics_or_waits_for_ever() {
        let all = [
            Reply::Smtp,
            Reply::MysqlGreeting,
            Reply::MysqlLogin,
            Reply::Redis,
            Reply::Pgsql,
            Reply::Ldap,
            Reply::Spop,
        ];
        let mut bytes = Vec::new();
        let random = fastrand::Rng::with_seed(7);
        let mut random = random;
        for _ in 0..20_000 {
            bytes.clear();
            bytes.extend((0..random.usize(..40)).map(|_| random.u8(..)));
            for reply in all {
                assert_ne!(understand(reply, &bytes, true), Meaning::Partial);
            }
        }
    }
}
