//! What is written where, without asking whether it is right: sections and their lines, for who edits
//! a file that another program reads. `.if` and variables count as they do in [`crate::load`].

use crate::Surroundings;
use crate::ast::Modifier;
use crate::environment::Environment;
use crate::lexer::Word;
use crate::parser;
use crate::source::{Source, Span};

/// A section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlined {
    /// The keyword that opens it.
    pub keyword: &'static str,
    /// The words after it.
    pub arguments: Vec<String>,
    /// Its first line.
    pub place: Span,
    /// Its lines, without those that begin with `no` or `default`.
    pub lines: Vec<OutlinedLine>,
}

/// A line of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlinedLine {
    /// Its words, after quotes, escapes and variables were resolved.
    pub words: Vec<String>,
    /// From the first word to the last.
    pub place: Span,
}

/// All sections that can be made out; what cannot be read is left out.
pub fn outline(sources: &[Source], surroundings: &dyn Surroundings) -> Vec<Outlined> {
    let environment = Environment::new(surroundings);
    let sections = parser::parse(sources, &environment, &mut Vec::new());
    let texts = |words: &[Word]| words.iter().map(|word| word.text.clone()).collect();
    let outlined = sections.iter().map(|section| {
        let lines = section.lines.iter();
        let lines = lines.filter(|line| line.modifier == Modifier::None);
        Outlined {
            keyword: section.kind.name(),
            arguments: texts(&section.arguments),
            place: section.span,
            lines: lines
                .map(|line| OutlinedLine {
                    words: texts(&line.words),
                    place: line.span,
                })
                .collect(),
        }
    });
    outlined.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Surroundings for Nothing {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }

        fn read(&self, _path: &str) -> Result<String, String> {
            Err(String::new())
        }
    }

    #[test]
    fn sections_are_found_whatever_is_wrong_in_them() {
        let text = "global\n  lua-load x\nbackend b from d\n  frobnicate\n  server 'a b' 1.2.3.4\n\
                    .if feature(NOBODY)\n  server c\n.endif\n  no option x\nprogram p\n  command c\n";
        let outlined = outline(&[Source::new("f", text)], &Nothing);
        let printed: Vec<String> = outlined
            .iter()
            .map(|section| {
                let lines = section.lines.iter();
                let lines: Vec<String> = lines
                    .map(|line| format!("{}:{}", line.place.line, line.words.join("|")))
                    .collect();
                let (keyword, arguments) = (section.keyword, section.arguments.join(" "));
                format!("{keyword} {arguments}: {}", lines.join(", "))
            })
            .collect();
        assert_eq!(
            printed[1],
            "backend b from d: 4:frobnicate, 5:server|a b|1.2.3.4"
        );
        assert!(printed[0].starts_with("global : 2:lua-load|x") && printed.len() == 3);
    }
}
