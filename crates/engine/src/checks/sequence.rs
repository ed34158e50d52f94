//! One check, step by step (manual 4.2, "http-check", "tcp-check", "option …-check").

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::expr::{Constant, Fetch};
use config::model::sequence::{
    Action, CheckProtocol, Connect, ConnectPort, Expect, Expected, Pattern, Reply, Sequence, Step,
    unhex,
};
use config::model::{Backend, Check, CheckAddress, CheckText, HttpSend, ServerTls};
use routing::actions;
use routing::health::{CheckCode, CheckResult};
use routing::sample;

use super::facts::{Context, as_number};
use super::http::{self, Response};
use super::replies::{self, Meaning};
use super::{command, expect};
use crate::buffer::{Buffer, BufferPool};
use crate::io;
use crate::server::{ServerState, Target, abstract_name};
use crate::shared::Shared;
use crate::site::BackendState;
use crate::stream::Stream;
use crate::timing::within;
use crate::upstream::connect::{ConnectError, Dial, HeaderOf};
use crate::upstream::{connect, proxy_header};

/// How much of an answer is looked at; `tune.bufsize`'s default, which bounds it in HAProxy too.
pub(super) const ANSWER_MAX: usize = 16384;

thread_local! {
    /// Of all checks of the manager's thread: a few are under way at once, and the next one reads into
    /// what the last one gave back.
    static BUFFERS: Rc<BufferPool> = Rc::new(BufferPool::new(ANSWER_MAX));
}

/// Where checks have their buffers from.
pub(super) fn buffers() -> Rc<BufferPool> {
    BUFFERS.with(Rc::clone)
}

/// How a check ended: code, status, and what else there is to say.
#[derive(Debug, Default)]
pub(super) struct Finding {
    pub(super) code: Option<CheckCode>,
    pub(super) status: Option<u16>,
    pub(super) info: String,
}

impl Finding {
    pub(super) fn new(code: CheckCode, info: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            status: None,
            info: info.into(),
        }
    }

    /// What a program said by its exit code.
    pub(super) fn of_program(code: CheckCode, exit: u16) -> Self {
        Self {
            status: Some(exit),
            ..Self::new(code, "")
        }
    }

    /// With a status, which only some codes show.
    fn with_status(mut self, status: u16) -> Self {
        let shows = matches!(
            self.code,
            Some(CheckCode::Layer7Ok | CheckCode::Layer7OkConditional | CheckCode::Layer7Status)
        );
        self.status = shows.then_some(status);
        self
    }
}

/// Checks a server once.
pub(super) async fn probe(
    shared: &Shared,
    backend: &Arc<BackendState>,
    server: &ServerState,
    check: &Check,
) -> CheckResult {
    let sequence = server
        .conf
        .checks
        .as_ref()
        .unwrap_or(&backend.conf().checks);
    let _place = command::place_for(sequence, shared).await;
    let started = Instant::now();
    let mut running = Running {
        context: Context::new(shared, backend, server),
        check,
        sequence,
        limits: CheckLimits::new(backend.conf(), check),
        started,
        pool: buffers(),
        connection: None,
        received: Buffer::default(),
        ended: false,
        response: None,
        said: (0, String::new()),
    };
    let finding = match running.run().await {
        Ok(finding) | Err(finding) => finding,
    };
    running.received.clear(&running.pool);
    CheckResult {
        code: finding.code.unwrap_or(CheckCode::SocketError),
        status: finding.status,
        info: finding.info,
        duration: started.elapsed(),
    }
}

/// A connection of a check.
struct Connection {
    stream: Stream,
    target: Target,
    tls: bool,
    linger: bool,
}

/// A check under way.
struct Running<'a> {
    context: Context<'a>,
    check: &'a Check,
    sequence: &'a Sequence,
    limits: CheckLimits,
    started: Instant,
    pool: Rc<BufferPool>,
    connection: Option<Connection>,
    /// What came since something was sent.
    received: Buffer,
    /// Whether no more will come.
    ended: bool,
    /// The response at hand, once its head was read.
    response: Option<Response>,
    /// What a server of a known protocol said of itself.
    said: (u16, String),
}

