//! `bind` lines and their parameters (manual 4.2 and 5.1).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::params::{self, Parameter, ParameterParse, accepted, implemented, refused};
use super::tls::policy;
use super::{Scope, crt_store, sockets, tls};
use crate::Surroundings as _;
use crate::address::{self, Address, Port, Transport};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::lexer::Word;
use crate::model::{
    Bind, BindAddress, BindTls, CertificateSource, CliLevel, ClientVerify, SocketOptions,
    StatsSocketSettings,
};
use crate::values::next_number;

/// Stands for an address that is read last.
const UNREAD: BindAddress = BindAddress::Fd(0);

/// A `bind` line under way: one set of parameters for all its addresses.
pub(crate) struct BindDraft {
    pub(super) bind: Bind,
    pub(super) tls: BindTls,
    /// What is said of a `stats socket`; `None`: the line is a `bind`.
    pub(super) stats_socket: Option<StatsSocketSettings>,
    ssl: bool,
    /// `ocsp-update` of a line of a `crt-list`.
    pub(crate) ocsp_update: Option<bool>,
}

impl BindDraft {
    /// For lines of a `crt-list`, which speak of TLS alone.
    pub(crate) fn of_tls(tls: BindTls) -> Self {
        Self {
            bind: Bind::at(UNREAD),
            tls,
            stats_socket: None,
            ssl: true,
            ocsp_update: None,
        }
    }

    /// For a `stats socket`, whose addresses are read apart.
    pub(crate) fn of_stats_socket(word: &Word, level: CliLevel) -> Self {
        Self {
            bind: Bind {
                text: word.text.as_str().into(),
                span: word.span,
                ..Bind::at(UNREAD)
            },
            tls: BindTls::default(),
            stats_socket: Some(StatsSocketSettings {
                level,
                ..StatsSocketSettings::default()
            }),
            ssl: false,
            ocsp_update: None,
        }
    }

    /// What has become of such a one, and whether it is to be TLS.
    pub(crate) fn into_stats_socket(self) -> (Bind, StatsSocketSettings, bool) {
        let settings = self.stats_socket.unwrap_or_default();
        (self.bind, settings, self.ssl)
    }

    /// What has become of it.
    pub(crate) fn into_tls(self) -> BindTls {
        self.tls
    }
}

pub(super) type Parse = ParameterParse<BindDraft>;

const QUICK: &str = "it would only make things faster";
const NO_QUIC: &str = "HTTP/3 is not served";
pub(super) const MD5: &str = "segments are not signed with MD5";
pub(super) const MD5_INSTEAD: &str = "use TLS with client certificates, or IPsec";
const SIGN: &str = "certificates are not made on the fly, and a CA's key has no place here";
const SIGN_INSTEAD: &str = "make the certificates beforehand and name their folder with 'crt'";

