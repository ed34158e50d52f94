//! `server` and `default-server` lines and their parameters (manual 4.2 and 5.2).

use super::bind::{MD5, MD5_INSTEAD, based};
use super::params::{self, Parameter, ParameterParse, accepted, implemented, refused};
use super::{
    Scope, cookie, crt_store, outgoing, resolvers, server_agent, server_health, server_load,
    server_origin, tls,
};
use crate::address::{self, Address, Host, Port, Transport};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::{Draft, Named, ServerDraft};
use crate::expr::{self, Stage};
use crate::lexer::Word;
use crate::model::{CheckAddress, MappedHost, MappedPort, ServerAddress, Weight};
use crate::values::{Unit, header_text, name, next_duration, next_number};

type Parse = ParameterParse<ServerDraft>;

/// What `sni-auto` stands for (manual 5.2).
const SNI_AUTO: &str = "req.hdr(host),field(1,:)";
const QUICK: &str = "it would only make things faster";
const POOL: &str = "each worker has idle connections of its own, and takes none from another";
const STRICT: &str = "idle connections are kept beside those that 'maxconn' counts";
const STRICT_INSTEAD: &str =
    "write 'pool-max-conn 0': then there are never more connections than sessions";
const DEFAULT: &str = "it is the default";

pub(crate) const PARAMETERS: &[Parameter<Parse>] = &[
    implemented("addr", addr),
    implemented("agent-addr", server_agent::addr),
    implemented("agent-check", |draft, _, _| flag(&mut draft.agent.on, true)),
    implemented("agent-inter", |draft, args, _| {
        draft.agent.inter = Some(interval(args)?);
        Ok(())
    }),
    implemented("agent-port", |draft, args, _| {
        draft.agent.port = Some(next_number(args, 1..=65_535)?);
        Ok(())
    }),
    implemented("agent-send", |draft, args, _| {
        let word = args.required_text("a text")?;
        draft.agent.send = Some(word.text.as_str().into());
        Ok(())
    }),
    implemented("no-agent-check", |draft, _, _| {
        flag(&mut draft.agent.on, false)
    }),
    implemented("alpn", alpn),
    implemented("check-proto", |_, args, _| params::proto("server", args)),
    implemented("healthcheck", |draft, args, _| {
        let word = args.required("the name of a 'healthcheck' section")?;
        draft.healthcheck = Some(Named {
            name: word.text.as_str().into(),
            span: word.span,
        });
        Ok(())
    }),
    implemented("init-state", server_health::init_state),
    implemented("backup", |draft, _, _| flag(&mut draft.server.backup, true)),
    implemented("ca-file", |draft, args, scope| {
        let word = args.required("the path of a CA file, or @system-ca")?;
        draft.tls_parameters.ca_file = match word.is("@system-ca") {
            true => None,
            false => Some(based(&word.text, scope.bases.ca.as_ref())),
        };
        Ok(())
    }),
    implemented("check", |draft, _, _| flag(&mut draft.check, true)),
    implemented("check-alpn", |draft, args, scope| {
        let told = "HTTP/2 is not spoken to servers yet: 'h2' is not offered";
        let names = tls::alpn(args, scope, told, "servers fall back to http/1.1")?;
        draft.server.check_parameters.alpn = names;
        Ok(())
    }),
    implemented("check-sni", |draft, args, _| {
        let word = args.required("a host name")?;
        draft.server.check_parameters.sni = Some(word.text.as_str().into());
        Ok(())
    }),
    implemented("ciphers", |draft, args, scope| {
        draft.tls_parameters.choice.ciphers = Some(tls::ciphers::ciphers(args, scope)?);
        Ok(())
    }),
    implemented("ciphersuites", |draft, args, scope| {
        let suites = tls::ciphers::ciphersuites(args, scope)?;
        draft.tls_parameters.choice.ciphersuites = Some(suites);
        Ok(())
    }),
    implemented("client-sigalgs", |draft, args, scope| {
        draft.tls_parameters.choice.client_sigalgs = Some(tls::groups::sigalgs(args, scope)?);
        Ok(())
    }),
    implemented("crl-file", |draft, args, scope| {
        let word = args.required("the path of a PEM file")?;
        let path = based(&word.text, scope.bases.ca.as_ref());
        draft.tls_parameters.crl_file = Some(path);
        Ok(())
    }),
    implemented("crt", |draft, args, scope| {
        let word = args.required("the path of a certificate with its key")?;
        let path = based(&word.text, scope.bases.crt.as_ref());
        draft.tls_parameters.crt = Some(crt_store::find(path, word.span, scope)?);
        Ok(())
    }),
    implemented("curves", |draft, args, scope| {
        draft.tls_parameters.choice.curves = Some(tls::groups::curves(args, scope)?);
        Ok(())
    }),
    implemented("check-ssl", |draft, _, _| flag(&mut draft.check_tls, true)),
    implemented("cookie", cookie::value),
    implemented("check-send-proxy", |draft, _, _| {
        flag(&mut draft.check_send_proxy, true)
    }),
    implemented("disabled", |draft, _, _| {
        flag(&mut draft.server.disabled, true)
    }),
    implemented("downinter", |draft, args, _| {
        draft.server.check_parameters.downinter = Some(interval(args)?);
        Ok(())
    }),
    implemented("enabled", |draft, _, _| {
        flag(&mut draft.server.disabled, false)
    }),
    implemented("error-limit", server_health::error_limit),
    implemented("fall", |draft, args, _| {
        draft.server.check_parameters.fall = next_number(args, 1..=i32::MAX as u64)?;
        Ok(())
    }),
    implemented("fastinter", |draft, args, _| {
        draft.server.check_parameters.fastinter = Some(interval(args)?);
        Ok(())
    }),
    implemented("force-sslv3", version_flag),
    implemented("force-tlsv10", version_flag),
    implemented("force-tlsv11", version_flag),
    implemented("force-tlsv12", version_flag),
    implemented("force-tlsv13", version_flag),
    implemented("id", |draft, args, _| {
        draft.server.id = Some(next_number(args, 1..=i32::MAX as u64)?);
        Ok(())
    }),
    implemented("init-addr", resolvers::init),
    implemented("inter", |draft, args, _| {
        draft.server.check_parameters.inter = interval(args)?;
        Ok(())
    }),
    implemented("hash-key", server_load::hash_key),
    implemented("max-reuse", server_load::max_reuse),
    implemented("maxconn", server_load::maxconn),
    implemented("maxqueue", server_load::maxqueue),
    implemented("minconn", server_load::minconn),
    implemented("non-stick", |draft, _, _| {
        flag(&mut draft.server.non_stick, true)
    }),
    implemented("stick", |draft, _, _| {
        flag(&mut draft.server.non_stick, false)
    }),
    implemented("no-backup", |draft, _, _| {
        flag(&mut draft.server.backup, false)
    }),
    implemented("no-check", |draft, _, _| flag(&mut draft.check, false)),
    implemented("no-check-ssl", |draft, _, _| {
        flag(&mut draft.check_tls, false)
    }),
    implemented("no-check-send-proxy", |draft, _, _| {
        flag(&mut draft.check_send_proxy, false)
    }),
    implemented("no-send-proxy", |draft, _, _| {
        outgoing::send_proxy(draft, |send, on| send.v1 = on, false)
    }),
    implemented("no-send-proxy-v2", |draft, _, _| {
        outgoing::send_proxy(draft, outgoing::v2, false)
    }),
    implemented("no-send-proxy-v2-ssl", |draft, _, _| {
        outgoing::send_proxy(draft, outgoing::v2_ssl, false)
    }),
    implemented("no-send-proxy-v2-ssl-cn", |draft, _, _| {
        outgoing::send_proxy(draft, outgoing::v2_ssl_cn, false)
    }),
    implemented("no-ssl", |draft, _, _| {
        draft.tls_denied = true;
        flag(&mut draft.tls, false)
    }),
    implemented("no-sslv3", version_flag),
    implemented("no-tlsv10", version_flag),
    implemented("no-tlsv11", version_flag),
    implemented("no-tlsv12", version_flag),
    implemented("no-tlsv13", version_flag),
    implemented("no-tfo", |draft, _, _| {
        flag(&mut draft.server.outgoing.fast_open, false)
    }),
    implemented("no-verifyhost", |draft, _, _| {
        draft.tls_parameters.verifyhost = None;
        Ok(())
    }),
    implemented("observe", server_health::observe),
    implemented("on-error", server_health::on_error),
    implemented("on-marked-down", server_health::on_marked_down),
    implemented("on-marked-up", server_health::on_marked_up),
    implemented("pool-max-conn", server_load::pool_max_conn),
    implemented("pool-purge-delay", server_load::pool_purge_delay),
    implemented("port", |draft, args, _| {
        let port: u16 = next_number(args, 0..=65_535)?;
        draft.server.check_parameters.port = (port > 0).then_some(port);
        Ok(())
    }),
    implemented("proto", |_, args, _| params::proto("server", args)),
    implemented("proxy-v2-options", outgoing::v2_options),
    implemented("redir", |draft, args, _| {
        let prefix = header_text(args.required("a prefix such as http://host")?)?;
        draft.server.redir = Some(prefix);
        Ok(())
    }),
    implemented("rise", |draft, args, _| {
        draft.server.check_parameters.rise = next_number(args, 1..=i32::MAX as u64)?;
        Ok(())
    }),
    implemented("send-proxy", |draft, _, _| {
        outgoing::send_proxy(draft, |send, on| send.v1 = on, true)
    }),
    implemented("send-proxy-v2", |draft, _, _| {
        outgoing::send_proxy(draft, outgoing::v2, true)
    }),
    implemented("send-proxy-v2-ssl", |draft, _, _| {
        outgoing::send_proxy(draft, outgoing::v2_ssl, true)
    }),
    implemented("send-proxy-v2-ssl-cn", |draft, _, _| {
        outgoing::send_proxy(draft, outgoing::v2_ssl_cn, true)
    }),
    implemented("slowstart", server_load::slowstart),
    implemented("sni", |draft, args, scope| {
        let word = args.required("a sample expression such as str(example.com)")?;
        let sample = expr::sample::parse(word, &scope.expressions(Stage::Request))?;
        draft.tls_parameters.sni = Some(sample);
        Ok(())
    }),
    implemented("sni-auto", |draft, _, _| {
        flag(&mut draft.no_sni_auto, false)
    }),
    implemented("no-sni-auto", |draft, _, _| {
        flag(&mut draft.no_sni_auto, true)
    }),
    implemented("ssl", |draft, _, _| {
        (draft.tls_said, draft.tls_denied) = (true, false);
        flag(&mut draft.tls, true)
    }),
    implemented("sigalgs", |draft, args, scope| {
        draft.tls_parameters.choice.sigalgs = Some(tls::groups::sigalgs(args, scope)?);
        Ok(())
    }),
    implemented("ssl-max-ver", |draft, args, _| {
        tls::maximum(&mut draft.tls_parameters.choice.versions, args)
    }),
    implemented("ssl-min-ver", |draft, args, _| {
        tls::minimum(&mut draft.tls_parameters.choice.versions, args)
    }),
    implemented("ssl-reuse", |draft, _, _| {
        flag(&mut draft.tls_parameters.reuse, true)
    }),
    implemented("no-ssl-reuse", |draft, _, _| {
        flag(&mut draft.tls_parameters.reuse, false)
    }),
    implemented("tls-tickets", |draft, _, _| {
        flag(&mut draft.tls_parameters.tickets, true)
    }),
    implemented("no-tls-tickets", |draft, _, _| {
        flag(&mut draft.tls_parameters.tickets, false)
    }),
    implemented("source", outgoing::server_source),
    refused("strict-maxconn", 0, STRICT, STRICT_INSTEAD),
    implemented("tcp-ut", outgoing::user_timeout),
    implemented("track", server_health::track),
    refused(
        "namespace",
        1,
        "all connections are made in the network namespace the program runs in",
        "start the program in that namespace: ip netns exec NAME …",
    ),
    refused(
        "usesrc",
        1,
        "it is only allowed after a 'source' statement, and there it is refused as well",
        "tell servers with 'send-proxy' or 'option forwardfor'",
    ),
    implemented("tfo", |draft, _, _| {
        flag(&mut draft.server.outgoing.fast_open, true)
    }),
    implemented("verify", verify),
    implemented("verifyhost", |draft, args, _| {
        let word = args.required("a host name")?;
        draft.tls_parameters.verifyhost = Some(word.text.as_str().into());
        Ok(())
    }),
    implemented("weight", |draft, args, _| {
        let word = args.required("a number from 0 to 256")?;
        let weight = word.text.parse().ok().and_then(Weight::new);
        draft.server.weight = weight.ok_or_else(|| {
            Diagnostic::alert(
                word.span,
                format!("weight is not within 0 and 256 ({})", word.text),
            )
        })?;
        Ok(())
    }),
    implemented("ws", ws),
    accepted("allow-0rtt", 0, "early data is not sent"),
    accepted("cc", 1, QUICK),
    accepted("check-reuse-pool", 0, "checks use connections of their own"),
    implemented("guid", |draft, args, _| {
        let word = args.required("an identifier")?;
        draft.server.guid = Some(word.text.as_str().into());
        Ok(())
    }),
    accepted("ktls", 1, QUICK),
    accepted("no-check-reuse-pool", 0, DEFAULT),
    accepted("no-renegotiate", 0, DEFAULT),
    refused("npn", 1, tls::NPN, tls::NPN_INSTEAD),
    accepted("pool-low-conn", 1, POOL),
    accepted(
        "renegotiate",
        0,
        "TLS 1.3 has none and it is never asked for",
    ),
    accepted("check-pool-conn-name", 1, POOL),
    implemented("check-sni-auto", |draft, _, _| {
        flag(&mut draft.server.check_parameters.sni_from_host, true)
    }),
    implemented("no-check-sni-auto", |draft, _, _| {
        flag(&mut draft.server.check_parameters.sni_from_host, false)
    }),
    implemented("check-via-socks4", |draft, _, _| {
        flag(&mut draft.server.outgoing.checks_via_socks4, true)
    }),
    implemented("from", |_, args, _| misplaced(args)),
    accepted("idle-ping", 1, "HTTP/1.1 has no pings"),
    accepted("log-bufsize", 1, "servers are sent no log lines"),
    accepted("log-proto", 1, "servers are sent no log lines"),
    implemented("name", |_, args, _| misplaced(args)),
    implemented("pool-conn-name", |draft, args, scope| {
        let word = args.required("a sample expression such as req.hdr(x-name)")?;
        let sample = expr::sample::parse(word, &scope.expressions(Stage::Request))?;
        draft.server.pool_name = Some(Box::new(sample));
        Ok(())
    }),
    accepted("quic-cc-algo", 1, "HTTP/3 is not spoken to servers"),
    implemented("resolve-net", resolvers::nets),
    implemented("resolve-opts", resolvers::opts),
    implemented("resolve-prefer", resolvers::prefer),
    implemented("resolvers", resolvers::of_server),
    implemented("set-proxy-v2-tlv-fmt", outgoing::proxy_value),
    accepted("shard", 1, "there are no peers to share tables with"),
    implemented("socks4", outgoing::socks4),
    refused("tcp-md5sig", 1, MD5, MD5_INSTEAD),
];

