//! `track` and `observe` of servers: what they refer to exists and fits (manual 5.2).

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::draft::{Draft, Named, ServerDraft};
use crate::keywords::SectionKind;
use crate::model::{BackendId, Config, Mode, ObservedLayer, Tracked};

/// Layer 7 can only be observed where there is one.
pub(crate) fn check_observed(draft: &Draft, server: &ServerDraft) -> Option<Diagnostic> {
    let layer7 = server.server.observe.layer == Some(ObservedLayer::Layer7);
    let wrong = layer7 && draft.proxy.mode != Mode::Http;
    let place = server.observe_span.unwrap_or(server.server.span);
    wrong.then(|| {
        Diagnostic::alert(
            place,
            format!(
                "server '{}/{}' : 'layer7' can only be used in http proxies",
                draft.proxy.name, server.server.name
            ),
        )
        .help("write 'mode http', or 'observe layer4'")
    })
}

/// Sets `track` of all servers that have one. Backends of the configuration stand in the order of
/// their drafts.
pub(crate) fn resolve(proxies: &[Draft], config: &mut Config, report: &mut Vec<Diagnostic>) {
    let backends = proxies
        .iter()
        .filter(|draft| matches!(draft.kind, SectionKind::Backend | SectionKind::Listen));
    for (index, draft) in backends.enumerate() {
        for server in &draft.back.servers {
            let Some(named) = &server.track else { continue };
            let name = &server.server.name;
            match find(config, BackendId(index), named) {
                _ if server.check => {
                    let message = "unable to enable checks and tracking at the same time";
                    report.push(wrong(draft, server, named, message));
                }
                Ok(tracked) => {
                    let servers = &mut config.backends[index].servers;
                    if let Some(server) = servers.iter_mut().find(|it| it.name == *name) {
                        server.track = Some(tracked);
                    }
                }
                Err(message) => report.push(wrong(draft, server, named, &message)),
            }
        }
    }
    check_chains(config, report);
}

fn wrong(draft: &Draft, server: &ServerDraft, named: &Named, message: &str) -> Diagnostic {
    let (backend, server) = (&draft.proxy.name, &server.server.name);
    Diagnostic::alert(
        named.span,
        format!("server '{backend}/{server}' : {message}"),
    )
}

fn find(config: &Config, own: BackendId, named: &Named) -> Result<Tracked, String> {
    let (backend, name) = match named.name.split_once('/') {
        Some((backend, server)) => {
            let position = config
                .backends
                .iter()
                .position(|it| *it.proxy.name == *backend)
                .ok_or_else(|| format!("unable to find required proxy '{backend}' for tracking"))?;
            (BackendId(position), server)
        }
        None => (own, &*named.name),
    };
    let servers = &config.backends[backend.0].servers;
    let known = servers.iter().find(|server| *server.name == *name);
    let known =
        known.ok_or_else(|| format!("unable to find required server '{name}' for tracking"))?;
    Ok(Tracked {
        backend,
        server: known.name.clone(),
    })
}

/// Each chain ends at a server that is checked.
fn check_chains(config: &Config, report: &mut Vec<Diagnostic>) {
    for backend in &config.backends {
        for server in backend.servers.iter().filter(|it| it.track.is_some()) {
            if let Err(message) = follow_chain(config, server.track.as_ref()) {
                let title = format!("server '{}/{}'", backend.proxy.name, server.name);
                report.push(Diagnostic::alert(
                    server.span,
                    format!("{title} : {message}"),
                ));
            }
        }
    }
}

fn follow_chain(config: &Config, first: Option<&Tracked>) -> Result<(), String> {
    let mut seen: Vec<(BackendId, Arc<str>)> = Vec::new();
    let mut next = first;
    while let Some(tracked) = next {
        let backend = &config.backends[tracked.backend.0];
        let title = format!("{}/{}", backend.proxy.name, tracked.server);
        let at = (tracked.backend, tracked.server.clone());
        if seen.contains(&at) {
            return Err(format!(
                "unable to track {title}: the chain leads back to it"
            ));
        }
        seen.push(at);
        let server = backend.servers.iter().find(|it| it.name == tracked.server);
        next = server.and_then(|it| it.track.as_ref());
        if next.is_none() && server.is_some_and(|it| it.check.is_none()) {
            return Err(format!(
                "unable to use {title} for tracking as it does not have any check enabled"
            ));
        }
    }
    Ok(())
}
