//! Frame headers (RFC 6455 §5.2): read, written, and counted in passing.
//!
//! Payload is neither copied nor unmasked here, but for the status in a Close frame.

use std::fmt;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// More of the message that an earlier frame began.
    Continuation = 0x0,
    /// A message of text.
    Text = 0x1,
    /// A message of bytes.
    Binary = 0x2,
    /// The end of the conversation.
    Close = 0x8,
    /// To be answered by a pong.
    Ping = 0x9,
    /// The answer to a ping, or just a sign of life.
    Pong = 0xa,
}

impl Opcode {
    pub(super) fn read(bits: u8) -> Option<Opcode> {
        match bits {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xa => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// Whether it is Close, Ping or Pong: at most 125 bytes, never in pieces.
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The longest payload of a control frame, in bytes (RFC 6455 §5.5).
pub const CONTROL_LEN_MAX: usize = 125;

/// The longest header, in bytes.
pub const HEADER_LEN_MAX: usize = 14;

/// What stands before the payload of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// The three bits that extensions give a meaning to, in the low bits: RSV1 is 4.
    pub rsv: u8,
    /// What the frame is for.
    pub opcode: Opcode,
    /// The masking key; clients must have one, servers must not.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub payload_len: u64,
}

impl FrameHeader {
    /// Reads the header at the beginning of `buf` and tells its length; none if it is not complete.
    pub fn parse(buf: &[u8]) -> Result<Option<(FrameHeader, usize)>, FrameError> {
        let [first, second, ..] = *buf else {
            // What is wrong in the first byte is wrong already.
            let [first] = *buf else { return Ok(None) };
            return Opcode::read(first & 0xf)
                .map(|_| None)
                .ok_or(FrameError::Opcode);
        };
        let opcode = Opcode::read(first & 0xf).ok_or(FrameError::Opcode)?;
        let (fin, masked) = (first & 0x80 != 0, second & 0x80 != 0);
        if opcode.is_control() && (!fin || second & 0x7f > 125) {
            return Err(FrameError::Control);
        }
        let len_end = header_len(second) - if masked { 4 } else { 0 };
        let Some(len_bytes) = buf.get(2..len_end) else {
            return Ok(None);
        };
        let payload_len = read_len(second & 0x7f, len_bytes)?;
        let mask = match (masked, buf.get(len_end..len_end + 4)) {
            (false, _) => None,
            (true, Some(key)) => Some([key[0], key[1], key[2], key[3]]),
            (true, None) => return Ok(None),
        };
        let header = FrameHeader {
            fin,
            rsv: first >> 4 & 0x7,
            opcode,
            mask,
            payload_len,
        };
        Ok(Some((header, header_len(second))))
    }

    /// Writes the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let fin = if self.fin { 0x80 } else { 0 };
        out.push(fin | (self.rsv & 0x7) << 4 | self.opcode as u8);
        match self.payload_len {
            len @ 0..=125 => out.push(masked | len as u8),
            len @ 126..=0xffff => {
                out.push(masked | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(masked | 127);
                out.extend_from_slice(&(len & i64::MAX as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(self.mask.as_ref().map_or(&[], |key| &key[..]));
    }
}

/// Length of the header whose second byte this is.
fn header_len(second: u8) -> usize {
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + extended + if second & 0x80 != 0 { 4 } else { 0 }
}

/// The length must be written as short as it can be, and stay below 2^63 (RFC 6455 §5.2).
fn read_len(short: u8, bytes: &[u8]) -> Result<u64, FrameError> {
    let long = bytes
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    match short {
        126 if long < 126 => Err(FrameError::Length),
        127 if long <= 0xffff || long > i64::MAX as u64 => Err(FrameError::Length),
        126 | 127 => Ok(long),
        short => Ok(u64::from(short)),
    }
}

/// Writes a whole frame of one piece; `mask` is the key if a client sends it.
pub fn write_frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let payload_len = payload.len() as u64;
    FrameHeader {
        fin: true,
        rsv: 0,
        opcode,
        mask,
        payload_len,
    }
    .encode(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        apply_mask(key, &mut out[start..]);
    }
}

/// Writes a ping; of a longer payload the first 125 bytes.
pub fn write_ping(payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    write_frame(
        Opcode::Ping,
        &payload[..payload.len().min(CONTROL_LEN_MAX)],
        mask,
        out,
    );
}

/// Writes a pong; of a longer payload the first 125 bytes.
pub fn write_pong(payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    write_frame(
        Opcode::Pong,
        &payload[..payload.len().min(CONTROL_LEN_MAX)],
        mask,
        out,
    );
}

/// Writes a Close frame with a status (RFC 6455 §7.4) and a reason, which is cut at a character
/// if it is longer than 123 bytes.
pub fn write_close(code: u16, reason: &str, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_LEN_MAX - 2)];
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    write_frame(Opcode::Close, &payload, mask, out);
}

/// Masks or unmasks a payload from its first byte on (RFC 6455 §5.3).
pub fn apply_mask(key: [u8; 4], payload: &mut [u8]) {
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// A frame that has gone by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameInfo {
    /// Its header.
    pub header: FrameHeader,
    /// Of a Close frame that has one: its status.
    pub close_code: Option<u16>,
}

impl FrameInfo {
    /// Whether a message of text or bytes ends with it.
    pub fn ends_message(&self) -> bool {
        self.header.fin && !self.header.opcode.is_control()
    }
}

/// Follows one direction of a WebSocket through the bytes as they pass, without keeping them.
///
/// ```text
/// Header ─┬─ CloseCode ─┬─ Payload ─ Header …
///         └─────────────┘            any error ─ Lost
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FrameScanner {
    state: Scan,
}

#[derive(Debug, Clone, Copy)]
enum Scan {
    Header {
        seen: [u8; HEADER_LEN_MAX],
        len: u8,
    },
    CloseCode {
        header: FrameHeader,
        first: Option<u8>,
    },
    Payload {
        left: u64,
    },
    Lost(FrameError),
}

const AT_HEADER: Scan = Scan::Header {
    seen: [0; HEADER_LEN_MAX],
    len: 0,
};

impl Default for FrameScanner {
    fn default() -> FrameScanner {
        FrameScanner::new()
    }
}

impl FrameScanner {
    /// At the first byte behind the handshake.
    pub fn new() -> FrameScanner {
        FrameScanner { state: AT_HEADER }
    }

    /// Looks at the next bytes and reports each frame whose header (and status, if it is Close) is
    /// complete. After an error nothing is reported any more, and every call gives the same error:
    /// the stream cannot be followed, though it can still be relayed.
    pub fn on_bytes(
        &mut self,
        mut bytes: &[u8],
        mut report: impl FnMut(FrameInfo),
    ) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            let (next, taken, info) = step(self.state, bytes);
            self.state = next;
            if let Scan::Lost(error) = next {
                return Err(error);
            }
            info.map(&mut report);
            bytes = &bytes[taken..];
        }
        match self.state {
            Scan::Lost(error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Where the first bytes lead from `state`, how many were taken, and the frame that they complete.
fn step(state: Scan, bytes: &[u8]) -> (Scan, usize, Option<FrameInfo>) {
    match state {
        Scan::Lost(_) => (state, bytes.len(), None),
        Scan::Payload { left } => {
            let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            (payload(left - taken as u64), taken, None)
        }
        Scan::CloseCode {
            header,
            first: None,
        } => (
            Scan::CloseCode {
                header,
                first: Some(bytes[0]),
            },
            1,
            None,
        ),
        Scan::CloseCode {
            header,
            first: Some(first),
        } => {
            let key = header.mask.unwrap_or_default();
            let code = u16::from_be_bytes([first ^ key[0], bytes[0] ^ key[1]]);
            let info = FrameInfo {
                header,
                close_code: Some(code),
            };
            (payload(header.payload_len - 2), 1, Some(info))
        }
        Scan::Header { seen, len } => header_step(seen, len, bytes),
    }
}

fn header_step(
    mut seen: [u8; HEADER_LEN_MAX],
    len: u8,
    bytes: &[u8],
) -> (Scan, usize, Option<FrameInfo>) {
    let before = usize::from(len);
    // The whole header is usually there, so it is read in place.
    let parsed = if before == 0 {
        FrameHeader::parse(bytes)
    } else {
        let room = bytes.len().min(HEADER_LEN_MAX - before);
        seen[before..before + room].copy_from_slice(&bytes[..room]);
        FrameHeader::parse(&seen[..before + room])
    };
    match parsed {
        Err(error) => (Scan::Lost(error), 0, None),
        Ok(Some((header, header_len))) => {
            let (next, info) = behind_header(header);
            (next, header_len - before, info)
        }
        Ok(None) => {
            // Not complete, so shorter than the longest header, and all of it was looked at.
            seen[before..before + bytes.len()].copy_from_slice(bytes);
            let len = len + bytes.len() as u8;
            (Scan::Header { seen, len }, bytes.len(), None)
        }
    }
}

fn behind_header(header: FrameHeader) -> (Scan, Option<FrameInfo>) {
    if header.opcode == Opcode::Close && header.payload_len >= 2 {
        return (
            Scan::CloseCode {
                header,
                first: None,
            },
            None,
        );
    }
    (
        payload(header.payload_len),
        Some(FrameInfo {
            header,
            close_code: None,
        }),
    )
}

fn payload(left: u64) -> Scan {
    if left == 0 {
        AT_HEADER
    } else {
        Scan::Payload { left }
    }
}

/// The bytes are not WebSocket frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A reserved opcode.
    Opcode,
    /// A control frame in pieces or of more than 125 bytes.
    Control,
    /// A length that is not written as short as it can be, or is 2^63 or more.
    Length,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameError::Opcode => "a WebSocket frame has a reserved opcode",
            FrameError::Control => "a WebSocket control frame is fragmented or too long",
            FrameError::Length => "the length of a WebSocket frame is malformed",
        })
    }
}

impl std::error::Error for FrameError {}
