//! Values as bytes, each described once for both directions: what is written is read by the same lines. Foreign
//! input when it is read: every length has a bound, and whatever does not fit is [`Garbled`].
//!
//! Numbers are eight bytes, little-endian; texts and lists have their length before them; what may be missing has
//! a number before it that says whether it is there.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use routing::sample::Value;

/// A text, at most: request lines and headers are far shorter, and what a tunnel keeps is one scratch buffer and
/// what came early.
pub(crate) const BYTES_MAX: usize = 1 << 20;

/// Entries of a list, at most: captures, variables, counters of one session.
pub(crate) const ENTRIES_MAX: usize = 4096;

/// It is no message of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Garbled;

impl From<Garbled> for std::io::Error {
    fn from(_: Garbled) -> Self {
        Self::other("a message is not as this version writes it")
    }
}

/// One direction: values pass by, and are written down or filled in.
pub(crate) trait Pass: Sized {
    /// A number.
    fn number(&mut self, value: &mut u64) -> Result<(), Garbled>;

    /// Any bytes, [`BYTES_MAX`] at most.
    fn bytes(&mut self, value: &mut Vec<u8>) -> Result<(), Garbled>;

    /// The same of a whole message inside another one: as long as that may be.
    fn long(&mut self, value: &mut Vec<u8>) -> Result<(), Garbled>;

    /// A smaller number.
    fn small<T: Copy + Into<u64> + TryFrom<u64>>(&mut self, value: &mut T) -> Result<(), Garbled> {
        let mut number = (*value).into();
        self.number(&mut number)?;
        *value = T::try_from(number).map_err(|_| Garbled)?;
        Ok(())
    }

    /// Yes or no.
    fn flag(&mut self, value: &mut bool) -> Result<(), Garbled> {
        let mut number = u64::from(*value);
        self.number(&mut number)?;
        *value = match number {
            0 => false,
            1 => true,
            _ => return Err(Garbled),
        };
        Ok(())
    }

    /// A name.
    fn text(&mut self, value: &mut String) -> Result<(), Garbled> {
        let mut bytes = std::mem::take(value).into_bytes();
        self.bytes(&mut bytes)?;
        *value = String::from_utf8(bytes).map_err(|_| Garbled)?;
        Ok(())
    }

    /// What may be missing.
    fn option<T: Default>(
        &mut self,
        value: &mut Option<T>,
        one: impl FnOnce(&mut Self, &mut T) -> Result<(), Garbled>,
    ) -> Result<(), Garbled> {
        let mut there = value.is_some();
        self.flag(&mut there)?;
        if !there {
            *value = None;
            return Ok(());
        }
        one(self, value.get_or_insert_default())
    }

    /// Several.
    fn list<T: Default>(
        &mut self,
        values: &mut Vec<T>,
        mut one: impl FnMut(&mut Self, &mut T) -> Result<(), Garbled>,
    ) -> Result<(), Garbled> {
        let mut count = values.len() as u64;
        self.number(&mut count)?;
        let count = usize::try_from(count).map_err(|_| Garbled)?;
        if count > ENTRIES_MAX {
            return Err(Garbled);
        }
        for at in 0..count {
            if at == values.len() {
                values.push(T::default());
            }
            one(self, &mut values[at])?;
        }
        values.truncate(count);
        Ok(())
    }

    /// An address.
    fn address(&mut self, value: &mut Option<SocketAddr>) -> Result<(), Garbled> {
        let mut text = value.as_ref().map(ToString::to_string);
        self.option(&mut text, Self::text)?;
        let read = text.map(|text| text.parse()).transpose();
        *value = read.map_err(|_| Garbled)?;
        Ok(())
    }

    /// A time that may be without end.
    fn time(&mut self, value: &mut Option<Duration>) -> Result<(), Garbled> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut number = value.map(micros);
        self.option(&mut number, Self::number)?;
        *value = number.map(Duration::from_micros);
        Ok(())
    }

    /// A value of rules.
    fn value(&mut self, value: &mut Value<'static>) -> Result<(), Garbled> {
        let (mut kind, mut bytes) = match value {
            Value::Bool(yes) => (0u64, vec![u8::from(*yes)]),
            Value::Int(number) => (1, number.to_le_bytes().to_vec()),
            Value::Addr(address) => (2, address.to_string().into_bytes()),
            Value::Str(text) => (3, text.to_vec()),
            Value::Bin(bytes) => (4, bytes.to_vec()),
            Value::Method(text) => (5, text.to_vec()),
        };
        self.number(&mut kind)?;
        self.bytes(&mut bytes)?;
        *value = match kind {
            0 => Value::Bool(bytes == [1]),
            1 => Value::Int(i64::from_le_bytes(bytes.try_into().map_err(|_| Garbled)?)),
            2 => {
                let text = std::str::from_utf8(&bytes).map_err(|_| Garbled)?;
                Value::Addr(text.parse::<IpAddr>().map_err(|_| Garbled)?)
            }
            3 => Value::Str(Cow::Owned(bytes)),
            4 => Value::Bin(Cow::Owned(bytes)),
            5 => Value::Method(Cow::Owned(bytes)),
            _ => return Err(Garbled),
        };
        Ok(())
    }
}

/// Values are written down. One that is too long for a reader is [`Garbled`] here already.
#[derive(Default)]
pub(crate) struct Writing(pub(crate) Vec<u8>);

impl Pass for Writing {
    fn number(&mut self, value: &mut u64) -> Result<(), Garbled> {
        self.0.extend(value.to_le_bytes());
        Ok(())
    }

    fn bytes(&mut self, value: &mut Vec<u8>) -> Result<(), Garbled> {
        match value.len() {
            ..=BYTES_MAX => self.long(value),
            _ => Err(Garbled),
        }
    }

    fn long(&mut self, value: &mut Vec<u8>) -> Result<(), Garbled> {
        self.number(&mut (value.len() as u64))?;
        self.0.extend_from_slice(value);
        Ok(())
    }
}

/// Values are filled in.
pub(crate) struct Reading<'a>(pub(crate) &'a [u8]);

impl Reading<'_> {
    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), Garbled> {
        self.0.is_empty().then_some(()).ok_or(Garbled)
    }
}

impl Pass for Reading<'_> {
    fn number(&mut self, value: &mut u64) -> Result<(), Garbled> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Garbled)?;
        self.0 = rest;
        *value = u64::from_le_bytes(*bytes);
        Ok(())
    }

    fn bytes(&mut self, value: &mut Vec<u8>) -> Result<(), Garbled> {
        self.long(value)?;
        (value.len() <= BYTES_MAX).then_some(()).ok_or(Garbled)
    }

    fn long(&mut self, value: &mut Vec<u8>) -> Result<(), Garbled> {
        let mut length = 0;
        self.number(&mut length)?;
        // It is part of what was read, so that this is its bound.
        let length = usize::try_from(length).map_err(|_| Garbled)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Garbled)?;
        self.0 = rest;
        *value = bytes.to_vec();
        Ok(())
    }
}
