//! What converters do to a value (manual 7.3.1).

mod crypto;
mod date;
mod encoding;
mod fix;
mod forwarded;
mod hashing;
mod json;
mod map;
mod mqtt;
mod protobuf;
mod state;
mod text;
mod variable;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::expr::{
    Converter, Message, Occasion, Operator, ProcessFigure, SessionFigure, Split, When, embedded_v4,
};

use crate::condition;
use crate::dates;
use crate::fields::split_port;
use crate::hex;
use crate::process::Asked;
use crate::sample::Facts;
use crate::value::{Value, leading_int};
use crate::variables;

/// Longest text a converter may make, bytes. Chains such as `hex,hex,hex` and `regsub` with `g`
/// grow what a client sends; HAProxy's bound is its buffer (16 kB), ours leaves room for larger ones.
const MADE_LEN_MAX: usize = 64 * 1024;

/// Applies converters one after the other; `None` as soon as one has no result.
pub(crate) fn all<'a>(
    converters: &'a [Converter],
    value: Value<'a>,
    facts: &Facts<'_>,
) -> Option<Value<'a>> {
    converters
        .iter()
        .try_fold(value, |value, converter| apply(converter, value, facts))
}

fn apply<'a>(converter: &'a Converter, value: Value<'a>, facts: &Facts<'_>) -> Option<Value<'a>> {
    Some(match converter {
        Converter::Map(it) => map::look(it, &value)?,
        Converter::SetVar(name, when) => {
            variables::assign(facts.memory, name, when, value.clone());
            value
        }
        Converter::UnsetVar(name) => {
            facts.memory.set_variable(name, None);
            value
        }
        Converter::Bool => Value::Bool(value.to_bool()?),
        Converter::Not => Value::Bool(!value.to_bool()?),
        Converter::Odd => Value::Bool(value.to_int()? & 1 == 1),
        Converter::Even => Value::Bool(value.to_int()? & 1 == 0),
        Converter::Negate => Value::Int(value.to_int()?.saturating_neg()),
        Converter::Complement => Value::Int(!value.to_int()?),
        Converter::Arithmetic(operator, operand) => {
            let operand = variable::int(operand, facts)?;
            Value::Int(calculate(*operator, value.to_int()?, operand))
        }
        Converter::Choose(yes, no) => {
            let chosen = if value.to_bool()? { yes } else { no };
            Value::text(chosen.as_bytes())
        }
        Converter::HttpDate { offset, unit } => {
            let at = value.to_int()?.saturating_add(*offset);
            let mut text = Vec::with_capacity(dates::HTTP_LEN);
            dates::http(date::since_1970(at, *unit)?, &mut text);
            Value::made(text)
        }
        Converter::IpMask(v4, v6) => Value::Addr(masked(value.to_addr()?, *v4, *v6)?),
        Converter::Table(lookup) => {
            let found = facts
                .memory
                .tables()
                .ask_key(&lookup.table, &value, lookup.ask)?;
            found.or(lookup.otherwise.map(Value::Int))?
        }
        Converter::Length => Value::Int(value.to_text().len() as i64),
        Converter::PassOn => value,
        Converter::When(when) => return holds(when, facts).then_some(value),
        Converter::NetworkOrder => {
            let number = value.to_int()? as u32;
            Value::Bin(number.to_be_bytes().to_vec().into())
        }
        Converter::VerifyError => {
            let number = value.to_int()?;
            match config::verification_error(number) {
                Some(name) => Value::text(name.as_bytes()),
                None => Value::made(number.to_string().into()),
            }
        }
        Converter::ReadDate => Value::Int(date::read(&value.to_text())?),
        Converter::Time(format) => Value::made(date::written(format, value.to_int()?)?),
        Converter::Hash(hash) => hashing::hash(*hash, &value.into_bytes()),
        Converter::Forwarded(what) => return forwarded::apply(*what, &value),
        Converter::Message(message) => return of_message(message, &value.into_bytes()),
        Converter::State(what) => return state::apply(*what, &value.to_text(), facts),
        Converter::Crypto(crypto) => return crypto::apply(crypto, value, facts),
        Converter::WithVariable(converter) => return variable::apply(converter, value, facts),
        Converter::Text(converter) => return text::apply(converter, value.into_text(), facts),
        Converter::Encoding(encoding) => return encoding::apply(encoding, &value.into_bytes()),
        Converter::Json(input) => return bounded(json::escaped(*input, &value.to_text())?),
        Converter::JsonQuery(query) => return json::query(query, &value.to_text()),
        Converter::Bytes(offset, length) => {
            let offset = usize::try_from(variable::int(offset, facts)?).ok()?;
            let bytes = value.into_bytes();
            let end = match length {
                Some(length) => {
                    offset.saturating_add(usize::try_from(variable::int(length, facts)?).ok()?)
                }
                None => bytes.len(),
            };
            Value::Bin(part(bytes, offset..end))
        }
        Converter::PortOnly => Value::Int(port(&value.to_text())),
        Converter::Hex2Int => Value::Int(hex_int(&value.to_text())?),
        Converter::Hex | Converter::Base64 | Converter::Base64Decode => {
            return encode(converter, value);
        }
        converter => return change(converter, value.into_text()),
    })
}