/// What stands in for a `sni` that nobody gives, unless that is switched off; the default.
fn automatic_sni(draft: &mut ServerDraft, scope: &Scope<'_>) {
    draft.sni_auto = None;
    if draft.no_sni_auto || draft.tls_parameters.sni.is_some() {
        return;
    }
    let word = Word::bare(SNI_AUTO);
    let sample = expr::sample::parse(&word, &scope.expressions(Stage::Request));
    draft.sni_auto = sample.ok();
}

/// `name` and `from`, anywhere but before all other parameters.
fn misplaced(args: &mut Args<'_>) -> Result<(), Diagnostic> {
    let place = args.last().map_or(args.place(), |word| word.span);
    let message = format!("'{}' must come before all other parameters", args.keyword);
    args.next();
    Err(Diagnostic::alert(place, message))
}

fn flag(field: &mut bool, value: bool) -> Result<(), Diagnostic> {
    *field = value;
    Ok(())
}

/// `default-server [parameters]`: adds to what earlier ones said.
pub(crate) fn default_server(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    if let Some(word) = args.peek().filter(|word| word.is("id")) {
        return Err(Diagnostic::alert(
            word.span,
            "'id' option is not accepted in default-server sections",
        ));
    }
    let (name, mut server) = server_origin::of_default(draft, args, scope)?;
    if args.peek().is_some() {
        server.server.span = args.place();
        server.server.has_defaults = true;
    }
    params::read(PARAMETERS, "default-server", &mut server, args, scope);
    automatic_sni(&mut server, scope);
    server.server.id = None;
    match name {
        None => draft.back.origins.unnamed = server,
        Some(name) => drop(draft.back.origins.named.insert(name, server)),
    }
    Ok(())
}

