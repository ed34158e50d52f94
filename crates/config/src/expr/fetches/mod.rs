//! Fetches that can be evaluated, one row each (manual 7.3.2 to 7.3.6).

pub(super) mod connection;
mod constants;
mod http;
mod secure;
pub(super) mod session;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::environment::SECRETS;
use crate::expr::arguments::Arguments;
use crate::expr::content::{self, ContentFetch};
use crate::expr::tables;
use crate::expr::tls::{
    self, CertificatePart, TlsFetch,
    Whose::{Client, Ours, Servers},
};
use crate::expr::{
    AclUse, AuthUse, BackendFigure, Constant, Context, Fetch, FrontendFigure, Kind, Named, Needs,
    Parameter, ProcessFigure, Recalled, ServerFigure, Side, StateFetch, TimeUnit, VarName,
    named_acl, state,
};
use crate::model::sequence::unhex;
use crate::raw;

use Build::{Cookie, Header, HeaderName, OfBackend, OfFrontend, OfProcess, OfServer, Plain, With};
use Kind::{Addr, Any, Bin, Bool, Int, Method, Str};
use Needs::{
    AnyBytes, AnyHead, RequestBytes, RequestHead, RequestLine, ResponseBytes, ResponseHead,
    ResponseStatus, Session,
};

/// One fetch.
pub(super) struct Row {
    /// How it is spelled; the first is the modern spelling.
    pub(super) names: &'static [&'static str],
    /// The type of its value.
    pub(super) kind: Kind,
    /// What must be at hand.
    pub(super) needs: Needs,
    build: Build,
}

/// What a fetch makes of its arguments.
enum Build {
    /// It takes none.
    Plain(Fetch),
    /// `(name[,occurrence])` of a header.
    Header(fn(Named) -> Fetch),
    /// `(name)` of a header.
    HeaderName(fn(Named) -> Fetch),
    /// `(name)` of a cookie.
    Cookie(fn(Named) -> Fetch),
    /// `(backend)`, or nothing for the one in use.
    OfBackend(BackendFigure),
    /// `(frontend)`, or nothing for the one at hand.
    OfFrontend(FrontendFigure),
    /// `([backend/]server)`.
    OfServer(ServerFigure),
    /// Nothing: it is asked of the process.
    OfProcess(ProcessFigure),
    /// Something of its own.
    With(fn(&mut Arguments, &Context<'_>) -> Result<Fetch, Diagnostic>),
}

impl Row {
    /// The fetch with its arguments.
    pub(super) fn build(
        &self,
        arguments: &mut Arguments,
        context: &Context<'_>,
    ) -> Result<Fetch, Diagnostic> {
        let side = match self.needs {
            ResponseHead => Side::Response,
            AnyHead => Side::AtHand,
            _ => Side::Request,
        };
        Ok(match &self.build {
            Plain(fetch) => fetch.clone(),
            Header(fetch) => fetch(header(arguments, side)?),
            HeaderName(fetch) => fetch(header_name(arguments, side)),
            Cookie(fetch) => fetch(cookie(arguments, side)),
            OfBackend(figure) => state::backend(*figure, arguments, context),
            OfFrontend(figure) => state::frontend(*figure, arguments, context),
            OfServer(figure) => state::server(*figure, arguments, context)?,
            OfProcess(figure) => Fetch::State(StateFetch::Process(*figure)),
            With(build) => build(arguments, context)?,
        })
    }
}

/// The fetch of that name.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    let written_out = rows().find(|row| row.names.contains(&name));
    written_out.or_else(|| {
        let kind = tables::fetch_kind(name)?;
        TABLE_ROWS.iter().find(|row| row.kind == kind)
    })
}

/// All names, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let written_out = rows().flat_map(|row| row.names).copied();
    written_out.chain(tables::fetch_names())
}

fn rows() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().copied().flatten()
}

/// All fetches: those below, and families with a file of their own.
static FAMILIES: &[&[Row]] = &[
    ROWS,
    constants::ROWS,
    session::ROWS,
    connection::ROWS,
    http::ROWS,
    secure::ROWS,
];

