//! What each route answers.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::streams::Events;
use crate::discovery::wsupdates::EVENTS;
use crate::discovery::{NodeAddress, NodeId};

/// Largest request body, bytes: an id, a url and a status.
const BODY_MAX: usize = 16 << 10;

/// Longest `status`, bytes.
const STATUS_LEN_MAX: usize = 64;

/// What a node sends of itself.
#[derive(Deserialize, Default)]
struct Announcement {
    id: Option<String>,
    url: Option<String>,
    status: Option<String>,
}

/// Events, or an answer that is there as a whole.
pub(super) type Body = Either<Events, Full<Bytes>>;

/// Whether a client wants the list as events (WHATWG HTML, 9.2): it says so in so many words, `*/*` does not.
fn is_for_events(request: &Request<Incoming>) -> bool {
    let accepts = |value: &HeaderValue| {
        let kinds = value.as_bytes().split(|byte| *byte == b',');
        let kinds = kinds.map(|kind| kind.split(|byte| *byte == b';').next().unwrap_or_default());
        kinds
            .map(<[u8]>::trim_ascii)
            .any(|kind| kind.eq_ignore_ascii_case(EVENTS.as_bytes()))
    };
    let path = request.uri().path().trim_start_matches('/');
    request.method() == Method::GET
        && path == "nodes"
        && request.headers().get_all(ACCEPT).iter().any(accepts)
}

fn stream(events: Events) -> Response<Body> {
    let mut response = Response::new(Either::Left(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENTS));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What stands between must not collect events before it passes them on.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn too_many_streams() -> Response<Full<Bytes>> {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "Too many streams");
    let later = HeaderValue::from_static("60");
    response.headers_mut().insert(RETRY_AFTER, later);
    response
}

/// A field that cannot be taken, and why.
type Wrong = (&'static str, &'static str);

impl Shared {
    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if is_for_events(&request) && self.is_key(&request) {
            return match self.streams.open() {
                Some(events) => stream(events),
                None => too_many_streams().map(Either::Right),
            };
        }
        self.answer_at_once(request).await.map(Either::Right)
    }

    fn is_key(&self, request: &Request<Incoming>) -> bool {
        let key = request.headers().get("x-api-key");
        key.is_some_and(|key| self.key.matches(key.as_bytes()))
    }

    async fn answer_at_once(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        if (request.method(), parts.as_slice()) == (&Method::GET, &["health"]) {
            return health();
        }
        if !self.is_key(&request) {
            return error(StatusCode::UNAUTHORIZED, "Invalid API key");
        }
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["nodes"]) => json_answer(StatusCode::OK, self.table.list()),
            (&Method::POST, ["nodes"]) => self.register(read(request).await),
            (&Method::POST, ["announce"]) => self.announce(read(request).await),
            (&Method::POST, ["nodes", id, "heartbeat"]) => self.heartbeat(id),
            _ => error(StatusCode::NOT_FOUND, "Not found"),
        }
    }

    fn register(&self, read: Result<Announcement, StatusCode>) -> Response<Full<Bytes>> {
        let announcement = match read {
            Ok(announcement) => announcement,
            Err(status) => return not_read(status),
        };
        let (id, url) = match announcement.check() {
            Ok(checked) => checked,
            Err(wrong) => return answer(StatusCode::BAD_REQUEST, &errors(&wrong)),
        };
        match self.table.announce(&id, &url, "active") {
            Ok(()) => answer(StatusCode::OK, &json!({"id": id.as_str(), "url": url})),
            Err(_) => full(),
        }
    }

    fn announce(&self, read: Result<Announcement, StatusCode>) -> Response<Full<Bytes>> {
        let announcement = match read {
            Ok(announcement) => announcement,
            Err(status) => return not_read(status),
        };
        let status = match announcement.status.clone() {
            Some(status) if status.len() <= STATUS_LEN_MAX => status,
            _ => return error(StatusCode::BAD_REQUEST, "Missing required fields"),
        };
        match announcement.check() {
            Ok((id, url)) => match self.table.announce(&id, &url, &status) {
                Ok(()) => answer(StatusCode::OK, &json!({"success": true})),
                Err(_) => full(),
            },
            Err(wrong) if announcement.id.is_some() && announcement.url.is_some() => {
                answer(StatusCode::BAD_REQUEST, &errors(&wrong))
            }
            Err(_) => error(StatusCode::BAD_REQUEST, "Missing required fields"),
        }
    }

    fn heartbeat(&self, id: &str) -> Response<Full<Bytes>> {
        // The one character of an id that clients escape in a path is the colon.
        let id = id.replace("%3A", ":").replace("%3a", ":");
        match NodeId::parse(&id) {
            Ok(id) if self.table.heartbeat(&id) => answer(StatusCode::OK, &json!({"status": "ok"})),
            _ => error(StatusCode::NOT_FOUND, "Node not found"),
        }
    }
}

impl Announcement {
    /// Id and url, checked as discovery checks them later.
    fn check(&self) -> Result<(NodeId, String), Vec<Wrong>> {
        let missing = "it is missing or no text";
        let id = self.id.as_deref().map_or(Err(missing), NodeId::parse);
        let url = self.url.as_deref().map_or(Err(missing), |url| {
            NodeAddress::parse(url).map(|_| url.to_owned())
        });
        match (id, url) {
            (Ok(id), Ok(url)) => Ok((id, url)),
            (id, url) => {
                let wrong = [("id", id.err()), ("url", url.err())].into_iter();
                Err(wrong
                    .filter_map(|(field, why)| Some((field, why?)))
                    .collect())
            }
        }
    }
}

/// Reads the body; a body that is no object of the right texts is one without fields.
async fn read(request: Request<Incoming>) -> Result<Announcement, StatusCode> {
    let body = Limited::new(request.into_body(), BODY_MAX).collect().await;
    let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?.to_bytes();
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}

fn not_read(status: StatusCode) -> Response<Full<Bytes>> {
    error(status, "The body is too large or cut off")
}

fn full() -> Response<Full<Bytes>> {
    error(StatusCode::SERVICE_UNAVAILABLE, "Too many nodes")
}

/// The validator's form that the Node.js service answers in, without quoting what was sent.
fn errors(wrong: &[Wrong]) -> Value {
    let errors = wrong.iter().map(
        |(field, why)| json!({"type": "field", "msg": why, "path": field, "location": "body"}),
    );
    json!({"errors": errors.collect::<Vec<_>>()})
}

fn health() -> Response<Full<Bytes>> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    answer(
        StatusCode::OK,
        &json!({"status": "healthy", "timestamp": now.as_secs()}),
    )
}

fn error(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    answer(status, &json!({"error": message}))
}

fn answer(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    json_answer(status, value.to_string().into_bytes())
}

fn json_answer(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
