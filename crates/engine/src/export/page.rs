//! The stats page for people: one HTML document without script and without anything to fetch, so that
//! it works behind any policy and in any browser. Everything a client, a node or a file may have named
//! passes `html::Html::text`, which escapes it.

mod cards;
mod html;
mod numbers;
mod tables;
#[cfg(test)]
mod tests;

use std::time::Duration;

use config::model::StatsPage;

use crate::snapshot::Snapshot;
use html::Html;

/// The type under which the page is sent.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// The policy to send with the page: it holds no script and fetches nothing, so nothing of the kind
/// may ever run, whatever somebody managed to name a node.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("dashboard/style.css");

/// What of the page its configuration decides (`stats …`).
#[derive(Debug, Clone, Copy, Default)]
pub struct Look<'a> {
    /// Where the page is, for the links on it.
    pub uri: &'a str,
    /// How often the browser loads it again; `None`: never.
    pub refresh: Option<Duration>,
    /// Leaves out our version.
    pub hide_version: bool,
    /// Shows addresses of binds and servers.
    pub show_legends: bool,
    /// A text for the head of the page.
    pub description: Option<&'a str>,
    /// The name of the machine; `None`: not shown.
    pub node: Option<&'a str>,
}

impl<'a> From<&'a StatsPage> for Look<'a> {
    fn from(page: &'a StatsPage) -> Self {
        Self {
            uri: &page.uri,
            refresh: page.refresh,
            hide_version: page.hide_version,
            show_legends: page.show_legends,
            description: page.description.as_deref(),
            node: page.node.as_deref(),
        }
    }
}

/// The whole document.
pub fn render(snapshot: &Snapshot, look: &Look) -> String {
    let mut html = Html::with_capacity(32 * 1024);
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n");
    head(&mut html, snapshot, look);
    html.raw("<body>\n");
    cards::header(&mut html, snapshot, look);
    html.raw("<main>\n");
    cards::tiles(&mut html, snapshot);
    cards::control(&mut html, &snapshot.control);
    tables::frontends(&mut html, snapshot, look);
    tables::backends(&mut html, snapshot, look);
    html.raw("</main>\n");
    footer(&mut html, look);
    html.raw("</body>\n</html>\n");
    html.finish()
}

fn head(html: &mut Html, snapshot: &Snapshot, look: &Look) {
    html.raw("<head>\n<meta charset=\"utf-8\">\n<title>tidegate");
    if let Some(node) = look.node {
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
    if let Some(refresh) = look.refresh.filter(|refresh| refresh.as_secs() > 0) {
        html.raw("<meta http-equiv=\"refresh\" content=\"")
            .text(refresh.as_secs())
            .raw("\">\n");
    }
    html.raw("<style>\n").raw(STYLE).raw("</style>\n</head>\n");
}

fn footer(html: &mut Html, look: &Look) {
    html.raw("<footer>\n<p>");
    match look.refresh.filter(|refresh| refresh.as_secs() > 0) {
        Some(refresh) => html
            .raw("Reloads every ")
            .text(numbers::age(refresh))
            .raw("."),
        None => html.raw("Reload the page for new numbers."),
    };
    html.raw("</p>\n<p><a href=\"")
        .text(look.uri)
        .raw(";csv\">CSV</a></p>\n</footer>\n");
}