pub(crate) const PARAMETERS: &[Parameter<Parse>] = &[
    implemented("accept-proxy", |draft, _, _| {
        draft.bind.accept_proxy = true;
        Ok(())
    }),
    policy::ALPN,
    implemented("cc", sockets::congestion),
    implemented("defer-accept", |draft, _, _| {
        draft.bind.socket.defer_accept = true;
        Ok(())
    }),
    implemented("expose-fd", sockets::expose_fd),
    implemented("id", sockets::id),
    implemented("level", sockets::level),
    implemented("mss", sockets::mss),
    implemented("nice", sockets::nice),
    implemented("process", sockets::threads),
    implemented("severity-output", sockets::severity_output),
    implemented("shards", sockets::shards),
    implemented("tcp-ut", sockets::user_timeout),
    implemented("tfo", |draft, _, _| {
        draft.bind.socket.fast_open = true;
        Ok(())
    }),
    implemented("thread", sockets::threads),
    implemented("transparent", |draft, _, _| {
        draft.bind.socket.transparent = true;
        Ok(())
    }),
    implemented("backlog", |draft, args, _| {
        draft.bind.backlog = Some(next_number(args, 0..=i32::MAX as u64)?);
        Ok(())
    }),
    policy::CA_FILE,
    implemented("ca-ignore-err", |draft, args, _| {
        draft.tls.ca_ignore_err = tls::verify::ignored(args)?;
        Ok(())
    }),
    policy::CA_VERIFY_FILE,
    policy::CIPHERS,
    policy::CIPHERSUITES,
    policy::CLIENT_SIGALGS,
    policy::CRL_FILE,
    implemented("crt", |draft, args, scope| {
        let word = args.required("the path of a certificate or folder")?;
        let path = based(&word.text, scope.bases.crt.as_ref());
        let path = crt_store::find(path, word.span, scope)?;
        draft.tls.certificates.push(CertificateSource::Crt(path));
        Ok(())
    }),
    implemented("crt-ignore-err", |draft, args, _| {
        draft.tls.crt_ignore_err = tls::verify::ignored(args)?;
        Ok(())
    }),
    implemented("crt-list", |draft, args, scope| {
        let word = args.required("the path of a list of certificates")?;
        let path = based(&word.text, scope.bases.crt.as_ref());
        draft.tls.certificates.push(CertificateSource::List(path));
        Ok(())
    }),
    policy::CURVES,
    implemented("default-crt", |draft, args, scope| {
        let word = args.required("the path of a certificate")?;
        let path = based(&word.text, scope.bases.crt.as_ref());
        let path = crt_store::find(path, word.span, scope)?;
        draft
            .tls
            .certificates
            .push(CertificateSource::Default(path));
        Ok(())
    }),
    policy::ECDHE,
    implemented("force-sslv3", version_flag),
    implemented("force-tlsv10", version_flag),
    implemented("force-tlsv11", version_flag),
    implemented("force-tlsv12", version_flag),
    implemented("force-tlsv13", version_flag),
    implemented("gid", |draft, args, _| {
        draft.bind.unix_gid = Some(next_number(args, 0..=ID_MAX)?);
        Ok(())
    }),
    implemented("group", |draft, args, scope| {
        let word = args.required("the name of a group")?;
        let id = scope.environment.group_id(&word.text);
        draft.bind.unix_gid = Some(id.ok_or_else(|| no_account(word, "group"))?);
        Ok(())
    }),
    implemented("interface", interface),
    implemented("maxconn", |draft, args, _| {
        let value = next_number(args, 0..=i32::MAX as u64)?;
        draft.bind.maxconn = (value > 0).then_some(value);
        Ok(())
    }),
    implemented("mode", mode),
    implemented("name", |draft, args, _| {
        draft.bind.name = Some(args.required("a name")?.text.as_str().into());
        Ok(())
    }),
    policy::NO_ALPN,
    policy::NO_CA_NAMES,
    implemented("no-sslv3", version_flag),
    implemented("no-strict-sni", |draft, _, _| {
        draft.tls.strict_sni = false;
        Ok(())
    }),
    implemented("no-tls-tickets", |draft, _, _| {
        draft.tls.no_tickets = true;
        Ok(())
    }),
    implemented("no-tlsv10", version_flag),
    implemented("no-tlsv11", version_flag),
    implemented("no-tlsv12", version_flag),
    implemented("no-tlsv13", version_flag),
    implemented("proto", |_, args, _| params::proto("bind", args)),
    implemented("ssl", |draft, _, _| {
        draft.ssl = true;
        Ok(())
    }),
    implemented("prefer-client-ciphers", |draft, _, _| {
        draft.tls.policy.prefer_client_ciphers = true;
        Ok(())
    }),
    policy::SIGALGS,
    policy::SSL_MAX_VER,
    policy::SSL_MIN_VER,
    implemented("strict-sni", |draft, _, _| {
        draft.tls.strict_sni = true;
        Ok(())
    }),
    implemented("tls-ticket-keys", |draft, args, _| {
        let word = args.required("the path of a file of keys")?;
        draft.tls.ticket_keys = Some(word.text.as_str().into());
        Ok(())
    }),
    implemented("tls-tickets", |draft, _, _| {
        draft.tls.no_tickets = false;
        Ok(())
    }),
    implemented("uid", |draft, args, _| {
        draft.bind.unix_uid = Some(next_number(args, 0..=ID_MAX)?);
        Ok(())
    }),
    implemented("user", |draft, args, scope| {
        let word = args.required("the name of a user")?;
        let id = scope.environment.user_id(&word.text);
        draft.bind.unix_uid = Some(id.ok_or_else(|| no_account(word, "user"))?);
        Ok(())
    }),
    implemented("v4v6", |draft, _, _| {
        draft.bind.v6only = Some(false);
        Ok(())
    }),
    implemented("v6only", |draft, _, _| {
        draft.bind.v6only = Some(true);
        Ok(())
    }),
    policy::VERIFY,
    accepted("allow-0rtt", 0, "early data is not taken"),
    accepted("guid-prefix", 1, "nothing refers to it"),
    accepted("ktls", 1, QUICK),
    accepted("label", 1, "nothing refers to it"),
    accepted("tcp-ss", 1, QUICK),
    refused(
        "accept-netscaler-cip",
        1,
        "the NetScaler's own header is not read",
        "have it send the PROXY protocol and write 'accept-proxy'",
    ),
    refused(
        "ech",
        1,
        "names in encrypted hellos are not read",
        "remove it: clients fall back to a plain server name",
    ),
    refused("ca-sign-file", 1, SIGN, SIGN_INSTEAD),
    refused("ca-sign-pass", 1, SIGN, SIGN_INSTEAD),
    refused("generate-certificates", 0, SIGN, SIGN_INSTEAD),
    refused("npn", 1, tls::NPN, tls::NPN_INSTEAD),
    accepted("idle-ping", 1, "HTTP/1.1 has no pings"),
    refused(
        "namespace",
        1,
        "sockets are opened in the network namespace the program runs in",
        "start the program in that namespace: ip netns exec NAME …",
    ),
    refused(
        "nbconn",
        1,
        "no connections are opened to be given requests",
        "listen on an address",
    ),
    accepted("quic-cc-algo", 1, NO_QUIC),
    accepted("quic-force-retry", 0, NO_QUIC),
    accepted("quic-socket", 1, NO_QUIC),
    refused("tcp-md5sig", 1, MD5, MD5_INSTEAD),
];

