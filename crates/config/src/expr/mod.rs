//! Sample fetches, converters, ACL conditions and log formats: what a rule may ask and say.
//!
//! The types are here; the parsers are beside them ([`acl`], [`condition`], [`sample`],
//! `expr::format`). Evaluation is `routing`'s. The language is that of the manual's chapters 7 and 8.2.

pub mod acl;
mod arguments;
pub mod condition;
mod content;
mod converters;
mod fetches;
pub mod format;
mod groups;
mod names;
mod operand;
pub(crate) mod patterns;
mod regexes;
pub mod sample;
pub mod sets;
mod state;
mod tables;
mod tls;
mod vars;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::Surroundings;
use crate::diagnostics::Diagnostic;
use crate::lists::{Index, Lists};
use crate::source::Span;

pub use content::{BlockStart, ContentFetch};
pub(crate) use converters::castable;
pub use converters::crypto::{Cipher, Crypto, JwtKey, KeyFamily, PublicKey};
pub use converters::date::TimeFormat;
pub use converters::encoding::{Chunks, Encoding};
pub use converters::forwarded::{Forwarded, ForwardedField};
pub use converters::hashing::{DigestAlgorithm, Hash};
pub use converters::json::{JsonInput, JsonQuery, JsonStep};
pub use converters::maps::MapOutput;
pub use converters::protocols::{Message, MqttField, MqttPacket, Protobuf, ProtobufKind};
pub use converters::state::StateConverter;
pub use converters::text::TextConverter;
pub use converters::vars::WithVariable;
pub use converters::when::{Occasion, When};
pub use fetches::connection::{ConnectionFetch, RoundTripUnit, TcpFigure};
pub use fetches::session::{SessionFigure, Timeout, Timer, Whose as TimeoutOf};
pub use format::{Flags, Forced, Format, Item, LineEncoding, Part, Variable};
pub use operand::{IntOperand, TextOperand};
pub(crate) use regexes::compile as regex;
pub use sets::{IpSet, Ranges, TextSet, embedded_v4};
pub use state::{
    BackendFigure, FrontendFigure, ProcessFigure, Reference, Referred, ServerFigure, ServerPath,
    StateFetch,
};
pub(crate) use tables::COUNTERS_MAX;
pub use tables::{EntryOf, TableAsk, TableFetch, TableLookup, TableRef, TableUse};
pub use tls::{CertificatePart, NamePart, TlsFetch, Whose};
pub(crate) use vars::conditions as conditions_of_set;
pub use vars::{SetWhen, VarName, VarScope};

/// What a parser of expressions may look at, and where it leaves what it noticed.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Environment and files.
    pub surroundings: &'a dyn Surroundings,
    /// When the expression will be evaluated.
    pub stage: Stage,
    /// Warnings and notices are added here; alerts are returned.
    pub notices: &'a RefCell<Vec<Diagnostic>>,
    /// Sections and servers that expressions name (`nbsrv(x)`): the caller checks that they exist
    /// once all sections are read.
    pub references: &'a RefCell<Vec<Reference>>,
    /// Userlists that expressions name (`http_auth(x)`), for the same check.
    pub userlists: &'a RefCell<Vec<AuthUse>>,
    /// ACLs that expressions may name: those of the section that are read already.
    pub acls: &'a RefCell<acl::AclTable>,
    /// Stick tables that expressions name, likewise.
    pub tables: &'a RefCell<Vec<TableUse>>,
    /// Pattern files that were named so far.
    pub lists: &'a RefCell<Lists>,
    /// What is kept only where somebody asks for it is noted here.
    pub asked: &'a Cell<Asked>,
}

/// What some expression asks for: it is kept, or asked of the kernel, only then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// `last_rule_line` and its like: which rule has decided, which one waits.
    pub rules: bool,
    /// `fc_pp_tlv` and its like: what a PROXY header holds beyond addresses.
    pub proxy_extensions: bool,
    /// `fc_rtt`, `bc_rtt` and their like: what the kernel knows of a connection.
    pub tcp: bool,
    /// `dst_conn`: how many connections each listener has.
    pub listeners: bool,
    /// `bc_src` and its like: both ends of the connection to the server.
    pub server_connection: bool,
    /// `ssl_c_chain_der` and its like: more of a TLS handshake than the peer's own certificate.
    pub chains: bool,
}

