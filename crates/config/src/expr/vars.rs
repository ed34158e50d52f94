//! Names of variables and how they are set (manual 2.8; 4.4, "set-var"; 7.3.1, "set-var").

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::nearest::did_you_mean;
use crate::source::Span;

/// How long a variable lives, and who sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VarScope {
    /// `proc`: as long as the process, by everybody.
    Proc,
    /// `sess`: as long as the client's connection.
    Sess,
    /// `txn`: from the request to its log line.
    Txn,
    /// `req`: until the server answers.
    Req,
    /// `res`: from then on.
    Res,
    /// `check`: one health check.
    Check,
}

/// What scopes are called.
const SCOPES: [(&str, VarScope); 6] = [
    ("proc", VarScope::Proc),
    ("sess", VarScope::Sess),
    ("txn", VarScope::Txn),
    ("req", VarScope::Req),
    ("res", VarScope::Res),
    ("check", VarScope::Check),
];

/// `scope.name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VarName {
    /// Where it lives.
    pub scope: VarScope,
    /// Its name there.
    pub name: Arc<str>,
}

impl VarName {
    /// Reads `scope.name`.
    pub fn parse(text: &str, span: Span) -> Result<Self, Diagnostic> {
        let Some((scope, name)) = text.split_once('.') else {
            let alert = Diagnostic::alert(
                span,
                format!("invalid variable name '{text}': it has no scope"),
            );
            return Err(alert.label("expected a scope and a dot before it, as in 'txn.name'"));
        };
        let Some((_, scope)) = SCOPES.iter().find(|(known, _)| *known == scope) else {
            return Err(unknown_scope(text, scope, span));
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if name.is_empty() || !name.chars().all(is_part) {
            let alert = Diagnostic::alert(span, format!("invalid variable name '{text}'"));
            return Err(alert.label("expected letters, digits and '_' behind the scope"));
        }
        Ok(Self {
            scope: *scope,
            name: name.into(),
        })
    }
}

impl std::fmt::Display for VarName {
    /// As [`VarName::parse`] reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scope = SCOPES.iter().find(|(_, scope)| *scope == self.scope);
        write!(f, "{}.{}", scope.map_or("", |(name, _)| name), self.name)
    }
}

fn unknown_scope(text: &str, scope: &str, span: Span) -> Diagnostic {
    let alert = Diagnostic::alert(
        span,
        format!("invalid variable name '{text}': there is no scope '{scope}'"),
    );
    if matches!(scope, "psess" | "ptxn" | "preq" | "pres") {
        return alert.help("it is that of a stream's parent, and no stream has one here");
    }
    let names = SCOPES.map(|(name, _)| name);
    match did_you_mean(scope, names) {
        Some(hint) => alert.help(hint),
        None => alert.label(format!("expected one of {}", names.join(", "))),
    }
}

/// When a variable is set at all; all that are given must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetWhen {
    /// `ifexists`: it was set before, even if it was unset since.
    Exists,
    /// `ifnotexists`.
    NotExists,
    /// `ifempty`: the new text is empty.
    Empty,
    /// `ifnotempty`.
    NotEmpty,
    /// `ifset`: it has a value.
    Set,
    /// `ifnotset`.
    NotSet,
    /// `ifgt`: its number is greater than the new one.
    Greater,
    /// `iflt`.
    Less,
}

const CONDITIONS: [(&str, SetWhen); 8] = [
    ("ifexists", SetWhen::Exists),
    ("ifnotexists", SetWhen::NotExists),
    ("ifempty", SetWhen::Empty),
    ("ifnotempty", SetWhen::NotEmpty),
    ("ifset", SetWhen::Set),
    ("ifnotset", SetWhen::NotSet),
    ("ifgt", SetWhen::Greater),
    ("iflt", SetWhen::Less),
];

/// Most conditions one `set-var` may have (manual 7.3.1).
const CONDITIONS_MAX: usize = 4;

/// Reads conditions, each with its place.
pub(crate) fn conditions<'a>(
    texts: impl Iterator<Item = (&'a str, Span)>,
) -> Result<Vec<SetWhen>, Diagnostic> {
    let mut found = Vec::new();
    for (text, span) in texts {
        let known = CONDITIONS.iter().find(|(name, _)| *name == text.trim());
        let Some((_, condition)) = known else {
            let names = CONDITIONS.map(|(name, _)| name);
            let alert = Diagnostic::alert(
                span,
                format!("'{text}' is not a condition for setting a variable"),
            );
            return Err(match did_you_mean(text, names) {
                Some(hint) => alert.help(hint),
                None => alert.label(format!("expected one of {}", names.join(", "))),
            });
        };
        if found.len() == CONDITIONS_MAX {
            let message = format!("no more than {CONDITIONS_MAX} conditions can be given");
            return Err(Diagnostic::alert(span, message));
        }
        found.push(*condition);
    }
    Ok(found)
}
