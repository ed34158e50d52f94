//! The stats page for people: one HTML document without script and without anything to fetch, so that
//! it works behind any policy and in any browser. Everything a client, a node or a file may have named
//! passes `html::Html::text`, which escapes it.

mod admin;
mod cards;
mod html;
mod numbers;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use config::model::StatsPage;

use super::{Place, Report, Selection};
use crate::snapshot::Snapshot;
use html::Html;

pub use admin::Outcome;

/// The type under which the page is sent.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// The policy to send with the page: it holds no script and fetches nothing, so nothing of the kind
/// may ever run, whatever somebody managed to name a node; its forms speak to us alone.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

const STYLE: &str = include_str!("dashboard/style.css");

/// What of the page its configuration decides (`stats …`), and the request.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Where the page is, for the links on it.
    pub uri: Arc<str>,
    /// How often the browser loads it again; `None`: never.
    pub refresh: Option<Duration>,
    /// `;norefresh`: the page could reload itself, and does not.
    pub refresh_off: bool,
    /// Leaves out our version.
    pub hide_version: bool,
    /// Shows addresses of binds and servers, cookies and algorithms.
    pub show_legends: bool,
    /// Shows what modules count: TLS.
    pub show_modules: bool,
    /// A text for the head of the page.
    pub description: Option<Arc<str>>,
    /// The name of the machine; `None`: not shown.
    pub node: Option<Arc<str>>,
    /// Which lines are shown.
    pub selection: Selection,
    /// Whether servers can be changed from the page.
    pub admin: bool,
    /// What became of the last change, by HAProxy's word for it.
    pub outcome: Option<Outcome>,
}

impl From<&StatsPage> for Look {
    fn from(page: &StatsPage) -> Self {
        Self {
            uri: page.uri.clone(),
            refresh: page.refresh,
            hide_version: page.hide_version,
            show_legends: page.show_legends,
            show_modules: page.show_modules,
            description: page.description.clone(),
            node: page.node.clone(),
            ..Self::default()
        }
    }
}

/// A part of the document, written in one step.
#[derive(Debug, Clone, Copy)]
enum Part {
    Top,
    FrontendsBegin,
    Frontend(usize),
    Listener(usize, usize),
    FrontendsEnd,
    BackendBegin(usize),
    Server(usize, usize),
    BackendEnd(usize),
    Bottom,
}

/// The document, a line of a table a step.
pub struct Page {
    snapshot: Snapshot,
    look: Look,
    parts: std::vec::IntoIter<Part>,
    /// The most sessions of a server, by backend.
    busiest: Vec<u64>,
}

impl Page {
    /// Of a snapshot.
    pub fn new(snapshot: Snapshot, look: Look) -> Self {
        let parts = parts(&snapshot, &look.selection).into_iter();
        let busiest = snapshot.backends.iter().map(|backend| {
            let sessions = backend.servers.iter().map(|it| it.traffic.sessions);
            sessions.max().unwrap_or(0)
        });
        Self {
            busiest: busiest.collect(),
            snapshot,
            look,
            parts,
        }
    }
}

fn parts(snapshot: &Snapshot, selection: &Selection) -> Vec<Part> {
    let places = super::places(snapshot, selection);
    let of_fronts = places.iter().filter_map(|place| match *place {
        Place::Frontend(at) => Some(Part::Frontend(at)),
        Place::Listener(at, inner) => Some(Part::Listener(at, inner)),
        _ => None,
    });
    let of_fronts: Vec<Part> = of_fronts.collect();
    let mut parts = vec![Part::Top];
    if !of_fronts.is_empty() {
        parts.push(Part::FrontendsBegin);
        parts.extend(of_fronts);
        parts.push(Part::FrontendsEnd);
    }
    for (at, backend) in snapshot.backends.iter().enumerate() {
        // The back half of a `listen` without servers has nothing to show.
        let empty = backend.servers.is_empty() && tables::has_front(snapshot, backend);
        if empty || !selection.shows_proxy(&backend.name) {
            continue;
        }
        parts.push(Part::BackendBegin(at));
        let servers = places.iter().filter_map(|place| match *place {
            Place::Server(of, inner) if of == at => Some(Part::Server(at, inner)),
            _ => None,
        });
        parts.extend(servers);
        parts.push(Part::BackendEnd(at));
    }
    parts.push(Part::Bottom);
    parts
}