/// An expression that names a userlist.
#[derive(Debug, Clone)]
pub struct AuthUse {
    /// Which.
    pub list: Arc<str>,
    /// Where.
    pub span: Span,
    /// Groups of it that are named, too, and where.
    pub groups: Vec<(Arc<str>, Span)>,
}

/// The ACL that an expression names, which must have been declared before it: then none can look at
/// itself.
fn named_acl(name: &str, span: Span, context: &Context<'_>) -> Result<Arc<Acl>, Diagnostic> {
    if let Some(acl) = context.acls.borrow().find(name) {
        return Ok(Arc::clone(acl));
    }
    match acl::predefined(name, span, context) {
        Some(acl) => acl,
        None => Err(
            Diagnostic::alert(span, format!("ACL '{name}' is not declared before this"))
                .label("expected the name of an ACL further up"),
        ),
    }
}

/// When an expression is evaluated: decides what it can see, and how a format is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// While a request is looked at: `http-request`, `use_backend`, `redirect`, `server … sni`.
    Request,
    /// While a response is looked at: `http-response`.
    Response,
    /// When the session is over: `log-format`. Runs of spaces are merged and empty values are "-".
    Log,
    /// Before the client has said a word: `tcp-request connection`, `tcp-request session`.
    Connection,
    /// An `acl` line: each use is checked on its own.
    Declaration,
}

/// What a sample needs to exist when it is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing but the connection.
    Session,
    /// The request's method and version, which are remembered until the session ends.
    RequestLine,
    /// The request's head.
    RequestHead,
    /// The response's status, which is remembered until the session ends.
    ResponseStatus,
    /// The response's head.
    ResponseHead,
    /// The head of the message at hand, whichever it is (`hdr`).
    AnyHead,
    /// Bytes of the client that were not passed on yet.
    RequestBytes,
    /// Bytes of the server that were not passed on yet.
    ResponseBytes,
    /// Bytes of the side at hand (`payload`).
    AnyBytes,
}

impl Needs {
    /// Whether it is there at that stage.
    pub fn met(self, stage: Stage) -> bool {
        match (self, stage) {
            (_, Stage::Declaration) | (Self::Session, _) => true,
            (_, Stage::Connection) => false,
            (Self::RequestLine, _) => true,
            (Self::RequestHead | Self::RequestBytes, stage) => stage == Stage::Request,
            (Self::ResponseStatus, stage) => stage != Stage::Request,
            (Self::ResponseHead | Self::ResponseBytes, stage) => stage == Stage::Response,
            (Self::AnyHead | Self::AnyBytes, stage) => {
                matches!(stage, Stage::Request | Stage::Response)
            }
        }
    }
}

/// The type of a sample (manual 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `boolean`.
    Bool,
    /// `integer`, signed, 64 bits.
    Int,
    /// `ip`: IPv4 or IPv6.
    Addr,
    /// `string`.
    Str,
    /// `binary`.
    Bin,
    /// `method`: a request method, compared as a text.
    Method,
    /// Whatever it was made with: what a variable has is known when it is looked at.
    Any,
}

impl Kind {
    /// What a value of it is called in messages.
    fn words(self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Int => "a number",
            Self::Addr => "an address",
            Self::Str => "a text",
            Self::Bin => "bytes",
            Self::Method => "a method",
            Self::Any => "a value of any type",
        }
    }
}

/// A sample expression: a fetch followed by converters, `src,ipmask(24)` (manual 7.3).
#[derive(Debug, Clone)]
pub struct Sample {
    /// What is looked at.
    pub fetch: Fetch,
    /// What is done to it, in order.
    pub converters: Vec<Converter>,
    /// The type of the result.
    pub kind: Kind,
    /// What must exist for it to have a value.
    pub needs: Needs,
    /// As written, for messages.
    pub text: Arc<str>,
}

/// A value known when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constant {
    /// `always_true`, `always_false`, `bool(…)`.
    Bool(bool),
    /// `int(…)`.
    Int(i64),
    /// `ipv4(…)`, `ipv6(…)`.
    Addr(IpAddr),
    /// `str(…)`, `env(…)`.
    Str(Arc<str>),
    /// `str(…)` of bytes that are no UTF-8.
    Raw(Arc<[u8]>),
    /// `bin(…)`.
    Bin(Arc<[u8]>),
    /// `meth(…)`.
    Method(Arc<str>),
    /// `env(…)` of a variable that is not set: no value.
    Missing,
}

/// Whose header a fetch looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `req.hdr`.
    Request,
    /// `res.hdr`.
    Response,
    /// `hdr`: the message at hand.
    AtHand,
}

