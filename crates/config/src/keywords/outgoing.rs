//! How connections are made, kept and ended: `source`, `send-proxy…`, TCP keep-alive, `tcp-ut`,
//! `option nolinger` and their like (manual 4.2 and 5.2).

use super::options::switched_on;
use super::{ALL, BACK, FRONT, ProxyKeyword, Scope, implemented, invertible, refused};
use crate::address::{self, Address, Host, Port, Transport};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::{Draft, ServerDraft};
use crate::expr::{self, Stage};
use crate::model::{KeepAlive, ProxyValue, SendProxy, Source};
use crate::nearest::did_you_mean;
use crate::values::{Unit, limit, next_duration, next_number};

/// `socks4 ADDR:PORT`.
pub(crate) fn socks4(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("the address and port of a SOCKS proxy")?;
    let parsed = address::parse(&word.text, word, "socks4", Transport::Stream)?;
    let Address::Inet {
        host: Host::Ip(ip),
        port: Port::One(port @ 1..),
    } = parsed
    else {
        let message = format!("'socks4' : invalid address '{}'", word.text);
        return Err(
            Diagnostic::alert(word.span, message).label("expected an IP address and a port")
        );
    };
    draft.server.outgoing.socks4 = Some((ip, port).into());
    Ok(())
}

const TRANSPARENT: &str =
    "to come from a client's address takes rights and routes that this program does not ask for";
const TRANSPARENT_INSTEAD: &str =
    "tell servers with 'send-proxy', 'send-proxy-v2' or 'option forwardfor'";

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("clitcpka-cnt", FRONT, |draft, args, _| {
        draft.front.client_keepalive.count = Some(next_number(args, 0..=i32::MAX as u64)?);
        args.end()
    }),
    implemented("clitcpka-idle", FRONT, |draft, args, _| {
        seconds(args, &mut draft.front.client_keepalive.idle)
    }),
    implemented("clitcpka-intvl", FRONT, |draft, args, _| {
        seconds(args, &mut draft.front.client_keepalive.interval)
    }),
    invertible("option clitcpka", FRONT, |draft, args, _| {
        args.end()?;
        draft.front.client_probes = switched_on(args);
        Ok(())
    }),
    invertible("option srvtcpka", BACK, |draft, args, _| {
        args.end()?;
        draft.back.server_probes = switched_on(args);
        Ok(())
    }),
    implemented("option tcpka", ALL, |draft, args, _| {
        args.end()?;
        draft.front.client_probes = true;
        draft.back.server_probes = true;
        Ok(())
    }),
    invertible("option nolinger", ALL, |draft, args, _| {
        args.end()?;
        draft.front.no_linger = switched_on(args);
        draft.back.no_linger = switched_on(args);
        Ok(())
    }),
    invertible("option tcp-smart-accept", FRONT, |draft, args, _| {
        args.end()?;
        draft.front.smart_accept = (!args.restores_default()).then(|| switched_on(args));
        Ok(())
    }),
    invertible("option tcp-smart-connect", BACK, |draft, args, _| {
        args.end()?;
        draft.back.smart_connect = switched_on(args);
        Ok(())
    }),
    implemented("source", BACK, source),
    implemented("srvtcpka-cnt", BACK, |draft, args, _| {
        draft.back.server_keepalive.count = Some(next_number(args, 0..=i32::MAX as u64)?);
        args.end()
    }),
    implemented("srvtcpka-idle", BACK, |draft, args, _| {
        seconds(args, &mut draft.back.server_keepalive.idle)
    }),
    implemented("srvtcpka-intvl", BACK, |draft, args, _| {
        seconds(args, &mut draft.back.server_keepalive.interval)
    }),
    refused("usesrc", BACK, TRANSPARENT, TRANSPARENT_INSTEAD),
];

fn seconds(args: &mut Args<'_>, field: &mut Option<std::time::Duration>) -> Result<(), Diagnostic> {
    *field = limit(next_duration(args, Unit::Seconds)?);
    args.end()
}

/// The keep-alive in force, where its option is on.
pub(crate) fn keepalive(on: bool, parameters: KeepAlive) -> Option<KeepAlive> {
    on.then_some(parameters)
}

fn source(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let place = args.peek().map_or(args.missing_place(), |word| word.span);
    let source = read_source(args, scope)?;
    if source.ports.is_some_and(|(first, last)| first != last) {
        let message = "'source' : a port range is not permitted here";
        return Err(Diagnostic::alert(place, message).help("write it on each 'server' line"));
    }
    draft.back.source = Some(source);
    match args.peek() {
        None => Ok(()),
        Some(word) => Err(Diagnostic::alert(
            word.span,
            "'source' only supports optional keywords 'interface' and 'usesrc'",
        )),
    }
}

pub(crate) fn server_source(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.outgoing.source = Some(read_source(args, scope)?);
    Ok(())
}

