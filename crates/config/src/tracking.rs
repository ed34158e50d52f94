//! `track` and `observe` of servers: what they refer to exists and fits (manual 5.2).

use std::collections::BTreeMap;
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
    let tracking = backends.enumerate().flat_map(|(index, draft)| {
        let tracked = |server: &'_ ServerDraft| server.track.is_some();
        let servers = draft.back.servers.iter().filter(move |it| tracked(it));
        servers.map(move |server| (BackendId(index), draft, server))
    });
    let mut tracking = tracking.peekable();
    // Most configurations have none, and need no index.
    if tracking.peek().is_none() {
        return;
    }
    let places = Places::new(config);
    let mut leaders = vec![None; places.count];
    for (own, draft, server) in tracking {
        let Some(named) = &server.track else { continue };
        match places.find(own, named) {
            _ if server.check => {
                let message = "unable to enable checks and tracking at the same time";
                report.push(wrong(draft, server, named, message));
            }
            Ok(leader) => {
                if let Some(follower) = places.servers[own.0].get(&server.server.name) {
                    leaders[places.number(own, *follower)] = Some(leader);
                    let (backend, server) = leader;
                    let server = config.backends[backend.0].servers[server].name.clone();
                    let tracked = Tracked { backend, server };
                    config.backends[own.0].servers[*follower].track = Some(tracked);
                }
            }
            Err(message) => report.push(wrong(draft, server, named, &message)),
        }
    }
    check_chains(config, &places, &leaders, report);
}

fn wrong(draft: &Draft, server: &ServerDraft, named: &Named, message: &str) -> Diagnostic {
    let (backend, server) = (&draft.proxy.name, &server.server.name);
    Diagnostic::alert(
        named.span,
        format!("server '{backend}/{server}' : {message}"),
    )
}

/// A server, by its backend and its position there.
type Place = (BackendId, usize);

/// Where the servers of a name are, so that thousands of them are not looked through for each other.
struct Places {
    backends: BTreeMap<Arc<str>, BackendId>,
    /// Of each backend.
    servers: Vec<BTreeMap<Arc<str>, usize>>,
    /// How many servers the backends before it have.
    before: Vec<usize>,
    count: usize,
}

impl Places {
    fn new(config: &Config) -> Self {
        let mut places = Self {
            backends: BTreeMap::new(),
            servers: Vec::new(),
            before: Vec::new(),
            count: 0,
        };
        for (index, backend) in config.backends.iter().enumerate() {
            let name = backend.proxy.name.clone();
            places.backends.entry(name).or_insert(BackendId(index));
            let names = backend.servers.iter().map(|server| server.name.clone());
            places.servers.push(names.zip(0..).collect());
            places.before.push(places.count);
            places.count += backend.servers.len();
        }
        places
    }

    /// The server's number among all.
    fn number(&self, backend: BackendId, position: usize) -> usize {
        self.before[backend.0] + position
    }

    fn find(&self, own: BackendId, named: &Named) -> Result<Place, String> {
        let (backend, name) = match named.name.split_once('/') {
            Some((backend, server)) => {
                let id = self.backends.get(backend).ok_or_else(|| {
                    format!("unable to find required proxy '{backend}' for tracking")
                })?;
                (*id, server)
            }
            None => (own, &*named.name),
        };
        match self.servers[backend.0].get(name) {
            Some(position) => Ok((backend, *position)),
            None => Err(format!(
                "unable to find required server '{name}' for tracking"
            )),
        }
    }
}

/// Where a chain leads that begins at a server.
#[derive(Debug, Clone, Copy)]
enum Leads {
    /// To one that is checked.
    Well,
    /// To this one, which is not.
    Unchecked(Place),
    /// Around and around, by way of this one.
    BackTo(Place),
}

/// Each chain ends at a server that is checked.
fn check_chains(
    config: &Config,
    places: &Places,
    leaders: &[Option<Place>],
    report: &mut Vec<Diagnostic>,
) {
    let mut known: Vec<Option<Leads>> = vec![None; places.count];
    for (index, backend) in config.backends.iter().enumerate() {
        for (position, server) in backend.servers.iter().enumerate() {
            let Some(leader) = leaders[places.number(BackendId(index), position)] else {
                continue;
            };
            let title = |(backend, server): Place| {
                let backend = &config.backends[backend.0];
                format!("{}/{}", backend.proxy.name, backend.servers[server].name)
            };
            let message = match follow(config, places, leaders, leader, &mut known) {
                Leads::Well => continue,
                Leads::BackTo(place) => format!(
                    "unable to track {}: the chain leads back to it",
                    title(place)
                ),
                Leads::Unchecked(place) => format!(
                    "unable to use {} for tracking as it does not have any check enabled",
                    title(place)
                ),
            };
            let own = format!("server '{}/{}'", backend.proxy.name, server.name);
            report.push(Diagnostic::alert(server.span, format!("{own} : {message}")));
        }
    }
}

/// Follows a chain as far as it is not known yet where it leads, and notes it for all on the way: each server
/// is passed once.
fn follow(
    config: &Config,
    places: &Places,
    leaders: &[Option<Place>],
    first: Place,
    known: &mut [Option<Leads>],
) -> Leads {
    let number = |(backend, position): Place| places.number(backend, position);
    let mut way = vec![first];
    let mut at = first;
    let leads = loop {
        if let Some(leads) = known[number(at)] {
            break leads;
        }
        // For now: who comes here again has gone in a circle.
        known[number(at)] = Some(Leads::BackTo(at));
        match leaders[number(at)] {
            Some(leader) => at = leader,
            None if config.backends[at.0.0].servers[at.1].check.is_some() => break Leads::Well,
            None => break Leads::Unchecked(at),
        }
        way.push(at);
    };
    // Those of the circle come back to themselves, as noted; those before it to where they enter it.
    let circle = match leads {
        Leads::BackTo(entry) => way.iter().position(|place| *place == entry),
        _ => None,
    };
    for place in &way[..circle.unwrap_or(way.len())] {
        known[number(*place)] = Some(leads);
    }
    known[number(first)].unwrap_or(leads)
}