/// Which values of a header or cookie: its name and occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Whose.
    pub side: Side,
    /// Header name in lower case, or cookie name as written; empty: any.
    pub name: Arc<str>,
    /// 1 is the first, -1 the last; 0: each in turn where several can be tried (ACLs), else the last.
    pub occurrence: i32,
}

/// What a sample looks at (manual 7.3.2 to 7.3.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch {
    /// The same for every session.
    Constant(Constant),
    /// `src`: the client's address.
    Src,
    /// `src_port`.
    SrcPort,
    /// `dst`: the address the client connected to.
    Dst,
    /// `dst_port`.
    DstPort,
    /// `method`.
    Method,
    /// `path`: without the query.
    Path,
    /// `pathq`: with the query.
    PathQ,
    /// `query`: without the question mark; `query(with_qm)`: with it (`true`).
    Query(bool),
    /// `url`.
    Url,
    /// `base`: the first Host header and the path.
    Base,
    /// `baseq`: the same with the query.
    BaseQ,
    /// `req.ver`: "1.1".
    ReqVer,
    /// `res.ver`: "1.1".
    ResVer,
    /// `req.proto_http`.
    ReqProtoHttp,
    /// `hdr`, `req.hdr`, `res.hdr`: comma-separated values one by one.
    Hdr(Named),
    /// `req.fhdr`, `res.fhdr`: whole lines.
    Fhdr(Named),
    /// `hdr_cnt`: number of comma-separated values.
    HdrCnt(Named),
    /// `fhdr_cnt`: number of lines.
    FhdrCnt(Named),
    /// `hdr_val`: the value as a number.
    HdrVal(Named),
    /// `hdr_ip`: the value as an address, with or without a port.
    HdrIp(Named),
    /// `req.hdr_names(delimiter)`, `res.hdr_names(…)`.
    HdrNames(Side, Arc<str>),
    /// `req.cook(name)`, `res.cook(name)`.
    Cook(Named),
    /// `cook_cnt`: number of cookies of that name.
    CookCnt(Named),
    /// `cook_val`: the value as a number.
    CookVal(Named),
    /// `url_param(name[,delimiter[,i]])`, `urlp(…)`: a parameter of the query.
    UrlParam(Parameter),
    /// `urlp_val(…)`: the same as a number.
    UrlParamVal(Parameter),
    /// `url_ip`: the address in an absolute URL.
    UrlIp,
    /// `url_port`: the port in an absolute URL; 80 without one.
    UrlPort,
    /// `status`.
    Status,
    /// Bytes as they came (`req.len`, `req.ssl_sni` …).
    Content(ContentFetch),
    /// `ssl_fc`: whether the client's connection is TLS.
    SslFc,
    /// `ssl_fc_has_sni`.
    SslFcHasSni,
    /// `ssl_fc_sni`.
    SslFcSni,
    /// `ssl_fc_protocol`: "TLSv1.3".
    SslFcProtocol,
    /// `ssl_fc_cipher`.
    SslFcCipher,
    /// `ssl_fc_alpn`.
    SslFcAlpn,
    /// What was remembered of the session.
    Recalled(Recalled),
    /// `acl([!]name,…)`: whether all of them hold, or do not where it is `true`.
    Acls(Vec<(bool, AclUse)>),
    /// Of a whole head.
    Head(HeadFetch),
    /// `date_us`: what is finer than a second.
    DateMicros,
    /// `uuid[(version)]`.
    Uuid {
        /// Version 7, else version 4.
        by_time: bool,
        /// As of `rand`.
        salt: u32,
    },
    /// `ssl_fc_is_resumed`.
    SslFcIsResumed,
    /// `ssl_fc_err`: 0, or the number of what went wrong with the handshake.
    SslFcErr,
    /// `ssl_c_err`: 0, or what is wrong with the client's certificate.
    SslCErr,
    /// `ssl_c_ca_err`: the same of those above it.
    SslCCaErr,
    /// Certificates (`ssl_c_s_dn`, `ssl_f_serial` …).
    Tls(TlsFetch),
    /// Stick tables (`sc0_conn_cnt`, `src_get_gpc0(table)` …).
    Table(TableFetch),
    /// `table_cnt`, or `table_avl` (`true`): entries in use, or still free.
    TableCount(TableRef, bool),
    /// `fc_err`: 0, or what went wrong with the client's connection before its first request.
    FcErr,
    /// `fc_err_str`: the same in words.
    FcErrStr,
    /// Of a client's connection, where it was kept.
    Connection(ConnectionFetch),
    /// `fc_err_name`: the same in a single word, empty for nothing.
    FcErrName,
    /// `fe_name`.
    FeName,
    /// `be_name`.
    BeName,
    /// What the running process can tell (`nbsrv`, `be_conn` …).
    State(StateFetch),
    /// `var(name[,default])`.
    Var(VarName, Option<Arc<str>>),
    /// `http_auth(userlist)`: whether the credentials are those of one of its users.
    HttpAuth(Arc<str>),
    /// `http_auth_group(userlist)`: the user's name if they are; an ACL compares its groups.
    HttpAuthGroup(Arc<str>),
    /// `http_auth_user`.
    HttpAuthUser,
    /// `http_auth_pass`.
    HttpAuthPass,
    /// `http_auth_type`: `Basic` or `Bearer`.
    HttpAuthType,
    /// `http_auth_bearer[(header)]`: the token; the header in lower case.
    HttpAuthBearer(Arc<str>),
    /// `rand[(range)]`.
    Rand {
        /// 0 up to the range less one; `None`: 32 bits.
        range: Option<u32>,
        /// Where it is written, so that two of them in one request draw apart.
        salt: u32,
    },
    /// `date[(offset[,unit])]`: since 1970.
    Date {
        /// Seconds added.
        offset: i64,
        /// What is counted.
        unit: TimeUnit,
    },
}