const fn row(names: &'static [&'static str], kind: Kind, needs: Needs, build: Build) -> Row {
    Row {
        names,
        kind,
        needs,
        build,
    }
}

#[rustfmt::skip] // a table reads best as one line a row
static ROWS: &[Row] = &[
    // constants
    row(&["always_true"], Bool, Session, Plain(Fetch::Constant(Constant::Bool(true)))),
    row(&["always_false"], Bool, Session, Plain(Fetch::Constant(Constant::Bool(false)))),
    row(&["bool"], Bool, Session, With(constant_bool)),
    row(&["int"], Int, Session, With(constant_int)),
    row(&["str"], Str, Session, With(constant_text)),
    row(&["bin"], Bin, Session, With(constant_bin)),
    row(&["ipv4"], Addr, Session, With(constant_address::<Ipv4Addr>)),
    row(&["ipv6"], Addr, Session, With(constant_address::<Ipv6Addr>)),
    row(&["meth"], Method, Session, With(constant_method)),
    row(&["env"], Str, Session, With(environment)),
    row(&["acl"], Bool, Session, With(acls)),
    // the process and the connection
    row(&["date"], Int, Session, With(date)),
    row(&["rand"], Int, Session, With(random)),
    row(&["nbsrv"], Int, Session, OfBackend(BackendFigure::UsableServers)),
    row(&["be_conn"], Int, Session, OfBackend(BackendFigure::Sessions)),
    row(&["be_conn_free"], Int, Session, OfBackend(BackendFigure::FreePlaces)),
    row(&["be_sess_rate"], Int, Session, OfBackend(BackendFigure::SessionRate)),
    row(&["be_id"], Int, Session, Plain(Fetch::State(StateFetch::Backend(BackendFigure::Id, None)))),
    row(&["queue"], Int, Session, OfBackend(BackendFigure::Queued)),
    row(&["avg_queue"], Int, Session, OfBackend(BackendFigure::QueuedByServer)),
    row(&["connslots"], Int, Session, OfBackend(BackendFigure::Slots)),
    row(&["fe_conn"], Int, Session, OfFrontend(FrontendFigure::Sessions)),
    row(&["fe_req_rate"], Int, Session, OfFrontend(FrontendFigure::RequestRate)),
    row(&["fe_sess_rate"], Int, Session, OfFrontend(FrontendFigure::SessionRate)),
    row(&["fe_id"], Int, Session, Plain(Fetch::State(StateFetch::Frontend(FrontendFigure::Id, None)))),
    row(&["srv_is_up"], Bool, Session, OfServer(ServerFigure::IsUp)),
    row(&["srv_conn"], Int, Session, OfServer(ServerFigure::Sessions)),
    row(&["srv_conn_free"], Int, Session, OfServer(ServerFigure::FreePlaces)),
    row(&["srv_queue"], Int, Session, OfServer(ServerFigure::Queued)),
    row(&["srv_sess_rate"], Int, Session, OfServer(ServerFigure::SessionRate)),
    row(&["srv_weight"], Int, Session, OfServer(ServerFigure::Weight)),
    row(&["srv_uweight"], Int, Session, OfServer(ServerFigure::WeightSet)),
    row(&["srv_iweight"], Int, Session, OfServer(ServerFigure::WeightConfigured)),
    row(&["act_conn"], Int, Session, OfProcess(ProcessFigure::Connections)),
    row(&["hostname"], Str, Session, OfProcess(ProcessFigure::Hostname)),
    row(&["pid"], Int, Session, OfProcess(ProcessFigure::Pid)),
    row(&["stopping"], Bool, Session, OfProcess(ProcessFigure::Stopping)),
    row(&["thread"], Int, Session, OfProcess(ProcessFigure::Thread)),
    row(&["uptime"], Int, Session, OfProcess(ProcessFigure::Uptime)),
    row(&["var"], Any, Session, With(variable)),
    row(&["fe_name"], Str, Session, Plain(Fetch::FeName)),
    row(&["be_name"], Str, Session, Plain(Fetch::BeName)),
    row(&["src"], Addr, Session, Plain(Fetch::Src)),
    row(&["src_port"], Int, Session, Plain(Fetch::SrcPort)),
    row(&["dst"], Addr, Session, Plain(Fetch::Dst)),
    row(&["dst_port"], Int, Session, Plain(Fetch::DstPort)),
    row(&["ssl_fc"], Bool, Session, Plain(Fetch::SslFc)),
    row(&["ssl_fc_has_sni"], Bool, Session, Plain(Fetch::SslFcHasSni)),
    row(&["ssl_fc_sni"], Str, Session, Plain(Fetch::SslFcSni)),
    row(&["ssl_fc_protocol"], Str, Session, Plain(Fetch::SslFcProtocol)),
    row(&["ssl_fc_cipher"], Str, Session, Plain(Fetch::SslFcCipher)),
    row(&["ssl_fc_alpn"], Str, Session, Plain(Fetch::SslFcAlpn)),
    // the first bytes
    row(&["req.len", "req_len"], Int, RequestBytes, Plain(Fetch::Content(ContentFetch::Len(Side::Request)))),
    row(&["payload"], Bin, AnyBytes, With(content::any_payload)),
    row(&["payload_lv"], Bin, AnyBytes, With(content::any_block)),
    row(&["req.payload"], Bin, RequestBytes, With(content::request_payload)),
    row(&["req.payload_lv"], Bin, RequestBytes, With(content::request_block)),
    row(&["req.ssl_hello_type", "req_ssl_hello_type"], Int, RequestBytes, Plain(Fetch::Content(ContentFetch::ClientHelloType))),
    row(&["req.ssl_sni", "req_ssl_sni"], Str, RequestBytes, Plain(Fetch::Content(ContentFetch::ServerName))),
    row(&["req.ssl_ver", "req_ssl_ver"], Int, RequestBytes, Plain(Fetch::Content(ContentFetch::Version))),
    row(&["req.ssl_alpn"], Str, RequestBytes, Plain(Fetch::Content(ContentFetch::Protocol))),
    row(&["req.ssl_ec_ext"], Bool, RequestBytes, Plain(Fetch::Content(ContentFetch::HasGroups))),
    row(&["req.ssl_st_ext"], Int, RequestBytes, Plain(Fetch::Content(ContentFetch::Ticket))),
    row(&["req.ssl_cipherlist"], Bin, RequestBytes, Plain(Fetch::Content(ContentFetch::Ciphers))),
    row(&["req.ssl_supported_groups"], Bin, RequestBytes, Plain(Fetch::Content(ContentFetch::Groups))),
    row(&["req.ssl_sigalgs"], Bin, RequestBytes, Plain(Fetch::Content(ContentFetch::Signatures))),
    row(&["req.ssl_keyshare_groups"], Bin, RequestBytes, Plain(Fetch::Content(ContentFetch::KeyShareGroups))),
    row(&["req.rdp_cookie", "rdp_cookie"], Str, RequestBytes, With(content::rdp_cookie)),
    row(&["req.rdp_cookie_cnt", "rdp_cookie_cnt"], Int, RequestBytes, With(content::rdp_cookie_count)),
    row(&["res.len"], Int, ResponseBytes, Plain(Fetch::Content(ContentFetch::Len(Side::Response)))),
    row(&["res.payload"], Bin, ResponseBytes, With(content::response_payload)),
    row(&["res.payload_lv"], Bin, ResponseBytes, With(content::response_block)),
    row(&["res.ssl_hello_type", "rep_ssl_hello_type"], Int, ResponseBytes, Plain(Fetch::Content(ContentFetch::ServerHelloType))),
    row(&["wait_end"], Bool, Session, Plain(Fetch::Content(ContentFetch::WaitEnd))),
    row(&["ssl_fc_is_resumed"], Bool, Session, Plain(Fetch::SslFcIsResumed)),
    row(&["ssl_fc_err"], Int, Session, Plain(Fetch::SslFcErr)),
    row(&["ssl_c_err"], Int, Session, Plain(Fetch::SslCErr)),
    row(&["ssl_c_ca_err"], Int, Session, Plain(Fetch::SslCCaErr)),
    row(&["ssl_bc"], Bool, ResponseStatus, Plain(Fetch::Tls(TlsFetch::Server))),
    row(&["ssl_bc_protocol"], Str, ResponseStatus, Plain(Fetch::Tls(TlsFetch::ServerProtocol))),
    row(&["ssl_bc_cipher"], Str, ResponseStatus, Plain(Fetch::Tls(TlsFetch::ServerCipher))),
    row(&["ssl_bc_is_resumed"], Bool, ResponseStatus, Plain(Fetch::Tls(TlsFetch::ServerResumed))),
    row(&["ssl_bc_alg_keysize", "ssl_bc_use_keysize"], Int, ResponseStatus, Plain(Fetch::Tls(TlsFetch::ServerKeySize))),
    row(&["ssl_c_used"], Bool, Session, Plain(Fetch::Tls(TlsFetch::Used))),
    row(&["ssl_fc_has_crt"], Bool, Session, Plain(Fetch::Tls(TlsFetch::HasCertificate))),
    row(&["ssl_c_verify"], Int, Session, Plain(Fetch::Tls(TlsFetch::Verify))),
    row(&["ssl_c_ca_err_depth"], Int, Session, Plain(Fetch::Tls(TlsFetch::CaErrorDepth))),
    row(&["ssl_fc_alg_keysize", "ssl_fc_use_keysize"], Int, Session, Plain(Fetch::Tls(TlsFetch::KeySize))),
    row(&["ssl_c_der"], Bin, Session, Plain(tls::plain(Client, CertificatePart::Der))),
    row(&["ssl_c_serial"], Bin, Session, Plain(tls::plain(Client, CertificatePart::Serial))),
    row(&["ssl_c_sha1"], Bin, Session, Plain(tls::plain(Client, CertificatePart::Sha1))),
    row(&["ssl_c_notbefore"], Str, Session, Plain(tls::plain(Client, CertificatePart::NotBefore))),
    row(&["ssl_c_notafter"], Str, Session, Plain(tls::plain(Client, CertificatePart::NotAfter))),
    row(&["ssl_c_version"], Int, Session, Plain(tls::plain(Client, CertificatePart::Version))),
    row(&["ssl_c_key_alg"], Str, Session, Plain(tls::plain(Client, CertificatePart::KeyAlgorithm))),
    row(&["ssl_c_sig_alg"], Str, Session, Plain(tls::plain(Client, CertificatePart::SignatureAlgorithm))),
    row(&["ssl_c_s_dn"], Str, Session, With(tls::client_subject)),
    row(&["ssl_c_i_dn"], Str, Session, With(tls::client_issuer)),
    row(&["ssl_f_der"], Bin, Session, Plain(tls::plain(Ours, CertificatePart::Der))),
    row(&["ssl_f_serial"], Bin, Session, Plain(tls::plain(Ours, CertificatePart::Serial))),
    row(&["ssl_f_sha1"], Bin, Session, Plain(tls::plain(Ours, CertificatePart::Sha1))),
    row(&["ssl_f_notbefore"], Str, Session, Plain(tls::plain(Ours, CertificatePart::NotBefore))),
    row(&["ssl_f_notafter"], Str, Session, Plain(tls::plain(Ours, CertificatePart::NotAfter))),
    row(&["ssl_f_version"], Int, Session, Plain(tls::plain(Ours, CertificatePart::Version))),
    row(&["ssl_f_key_alg"], Str, Session, Plain(tls::plain(Ours, CertificatePart::KeyAlgorithm))),
    row(&["ssl_f_sig_alg"], Str, Session, Plain(tls::plain(Ours, CertificatePart::SignatureAlgorithm))),
    row(&["ssl_f_s_dn"], Str, Session, With(tls::our_subject)),
    row(&["ssl_f_i_dn"], Str, Session, With(tls::our_issuer)),
    row(&["ssl_s_der"], Bin, ResponseStatus, Plain(tls::plain(Servers, CertificatePart::Der))),
    row(&["ssl_s_serial"], Bin, ResponseStatus, Plain(tls::plain(Servers, CertificatePart::Serial))),
    row(&["ssl_s_sha1"], Bin, ResponseStatus, Plain(tls::plain(Servers, CertificatePart::Sha1))),
    row(&["ssl_s_notbefore"], Str, ResponseStatus, Plain(tls::plain(Servers, CertificatePart::NotBefore))),
    row(&["ssl_s_notafter"], Str, ResponseStatus, Plain(tls::plain(Servers, CertificatePart::NotAfter))),
    row(&["ssl_s_version"], Int, ResponseStatus, Plain(tls::plain(Servers, CertificatePart::Version))),
    row(&["ssl_s_key_alg"], Str, ResponseStatus, Plain(tls::plain(Servers, CertificatePart::KeyAlgorithm))),
    row(&["ssl_s_sig_alg"], Str, ResponseStatus, Plain(tls::plain(Servers, CertificatePart::SignatureAlgorithm))),
    row(&["ssl_s_s_dn"], Str, ResponseStatus, With(tls::server_subject)),
    row(&["ssl_s_i_dn"], Str, ResponseStatus, With(tls::server_issuer)),
    row(&["table_cnt"], Int, Session, With(|it, context| tables::count(false, it, context))),
    row(&["table_avl"], Int, Session, With(|it, context| tables::count(true, it, context))),
    row(&["fc_err"], Int, Session, Plain(Fetch::FcErr)),
    row(&["fc_err_str"], Str, Session, Plain(Fetch::FcErrStr)),
    row(&["fc_err_name"], Str, Session, Plain(Fetch::FcErrName)),
    // the request
    row(&["method"], Method, RequestLine, Plain(Fetch::Method)),
    row(&["req.ver", "req_ver"], Str, RequestLine, Plain(Fetch::ReqVer)),
    row(&["req.proto_http", "req_proto_http"], Bool, RequestLine, Plain(Fetch::ReqProtoHttp)),
    row(&["capture.req.method"], Str, RequestLine, Plain(Fetch::Recalled(Recalled::Method))),
    row(&["capture.req.uri"], Str, RequestLine, Plain(Fetch::Recalled(Recalled::Uri))),
    row(&["capture.req.ver"], Str, RequestLine, Plain(Fetch::Recalled(Recalled::RequestVersion))),
    row(&["capture.res.ver"], Str, ResponseStatus, Plain(Fetch::Recalled(Recalled::ResponseVersion))),
    row(&["capture.req.hdr"], Str, Session, With(request_capture)),
    row(&["capture.res.hdr"], Str, Session, With(response_capture)),
    row(&["unique-id"], Str, Session, Plain(Fetch::Recalled(Recalled::UniqueId))),
    row(&["path"], Str, RequestHead, Plain(Fetch::Path)),
    row(&["pathq"], Str, RequestHead, Plain(Fetch::PathQ)),
    row(&["query"], Str, RequestHead, With(query)),
    row(&["http_auth"], Bool, RequestHead, With(auth)),
    row(&["http_auth_group"], Str, RequestHead, With(auth_group)),
    row(&["http_auth_user"], Str, RequestHead, Plain(Fetch::HttpAuthUser)),
    row(&["http_auth_pass"], Str, RequestHead, Plain(Fetch::HttpAuthPass)),
    row(&["http_auth_type"], Str, RequestHead, Plain(Fetch::HttpAuthType)),
    row(&["http_auth_bearer"], Str, RequestHead, With(auth_bearer)),
    row(&["url"], Str, RequestHead, Plain(Fetch::Url)),
    row(&["url_ip"], Addr, RequestHead, Plain(Fetch::UrlIp)),
    row(&["url_port"], Int, RequestHead, Plain(Fetch::UrlPort)),
    row(&["base"], Str, RequestHead, Plain(Fetch::Base)),
    row(&["baseq"], Str, RequestHead, Plain(Fetch::BaseQ)),
    row(&["urlp", "url_param"], Str, RequestHead, With(url_parameter)),
    row(&["urlp_val"], Int, RequestHead, With(url_parameter_value)),
    row(&["hdr"], Str, AnyHead, Header(Fetch::Hdr)),
    row(&["req.hdr"], Str, RequestHead, Header(Fetch::Hdr)),
    row(&["req.fhdr"], Str, RequestHead, Header(Fetch::Fhdr)),
    row(&["req.hdr_cnt", "hdr_cnt"], Int, RequestHead, HeaderName(Fetch::HdrCnt)),
    row(&["req.fhdr_cnt"], Int, RequestHead, HeaderName(Fetch::FhdrCnt)),
    row(&["req.hdr_val", "hdr_val"], Int, RequestHead, Header(Fetch::HdrVal)),
    row(&["req.hdr_ip", "hdr_ip"], Addr, RequestHead, Header(Fetch::HdrIp)),
    row(&["req.hdr_names"], Str, RequestHead, With(request_header_names)),
    row(&["req.cook", "cook", "cookie"], Str, RequestHead, Cookie(Fetch::Cook)),
    row(&["req.cook_cnt", "cook_cnt"], Int, RequestHead, Cookie(Fetch::CookCnt)),
    row(&["req.cook_val", "cook_val"], Int, RequestHead, Cookie(Fetch::CookVal)),
    // the response
    row(&["status", "txn.status"], Int, ResponseStatus, Plain(Fetch::Status)),
    row(&["res.ver", "resp_ver"], Str, ResponseHead, Plain(Fetch::ResVer)),
    row(&["res.hdr", "shdr"], Str, ResponseHead, Header(Fetch::Hdr)),
    row(&["res.fhdr"], Str, ResponseHead, Header(Fetch::Fhdr)),
    row(&["res.hdr_cnt", "shdr_cnt"], Int, ResponseHead, HeaderName(Fetch::HdrCnt)),
    row(&["res.fhdr_cnt"], Int, ResponseHead, HeaderName(Fetch::FhdrCnt)),
    row(&["res.hdr_val", "shdr_val"], Int, ResponseHead, Header(Fetch::HdrVal)),
    row(&["res.hdr_ip", "shdr_ip"], Addr, ResponseHead, Header(Fetch::HdrIp)),
    row(&["res.hdr_names"], Str, ResponseHead, With(response_header_names)),
    row(&["res.cook", "scook", "set-cookie"], Str, ResponseHead, Cookie(Fetch::Cook)),
    row(&["res.cook_cnt", "scook_cnt"], Int, ResponseHead, Cookie(Fetch::CookCnt)),
    row(&["res.cook_val", "scook_val"], Int, ResponseHead, Cookie(Fetch::CookVal)),
];

