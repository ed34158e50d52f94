//! Whether two parts of configurations say the same, wherever they are written.
//!
//! Expressions hold compiled patterns, which cannot be compared; what they print can, and the places in
//! files that are printed with it are left out. Secrets do not print: who depends on one must not ask here.

use std::fmt::{Debug, Write};

/// What a part of a configuration says, as text that means nothing but that.
pub(super) fn essence(part: &impl Debug) -> String {
    let mut kept = Kept::default();
    // Writing to memory does not fail.
    let _ = write!(kept, "{part:?}");
    kept.text
}

/// What begins a place in a file.
const PLACE: &str = "Span {";

/// Text without the places in files.
#[derive(Default)]
struct Kept {
    text: String,
    /// How many braces of a place are open.
    depth: usize,
}

impl Write for Kept {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        for letter in part.chars() {
            match (self.depth, letter) {
                (0, _) => {
                    self.text.push(letter);
                    if letter == '{' && self.text.ends_with(PLACE) {
                        self.depth = 1;
                    }
                }
                (_, '{') => self.depth += 1,
                (_, '}') => self.depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use config::model::{Server, Weight};
    use config::source::Span;

    use super::*;

    #[test]
    fn where_it_is_written_makes_no_difference() {
        let at = |line, weight| Server {
            span: Span {
                line,
                ..Span::default()
            },
            weight: Weight::new(weight).expect("a weight"),
            ..Server::default()
        };
        assert_eq!(essence(&at(1, 1)), essence(&at(9, 1)));
        assert_ne!(essence(&at(1, 1)), essence(&at(1, 2)));
        assert_eq!(essence(&(Span::default(), 7)), "(Span {, 7)");
    }
}
