//! When is it worth parsing a head that is still arriving?

use super::Limits;

/// Follows a buffer that grows and tells when parsing it can lead to anything new, so that a client
/// who sends single bytes cannot make us parse the same kilobytes again and again: each byte is
/// scanned once, and a head is parsed at most three times.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadScanner {
    tried: bool,
    scanned: usize,
    line_start: usize,
    lines: usize,
}

impl HeadScanner {
    /// For an empty buffer.
    pub fn new() -> HeadScanner {
        HeadScanner::default()
    }

    /// Whether to parse now. `buf` is all that was received from the beginning of the head, and only
    /// grows between calls. Says yes at the first bytes (garbage is refused at once), at the end of
    /// the first line, at a line end that is wrong, at the end of the head, and at the limit.
    pub fn is_worth_parsing(&mut self, buf: &[u8], limits: &Limits) -> bool {
        if !self.tried && !buf.is_empty() {
            // Nearly always that is all of it, and no line needs to be looked for twice.
            self.tried = true;
            return true;
        }
        let mut worth = buf.len() >= limits.head_bytes_max;
        while let Some(found) = memchr::memchr(b'\n', &buf[self.scanned..]) {
            let at = self.scanned + found;
            let wrong = !buf[..at].ends_with(b"\r") || buf[..at].ends_with(b"\r\r");
            let empty = !wrong && at == self.line_start + 1;
            worth |= wrong || !empty && self.lines == 0 || empty && self.lines > 0;
            self.lines += usize::from(!empty);
            (self.scanned, self.line_start) = (at + 1, at + 1);
        }
        self.scanned = buf.len();
        worth
    }
}
