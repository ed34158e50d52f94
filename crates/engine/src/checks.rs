//! Running the checks `routing::health` asks for, off the data path (manual 5.2 "check", 4.2
//! "option httpchk").
//!
//! One task per checked server, on the manager thread, whatever the number of workers. What a
//! result means is decided by [`routing::health`]; what follows from a change is in `manager`.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use config::model::{Backend, Check, Expect, Expected, HttpCheck};
use routing::health::{CheckCode, CheckResult};
use wire::h1::{self, Limits, Parsed};
use wire::head::ResponseHead;

use crate::buffer::{Buffer, BufferPool};
use crate::io;
use crate::manager;
use crate::shared::Shared;
use crate::site::{BackendState, ServerState, Target};
use crate::stream::Stream;
use crate::timing::within;
use crate::upstream::connect::{ConnectError, connect};

/// A checked server's first check comes within this time, at random, so that not all are asked in
/// the same moment.
const FIRST_WITHIN: Duration = Duration::from_millis(500);

/// The same for a server that was added while running: somebody waits for it.
const FIRST_WITHIN_DYNAMIC: Duration = Duration::from_millis(50);

/// How much of an answer is looked at; `tune.bufsize`'s default, which bounds it in HAProxy too.
const ANSWER_MAX: usize = 16384;

/// Checks one server until it leaves its backend.
pub(crate) async fn run(shared: Arc<Shared>, backend: Arc<BackendState>, server: Arc<ServerState>) {
    let Some(check) = server.conf.check.clone() else {
        return;
    };
    let first = if server.dynamic {
        FIRST_WITHIN_DYNAMIC
    } else {
        FIRST_WITHIN.min(check.inter)
    };
    tokio::time::sleep(first.mul_f64(fastrand::f64())).await;
    let pool = BufferPool::new(ANSWER_MAX);
    while !server.removed.load(Relaxed) && !shared.stopping.load(Relaxed) {
        let started = Instant::now();
        let wanted = server.health().wants_checks();
        if wanted && server.is_resolved() {
            let result = probe(&backend, &server, &check, &pool).await;
            manager::settle(&shared, &backend, &server, result);
        }
        let interval = server.health().next_interval(&check);
        let pause = spread(interval, shared.site.load().config.global.spread_checks);
        tokio::select! {
            () = tokio::time::sleep(pause.saturating_sub(started.elapsed())) => {}
            () = server.recheck.notified() => {}
        }
    }
}

/// `spread-checks`: plus or minus that many percent.
fn spread(interval: Duration, percent: u8) -> Duration {
    let swing = f64::from(percent.min(50)) / 100.0;
    interval.mul_f64(1.0 - swing + 2.0 * swing * fastrand::f64())
}

/// One check.
async fn probe(
    backend: &BackendState,
    server: &ServerState,
    check: &Check,
    pool: &BufferPool,
) -> CheckResult {
    let started = Instant::now();
    let (code, status, info) = match attempt(backend, server, check, pool).await {
        Ok(passed) => passed,
        Err(failed) => failed,
    };
    CheckResult {
        code,
        status,
        info,
        duration: started.elapsed(),
    }
}

/// How it ended: code, status, and what else there is to say.
type Finding = (CheckCode, Option<u16>, String);

async fn attempt(
    backend: &BackendState,
    server: &ServerState,
    check: &Check,
    pool: &BufferPool,
) -> Result<Finding, Finding> {
    let limits = CheckLimits::new(backend.conf(), check);
    let Some(target) = target(server, check) else {
        return Err((CheckCode::SocketError, None, "no address yet".into()));
    };
    let tls = server.tls.as_ref().filter(|_| check.tls);
    let mut stream = connect(&target, tls, None, Some(limits.connect))
        .await
        .map_err(|error| connect_failure(&error, tls.is_some()))?;
    let Some(httpchk) = &backend.conf().httpchk else {
        let code = if tls.is_some() {
            CheckCode::Layer6Ok
        } else {
            CheckCode::Layer4Ok
        };
        // A reset tells the node at once that nobody is going to speak.
        stream.reset_on_close();
        return Ok((code, None, String::new()));
    };
    match within(
        Some(limits.answer),
        ask(&mut stream, httpchk, &target, pool),
    )
    .await
    {
        Ok(finding) => finding,
        Err(_) => Err((CheckCode::Layer7Timeout, None, String::new())),
    }
}

/// Time for connecting and for the answer (manual 4.2, "timeout check").
struct CheckLimits {
    connect: Duration,
    answer: Duration,
}

impl CheckLimits {
    fn new(backend: &Backend, check: &Check) -> Self {
        let timeouts = &backend.proxy.timeouts;
        match timeouts.check {
            None => Self {
                connect: check.inter,
                answer: check.inter,
            },
            Some(answer) => Self {
                connect: timeouts
                    .connect
                    .map_or(check.inter, |connect| connect.min(check.inter)),
                answer,
            },
        }
    }
}

/// Where checks go: `port` and `addr` override the server's own (manual 5.2).
fn target(server: &ServerState, check: &Check) -> Option<Target> {
    match server.target(check.port.unwrap_or(0))? {
        Target::Inet(address) => Some(Target::Inet(SocketAddr::new(
            check.addr.unwrap_or(address.ip()),
            check.port.unwrap_or(address.port()),
        ))),
        unix @ Target::Unix(_) => Some(unix),
    }
}