fn calculate(operator: Operator, left: i64, right: i64) -> i64 {
    match operator {
        Operator::Add => left.saturating_add(right),
        Operator::Sub => left.saturating_sub(right),
        Operator::Mul => left.saturating_mul(right),
        Operator::Div if right == 0 => i64::MAX,
        Operator::Div => left.saturating_div(right),
        Operator::Mod => left.checked_rem(right).unwrap_or(0),
        Operator::And => left & right,
        Operator::Or => left | right,
        Operator::Xor => left ^ right,
    }
}

fn holds(when: &When, facts: &Facts<'_>) -> bool {
    let asked = match &when.what {
        Occasion::Acl(acl) => return condition::is_true(acl, facts) != when.negated,
        Occasion::Error => Asked::Session(SessionFigure::HasFailed),
        Occasion::Forwarded => Asked::Session(SessionFigure::IsForwarded),
        Occasion::Processed => Asked::Session(SessionFigure::IsProcessed),
        Occasion::Service => Asked::Session(SessionFigure::IsOfService),
        Occasion::Stopping => Asked::Process(ProcessFigure::Stopping),
    };
    let answer = facts.process.tell(asked).and_then(|value| value.to_bool());
    answer.unwrap_or(false) != when.negated
}

fn of_message(message: &Message, bytes: &[u8]) -> Option<Value<'static>> {
    match message {
        Message::MqttIsValid => mqtt::is_valid(bytes).map(Value::Bool),
        Message::Mqtt(packet, field) => mqtt::field(bytes, *packet, *field),
        Message::FixIsValid => fix::is_valid(bytes).map(Value::Bool),
        Message::Fix(tag) => Some(Value::Bin(fix::value(bytes, *tag)?.to_vec().into())),
        Message::Protobuf(wanted) => protobuf::field(wanted, bytes),
    }
}

/// An IPv6 address that embeds an IPv4 one is masked as that.
fn masked(address: IpAddr, v4: Ipv4Addr, v6: Option<Ipv6Addr>) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => (address & v4).into(),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inner) => (inner & v4).into(),
            None => (address & v6?).into(),
        },
    })
}

fn port(host: &[u8]) -> i64 {
    let (_, port) = split_port(host);
    port.map_or(0, |digits| leading_int(digits).max(0))
}

fn hex_int(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| i64::from_str_radix(text, 16).ok()).flatten()
}

/// Converters between bytes and texts.
fn encode<'a>(converter: &'a Converter, value: Value<'a>) -> Option<Value<'a>> {
    let bytes = value.into_bytes();
    match converter {
        Converter::Base64Decode => {
            let decoded = STANDARD.decode(&*bytes).ok()?;
            Some(Value::Bin(decoded.into()))
        }
        Converter::Hex => bounded(hex::upper(&bytes).into_bytes()),
        Converter::Base64 => bounded(STANDARD.encode(&*bytes).into_bytes()),
        _ => None,
    }
}

fn bounded<'a>(text: Vec<u8>) -> Option<Value<'a>> {
    (text.len() <= MADE_LEN_MAX).then(|| Value::made(text))
}

/// A part of a text, borrowed where the whole is. The end may lie behind the text.
fn part(text: Cow<'_, [u8]>, range: Range<usize>) -> Cow<'_, [u8]> {
    let end = range.end.min(text.len());
    let range = range.start.min(end)..end;
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(mut text) => {
            text.truncate(range.end);
            text.drain(..range.start);
            Cow::Owned(text)
        }
    }
}

/// Converters from text to text.
fn change<'a>(converter: &'a Converter, text: Cow<'a, [u8]>) -> Option<Value<'a>> {
    match converter {
        Converter::Lower if text.iter().any(u8::is_ascii_uppercase) => {
            Some(Value::made(text.to_ascii_lowercase()))
        }
        Converter::Upper if text.iter().any(u8::is_ascii_lowercase) => {
            Some(Value::made(text.to_ascii_uppercase()))
        }
        Converter::Field(split) => {
            let range = pieces(&text, split, false)?;
            Some(Value::Str(part(text, range)))
        }
        Converter::Word(split) => {
            let range = pieces(&text, split, true)?;
            Some(Value::Str(part(text, range)))
        }
        Converter::TrimStart(characters) => {
            let kept = |byte: &u8| !characters.as_bytes().contains(byte);
            let start = text.iter().position(kept).unwrap_or(text.len());
            Some(Value::Str(part(text, start..usize::MAX)))
        }
        Converter::TrimEnd(characters) => {
            let kept = |byte: &u8| !characters.as_bytes().contains(byte);
            let end = text.iter().rposition(kept).map_or(0, |at| at + 1);
            Some(Value::Str(part(text, 0..end)))
        }
        Converter::UrlDecode(in_form) => url_decode(&text, *in_form).map(Value::made),
        Converter::UrlEncode => bounded(url_encode(&text)),
        Converter::HostOnly => Some(Value::made(split_port(&text).0.to_ascii_lowercase())),
        Converter::RegSub {
            regex,
            replacement,
            all,
        } => substitute(regex, replacement.as_bytes(), *all, &text).map(Value::made),
        _ => Some(Value::Str(text)), // nothing to change
    }
}