/// `server NAME ADDRESS [parameters]`.
pub(crate) fn server(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("<name> and <addr>[:<port>] as arguments")?;
    let address_word = args.required("<name> and <addr>[:<port>] as arguments")?;
    let mut server = server_origin::of_server(draft, args, scope)?;
    server.server.span = word.span;
    server.tls_base = scope.bases.server_tls.clone();
    let address = address(address_word, scope);
    let named = name(word, "server");
    params::read(PARAMETERS, "server", &mut server, args, scope);
    if server.tls {
        automatic_sni(&mut server, scope);
    }
    server.server.name = named?;
    match address {
        Ok(address) => server.server.address = address,
        // The server goes on to exist, so that a bad address is not a missing server as well.
        Err(problem) => scope.report(problem),
    }
    draft.back.servers.push(server);
    Ok(())
}

/// Servers that one line makes at most: a slip of a digit must not fill the memory.
const TEMPLATE_MAX: u32 = 10_000;

/// `server-template PREFIX NUM|LOW-HIGH FQDN[:PORT] [parameters]`: servers of the same name, whose
/// addresses are dealt out among them.
pub(crate) fn template(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let expected = "<prefix> <nb | range> <fqdn>[:<port>] as arguments";
    let word = args.required(expected)?;
    let range = args.required(expected)?;
    let address_word = args.required(expected)?;
    let mut server = server_origin::of_server(draft, args, scope)?;
    server.server.span = word.span;
    server.server.is_template = true;
    server.tls_base = scope.bases.server_tls.clone();
    let address = address(address_word, scope)?;
    let prefix = name(word, "server")?;
    params::read(PARAMETERS, "server-template", &mut server, args, scope);
    if server.tls {
        automatic_sni(&mut server, scope);
    }
    server.server.address = address;
    for number in template_range(range)? {
        let mut one = server.clone();
        one.server.name = format!("{prefix}{number}").into();
        // The first has the id that is given, the others those that follow.
        one.server.id = server.server.id.map(|id| id.saturating_add(number - 1));
        draft.back.servers.push(one);
    }
    Ok(())
}