/// Fetches on stick tables, by their types: [`tables`] knows their names.
static TABLE_ROWS: [Row; 3] = [
    row(&[], Int, Session, With(on_table)),
    row(&[], Bool, Session, With(on_table)),
    row(&[], Str, Session, With(on_table)),
];

fn on_table(arguments: &mut Arguments, context: &Context<'_>) -> Result<Fetch, Diagnostic> {
    tables::fetch(&arguments.owner(), arguments, context)
}

fn request_capture(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    slot(arguments).map(|slot| Fetch::Recalled(Recalled::RequestCapture(slot)))
}

fn response_capture(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    slot(arguments).map(|slot| Fetch::Recalled(Recalled::ResponseCapture(slot)))
}

/// The number of a capture.
fn slot(arguments: &mut Arguments) -> Result<usize, Diagnostic> {
    let span = arguments.span();
    let number = arguments.int("the number of a capture")?;
    usize::try_from(number).map_err(|_| {
        Diagnostic::alert(span, format!("there is no capture {number}"))
            .label("expected a number from 0")
    })
}

fn constant_int(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    Ok(Fetch::Constant(Constant::Int(arguments.int("a number")?)))
}

fn constant_text(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let text = arguments.optional().map_or("", |(text, _)| text);
    Ok(Fetch::Constant(match raw::bytes(text) {
        Cow::Borrowed(_) => Constant::Str(text.into()),
        Cow::Owned(bytes) => Constant::Raw(bytes.into()),
    }))
}

