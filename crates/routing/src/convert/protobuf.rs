//! Fields of messages of protocol buffers (protobuf.dev/programming-guides/encoding; manual 7.3.1,
//! "protobuf", "ungrpc").

use config::expr::{Protobuf, ProtobufKind};

use crate::value::Value;

/// A gRPC message begins with whether it is compressed, and its length.
const GRPC_HEADER_LEN: usize = 5;

/// How deep fields are looked for: a path has a step for each.
pub(super) fn field(wanted: &Protobuf, bytes: &[u8]) -> Option<Value<'static>> {
    let mut message = match wanted.grpc {
        true => grpc(bytes)?,
        false => bytes,
    };
    let (last, path) = wanted.path.split_last()?;
    for number in path {
        message = match find(message, *number)? {
            Raw::Bytes(inner) => inner,
            _ => return None,
        };
    }
    read(find(message, *last)?, wanted.kind)
}

/// A message without its header; a compressed one cannot be read.
fn grpc(bytes: &[u8]) -> Option<&[u8]> {
    let (header, message) = bytes.split_at_checked(GRPC_HEADER_LEN)?;
    let (&compressed, len) = header.split_first()?;
    let len = u32::from_be_bytes(len.try_into().ok()?) as usize;
    let message = &message[..len.min(message.len())];
    (compressed == 0).then_some(message)
}

/// A field as it was sent.
#[derive(Debug, Clone, Copy)]
enum Raw<'b> {
    Varint(u64, &'b [u8]),
    Eight([u8; 8]),
    Bytes(&'b [u8]),
    Four([u8; 4]),
}

fn find(mut rest: &[u8], number: u64) -> Option<Raw<'_>> {
    while !rest.is_empty() {
        let (key, behind) = varint(rest)?;
        let (raw, behind) = match key & 7 {
            0 => {
                let (value, end) = varint(behind)?;
                let written = &behind[..behind.len() - end.len()];
                (Raw::Varint(value, written), end)
            }
            1 => {
                let (value, end) = behind.split_first_chunk::<8>()?;
                (Raw::Eight(*value), end)
            }
            2 => {
                let (len, behind) = varint(behind)?;
                let (value, end) = behind.split_at_checked(usize::try_from(len).ok()?)?;
                (Raw::Bytes(value), end)
            }
            5 => {
                let (value, end) = behind.split_first_chunk::<4>()?;
                (Raw::Four(*value), end)
            }
            _ => return None,
        };
        if key >> 3 == number {
            return Some(raw);
        }
        rest = behind;
    }
    None
}

/// A number of seven bits a byte, the lowest first, and what stands behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

fn read(raw: Raw<'_>, kind: Option<ProtobufKind>) -> Option<Value<'static>> {
    use ProtobufKind as K;
    let bytes = |bytes: &[u8]| Value::Bin(bytes.to_vec().into());
    let zigzag = |value: u64| (value >> 1) as i64 ^ -((value & 1) as i64);
    Some(match (raw, kind) {
        (Raw::Varint(_, written), None) => bytes(written),
        (Raw::Eight(value), None) => bytes(&value),
        (Raw::Four(value), None) => bytes(&value),
        (Raw::Bytes(value), None) => bytes(value),
        (Raw::Varint(value, _), Some(K::Int32 | K::Enum)) => Value::Int((value as i32).into()),
        (Raw::Varint(value, _), Some(K::Uint32)) => Value::Int((value as u32).into()),
        (Raw::Varint(value, _), Some(K::Int64 | K::Uint64)) => Value::Int(value as i64),
        (Raw::Varint(value, _), Some(K::Sint32)) => Value::Int((zigzag(value) as i32).into()),
        (Raw::Varint(value, _), Some(K::Sint64)) => Value::Int(zigzag(value)),
        (Raw::Varint(value, _), Some(K::Bool)) => Value::Bool(value != 0),
        (Raw::Four(value), Some(K::Fixed32)) => Value::Int(u32::from_le_bytes(value).into()),
        (Raw::Four(value), Some(K::Sfixed32)) => Value::Int(i32::from_le_bytes(value).into()),
        (Raw::Four(value), Some(K::Float)) => Value::Int(f32::from_le_bytes(value) as i64),
        (Raw::Eight(value), Some(K::Fixed64 | K::Sfixed64)) => {
            Value::Int(i64::from_le_bytes(value))
        }
        (Raw::Eight(value), Some(K::Double)) => Value::Int(f64::from_le_bytes(value) as i64),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_path() {
        let check = |hex: &str, path: &[u64], kind, expected: Option<i64>| {
            let bytes: Vec<u8> = { hex.as_bytes().chunks(2) }
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            let wanted = Protobuf {
                grpc: false,
                path: path.to_vec(),
                kind: Some(kind),
            };
            let found = field(&wanted, &bytes).and_then(|value| value.to_int());
            assert_eq!(found, expected, "{hex} {path:?}");
        };
        check("089601", &[1], ProtobufKind::Int32, Some(150));
        check("1a03089601", &[3, 1], ProtobufKind::Int32, Some(150));
        check("0803", &[1], ProtobufKind::Sint32, Some(-2));
        check("0d0000803f", &[1], ProtobufKind::Float, Some(1));
        check("089601", &[2], ProtobufKind::Int32, None);
        check("1aff", &[3], ProtobufKind::Int32, None);
        check("ffffffffffffffffffffff", &[3], ProtobufKind::Int32, None);
    }
}
