//! Parameters of `server` about its health beside checks: what traffic says of it, and what follows
//! when it goes up or down (manual 5.2).

use super::Scope;
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::{Named, ServerDraft};
use crate::model::{InitState, ObservedLayer, OnError};
use crate::values::next_number;

/// Takes the next word, which is one of those in `choices`.
pub(crate) fn choice<T: Copy>(args: &mut Args<'_>, choices: &[(&str, T)]) -> Result<T, Diagnostic> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let expected = match &names[..] {
        [only] => format!("'{only}'"),
        names => format!("one of {}", crate::values::list(names)),
    };
    let word = args.required(&expected)?;
    let known = choices.iter().find(|(name, _)| word.is(name));
    known.map(|(_, value)| *value).ok_or_else(|| {
        let (keyword, got) = (args.keyword, &word.text);
        let message = format!("'{keyword}' expects {expected} but got '{got}'");
        Diagnostic::alert(word.span, message)
    })
}

pub(crate) fn observe(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let place = args.peek().map(|word| word.span);
    let choices = [
        ("none", None),
        ("layer4", Some(ObservedLayer::Layer4)),
        ("layer7", Some(ObservedLayer::Layer7)),
    ];
    draft.server.observe.layer = choice(args, &choices)?;
    draft.observe_span = place;
    Ok(())
}

pub(crate) fn error_limit(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.observe.error_limit = next_number(args, 1..=i32::MAX as u64)?;
    Ok(())
}

pub(crate) fn on_error(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let choices = [
        ("fastinter", OnError::FastInter),
        ("fail-check", OnError::FailCheck),
        ("sudden-death", OnError::SuddenDeath),
        ("mark-down", OnError::MarkDown),
    ];
    draft.server.observe.on_error = choice(args, &choices)?;
    Ok(())
}

pub(crate) fn on_marked_down(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.on_marked.down_shuts_sessions = choice(args, &[("shutdown-sessions", true)])?;
    Ok(())
}

pub(crate) fn on_marked_up(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.on_marked.up_shuts_backups = choice(args, &[("shutdown-backup-sessions", true)])?;
    Ok(())
}

pub(crate) fn init_state(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let choices = [
        ("up", InitState::Up),
        ("fully-up", InitState::FullyUp),
        ("down", InitState::Down),
        ("fully-down", InitState::FullyDown),
    ];
    draft.server.check_parameters.init = choice(args, &choices)?;
    Ok(())
}

/// `[backend/]server`; whether it exists is known when all sections have been read.
pub(crate) fn track(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("[<proxy>/]<server>")?;
    draft.track = Some(Named {
        name: word.text.as_str().into(),
        span: word.span,
    });
    Ok(())
}
