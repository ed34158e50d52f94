//! The first packets of MQTT, 3.1 to 5.0 (docs.oasis-open.org/mqtt; manual 7.3.1,
//! "mqtt_field_value").

use std::io::Write as _;

use config::expr::{MqttField, MqttPacket};

use crate::value::Value;

/// Bytes that are read one after the other; `None` where there are too few.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A block behind its length.
    fn block(&mut self) -> Option<&'b [u8]> {
        let len = self.short()?;
        self.take(len.into())
    }

    /// A number of seven bits a byte, in four bytes at most.
    fn variable(&mut self) -> Option<usize> {
        let mut value = 0;
        for at in 0..4 {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// What stands in properties of version 5, behind their length.
    fn properties(&mut self) -> Option<Vec<(u8, Property<'b>)>> {
        let len = self.variable()?;
        let mut inner = Reader(self.take(len)?);
        let mut all = Vec::new();
        while !inner.0.is_empty() {
            let id = inner.byte()?;
            all.push((id, inner.property(id)?));
        }
        Some(all)
    }

    fn property(&mut self, id: u8) -> Option<Property<'b>> {
        let number = |bytes: &[u8]| {
            Property::Number(
                bytes
                    .iter()
                    .fold(0, |number, byte| number << 8 | u32::from(*byte)),
            )
        };
        match id {
            1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => self.take(1).map(number),
            19 | 33 | 34 | 35 => self.take(2).map(number),
            2 | 17 | 24 | 39 => self.take(4).map(number),
            3 | 8 | 9 | 18 | 21 | 22 | 26 | 28 | 31 => self.block().map(Property::Block),
            38 => {
                self.block()?;
                self.block().map(Property::Block)
            }
            _ => None,
        }
    }
}

/// The value of a property.
#[derive(Debug, Clone, Copy)]
enum Property<'b> {
    Number(u32),
    Block(&'b [u8]),
}

impl Property<'_> {
    fn value(self) -> Value<'static> {
        match self {
            Self::Number(number) => decimal(number),
            Self::Block(bytes) => block(bytes),
        }
    }
}

fn decimal(number: u32) -> Value<'static> {
    let mut text = Vec::new();
    let written = write!(text, "{number}");
    debug_assert!(written.is_ok(), "a Vec takes all that is written");
    Value::made(text)
}

fn block(bytes: &[u8]) -> Value<'static> {
    Value::Bin(bytes.to_vec().into())
}

/// A packet of the client.
#[derive(Default)]
struct Connect<'b> {
    flags: u8,
    name: &'b [u8],
    version: u8,
    keepalive: u16,
    properties: Vec<(u8, Property<'b>)>,
    client: &'b [u8],
    will_properties: Vec<(u8, Property<'b>)>,
    will: Option<(&'b [u8], &'b [u8])>,
    username: Option<&'b [u8]>,
    password: Option<&'b [u8]>,
}

/// The version that has properties.
const FIVE: u8 = 5;

impl<'b> Connect<'b> {
    fn read(bytes: &'b [u8]) -> Option<Self> {
        let mut body = body(bytes, 1)?;
        let mut packet = Self {
            name: body.block()?,
            version: body.byte()?,
            flags: body.byte()?,
            keepalive: body.short()?,
            ..Self::default()
        };
        match (packet.name, packet.version) {
            (b"MQIsdp", 3) | (b"MQTT", 4 | FIVE) => {}
            _ => return None,
        }
        let has = |bit: u8| packet.flags >> bit & 1 == 1;
        let quality = packet.flags >> 3 & 3;
        // The lowest bit is reserved; what is said of a will needs one, a password needs a name before 5.
        if has(0) || quality == 3 || (!has(2) && (quality > 0 || has(5))) {
            return None;
        }
        if has(6) && !has(7) && packet.version < FIVE {
            return None;
        }
        let (will, password, username) = (has(2), has(6), has(7));
        if packet.version == FIVE {
            packet.properties = body.properties()?;
        }
        packet.client = body.block()?;
        if will {
            if packet.version == FIVE {
                packet.will_properties = body.properties()?;
            }
            packet.will = Some((body.block()?, body.block()?));
        }
        if username {
            packet.username = Some(body.block()?);
        }
        if password {
            packet.password = Some(body.block()?);
        }
        body.0.is_empty().then_some(packet)
    }

    fn field(&self, field: MqttField) -> Option<Value<'static>> {
        Some(match field {
            MqttField::Flags => decimal(self.flags.into()),
            MqttField::ProtocolName => block(self.name),
            MqttField::ProtocolVersion => decimal(self.version.into()),
            MqttField::ClientIdentifier => block(self.client),
            MqttField::WillTopic => block(self.will?.0),
            MqttField::WillPayload => block(self.will?.1),
            MqttField::Username => block(self.username?),
            MqttField::Password => block(self.password?),
            MqttField::Keepalive => decimal(self.keepalive.into()),
            MqttField::Property(id) => {
                let mut all = self.properties.iter().chain(&self.will_properties);
                all.find(|(known, _)| *known == id)?.1.value()
            }
            MqttField::ReasonCode => return None,
        })
    }
}

