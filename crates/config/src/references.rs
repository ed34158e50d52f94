//! Sections and servers that expressions name: they must exist.

use std::collections::BTreeSet;

use crate::check::Drafts;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::expr::{Reference, Referred};
use crate::keywords::SectionKind;
use crate::nearest::did_you_mean_among_many;
use crate::resolve::Names;

/// Tells what is missing.
pub(crate) fn check(drafts: &Drafts, names: &Names, report: &mut Vec<Diagnostic>) {
    for Reference { named, span } in &drafts.references {
        match named {
            Referred::Backend(name) => {
                names.backend(name, *span, "sample expression", report);
            }
            Referred::Frontend(name) => {
                let fronts = [SectionKind::Frontend, SectionKind::Listen];
                let fronts = { drafts.proxies.iter() }.filter(|it| fronts.contains(&it.kind));
                let known: BTreeSet<&str> = fronts.map(|it| &*it.proxy.name).collect();
                if !known.contains(&**name) {
                    let message = format!("there is no frontend '{name}'");
                    let alert = Diagnostic::alert(*span, message)
                        .label("no 'frontend' or 'listen' section has this name");
                    let hint = did_you_mean_among_many(name, known, report);
                    report.push(match hint {
                        Some(hint) => alert.help(hint),
                        None => alert,
                    });
                }
            }
            Referred::Server(backend, server) => {
                let known = names.backend(backend, *span, "backend", report).is_some();
                let draft = drafts.proxies.iter().find(|it| is_backend(it, backend));
                let Some(draft) = draft.filter(|_| known) else {
                    continue;
                };
                let mut servers = draft.back.servers.iter();
                // What discovery brings has its names from there.
                let filled = drafts
                    .discovery
                    .as_ref()
                    .is_some_and(|it| it.backend.as_ref().is_some_and(|it| it.name == *backend));
                if !filled && !servers.any(|it| it.server.name == *server) {
                    let message = format!("backend '{backend}' has no server '{server}'");
                    report.push(Diagnostic::alert(*span, message));
                }
            }
        }
    }
}

fn is_backend(draft: &Draft, name: &str) -> bool {
    matches!(draft.kind, SectionKind::Backend | SectionKind::Listen) && *draft.proxy.name == *name
}
