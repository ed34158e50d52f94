//! Section `resolvers` (manual 5.3.2), and the parameters of servers that belong to it (5.2).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::own::OwnParse;
use super::{Keyword, Scope, accepted, implemented};
use crate::Surroundings;
use crate::address::{self, Address, Host, Port, Transport};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::{Named, ServerDraft};
use crate::lexer::Word;
use crate::model::{Hold, InitAddress, Nameserver, Resolvers};
use crate::nearest::did_you_mean_among_many;
use crate::source::Span;
use crate::values::{self, Unit, choice, next_duration, next_number};

/// Nameservers of a section: each is asked every time.
const NAMESERVERS_MAX: usize = 16;
/// The port of DNS.
const DNS_PORT: u16 = 53;
/// What every resolver takes by UDP (RFC 6891 section 6.2.5), and what HAProxy announces.
const PAYLOAD_DEFAULT: u16 = 512;
/// Rounds at most: a name that fails must come to an end.
const ROUNDS_MAX: u64 = 1_000;
/// From one resolution to the next at least: a slip of a unit must not flood a nameserver.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A section under way.
pub(crate) struct ResolversDraft {
    section: Resolvers,
}

pub(crate) const KEYWORDS: &[Keyword<OwnParse<ResolversDraft>, ()>] = &[
    implemented("accepted_payload_size", (), |draft, args, _| {
        let least = u64::from(PAYLOAD_DEFAULT);
        draft.section.payload_len_max = next_number(args, least..=65_535)?;
        args.end()
    }),
    implemented("hold nx", (), |draft, args, _| {
        hold(draft, args, |it| &mut it.nx)
    }),
    implemented("hold obsolete", (), |draft, args, _| {
        hold(draft, args, |it| &mut it.obsolete)
    }),
    implemented("hold other", (), |draft, args, _| {
        hold(draft, args, |it| &mut it.other)
    }),
    implemented("hold refused", (), |draft, args, _| {
        hold(draft, args, |it| &mut it.refused)
    }),
    implemented("hold timeout", (), |draft, args, _| {
        hold(draft, args, |it| &mut it.timeout)
    }),
    accepted(
        "hold valid",
        (),
        "it is for names that rules resolve, and changes nothing for servers",
    ),
    implemented("nameserver", (), nameserver),
    implemented("parse-resolv-conf", (), parse_resolv_conf),
    implemented("resolve_retries", (), |draft, args, _| {
        draft.section.rounds = next_number(args, 1..=ROUNDS_MAX)?;
        args.end()
    }),
    implemented("timeout resolve", (), |draft, args, _| {
        draft.section.interval = time(args)?;
        Ok(())
    }),
    implemented("timeout retry", (), |draft, args, _| {
        draft.section.patience = time(args)?;
        Ok(())
    }),
];

impl ResolversDraft {
    pub(crate) fn named(name: Arc<str>) -> Self {
        Self {
            section: Resolvers {
                name,
                nameservers: Vec::new(),
                payload_len_max: PAYLOAD_DEFAULT,
                rounds: 3,
                interval: Duration::from_secs(1),
                patience: Duration::from_secs(1),
                hold: Hold::default(),
            },
        }
    }

    /// The section, once its lines are read.
    pub(crate) fn settle(self, span: Span, report: &mut Vec<Diagnostic>) -> Resolvers {
        if self.section.nameservers.is_empty() {
            let message = format!("resolvers '{}' has no nameserver", self.section.name);
            let warning = Diagnostic::warning(span, message);
            report.push(warning.help("add 'nameserver NAME ADDRESS:53' or 'parse-resolv-conf'"));
        }
        self.section
    }

    fn add(&mut self, new: Nameserver, place: Span) -> Result<(), Diagnostic> {
        if self.section.nameservers.len() == NAMESERVERS_MAX {
            let message = format!("more than {NAMESERVERS_MAX} nameservers");
            return Err(Diagnostic::alert(place, message));
        }
        self.section.nameservers.push(new);
        Ok(())
    }
}

fn hold(
    draft: &mut ResolversDraft,
    args: &mut Args<'_>,
    field: fn(&mut Hold) -> &mut Duration,
) -> Result<(), Diagnostic> {
    *field(&mut draft.section.hold) = next_duration(args, Unit::Milliseconds)?;
    args.end()
}

fn time(args: &mut Args<'_>) -> Result<Duration, Diagnostic> {
    let time = next_duration(args, Unit::Milliseconds)?;
    args.end()?;
    Ok(time.max(INTERVAL_MIN))
}

/// `nameserver NAME ADDRESS[:PORT]`; by UDP unless the address says `tcp@`.
fn nameserver(
    draft: &mut ResolversDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let name = values::name(args.required("<name> and <addr>[:<port>]")?, "nameserver")?;
    let word = args.required("<name> and <addr>[:<port>]")?;
    args.end()?;
    let known = draft.section.nameservers.iter().any(|it| it.name == name);
    if known {
        let message = format!("another nameserver named '{name}' was already defined");
        return Err(Diagnostic::alert(args.place(), message));
    }
    let text = address::expand(&word.text, scope.environment);
    let tcp = ["tcp", "stream+"].iter().any(|it| text.starts_with(it));
    let transport = match tcp {
        true => Transport::Stream,
        false => Transport::Datagram,
    };
    let address = address::parse(&text, word, "nameserver", transport)?;
    let Address::Inet {
        host: Host::Ip(ip),
        port: port @ (Port::None | Port::One(_)),
    } = address
    else {
        let message = format!("'nameserver' : '{text}' is no address of a nameserver");
        let alert = Diagnostic::alert(word.span, message);
        return Err(alert.label("expected an IPv4 or IPv6 address and a port"));
    };
    let port = match port {
        Port::One(port) => port,
        _ => DNS_PORT,
    };
    let address = SocketAddr::new(ip, port);
    draft.add(Nameserver { name, address, tcp }, word.span)
}

