//! Lines as JSON (RFC 8259) or CBOR (RFC 8949): `%{+json}o`, `%{+cbor}o` (manual 8.2.6).

use config::expr::{Flags, Forced, Format, LineEncoding, Part, Variable};

use super::Variables;
use crate::hex;
use crate::sample::{self, Facts};
use crate::value::{Value, leading_int};

/// A value before it is written.
enum Scalar {
    Int(i64),
    Bool(bool),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    Missing,
}

/// Writes a whole format as one object.
pub(super) fn object(
    format: &Format,
    encoding: LineEncoding,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    out: &mut Vec<u8>,
) {
    let mut made = Vec::new();
    match encoding {
        LineEncoding::Json => made.push(b'{'),
        LineEncoding::Cbor => made.push(MAP_OPEN),
    }
    for (at, item) in format.items.iter().enumerate() {
        let key = item.name.as_bytes();
        let value = scalar(&item.part, encoding, facts, variables);
        match encoding {
            LineEncoding::Json => {
                made.extend_from_slice(if at > 0 { b", " } else { b"" });
                json_text(key, &mut made);
                made.extend_from_slice(b": ");
                json(&value, &mut made);
            }
            LineEncoding::Cbor => {
                cbor_block(TEXT, key, &mut made);
                cbor(&value, &mut made);
            }
        }
    }
    match encoding {
        LineEncoding::Json => made.push(b'}'),
        LineEncoding::Cbor => made.push(END),
    }
    settle(encoding, format.binary, made, out);
}

/// Writes one part that has an encoding of its own.
pub(super) fn part(
    part: &Part,
    encoding: LineEncoding,
    binary: bool,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    out: &mut Vec<u8>,
) {
    let mut made = Vec::new();
    let value = scalar(part, encoding, facts, variables);
    match encoding {
        LineEncoding::Json => json(&value, &mut made),
        LineEncoding::Cbor => cbor(&value, &mut made),
    }
    settle(encoding, binary, made, out);
}

/// CBOR is written in hexadecimal digits where bytes could harm.
fn settle(encoding: LineEncoding, binary: bool, made: Vec<u8>, out: &mut Vec<u8>) {
    match encoding {
        LineEncoding::Cbor if !binary => out.extend(hex::upper(&made).into_bytes()),
        _ => out.extend_from_slice(&made),
    }
}

