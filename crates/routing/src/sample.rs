//! What a sample expression sees (manual 7.3): fetches over the facts of a session.
//!
//! Nothing is copied where the facts hold it as it is. Converters are in `crate::convert`.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::expr::{
    ConnectionFetch, Constant, EntryOf, Fetch, HeadFetch, Named, Recalled, Sample, Side, TableAsk,
    TableFetch, TimeUnit, Timeout, VarName,
};
use config::model::{LogLevel, Mark, Priority};
use config::source::Span;
use wire::head::{Fields, RequestHead, ResponseHead, Version};

use crate::auth::{self, Logins};
use crate::condition;
use crate::content::{self, Content};
use crate::convert;
use crate::fetches::{connection, dice, http};
use crate::fields::{self, Pairs};
use crate::process::{self, Process};
use crate::stick::{NoTables, Tables};
use crate::value::leading_int;
use crate::variables::{Held, Store};

pub use crate::fetches::connection::{Kept, TcpFacts};
pub use crate::tls::{ClientCertificate, MoreServerFacts, ServerTlsFacts, TlsFacts};
pub use crate::value::Value;

/// What is known when a decision is made.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The request, where it is at hand: best until the session ends, since `method` and
    /// `capture.req.uri` may be asked for in responses and log lines.
    pub request: Option<&'a RequestHead>,
    /// The response, where it is at hand.
    pub response: Option<&'a ResponseHead>,
    /// Bytes as they came, where they are looked at.
    pub content: Content<'a>,
    /// The client's connection.
    pub connection: &'a ConnectionFacts,
    /// Name of the frontend.
    pub frontend: &'a str,
    /// Name of the backend, once chosen.
    pub backend: Option<&'a str>,
    /// TLS towards the server, where there is a connection to one and it has TLS.
    pub server_tls: Option<&'a ServerTlsFacts>,
    /// What is remembered of the session.
    pub memory: &'a dyn Memory,
    /// What may be asked of the running process.
    pub process: &'a dyn Process,
    /// Since 1970, UTC.
    pub now: Duration,
    /// Drawn anew for each request.
    pub random: u64,
    /// What was proven of the client's user and password.
    pub logins: Option<&'a Logins>,
}

/// What is remembered of a session until it ends, and what rules leave there.
pub trait Memory {
    /// Something remembered; `None`: it never came.
    fn recall(&self, _: Recalled) -> Option<Value<'static>> {
        None
    }

    /// The status of the response, once it is known.
    fn status(&self) -> Option<u16> {
        None
    }

    /// `http-request capture`: keeps a value in a slot.
    fn keep_of_request(&self, _slot: usize, _value: &[u8]) {}

    /// `http-response capture`.
    fn keep_of_response(&self, _slot: usize, _value: &[u8]) {}

    /// `set-log-level`.
    fn set_log_level(&self, _: LogLevel) {}

    /// Whether the client is who it says was asked, and is not proven yet: what came of it means
    /// nothing, and is to be asked again after the proof.
    fn is_login_wanted(&self) -> bool {
        false
    }

    /// Asks for that proof.
    fn want_login(&self) {}

    /// Most bytes that the fields of a head may have after a rule has changed them.
    fn fields_len_max(&self) -> usize {
        usize::MAX
    }

    /// A rule's change could not be made; counted.
    fn rewrite_failed(&self) {}

    /// The rule at this place has ended the evaluation of its set.
    fn decided(&self, _: Span) {}

    /// The rule at this place waits for what is to come; `None`: none does any more.
    fn waits(&self, _: Option<Span>) {}

    /// Another timeout, for this request alone.
    fn set_timeout(&self, _: Timeout, _: Duration) {}

    /// How often a server is tried again, for this request alone.
    fn set_retries(&self, _: u32) {}

    /// What the kernel tells packets of the connection apart by.
    fn set_mark(&self, _: Mark, _: u32) {}

    /// Who is next of those that wait for a server, for this request alone.
    fn set_priority(&self, _: Priority, _: i64) {}

    /// What is known of a variable.
    fn variable(&self, _: &VarName) -> Held {
        Held::Absent
    }

    /// Gives a variable a value, or takes it away; `false`: there is no room for it.
    fn set_variable(&self, _: &VarName, _: Option<Value<'static>>) -> bool {
        false
    }

    /// The stick tables, and what of them the session tracks.
    fn tables(&self) -> &dyn Tables {
        &NoTables
    }
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoMemory;