/// `parse-resolv-conf`: the system's nameservers, as they are when the file is read.
fn parse_resolv_conf(
    draft: &mut ResolversDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    args.end()?;
    let place = args.place();
    let text = scope
        .environment
        .read(RESOLV_CONF)
        .map_err(|why| Diagnostic::alert(place, format!("failed to open {RESOLV_CONF}: {why}")))?;
    for address in system_nameservers(&text) {
        // Named like HAProxy's: by its address.
        let name: Arc<str> = address.ip().to_string().into();
        if draft.section.nameservers.iter().any(|it| it.name == name) {
            continue;
        }
        let tcp = false;
        draft.add(Nameserver { name, address, tcp }, place)?;
    }
    Ok(())
}

fn system_nameservers(text: &str) -> impl Iterator<Item = SocketAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = words
            .next()
            .filter(|it| *it == "nameserver")
            .and(words.next())?;
        // A link-local one has the link behind its address, which is nothing to connect to.
        let ip: IpAddr = address.parse().ok()?;
        Some(SocketAddr::new(ip, DNS_PORT))
    })
}

/// The section that a server names.
pub(crate) fn find(
    sections: &[Arc<Resolvers>],
    named: &Named,
    report: &mut Vec<Diagnostic>,
) -> Option<Arc<Resolvers>> {
    let found = sections.iter().find(|it| it.name == named.name).cloned();
    if found.is_none() {
        let message = format!("unable to find required resolvers '{}'", named.name);
        let alert = Diagnostic::alert(named.span, message);
        let names = sections.iter().map(|it| &*it.name);
        let hint = did_you_mean_among_many(&named.name, names, report);
        report.push(match hint {
            Some(hint) => alert.help(hint),
            None => alert,
        });
    }
    found
}

/// `resolvers NAME` of a server.
pub(crate) fn of_server(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("the name of a 'resolvers' section")?;
    draft.resolvers = Some(Named {
        name: word.text.as_str().into(),
        span: word.span,
    });
    Ok(())
}

/// `resolve-prefer ipv4|ipv6`.
pub(crate) fn prefer(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("ipv4 or ipv6")?;
    let families = [("ipv4", true), ("ipv6", false)];
    draft.server.lookup.prefers_v4 = choice(word, args.keyword, &families)?;
    Ok(())
}

/// `resolve-net NETWORK[,…]`.
pub(crate) fn nets(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("networks such as 10.0.0.0/8")?;
    let mut nets = Vec::new();
    for net in word.text.split(',') {
        let part = Word {
            text: net.into(),
            ..word.clone()
        };
        nets.push(values::network(&part)?);
    }
    draft.server.lookup.nets = nets;
    Ok(())
}

/// `resolve-opts OPTION[,…]`.
pub(crate) fn opts(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("allow-dup-ip, prevent-dup-ip or ignore-weight")?;
    let lookup = &mut draft.server.lookup;
    for option in word.text.split(',') {
        match option {
            "allow-dup-ip" => lookup.shares_address = true,
            "prevent-dup-ip" => lookup.shares_address = false,
            "ignore-weight" => lookup.ignores_weight = true,
            other => {
                let message = format!("'resolve-opts' does not know '{other}'");
                let alert = Diagnostic::alert(word.span, message);
                return Err(alert.label("expected allow-dup-ip, prevent-dup-ip, ignore-weight"));
            }
        }
    }
    Ok(())
}

/// `init-addr METHOD[,…]`: where the first address of a name comes from.
pub(crate) fn init(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("a list of last, libc, none or an address")?;
    let mut methods = Vec::new();
    for method in word.text.split(',') {
        methods.push(match method {
            "last" => InitAddress::Last,
            "libc" => InitAddress::System,
            "none" => InitAddress::None,
            other => InitAddress::Ip(other.parse().map_err(|_| {
                let message = format!("'init-addr' does not know '{other}'");
                let alert = Diagnostic::alert(word.span, message);
                alert.label("expected last, libc, none or an address")
            })?),
        });
    }
    draft.server.lookup.init = methods;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_of_the_system() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<String> = system_nameservers(text).map(|it| it.to_string()).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("", &[]);
        check("nameserver 10.0.0.1\n", &["10.0.0.1:53"]);
        check(
            "# nameserver 1.1.1.1\nsearch a.b\n nameserver\t::1 # here\nnameserver x\nnameserver",
            &["[::1]:53"],
        );
        check(
            "nameserver fe80::1%eth0\nnameserver 10.0.0.2",
            &["10.0.0.2:53"],
        );
    }
}