fn constant_method(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let (method, _) = arguments.text("a method")?;
    Ok(Fetch::Constant(Constant::Method(method.into())))
}

fn environment(arguments: &mut Arguments, context: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let (name, span) = arguments.text("the name of a variable")?;
    // What a rule can read it can send, and a command can show.
    if SECRETS.contains(&name) {
        let message = format!("'{name}' is a secret: no rule and no command reads it");
        return Err(Diagnostic::alert(span, message));
    }
    let value = context.surroundings.variable(name);
    let constant = value.map_or(Constant::Missing, |value| Constant::Str(value.into()));
    Ok(Fetch::Constant(constant))
}

/// `([!]name,…)`.
fn acls(arguments: &mut Arguments, context: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let mut acls = Vec::new();
    let mut next = Some(arguments.text("the name of an ACL")?);
    while let Some((text, span)) = next {
        let (negated, name) = match text.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let acl = named_acl(name, span, context)?;
        acls.push((negated, AclUse(acl)));
        next = arguments.optional();
    }
    Ok(Fetch::Acls(acls))
}

fn date(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let (offset, unit) = date_arguments(arguments)?;
    Ok(Fetch::Date { offset, unit })
}

fn url_parameter(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    parameter(arguments).map(Fetch::UrlParam)
}

fn url_parameter_value(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    parameter(arguments).map(Fetch::UrlParamVal)
}