fn template_range(word: &Word) -> Result<std::ops::RangeInclusive<u32>, Diagnostic> {
    let bad = || {
        Diagnostic::alert(
            word.span,
            format!("invalid number or range '{}' of servers", word.text),
        )
        .label(format!(
            "expected 1 to {TEMPLATE_MAX}, or a range such as 1-10"
        ))
    };
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(bad)
    };
    let (low, high) = match word.text.split_once('-') {
        Some((low, high)) => (number(low)?, number(high)?),
        None => (1, number(&word.text)?),
    };
    match low <= high && high - low < TEMPLATE_MAX {
        true => Ok(low..=high),
        false => Err(bad()),
    }
}

fn address(word: &Word, scope: &Scope<'_>) -> Result<ServerAddress, Diagnostic> {
    let text = address::expand(&word.text, scope.environment);
    let (host, port) = match address::parse(&text, word, "server", Transport::Stream)? {
        Address::Unix(path) => return Ok(ServerAddress::Unix(path)),
        Address::Abstract(name) => return Ok(ServerAddress::Abstract(name)),
        Address::Fd(_) => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'server' : a file descriptor is not acceptable here in '{text}'"),
            ));
        }
        Address::Inet { host, port } => (host, port),
    };
    let port = match port {
        Port::None | Port::One(0) => MappedPort::Client(0),
        Port::One(port) => MappedPort::Fixed(port),
        Port::Offset(offset) => MappedPort::Client(offset),
        Port::Range(..) => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'server' : port range not permitted here in '{text}'"),
            ));
        }
    };
    let host = match host {
        Host::Any => MappedHost::Client,
        Host::Ip(ip) if ip.is_unspecified() => MappedHost::Client,
        Host::Ip(ip) => MappedHost::Ip(ip),
        Host::Name(name) => MappedHost::Name(name),
    };
    Ok(match (host, port) {
        (MappedHost::Ip(ip), MappedPort::Fixed(port)) => ServerAddress::Inet((ip, port).into()),
        (MappedHost::Name(name), MappedPort::Fixed(port)) => ServerAddress::Name(name, port),
        (host, port) => ServerAddress::Mapped(host, port),
    })
}