impl Memory for NoMemory {}

/// What is known of the client's connection.
#[derive(Debug, Clone, Default)]
pub struct ConnectionFacts {
    /// The client's address.
    pub src: Option<SocketAddr>,
    /// The address it connected to.
    pub dst: Option<SocketAddr>,
    /// TLS, if it is.
    pub tls: Option<TlsFacts>,
    /// What went wrong with it before its first request.
    pub error: ConnectionError,
    /// Whether a PROXY header came first.
    pub received_proxy: bool,
    /// Its own variables (`sess`).
    pub variables: ConnectionVariables,
    /// What few connections have.
    pub rare: RefCell<Option<Box<Rare>>>,
}

/// What few connections have, in one place, so that the others are no larger for it.
#[derive(Debug, Clone, Default)]
pub struct Rare {
    /// Addresses that a rule has put in place of its own.
    told: Option<Told>,
    /// What is kept of it only where an expression asks for it.
    pub kept: Kept,
}

/// The addresses of a client as a rule tells them (`set-src`, `set-dst`).
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// In place of `src`.
    pub src: Option<SocketAddr>,
    /// In place of `dst`.
    pub dst: Option<SocketAddr>,
}

impl Rare {
    /// Whether there is more than addresses, which are `source` and `destination` from now on.
    pub fn keeps(&self) -> bool {
        !self.kept.extensions.is_empty() || self.kept.tcp.is_some()
    }
}

impl ConnectionFacts {
    fn told(&self) -> Option<Told> {
        self.rare.borrow().as_deref().and_then(|rare| rare.told)
    }

    /// The client's address, or what a rule has told in its place.
    pub fn source(&self) -> Option<SocketAddr> {
        self.told().map_or(self.src, |told| told.src)
    }

    /// The same of the address it connected to.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.told().map_or(self.dst, |told| told.dst)
    }

    /// Tells other addresses from now on.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Told)) {
        let (src, dst) = (self.source(), self.destination());
        let mut rare = self.rare.borrow_mut();
        let told = &mut rare.get_or_insert_default().told;
        change(told.get_or_insert(Told { src, dst }));
    }

    /// What a rule has told of a connection is so for all of its requests.
    pub fn settle(&mut self) {
        let rare = self.rare.get_mut().as_deref_mut();
        if let Some(told) = rare.and_then(|rare| rare.told.take()) {
            (self.src, self.dst) = (told.src, told.dst);
        }
    }

    /// What a rule has told of one request is not so of the next one.
    pub fn forget_told(&self) {
        if let Some(rare) = self.rare.borrow_mut().as_deref_mut() {
            rare.told = None;
        }
    }
}

/// The variables of a connection, which are made when the first one is set.
pub type ConnectionVariables = RefCell<Option<Box<Store>>>;

/// What went wrong with a client's connection before its first request: numbers and words are
/// those of `fc_err` and `fc_err_str` (manual 7.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionError {
    /// Nothing.
    #[default]
    None,
    /// It ended before the PROXY header.
    ProxyHeaderEmpty,
    /// It took too long with the PROXY header.
    ProxyHeaderTimeout,
    /// It ended within the PROXY header.
    ProxyHeaderTruncated,
    /// What came was no PROXY header.
    ProxyHeaderUnknown,
    /// It ended within the TLS handshake, in good order.
    HandshakeEmpty,
    /// It took too long with the TLS handshake.
    HandshakeTimeout,
    /// The client's socket failed within the TLS handshake.
    HandshakeAbort,
    /// The chain above the client's certificate cannot be verified.
    ClientChain,
    /// The client's certificate is not trusted.
    ClientCertificate,
    /// The TLS handshake failed.
    Handshake,
}

impl ConnectionError {
    /// HAProxy's number.
    pub fn number(self) -> i64 {
        self.row().0
    }

