//! Where the demo prints: lines, and below them one status line that is refreshed in place on a
//! terminal and printed once a change elsewhere.

use std::io::{IsTerminal, Write};

/// Return to the first column and clear the line.
const CLEAR_LINE: &str = "\r\x1b[2K";
/// Cut what is wider than the terminal: a line that wraps could not be cleared as one.
const CUT_LONG: &str = "\x1b[?7l";
/// Wrap again.
const WRAP_LONG: &str = "\x1b[?7h";

/// Standard output.
pub(super) struct Screen {
    terminal: bool,
    status: String,
}

impl Screen {
    /// Finds out whether a terminal is there.
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            status: String::new(),
        }
    }

    /// Prints a line above the status.
    pub(super) fn say(&mut self, line: &str) {
        if self.terminal {
            write(&format!(
                "{CLEAR_LINE}{line}\n{CUT_LONG}{}{WRAP_LONG}",
                self.status
            ));
        } else {
            write(&format!("{line}\n"));
        }
    }

    /// Replaces the status.
    pub(super) fn status(&mut self, status: &str) {
        if self.status == status {
            return;
        }
        self.status = status.to_owned();
        if self.terminal {
            write(&format!("{CLEAR_LINE}{CUT_LONG}{status}{WRAP_LONG}"));
        } else {
            write(&format!("{status}\n"));
        }
    }

    /// Leaves the cursor on a line of its own.
    pub(super) fn end(&mut self) {
        if self.terminal && !self.status.is_empty() {
            write("\n");
        }
    }
}

/// A reader that has gone (`| head`) must not end the demo.
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).ok();
    out.flush().ok();
}
