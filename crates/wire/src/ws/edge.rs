//! Where the frames of one direction end (RFC 6455 §5.2), in as few bytes as can be: an open WebSocket
//! keeps one for each direction, all its life, so that a frame of somebody else's can be put between two
//! of them at any time. What is inside a frame is [`super::frame`]'s matter.

use super::frame::Opcode;

/// How far a direction has come in the frame under way. Bytes alone, so that it fits between others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameEdge {
    /// Bytes of payload that are still to come, as far as they are known; little endian.
    left: [u8; 8],
    /// Bytes of the header that are still to come.
    header_left: u8,
    /// Bytes of the length that are still to come.
    length_left: u8,
    stage: Stage,
    /// Whether a Close frame has begun.
    closes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Between two frames.
    First,
    /// Behind the first byte of one.
    Second,
    /// In what follows the second byte of its header.
    Header,
    /// In its payload.
    Payload,
    /// These are no frames, or none any more.
    Unknown,
}

/// In the order of their numbers.
const STAGES: [Stage; 5] = [
    Stage::First,
    Stage::Second,
    Stage::Header,
    Stage::Payload,
    Stage::Unknown,
];

impl FrameEdge {
    /// Bytes of [`Self::to_bytes`].
    pub const BYTES: usize = 12;

    /// At the first byte behind the handshake.
    pub const fn new() -> Self {
        Self {
            left: [0; 8],
            header_left: 0,
            length_left: 0,
            stage: Stage::First,
            closes: false,
        }
    }

    /// Of bytes that are no frames: nothing can ever be put between them.
    pub const fn none() -> Self {
        Self {
            stage: Stage::Unknown,
            ..Self::new()
        }
    }

    /// All of it, for another process that goes on with the direction.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.left);
        let stage = STAGES.iter().position(|it| *it == self.stage);
        bytes[8] = self.header_left;
        bytes[9] = self.length_left;
        bytes[10] = stage.and_then(|at| u8::try_from(at).ok()).unwrap_or(0);
        bytes[11] = u8::from(self.closes);
        bytes
    }

    /// The other way round; `None`: no direction can be so.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let [left @ .., header_left, length_left, stage, closes] = bytes;
        let stage = *STAGES.get(usize::from(stage))?;
        let is_possible = match stage {
            Stage::Header => (1..=12).contains(&header_left) && length_left <= header_left.min(8),
            Stage::Payload => header_left == 0 && length_left == 0 && left != [0; 8],
            Stage::First | Stage::Second | Stage::Unknown => true,
        };
        (is_possible && closes <= 1).then_some(Self {
            left,
            header_left,
            length_left,
            stage,
            closes: closes == 1,
        })
    }

    /// Whether a frame of somebody else's may follow what has passed.
    pub fn is_between(&self) -> bool {
        self.stage == Stage::First
    }

    /// Whether the bytes are frames as far as they have passed.
    pub fn is_known(&self) -> bool {
        self.stage != Stage::Unknown
    }

    /// Whether a Close frame has begun: nothing may follow it (RFC 6455 §5.5.1).
    pub fn has_closed(&self) -> bool {
        self.closes
    }

    /// These bytes pass.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// Of these bytes those pass that belong to the frame under way: how many. None between two frames; all,
    /// where there are no frames.
    pub fn pass_frame(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() && self.stage != Stage::First {
            passed += self.step(&bytes[passed..]);
        }
        passed
    }

    /// Takes some of the bytes, of which there is one at least: how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let byte = bytes[0];
        let left = u64::from_le_bytes(self.left);
        match self.stage {
            Stage::Unknown => bytes.len(),
            Stage::First => {
                if let Some(taken) = self.whole_header(bytes) {
                    return taken;
                }
                match Opcode::read(byte & 0xf) {
                    None => self.stage = Stage::Unknown,
                    Some(opcode) => {
                        self.stage = Stage::Second;
                        self.closes |= opcode == Opcode::Close;
                    }
                }
                1
            }
            Stage::Second => {
                let short = byte & 0x7f;
                self.length_left = match short {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                };
                let mask = if byte & 0x80 != 0 { 4 } else { 0 };
                self.header_left = self.length_left + mask;
                self.go_on(if self.length_left == 0 {
                    short.into()
                } else {
                    0
                });
                1
            }
            Stage::Header => {
                self.header_left -= 1;
                if self.length_left > 0 {
                    self.length_left -= 1;
                    self.go_on(left << 8 | u64::from(byte));
                } else {
                    self.go_on(left);
                }
                1
            }
            Stage::Payload => {
                let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.go_on(left - taken as u64);
                taken
            }
        }
    }

    /// A header that has come whole, as most have: its length.
    fn whole_header(&mut self, bytes: &[u8]) -> Option<usize> {
        let [first, second, rest @ ..] = bytes else {
            return None;
        };
        let opcode = Opcode::read(first & 0xf)?;
        let (length_len, left) = match second & 0x7f {
            126 => (2, u16::from_be_bytes(*rest.first_chunk()?).into()),
            127 => (8, u64::from_be_bytes(*rest.first_chunk()?)),
            short => (0, u64::from(short)),
        };
        let taken = 2 + length_len + if second & 0x80 != 0 { 4 } else { 0 };
        if bytes.len() < taken {
            return None;
        }
        self.closes |= opcode == Opcode::Close;
        self.go_on(left);
        Some(taken)
    }

    fn go_on(&mut self, left: u64) {
        self.left = left.to_le_bytes();
        self.stage = match (self.header_left, left) {
            (0, 0) => Stage::First,
            (0, _) => Stage::Payload,
            _ => Stage::Header,
        };
    }
}