/// `None` where a percent sign is not followed by two hexadecimal digits.
fn url_decode(text: &[u8], in_form: bool) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut in_query = in_form;
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'+' if in_query => b' ',
            b'%' => {
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                (high * 16 + low) as u8
            }
            byte => {
                in_query |= byte == b'?';
                byte
            }
        });
    }
    Some(decoded)
}

/// Everything but letters, digits and `-._~` is encoded (RFC 3986 §2.3).
fn url_encode(text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte);
        } else {
            encoded.push(b'%');
            encoded.extend(hex::upper(&[byte]).into_bytes());
        }
    }
    encoded
}

/// Where the wanted fields (or words, without empty ones) are. Counting from the end is counting
/// from the start of the text turned round.
fn pieces(text: &[u8], split: &Split, words: bool) -> Option<Range<usize>> {
    let is_delimiter = |byte: u8| split.delimiters.as_bytes().contains(&byte);
    let index = split.index.unsigned_abs();
    let find = |at: &dyn Fn(usize) -> bool| {
        if words {
            find_words(text.len(), at, index, split.count)
        } else {
            find_fields(text.len(), at, index, split.count)
        }
    };
    if split.index > 0 {
        return find(&|at| is_delimiter(text[at]));
    }
    let turned = find(&|at| is_delimiter(text[text.len() - 1 - at]))?;
    Some(text.len() - turned.end..text.len() - turned.start)
}

fn find_fields(
    len: usize,
    is_delimiter: &dyn Fn(usize) -> bool,
    index: u64,
    count: u64,
) -> Option<Range<usize>> {
    let mut start = 0;
    for _ in 1..index {
        start = (start..len).find(|at| is_delimiter(*at))? + 1;
    }
    let mut end = len;
    let mut from = start;
    for taken in 1..=count {
        let Some(at) = (from..len).find(|at| is_delimiter(*at)) else {
            end = len;
            break;
        };
        from = at + 1;
        if taken == count {
            end = at;
        }
    }
    Some(start..end)
}

fn find_words(
    len: usize,
    is_delimiter: &dyn Fn(usize) -> bool,
    index: u64,
    count: u64,
) -> Option<Range<usize>> {
    let word_from = |from: usize| (from..len).find(|at| !is_delimiter(*at));
    let end_from = |from: usize| (from..len).find(|at| is_delimiter(*at)).unwrap_or(len);
    let mut start = word_from(0)?;
    for _ in 1..index {
        start = word_from(end_from(start))?;
    }
    if count == 0 {
        return Some(start..len);
    }
    let mut end = end_from(start);
    for _ in 1..count {
        match word_from(end) {
            Some(next) => end = end_from(next),
            None => return Some(start..len), // too few: all there is, as HAProxy
        }
    }
    Some(start..end)
}

/// What `regsub` makes of a text; `None` when it grows beyond all measure.
fn substitute(
    regex: &regex::bytes::Regex,
    replacement: &[u8],
    all: bool,
    text: &[u8],
) -> Option<Vec<u8>> {
    let mut made = Vec::with_capacity(text.len());
    let mut copied = 0;
    let matches_max = if all { usize::MAX } else { 1 };
    for captures in regex.captures_iter(text).take(matches_max) {
        let whole = captures.get(0)?;
        made.extend_from_slice(&text[copied..whole.start()]);
        expand(replacement, &captures, &mut made);
        copied = whole.end();
        if made.len() > MADE_LEN_MAX {
            return None;
        }
    }
    made.extend_from_slice(&text[copied..]);
    Some(made)
}

/// Writes a replacement: `\0` to `\9` are groups, `\xHH` is a byte, a backslash before anything else is dropped.
pub(crate) fn expand(
    replacement: &[u8],
    captures: &regex::bytes::Captures<'_>,
    made: &mut Vec<u8>,
) {
    let hex = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut bytes = replacement.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            made.push(byte);
            continue;
        }
        match bytes.next() {
            Some(digit) if digit.is_ascii_digit() => {
                let group = captures.get(usize::from(digit - b'0'));
                made.extend_from_slice(group.map_or(&b""[..], |group| group.as_bytes()));
            }
            Some(b'x') => {
                let mut ahead = bytes.clone();
                match (hex(ahead.next()), hex(ahead.next())) {
                    (Some(high), Some(low)) => {
                        made.push((high * 16 + low) as u8);
                        bytes = ahead;
                    }
                    _ => made.push(b'x'),
                }
            }
            Some(&other) => made.push(other),
            None => made.push(b'\\'),
        }
    }
}