fn request_header_names(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    Ok(Fetch::HdrNames(Side::Request, delimiter(arguments)))
}

fn response_header_names(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    Ok(Fetch::HdrNames(Side::Response, delimiter(arguments)))
}

fn constant_bool(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let (text, span) = arguments.text("true or false")?;
    let value = match text {
        "true" | "1" => true,
        "false" | "0" => false,
        _ => {
            return Err(
                Diagnostic::alert(span, format!("'{text}' is not a boolean"))
                    .label("expected 'true', 'false', '1' or '0'"),
            );
        }
    };
    Ok(Fetch::Constant(Constant::Bool(value)))
}

fn constant_bin(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let (text, span) = arguments.text("hexadecimal digits")?;
    let bytes = unhex(text.as_bytes()).ok_or_else(|| {
        Diagnostic::alert(
            span,
            format!("'{text}' is not an even number of hexadecimal digits"),
        )
    })?;
    Ok(Fetch::Constant(Constant::Bin(bytes.into())))
}

fn constant_address<A>(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let (text, span) = arguments.text("an address")?;
    let address: A = text
        .parse()
        .map_err(|_| Diagnostic::alert(span, format!("'{text}' is not such an address")))?;
    Ok(Fetch::Constant(Constant::Addr(address.into())))
}

