//! Log-format strings to bytes (manual 8.2.6).
//!
//! What a client sent is never written as it came: in log lines unsafe bytes become `#XX`
//! (manual 8.6), in messages those that no header may hold become `%XX`.

mod encoded;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use config::expr::{Flags, Format, Part, Sample, Variable};
use wire::head::RequestHead;

use crate::dates;
use crate::sample::{self, Facts};
use crate::value::Value;

/// What only the engine knows of a session: times, counters, the server.
pub trait Variables {
    /// Writes a variable as plain text, with [`number`], [`address`] and the like where its type
    /// has a hexadecimal form. Quotes and escapes are added by the caller. `false`: unknown here,
    /// which is written as the facts have it, else as an empty value.
    fn write(&self, variable: Variable, flags: Flags, out: &mut Vec<u8>) -> bool;

    /// `disable-l7-retry`: the request is not to be sent a second time. Nothing to do for who never
    /// sends it.
    fn disable_retries(&self) {}
}

/// Knows nothing: everything comes from the facts.
#[derive(Debug, Clone, Copy)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn write(&self, _: Variable, _: Flags, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// Writes a format's parts one after the other to the end of `out`.
pub fn render(format: &Format, facts: &Facts<'_>, variables: &dyn Variables, out: &mut Vec<u8>) {
    if let Some(encoding) = format.encoding {
        return encoded::object(format, encoding, facts, variables, out);
    }
    // Lines do not begin with a space either.
    let mut after_space = true;
    for part in &format.parts {
        let before = out.len();
        match part {
            Part::Text(text) => match text.as_bytes() {
                // What stands between two variables.
                [byte] => out.push(*byte),
                text => out.extend_from_slice(text),
            },
            Part::Space => {
                if !after_space {
                    out.push(b' ');
                }
                after_space = true;
                continue;
            }
            Part::Variable(_, flags) | Part::Sample(_, flags) if flags.encoding.is_some() => {
                if let Some(encoding) = flags.encoding {
                    encoded::part(part, encoding, flags.binary, facts, variables, out);
                }
            }
            Part::Variable(variable, flags) => {
                write_variable(*variable, *flags, facts, variables, out);
                // As in HAProxy an empty variable stands between two spaces, an empty list of captures
                // does not.
                if !is_list(*variable) {
                    after_space = false;
                    continue;
                }
            }
            Part::Sample(sample, flags) => write_sample(sample, *flags, format.log, facts, out),
        }
        after_space &= out.len() == before;
    }
}

/// Whether it is a list of captured headers.
fn is_list(variable: Variable) -> bool {
    use Variable as V;
    matches!(variable, V::hr | V::hrl | V::hs | V::hsl)
}

fn write_sample(sample: &Sample, flags: Flags, log: bool, facts: &Facts<'_>, out: &mut Vec<u8>) {
    let value = sample::eval(sample, facts);
    let text = value.map(Value::into_bytes).unwrap_or_default();
    if flags.binary {
        return out.extend_from_slice(&text);
    }
    if !log {
        // as HAProxy, which ignores +Q in messages
        return encode(&text, &MESSAGE, flags.escape, out);
    }
    framed(&text, &LOG_SAMPLE, flags, out);
}

/// Writes a text with its quotes, or "-" where it is empty and must not be.
fn framed(text: &[u8], encoding: &Encoding, flags: Flags, out: &mut Vec<u8>) {
    match (flags.quote, text.is_empty()) {
        (true, _) => {
            out.push(b'"');
            encode(text, encoding, flags.escape, out);
            out.push(b'"');
        }
        (false, true) if flags.mandatory => out.push(b'-'),
        (false, _) => encode(text, encoding, flags.escape, out),
    }
}

fn write_variable(
    variable: Variable,
    flags: Flags,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    out: &mut Vec<u8>,
) {
    let class = match class(variable) {
        // Hexadecimal digits are no text.
        Class::Address if flags.hex => Class::Port,
        Class::Address => Class::Text,
        class => class,
    };
    if class == Class::Plain {
        write_plain(variable, flags, facts, variables, out);
        return;
    }
    let framed = class != Class::Port;
    let quote = flags.quote && framed;
    if quote {
        out.push(b'"');
    }
    let start = out.len();
    write_plain(variable, flags, facts, variables, out);
    if out.len() == start {
        match class {
            Class::Port if flags.quote => out.extend_from_slice(b"\"\""),
            // A target may well be without them: then HAProxy leaves them empty.
            _ if matches!(variable, Variable::HQ | Variable::HPO) => {}
            _ if flags.mandatory && !quote => out.push(b'-'),
            _ => {}
        }
    } else if framed {
        let encoding = match class {
            Class::Url => &LOG_URL,
            Class::Header => &LOG_HEADER,
            _ => &AS_IT_IS,
        };
        encode_in_place(start, encoding, flags.escape, out);
    }
    if quote {
        out.push(b'"');
    }
}

