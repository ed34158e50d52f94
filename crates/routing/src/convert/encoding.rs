//! Other ways to write bytes (manual 7.3.1).

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use config::expr::{Chunks, Encoding};

use super::bounded;
use crate::hex;
use crate::value::Value;

/// Base64 as tokens have it: written without padding, read with or without it.
pub(super) const URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Writes or reads bytes.
pub(super) fn apply<'a>(encoding: &Encoding, bytes: &[u8]) -> Option<Value<'a>> {
    match encoding {
        Encoding::Binary => {
            let bit = |byte: u8, at: u8| b'0' + (byte >> at & 1);
            let bits = |byte: &u8| (0..8).rev().map(|at| bit(*byte, at)).collect::<Vec<u8>>();
            bounded(bytes.iter().flat_map(bits).collect())
        }
        Encoding::Base64Url => bounded(URL.encode(bytes).into_bytes()),
        Encoding::Base64UrlDecode => Some(Value::Bin(URL.decode(bytes).ok()?.into())),
        Encoding::Chunks(chunks) => bounded(write_chunks(chunks, bytes)),
        Encoding::HasControl(mask) => {
            let found = |byte: &u8| match byte {
                0..32 => mask >> byte & 1 == 1,
                127 => mask >> 32 & 1 == 1,
                _ => false,
            };
            Some(Value::Bool(bytes.iter().any(found)))
        }
    }
}

fn write_chunks(chunks: &Chunks, bytes: &[u8]) -> Vec<u8> {
    let size = match chunks.size {
        0 => bytes.len().max(1),
        size => size,
    };
    let mut out = Vec::with_capacity(bytes.len() * 3);
    for chunk in bytes.chunks(size) {
        if chunks.truncate && chunk.len() < size && chunks.size > 0 {
            break;
        }
        if !out.is_empty() {
            out.extend_from_slice(chunks.separator.as_bytes());
        }
        if chunks.hex {
            out.extend(hex::upper(chunk).into_bytes());
            continue;
        }
        let step = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = match chunks.little_endian {
            true => chunk.iter().rev().fold(0, step),
            false => chunk.iter().fold(0, step),
        };
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
    out
}
