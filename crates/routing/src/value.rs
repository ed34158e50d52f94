//! What a sample has become: a typed value, and the casts between types (manual 7.1).

use std::borrow::Cow;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// The value of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A boolean.
    Bool(bool),
    /// A number.
    Int(i64),
    /// An address.
    Addr(IpAddr),
    /// A text; any bytes, no encoding.
    Str(Cow<'a, [u8]>),
    /// A block of bytes.
    Bin(Cow<'a, [u8]>),
    /// A request method.
    Method(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// A text that is borrowed.
    pub fn text(bytes: &'a [u8]) -> Self {
        Self::Str(Cow::Borrowed(bytes))
    }

    /// A text that was made.
    pub fn made(bytes: Vec<u8>) -> Self {
        Self::Str(Cow::Owned(bytes))
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Int(number) => Value::Int(number),
            Self::Addr(address) => Value::Addr(address),
            Self::Str(text) => Value::Str(text.into_owned().into()),
            Self::Bin(bytes) => Value::Bin(bytes.into_owned().into()),
            Self::Method(text) => Value::Method(text.into_owned().into()),
        }
    }

    /// As a text. Bytes end at their first NUL, as texts do.
    pub fn to_text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Str(text) | Self::Method(text) => Cow::Borrowed(text),
            Self::Bin(bytes) => Cow::Borrowed(before_nul(bytes)),
            Self::Bool(value) => Cow::Borrowed(if *value { b"1" } else { b"0" }),
            Self::Int(number) => {
                let mut buffer = itoa::Buffer::new();
                Cow::Owned(buffer.format(*number).as_bytes().to_vec())
            }
            Self::Addr(address) => {
                let mut text = Vec::with_capacity(15);
                let written = write!(text, "{address}");
                debug_assert!(written.is_ok(), "a Vec takes all that is written");
                Cow::Owned(text)
            }
        }
    }

    /// The same, keeping what is borrowed.
    pub fn into_text(self) -> Cow<'a, [u8]> {
        match self {
            Self::Str(text) | Self::Method(text) => text,
            Self::Bin(Cow::Borrowed(bytes)) => Cow::Borrowed(before_nul(bytes)),
            other => Cow::Owned(other.to_text().into_owned()),
        }
    }

    /// As bytes: all of them.
    pub fn into_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Self::Bin(bytes) => bytes,
            other => other.into_text(),
        }
    }

    /// As a number. A text is read up to its first character that is no digit, so "12 px" is 12
    /// and "px" is 0; an empty one is none.
    pub fn to_int(&self) -> Option<i64> {
        match self {
            Self::Bool(value) => Some(i64::from(*value)),
            Self::Int(number) => Some(*number),
            Self::Addr(IpAddr::V4(address)) => Some(i64::from(address.to_bits())),
            Self::Addr(IpAddr::V6(_)) => None,
            Self::Str(text) if text.is_empty() => None,
            Self::Str(text) => Some(leading_int(text)),
            Self::Bin(_) | Self::Method(_) => None,
        }
    }

    /// As a boolean: whether the number is not zero.
    pub fn to_bool(&self) -> Option<bool> {
        self.to_int().map(|number| number != 0)
    }

    /// As an address; a number is an IPv4 one.
    pub fn to_addr(&self) -> Option<IpAddr> {
        match self {
            Self::Addr(address) => Some(*address),
            Self::Int(number) => {
                let bits = u32::try_from(*number).ok()?;
                Some(IpAddr::V4(Ipv4Addr::from_bits(bits)))
            }
            Self::Str(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        }
    }
}

fn before_nul(bytes: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    &bytes[..end]
}

/// The number a text begins with, or 0; it stops at the bounds of 64 bits.
pub(crate) fn leading_int(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0i64, |number, digit| {
        let digit = i64::from(digit - b'0');
        let digit = if negative { -digit } else { digit };
        number.saturating_mul(10).saturating_add(digit)
    })
}