pub(super) fn date_arguments(arguments: &mut Arguments) -> Result<(i64, TimeUnit), Diagnostic> {
    let offset = arguments.optional_int("an offset")?.unwrap_or(0);
    let unit = match arguments.optional() {
        None | Some(("" | "s", _)) => TimeUnit::Seconds,
        Some(("ms", _)) => TimeUnit::Milliseconds,
        Some(("us", _)) => TimeUnit::Microseconds,
        Some((text, span)) => {
            return Err(
                Diagnostic::alert(span, format!("'{text}' is not a unit of time"))
                    .label("expected 's', 'ms' or 'us'"),
            );
        }
    };
    Ok((offset, unit))
}

fn random(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let span = arguments.span();
    let range = arguments.optional_int("a range")?;
    let range = range.map(u32::try_from).transpose().map_err(|_| {
        Diagnostic::alert(span, "the range of 'rand' is too large")
            .label("expected 32 bits at most")
    })?;
    Ok(Fetch::Rand {
        range: range.filter(|range| *range > 0),
        salt: span.start,
    })
}

/// `var(name[,default])`.
fn variable(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let (text, span) = arguments.text("the name of a variable")?;
    let name = VarName::parse(text, span)?;
    let default = arguments.optional().map(|(text, _)| text.into());
    Ok(Fetch::Var(name, default))
}