fn read_source(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<Source, Diagnostic> {
    let word = args.required("<addr>[:<port>], and optionally 'interface' <name>")?;
    let text = address::expand(&word.text, scope.environment);
    let wrong = |what: &str| {
        let message = format!("'source {text}' : {what}");
        Err(Diagnostic::alert(word.span, message).label("expected an IP address of this machine"))
    };
    let Address::Inet { host, port } = address::parse(&text, word, "source", Transport::Stream)?
    else {
        return wrong("connections to servers do not come from sockets with names");
    };
    let ip = match host {
        Host::Any => None,
        Host::Ip(ip) => (!ip.is_unspecified()).then_some(ip),
        Host::Name(_) => return wrong("a host name is not permitted here"),
    };
    let ports = match port {
        Port::None | Port::One(0) => None,
        Port::One(port) => Some((port, port)),
        Port::Range(first, last) => Some((first, last)),
        Port::Offset(_) => return wrong("port offset not permitted here"),
    };
    let mut source = Source {
        ip,
        ports,
        interface: None,
    };
    while let Some(word) = args.peek() {
        match word.text.as_str() {
            "interface" => {
                args.next();
                let name = args.required("the name of a network interface after 'interface'")?;
                source.interface = Some(name.text.as_str().into());
            }
            "usesrc" => {
                args.next();
                args.next();
                let message = format!("'source … usesrc' is refused: {TRANSPARENT}");
                return Err(Diagnostic::alert(word.span, message).help(TRANSPARENT_INSTEAD));
            }
            _ => break,
        }
    }
    Ok(source)
}

/// Sets what a `send-proxy…` word stands for, or takes it back.
pub(crate) fn send_proxy(
    draft: &mut ServerDraft,
    set: fn(&mut SendProxy, bool),
    on: bool,
) -> Result<(), Diagnostic> {
    set(&mut draft.server.outgoing.send_proxy, on);
    Ok(())
}

pub(crate) fn v2(send: &mut SendProxy, on: bool) {
    send.v2 = on;
}

pub(crate) fn v2_ssl(send: &mut SendProxy, on: bool) {
    send.v2 = on;
    send.ssl = on;
}

pub(crate) fn v2_ssl_cn(send: &mut SendProxy, on: bool) {
    v2_ssl(send, on);
    send.cert_cn = on;
}

const V2_OPTIONS: [&str; 8] = [
    "ssl",
    "cert-cn",
    "ssl-cipher",
    "cert-sig",
    "cert-key",
    "authority",
    "crc32c",
    "unique-id",
];

pub(crate) fn v2_options(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("a list of options such as ssl,unique-id")?;
    let send = &mut draft.server.outgoing.send_proxy;
    for option in word.text.split(',') {
        match option {
            "ssl" => send.ssl = true,
            "cert-cn" => {
                send.ssl = true;
                send.cert_cn = true;
            }
            "ssl-cipher" => {
                send.ssl = true;
                send.ssl_cipher = true;
            }
            "authority" => send.authority = true,
            "crc32c" => send.crc32c = true,
            "unique-id" => send.unique_id = true,
            "cert-sig" => {
                send.ssl = true;
                send.cert_sig = true;
            }
            "cert-key" => {
                send.ssl = true;
                send.cert_key = true;
            }
            other => {
                let message = format!("'{other}' : proxy v2 option not implemented");
                let alert = Diagnostic::alert(word.span, message);
                return Err(match did_you_mean(other, V2_OPTIONS.iter().copied()) {
                    Some(hint) => alert.help(hint),
                    None => alert.label(format!("expected {}", crate::values::list(&V2_OPTIONS))),
                });
            }
        }
    }
    Ok(())
}

/// Types of values that a server may be told of one's own, at most: each is up to a kilobyte in front of every
/// connection.
const VALUES_MAX: usize = 32;

/// `set-proxy-v2-tlv-fmt(TYPE) FORMAT`.
pub(crate) fn proxy_value(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let name = args.last();
    let place = name.map_or(args.missing_place(), |word| word.span);
    let kind = name.and_then(|word| word.text.split_once('(')?.1.strip_suffix(')'));
    let kind = kind.and_then(
        |text| match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
            Some(digits) => u8::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
    );
    let Some(kind) = kind else {
        let message = "'set-proxy-v2-tlv-fmt' expects a type from 0 to 255 in parentheses";
        return Err(Diagnostic::alert(place, message).label("such as set-proxy-v2-tlv-fmt(0xE1)"));
    };
    // A type without a format is sent empty, as in HAProxy.
    let value = match args.peek() {
        Some(word) if !is_parameter(&word.text) => {
            let word = args.required("a format")?;
            expr::format::parse(word, &scope.expressions(Stage::Request))?
        }
        _ => expr::Format::default(),
    };
    let values = &mut draft.server.proxy_values;
    values.retain(|known| known.kind != kind);
    if values.len() == VALUES_MAX {
        let message = format!("no more than {VALUES_MAX} types of values can be sent");
        return Err(Diagnostic::alert(place, message));
    }
    values.push(ProxyValue { kind, value });
    Ok(())
}

fn is_parameter(text: &str) -> bool {
    let name = text.split('(').next();
    super::server::PARAMETERS
        .iter()
        .any(|it| Some(it.name) == name)
}

pub(crate) fn user_timeout(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.outgoing.user_timeout = limit(next_duration(args, Unit::Milliseconds)?);
    Ok(())
}

/// With `tfo` a connection only fails once the request is on its way: that is retried where
/// `retry-on` says so.
pub(crate) fn check_fast_open(draft: &Draft, server: &ServerDraft) -> Option<Diagnostic> {
    let retried = &draft.back.retry_on;
    let covered = retried.no_connection && retried.empty && retried.timeout;
    (server.server.outgoing.fast_open && !covered).then(|| {
        let message = format!(
            "server '{}/{}' has 'tfo', and requests whose connection fails are not sent again",
            draft.proxy.name, server.server.name
        );
        Diagnostic::warning(server.server.span, message)
            .help("write 'retry-on conn-failure empty-response response-timeout'")
    })
}
