//! Answers of our own: the stats page in its forms, and the metrics.
//!
//! Where a configuration names no `stats` at all, the page answers at [`DEFAULT_URI`] to this machine
//! alone: operators expect it there. As soon as one `stats` line is written, only those count.

mod admin;
mod local;
mod post;
mod push;

use std::rc::Rc;
use std::sync::Arc;

use config::model::{Proxy, StatsPage};
use routing::rules::{Answer, Outcome as Ruled, Resume, Stopped};
use routing::{access, condition};
use wire::head::Fields;

use crate::client::{After, Client, Request};
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::export::page::{self, Look, Outcome};
use crate::export::prometheus::{self, Metrics};
use crate::export::table::{Form, Table};
use crate::export::{self, Report, Selection};
use crate::shared::Shared;
use crate::worker::Worker;

/// Where the page answers when nothing is configured.
const DEFAULT_URI: &str = "/stats";

/// Threads that take snapshots: thousands of servers take some milliseconds.
pub(crate) const SNAPSHOT_THREADS: usize = 1;

/// Snapshots that may be waited for; who asks for more is told to come back.
pub(crate) const SNAPSHOTS_WAITING_MAX: usize = 256;

/// A request that a page of ours answers.
pub(crate) enum Wanted {
    /// It is not for this client.
    Refused(Answer, End),
    /// A form of the page.
    Shown(Shown, Box<Look>),
    /// A change of servers, posted from the page; where it leads back to.
    Change {
        /// Whether the configuration lets this client change anything.
        allowed: bool,
        /// The page.
        uri: Arc<str>,
        /// What followed its URI.
        rest: Box<str>,
        /// Whose servers may be changed.
        selection: Selection,
    },
    /// The metrics (`use-service prometheus-exporter`).
    Metrics,
    /// News of the fleet (`use-service node-push`).
    Push,
}

impl Wanted {
    /// Whether a rule denies it.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Refused(_, end) if end.side == Side::Proxy)
    }
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Page,
    Table(Form),
    Schema,
}

/// What the log calls the page.
pub(crate) const STATS: &str = "<STATS>";

/// What the log calls the metrics.
pub(crate) const METRICS: &str = "<PROMEX>";

/// What the log calls news of the fleet.
pub(crate) const PUSH: &str = "<PUSH>";

/// What of the stats page a request is for, when it is for it.
pub(crate) fn stats(proxy: &Proxy, request: &Request) -> Option<Wanted> {
    let site = &request.session.frontend().generation;
    let method = request.head.method.as_bytes();
    let posted = method == b"POST";
    if !posted && method != b"GET" && method != b"HEAD" {
        return None;
    }
    let target = request.head.path_and_query();
    let Some(conf) = &proxy.stats else {
        let rest = local::rest_of(target, DEFAULT_URI)?;
        let below = rest.starts_with(b"/");
        let wanted = !posted && !below && !site.has_stats() && local::is_local(request);
        let look = Look {
            uri: DEFAULT_URI.into(),
            show_legends: true,
            node: Some(site.node.clone()),
            ..Look::default()
        };
        return wanted.then(|| show(look, &[], rest, false));
    };
    // As in HAProxy, whatever begins like the URI is meant.
    let rest = target.strip_prefix(conf.uri.as_bytes())?;
    if let Some(refused) = refuse(conf, request) {
        return Some(refused);
    }
    let allowed = is_admin(conf, request);
    if posted {
        let rest = String::from_utf8_lossy(rest);
        return Some(Wanted::Change {
            allowed,
            uri: conf.uri.clone(),
            selection: Selection::new(&conf.scope, &rest),
            rest: rest.into(),
        });
    }
    let look = Look {
        // Without a text here or in `global`: the machine's own name, and no description.
        node: conf.node.as_ref().map(|node| match &**node {
            "" => site.node.clone(),
            _ => node.clone(),
        }),
        description: conf.description.clone().filter(|text| !text.is_empty()),
        ..Look::from(conf)
    };
    Some(show(look, &conf.scope, rest, allowed))
}

/// What the words behind the URI ask for.
fn show(look: Look, scope: &[Arc<str>], rest: &[u8], admin: bool) -> Wanted {
    let rest = String::from_utf8_lossy(rest);
    let has = |word| export::has_word(&rest, word);
    let begins = |word| export::word_begins(&rest, word);
    let shown = if begins("json-schema") {
        Shown::Schema
    } else if begins("csv") {
        Shown::Table(Form::Csv)
    } else if begins("typed") {
        Shown::Table(Form::Typed)
    } else if begins("json") {
        Shown::Table(Form::Json)
    } else {
        Shown::Page
    };
    let look = Look {
        refresh_off: has("norefresh"),
        selection: Selection::new(scope, &rest),
        outcome: Outcome::of(&rest),
        admin,
        ..look
    };
    Wanted::Shown(shown, Box::new(look))
}