/// A packet of the server.
struct Connack<'b> {
    flags: u8,
    reason: u8,
    properties: Option<Vec<(u8, Property<'b>)>>,
}

impl<'b> Connack<'b> {
    fn read(bytes: &'b [u8]) -> Option<Self> {
        let mut body = body(bytes, 2)?;
        let (flags, reason) = (body.byte()?, body.byte()?);
        if flags & !1 != 0 {
            return None;
        }
        let properties = match body.0.is_empty() {
            true => None,
            false => Some(body.properties()?),
        };
        body.0.is_empty().then_some(Self {
            flags,
            reason,
            properties,
        })
    }

    fn field(&self, field: MqttField) -> Option<Value<'static>> {
        Some(match field {
            MqttField::Flags => decimal(self.flags.into()),
            MqttField::ReasonCode => decimal(self.reason.into()),
            // It does not say: only version 5 has properties.
            MqttField::ProtocolVersion => decimal(if self.properties.is_some() { 5 } else { 4 }),
            MqttField::Property(id) => {
                let mut all = self.properties.iter().flatten();
                all.find(|(known, _)| *known == id)?.1.value()
            }
            _ => return None,
        })
    }
}

/// What stands behind the fixed header of a packet of that type.
fn body(bytes: &[u8], kind: u8) -> Option<Reader<'_>> {
    let mut reader = Reader(bytes);
    let first = reader.byte()?;
    let len = reader.variable()?;
    (first == kind << 4).then_some(Reader(reader.take(len)?))
}

/// Whether the bytes begin with such a packet. `None`: more bytes would tell.
pub(super) fn is_valid(bytes: &[u8]) -> Option<bool> {
    match bytes.first() {
        None => return None,
        Some(0x10 | 0x20) => {}
        Some(_) => return Some(false),
    }
    let mut rest = Reader(&bytes[1..]);
    let Some(len) = rest.variable() else {
        // The length has four bytes at most.
        return (bytes.len() > 4).then_some(false);
    };
    if rest.0.len() < len {
        return None;
    }
    Some(Connect::read(bytes).is_some() || Connack::read(bytes).is_some())
}

/// A field of the packet.
pub(super) fn field(bytes: &[u8], packet: MqttPacket, field: MqttField) -> Option<Value<'static>> {
    match packet {
        MqttPacket::Connect => Connect::read(bytes)?.field(field),
        MqttPacket::Connack => Connack::read(bytes)?.field(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_whole_or_none() {
        let connect = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd";
        assert_eq!(is_valid(connect), Some(true));
        let name = field(connect, MqttPacket::Connect, MqttField::ClientIdentifier);
        assert_eq!(
            name.map(|it| it.to_text().into_owned()),
            Some(b"abcd".to_vec())
        );
        for len in 0..connect.len() {
            assert_eq!(is_valid(&connect[..len]), None, "{len}");
        }
        assert_eq!(is_valid(b"\x20\x02\x00\x00"), Some(true));
        assert_eq!(is_valid(b"\x20\x02\x02\x00"), Some(false));
    }
}
