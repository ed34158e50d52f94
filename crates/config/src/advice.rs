//! What works as written and will surprise somebody: things seen to go wrong in front of WebSockets and
//! where rules protect something. HAProxy says nothing of these, so none is ever fatal.

use std::collections::BTreeSet;

use crate::diagnostics::Diagnostic;
use crate::expr::{AclEntry, Condition, Fetch, Sample};
use crate::model::{
    Backend, BackendId, Balance, Config, CookieMode, Frontend, HashKey, Mode, Proxy, RequestAction,
    RequestRule, TargetEdit,
};
use crate::resolve::targets;

/// Looks at the whole.
pub(crate) fn look(config: &Config, report: &mut Vec<Diagnostic>) {
    let running = |frontend: &&Frontend| !frontend.proxy.disabled && !frontend.binds.is_empty();
    let frontends: Vec<&Frontend> = config.frontends.iter().filter(running).collect();
    slow_heads(&frontends, report);
    for frontend in frontends.iter().filter(|it| it.proxy.mode == Mode::Http) {
        let led_to: BTreeSet<BackendId> = targets(frontend).collect();
        let backends = led_to.iter().filter_map(|id| config.backends.get(id.0));
        let backends: Vec<&Backend> = backends.collect();
        one_address(frontend, &backends, report);
        one_cookie(&backends, report);
        guarded_paths(&frontend.proxy, false, report);
        let normalized = frontend.proxy.http_request.iter().any(is_normalizing);
        for backend in backends.iter().filter(|it| !it.listen) {
            guarded_paths(&backend.proxy, normalized, report);
        }
    }
}

/// Without `timeout http-request` a head may come a byte at a time for as long as `timeout client` is
/// renewed by each.
fn slow_heads(frontends: &[&Frontend], report: &mut Vec<Diagnostic>) {
    let open = |frontend: &&&Frontend| {
        let proxy = &frontend.proxy;
        proxy.mode == Mode::Http && proxy.timeouts.http_request.is_none()
    };
    let mut without = frontends.iter().filter(open);
    let Some(first) = without.next() else {
        return;
    };
    let others = match without.count() {
        0 => String::new(),
        count => format!(", nor have {count} others"),
    };
    let message = format!(
        "frontend '{}' has no 'timeout http-request'{others}: a slow client holds its place",
        first.proxy.name
    );
    report.push(
        Diagnostic::advice(first.proxy.span, message)
            .label("a request's head may take for ever, a byte at a time")
            .help("add 'timeout http-request 10s' to 'defaults'"),
    );
}

/// `balance source` where the client's address is in a header: all clients of the proxy before us
/// would go to one server.
fn one_address(frontend: &Frontend, backends: &[&Backend], report: &mut Vec<Diagnostic>) {
    const HEADER: &str = "x-forwarded-for";
    let proxied = rules_of(frontend).any(|condition| looks_at_header(condition, HEADER));
    if !proxied {
        return;
    }
    let by_source =
        |backend: &&&Backend| matches!(backend.balancing.algorithm, Balance::Hash(HashKey::Source));
    for backend in backends.iter().filter(by_source) {
        let message = format!(
            "backend '{}' balances by 'source', but frontend '{}' reads clients from X-Forwarded-For",
            backend.proxy.name, frontend.proxy.name
        );
        report.push(
            Diagnostic::advice(backend.proxy.span, message)
                .label("all clients of one proxy go to one server")
                .help("write 'balance hash req.hdr_ip(x-forwarded-for,-1)' here"),
        );
    }
}

fn rules_of(frontend: &Frontend) -> impl Iterator<Item = &Condition> {
    let rules = frontend.proxy.http_request.iter();
    let ways = frontend.use_backend.iter();
    rules
        .filter_map(|rule| rule.condition.as_ref())
        .chain(ways.filter_map(|way| way.condition.as_ref()))
}