    /// HAProxy's name for it; empty for nothing.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// HAProxy's words.
    pub fn words(self) -> &'static str {
        self.row().2
    }

    /// Whether nobody ever said anything, or not enough: `option dontlognull` leaves it out.
    pub fn is_silence(self) -> bool {
        matches!(
            self,
            Self::ProxyHeaderEmpty
                | Self::ProxyHeaderTimeout
                | Self::HandshakeEmpty
                | Self::HandshakeTimeout
        )
    }

    fn row(self) -> (i64, &'static str, &'static str) {
        match self {
            Self::None => (0, "", "Success"),
            Self::ProxyHeaderEmpty => (
                11,
                "PRX_EMPTY",
                "Connection closed while waiting for PROXY protocol header",
            ),
            Self::ProxyHeaderTimeout => (
                13,
                "PRX_TIMEOUT",
                "Timeout while waiting for PROXY protocol header",
            ),
            Self::ProxyHeaderTruncated => (
                14,
                "PRX_TRUNCATED",
                "Truncated PROXY protocol header received",
            ),
            Self::ProxyHeaderUnknown => (
                15,
                "PRX_NOT_HDR",
                "Received something which does not look like a PROXY protocol header",
            ),
            Self::HandshakeEmpty => (24, "SSL_EMPTY", "Connection closed during SSL handshake"),
            Self::HandshakeAbort => (25, "SSL_ABORT", "Connection error during SSL handshake"),
            Self::ClientChain => (30, "SSL_CA_FAIL", "SSL client CA chain cannot be verified"),
            Self::ClientCertificate => (31, "SSL_CRT_FAIL", "SSL client certificate not trusted"),
            Self::HandshakeTimeout => (26, "SSL_TIMEOUT", "Timeout during SSL handshake"),
            Self::Handshake => (34, "SSL_HANDSHAKE", "SSL handshake failure"),
        }
    }
}

/// The value of a sample, or `None` where it has none. Of a fetch with several values it is the
/// last (`hdr`, a named cookie) or the first (a parameter, any cookie), as in HAProxy.
pub fn eval<'a>(sample: &'a Sample, facts: &Facts<'a>) -> Option<Value<'a>> {
    let fetch = &sample.fetch;
    let value = match fetch {
        Fetch::Hdr(named) | Fetch::Fhdr(named) | Fetch::HdrVal(named) | Fetch::HdrIp(named) => {
            let occurrence = if named.occurrence == 0 {
                -1
            } else {
                named.occurrence
            };
            header(fetch, named, occurrence, facts)
        }
        fetch if has_several(fetch) => first_or_last(fetch, facts),
        fetch => single(fetch, facts),
    }?;
    convert::all(&sample.converters, value, facts)
}

/// Whether the test holds for the value of a sample, or for any of its values where it has several.
/// As in HAProxy, a value a converter can do nothing with ends the search.
pub fn any<'a>(
    sample: &'a Sample,
    facts: &Facts<'a>,
    test: &mut dyn FnMut(&Value<'a>) -> bool,
) -> bool {
    if let (Fetch::HttpAuthGroup(list), true) = (&sample.fetch, sample.converters.is_empty()) {
        let groups = logged_in(list, facts);
        return groups.is_some_and(|groups| {
            let mut values = groups.iter().map(|group| Value::text(group.as_bytes()));
            values.any(|value| test(&value))
        });
    }
    if !has_several(&sample.fetch) {
        return eval(sample, facts).is_some_and(|value| test(&value));
    }
    let mut found = false;
    each(&sample.fetch, facts, &mut |value| {
        let value = convert::all(&sample.converters, value, facts);
        found = value.as_ref().is_some_and(&mut *test);
        found || value.is_none()
    });
    found
}

/// Whether [`each`] knows its values.
fn has_several(fetch: &Fetch) -> bool {
    match fetch {
        Fetch::Hdr(named) | Fetch::Fhdr(named) | Fetch::HdrVal(named) | Fetch::HdrIp(named) => {
            named.occurrence == 0
        }
        Fetch::Cook(_) | Fetch::CookVal(_) | Fetch::UrlParam(_) | Fetch::UrlParamVal(_) => true,
        Fetch::Connection(ConnectionFetch::Extension(_)) => true,
        Fetch::Head(HeadFetch::BodyParam(_)) => true,
        _ => false,
    }
}