/// `addr`: where checks go.
fn addr(draft: &mut ServerDraft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("an IP address, or a socket's path")?;
    let parsed = address::parse(&word.text, word, "addr", Transport::Stream)?;
    let check = &mut draft.server.check_parameters;
    let bad = || {
        Diagnostic::alert(
            word.span,
            format!("'addr' : invalid address: '{}'", word.text),
        )
        .label("expected an IPv4 or IPv6 address, unix@PATH or abns@NAME")
    };
    match parsed {
        Address::Unix(path) => check.addr = Some(CheckAddress::Unix(path)),
        Address::Abstract(name) => check.addr = Some(CheckAddress::Abstract(name)),
        Address::Inet {
            host: Host::Ip(ip),
            port,
        } => {
            check.addr = Some(CheckAddress::Ip(ip));
            match port {
                Port::None | Port::One(0) => {}
                // `port` wins, before it or behind.
                Port::One(port) => check.port = check.port.or(Some(port)),
                Port::Range(..) | Port::Offset(_) => return Err(bad()),
            }
        }
        _ => return Err(bad()),
    }
    Ok(())
}

/// A time between checks: not zero, or checks would never end.
fn interval(args: &mut Args<'_>) -> Result<std::time::Duration, Diagnostic> {
    let place = args.peek().map_or(args.missing_place(), |word| word.span);
    let interval = next_duration(args, Unit::Milliseconds)?;
    match interval.is_zero() {
        false => Ok(interval),
        true => Err(Diagnostic::alert(
            place,
            format!("invalid value 0 for argument '{}'", args.keyword),
        )),
    }
}

fn alpn(draft: &mut ServerDraft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let told = "HTTP/2 is not spoken to servers yet: 'h2' is not offered";
    draft.tls_parameters.alpn = tls::alpn(args, scope, told, "servers fall back to http/1.1")?;
    Ok(())
}

fn ws(_: &mut ServerDraft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("auto, h1 or h2")?;
    match word.text.as_str() {
        "auto" | "h1" => Ok(()),
        "h2" => Err(Diagnostic::alert(
            word.span,
            "'server … ws h2' is not implemented yet",
        )),
        other => Err(
            Diagnostic::alert(word.span, format!("'ws' does not know '{other}'"))
                .label("expected auto, h1 or h2"),
        ),
    }
}

fn version_flag(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    match args.last() {
        Some(word) => tls::flag(&mut draft.tls_parameters.choice.versions, word),
        None => Ok(()),
    }
}

fn verify(draft: &mut ServerDraft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("none or required")?;
    draft.tls_parameters.verify = match word.text.as_str() {
        "none" => false,
        "required" => true,
        other => {
            return Err(
                Diagnostic::alert(word.span, format!("'verify' does not know '{other}'"))
                    .label("expected none or required"),
            );
        }
    };
    draft.verify_given = true;
    Ok(())
}