fn auth(arguments: &mut Arguments, context: &Context<'_>) -> Result<Fetch, Diagnostic> {
    userlist(arguments, context).map(Fetch::HttpAuth)
}

fn auth_group(arguments: &mut Arguments, context: &Context<'_>) -> Result<Fetch, Diagnostic> {
    userlist(arguments, context).map(Fetch::HttpAuthGroup)
}

fn userlist(arguments: &mut Arguments, context: &Context<'_>) -> Result<Arc<str>, Diagnostic> {
    let (name, span) = arguments.text("the name of a userlist")?;
    let list: Arc<str> = name.into();
    context.userlists.borrow_mut().push(AuthUse {
        list: Arc::clone(&list),
        span,
        groups: Vec::new(),
    });
    Ok(list)
}

fn auth_bearer(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let header = arguments.optional().map_or("", |(name, _)| name);
    let header = if header.is_empty() {
        "authorization"
    } else {
        header
    };
    Ok(Fetch::HttpAuthBearer(header.to_ascii_lowercase().into()))
}

fn query(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    match arguments.optional() {
        None | Some(("", _)) => Ok(Fetch::Query(false)),
        Some(("with_qm", _)) => Ok(Fetch::Query(true)),
        Some((text, span)) => {
            let message = format!("'{text}' is not an option of 'query'");
            Err(Diagnostic::alert(span, message).label("expected 'with_qm'"))
        }
    }
}

