//! Converters that pass a sample on, or not (manual 7.3.1, "when", "debug").

use std::sync::Arc;

use super::Build::With;
use super::{Row, row};
use crate::diagnostics::Diagnostic;
use crate::expr::Kind::Any;
use crate::expr::arguments::Arguments;
use crate::expr::{Acl, Context, Converter, named_acl};

/// On what condition a sample is passed on.
#[derive(Debug, Clone)]
pub struct When {
    /// `!`.
    pub negated: bool,
    /// What must hold.
    pub what: Occasion,
}

/// What may be asked before a sample is passed on.
#[derive(Debug, Clone)]
pub enum Occasion {
    /// `error`: something went wrong, as `option dontlog-normal` sees it.
    Error,
    /// `forwarded`: a server got the request.
    Forwarded,
    /// `processed`: it was answered, by a server or a service of ours.
    Processed,
    /// `toapplet`: a service of ours answered.
    Service,
    /// `stopping`: the process ends.
    Stopping,
    /// `acl,name`.
    Acl(Arc<Acl>),
}

pub(super) static ROWS: &[Row] = &[
    row("when", Any, Any, With(when)),
    row("debug", Any, Any, With(debug)),
];

fn when(arguments: &mut Arguments, context: &Context<'_>) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("a condition")?;
    let (negated, name) = match text.strip_prefix('!') {
        Some(name) => (true, name.to_owned()),
        None => (false, text.to_owned()),
    };
    let (negated, what) = match name.as_str() {
        "error" => (negated, Occasion::Error),
        "normal" => (!negated, Occasion::Error),
        "forwarded" => (negated, Occasion::Forwarded),
        "processed" => (negated, Occasion::Processed),
        "toapplet" => (negated, Occasion::Service),
        "stopping" => (negated, Occasion::Stopping),
        "acl" => {
            let (name, span) = arguments.text("the name of an ACL")?;
            (negated, Occasion::Acl(named_acl(name, span, context)?))
        }
        _ => {
            return Err(
                Diagnostic::alert(span, format!("'{name}' is no condition of 'when'")).label(
                    "expected 'error', 'normal', 'forwarded', 'processed', 'toapplet', 'stopping' \
                     or 'acl'",
                ),
            );
        }
    };
    Ok(Converter::When(When { negated, what }))
}

fn debug(arguments: &mut Arguments, context: &Context<'_>) -> Result<Converter, Diagnostic> {
    let span = arguments.span();
    arguments.optional();
    arguments.optional();
    let notice = Diagnostic::notice(span, "'debug' passes the sample on and shows nothing")
        .help("there are no rings here: put the sample into a log-format to see it");
    context.notices.borrow_mut().push(notice);
    Ok(Converter::PassOn)
}