fn first_or_last<'a>(fetch: &'a Fetch, facts: &Facts<'a>) -> Option<Value<'a>> {
    let named_cookie = |named: &Named| !named.name.is_empty();
    let last = match fetch {
        Fetch::Cook(named) | Fetch::CookVal(named) => named_cookie(named),
        _ => false,
    };
    let mut found = None;
    each(fetch, facts, &mut |value| {
        found = Some(value);
        !last
    });
    found
}

/// One occurrence of a header, counted from 1, or from -1 backwards.
fn header<'a>(
    fetch: &Fetch,
    named: &'a Named,
    occurrence: i32,
    facts: &Facts<'a>,
) -> Option<Value<'a>> {
    let head = head_of(facts, named.side);
    match fetch {
        Fetch::Fhdr(_) => nth(|| fields::lines(head, &named.name), occurrence).map(Value::text),
        fetch => {
            let text = nth(|| fields::values(head, &named.name), occurrence)?;
            match fetch {
                Fetch::HdrVal(_) => Some(Value::Int(leading_int(text))),
                Fetch::HdrIp(_) => address(text),
                _ => Some(Value::text(text)),
            }
        }
    }
}

fn nth<'a, I: Iterator<Item = &'a [u8]>>(
    values: impl Fn() -> I,
    occurrence: i32,
) -> Option<&'a [u8]> {
    let distance = usize::try_from(occurrence.unsigned_abs()).ok()?;
    let index = if occurrence > 0 {
        distance - 1
    } else {
        values().count().checked_sub(distance)?
    };
    values().nth(index)
}

pub(crate) fn value_of(constant: &Constant) -> Option<Value<'_>> {
    match constant {
        Constant::Bool(value) => Some(Value::Bool(*value)),
        Constant::Int(number) => Some(Value::Int(*number)),
        Constant::Addr(address) => Some(Value::Addr(*address)),
        Constant::Str(text) => Some(Value::text(text.as_bytes())),
        Constant::Raw(bytes) => Some(Value::text(bytes)),
        Constant::Bin(bytes) => Some(Value::Bin((&**bytes).into())),
        Constant::Method(method) => Some(Value::Method(method.as_bytes().into())),
        Constant::Missing => None,
    }
}