fn connect_failure(error: &ConnectError, tls: bool) -> Finding {
    match error {
        ConnectError::Expired => (CheckCode::Layer4Timeout, None, String::new()),
        ConnectError::Failed(error) => {
            let of_tls = tls
                && matches!(
                    error.kind(),
                    ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                );
            let code = if of_tls {
                CheckCode::Layer6Response
            } else {
                CheckCode::Layer4Connection
            };
            (code, None, explain(error))
        }
    }
}

/// The system's words without Rust's "(os error 111)".
fn explain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Sends the request and judges the answer.
async fn ask(
    stream: &mut Stream,
    httpchk: &HttpCheck,
    target: &Target,
    pool: &BufferPool,
) -> Result<Finding, Finding> {
    let broken = |error: std::io::Error| (CheckCode::Layer7Response, None, explain(&error));
    let shared = RefCell::new(stream);
    let request = request(httpchk, target);
    io::write_all(&shared, &request).await.map_err(broken)?;
    let mut buffer = Buffer::default();
    let limits = Limits {
        head_bytes_max: ANSWER_MAX,
        fields_max: 101,
    };
    let head = loop {
        match h1::parse_response(buffer.bytes(), &limits) {
            Ok(Parsed::Complete { head, consumed }) if !head.is_interim() => {
                buffer.consume(consumed, pool);
                break head;
            }
            Ok(Parsed::Complete { consumed, .. }) => buffer.consume(consumed, pool),
            Ok(Parsed::Partial) if !buffer.is_full(pool) => {
                if io::fill(&shared, &mut buffer, pool).await.map_err(broken)? == 0 {
                    let info = "connection closed before the answer was whole".into();
                    return Err((CheckCode::Layer7Response, None, info));
                }
            }
            Ok(Parsed::Partial) => {
                let info = "the head of the answer is too large".into();
                return Err((CheckCode::Layer7Response, None, info));
            }
            Err(rejected) => {
                return Err((CheckCode::Layer7Response, None, rejected.reason.to_string()));
            }
        }
    };
    let body = if httpchk.expect.iter().any(wants_body) {
        read_body(&shared, &mut buffer, pool).await
    } else {
        Vec::new()
    };
    judge(&httpchk.expect, &head, &body)
}

/// The bytes of the request (manual 4.2, "http-check send").
fn request(httpchk: &HttpCheck, target: &Target) -> Vec<u8> {
    let mut text = format!("{} {} {}\r\n", httpchk.method, httpchk.uri, httpchk.version);
    for (name, value) in &httpchk.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let has = |name: &str| {
        httpchk
            .headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    if &*httpchk.version == "HTTP/1.1" && !has("host") {
        // A request without one is invalid (RFC 9112 section 3.2): name the address itself.
        match target {
            Target::Inet(address) => text.push_str(&format!("host: {address}\r\n")),
            Target::Unix(_) => text.push_str("host: localhost\r\n"),
        }
    }
    if let Some(body) = &httpchk.body {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    if !has("connection") {
        text.push_str("connection: close\r\n");
    }
    text.push_str("\r\n");
    text.push_str(httpchk.body.as_deref().unwrap_or_default());
    text.into_bytes()
}

fn wants_body(expect: &Expect) -> bool {
    matches!(expect.what, Expected::Body(_) | Expected::BodyRegex(_))
}

/// As much of the body as a buffer holds; framing is not undone, as a text looked for is in it
/// either way, unless it lies across chunks.
async fn read_body(stream: &io::Shared<'_>, buffer: &mut Buffer, pool: &BufferPool) -> Vec<u8> {
    while !buffer.is_full(pool) {
        match io::fill(stream, buffer, pool).await {
            Ok(1..) => {}
            _ => break,
        }
    }
    buffer.take(pool)
}

/// Whether the answer is all that was expected; without `http-check expect` any 2xx or 3xx is.
fn judge(expected: &[Expect], head: &ResponseHead, body: &[u8]) -> Result<Finding, Finding> {
    if expected.is_empty() {
        return verdict(
            (200..400).contains(&head.status),
            CheckCode::Layer7Status,
            head,
        );
    }
    for Expect { negated, what } in expected {
        let (matches, code) = compare(what, head.status, body);
        verdict(matches != *negated, code, head)?;
    }
    verdict(true, CheckCode::Layer7Ok, head)
}

/// Whether one expectation holds, and the code for the case that it does not.
fn compare(what: &Expected, status: u16, body: &[u8]) -> (bool, CheckCode) {
    match what {
        Expected::Status(ranges) => {
            let within = ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&status));
            (within, CheckCode::Layer7Status)
        }
        Expected::StatusRegex(regex) => (
            regex.is_match(status.to_string().as_bytes()),
            CheckCode::Layer7Status,
        ),
        Expected::Body(text) => {
            let found = body
                .windows(text.len().max(1))
                .any(|window| window == text.as_bytes());
            (found || text.is_empty(), CheckCode::Layer7Response)
        }
        Expected::BodyRegex(regex) => (regex.is_match(body), CheckCode::Layer7Response),
        // `config` refuses what is not here; a new kind fails checks rather than passing them.
        _ => (false, CheckCode::Layer7Response),
    }
}

fn verdict(passed: bool, code: CheckCode, head: &ResponseHead) -> Result<Finding, Finding> {
    if passed {
        return Ok((CheckCode::Layer7Ok, Some(head.status), String::new()));
    }
    let info = match code {
        CheckCode::Layer7Status => String::from_utf8_lossy(head.reason()).into_owned(),
        _ => "HTTP content check did not match".into(),
    };
    Err((code, Some(head.status), info))
}
