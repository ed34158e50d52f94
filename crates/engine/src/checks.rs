//! Running the checks `routing::health` asks for, off the data path (manual 5.2 "check", 4.2
//! "option httpchk").
//!
//! One task per checked server, on the manager thread, whatever the number of workers. What a
//! result means is decided by [`routing::health`]; what follows from a change is in `manager`.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use config::expr::{Constant, Fetch};
use config::model::{Backend, Check, CheckAddress, Expect, Expected, HttpCheck, ServerTls};
use routing::health::{CheckCode, CheckResult};
use wire::h1::{self, BodyReader, BodyStep, HeadScanner, Limits, Parsed};
use wire::head::{Method, ResponseHead};

use crate::buffer::{Buffer, BufferPool};
use crate::io;
use crate::manager;
use crate::server::{ServerState, Target, abstract_name};
use crate::shared::Shared;
use crate::site::BackendState;
use crate::stream::Stream;
use crate::timing::within;
use crate::upstream::connect::{ConnectError, Dial, HeaderOf, connect};
use crate::upstream::proxy_header;

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
            server.checking.store(true, Relaxed);
            let result = probe(&shared, &backend, &server, &check, &pool).await;
            server.checking.store(false, Relaxed);
            manager::settle(&shared, &backend, &server, result);
        }
        let interval = server.health().next_interval(&check);
        let pause = spread(interval, shared.site.load().config.global.spread_checks);
        wait_for_next(&server, &check, started + pause).await;
    }
}

/// Until the next check is due, or is wanted sooner.
async fn wait_for_next(server: &ServerState, check: &Check, mut due: Instant) {
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => return,
            () = server.recheck.notified() => return,
            () = server.hurry.notified() => {
                // Sessions see errors: "forces fastinter", where there is one (manual 5.2, "on-error").
                if let Some(fastinter) = check.fastinter {
                    due = due.min(Instant::now() + fastinter);
                }
            }
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
    shared: &Shared,
    backend: &BackendState,
    server: &ServerState,
    check: &Check,
    pool: &BufferPool,
) -> CheckResult {
    let started = Instant::now();
    let (code, status, info) = match attempt(shared, backend, server, check, pool).await {
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
    shared: &Shared,
    backend: &BackendState,
    server: &ServerState,
    check: &Check,
    pool: &BufferPool,
) -> Result<Finding, Finding> {
    let started = Instant::now();
    let limits = CheckLimits::new(backend.conf(), check);
    let Some(target) = target(server, check) else {
        return Err((CheckCode::SocketError, None, "no address yet".into()));
    };
    let tls = server.check_tls.as_ref().filter(|_| check.tls);
    let fixed = server.conf.tls.as_ref().and_then(constant_sni);
    let sni = check.sni.as_deref().or(fixed);
    let outgoing = &server.conf.outgoing;
    let header: HeaderOf<'_> = &|ends| proxy_header::of_check(&outgoing.send_proxy, ends);
    let dial = Dial {
        target: &target,
        outgoing,
        next_port: &server.next_port,
        // A check is to see the connection, not only what comes by it.
        speak_first: false,
        header: check.send_proxy.then_some(header),
        tls,
        sni,
    };
    let mut stream = connect(&dial, Some(limits.connect))
        .await
        .map_err(|error| connect_failure(&error))?;
    if server.dynamic
        && stream
            .local_peer()
            .is_some_and(|peer| shared.site.load().listens_at(peer))
    {
        // A list that names ourselves would send every request round until nothing is left.
        let info = "it is a listener of this balancer itself".into();
        return Err((CheckCode::Layer4Connection, None, info));
    }
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
    let left = limits
        .answer
        .unwrap_or(limits.connect.saturating_sub(started.elapsed()));
    match within(Some(left), ask(&mut stream, httpchk, &target, pool)).await {
        Ok(finding) => finding,
        Err(_) => Err((CheckCode::Layer7Timeout, None, String::new())),
    }
}

/// The name for the handshake of a check: a fixed `sni`. One that depends on the request is unknown
/// here, and the node's default certificate is looked at.
fn constant_sni(tls: &ServerTls) -> Option<&str> {
    match &tls.sni.as_ref()?.fetch {
        Fetch::Constant(Constant::Str(name)) => Some(name),
        _ => None,
    }
}

/// Time for connecting and for the answer (manual 4.2, "timeout check").
struct CheckLimits {
    connect: Duration,
    /// `None`: what connecting has left.
    answer: Option<Duration>,
}

impl CheckLimits {
    fn new(backend: &Backend, check: &Check) -> Self {
        let timeouts = &backend.proxy.timeouts;
        match timeouts.check {
            None => Self {
                connect: check.inter,
                answer: None,
            },
            Some(answer) => Self {
                connect: timeouts
                    .connect
                    .map_or(check.inter, |connect| connect.min(check.inter)),
                answer: Some(answer),
            },
        }
    }
}

/// Where checks go: `port` and `addr` override the server's own (manual 5.2).
fn target(server: &ServerState, check: &Check) -> Option<Target> {
    match &check.addr {
        Some(CheckAddress::Unix(path)) => return Some(Target::Unix(path.clone())),
        Some(CheckAddress::Abstract(name)) => {
            return Some(Target::Abstract(abstract_name(name)));
        }
        Some(CheckAddress::Ip(_)) | None => {}
    }
    let elsewhere = match &check.addr {
        Some(CheckAddress::Ip(ip)) => Some(*ip),
        _ => None,
    };
    // No client came by any address: what depends on it is this machine, at the check's port.
    let nobody = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), check.port.unwrap_or(0));
    match server.target(Some(nobody))? {
        Target::Inet(address) => Some(Target::Inet(SocketAddr::new(
            elsewhere.unwrap_or(address.ip()),
            check.port.unwrap_or(address.port()),
        ))),
        unix => Some(match (elsewhere, check.port) {
            (Some(ip), Some(port)) => Target::Inet(SocketAddr::new(ip, port)),
            _ => unix,
        }),
    }
}