fn scalar(
    part: &Part,
    encoding: LineEncoding,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> Scalar {
    match part {
        Part::Sample(sample, flags) => of_sample(sample::eval(sample, facts), *flags, encoding),
        Part::Variable(variable, flags) => {
            let plain = Flags {
                hex: flags.hex,
                ..Flags::default()
            };
            let json = encoding == LineEncoding::Json;
            let mut text = Vec::new();
            if !variables.write(*variable, plain, &mut text) {
                text.clear();
                super::from_facts(*variable, plain, facts, &mut text);
            }
            let value = match text.is_empty() {
                // A text that is missing is an empty one; a number or a list is none.
                true if json && !is_number(*variable) && !super::is_list(*variable) => {
                    Scalar::Text(text)
                }
                true => Scalar::Missing,
                false if is_number(*variable) && !flags.hex => Scalar::Int(leading_int(&text)),
                false => Scalar::Text(text),
            };
            forced(value, flags.forced)
        }
        Part::Text(_) | Part::Space => Scalar::Missing,
    }
}

fn of_sample(value: Option<Value<'_>>, flags: Flags, encoding: LineEncoding) -> Scalar {
    let json = encoding == LineEncoding::Json;
    let scalar = match value {
        None if json => Scalar::Text(Vec::new()),
        None => Scalar::Missing,
        Some(Value::Int(number)) => Scalar::Int(number),
        Some(Value::Bool(value)) => Scalar::Bool(value),
        Some(Value::Bin(bytes)) if !json => Scalar::Bytes(bytes.into_owned()),
        Some(value) => {
            let text = value.into_text().into_owned();
            match text.is_empty() && !json {
                true => Scalar::Missing,
                false => Scalar::Text(text),
            }
        }
    };
    forced(scalar, flags.forced)
}

fn forced(value: Scalar, kind: Option<Forced>) -> Scalar {
    let Some(kind) = kind else {
        return value;
    };
    let number = |value: &Scalar| match value {
        Scalar::Int(number) => *number,
        Scalar::Bool(value) => i64::from(*value),
        Scalar::Text(text) | Scalar::Bytes(text) => leading_int(text),
        Scalar::Missing => 0,
    };
    match kind {
        Forced::Int => Scalar::Int(number(&value)),
        Forced::Bool => Scalar::Bool(number(&value) != 0),
        Forced::Str => match value {
            Scalar::Int(_) | Scalar::Bool(_) => {
                Scalar::Text(number(&value).to_string().into_bytes())
            }
            Scalar::Missing => Scalar::Text(Vec::new()),
            text => text,
        },
    }
}

/// Whether a variable is a number.
fn is_number(variable: Variable) -> bool {
    use Variable as V;
    matches!(
        variable,
        V::B | V::ST
            | V::Ta
            | V::Tc
            | V::Td
            | V::Th
            | V::Ti
            | V::Tq
            | V::TR
            | V::Tr
            | V::Ts
            | V::Tt
            | V::Tu
            | V::Tw
            | V::U
            | V::ac
            | V::bc
            | V::bp
            | V::bq
            | V::cp
            | V::fc
            | V::fp
            | V::lc
            | V::ms
            | V::pid
            | V::rc
            | V::rt
            | V::sc
            | V::sp
            | V::sq
    )
}

fn json(value: &Scalar, out: &mut Vec<u8>) {
    match value {
        Scalar::Int(number) => {
            out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
        }
        Scalar::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Scalar::Text(text) | Scalar::Bytes(text) => json_text(text, out),
        Scalar::Missing => out.extend_from_slice(b"null"),
    }
}

/// A text between quotes; beyond ASCII it is what the client sent.
fn json_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        let short = match byte {
            b'"' | b'\\' => byte,
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..32 => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                continue;
            }
            byte => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.push(b'"');
}

/// Major types of RFC 8949 §3.1, in the upper three bits, and its simple values.
const UNSIGNED: u8 = 0 << 5;
const NEGATIVE: u8 = 1 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const MAP_OPEN: u8 = 0xbf;
const BYTES_OPEN: u8 = 0x5f;
const END: u8 = 0xff;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

fn cbor(value: &Scalar, out: &mut Vec<u8>) {
    match value {
        Scalar::Int(number) => match u64::try_from(*number) {
            Ok(number) => cbor_head(UNSIGNED, number, out),
            Err(_) => cbor_head(NEGATIVE, !*number as u64, out),
        },
        Scalar::Bool(value) => out.push(if *value { TRUE } else { FALSE }),
        Scalar::Text(text) => cbor_block(TEXT, text, out),
        Scalar::Bytes(bytes) => {
            // As HAProxy, which writes them piece by piece.
            out.push(BYTES_OPEN);
            cbor_block(BYTES, bytes, out);
            out.push(END);
        }
        Scalar::Missing => out.push(NULL),
    }
}

fn cbor_block(major: u8, bytes: &[u8], out: &mut Vec<u8>) {
    cbor_head(major, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn cbor_head(major: u8, number: u64, out: &mut Vec<u8>) {
    match number {
        0..24 => out.push(major | number as u8),
        24..0x100 => out.extend_from_slice(&[major | 24, number as u8]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_least_room() {
        let check = |number: i64, expected: &str| {
            let mut out = Vec::new();
            cbor(&Scalar::Int(number), &mut out);
            let hex = hex::upper(&out).into_bytes();
            assert_eq!(String::from_utf8_lossy(&hex), expected, "{number}");
        };
        check(5, "05");
        check(-1, "20");
        check(-500, "3901F3");
        check(70_000, "1A00011170");
        check(5_000_000_000, "1B000000012A05F200");
    }
}