/// Fetches that only ever have one value.
fn single<'a>(fetch: &'a Fetch, facts: &Facts<'a>) -> Option<Value<'a>> {
    match fetch {
        // What nearly all rules look at, before all that is looked through below.
        Fetch::Path => path(facts.request?).map(Value::text),
        Fetch::Constant(constant) => value_of(constant),
        Fetch::Src => address_of(facts.connection.source()),
        Fetch::SrcPort => port_of(facts.connection.source()),
        Fetch::Dst => address_of(facts.connection.destination()),
        Fetch::DstPort => port_of(facts.connection.destination()),
        Fetch::FeName => Some(Value::text(facts.frontend.as_bytes())),
        Fetch::BeName => facts.backend.map(|name| Value::text(name.as_bytes())),
        Fetch::State(fetch) => process::value(fetch, facts.process),
        Fetch::Rand { range, salt } => Some(Value::Int(draw(*range, *salt, facts.random))),
        Fetch::Date { offset, unit } => {
            let since_1970 = match unit {
                TimeUnit::Seconds => facts.now.as_secs().into(),
                TimeUnit::Milliseconds => facts.now.as_millis(),
                TimeUnit::Microseconds => facts.now.as_micros(),
            };
            let since_1970 = i64::try_from(since_1970).unwrap_or(i64::MAX);
            Some(Value::Int(since_1970.saturating_add(*offset)))
        }
        Fetch::HdrNames(side, delimiter) => {
            let names = head_of(facts, *side)?.iter().map(|(name, _)| name);
            let names: Vec<&str> = names.collect();
            Some(Value::made(names.join(delimiter).into_bytes()))
        }
        Fetch::HdrCnt(named) => {
            let values = fields::values(head_of(facts, named.side), &named.name);
            Some(Value::Int(values.count() as i64))
        }
        Fetch::FhdrCnt(named) => {
            let lines = fields::lines(head_of(facts, named.side), &named.name);
            Some(Value::Int(lines.count() as i64))
        }
        Fetch::CookCnt(named) => {
            let head = head_of(facts, named.side);
            let cookies = fields::cookies(head, named.side, &named.name);
            Some(Value::Int(cookies.count() as i64))
        }
        Fetch::Status => {
            let status = facts.response.map(|head| head.status);
            Some(Value::Int(status.or(facts.memory.status())?.into()))
        }
        Fetch::Var(name, default) => match (facts.memory.variable(name).value(), default) {
            (None, Some(default)) => Some(Value::text(default.as_bytes())),
            (value, _) => value,
        },
        Fetch::Recalled(what) => facts.memory.recall(*what),
        Fetch::Head(fetch) => http::value(fetch, facts),
        Fetch::Acls(acls) => {
            let mut acls = acls.iter();
            let holds = acls.all(|(negated, acl)| condition::is_true(&acl.0, facts) != *negated);
            Some(Value::Bool(holds))
        }
        Fetch::DateMicros => Some(Value::Int(facts.now.subsec_micros().into())),
        Fetch::Uuid { by_time, salt } => {
            let text = dice::uuid(*by_time, *salt, facts.random, facts.now);
            Some(Value::made(text.into_bytes()))
        }
        Fetch::ResVer => Some(Value::text(version(facts.response?.version))),
        Fetch::Content(fetch) => content::value(fetch, &facts.content),
        Fetch::Table(fetch) => on_table(fetch, facts),
        Fetch::TableCount(table, free) => {
            let (used, size) = facts.memory.tables().count(table)?;
            let count = if *free {
                size.saturating_sub(used)
            } else {
                used
            };
            Some(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
        }
        Fetch::Connection(fetch) => connection::value(*fetch, facts.connection),
        fetch => tls(fetch, facts).or_else(|| request(fetch, facts)),
    }
}

/// What is asked of a stick table. An address without an entry has not done anything yet.
fn on_table(fetch: &TableFetch, facts: &Facts<'_>) -> Option<Value<'static>> {
    let tables = facts.memory.tables();
    match (fetch.of, &fetch.table) {
        (EntryOf::Counter(counter), table) => match fetch.ask {
            TableAsk::Tracked if table.is_none() => Some(Value::Bool(tables.is_tracking(counter))),
            ask => tables.ask_tracked(counter, table.as_ref(), ask),
        },
        (EntryOf::Source, Some(table)) => {
            let key = address_of(facts.connection.source())?;
            tables.ask_key(table, &key, fetch.ask)?
        }
        (EntryOf::Source, None) => None,
    }
}

fn tls<'a>(fetch: &'a Fetch, facts: &Facts<'a>) -> Option<Value<'a>> {
    let tls = facts.connection.tls.as_ref();
    let text = |text: &'a str| Value::text(text.as_bytes());
    match fetch {
        Fetch::SslFc => Some(Value::Bool(tls.is_some())),
        Fetch::SslFcHasSni => Some(Value::Bool(tls.is_some_and(|tls| tls.sni.is_some()))),
        Fetch::SslFcSni => tls?.sni.as_deref().map(text),
        Fetch::SslFcProtocol => Some(text(tls?.version())),
        Fetch::SslFcCipher => Some(text(tls?.cipher())),
        Fetch::SslFcAlpn => tls?.alpn.as_deref().map(text),
        Fetch::SslFcIsResumed => Some(Value::Bool(tls.is_some_and(|tls| tls.resumed))),
        // A handshake that failed is nobody's connection.
        Fetch::SslFcErr => tls.map(|_| Value::Int(0)),
        Fetch::SslCErr => {
            let client = tls?.client.as_ref();
            Some(Value::Int(client.map_or(0, |it| it.error.into())))
        }
        Fetch::SslCCaErr => {
            let client = tls?.client.as_ref();
            Some(Value::Int(client.map_or(0, |it| it.ca_error.into())))
        }
        Fetch::Tls(fetch) => crate::tls::value(fetch, tls, facts.server_tls),
        Fetch::FcErr => Some(Value::Int(facts.connection.error.number())),
        Fetch::FcErrName => Some(text(facts.connection.error.name())),
        Fetch::FcErrStr => Some(text(facts.connection.error.words())),
        _ => None,
    }
}

fn request<'a>(fetch: &Fetch, facts: &Facts<'a>) -> Option<Value<'a>> {
    if matches!(fetch, Fetch::ReqProtoHttp) {
        return Some(Value::Bool(facts.request.is_some()));
    }
    let Some(request) = facts.request else {
        return after_request(fetch, facts);
    };
    match fetch {
        Fetch::Method => Some(Value::Method(request.method.as_bytes().into())),
        Fetch::ReqVer => Some(Value::text(version(request.version))),
        Fetch::Url => Some(Value::text(request.target())),
        Fetch::PathQ => {
            path(request)?;
            Some(Value::text(request.path_and_query()))
        }
        Fetch::Query(with_mark) => {
            let query = request.query()?;
            if !with_mark || query.is_empty() {
                return Some(Value::text(query));
            }
            let whole = request.path_and_query();
            Some(Value::text(&whole[whole.len() - query.len() - 1..]))
        }
        Fetch::Base => Some(base(request, path(request).unwrap_or(b""))),
        Fetch::BaseQ => {
            let rest = path(request).map_or(&b""[..], |_| request.path_and_query());
            Some(base(request, rest))
        }
        Fetch::HttpAuth(list) => {
            auth::basic(&request.fields)?;
            Some(Value::Bool(logged_in(list, facts).is_some()))
        }
        Fetch::HttpAuthGroup(list) => {
            logged_in(list, facts)?;
            auth::basic(&request.fields).map(|(user, _)| Value::made(user))
        }
        Fetch::HttpAuthUser => auth::basic(&request.fields).map(|(user, _)| Value::made(user)),
        Fetch::HttpAuthPass => {
            auth::basic(&request.fields).map(|(_, password)| Value::made(password))
        }
        Fetch::HttpAuthType => Some(Value::text(auth::kind(&request.fields)?.as_bytes())),
        Fetch::HttpAuthBearer(name) => auth::bearer(&request.fields, name).map(Value::text),
        Fetch::UrlIp => authority_address(request).map(Value::Addr),
        Fetch::UrlPort => authority_port(request).map(Value::Int),
        _ => None,
    }
}

