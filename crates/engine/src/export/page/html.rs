//! Puts a document together. Text that is not part of this program cannot get in unescaped: what is
//! taken as it is must be `'static`.

use std::fmt::{self, Display, Write as _};

/// A document in the making.
pub(super) struct Html {
    out: String,
}

impl Html {
    /// Goes on behind what there is.
    pub(super) fn onto(out: String) -> Self {
        Self { out }
    }

    /// Markup of ours.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.out.push_str(markup);
        self
    }

    /// Anything else, between tags or inside a quoted attribute.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = write!(Escape(&mut self.out), "{text}");
        self
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

struct Escape<'o>(&'o mut String);

impl fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Controls and marks that turn the direction of writing could disguise a name.
                c if c.is_control() || is_bidi(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// Unicode's explicit directional formatting characters (UAX #9).
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
