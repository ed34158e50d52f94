//! Sample expressions: a fetch and its converters (manual 7.3). The keywords are
//! in `fetches` and `converters`.

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Cursor;
use crate::expr::names::{self, Role};
use crate::expr::{Context, Kind, Needs, Sample, Stage, converters, fetches};
use crate::lexer::Word;
use crate::source::Span;

/// Reads a whole word as a sample expression. Fails where it can have no value at this stage.
pub fn parse(word: &Word, context: &Context<'_>) -> Result<Sample, Diagnostic> {
    let mut cursor = Cursor::new(word, 0);
    let sample = read(&mut cursor, None, context)?;
    require_met(&sample, cursor.span_from(0), context)?;
    Ok(sample)
}

/// Fails where a sample needs what is not there at this stage.
pub(super) fn require_met(
    sample: &Sample,
    span: Span,
    context: &Context<'_>,
) -> Result<(), Diagnostic> {
    let Some(what) = unmet(sample.needs, context) else {
        return Ok(());
    };
    let message = format!("'{}' has no value here", sample.text);
    Err(Diagnostic::alert(span, message).label(what))
}

/// What is missing for a sample at this stage, in words.
pub(super) fn unmet(needs: Needs, context: &Context<'_>) -> Option<&'static str> {
    if needs.met(context.stage) {
        return None;
    }
    Some(match needs {
        _ if context.stage == Stage::Connection => "nothing was received yet",
        Needs::RequestBytes => "what was received is not kept that long",
        Needs::RequestHead => "the request's headers are not kept that long",
        Needs::ResponseStatus | Needs::ResponseHead | Needs::ResponseBytes
            if context.stage == Stage::Request =>
        {
            "there is no response yet"
        }
        _ => "no message is at hand",
    })
}

/// Reads a sample expression up to the end of the word, or to `closing` (which is not read).
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    closing: Option<u8>,
    context: &Context<'_>,
) -> Result<Sample, Diagnostic> {
    let start = cursor.position();
    let name = cursor.name();
    read_named(cursor, start, name, name, closing, context)
}

/// The same when the name was read already; `name` is what the fetch is called, which may differ
/// from what was `written` (`hdr_beg`).
pub(super) fn read_named(
    cursor: &mut Cursor<'_>,
    start: usize,
    written: &str,
    name: &str,
    closing: Option<u8>,
    context: &Context<'_>,
) -> Result<Sample, Diagnostic> {
    if written.is_empty() {
        let place = cursor.span(start..start + 1);
        return Err(Diagnostic::alert(place, "a sample fetch is missing here")
            .label("expected a fetch such as 'src', 'path' or 'hdr(name)'"));
    }
    let place = cursor.span_from(start);
    let row = fetches::find(name)
        .ok_or_else(|| names::refuse(Role::Fetch, written, place, fetches::names()))?;
    let mut arguments = cursor.arguments(written)?;
    let fetch = row.build(&mut arguments, context)?;
    arguments.finish()?;
    let mut sample = Sample {
        fetch,
        converters: Vec::new(),
        kind: row.kind,
        needs: row.needs,
        text: "".into(),
    };
    while cursor.peek().is_some() && cursor.peek() != closing {
        read_converter(cursor, closing, &mut sample, context)?;
    }
    sample.text = cursor.text_from(start).into();
    Ok(sample)
}

/// Reads a comma and a converter. As in HAProxy a comma with nothing behind it is harmless.
fn read_converter(
    cursor: &mut Cursor<'_>,
    closing: Option<u8>,
    sample: &mut Sample,
    context: &Context<'_>,
) -> Result<(), Diagnostic> {
    let at = cursor.position();
    if !cursor.eat(b',') {
        let message = "only a comma and a converter may follow here";
        return Err(Diagnostic::alert(cursor.span(at..at + 1), message).label("expected ','"));
    }
    while cursor.eat(b',') {}
    if cursor.peek().is_none() && closing.is_none() {
        return Ok(());
    }
    let start = cursor.position();
    let name = cursor.name();
    let place = cursor.span(start..cursor.position().max(start + 1));
    if name.is_empty() {
        return Err(Diagnostic::alert(place, "a converter is missing here")
            .label("expected a converter such as 'lower'")
            .help("no spaces around the commas"));
    }
    let row = converters::find(name)
        .ok_or_else(|| names::refuse(Role::Converter, name, place, converters::names()))?;
    if !converters::castable(sample.kind, row.input) {
        let message = format!("'{name}' cannot be applied to {}", sample.kind.words());
        return Err(Diagnostic::alert(place, message)
            .label(format!("expected {} before it", row.input.words())));
    }
    let mut arguments = cursor.arguments(name)?;
    let converter = row.build(&mut arguments, context)?;
    arguments.finish()?;
    sample.converters.push(converter);
    // One that passes on what it got leaves its type as it was.
    if row.output != Kind::Any {
        sample.kind = row.output;
    }
    Ok(())
}