/// Writes a variable with nothing around it.
fn write_plain(
    variable: Variable,
    flags: Flags,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    if !variables.write(variable, flags, out) {
        out.truncate(start);
        from_facts(variable, flags, facts, out);
    }
}

/// Writes captured headers: `{one|two}`, or with `clf` one after the other, each by itself. A value
/// that is missing is empty.
pub fn captures<'v>(
    values: impl Iterator<Item = Option<&'v [u8]>>,
    clf: bool,
    flags: Flags,
    out: &mut Vec<u8>,
) {
    let mut values = values.peekable();
    if clf {
        for (index, value) in values.enumerate() {
            out.extend((index > 0).then_some(b' '));
            framed(value.unwrap_or_default(), &LOG_HEADER, flags, out);
        }
        return;
    }
    if values.peek().is_none() {
        return;
    }
    out.extend(flags.quote.then_some(b'"'));
    out.push(b'{');
    for (index, value) in values.enumerate() {
        out.extend((index > 0).then_some(b'|'));
        encode(value.unwrap_or_default(), &LOG_HEADER, flags.escape, out);
    }
    out.push(b'}');
    out.extend(flags.quote.then_some(b'"'));
}

/// Encodes what stands behind `start`. Nearly always there is nothing to do.
fn encode_in_place(start: usize, encoding: &Encoding, escape: bool, out: &mut Vec<u8>) {
    let changes =
        |byte: &u8| encoding.is_unsafe[usize::from(*byte)] || (escape && b"\"\\]".contains(byte));
    if (encoding.changes || escape) && out[start..].iter().any(changes) {
        let text = out.split_off(start);
        encode(&text, encoding, escape, out);
    }
}

/// How a variable is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A number, a date, a list: never quoted, never "-".
    Plain,
    /// A number that may be missing: then quoted or "-".
    Port,
    /// An address.
    Address,
    /// A text of ours.
    Text,
    /// A text from the request line.
    Url,
    /// A text from a header.
    Header,
}

fn class(variable: Variable) -> Class {
    use Variable as V;
    match variable {
        V::HM | V::HP | V::HPO | V::HQ | V::HU | V::HV | V::r => Class::Url,
        V::CC | V::CS => Class::Header,
        V::bi | V::ci | V::fi | V::si => Class::Address,
        V::H | V::ID | V::OG | V::b | V::f | V::ft | V::s | V::sslc | V::sslv => Class::Text,
        V::bp | V::sp => Class::Port,
        _ => Class::Plain,
    }
}

/// Variables that the facts alone can tell.
fn from_facts(variable: Variable, flags: Flags, facts: &Facts<'_>, out: &mut Vec<u8>) {
    use Variable as V;
    let (src, dst) = (facts.connection.source(), facts.connection.destination());
    let tls = facts.connection.tls.as_ref();
    match variable {
        V::ci => src.iter().for_each(|src| address(src.ip(), flags, out)),
        V::cp => src.iter().for_each(|src| port(src.port(), flags, out)),
        V::fi => dst.iter().for_each(|dst| address(dst.ip(), flags, out)),
        V::fp => dst.iter().for_each(|dst| port(dst.port(), flags, out)),
        V::f => out.extend_from_slice(facts.frontend.as_bytes()),
        V::ft => {
            out.extend_from_slice(facts.frontend.as_bytes());
            out.extend(tls.map(|_| b'~'));
        }
        V::b => out.extend_from_slice(facts.backend.unwrap_or(facts.frontend).as_bytes()),
        V::sslv => out.extend_from_slice(tls.map_or("", |tls| tls.version()).as_bytes()),
        V::sslc => out.extend_from_slice(tls.map_or("", |tls| tls.cipher()).as_bytes()),
        V::ST => {
            let status = facts.response.map_or(0, |head| head.status.into());
            number(status, Flags::default(), out);
        }
        V::T | V::trg => dates::log_utc(facts.now, out),
        V::Tl | V::trl => dates::log_local(facts.now, out),
        V::t | V::tr => dates::log_millis(facts.now, out),
        V::Ts => number(i64::try_from(facts.now.as_secs()).unwrap_or(0), flags, out),
        V::ms => {
            let millis = format!("{:03}", facts.now.subsec_millis());
            out.extend_from_slice(millis.as_bytes());
        }
        variable => {
            if let Some(request) = facts.request {
                of_request(variable, request, out);
            }
        }
    }
}