/// What is remembered of a session until it ends (manual 7.3.3, 7.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recalled {
    /// `capture.req.method`.
    Method,
    /// `capture.req.uri`: from the first slash on.
    Uri,
    /// `capture.req.ver`: "HTTP/1.1".
    RequestVersion,
    /// `capture.res.ver`: "HTTP/1.1".
    ResponseVersion,
    /// `capture.req.hdr(N)`.
    RequestCapture(usize),
    /// `capture.res.hdr(N)`.
    ResponseCapture(usize),
    /// `unique-id`.
    UniqueId,
}

/// An ACL that a sample looks at. Two are the same where they are one and the same ACL.
#[derive(Debug, Clone)]
pub struct AclUse(pub Arc<Acl>);

impl PartialEq for AclUse {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AclUse {}

/// What is told of a whole head (manual 7.3.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadFetch {
    /// `base32`: a hash of the Host header and the path.
    BaseHash {
        /// `base32+src`: the client's address behind it, as bytes.
        with_source: bool,
    },
    /// `url32`: the same with the query.
    UrlHash {
        /// `url32+src`.
        with_source: bool,
    },
    /// `req.hdrs`: all fields as text, an empty line behind them.
    Lines(Side),
    /// `req.hdrs_bin`: all fields, each text behind its length.
    Binary(Side),
    /// `req.cook_names(delimiter)`.
    CookieNames(Side, Arc<str>),
    /// `req.body`: what came of it and was not passed on.
    Body(Side),
    /// `req.body_len`: how many bytes that is.
    BodyLen(Side),
    /// `req.body_size`: how long it says it is, or what came of one that does not say.
    BodySize(Side),
    /// `req.body_param(name)`: a parameter of a form in it; an empty name: any.
    BodyParam(Parameter),
}

/// Which parameter of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; empty: any.
    pub name: Arc<str>,
    /// What the query begins with; `?` unless given.
    pub delimiter: u8,
    /// Whether case is ignored in the name.
    pub ignore_case: bool,
}

/// What a date counts (manual 7.3.2, "date").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeUnit {
    /// `s`.
    #[default]
    Seconds,
    /// `ms`.
    Milliseconds,
    /// `us`.
    Microseconds,
}