/// What can still be told of a request that is not at hand any more.
fn after_request<'a>(fetch: &Fetch, facts: &Facts<'a>) -> Option<Value<'a>> {
    match fetch {
        Fetch::Method => {
            let method = facts.memory.recall(Recalled::Method)?;
            Some(Value::Method(method.into_bytes()))
        }
        Fetch::ReqVer => {
            let version = facts.memory.recall(Recalled::RequestVersion)?.into_bytes();
            let number = version.strip_prefix(b"HTTP/")?;
            Some(Value::made(number.to_vec()))
        }
        _ => None,
    }
}

/// The path, which begins with a slash: `*` and what CONNECT asks for have none.
pub(crate) fn path(request: &RequestHead) -> Option<&[u8]> {
    let path = request.path();
    (path.first() == Some(&b'/')).then_some(path)
}

/// The first Host header and the path, in one.
pub(crate) fn base<'a>(request: &'a RequestHead, path: &'a [u8]) -> Value<'a> {
    match request.fields.get("host") {
        Some(host) if !host.is_empty() => Value::made([host, path].concat()),
        _ => Value::text(path),
    }
}

/// What stands between `//` and the path of an absolute URL.
fn authority(request: &RequestHead) -> Option<&[u8]> {
    let absolute = !matches!(request.target().first(), Some(b'/' | b'*'));
    absolute.then(|| request.host()).flatten()
}

fn authority_address(request: &RequestHead) -> Option<IpAddr> {
    let (host, _) = fields::split_port(authority(request)?);
    let host = host.strip_prefix(b"[").unwrap_or(host);
    let host = host.strip_suffix(b"]").unwrap_or(host);
    std::str::from_utf8(host).ok()?.parse().ok()
}

fn authority_port(request: &RequestHead) -> Option<i64> {
    let (_, port) = fields::split_port(authority(request)?);
    Some(port.map_or(80, leading_int))
}

