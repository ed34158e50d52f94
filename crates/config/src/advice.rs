//! What works as written and will surprise somebody: things seen to go wrong in front of WebSockets and
//! where rules protect something. HAProxy says nothing of these, so none is ever fatal.

use std::collections::BTreeSet;

use crate::diagnostics::Diagnostic;
use crate::expr::{AclEntry, Condition, Fetch, Sample};
use crate::model::{
    Backend, BackendId, Balance, Config, CookieMode, Frontend, HashKey, Mode, Normalizer, Proxy,
    RequestAction, RequestRule, TargetEdit,
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
        let normalized = guarded_paths(&frontend.proxy, Spelling::default(), report);
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

/// What rules have made of a path's other spellings. One that runs under a condition has made nothing of
/// them.
#[derive(Clone, Copy, Default)]
struct Spelling {
    decoded: bool,
    /// These two count once it is decoded: `%2e` is a dot, too.
    no_dots: bool,
    no_parents: bool,
    merged: bool,
}

impl Spelling {
    fn after(mut self, rule: &RequestRule) -> Self {
        let RequestAction::Target(TargetEdit::Normalize(normalizer)) = &rule.action else {
            return self;
        };
        if rule.condition.is_some() {
            return self;
        }
        match normalizer {
            Normalizer::DecodeUnreserved(_) => self.decoded = true,
            Normalizer::StripDot => self.no_dots |= self.decoded,
            Normalizer::StripDotDot(full) => self.no_parents |= self.decoded && *full,
            Normalizer::MergeSlashes => self.merged = true,
            _ => {}
        }
        self
    }

    /// The normalizers that it lacks, in the order they work in.
    fn missing(self) -> Vec<&'static str> {
        let all = [
            (self.decoded, "percent-decode-unreserved"),
            (self.no_dots, "path-strip-dot"),
            (self.no_parents, "path-strip-dotdot full"),
            (self.merged, "path-merge-slashes"),
        ];
        let missing = all.iter().filter(|(done, _)| !done);
        missing.map(|(_, normalizer)| *normalizer).collect()
    }
}

/// A rule that keeps clients from a path can be passed with `//`, `/./` or `%2e` unless the path was
/// brought into one form before. Gives what the rules have made of the path of every request that goes
/// on to a backend: those behind an `allow` may be skipped.
fn guarded_paths(proxy: &Proxy, before: Spelling, report: &mut Vec<Diagnostic>) -> Spelling {
    let mut spelling = before;
    let (mut told, mut allowed, mut handed_on) = (false, false, before);
    for rule in proxy.http_request.iter() {
        let own = rule.span.source == proxy.span.source && rule.span.line > proxy.span.line;
        let wants_path = || rule.condition.as_ref().is_some_and(wants_path);
        if !told && own && keeps_out(&rule.action) && wants_path() {
            let missing = spelling.missing();
            told = !missing.is_empty();
            report.extend(told.then(|| passable(rule, &missing)));
        }
        spelling = spelling.after(rule);
        allowed |= matches!(rule.action, RequestAction::Allow);
        if !allowed {
            handed_on = spelling;
        }
    }
    handed_on
}

fn passable(guard: &RequestRule, missing: &[&str]) -> Diagnostic {
    let lines: Vec<String> = missing
        .iter()
        .map(|normalizer| format!("'http-request normalize-uri {normalizer}'"))
        .collect();
    Diagnostic::advice(
            guard.span,
            "this rule guards a path that other spellings reach too, such as '//' or '/%61'",
        )
        .label(format!(
            "no 'normalize-uri' for every request comes before it with {}",
            missing.join(", ")
        ))
        .help(format!(
            "add above it, in this order: {}; refuse '%2f', '%5c', '\\' and ';' in paths where nodes know them",
            lines.join(", ")
        ))
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