/// Largest number of a user or group: 2^32-1 means "as it is" to chown(2).
pub(crate) const ID_MAX: u64 = u32::MAX as u64 - 1;

/// Longest name of a network interface (`IFNAMSIZ` less its end): the kernel would cut it.
const INTERFACE_LEN_MAX: usize = 15;

/// Most addresses one line may open: a port range is easily mistyped.
const ADDRESSES_MAX: usize = 65_536;

/// `bind ADDRESS[,ADDRESS]… [parameters]`.
pub(crate) fn bind(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("an address such as *:8080")?;
    let addresses = addresses(word, scope);
    let mut line = BindDraft {
        bind: Bind {
            text: word.text.as_str().into(),
            span: word.span,
            ..Bind::at(UNREAD)
        },
        tls: BindTls {
            crt_base: scope.bases.crt.clone(),
            ca_base: scope.bases.ca.clone(),
            ..scope.bases.bind_tls.clone()
        },
        stats_socket: None,
        ssl: false,
        ocsp_update: None,
    };
    let well = params::read(PARAMETERS, "bind", &mut line, args, scope);
    let addresses = addresses?;
    finish_tls(&mut line, word, well, scope)?;
    unique_id(&line.bind, addresses.len(), draft, word)?;
    for (address, text) in addresses {
        without_effect(&line.bind, &address, word, scope);
        let mut bind = Bind {
            address,
            text,
            ..line.bind.clone()
        };
        sockets::with_unix_defaults(&mut bind, &scope.bases.unix);
        draft.front.binds.push(bind);
    }
    Ok(())
}

