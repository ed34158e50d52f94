//! What a check does, step by step (manual 4.2, "http-check", "tcp-check", "option …-check").
//!
//! Every kind of check is one of these: `option redis-check` is what somebody could have written with
//! `tcp-check` lines, and runs like them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::HttpSend;
use crate::expr::{Format, Sample};

/// The steps of a check, complete: the first that does anything is a connect.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// What is spoken.
    pub protocol: CheckProtocol,
    /// In order.
    pub steps: Vec<Step>,
    /// `http-check disable-on-404`: a server that is up and answers 404 takes nothing new.
    pub disable_on_404: bool,
    /// `http-check send-state`.
    pub send_state: bool,
}

impl Default for Sequence {
    /// A plain connect.
    fn default() -> Self {
        Self {
            protocol: CheckProtocol::Connect,
            steps: vec![Step {
                number: 0,
                comment: None,
                what: Action::Connect(Connect {
                    inherits: true,
                    ..Connect::default()
                }),
            }],
            disable_on_404: false,
            send_state: false,
        }
    }
}

impl Sequence {
    /// Whether a step wants TLS where the server's parameters do not.
    pub fn wants_tls(&self) -> bool {
        self.connects().any(|connect| connect.tls)
    }

    /// The protocols that a step offers in TLS in place of the server's.
    pub fn alpn(&self) -> Option<&[Arc<str>]> {
        self.connects().find_map(|connect| connect.alpn.as_deref())
    }

    /// Whether a step says `sni`.
    pub fn names_servers(&self) -> bool {
        self.connects().any(|connect| connect.sni.is_some())
    }

    /// Whether no connect needs the port of the server line.
    pub fn has_ports(&self) -> bool {
        self.connects().all(Connect::has_port)
    }

    fn connects(&self) -> impl Iterator<Item = &Connect> {
        self.steps.iter().filter_map(|step| match &step.what {
            Action::Connect(connect) => Some(connect),
            _ => None,
        })
    }
}

/// What is spoken in a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckProtocol {
    /// Nothing.
    Connect,
    /// HTTP: `option httpchk`.
    Http,
    /// `option tcp-check`; its steps are told in what goes wrong.
    Tcp,
    /// One that we know.
    Known,
    /// None: a program looks (`option external-check`).
    External,
}

/// A program that looks after a server (manual 4.2, "external-check command").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckCommand {
    /// `external-check command`.
    pub program: PathBuf,
    /// `external-check path`: its environment's PATH.
    pub path: Arc<str>,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its number in messages: of the line, counted from 1; 0 stands for a connect that nobody wrote.
    pub number: u16,
    /// `comment`, of its own line or of the one before.
    pub comment: Option<Arc<str>>,
    /// What it does.
    pub what: Action,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Action {
    /// `connect`: what came on an earlier connection is forgotten.
    Connect(Connect),
    /// `send`, `send-binary`.
    Send(Arc<[u8]>),
    /// `send-lf`.
    SendFormat(Format),
    /// `send-binary-lf`: hexadecimal digits.
    SendHexFormat(Format),
    /// `http-check send`.
    Request(HttpSend),
    /// `expect`.
    Expect(Box<Expect>),
    /// `external-check command`: the only step of its kind.
    Command(Arc<CheckCommand>),
    /// `set-var`, `set-var-fmt`, `unset-var`.
    Remember(super::Action),
}

impl Action {
    /// Whether it touches nothing but what the check remembers.
    pub(crate) fn is_memory(&self) -> bool {
        matches!(self, Self::Remember(_))
    }
}

/// The bytes that hexadecimal digits stand for, two a byte; `None` where they do not.
pub fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| (digit as char).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(value(*high)? * 16 + value(*low)?).ok(),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

/// `connect`.
#[derive(Debug, Clone, Default)]
pub struct Connect {
    /// `default`: as the server line says, beside what is said here. So is one that nobody wrote.
    pub inherits: bool,
    /// `addr`, with a port or without.
    pub addr: Option<(IpAddr, Option<u16>)>,
    /// `port`.
    pub port: Option<ConnectPort>,
    /// `send-proxy`.
    pub send_proxy: bool,
    /// `ssl`.
    pub tls: bool,
    /// `sni`.
    pub sni: Option<Arc<str>>,
    /// `alpn`.
    pub alpn: Option<Vec<Arc<str>>>,
    /// `linger`: it ends in good order.
    pub linger: bool,
    /// `via-socks4`: through the server's SOCKS proxy.
    pub via_socks4: bool,
}

