//! `option external-check`, `external-check command` and `external-check path` (manual 4.2): a program
//! says whether a server is well. They are in force only where `global` allows that programs are run, by
//! `external-check` and `insecure-fork-wanted`.

use super::check_draft::{CheckDraft, CheckKind};
use super::{BACK, ProxyKeyword, Scope, implemented};
use crate::args::Args;
use crate::diagnostics::Diagnostic;

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("option external-check", BACK, |d, a, s| {
        option(&mut d.back.checks, a, s)
    }),
    implemented("external-check command", BACK, |draft, args, _| {
        let word = args.required("the path of a program")?;
        let (program, place) = (word.text.as_str().into(), word.span);
        draft.back.checks.command = Some((program, place));
        args.end()
    }),
    implemented("external-check path", BACK, |draft, args, _| {
        let word = args.required_text("folders such as /usr/bin:/bin")?;
        draft.back.checks.command_path = Some(word.text.as_str().into());
        args.end()
    }),
];

/// Fails where `global` does not allow it.
fn option(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    args.end()?;
    let (external, fork) = (scope.bases.external_checks, scope.bases.fork_wanted);
    let missing = match (external, fork) {
        (true, true) => None,
        (false, _) => Some("external-check"),
        (true, false) => Some("insecure-fork-wanted"),
    };
    if let Some(keyword) = missing {
        let message = format!("'{}' requires '{keyword}' in 'global'", args.keyword);
        return Err(Diagnostic::alert(args.place(), message)
            .label("no program is run unless that is allowed")
            .help("add it above this section, or use 'http-check' or 'tcp-check' lines, or 'agent-check'"));
    }
    draft.external = Some(args.place());
    draft.kind = Some(CheckKind::External);
    Ok(())
}