fn version(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"1.0",
        Version::Http11 => b"1.1",
    }
}

fn address_of(address: Option<SocketAddr>) -> Option<Value<'static>> {
    address.map(|address| Value::Addr(address.ip()))
}

fn port_of(address: Option<SocketAddr>) -> Option<Value<'static>> {
    address.map(|address| Value::Int(address.port().into()))
}

/// The groups of the client as a user of that list, if it is one.
fn logged_in<'a>(list: &str, facts: &Facts<'a>) -> Option<&'a [Arc<str>]> {
    let fields = &facts.request?.fields;
    if fields.contains("authorization") {
        facts.memory.want_login();
    }
    facts.logins?.groups(list, fields)
}

/// A number below the range, from what was drawn for the request and where the fetch is written.
fn draw(range: Option<u32>, salt: u32, random: u64) -> i64 {
    let drawn = dice::mix(random, salt.into()) >> 32;
    match range {
        Some(range) => ((drawn * u64::from(range)) >> 32) as i64,
        None => drawn as i64,
    }
}

fn head_of<'a>(facts: &Facts<'a>, side: Side) -> Option<&'a Fields> {
    let request = facts.request.map(|head| &head.fields);
    let response = facts.response.map(|head| &head.fields);
    match side {
        Side::Request => request,
        Side::Response => response,
        Side::AtHand => response.or(request),
    }
}

/// Visits the values of a fetch that may have several, until a visit says it is enough.
fn each<'a>(fetch: &'a Fetch, facts: &Facts<'a>, visit: &mut dyn FnMut(Value<'a>) -> bool) {
    match fetch {
        Fetch::Hdr(named) => {
            let mut values = fields::values(head_of(facts, named.side), &named.name);
            values.any(|text| visit(Value::text(text)));
        }
        Fetch::Fhdr(named) => {
            let mut lines = fields::lines(head_of(facts, named.side), &named.name);
            lines.any(|text| visit(Value::text(text)));
        }
        Fetch::HdrVal(named) => {
            let mut values = fields::values(head_of(facts, named.side), &named.name);
            values.any(|text| visit(Value::Int(leading_int(text))));
        }
        Fetch::HdrIp(named) => {
            let mut values = fields::values(head_of(facts, named.side), &named.name);
            values.any(|text| address(text).is_some_and(&mut *visit));
        }
        Fetch::Connection(ConnectionFetch::Extension(kind)) => {
            connection::each_extension(*kind, facts.connection, visit);
        }
        Fetch::Cook(named) | Fetch::CookVal(named) => {
            let head = head_of(facts, named.side);
            let mut cookies = fields::cookies(head, named.side, &named.name);
            let as_number = matches!(fetch, Fetch::CookVal(_));
            cookies.any(|text| visit(text_or_number(text, as_number)));
        }
        Fetch::UrlParam(parameter) | Fetch::UrlParamVal(parameter) => {
            let url = facts.request.map_or(&b""[..], RequestHead::path_and_query);
            let as_number = matches!(fetch, Fetch::UrlParamVal(_));
            let mut pairs = Pairs::new(url, parameter);
            pairs.any(|text| visit(text_or_number(text, as_number)));
        }
        Fetch::Head(HeadFetch::BodyParam(parameter)) => {
            http::each_parameter(parameter, facts, &mut |value| visit(value));
        }
        _ => {}
    }
}

fn text_or_number(text: &[u8], as_number: bool) -> Value<'_> {
    if as_number {
        Value::Int(leading_int(text))
    } else {
        Value::text(text)
    }
}

/// An address as proxies write it into headers: plain, IPv4 with a port, IPv6 in brackets
/// (RFC 7239 §6).
fn address(text: &[u8]) -> Option<Value<'static>> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Value::Addr(address));
    }
    if let Ok(SocketAddr::V4(with_port)) = text.parse::<SocketAddr>() {
        return Some(Value::Addr(IpAddr::V4(*with_port.ip())));
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let address: std::net::Ipv6Addr = inner.parse().ok()?;
    Some(Value::Addr(IpAddr::V6(address)))
}