/// What is done to a sample (manual 7.3.1).
#[derive(Debug, Clone)]
pub enum Converter {
    /// `lower`.
    Lower,
    /// `upper`.
    Upper,
    /// `length`.
    Length,
    /// `ipmask(mask4[,mask6])`: an IPv6 address has no result without the second.
    IpMask(Ipv4Addr, Option<Ipv6Addr>),
    /// `field(index,delimiters[,count])`.
    Field(Split),
    /// `word(index,delimiters[,count])`: as `field`, empty ones left out.
    Word(Split),
    /// `hex`.
    Hex,
    /// `hex2i`.
    Hex2Int,
    /// `base64`.
    Base64,
    /// `b64dec`.
    Base64Decode,
    /// `url_dec[(in_form)]`: whether `+` is a space everywhere, not only in the query.
    UrlDecode(bool),
    /// `url_enc`.
    UrlEncode,
    /// `regsub(regex,replacement[,flags])`.
    RegSub {
        /// Compiled with `i` where given.
        regex: regex::bytes::Regex,
        /// `\0` to `\9` stand for groups.
        replacement: Arc<str>,
        /// `g`: all of them, not only the first.
        all: bool,
    },
    /// `bytes(offset[,length])`.
    Bytes(IntOperand, Option<IntOperand>),
    /// `ltrim(characters)`.
    TrimStart(Arc<str>),
    /// `rtrim(characters)`.
    TrimEnd(Arc<str>),
    /// `iif(true,false)`.
    Choose(Arc<str>, Arc<str>),
    /// `host_only`: a Host header without its port.
    HostOnly,
    /// `port_only`: the port of a Host header; 0 without one.
    PortOnly,
    /// What is known of what the sample names.
    State(StateConverter),
    /// `x509_v_err_str`.
    VerifyError,
    /// `htonl`.
    NetworkOrder,
    /// Texts in, texts out.
    Text(TextConverter),
    /// Hashes and digests.
    Hash(Hash),
    /// Other ways to write bytes.
    Encoding(Encoding),
    /// `json`.
    Json(JsonInput),
    /// `json_query`.
    JsonQuery(JsonQuery),
    /// `ltime` and its like.
    Time(TimeFormat),
    /// `date`: a date of a header.
    ReadDate,
    /// `Forwarded` headers.
    Forwarded(Forwarded),
    /// Messages of other protocols.
    Message(Message),
    /// Keys, ciphers, tokens.
    Crypto(Crypto),
    /// `when`.
    When(When),
    /// `debug`: nothing is done.
    PassOn,
    /// Joins or compares with a variable.
    WithVariable(WithVariable),
    /// `http_date[(offset[,unit])]`.
    HttpDate {
        /// Seconds added.
        offset: i64,
        /// What the sample counts.
        unit: TimeUnit,
    },
    /// `add`, `sub`, `mul`, `div`, `mod`, `and`, `or`, `xor`.
    Arithmetic(Operator, IntOperand),
    /// `table_…`, `in_table`: the sample is the key.
    Table(TableLookup),
    /// `neg`.
    Negate,
    /// `cpl`: the bits turned round.
    Complement,
    /// `bool`.
    Bool,
    /// `not`.
    Not,
    /// `map` and its kin.
    Map(Box<Map>),
    /// `set-var(name[,condition]…)`: passes the value on.
    SetVar(VarName, Vec<SetWhen>),
    /// `unset-var(name)`: passes the value on.
    UnsetVar(VarName),
    /// `odd`.
    Odd,
    /// `even`.
    Even,
}

/// Arguments of `field` and `word`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// 1 is the first, -1 the last; never 0.
    pub index: i64,
    /// Characters that separate.
    pub delimiters: Arc<str>,
    /// How many; 0: all that follow. Default 1.
    pub count: u64,
}

/// Two-sided arithmetic (manual 7.3.1). Results saturate at the bounds of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `add`.
    Add,
    /// `sub`.
    Sub,
    /// `mul`.
    Mul,
    /// `div`.
    Div,
    /// `mod`.
    Mod,
    /// `and`.
    And,
    /// `or`.
    Or,
    /// `xor`.
    Xor,
}

/// A condition: OR of ANDs of tests, as written after `if` or `unless` (manual 7.2).
#[derive(Debug, Clone)]
pub struct Condition {
    /// `unless`: the whole is turned round.
    pub unless: bool,
    /// Alternatives; each is a list of terms that must all hold.
    pub any_of: Vec<Vec<Term>>,
}

/// One test of a condition, possibly negated with `!`.
#[derive(Debug, Clone)]
pub struct Term {
    /// `!`.
    pub negated: bool,
    /// The ACL: named, predefined or anonymous.
    pub acl: Arc<Acl>,
}

/// An ACL: true when any of its entries is (several `acl` lines of one name are OR-ed).
#[derive(Debug, Clone)]
pub struct Acl {
    /// Its name; empty for an anonymous one.
    pub name: Arc<str>,
    /// Where it was first declared; `None` for a predefined one.
    pub span: Option<Span>,
    /// The lines that declare it.
    pub entries: Vec<AclEntry>,
}

/// One `acl` line: what is looked at and what it is compared with.
#[derive(Debug, Clone)]
pub struct AclEntry {
    /// What is looked at.
    pub sample: Sample,
    /// How it is compared.
    pub patterns: Patterns,
}