impl Connect {
    fn has_port(&self) -> bool {
        self.port.is_some() || matches!(self.addr, Some((_, Some(_))))
    }
}

/// `port` of a connect.
#[derive(Debug, Clone)]
pub enum ConnectPort {
    /// A number.
    Fixed(u16),
    /// A sample.
    Computed(Box<Sample>),
}

/// `expect`.
#[derive(Debug, Clone)]
pub struct Expect {
    /// `!`.
    pub negated: bool,
    /// What is compared.
    pub what: Expected,
    /// `min-recv`: fewer bytes say nothing yet; `None` (-1): what does not match may match later.
    pub min_recv: Option<usize>,
    /// `ok-status`, where this is the last step.
    pub ok: CheckStatus,
    /// `error-status`; `None`: what the comparison has.
    pub error: Option<CheckStatus>,
    /// `tout-status`.
    pub timeout: CheckStatus,
    /// `on-success`.
    pub on_success: Option<Format>,
    /// `on-error`.
    pub on_error: Option<Format>,
    /// `status-code`.
    pub status_code: Option<Sample>,
}

impl Expect {
    /// This and nothing else.
    pub fn new(what: Expected) -> Self {
        Self {
            negated: false,
            what,
            min_recv: None,
            ok: CheckStatus::L7Ok,
            error: None,
            timeout: CheckStatus::L7Timeout,
            on_success: None,
            on_error: None,
            status_code: None,
        }
    }
}

/// How a step says that the check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the manual's own names: L7OK, L6RSP …")]
pub enum CheckStatus {
    L4Ok,
    L6Ok,
    L7Ok,
    L7OkConditional,
    L4Con,
    L6Rsp,
    L7Rsp,
    L7Sts,
    L4Timeout,
    L6Timeout,
    L7Timeout,
}

/// What `expect` compares.
#[derive(Debug, Clone)]
pub enum Expected {
    /// `status 200,201,300-399`: inclusive ranges.
    Status(Vec<(u16, u16)>),
    /// `rstatus REGEX`.
    StatusRegex(regex::bytes::Regex),
    /// `hdr`, `fhdr`.
    Header(Box<HeaderTest>),
    /// In the body of a response, or in what was received.
    Content(Pattern),
    /// The answer of a server whose protocol we know.
    Reply(Reply),
}

/// What is looked for in a content.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// `string`.
    Text(Arc<str>),
    /// `rstring`.
    Regex(regex::bytes::Regex),
    /// `string-lf`.
    Format(Format),
    /// `binary`.
    Bytes(Arc<[u8]>),
    /// `rbinary`: on its digits in upper case.
    HexRegex(regex::bytes::Regex),
    /// `binary-lf`: digits.
    HexFormat(Format),
}

/// `hdr` and `fhdr`: some header has this name, and this value where one is given.
#[derive(Debug, Clone)]
pub struct HeaderTest {
    /// `fhdr`: commas do not separate values.
    pub whole: bool,
    /// Compared without regard to case.
    pub name: HeaderPattern,
    /// Its value.
    pub value: Option<HeaderPattern>,
}

/// One side of a header test.
#[derive(Debug, Clone)]
pub enum HeaderPattern {
    /// `-m str|beg|end|sub TEXT`.
    Text(TextMethod, Arc<str>),
    /// `-m reg REGEX`.
    Regex(regex::bytes::Regex),
    /// `name-lf`, `value-lf`.
    Format(TextMethod, Format),
}

/// How texts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextMethod {
    /// `str`.
    Whole,
    /// `beg`.
    Beginning,
    /// `end`.
    End,
    /// `sub`.
    Within,
}

/// An answer in a protocol that we know enough of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Lines of SMTP that begin with a code (RFC 5321 section 4.2).
    Smtp,
    /// The first packet of a MySQL server.
    MysqlGreeting,
    /// What it says to a login.
    MysqlLogin,
    /// `+PONG` of a Redis server.
    Redis,
    /// What PostgreSQL says to a startup message.
    Pgsql,
    /// What LDAP says to a bind (RFC 4511 section 4.2.2).
    Ldap,
    /// An agent's HELLO of the stream processing offload protocol.
    Spop,
}
