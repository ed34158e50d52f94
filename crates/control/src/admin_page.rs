//! The page and the metrics of a HAProxy that is driven from outside: HAProxy is asked when somebody
//! asks us, and shown as our own engine would be. All that can be changed here are the nodes, by who has the key.
//!
//! ```text
//!   GET /metrics             Prometheus
//!   GET / and /stats[;csv|;json]
//!   GET /health              200 while HAProxy answers, else 503
//!   POST /nodes              news of nodes, as by `use-service node-push`
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use engine::export::page::{self, Look, Page};
use engine::export::prometheus::{self, Metrics, Query};
use engine::export::table::{Form, Table};
use engine::export::{Report, Selection, has_word};
use engine::news_desk::{NewsDesk, NotRead, PUSH_LEN_MAX, PUSH_TIME_MAX, PushHead};
use engine::snapshot::{ControlStatus, Snapshot};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue,
    RETRY_AFTER,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::{Instant, timeout};

use crate::driver::haproxy::{Asker, Tally};

/// How long an answer of HAProxy is shown to others: its counters are not asked for more often.
const AGE_MAX: Duration = Duration::from_secs(1);

/// How often a browser asks for the page anew.
const REFRESH: Duration = Duration::from_secs(10);

/// Where the page is.
const URI: &str = "/stats";

/// What the page is made of.
pub(crate) struct AdminPage {
    asker: Asker,
    tally: Arc<Tally>,
    status: Arc<Mutex<ControlStatus>>,
    local: bool,
    latest: tokio::sync::Mutex<Option<(Instant, Snapshot)>>,
}

impl AdminPage {
    /// For a listener at that address.
    pub(crate) fn new(
        asker: Asker,
        tally: Arc<Tally>,
        status: Arc<Mutex<ControlStatus>>,
        listen: SocketAddr,
    ) -> Self {
        Self {
            asker,
            tally,
            status,
            local: listen.ip().is_loopback(),
            latest: tokio::sync::Mutex::default(),
        }
    }

    /// Answers one request; `desk` takes news of nodes.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        desk: &dyn NewsDesk,
    ) -> Response<Full<Bytes>> {
        let host = request.headers().get(HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        // A page in a browser here must not read it under a name of its own.
        if self.local && !is_address(host) {
            return text(
                StatusCode::FORBIDDEN,
                "ask for it by address, or as localhost\n",
            );
        }
        if request.uri().path() == "/nodes" {
            return push(request, desk).await;
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "nothing can be changed here\n",
            );
        }
        let target = request.uri().path_and_query().map_or("/", |it| it.as_str());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path {
            "/health" => self.health(),
            "/metrics" => match Query::new(query) {
                Some(query) => {
                    let mut metrics = Metrics::new(self.snapshot().await, query);
                    written(&mut metrics, prometheus::CONTENT_TYPE)
                }
                None => text(StatusCode::BAD_REQUEST, "there is no such scope\n"),
            },
            "/" => self.stats("").await,
            _ => match target.strip_prefix(URI) {
                Some(rest) if rest.is_empty() || rest.starts_with([';', '?']) => {
                    self.stats(rest).await
                }
                _ => text(
                    StatusCode::NOT_FOUND,
                    "there are /stats, /metrics and /health\n",
                ),
            },
        }
    }

    fn health(&self) -> Response<Full<Bytes>> {
        let status = self.tally.status();
        match status.reachable {
            true => text(StatusCode::OK, "HAProxy answers\n"),
            false => text(StatusCode::SERVICE_UNAVAILABLE, "HAProxy does not answer\n"),
        }
    }

    async fn stats(&self, rest: &str) -> Response<Full<Bytes>> {
        let snapshot = self.snapshot().await;
        let selection = Selection::new(&[], rest);
        let form = [("csv", Form::Csv), ("json", Form::Json)].into_iter();
        let form = form.into_iter().find(|(word, _)| has_word(rest, word));
        match form {
            Some((word, form)) => {
                let kind = if word == "csv" {
                    "text/plain"
                } else {
                    "application/json"
                };
                written(&mut Table::new(snapshot, form, &selection, true), kind)
            }
            None => {
                let look = Look {
                    uri: URI.into(),
                    refresh: Some(REFRESH),
                    refresh_off: has_word(rest, "norefresh"),
                    show_legends: true,
                    description: snapshot.process.description.clone(),
                    selection,
                    ..Look::default()
                };
                let mut response = written(&mut Page::new(snapshot, look), page::CONTENT_TYPE);
                let policy = HeaderValue::from_static(page::CONTENT_SECURITY_POLICY);
                response
                    .headers_mut()
                    .insert(CONTENT_SECURITY_POLICY, policy);
                response
            }
        }
    }

    /// What HAProxy says, or what we know without it.
    async fn snapshot(&self) -> Snapshot {
        let mut latest = self.latest.lock().await;
        let fresh = latest.as_ref().filter(|(at, _)| at.elapsed() < AGE_MAX);
        let mut snapshot = match fresh {
            Some((_, snapshot)) => snapshot.clone(),
            None => {
                let snapshot = self.asker.picture().await;
                latest.insert((Instant::now(), snapshot)).1.clone()
            }
        };
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.control = status.clone();
        snapshot.control.haproxy = Some(self.tally.status());
        snapshot
    }
}

/// Brings news of nodes to the desk, and its answer back.
async fn push(request: Request<Incoming>, desk: &dyn NewsDesk) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let keys = headers.get_all("x-api-key").iter();
    let length = headers.get(CONTENT_LENGTH);
    let admitted = desk.admit(&PushHead {
        method: request.method().as_str().as_bytes(),
        keys: keys.map(HeaderValue::as_bytes).collect(),
        length: length.and_then(|length| length.to_str().ok()?.parse().ok()),
    });
    let answer = match admitted {
        Err(refusal) => refusal,
        Ok(push) => {
            let body = Limited::new(request.into_body(), PUSH_LEN_MAX).collect();
            match timeout(PUSH_TIME_MAX, body).await {
                Ok(Ok(body)) => push.take(body.to_bytes().into()).await,
                Ok(Err(_)) => push.not_read(NotRead::TooLong),
                Err(_) => push.not_read(NotRead::TooSlow),
            }
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    let status = StatusCode::from_u16(answer.status);
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(wait) = answer.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

/// Whether a `Host` is `localhost` or an address, with or without a port.
fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn written(report: &mut impl Report, kind: &'static str) -> Response<Full<Bytes>> {
    let mut body = String::new();
    while report.step(&mut body) {}
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn text(status: StatusCode, line: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(line.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn names_of_others_are_no_address() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "[::1]:9090",
            "[::1]",
            "localhost:1",
            "LocalHost",
        ] {
            assert!(is_address(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "[x]",
        ] {
            assert!(!is_address(host), "{host}");
        }
    }
}