fn entries(condition: &Condition) -> impl Iterator<Item = &AclEntry> {
    let terms = condition.any_of.iter().flatten();
    terms.flat_map(|term| &term.acl.entries)
}

fn looks_at_header(condition: &Condition, name: &str) -> bool {
    entries(condition).any(|entry| match &entry.sample.fetch {
        Fetch::Hdr(named) | Fetch::Fhdr(named) | Fetch::HdrIp(named) => &*named.name == name,
        _ => false,
    })
}

/// Two backends behind one frontend that set one cookie to names the other does not know: each takes
/// clients off the other's servers.
fn one_cookie(backends: &[&Backend], report: &mut Vec<Diagnostic>) {
    let setting: Vec<&Backend> = backends
        .iter()
        .copied()
        .filter(|it| {
            it.cookie
                .as_ref()
                .is_some_and(|cookie| cookie.mode == CookieMode::Insert)
        })
        .collect();
    for (at, one) in setting.iter().enumerate() {
        let same = |other: &&&Backend| {
            let name = |it: &Backend| it.cookie.as_ref().map(|cookie| cookie.name.clone());
            name(one) == name(other) && values(one) != values(other)
        };
        let Some(other) = setting[..at].iter().find(same) else {
            continue;
        };
        let name = one.cookie.as_ref().map_or("", |cookie| &*cookie.name);
        let message = format!(
            "backends '{}' and '{}' both set the cookie '{name}'",
            other.proxy.name, one.proxy.name
        );
        report.push(
            Diagnostic::advice(one.proxy.span, message)
                .label("a client that uses both loses its server in each")
                .help(format!(
                    "give each a name of its own, as in 'cookie {name}-{}'",
                    one.proxy.name
                )),
        );
    }
}

fn values(backend: &Backend) -> BTreeSet<&str> {
    let servers = backend.servers.iter();
    servers
        .filter_map(|server| server.cookie.as_deref())
        .collect()
}

/// A rule that keeps clients from a path can be passed with `//`, `/./` or `%2e` unless the path was
/// brought into one form before.
fn guarded_paths(proxy: &Proxy, normalized: bool, report: &mut Vec<Diagnostic>) {
    if normalized {
        return;
    }
    let rules = proxy.http_request.iter();
    let mut before = rules.take_while(|rule| !is_normalizing(rule));
    let guard = before.find(|rule| {
        let own = rule.span.source == proxy.span.source && rule.span.line > proxy.span.line;
        own && keeps_out(&rule.action) && rule.condition.as_ref().is_some_and(wants_path)
    });
    let Some(guard) = guard else {
        return;
    };
    report.push(
        Diagnostic::advice(
            guard.span,
            "this rule guards a path that other spellings reach too, such as '//' or '/%61'",
        )
        .label("no 'normalize-uri' comes before it")
        .help(
            "add above it: http-request normalize-uri percent-decode-unreserved, then the same with \
             path-strip-dot, path-strip-dotdot and path-merge-slashes",
        ),
    );
}

fn is_normalizing(rule: &RequestRule) -> bool {
    matches!(
        &rule.action,
        RequestAction::Target(TargetEdit::Normalize(_))
    )
}

fn keeps_out(action: &RequestAction) -> bool {
    matches!(
        action,
        RequestAction::Deny(_)
            | RequestAction::Tarpit(_)
            | RequestAction::Auth(_)
            | RequestAction::Reject
            | RequestAction::SilentDrop
    )
}

/// Whether it holds because the path is one of some: what must not match is a list of what is open.
fn wants_path(condition: &Condition) -> bool {
    let terms = condition.any_of.iter().flatten();
    let wanted = terms.filter(|term| term.negated == condition.unless);
    let mut entries = wanted.flat_map(|term| &term.acl.entries);
    entries.any(|entry| is_path(&entry.sample))
}

fn is_path(sample: &Sample) -> bool {
    matches!(
        sample.fetch,
        Fetch::Path | Fetch::PathQ | Fetch::Url | Fetch::Base | Fetch::BaseQ
    )
}