/// `stats auth` and `stats http-request`: why this client does not get the page.
fn refuse(conf: &StatsPage, request: &Request) -> Option<Wanted> {
    let session = &request.session;
    let pages = session.error_pages();
    if !access::allowed(&request.head.fields, &conf.auth) {
        let page = session.error_page(401, Some(&request.head));
        let answer = access::challenge(&conf.realm, page);
        return Some(Wanted::Refused(
            answer,
            End::by(Side::Local, Stage::Request),
        ));
    }
    if conf.http_request.is_empty() {
        return None;
    }
    let facts = session.facts(None, None);
    // The rules of the page change nothing: a copy is only made because others may.
    let mut head = request.head.clone();
    let ruled = routing::rules::request(
        &conf.http_request,
        Resume::START,
        &mut head,
        &facts,
        &**session,
        &pages,
    );
    match ruled {
        Ruled::Stop(Stopped::Deny(answer)) => {
            session.count_at_frontend(Count::DeniedRequests);
            session.count_at_backend(Count::DeniedRequests);
            Some(Wanted::Refused(
                answer,
                End::by(Side::Proxy, Stage::Request),
            ))
        }
        Ruled::Stop(Stopped::Auth(mut answer)) => {
            // A rule without a realm has the page's.
            if !asks_with_realm(conf) {
                let page = session.error_page(401, Some(&request.head));
                answer = access::challenge(&conf.realm, page);
            }
            Some(Wanted::Refused(
                answer,
                End::by(Side::Local, Stage::Request),
            ))
        }
        _ => None,
    }
}

fn asks_with_realm(conf: &StatsPage) -> bool {
    use config::model::RequestAction::Auth;
    let mut rules = conf.http_request.iter();
    rules.any(|rule| matches!(&rule.action, Auth(Some(_))))
}

/// `stats admin`.
fn is_admin(conf: &StatsPage, request: &Request) -> bool {
    let session = &request.session;
    let facts = session.facts(Some(&request.head), None);
    let mut conditions = conf.admin.iter();
    conditions.any(|it| condition::holds(Some(it), &facts))
}

/// Answers, and says how the session ended.
pub(crate) async fn serve(
    client: &mut Client,
    request: &mut Request,
    wanted: Wanted,
    worker: &Rc<Worker>,
) -> (After, End) {
    let done = End::by(Side::Local, Stage::Request);
    let after = match wanted {
        Wanted::Refused(answer, end) => return (client.reply(request, answer).await, end),
        Wanted::Shown(Shown::Schema, look) => {
            let mut answer = Answer::empty(200);
            answer.fields = fields("application/json", &look, false);
            answer.body = include_bytes!("../export/schema.json").to_vec();
            client.reply(request, answer).await
        }
        Wanted::Shown(shown, look) => show_report(client, request, shown, *look, worker).await,
        Wanted::Change {
            allowed,
            uri,
            rest,
            selection,
        } => {
            let outcome = match allowed && admin::is_of_same_origin(request) {
                true => admin::change(client, request, &selection, worker).await,
                false => Outcome::Denied,
            };
            let answer = admin::back(&uri, &rest, &selection, outcome);
            client.reply(request, answer).await
        }
        Wanted::Push => push::serve(client, request, worker).await,
        Wanted::Metrics => {
            let query = String::from_utf8_lossy(request.head.query().unwrap_or_default());
            let Some(query) = prometheus::Query::new(&query) else {
                let answer = request.session.error_page(400, Some(&request.head));
                return (client.reply(request, answer).await, done);
            };
            let Some(snapshot) = snapshot(worker).await else {
                return (client.reply(request, busy(request)).await, done);
            };
            let look = Look::default();
            let fields = fields(prometheus::CONTENT_TYPE, &look, false);
            let mut report = Metrics::new(snapshot, query);
            client.report(request, fields, &mut report).await
        }
    };
    (after, done)
}

async fn show_report(
    client: &mut Client,
    request: &mut Request,
    shown: Shown,
    look: Look,
    worker: &Rc<Worker>,
) -> After {
    let Some(snapshot) = snapshot(worker).await else {
        return client.reply(request, busy(request)).await;
    };
    let (fields, mut report): (Fields, Box<dyn Report>) = match shown {
        Shown::Table(form) => {
            let fields = fields(form.content_type(), &look, false);
            let table = Table::new(snapshot, form, &look.selection, look.show_legends);
            (fields, Box::new(table))
        }
        _ => {
            let fields = fields(page::CONTENT_TYPE, &look, true);
            (fields, Box::new(page::Page::new(snapshot, look)))
        }
    };
    client.report(request, fields, &mut *report).await
}

/// What the engine looks like now; `None` when too many want to know.
async fn snapshot(worker: &Worker) -> Option<export::Snapshot> {
    let shared: Arc<Shared> = worker.shared.clone();
    let snapshots = worker.shared.clone();
    snapshots
        .snapshots
        .run(move || crate::stats::snapshot(&shared))
        .await
}

fn busy(request: &Request) -> Answer {
    request.session.error_page(503, Some(&request.head))
}

/// Headers of a page of ours. Names of nodes come from elsewhere: even if one slipped through, nothing
/// may run, and nobody may lay the page with its buttons under another one.
fn fields(content_type: &str, look: &Look, html: bool) -> Fields {
    let mut fields = Fields::new();
    let cache: &[u8] = if html { b"no-store" } else { b"no-cache" };
    fields.append("cache-control", cache);
    fields.append("content-type", content_type.as_bytes());
    fields.append("x-content-type-options", b"nosniff");
    if html {
        let policy = page::CONTENT_SECURITY_POLICY.as_bytes();
        fields.append("content-security-policy", policy);
        fields.append("x-frame-options", b"DENY");
        fields.append("referrer-policy", b"same-origin");
    } else if let (Some(refresh), false) = (look.refresh, look.refresh_off)
        && refresh.as_secs() > 0
    {
        let seconds = refresh.as_secs().to_string();
        fields.append("refresh", seconds.as_bytes());
    }
    fields
}
