//! WebSocket messages as the load generator and its node exchange them (RFC 6455 section 5).
//!
//! A payload says which message it is, so that a lost, doubled or damaged one is noticed.

/// Longest head of a frame: two bytes, eight of length, four of mask.
const HEAD_MAX: usize = 14;

/// The payload of message `number` on socket `socket`: both numbers, then a pattern made of them.
pub(crate) fn payload(socket: usize, number: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length.max(16));
    bytes.extend_from_slice(&(socket as u64).to_be_bytes());
    bytes.extend_from_slice(&number.to_be_bytes());
    let seed = (socket as u64).wrapping_mul(31).wrapping_add(number);
    bytes.extend((16..length).map(|at| (seed as usize).wrapping_add(at) as u8));
    bytes.truncate(length.max(16));
    bytes
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
    out.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
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
                    got.iter_mut()
                        .zip(mask.iter().cycle())
                        .for_each(|(byte, key)| *byte ^= key);
                }
                assert_eq!(got, sent);
                assert!(frame.end <= framed_len(length) && !frame.closes);
            }
        }
    }
}