/// What a sample is compared with, by matching method (manual 7.1). Any pattern that matches is
/// enough.
#[derive(Debug, Clone)]
pub enum Patterns {
    /// `-m bool` and boolean samples: neither false nor zero.
    Bool,
    /// `-m found`: the sample exists.
    Found,
    /// `-m str`: equal to one of these.
    Equal(TextSet),
    /// `-m beg|end|sub|dir|dom`.
    Text {
        /// Which comparison.
        method: TextMethod,
        /// `-i`: the texts are in lower case.
        ignore_case: bool,
        /// The texts.
        texts: Vec<Arc<str>>,
    },
    /// `-m reg`; compiled with `-i` where given.
    Regex(Vec<regex::bytes::Regex>),
    /// `-m int` and integer samples.
    Int(Ranges<i64>),
    /// `-m len`: the length of the text.
    Length(Ranges<i64>),
    /// `-m ip` and address samples.
    Ip(IpSet),
    /// `-m bin`.
    Bin(Vec<Arc<[u8]>>),
    /// `-f`, `-M`: those of a file, which may change while running.
    Listed(Arc<Index>),
}

/// How two texts are compared (manual 7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextMethod {
    /// Begins with.
    Prefix,
    /// Ends with.
    Suffix,
    /// Contains.
    Contains,
    /// Contains, between slashes or question marks (a path component).
    Directory,
    /// Contains, between dots, colons, slashes or question marks (a part of a host name).
    Domain,
}

impl TextMethod {
    /// Whether a text compares so with a pattern.
    #[inline]
    pub fn holds(self, text: &[u8], pattern: &[u8]) -> bool {
        self.holds_for_any(text, std::iter::once(pattern))
    }

    /// Whether a text compares so with any of several patterns: how is asked once, not for each of a thousand.
    #[inline]
    pub fn holds_for_any<'p>(
        self,
        text: &[u8],
        mut patterns: impl Iterator<Item = &'p [u8]>,
    ) -> bool {
        match self {
            Self::Prefix => patterns.any(|pattern| text.starts_with(pattern)),
            Self::Suffix => patterns.any(|pattern| text.ends_with(pattern)),
            Self::Contains => patterns.any(|it| memchr::memmem::find(text, it).is_some()),
            Self::Directory => patterns.any(|it| has_part(text, it, b"/?")),
            Self::Domain => patterns.any(|it| has_part(text, it, b"/?.:")),
        }
    }
}

/// Whether the pattern stands between delimiters or the ends. Delimiters at its own ends do not
/// count; one that is nothing else matches nothing.
fn has_part(text: &[u8], pattern: &[u8], delimiters: &[u8]) -> bool {
    let is_inner = |byte: &u8| !delimiters.contains(byte);
    let Some(first) = pattern.iter().position(is_inner) else {
        return false;
    };
    let last = pattern.iter().rposition(is_inner).unwrap_or(first);
    let pattern = &pattern[first..=last];
    let is_delimiter = |byte: &u8| delimiters.contains(byte);
    let mut starts = (0..text.len()).filter(|at| *at == 0 || is_delimiter(&text[at - 1]));
    starts.any(|at| {
        let end = at + pattern.len();
        text[at..].starts_with(pattern) && text.get(end).is_none_or(is_delimiter)
    })
}

/// Looks a sample up in a map.
#[derive(Debug, Clone)]
pub struct Map {
    /// Where.
    pub index: Arc<Index>,
    /// What its values are taken for.
    pub output: MapOutput,
    /// What there is where nothing matches.
    pub default: Option<Constant>,
}

/// Bytes written as pairs of hexadecimal digits.
/// All fetches and converters, for the reference.
pub(crate) fn known() -> Vec<crate::registry::Known> {
    use crate::expr::names::Role;
    use crate::keywords::Status;
    use crate::registry::Known;
    let mut all = Vec::new();
    let families = [
        ("fetch", Role::Fetch, fetches::names().collect::<Vec<_>>()),
        ("converter", Role::Converter, converters::names().collect()),
    ];
    for (family, role, here) in families {
        let missing = names::missing(role).filter(|name| !here.contains(&name.as_str()));
        all.extend(missing.map(|name| Known::new(family, &name, &names::status(&name))));
        let status = Status::Implemented(());
        all.extend(here.iter().map(|name| Known::new(family, name, &status)));
    }
    all
}