/// The words behind the address.
pub(crate) fn read_parameters(
    line: &str,
    draft: &mut BindDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> bool {
    params::read(PARAMETERS, line, draft, args, scope)
}

/// An `id` is one socket's (manual 5.1).
fn unique_id(bind: &Bind, sockets: usize, draft: &Draft, word: &Word) -> Result<(), Diagnostic> {
    let Some(id) = bind.id else { return Ok(()) };
    if sockets > 1 {
        return Err(Diagnostic::alert(
            word.span,
            format!(
                "'bind {}' : 'id' can only be used with a single socket",
                word.text
            ),
        ));
    }
    match draft.front.binds.iter().find(|other| other.id == Some(id)) {
        Some(other) => Err(Diagnostic::alert(
            word.span,
            format!("'bind {}' : custom id {id} is already used", word.text),
        )
        .label(format!("by the one on line {}", other.span.line))),
        None => Ok(()),
    }
}

/// What speaks of another kind of address is looked past, as HAProxy does.
fn without_effect(bind: &Bind, address: &BindAddress, word: &Word, scope: &Scope<'_>) {
    let is_inet = matches!(address, BindAddress::Inet(_));
    let owned = bind.unix_uid.is_some() || bind.unix_gid.is_some();
    let is_path = matches!(address, BindAddress::Unix(_));
    for (given, what) in [
        (
            bind.interface.is_some() && !is_inet,
            "'interface' is for IP addresses",
        ),
        (
            bind.socket != SocketOptions::default() && !is_inet,
            "'cc', 'defer-accept', 'mss', 'tcp-ut', 'tfo' and 'transparent' are for TCP",
        ),
        (
            owned && !is_path,
            "user and group are for paths of Unix sockets",
        ),
    ] {
        if given {
            let message = format!("'bind {}' : {what} and has no effect", word.text);
            scope.report(Diagnostic::notice(word.span, message));
        }
    }
}

fn finish_tls(
    line: &mut BindDraft,
    word: &Word,
    well: bool,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    if !line.ssl {
        if !line.tls.certificates.is_empty() {
            scope.report(
                Diagnostic::warning(
                    word.span,
                    format!("'bind {}' : 'crt' has no effect without 'ssl'", word.text),
                )
                .help("add 'ssl' to serve TLS here"),
            );
        }
        return Ok(());
    }
    if line.tls.certificates.is_empty() && !line.tls.strict_sni && well {
        return Err(Diagnostic::alert(
            word.span,
            format!("no SSL certificate specified for bind '{}'", word.text),
        )
        .help("add 'crt FILE', a PEM with the certificate and its key"));
    }
    let policy = &line.tls.policy;
    tls::any_left(&policy.choice, word.span, "bind")?;
    if policy.verify != ClientVerify::None
        && policy.ca_file.is_none()
        && policy.ca_verify_file.is_none()
        && well
    {
        let message = format!(
            "verify is enabled but no CA file specified for bind '{}'",
            word.text
        );
        return Err(Diagnostic::alert(word.span, message)
            .help("add 'ca-file FILE' with the CAs that sign your clients' certificates"));
    }
    line.bind.tls = Some(line.tls.clone());
    Ok(())
}

/// All addresses of a word, port ranges spread out, each with its own text.
pub(crate) fn addresses(
    word: &Word,
    scope: &Scope<'_>,
) -> Result<Vec<(BindAddress, Arc<str>)>, Diagnostic> {
    let text = address::expand(&word.text, scope.environment);
    let mut all = Vec::new();
    // A comma at the end separates nothing, as in HAProxy.
    for part in text.strip_suffix(',').unwrap_or(&text).split(',') {
        one_address(part, word, &mut all)?;
        if let Some((BindAddress::Fd(number), _)) = all.last() {
            scope.environment.socket(*number).map_err(|why| {
                let message = format!("'bind' : cannot use file descriptor '{number}' : {why}");
                Diagnostic::alert(word.span, message)
                    .help("whoever starts the program has to leave a socket open at that number")
            })?;
        }
        if all.len() > ADDRESSES_MAX {
            return Err(Diagnostic::alert(
                word.span,
                format!("more than {ADDRESSES_MAX} addresses on a line"),
            ));
        }
    }
    Ok(all)
}

fn one_address(
    text: &str,
    word: &Word,
    all: &mut Vec<(BindAddress, Arc<str>)>,
) -> Result<(), Diagnostic> {
    let single = match address::parse(text, word, "bind", Transport::Stream)? {
        Address::Unix(path) => BindAddress::Unix(path),
        Address::Abstract(name) => BindAddress::Abstract(name),
        Address::Fd(number) => BindAddress::Fd(number),
        Address::Inet { host, port } => {
            let ip = host.listening().ok_or_else(|| {
                Diagnostic::alert(
                    word.span,
                    format!("'bind' : invalid address: host name in '{text}'"),
                )
                .label("host names are not resolved here: write an IP address")
            })?;
            let (from, to) = ports(text, port, word)?;
            for port in from..=to {
                let address = SocketAddr::new(ip, port);
                let name = match from == to {
                    true => text.into(),
                    false => address.to_string().into(),
                };
                all.push((BindAddress::Inet(address), name));
            }
            return Ok(());
        }
    };
    all.push((single, text.into()));
    Ok(())
}

fn ports(text: &str, port: Port, word: &Word) -> Result<(u16, u16), Diagnostic> {
    match port {
        Port::One(port @ 1..) => Ok((port, port)),
        Port::Range(from, to) => Ok((from, to)),
        Port::None => Err(Diagnostic::alert(
            word.span,
            format!("'bind' : missing port specification in '{text}'"),
        )
        .help(format!("write the port behind a colon: {text}:8080"))),
        Port::One(0) | Port::Offset(_) => Err(Diagnostic::alert(
            word.span,
            format!("'bind' : invalid port in '{text}'"),
        )
        .label("ports go from 1 to 65535")),
    }
}

/// A path, below `base` when it is relative.
pub(crate) fn based(path: &str, base: Option<&PathBuf>) -> PathBuf {
    match base {
        Some(base) if !path.starts_with('/') && !path.starts_with('@') => base.join(path),
        _ => path.into(),
    }
}

fn interface(draft: &mut BindDraft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("the name of a network interface such as eth0")?;
    if word.text.len() > INTERFACE_LEN_MAX {
        return Err(Diagnostic::alert(
            word.span,
            format!("'interface' does not accept '{}'", word.text),
        )
        .label(format!("names have at most {INTERFACE_LEN_MAX} bytes")));
    }
    draft.bind.interface = Some(word.text.as_str().into());
    Ok(())
}

pub(crate) fn no_account(word: &Word, what: &str) -> Diagnostic {
    let message = format!("'{what}' : unknown {what} name '{}'", word.text);
    Diagnostic::alert(word.span, message).label(format!("this machine has no such {what}"))
}

fn mode(draft: &mut BindDraft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    draft.bind.unix_mode = Some(mode_bits(args)?);
    Ok(())
}

/// Permission bits, in octal digits.
pub(crate) fn mode_bits(args: &mut Args<'_>) -> Result<u32, Diagnostic> {
    let word = args.required("permission bits such as 660")?;
    let bits = u32::from_str_radix(&word.text, 8).ok();
    bits.filter(|bits| *bits <= 0o7777).ok_or_else(|| {
        Diagnostic::alert(word.span, format!("'mode' does not accept '{}'", word.text))
            .label("expected octal digits such as 660")
    })
}

fn version_flag(
    draft: &mut BindDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    match args.last() {
        Some(word) => tls::flag(&mut draft.tls.policy.choice.versions, word),
        None => Ok(()),
    }
}