impl Running<'_> {
    async fn run(&mut self) -> Result<Finding, Finding> {
        let sequence = self.sequence;
        for step in &sequence.steps {
            match &step.what {
                Action::Connect(connect) => self.connect(step, connect).await?,
                Action::Send(bytes) => self.send(step, bytes).await?,
                Action::SendFormat(format) => {
                    let bytes = self.context.text(format);
                    self.send(step, &bytes).await?;
                }
                Action::SendHexFormat(format) => {
                    let bytes = unhex(&self.context.text(format)).unwrap_or_default();
                    self.send(step, &bytes).await?;
                }
                Action::Request(request) => self.request(step, request).await?,
                Action::Remember(action) => self.remember(action),
                Action::Command(wanted) => {
                    let limit = self.limits.answer.unwrap_or(self.limits.connect);
                    return Ok(command::run(wanted, &self.context, limit).await);
                }
                Action::Expect(expect) => {
                    if let Some(finding) = self.expect(step, expect).await? {
                        return Ok(finding);
                    }
                }
            }
        }
        Ok(self.passed())
    }

    /// All steps went well.
    fn passed(&mut self) -> Finding {
        let Some(last) = self.sequence.steps.last() else {
            return Finding::default();
        };
        let told = self.sequence.protocol == CheckProtocol::Tcp && last.number > 0;
        let words = if told { "(tcp-check)" } else { "" };
        match &last.what {
            Action::Connect(_) => {
                let connection = self.connection.as_ref();
                if let Some(connection) = connection.filter(|connection| !connection.linger) {
                    // A reset tells the node at once that nobody is going to speak.
                    connection.stream.reset_on_close();
                }
                let tls = connection.is_some_and(|connection| connection.tls);
                let code = if tls {
                    CheckCode::Layer6Ok
                } else {
                    CheckCode::Layer4Ok
                };
                Finding::new(code, words)
            }
            Action::Expect(expect) => {
                let said = match self.sequence.protocol {
                    CheckProtocol::Tcp => words.to_owned(),
                    _ => std::mem::take(&mut self.said.1),
                };
                let finding = Finding::new(expect::code(expect.ok), said);
                let head = self.response.as_ref();
                let status = head.map_or(self.said.0, |response| response.head.status);
                let finding = finding.with_status(self.status_code(expect, status));
                match &expect.on_success {
                    Some(format) => Finding {
                        info: self.words(format),
                        ..finding
                    },
                    None => finding,
                }
            }
            _ => Finding::new(CheckCode::Layer7Ok, words).with_status(0),
        }
    }

    /// `status-code`, or what it would be without.
    fn status_code(&self, expect: &Expect, otherwise: u16) -> u16 {
        let Some(sample) = &expect.status_code else {
            return otherwise;
        };
        let number = self.look(|facts, _| as_number(sample::eval(sample, facts)));
        let number = number.and_then(|number| u16::try_from(number).ok());
        number.unwrap_or(otherwise)
    }

    fn words(&self, format: &config::expr::Format) -> String {
        let text = self.look(|facts, variables| expect::render(format, facts, variables));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Looks at what was received.
    fn look<T>(
        &self,
        look: impl FnOnce(&sample::Facts<'_>, &dyn routing::format::Variables) -> T,
    ) -> T {
        match &self.response {
            Some(response) => self
                .context
                .with(Some(&response.head), &response.body, look),
            None => self.context.with(None, self.received.bytes(), look),
        }
    }

    fn remember(&self, action: &config::model::Action) {
        self.look(|facts, variables| actions::carry_out(action, facts, variables));
    }

    /// What is added to what went wrong at a connect, or by time: the steps of a `tcp-check` are many.
    fn whereabouts(&self, step: &Step, port: Option<u16>) -> String {
        match self.sequence.protocol {
            CheckProtocol::Tcp => expect::whereabouts(step, port),
            _ => String::new(),
        }
    }

    async fn connect(&mut self, step: &Step, connect: &Connect) -> Result<(), Finding> {
        self.connection = None;
        self.forget();
        let port = match &connect.port {
            None => None,
            Some(ConnectPort::Fixed(port)) => Some(*port),
            Some(ConnectPort::Computed(sample)) => {
                let port = self.context.number(sample);
                Some(port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0))
            }
        };
        let failed = |finding: Finding| Finding {
            info: finding.info + &self.whereabouts(step, port),
            ..finding
        };
        let server = self.context.server;
        let target = target(server, self.check, connect.addr, port);
        let Some(target) = target.filter(|target| !is_nowhere(target)) else {
            let finding = Finding::new(CheckCode::SocketError, "no address yet");
            return Err(failed(finding));
        };
        let tls = connect.tls || (connect.inherits && self.check.tls);
        let fixed = server.conf.tls.as_ref().and_then(constant_sni);
        let of_host = (self.check.sni_from_host && step.number == 0 && tls)
            .then(|| self.host())
            .flatten();
        let sni = match (&connect.sni, connect.inherits) {
            (Some(name), _) => Some(&**name),
            (None, true) => {
                let named = self.check.sni.as_deref().or(fixed);
                named.or(of_host.as_deref())
            }
            (None, false) => None,
        };
        let outgoing = &server.conf.outgoing;
        let via_socks = connect.via_socks4 || (connect.inherits && outgoing.checks_via_socks4);
        let header: HeaderOf<'_> = &|ends| proxy_header::of_check(&outgoing.send_proxy, ends);
        let sends = connect.send_proxy || (connect.inherits && self.check.send_proxy);
        let dial = Dial {
            target: &target,
            socks4: outgoing.socks4.filter(|_| via_socks),
            outgoing,
            next_port: &server.next_port,
            // A check is to see the connection, not only what comes by it.
            speak_first: false,
            header: sends.then_some(header),
            tls: server.check_tls.as_ref().filter(|_| tls),
            sni,
        };
        let stream = connect::connect(&dial, Some(self.limits.connect))
            .await
            .map_err(|error| failed(connect_failure(&error)))?;
        let listens = |peer| self.context.shared.site.load().listens_at(peer);
        if server.dynamic && stream.local_peer().is_some_and(listens) {
            // A list that names ourselves would send every request round until nothing is left.
            let info = "it is a listener of this balancer itself";
            return Err(failed(Finding::new(CheckCode::Layer4Connection, info)));
        }
        self.connection = Some(Connection {
            stream,
            target,
            tls,
            linger: connect.linger,
        });
        Ok(())
    }

    /// The Host header of the first request, without a port: what `check-sni-auto` names where nobody
    /// has written a connect (manual 5.2).
    fn host(&self) -> Option<String> {
        let mut requests = self
            .sequence
            .steps
            .iter()
            .filter_map(|step| match &step.what {
                Action::Request(request) => Some(request),
                _ => None,
            });
        let headers = &requests.next()?.headers;
        let (_, host) = headers.iter().find(|(name, _)| &**name == "host")?;
        let host = match host {
            CheckText::Fixed(text) => text.to_string(),
            CheckText::Format(format) => String::from_utf8(self.context.text(format)).ok()?,
        };
        let host = host.split(':').next().unwrap_or_default();
        (!host.is_empty()).then(|| host.to_owned())
    }

    /// What came before is no answer to what comes next.
    fn forget(&mut self) {
        self.received.clear(&self.pool);
        self.response = None;
        self.ended = false;
    }

    async fn send(&mut self, step: &Step, bytes: &[u8]) -> Result<(), Finding> {
        self.forget();
        let left = self.left();
        let Some(connection) = &mut self.connection else {
            return Err(Finding::new(CheckCode::SocketError, "no connection"));
        };
        let stream = RefCell::new(&mut connection.stream);
        match within(Some(left), io::write_all(&stream, bytes)).await {
            Ok(Ok(())) => Ok(()),
            // It may have answered before it stopped listening.
            Ok(Err(_)) => Ok(()),
            Err(_) => {
                let info = self.whereabouts(step, None);
                Err(Finding::new(CheckCode::Layer7Timeout, info))
            }
        }
    }

    async fn request(&mut self, step: &Step, request: &HttpSend) -> Result<(), Finding> {
        let Some(connection) = &self.connection else {
            return Err(Finding::new(CheckCode::SocketError, "no connection"));
        };
        let bytes = http::request(
            request,
            &connection.target,
            &self.context,
            self.sequence.send_state,
        );
        self.send(step, &bytes).await
    }

    /// Time left for an answer.
    fn left(&self) -> Duration {
        let whole = self.limits.connect.saturating_sub(self.started.elapsed());
        self.limits.answer.unwrap_or(whole)
    }

    /// `Some`: this ends the check, and well.
    async fn expect(&mut self, step: &Step, expect: &Expect) -> Result<Option<Finding>, Finding> {
        let left = self.left();
        let judged = match self.sequence.protocol {
            CheckProtocol::Http => within(Some(left), self.expect_of_response(step, expect)).await,
            _ => within(Some(left), self.expect_of_bytes(step, expect)).await,
        };
        match judged {
            Ok(judged) => judged,
            Err(_) => {
                let info = self.whereabouts(step, None);
                Err(Finding::new(expect::code(expect.timeout), info))
            }
        }
    }

    /// Reads more; `false`: there is no more.
    async fn more(&mut self) -> Result<bool, Finding> {
        if self.received.is_full(&self.pool) {
            self.ended = true;
        }
        let Some(connection) = self.connection.as_mut().filter(|_| !self.ended) else {
            return Ok(false);
        };
        let stream = RefCell::new(&mut connection.stream);
        match io::fill(&stream, &mut self.received, &self.pool).await {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(_) if !self.received.is_empty() => self.ended = true,
            Err(error) => return Err(Finding::new(CheckCode::SocketError, explain(&error))),
        }
        Ok(!self.ended)
    }

    async fn expect_of_bytes(
        &mut self,
        step: &Step,
        expect: &Expect,
    ) -> Result<Option<Finding>, Finding> {
        match &expect.what {
            Expected::Reply(reply) => self.reply(step, *reply).await?,
            Expected::Content(pattern) => self.content(step, expect, pattern).await?,
            // Only of responses.
            Expected::Status(_) | Expected::StatusRegex(_) | Expected::Header(_) => {}
        }
        Ok(None)
    }

    async fn reply(&mut self, step: &Step, reply: Reply) -> Result<(), Finding> {
        loop {
            let bytes = self.received.bytes();
            if bytes.is_empty()
                && self.ended
                && matches!(reply, Reply::MysqlGreeting | Reply::MysqlLogin)
            {
                return Err(Finding::new(
                    CheckCode::Layer7Response,
                    expect::nothing(step),
                ));
            }
            if bytes.is_empty() && self.ended && reply == Reply::Redis {
                return Err(Finding::new(CheckCode::Layer7Status, "").with_status(0));
            }
            match replies::understand(reply, bytes, self.ended) {
                Meaning::Partial => {
                    self.more().await?;
                }
                Meaning::Well(code, said) => {
                    // What it said of itself at first is worth more than nothing later.
                    if !said.is_empty() {
                        self.said.1 = said;
                    }
                    self.said.0 = code;
                    let used = replies::used(reply, self.received.bytes());
                    self.received.consume(used, &self.pool);
                    return Ok(());
                }
                Meaning::Bad(code, status, said) => {
                    return Err(Finding::new(code, said).with_status(status));
                }
            }
        }
    }

    async fn content(
        &mut self,
        step: &Step,
        expect: &Expect,
        pattern: &Pattern,
    ) -> Result<(), Finding> {
        let wanted = self.look(|facts, variables| {
            let wanted = expect::wanted(pattern, facts, variables);
            wanted.map(std::borrow::Cow::into_owned)
        });
        let at_least = match (&wanted, expect.min_recv) {
            (Some(text), Some(least)) => least.max(text.len()),
            (Some(text), None) => text.len(),
            (None, least) => least.unwrap_or(0),
        };
        if self.received.is_empty() {
            self.more().await?;
        }
        loop {
            let bytes = self.received.bytes();
            if bytes.is_empty() && self.ended {
                let code = expect.error.map_or(CheckCode::Layer7Response, expect::code);
                return Err(self.failed(expect, code, 0, expect::nothing(step)));
            }
            if bytes.len() < at_least && !self.ended {
                self.more().await?;
                continue;
            }
            let found = expect::is_in(pattern, wanted.as_deref(), bytes);
            // What is not there may still come, unless it was said when it is enough.
            if !found && !self.ended && expect.min_recv.is_none() {
                self.more().await?;
                continue;
            }
            if found != expect.negated {
                return Ok(());
            }
            let code = expect.error.map_or(CheckCode::Layer7Response, expect::code);
            let said = expect::mismatch(expect, step, self.sequence.protocol);
            return Err(self.failed(expect, code, 0, said));
        }
    }

    /// It is not as expected: what is said of it.
    fn failed(&self, expect: &Expect, code: CheckCode, status: u16, said: String) -> Finding {
        let info = match &expect.on_error {
            Some(format) => self.words(format),
            None => said,
        };
        Finding::new(code, info).with_status(self.status_code(expect, status))
    }

    async fn expect_of_response(
        &mut self,
        step: &Step,
        expect: &Expect,
    ) -> Result<Option<Finding>, Finding> {
        self.read_head().await?;
        let status = self
            .response
            .as_ref()
            .map_or(0, |response| response.head.status);
        if self.sequence.disable_on_404 && status == 404 && self.context.server.health().is_up() {
            let finding = Finding::new(CheckCode::Layer7OkConditional, "");
            return Ok(Some(finding.with_status(status)));
        }
        let holds = match &expect.what {
            Expected::Status(_) | Expected::StatusRegex(_) => {
                expect::is_status(&expect.what, status)
            }
            Expected::Header(test) => self.look(|facts, variables| {
                let head = facts.response;
                head.is_some_and(|head| expect::has_header(test, head, facts, variables))
            }),
            Expected::Content(pattern) => return self.body(step, expect, pattern).await,
            Expected::Reply(_) => true,
        };
        if holds != expect.negated {
            return Ok(None);
        }
        let reason = self
            .response
            .as_ref()
            .map(|response| response.head.reason());
        let reason = String::from_utf8_lossy(reason.unwrap_or_default()).into_owned();
        let said = match reason.is_empty() {
            true => expect::mismatch(expect, step, CheckProtocol::Http),
            false => reason + &expect::comment(step),
        };
        let code = expect.error.map_or(CheckCode::Layer7Status, expect::code);
        Err(self.failed(expect, code, status, said))
    }

    async fn read_head(&mut self) -> Result<(), Finding> {
        if self.response.is_some() {
            return Ok(());
        }
        let Some(connection) = &mut self.connection else {
            return Err(Finding::new(CheckCode::SocketError, "no connection"));
        };
        let stream = RefCell::new(&mut connection.stream);
        let head = http::read_head(&stream, &mut self.received, &self.pool).await?;
        self.response = Some(Response::new(head));
        Ok(())
    }

    async fn body(
        &mut self,
        step: &Step,
        expect: &Expect,
        pattern: &Pattern,
    ) -> Result<Option<Finding>, Finding> {
        let wanted = self.look(|facts, variables| {
            let wanted = expect::wanted(pattern, facts, variables);
            wanted.map(std::borrow::Cow::into_owned)
        });
        let (found, empty) = loop {
            let (Some(response), Some(connection)) = (&mut self.response, &mut self.connection)
            else {
                return Err(Finding::new(CheckCode::SocketError, "no connection"));
            };
            let found = expect::is_in(pattern, wanted.as_deref(), &response.body);
            let empty = response.body.is_empty();
            if (found && !empty) || response.is_whole() {
                break (found, empty);
            }
            let stream = RefCell::new(&mut connection.stream);
            response.read(&stream, &mut self.received, &self.pool).await;
        };
        if !empty && found != expect.negated {
            return Ok(None);
        }
        let said = match (empty, expect.negated) {
            (true, _) => "HTTP content check could not find a response body",
            (false, false) => "HTTP content check did not match",
            (false, true) => "HTTP check matched unwanted content",
        };
        let code = expect.error.map_or(CheckCode::Layer7Response, expect::code);
        let status = self
            .response
            .as_ref()
            .map_or(0, |response| response.head.status);
        let said = said.to_owned() + &expect::comment(step);
        Err(self.failed(expect, code, status, said))
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

/// Where checks go: what the step says, else `port` and `addr`, else the server's own (manual 5.2).
fn target(
    server: &ServerState,
    check: &Check,
    addr: Option<(IpAddr, Option<u16>)>,
    port: Option<u16>,
) -> Option<Target> {
    let changed = server.check_overrides();
    let moved = changed.check_addr.map(CheckAddress::Ip);
    let check_addr = moved.as_ref().or(check.addr.as_ref());
    let check_port = changed.check_port.or(check.port);
    if addr.is_none() && port.is_none() {
        match check_addr {
            Some(CheckAddress::Unix(path)) => return Some(Target::Unix(path.clone())),
            Some(CheckAddress::Abstract(name)) => {
                return Some(Target::Abstract(abstract_name(name)));
            }
            Some(CheckAddress::Ip(_)) | None => {}
        }
    }
    let elsewhere = match (addr, check_addr) {
        (Some((ip, _)), _) => Some(ip),
        (None, Some(CheckAddress::Ip(ip))) => Some(*ip),
        _ => None,
    };
    let port = port.or(addr.and_then(|(_, port)| port)).or(check_port);
    if let (Some(ip), Some(port)) = (elsewhere, port) {
        return Some(Target::Inet(SocketAddr::new(ip, port)));
    }
    // No client came by any address: what depends on it is this machine, at the check's port.
    let nobody = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.unwrap_or(0));
    match server.target(Some(nobody))? {
        Target::Inet(address) => Some(Target::Inet(SocketAddr::new(
            elsewhere.unwrap_or(address.ip()),
            port.unwrap_or(address.port()),
        ))),
        unix => Some(unix),
    }
}

/// A port that was computed and came to nothing.
fn is_nowhere(target: &Target) -> bool {
    matches!(target, Target::Inet(address) if address.port() == 0)
}

pub(super) fn connect_failure(error: &ConnectError) -> Finding {
    match error {
        ConnectError::Expired => Finding::new(CheckCode::Layer4Timeout, ""),
        ConnectError::Failed(error) => Finding::new(CheckCode::Layer4Connection, explain(error)),
        ConnectError::HandshakeExpired => Finding::new(CheckCode::Layer6Timeout, ""),
        ConnectError::HandshakeFailed(error) => {
            let info = format!("SSL handshake failure ({})", words(error));
            Finding::new(CheckCode::Layer6Response, info)
        }
    }
}

/// What HAProxy calls an error of a socket: those that a network is wont to give by their names.
pub(super) fn explain(error: &std::io::Error) -> String {
    use nix::errno::Errno;
    let words = words(error);
    let Some(code) = error.raw_os_error() else {
        return words;
    };
    match Errno::from_raw(code) {
        named @ (Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::EPIPE) => {
            format!("{named:?} returned by OS ({words})")
        }
        _ => format!("General socket error ({words})"),
    }
}

/// The system's words without Rust's "(os error 111)".
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}