impl Default for FrameEdge {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frame::{write_close, write_frame};

    /// Frames of these lengths, each masked or not.
    fn frames(lengths: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut edges) = (Vec::new(), vec![0]);
        for (at, length) in lengths.iter().enumerate() {
            let mask = (at % 2 == 0).then_some([1, 2, 3, 4]);
            write_frame(Opcode::Binary, &vec![7; *length], mask, &mut bytes);
            edges.push(bytes.len());
        }
        (bytes, edges)
    }

    #[test]
    fn edges_are_where_frames_end_however_the_bytes_come() {
        let (bytes, edges) = frames(&[0, 1, 125, 126, 300, 0, 0, 65_535, 65_536, 3]);
        for piece in [1, 2, 3, 7, 64, 1000, 100_000] {
            let mut edge = FrameEdge::new();
            let mut passed = 0;
            for part in bytes.chunks(piece) {
                edge.pass(part);
                passed += part.len();
                assert_eq!(edge.is_between(), edges.contains(&passed), "at {passed}");
            }
        }
        for cut in (0..bytes.len()).step_by(97).chain(edges.iter().copied()) {
            let mut edge = FrameEdge::new();
            edge.pass(&bytes[..cut]);
            let to = cut + edge.pass_frame(&bytes[cut..]);
            let next = edges.iter().find(|at| **at >= cut);
            assert_eq!(Some(&to), next, "from {cut}");
        }
    }

    #[test]
    fn a_close_frame_is_noticed_and_nonsense_is_no_frame() {
        let mut bytes = Vec::new();
        write_close(1000, "bye", None, &mut bytes);
        let mut edge = FrameEdge::new();
        edge.pass(&bytes[..1]);
        assert!(edge.has_closed() && !edge.is_between());
        edge.pass(&bytes[1..]);
        assert!(edge.has_closed() && edge.is_between());
        let mut edge = FrameEdge::new();
        edge.pass(b"\x83GET / HTTP/1.1");
        assert!(!edge.is_known() && !edge.is_between());
        assert_eq!(edge.pass_frame(b"whatever"), 8);
        let mut none = FrameEdge::none();
        none.pass(b"\x82\x00");
        assert!(!none.is_known() && !none.is_between());
        let mut huge = FrameEdge::new();
        huge.pass(b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff data");
        assert!(huge.is_known() && !huge.is_between());
    }
}
