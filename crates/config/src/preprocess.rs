//! `.if`, `.elif`, `.else`, `.endif` and the messages `.notice`, `.warning`, `.alert`, `.diag`
//! (manual 2.4): which lines of a text are read at all.

use crate::Surroundings;
use crate::diagnostics::Diagnostic;
use crate::lexer::Word;
use crate::nearest::did_you_mean;
use crate::predicates;
use crate::source::Span;

/// Deepest nesting of `.if`. HAProxy allows 1024.
const NESTING_MAX: usize = 1024;

const DIRECTIVES: &[&str] = &[
    ".if", ".elif", ".else", ".endif", ".notice", ".warning", ".alert", ".diag",
];

/// The `.if` blocks we are in.
#[derive(Default)]
pub(crate) struct Preprocessor {
    blocks: Vec<Block>,
}

struct Block {
    opened: Span,
    /// Whether lines are read in the part we are in.
    taken: bool,
    /// Whether an earlier part was read, so that no later one is.
    done: bool,
    /// Whether `.else` was seen.
    last: bool,
}

impl Preprocessor {
    /// Whether ordinary lines are read here.
    pub(crate) fn reading(&self) -> bool {
        self.blocks.iter().all(|block| block.taken)
    }

    /// Whether the lexer may skip this line unseen: it stands in a block that is not read and is
    /// no directive. Broken quotes there are nobody's business.
    pub(crate) fn skips(&self, line: &str) -> bool {
        !self.reading() && !line.trim_start().starts_with('.')
    }

    /// Takes one line. `None`: it is no directive. Messages go to `report`.
    pub(crate) fn directive(
        &mut self,
        words: &[Word],
        surroundings: &dyn Surroundings,
        report: &mut Vec<Diagnostic>,
    ) -> Option<()> {
        let (first, arguments) = words.split_first()?;
        if first.quoted || !first.text.starts_with('.') {
            return None;
        }
        let outcome = match first.text.as_str() {
            ".if" => self.open(first, arguments, surroundings),
            ".elif" => self.next(first, Some((arguments, surroundings))),
            ".else" => self.next(first, None),
            ".endif" => match self.blocks.pop() {
                Some(_) => Ok(()),
                None => Err(unexpected(first, "no .if is open")),
            },
            _ if !self.reading() => Ok(()),
            ".notice" => message(arguments).map(|text| {
                report.push(Diagnostic::notice(first.span, text));
            }),
            ".warning" => message(arguments).map(|text| {
                report.push(Diagnostic::warning(first.span, text));
            }),
            ".alert" => {
                message(arguments).and_then(|text| Err(Diagnostic::alert(first.span, text)))
            }
            // Only shown by `-dD`, which asks for what we say anyway.
            ".diag" => Ok(()),
            name => Err(unknown(first, name)),
        };
        if let Err(problem) = outcome {
            report.push(problem);
        }
        Some(())
    }

    /// Ends a text: what is still open was never closed.
    pub(crate) fn finish(&mut self, report: &mut Vec<Diagnostic>) {
        for block in self.blocks.drain(..) {
            report.push(
                Diagnostic::alert(block.opened, "this .if has no .endif")
                    .help("close it with .endif before the end of the file"),
            );
        }
    }

    fn open(
        &mut self,
        first: &Word,
        arguments: &[Word],
        surroundings: &dyn Surroundings,
    ) -> Result<(), Diagnostic> {
        if self.blocks.len() == NESTING_MAX {
            return Err(Diagnostic::alert(
                first.span,
                format!("more than {NESTING_MAX} nested .if"),
            ));
        }
        let outer = self.reading();
        // In a block that is not read nothing is evaluated: it may use what does not exist.
        let condition = match outer {
            true => evaluate(first, arguments, surroundings),
            false => Ok(false),
        };
        let taken = *condition.as_ref().unwrap_or(&false);
        self.blocks.push(Block {
            opened: first.span,
            taken,
            done: taken || condition.is_err() || !outer,
            last: false,
        });
        condition.map(|_| ())
    }

    fn next(
        &mut self,
        first: &Word,
        condition: Option<(&[Word], &dyn Surroundings)>,
    ) -> Result<(), Diagnostic> {
        let outer = match self.blocks.split_last() {
            Some((_, outer)) => outer.iter().all(|block| block.taken),
            None => return Err(unexpected(first, "no .if is open")),
        };
        let Some(block) = self.blocks.last_mut() else {
            return Ok(());
        };
        if block.last {
            return Err(unexpected(first, ".else was the last part of this .if"));
        }
        block.last = condition.is_none();
        block.taken = false;
        if block.done || !outer {
            return Ok(());
        }
        block.taken = match condition {
            Some((arguments, surroundings)) => evaluate(first, arguments, surroundings)?,
            None => true,
        };
        block.done = block.taken;
        Ok(())
    }
}

fn evaluate(
    first: &Word,
    arguments: &[Word],
    surroundings: &dyn Surroundings,
) -> Result<bool, Diagnostic> {
    let words: Vec<&str> = arguments.iter().map(|word| word.text.as_str()).collect();
    let place = match (arguments.first(), arguments.last()) {
        (Some(from), Some(last)) => from.span.to(last.span),
        _ => first.span,
    };
    predicates::evaluate(&words.join(" "), surroundings).map_err(|why| {
        Diagnostic::alert(place, format!("{} cannot be evaluated: {why}", first.text))
    })
}

fn message(arguments: &[Word]) -> Result<String, Diagnostic> {
    let words: Vec<&str> = arguments.iter().map(|word| word.text.as_str()).collect();
    Ok(words.join(" "))
}

fn unexpected(first: &Word, why: &str) -> Diagnostic {
    Diagnostic::alert(first.span, format!("unexpected {}: {why}", first.text))
}

fn unknown(first: &Word, name: &str) -> Diagnostic {
    let alert = Diagnostic::alert(first.span, format!("unknown directive '{name}'"));
    match did_you_mean(name, DIRECTIVES.iter().copied()) {
        Some(hint) => alert.help(hint),
        None => alert.help(format!("the directives are {}", DIRECTIVES.join(", "))),
    }
}