fn parameter(arguments: &mut Arguments) -> Result<Parameter, Diagnostic> {
    let name = arguments.optional().map_or("", |(name, _)| name).into();
    let delimiter = arguments
        .optional()
        .and_then(|(text, _)| text.bytes().next());
    Ok(Parameter {
        name,
        delimiter: delimiter.unwrap_or(b'?'),
        ignore_case: ignores_case(arguments)?,
    })
}

fn ignores_case(arguments: &mut Arguments) -> Result<bool, Diagnostic> {
    match arguments.optional() {
        None | Some(("", _)) => Ok(false),
        Some(("i", _)) => Ok(true),
        Some((text, span)) => Err(
            Diagnostic::alert(span, format!("'{text}' is not a flag here"))
                .label("expected 'i', to ignore case"),
        ),
    }
}

/// `([name[,i]])` of a form.
pub(super) fn body_parameter(arguments: &mut Arguments) -> Result<Parameter, Diagnostic> {
    let name = arguments.optional().map_or("", |(name, _)| name).into();
    Ok(Parameter {
        name,
        delimiter: b'?',
        ignore_case: ignores_case(arguments)?,
    })
}

/// Occurrences are counted from the end down to so many; HAProxy keeps that many in view.
const OCCURRENCE_MIN: i64 = -10;

fn header(arguments: &mut Arguments, side: Side) -> Result<Named, Diagnostic> {
    let span = arguments.span();
    let name = header_name(arguments, side);
    let occurrence = arguments.optional_int("an occurrence")?.unwrap_or(0);
    if occurrence < OCCURRENCE_MIN {
        let message = format!("occurrence {occurrence} is too far from the end");
        return Err(Diagnostic::alert(span, message).label("expected -10 or nearer"));
    }
    let occurrence = i32::try_from(occurrence).unwrap_or(i32::MAX);
    Ok(Named { occurrence, ..name })
}

fn header_name(arguments: &mut Arguments, side: Side) -> Named {
    let name = arguments.optional().map_or("", |(name, _)| name);
    Named {
        side,
        name: name.to_ascii_lowercase().into(),
        occurrence: 0,
    }
}

fn cookie(arguments: &mut Arguments, side: Side) -> Named {
    Named {
        side,
        name: arguments.optional().map_or("", |(name, _)| name).into(),
        occurrence: 0,
    }
}

/// The first character of an argument, or a comma.
fn delimiter(arguments: &mut Arguments) -> Arc<str> {
    let first = arguments
        .optional()
        .and_then(|(text, _)| text.chars().next());
    first.unwrap_or(',').to_string().into()
}