fn connect_failure(error: &ConnectError) -> Finding {
    match error {
        ConnectError::Expired => (CheckCode::Layer4Timeout, None, String::new()),
        ConnectError::Failed(error) => (CheckCode::Layer4Connection, None, explain(error)),
        ConnectError::HandshakeExpired => (CheckCode::Layer6Timeout, None, String::new()),
        ConnectError::HandshakeFailed(error) => {
            let info = format!("SSL handshake failure ({})", explain(error));
            (CheckCode::Layer6Response, None, info)
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
    let head = read_head(&shared, &mut buffer, pool).await?;
    let body = if httpchk.expect.iter().any(wants_body) {
        read_body(&shared, &head, buffer, pool).await
    } else {
        Vec::new()
    };
    judge(&httpchk.expect, &head, &body)
}

/// Reads the head of the final answer.
async fn read_head(
    stream: &io::Shared<'_>,
    buffer: &mut Buffer,
    pool: &BufferPool,
) -> Result<ResponseHead, Finding> {
    let invalid = |info: String| (CheckCode::Layer7Response, None, info);
    let limits = Limits {
        head_bytes_max: ANSWER_MAX,
        fields_max: 101,
    };
    let mut scanner = HeadScanner::new();
    loop {
        let full = buffer.is_full(pool);
        if full || scanner.is_worth_parsing(buffer.bytes(), &limits) {
            match h1::parse_response(buffer.bytes(), &limits) {
                Ok(Parsed::Complete { head, consumed }) => {
                    buffer.consume(consumed, pool);
                    scanner = HeadScanner::new();
                    if !head.is_interim() {
                        return Ok(head);
                    }
                    continue;
                }
                Ok(Parsed::Partial) if full => {
                    return Err(invalid("the head of the answer is too large".into()));
                }
                Ok(Parsed::Partial) => {}
                Err(rejected) => return Err(invalid(rejected.reason.to_string())),
            }
        }
        match io::fill(stream, buffer, pool).await {
            Ok(0) => {
                return Err(invalid(
                    "connection closed before the answer was whole".into(),
                ));
            }
            Ok(_) => {}
            Err(error) => return Err(invalid(explain(&error))),
        }
    }
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
            Target::Unix(_) | Target::Abstract(_) => text.push_str("host: localhost\r\n"),
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

/// The body, as far as it fits and comes: to its end by its own framing, or to the node's.
async fn read_body(
    stream: &io::Shared<'_>,
    head: &ResponseHead,
    mut buffer: Buffer,
    pool: &BufferPool,
) -> Vec<u8> {
    let mut body = Vec::new();
    let Ok(length) = h1::response_body(head, &Method::GET) else {
        return body;
    };
    let mut reader = BodyReader::new(length);
    while !reader.is_done() && body.len() < ANSWER_MAX {
        let used = match reader.next(buffer.bytes()) {
            Ok(BodyStep::Data { start, end }) => {
                body.extend_from_slice(&buffer.bytes()[start..end]);
                end
            }
            Ok(BodyStep::Skip(count)) => count,
            Ok(BodyStep::End { consumed, .. }) => consumed,
            Ok(BodyStep::NeedMore) => match io::fill(stream, &mut buffer, pool).await {
                Ok(1..) => 0,
                _ => break,
            },
            Err(_) => break,
        };
        buffer.consume(used, pool);
    }
    body
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