fn of_request(variable: Variable, request: &RequestHead, out: &mut Vec<u8>) {
    let version = request.version.as_str().as_bytes();
    match variable {
        Variable::HM => out.extend_from_slice(request.method.as_bytes()),
        Variable::HV => out.extend_from_slice(version),
        Variable::HU => out.extend_from_slice(request.target()),
        Variable::HP => {
            let target = request.target();
            let end = memchr::memchr(b'?', target).unwrap_or(target.len());
            out.extend_from_slice(&target[..end]);
        }
        Variable::HPO => out.extend_from_slice(request.path()),
        Variable::HQ => {
            if let Some(query) = request.query() {
                out.push(b'?');
                out.extend_from_slice(query);
            }
        }
        Variable::r => {
            out.extend_from_slice(request.method.as_bytes());
            out.push(b' ');
            out.extend_from_slice(request.target());
            out.push(b' ');
            out.extend_from_slice(version);
        }
        _ => {}
    }
}

/// Whether a text from a request line stands in a log line as it came.
pub fn stays_in_log(text: &[u8]) -> bool {
    !text
        .iter()
        .any(|byte| LOG_URL.is_unsafe[usize::from(*byte)])
}

/// Writes a number: decimal, or with `+X` at least four hexadecimal digits.
pub fn number(number: i64, flags: Flags, out: &mut Vec<u8>) {
    if flags.hex {
        let written = write!(out, "{number:04X}");
        debug_assert!(written.is_ok(), "a Vec takes all that is written");
    } else if let Ok(number) = u64::try_from(number) {
        decimal(number, out);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// Writes a number in decimal digits. Nearly all in log lines have one digit or two.
#[inline]
pub fn decimal(number: u64, out: &mut Vec<u8>) {
    match number {
        0..10 => out.push(b'0' + number as u8),
        10..100 => out.extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]),
        _ => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

/// Writes a port, as [`number`].
pub fn port(port: u16, flags: Flags, out: &mut Vec<u8>) {
    number(port.into(), flags, out);
}

/// Writes an address: as usual, or with `+X` its bytes in hexadecimal.
pub fn address(address: IpAddr, flags: Flags, out: &mut Vec<u8>) {
    let written = match (flags.hex, address) {
        (false, IpAddr::V4(address)) => {
            dotted(address, out);
            Ok(())
        }
        (false, IpAddr::V6(address)) => write!(out, "{address}"),
        (true, IpAddr::V4(address)) => write!(out, "{:08X}", address.to_bits()),
        (true, IpAddr::V6(address)) => write!(out, "{:032X}", address.to_bits()),
    };
    debug_assert!(written.is_ok(), "a Vec takes all that is written");
}

/// An IPv4 address as usual, without the formatter: every log line and most forwarded heads have one.
pub fn dotted(address: Ipv4Addr, out: &mut Vec<u8>) {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        decimal(octet.into(), out);
    }
}

/// Which bytes are written as two hexadecimal digits, and behind which sign.
struct Encoding {
    sign: u8,
    is_unsafe: [bool; 256],
    /// Whether any byte is.
    changes: bool,
}

impl Encoding {
    /// Nothing is encoded.
    const fn none() -> Self {
        Self {
            sign: b'#',
            is_unsafe: [false; 256],
            changes: false,
        }
    }

    /// Control characters, those of `others`, and where it is `ascii` what is none.
    const fn of(sign: u8, ascii: bool, others: &[u8]) -> Self {
        let mut is_unsafe = [false; 256];
        let mut byte = 0;
        while byte < is_unsafe.len() {
            is_unsafe[byte] = byte < 32 || byte == 127 || (ascii && byte > 127);
            byte += 1;
        }
        let mut at = 0;
        while at < others.len() {
            is_unsafe[others[at] as usize] = true;
            at += 1;
        }
        Self {
            sign,
            is_unsafe,
            changes: true,
        }
    }

    /// `byte` may stand as it is after all.
    const fn but(mut self, byte: u8) -> Self {
        self.is_unsafe[byte as usize] = false;
        self
    }
}

/// Nothing is encoded.
static AS_IT_IS: Encoding = Encoding::none();

/// What a client sent in its request line, in a log line (manual 8.6).
static LOG_URL: Encoding = Encoding::of(b'#', true, b"\"#");

/// What a client or node sent in a header, in a log line.
static LOG_HEADER: Encoding = Encoding::of(b'#', true, b"\"#{|}");

/// A sample in a log line. HAProxy writes it raw; here a client cannot begin a new line with it.
static LOG_SAMPLE: Encoding = Encoding::of(b'#', false, b"");

/// A sample in a header or body: what a field value may not hold (RFC 9110 §5.5).
static MESSAGE: Encoding = Encoding::of(b'%', false, b"").but(b'\t');

fn encode(text: &[u8], encoding: &Encoding, escape: bool, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if encoding.is_unsafe[usize::from(byte)] {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[encoding.sign, DIGITS[high], DIGITS[low]]);
        } else {
            if escape && b"\"\\]".contains(&byte) {
                out.push(b'\\');
            }
            out.push(byte);
        }
    }
}
