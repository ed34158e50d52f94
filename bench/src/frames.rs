//! WebSocket messages as the load generator and its node exchange them (RFC 6455 section 5).
//!
//! A payload says which message it is, so that a lost, doubled or damaged one is noticed.

use anyhow::{Result, ensure};

/// Longest head of a frame: two bytes, eight of length, four of mask.
const HEAD_MAX: usize = 14;

/// The payload of message `number` on socket `socket`: both numbers, then a pattern made of them.
pub(crate) fn payload(socket: usize, number: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length.max(16));
    bytes.extend_from_slice(&(socket as u64).to_be_bytes());
    bytes.extend_from_slice(&number.to_be_bytes());
    let seed = (socket as u64).wrapping_mul(31).wrapping_add(number);
    // Copied from a table: the generator's own time limits what it can ask of a proxy.
    let mut from = (seed % 256) as usize;
    while bytes.len() < length {
        let piece = &PATTERN[from..(from + length - bytes.len()).min(PATTERN.len())];
        bytes.extend_from_slice(piece);
        from = 0;
    }
    bytes
}

/// Every byte in turn, several times.
const PATTERN: [u8; 16 * 1024] = {
    let mut pattern = [0; 16 * 1024];
    let mut at = 0;
    while at < pattern.len() {
        pattern[at] = at as u8;
        at += 1;
    }
    pattern
};

/// Masks or unmasks in place, eight bytes at a time.
pub(crate) fn apply_mask(mask: [u8; 4], bytes: &mut [u8]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (pieces, rest) = bytes.as_chunks_mut::<8>();
    for piece in pieces {
        *piece = (u64::from_ne_bytes(*piece) ^ wide).to_ne_bytes();
    }
    let keys = mask.iter().cycle();
    rest.iter_mut()
        .zip(keys)
        .for_each(|(byte, key)| *byte ^= key);
}

/// A binary frame; masked as clients must.
pub(crate) fn write(payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    out.push(0x82);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ ..=125 => out.push(masked | length as u8),
        length @ ..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let Some(mask) = mask else {
        out.extend_from_slice(payload);
        return;
    };
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(mask, &mut out[start..]);
}

/// One frame at the start of a buffer.
pub(crate) struct Frame {
    /// Where its payload begins.
    pub(crate) start: usize,
    /// Where it ends.
    pub(crate) end: usize,
    /// How it is masked.
    pub(crate) mask: Option<[u8; 4]>,
    /// Whether it closes the socket.
    pub(crate) closes: bool,
}

/// The first frame of `bytes`, if it is there whole.
pub(crate) fn first(bytes: &[u8]) -> Option<Frame> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (length, mut at) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
        length => (u64::from(length), 2),
    };
    let mask = if second & 0x80 != 0 {
        let mask = *bytes.get(at..)?.first_chunk()?;
        at += 4;
        Some(mask)
    } else {
        None
    };
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    (bytes.len() >= end).then_some(Frame {
        start: at,
        end,
        mask,
        closes: first & 0x0f == 8,
    })
}

/// Length of the largest messages.
pub(crate) const HUGE_LEN: usize = 16 * 1024 * 1024;

/// The mask of all clients: nobody here needs to be kept from guessing it.
pub(crate) const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x88];

/// One message of that length, framed.
pub(crate) fn huge(mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(framed_len(HUGE_LEN));
    write(&payload(0, 0, HUGE_LEN), mask, &mut frame);
    frame
}

/// Whether `got` is what comes after `offset` bytes of `frame` again and again.
pub(crate) fn check_repeated(frame: &[u8], offset: usize, mut got: &[u8]) -> Result<()> {
    let mut at = offset % frame.len();
    while !got.is_empty() {
        let length = got.len().min(frame.len() - at);
        let (piece, rest) = got.split_at(length);
        ensure!(
            piece == &frame[at..at + length],
            "other bytes came than were sent"
        );
        (got, at) = (rest, 0);
    }
    Ok(())
}

/// The largest frame around a payload of that length.
pub(crate) fn framed_len(payload: usize) -> usize {
    payload + HEAD_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [16, 125, 126, 65_535, 65_536] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let sent = payload(7, 9, length);
                let mut bytes = Vec::new();
                write(&sent, mask, &mut bytes);
                assert!(first(&bytes[..bytes.len() - 1]).is_none());
                bytes.push(0x82);
                let frame = first(&bytes).expect("it is whole");
                let mut got = bytes[frame.start..frame.end].to_vec();
                if let Some(mask) = frame.mask {
                    apply_mask(mask, &mut got);
                }
                assert_eq!(got, sent);
                assert!(frame.end <= framed_len(length) && !frame.closes);
            }
        }
    }
}