impl Report for Page {
    fn step(&mut self, out: &mut String) -> bool {
        let Some(part) = self.parts.next() else {
            return false;
        };
        let (snapshot, look) = (&self.snapshot, &self.look);
        let mut html = Html::onto(std::mem::take(out));
        match part {
            Part::Top => top(&mut html, snapshot, look),
            Part::FrontendsBegin => tables::frontends_begin(&mut html, look),
            Part::Frontend(at) => {
                tables::frontend_line(&mut html, &snapshot.frontends[at], look);
            }
            Part::Listener(at, inner) => {
                let listener = &snapshot.frontends[at].listeners[inner];
                tables::listener_line(&mut html, listener, look);
            }
            Part::FrontendsEnd => tables::frontends_end(&mut html),
            Part::BackendBegin(at) => {
                tables::backend_begin(&mut html, &snapshot.backends[at], look);
            }
            Part::Server(at, inner) => {
                let backend = &snapshot.backends[at];
                let server = &backend.servers[inner];
                tables::server_line(&mut html, backend, server, self.busiest[at], look);
            }
            Part::BackendEnd(at) => {
                tables::backend_end(&mut html, &snapshot.backends[at], look);
            }
            Part::Bottom => bottom(&mut html, look),
        }
        *out = html.finish();
        true
    }
}

fn top(html: &mut Html, snapshot: &Snapshot, look: &Look) {
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n");
    head(html, snapshot, look);
    html.raw("<body>\n");
    cards::header(html, snapshot, look);
    html.raw("<main>\n");
    admin::outcome(html, look);
    cards::tiles(html, snapshot);
    cards::control(html, &snapshot.control);
}

fn bottom(html: &mut Html, look: &Look) {
    html.raw("</main>\n");
    footer(html, look);
    html.raw("</body>\n</html>\n");
}

fn head(html: &mut Html, snapshot: &Snapshot, look: &Look) {
    html.raw("<head>\n<meta charset=\"utf-8\">\n<title>tidegate");
    if let Some(node) = &look.node {
        html.raw(" on ").text(node);
    }
    let down = cards::count_of_servers(snapshot).down;
    if down > 0 {
        html.raw(": ").text(down).raw(" down");
    }
    html.raw(
        "</title>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    );
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
    html.raw("<meta name=\"robots\" content=\"noindex\">\n<link rel=\"icon\" href=\"data:,\">\n");
    // Less than a second is a flood, and 0 would reload for ever.
    let reloads = |refresh: &Duration| refresh.as_secs() > 0 && !look.refresh_off;
    if let Some(refresh) = look.refresh.filter(reloads) {
        html.raw("<meta http-equiv=\"refresh\" content=\"")
            .text(refresh.as_secs())
            .raw("\">\n");
    }
    html.raw("<style>\n").raw(STYLE).raw("</style>\n</head>\n");
}

fn footer(html: &mut Html, look: &Look) {
    html.raw("<footer>\n<p>");
    match look.refresh.filter(|refresh| refresh.as_secs() > 0) {
        Some(refresh) if !look.refresh_off => html
            .raw("Reloads every ")
            .text(numbers::age(refresh))
            .raw("."),
        _ => html.raw("Reload the page for new numbers."),
    };
    html.raw("</p>\n<form method=\"get\" action=\"")
        .text(&look.uri);
    html.raw("\"><label>Proxies named <input name=\"scope\" size=\"12\" maxlength=\"20\" value=\"")
        .text(look.selection.part.as_deref().unwrap_or_default())
        .raw("\"></label></form>\n<p class=\"links\">");
    let off = look.refresh_off;
    let (up, refreshed) = (look.selection.only_up, !off && look.refresh.is_some());
    if up {
        link(html, look, "", off, "Show all servers");
    } else {
        link(html, look, ";up", off, "Hide servers that are down");
    }
    if refreshed {
        link(
            html,
            look,
            if up { ";up" } else { "" },
            true,
            "Stop reloading",
        );
    } else if look.refresh.is_some() {
        link(
            html,
            look,
            if up { ";up" } else { "" },
            false,
            "Reload by itself",
        );
    }
    link(html, look, ";csv", off, "CSV");
    link(html, look, ";json", off, "JSON");
    link(html, look, ";json-schema", false, "JSON schema");
    html.raw("</p>\n</footer>\n");
}

/// A link to the page in another form, for the same proxies.
fn link(html: &mut Html, look: &Look, form: &'static str, refresh_off: bool, title: &'static str) {
    html.raw("<a href=\"").text(&look.uri).raw(form);
    if refresh_off {
        html.raw(";norefresh");
    }
    if let Some(part) = &look.selection.part {
        html.raw(";scope=").text(part);
    }
    html.raw("\">").raw(title).raw("</a> ");
}
