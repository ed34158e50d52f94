//! Sample fetches, converters, ACL conditions and log formats: what a rule may ask and say.
//!
//! The types are here; the parsers are beside them. Evaluation is `routing`'s.

use std::sync::Arc;

use crate::source::Span;

/// A sample expression: a fetch followed by converters, `src,ipmask(24)` (manual 7.3).
#[derive(Debug, Clone)]
pub struct Sample {
    /// What is looked at.
    pub fetch: Fetch,
    /// What is done to it, in order.
    pub converters: Vec<Converter>,
    /// As written, for messages.
    pub text: Arc<str>,
}

/// What a sample looks at (manual 7.3.2 to 7.3.6). Header names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fetch {
    /// `always_true`, `always_false`, `bool(…)`.
    Bool(bool),
    /// `int(…)`.
    Int(i64),
    /// `str(…)`, and `env(…)` resolved at load.
    Str(Arc<str>),
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
    /// `query`: without the question mark.
    Query,
    /// `url`.
    Url,
    /// `base`: the first Host header and the path.
    Base,
    /// `req.ver`: "1.1".
    ReqVer,
    /// `hdr(name[,occ])`, `req.hdr(…)`: comma-separated values one by one.
    ReqHdr(Arc<str>, i32),
    /// `req.fhdr(name[,occ])`: whole lines.
    ReqFhdr(Arc<str>, i32),
    /// `hdr_cnt(name)`, `req.hdr_cnt(…)`.
    ReqHdrCnt(Arc<str>),
    /// `hdr_ip(name[,occ])`.
    ReqHdrIp(Arc<str>, i32),
    /// `req.cook(name)`, `cook(name)`.
    ReqCook(Arc<str>),
    /// `url_param(name)`, `urlp(name)`.
    UrlParam(Arc<str>),
    /// `status`.
    Status,
    /// `res.hdr(name[,occ])`.
    ResHdr(Arc<str>, i32),
    /// `ssl_fc`: whether the client's connection is TLS.
    SslFc,
    /// `ssl_fc_sni`.
    SslFcSni,
    /// `ssl_fc_protocol`: "TLSv1.3".
    SslFcProtocol,
    /// `ssl_fc_cipher`.
    SslFcCipher,
    /// `ssl_fc_alpn`.
    SslFcAlpn,
    /// `fe_name`.
    FeName,
    /// `be_name`.
    BeName,
    /// `nbsrv[(backend)]`: servers of a backend that can be used; `None`: the current backend.
    NbSrv(Option<Arc<str>>),
    /// `rand[(range)]`.
    Rand(u32),
    /// `date`: seconds since 1970.
    Date,
}

/// What is done to a sample (manual 7.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Converter {
    /// `lower`.
    Lower,
    /// `upper`.
    Upper,
    /// `length`.
    Length,
    /// `ipmask(bits[,bits6])`.
    IpMask(u8, u8),
    /// `field(index,delimiters)`.
    Field(i32, Arc<str>),
    /// `hex`.
    Hex,
    /// `base64`.
    Base64,
    /// `url_dec`.
    UrlDec,
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
    /// Where it was first declared.
    pub span: Span,
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
/// enough. Texts are in lower case when `ignore_case` is set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Patterns {
    /// No pattern, `-m found` or a boolean: the sample exists and is neither false nor zero for
    /// `Bool`, exists at all for `Found`.
    Bool,
    /// `-m found`.
    Found,
    /// `-m str|beg|end|sub|dir|dom|len` and the `_beg`-like suffixes.
    Text {
        /// Which comparison.
        method: TextMethod,
        /// `-i`.
        ignore_case: bool,
        /// The texts.
        texts: Vec<Arc<str>>,
    },
    /// `-m reg`; compiled with `-i` where given.
    Regex(Vec<regex::bytes::Regex>),
    /// `-m int` and integer samples: inclusive ranges.
    Int(Vec<(i64, i64)>),
    /// `-m ip` and address samples.
    Ip(Vec<ipnet::IpNet>),
}

/// How two texts are compared (manual 7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextMethod {
    /// Equal.
    Equal,
    /// Begins with.
    Prefix,
    /// Ends with.
    Suffix,
    /// Contains.
    Contains,
    /// Contains, between slashes (a path component).
    Directory,
    /// Contains, between dots (a part of a host name).
    Domain,
    /// Has this length; the text is a number or range.
    Length,
}

/// A log-format string (manual 8.2.4 in 2.6; "Custom log format"): what `log-format`, `set-header`,
/// `redirect` and `return` write.
#[derive(Debug, Clone, Default)]
pub struct Format {
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

/// One part of a log-format string.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text as it is; a run of spaces separates fields.
    Text(Arc<str>),
    /// `%ci`-like variable.
    Variable(Variable, Flags),
    /// `%[sample]`.
    Sample(Box<Sample>, Flags),
}

/// `{+Q,+X,+E}`: how a part is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Between double quotes.
    pub quote: bool,
    /// Escape quotes, backslashes and brackets.
    pub escape: bool,
    /// Numbers and addresses in hexadecimal.
    pub hex: bool,
    /// `M` mandatory is the default: an empty value is "-". Set when `{-M}` was given.
    pub optional: bool,
}

/// The variables of log formats; the name is the code after `%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    non_camel_case_types,
    reason = "each is named by HAProxy's manual, 8.2.4; the code table in `expr::format` carries the words"
)]
#[non_exhaustive]
pub enum Variable {
    B,
    CC,
    CS,
    H,
    HM,
    HP,
    HPO,
    HQ,
    HU,
    HV,
    ID,
    ST,
    T,
    Ta,
    Tc,
    Td,
    Ti,
    Th,
    Tl,
    Tq,
    TR,
    Tr,
    Ts,
    Tt,
    Tu,
    Tw,
    U,
    ac,
    b,
    bc,
    bi,
    bp,
    bq,
    ci,
    cp,
    f,
    fc,
    fi,
    fp,
    ft,
    hr,
    hrl,
    hs,
    hsl,
    lc,
    ms,
    pid,
    r,
    rc,
    rt,
    s,
    sc,
    si,
    sp,
    sq,
    sslc,
    sslv,
    t,
    tr,
    trg,
    trl,
    ts,
    tsc,
}
