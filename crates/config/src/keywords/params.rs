//! Parameters of `bind` and `server` lines: words after the address, each with its own values.

use super::{Status, verdict};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::lexer::Word;
use crate::nearest::did_you_mean;

use super::Scope;

/// One parameter. `P` is its parse function.
pub(crate) struct Parameter<P> {
    pub(crate) name: &'static str,
    /// How many words follow it: what is skipped when it has no parse function.
    pub(crate) values: usize,
    pub(crate) status: Status<P>,
}

pub(crate) const fn implemented<P>(name: &'static str, parse: P) -> Parameter<P> {
    Parameter {
        name,
        values: 0,
        status: Status::Implemented(parse),
    }
}

pub(crate) const fn accepted<P>(
    name: &'static str,
    values: usize,
    why: &'static str,
) -> Parameter<P> {
    Parameter {
        name,
        values,
        status: Status::Accepted(why),
    }
}

/// It will not be had; why, and what to do instead.
pub(crate) const fn refused<P>(
    name: &'static str,
    values: usize,
    why: &'static str,
    instead: &'static str,
) -> Parameter<P> {
    Parameter {
        name,
        values,
        status: Status::Refused(why, instead),
    }
}

/// Read without an effect that somebody may have counted on.
pub(crate) const fn not_in_force<P>(
    name: &'static str,
    values: usize,
    instead: &'static str,
) -> Parameter<P> {
    Parameter {
        name,
        values,
        status: Status::NotInForce(instead),
    }
}

pub(crate) const fn not_yet<P>(name: &'static str, values: usize) -> Parameter<P> {
    Parameter {
        name,
        values,
        status: Status::NotYet,
    }
}

/// What a parameter's parse function gets, and what it changes.
pub(crate) type ParameterParse<T> = fn(&mut T, &mut Args<'_>, &Scope<'_>) -> Result<(), Diagnostic>;

/// Reads all parameters to the end of the line. A parameter that cannot be read is reported, its
/// values are skipped, and reading goes on, so that all problems of a line are told at once.
/// Whether all was well is returned.
pub(crate) fn read<T>(
    table: &'static [Parameter<ParameterParse<T>>],
    line: &str,
    target: &mut T,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> bool {
    let mut well = true;
    while let Some(word) = args.next() {
        let known = table
            .iter()
            .find(|parameter| word.text.split('(').next() == Some(parameter.name));
        let outcome = match known {
            None => {
                // What the unknown word takes is unknown as well: the rest would only be noise.
                args.rest();
                Err(unknown(table, line, word))
            }
            Some(parameter) => one(parameter, line, word, target, args, scope),
        };
        if let Err(problem) = outcome {
            well = false;
            scope.report(problem);
        }
    }
    well
}

fn one<T>(
    parameter: &Parameter<ParameterParse<T>>,
    line: &str,
    word: &Word,
    target: &mut T,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    if let Status::Implemented(parse) = parameter.status {
        let keyword = std::mem::replace(&mut args.keyword, parameter.name);
        let outcome = parse(target, args, scope);
        args.keyword = keyword;
        return outcome;
    }
    for _ in 0..parameter.values {
        args.next();
    }
    let name = format!("{line} … {}", parameter.name);
    match (
        verdict(&name, &parameter.status, word.span),
        &parameter.status,
    ) {
        (Some(told), Status::Accepted(_) | Status::NotInForce(_)) => {
            scope.report_verdict(&name, &parameter.status, told);
            Ok(())
        }
        (Some(problem), _) => Err(problem),
        (None, _) => Ok(()),
    }
}

fn unknown<P>(table: &[Parameter<P>], line: &str, word: &Word) -> Diagnostic {
    let alert = Diagnostic::alert(
        word.span,
        format!("'{line}' : unknown keyword '{}'", word.text),
    );
    match did_you_mean(&word.text, table.iter().map(|parameter| parameter.name)) {
        Some(hint) => alert.help(hint),
        None => alert,
    }
}

/// `proto NAME` of a `bind` or `server` line.
pub(crate) fn proto(line: &str, args: &mut Args<'_>) -> Result<(), Diagnostic> {
    let word = args.required("the name of a protocol")?;
    match word.text.as_str() {
        "h1" | "none" => Ok(()),
        "h2" | "qmux" | "quic" | "fcgi" | "spop" => Err(Diagnostic::alert(
            word.span,
            format!("'{line} … proto {}' is not implemented yet", word.text),
        )),
        other => Err(Diagnostic::alert(
            word.span,
            format!("'proto' : unknown MUX protocol '{other}'"),
        )),
    }
}
