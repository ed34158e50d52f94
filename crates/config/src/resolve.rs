//! Drafts to the model: names become ids, `log global` becomes targets, parameters become servers;
//! what contradicts itself is told.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::check::Drafts;
use crate::diagnostics::{Diagnostic, Severity};
use crate::draft::{Draft, LogEntry, Named, ServerDraft, StateFrom};
use crate::environment::Environment;
use crate::expr::{Asked, Reference, Referred, Variable};
use crate::formats::Formats;
use crate::keywords::check_draft::CheckDraft;
use crate::keywords::outgoing::{check_fast_open, keepalive};
use crate::keywords::own::RegistryDraft;
use crate::keywords::{SectionKind, capture, server_agent, server_load, stick, tls, userlist};
use crate::keywords::{proxy, resolvers};
use crate::model::sequence::Sequence;
use crate::model::{
    Backend, BackendId, Balance, Balancing, CheckAddress, Config, Discovery, Frontend, Global,
    LogFormat, LogTarget, Logging, MappedHost, MappedPort, Mode, Proxy, Registry, RuleList, Server,
    ServerAddress, ServerName, ServerTls, StateFile, TableId, Target, UseBackend, Userlist,
};
use crate::nearest::did_you_mean_among_many;
use crate::source::Span;
use crate::{advice, references, tracking, warnings};

/// `registry … expire` where none is given: as long as the PHP service waits.
const EXPIRE_DEFAULT: Duration = Duration::from_secs(300);

/// Ties everything together.
pub(crate) fn resolve(
    mut drafts: Drafts,
    environment: &Environment<'_>,
    report: &mut Vec<Diagnostic>,
) -> Config {
    unique_names(&drafts.proxies, report);
    for draft in &mut drafts.proxies {
        warnings::settle(draft, report);
    }
    let names = Names::new(&drafts.proxies);
    references::check(&drafts, &names, report);
    for (number, target) in drafts.global.global.log.iter_mut().enumerate() {
        target.number = number;
    }
    let stick_tables = stick::resolve(&drafts.proxies, &drafts.table_uses, report);
    let formats = Formats::new(environment, report);
    let discovery = drafts.discovery.take().map(|draft| Discovery {
        backend: draft
            .backend
            .as_ref()
            .and_then(|named| names.named(named, "discovery", report)),
        ..draft.discovery
    });
    let registry = drafts
        .registry
        .take()
        .and_then(|draft| registry(draft, report));
    let userlists = userlists(&mut drafts, report);
    let mut config = Config {
        stick_tables,
        userlists,
        lists: std::mem::take(&mut drafts.lists),
        discovery,
        registry,
        runtime: std::mem::take(&mut drafts.runtime),
        resolvers: drafts.resolvers.clone(),
        ..Config::default()
    };
    let healthchecks = Healthchecks::new(&drafts.healthchecks, report);
    for draft in &drafts.proxies {
        if matches!(draft.kind, SectionKind::Frontend | SectionKind::Listen) {
            let global = &drafts.global.global;
            let frontend = frontend(draft, &names, global, &formats, report);
            config.frontends.push(frontend);
        }
        if matches!(draft.kind, SectionKind::Backend | SectionKind::Listen) {
            let backend = backend(draft, &drafts, &healthchecks, &formats, report);
            config.backends.push(backend);
        }
    }
    tracking::resolve(&drafts.proxies, &mut config, report);
    name_servers(&drafts.references, &mut config);
    config.bases = Arc::new(drafts.global.bases);
    config.origins = Arc::new(drafts.origins);
    config.global = drafts.global.global;
    give_userlists(&drafts.proxies, &mut config);
    give_tables(&mut config);
    share_listen_rules(&mut config);
    number_log_targets(&mut config);
    let told = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Alert;
    // What looks missing may stand on a line that could not be read.
    if !report.iter().any(told) {
        warnings::look(&config, environment, report);
        advice::look(&config, report);
    }
    config
}

/// Notes which servers are named where, so that they stay what they are.
fn name_servers(references: &[Reference], config: &mut Config) {
    for backend in &mut config.backends {
        let named = backend
            .use_server
            .iter()
            .filter_map(|rule| match &rule.server {
                ServerName::Is(name) => Some(name.clone()),
                ServerName::Computed(_) => None,
            });
        backend.named_servers = named.collect();
    }
    for reference in references {
        if let Referred::Server(backend, server) = &reference.named {
            let mut backends = config.backends.iter_mut();
            if let Some(found) = backends.find(|it| it.proxy.name == *backend) {
                found.named_servers.insert(server.clone());
            }
        }
    }
}

/// Section `registry`.
fn registry(draft: RegistryDraft, report: &mut Vec<Diagnostic>) -> Option<Registry> {
    let Some(bind) = draft.bind else {
        report.push(
            Diagnostic::alert(draft.span, "section 'registry' has no 'bind'")
                .help("add 'bind 127.0.0.1:8090'"),
        );
        return None;
    };
    Some(Registry {
        bind,
        expire: draft.expire.unwrap_or(EXPIRE_DEFAULT),
    })
}

/// Sections `userlist`; what expressions say of them is checked.
fn userlists(drafts: &mut Drafts, report: &mut Vec<Diagnostic>) -> Vec<Arc<Userlist>> {
    let mut groups = Vec::new();
    let mut lists = Vec::new();
    for draft in drafts.userlists.drain(..) {
        let list = draft.name.clone();
        groups.extend(draft.group_names().map(|group| (list.clone(), group)));
        lists.push(Arc::new(userlist::settle(draft, report)));
    }
    userlist::check_uses(&drafts.auth_uses, &lists, &groups, report);
    lists
}

/// Each proxy gets its own stick table, which has its name.
fn give_tables(config: &mut Config) {
    let names = config.stick_tables.iter().map(|table| table.name.clone());
    let ids: BTreeMap<Arc<str>, u16> = names.zip(0..).collect();
    let fronts = config.frontends.iter_mut().map(|it| &mut it.proxy);
    let backs = config.backends.iter_mut().map(|it| &mut it.proxy);
    for proxy in fronts.chain(backs) {
        proxy.stick_table = ids.get(&proxy.name).copied().map(TableId);
    }
}

/// Each proxy gets the userlists that its own expressions name: for others nothing is ever proven. Frontends
/// and backends stand in the order of their drafts.
fn give_userlists(drafts: &[Draft], config: &mut Config) {
    let lists = &config.userlists;
    let names = lists.iter().map(|list| &*list.name);
    let positions: BTreeMap<&str, usize> = names.zip(0..).collect();
    let fronts = drafts
        .iter()
        .filter(|draft| matches!(draft.kind, SectionKind::Frontend | SectionKind::Listen));
    let backs = drafts
        .iter()
        .filter(|draft| matches!(draft.kind, SectionKind::Backend | SectionKind::Listen));
    let fronts = config
        .frontends
        .iter_mut()
        .map(|it| &mut it.proxy)
        .zip(fronts);
    let backs = config
        .backends
        .iter_mut()
        .map(|it| &mut it.proxy)
        .zip(backs);
    for (proxy, draft) in fronts.chain(backs) {
        let named = draft.auth_lists.iter();
        let named: BTreeSet<usize> = named
            .filter_map(|name| positions.get(&**name).copied())
            .collect();
        proxy.userlists = named.iter().map(|at| lists[*at].clone()).collect();
    }
}

/// Two sections that could answer for the same name.
fn unique_names(proxies: &[Draft], report: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<(&str, bool), &Draft> = BTreeMap::new();
    for draft in proxies.iter().filter(|draft| !draft.proxy.name.is_empty()) {
        let sides = [(true, draft.is_front()), (false, draft.is_back())];
        let mut told = false;
        for (side, has) in sides {
            if !has {
                continue;
            }
            let key = (&*draft.proxy.name, side);
            match seen.get(&key) {
                Some(other) if !told => {
                    told = true;
                    report.push(
                        Diagnostic::alert(
                            draft.proxy.span,
                            format!(
                                "{} has the same name as {} declared on line {}",
                                draft.title(),
                                other.title(),
                                other.proxy.span.line
                            ),
                        )
                        .help("give each section a name of its own"),
                    );
                }
                Some(_) => {}
                None => {
                    seen.insert(key, draft);
                }
            }
        }
    }
}

/// Backends by name.
pub(crate) struct Names {
    ids: BTreeMap<Arc<str>, BackendId>,
    modes: Vec<Mode>,
    /// Those a computed name may lead to: of all frontends in mode tcp, of those in mode http.
    reachable: [OnceCell<Arc<ByName>>; 2],
}

type ByName = BTreeMap<Box<[u8]>, BackendId>;

impl Names {
    fn new(proxies: &[Draft]) -> Self {
        let backends = proxies
            .iter()
            .filter(|draft| matches!(draft.kind, SectionKind::Backend | SectionKind::Listen));
        let mut ids = BTreeMap::new();
        let mut modes = Vec::new();
        for (index, draft) in backends.enumerate() {
            ids.entry(draft.proxy.name.clone())
                .or_insert(BackendId(index));
            modes.push(draft.proxy.mode);
        }
        Self {
            ids,
            modes,
            reachable: Default::default(),
        }
    }

    /// The backends that a computed name may lead to: those that speak the frontend's mode.
    fn reachable(&self, draft: &Draft) -> Arc<ByName> {
        let http = draft.proxy.mode == Mode::Http;
        let made = || {
            let speaks = |id: &BackendId| !http || self.modes.get(id.0) == Some(&Mode::Http);
            let named = self.ids.iter().filter(|(_, id)| speaks(id));
            let named = named.map(|(name, id)| (name.as_bytes().into(), *id));
            Arc::new(named.collect())
        };
        self.reachable[usize::from(http)].get_or_init(made).clone()
    }

    fn named(&self, named: &Named, what: &str, report: &mut Vec<Diagnostic>) -> Option<BackendId> {
        self.backend(&named.name, named.span, what, report)
    }

    pub(crate) fn backend(
        &self,
        name: &str,
        span: Span,
        what: &str,
        report: &mut Vec<Diagnostic>,
    ) -> Option<BackendId> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        let alert = Diagnostic::alert(span, format!("unable to find required {what}: '{name}'"))
            .label("no 'backend' or 'listen' section has this name");
        let names = self.ids.keys().map(|name| &**name);
        let hint = did_you_mean_among_many(name, names, report);
        report.push(match hint {
            Some(hint) => alert.help(hint),
            None => alert,
        });
        None
    }

    /// A backend that a frontend leads to: it must speak the frontend's mode (manual 4, "mode").
    fn target(
        &self,
        named: &Named,
        what: &str,
        draft: &Draft,
        report: &mut Vec<Diagnostic>,
    ) -> Option<BackendId> {
        let id = self.named(named, what, report)?;
        if draft.kind == SectionKind::Listen && named.name == draft.proxy.name {
            let message = format!("loop detected for {what}: '{}'", named.name);
            report.push(
                Diagnostic::alert(named.span, message)
                    .label("this is the section itself, which takes what no rule takes anyway"),
            );
        }
        let mode = self.modes.get(id.0).copied().unwrap_or_default();
        // The other way round a TCP connection is taken for HTTP from there on.
        if mode == Mode::Tcp && draft.proxy.mode == Mode::Http {
            report.push(
                Diagnostic::alert(
                    named.span,
                    format!(
                        "{what} '{}' is in mode tcp, {} in mode http: the modes are incompatible",
                        named.name,
                        draft.title()
                    ),
                )
                .help("write 'mode http' in both, or 'mode tcp'"),
            );
        }
        Some(id)
    }
}

fn frontend(
    draft: &Draft,
    names: &Names,
    global: &Global,
    formats: &Formats,
    report: &mut Vec<Diagnostic>,
) -> Frontend {
    let use_backend = draft
        .front
        .use_backend
        .iter()
        .filter_map(|rule| {
            let target = match &rule.computed {
                Some(format) => Target::Computed(format.clone(), names.reachable(draft)),
                None => Target::Known(names.target(&rule.named, "use_backend", draft, report)?),
            };
            Some(UseBackend {
                target,
                condition: rule.condition.clone(),
            })
        })
        .collect();
    let own = (draft.kind == SectionKind::Listen)
        .then(|| names.ids.get(&draft.proxy.name).copied())
        .flatten();
    let named = draft.front.default_backend.as_ref();
    let default_backend = match named {
        Some(named) => names.target(named, "default_backend", draft, report),
        None => own,
    };
    capture::check_slots(draft, report);
    Frontend {
        // Known when all expressions are.
        asked: Asked::default(),
        proxy: proxy(draft, global, formats, report),
        binds: draft.front.binds.clone(),
        maxconn: draft.front.maxconn,
        backlog: draft.front.backlog,
        session_rate_max: draft.front.session_rate_max,
        client_keepalive: keepalive(draft.front.client_probes, draft.front.client_keepalive),
        no_linger: draft.front.no_linger,
        smart_accept: draft.front.smart_accept,
        socket_stats: draft.front.socket_stats,
        use_backend,
        force_switch: draft.front.force_switch.clone(),
        default_backend,
        captures: draft.front.captures.clone(),
        unique_id: draft.front.unique_id.clone(),
        listen: draft.kind == SectionKind::Listen,
    }
}

fn backend(
    draft: &Draft,
    drafts: &Drafts,
    healthchecks: &Healthchecks,
    formats: &Formats,
    report: &mut Vec<Diagnostic>,
) -> Backend {
    proxy::check_use_server(draft, report);
    // Nodes that are discovered come after all that `global` says.
    let mut unnamed = draft.back.origins.unnamed.clone();
    unnamed.tls_base = drafts.global.bases.server_tls.clone();
    let checks = Arc::new(draft.back.checks.sequence(report));
    let mut servers: Vec<Server> = Vec::new();
    let mut lines: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    for server_draft in &draft.back.servers {
        report.extend(tracking::check_observed(draft, server_draft));
        report.extend(check_fast_open(draft, server_draft));
        let mut server = outgoing(server(server_draft, report), draft);
        if let Some(named) = &server_draft.healthcheck {
            server.checks = healthchecks.find(named, report);
        }
        if let Some(named) = &server_draft.resolvers {
            server.lookup.resolvers = resolvers::find(&drafts.resolvers, named, report);
        }
        check_ports(&server, server.checks.as_ref().unwrap_or(&checks), report);
        if let Some(line) = lines.get(&server.name) {
            report.push(
                Diagnostic::alert(
                    server.span,
                    format!(
                        "{}, another server named '{}' was already defined at line {line}, please use distinct names",
                        draft.title(),
                        server.name
                    ),
                ),
            );
            continue;
        }
        lines.insert(server.name.clone(), server.span.line);
        servers.push(server);
    }
    let mut backend = Backend {
        proxy: proxy(draft, &drafts.global.global, formats, &mut Vec::new()),
        balancing: balancing(draft, report),
        servers,
        state_file: match draft.back.state_from {
            StateFrom::None => StateFile::None,
            StateFrom::Global => StateFile::Global,
            StateFrom::Local => {
                let name = draft.back.state_file_name.as_ref();
                StateFile::Local(name.map_or(&*draft.proxy.name, |name| &**name).into())
            }
        },
        default_server: outgoing(server(&unnamed, &mut Vec::new()), draft),
        default_server_tls: server_tls(&unnamed),
        unique_id: draft.front.unique_id.format.clone(),
        checks,
        retries: draft.back.retries,
        redispatch: draft.back.redispatch,
        retry_on: draft.back.retry_on.clone(),
        http_reuse: draft.back.http_reuse,
        fullconn: draft.back.fullconn,
        stick: draft.stick.rules.clone(),
        use_server: draft.use_server.clone(),
        unpublished: draft.back.unpublished,
        listen: draft.kind == SectionKind::Listen,
        ..Backend::default()
    };
    report.extend(draft.back.persistence.notice(draft.proxy.mode));
    draft.back.persistence.settle(&mut backend);
    backend
}

/// Algorithms that look at a request's head have nothing to look at in `mode tcp`.
fn balancing(draft: &Draft, report: &mut Vec<Diagnostic>) -> Balancing {
    let mut balancing = draft.back.balancing.clone();
    if let Some(span) = draft
        .back
        .balance_by_head
        .filter(|_| draft.proxy.mode == Mode::Tcp)
    {
        let message = format!(
            "'balance {}' has nothing to look at in {} (needs 'mode http'). Falling back to round robin",
            balancing.algorithm.name(),
            draft.title()
        );
        report.push(Diagnostic::warning(span, message));
        balancing.algorithm = Balance::RoundRobin;
    }
    balancing
}

/// Whether it is known where checks of the server go.
fn has_check_port(server: &Server) -> bool {
    let check = &server.check_parameters;
    let unix = matches!(
        server.address,
        ServerAddress::Unix(_) | ServerAddress::Abstract(_)
    );
    match &check.addr {
        Some(CheckAddress::Unix(_) | CheckAddress::Abstract(_)) => true,
        Some(CheckAddress::Ip(_)) if unix => check.port.is_some(),
        _ => {
            let relative = matches!(
                server.address,
                ServerAddress::Mapped(_, MappedPort::Client(_))
            );
            // One that is wherever clients went is checked in vain, which HAProxy lets pass: those who write
            // that mean the state it then has.
            let anywhere = ServerAddress::Mapped(MappedHost::Client, MappedPort::Client(0));
            !relative || check.port.is_some() || server.address == anywhere
        }
    }
}

/// Checks must know where to go.
fn check_ports(server: &Server, checks: &Sequence, report: &mut Vec<Diagnostic>) {
    if server.check.is_none() || checks.has_ports() {
        return;
    }
    if !has_check_port(server) {
        report.push(
            Diagnostic::alert(
                server.span,
                format!(
                    "server '{}' has neither service port nor check port: it cannot be checked",
                    server.name
                ),
            )
            .help("write a port behind the address, or 'check port N'"),
        );
    }
}

/// Sections `healthcheck`, made ready once for all servers that name them.
struct Healthchecks(BTreeMap<Arc<str>, Arc<Sequence>>);

impl Healthchecks {
    fn new(drafts: &BTreeMap<Arc<str>, CheckDraft>, report: &mut Vec<Diagnostic>) -> Self {
        let ready = drafts.iter().map(|(name, draft)| {
            let sequence = draft.sequence(report);
            (name.clone(), Arc::new(sequence))
        });
        Self(ready.collect())
    }

    fn find(&self, named: &Named, report: &mut Vec<Diagnostic>) -> Option<Arc<Sequence>> {
        let found = self.0.get(&named.name).cloned();
        if found.is_none() {
            let message = format!("unable to find healthcheck section '{}'", named.name);
            let alert = Diagnostic::alert(named.span, message);
            let names = self.0.keys().map(|name| &**name);
            report.push(match did_you_mean_among_many(&named.name, names, report) {
                Some(hint) => alert.help(hint),
                None => alert,
            });
        }
        found
    }
}

/// What the backend says of connections to its servers.
fn outgoing(mut server: Server, draft: &Draft) -> Server {
    let back = &draft.back;
    let outgoing = &mut server.outgoing;
    outgoing.keepalive = keepalive(back.server_probes, back.server_keepalive);
    outgoing.no_linger = back.no_linger;
    outgoing.smart_connect = back.smart_connect;
    if outgoing.source.is_none() {
        outgoing.source = back.source.clone();
    }
    server
}

/// What a server says of TLS, with the global defaults for what it leaves out.
fn server_tls(draft: &ServerDraft) -> ServerTls {
    let mut tls_parameters = draft.tls_parameters.clone();
    if !draft.verify_given {
        tls_parameters.verify = !draft.tls_base.verify_none;
    }
    let choice = &mut tls_parameters.choice;
    let base = &draft.tls_base.choice;
    choice.versions.tls12 &= base.versions.tls12;
    choice.versions.tls13 &= base.versions.tls13;
    inherit(&mut choice.ciphers, &base.ciphers);
    inherit(&mut choice.ciphersuites, &base.ciphersuites);
    inherit(&mut choice.curves, &base.curves);
    inherit(&mut choice.sigalgs, &base.sigalgs);
    inherit(&mut choice.client_sigalgs, &base.client_sigalgs);
    tls_parameters.tickets &= !draft.tls_base.no_tickets;
    if tls_parameters.sni.is_none() {
        tls_parameters.sni.clone_from(&draft.sni_auto);
        tls_parameters.sni_is_auto = draft.sni_auto.is_some();
    }
    tls_parameters
}

fn inherit<T: Clone>(own: &mut Option<T>, base: &Option<T>) {
    if own.is_none() {
        own.clone_from(base);
    }
}

/// A server with all parameters in their place.
pub(crate) fn server(draft: &ServerDraft, report: &mut Vec<Diagnostic>) -> Server {
    let mut server = draft.server.clone();
    server_load::settle_limits(&mut server);
    // A label of SRV records: their ports are the server's.
    if draft.resolvers.is_some()
        && let ServerAddress::Mapped(MappedHost::Name(name), MappedPort::Client(0)) =
            &server.address
        && name.starts_with('_')
    {
        server.address = ServerAddress::Name(name.clone(), 0);
    }
    server.tls_parameters = server_tls(draft);
    if draft.tls || (draft.check && draft.check_tls) {
        let choice = &server.tls_parameters.choice;
        if let Err(problem) = tls::any_left(choice, server.span, "server") {
            report.push(problem);
        }
    }
    if draft.tls {
        server.tls = Some(server.tls_parameters.clone());
    }
    server.tls_switchable = draft.tls_said;
    server.no_tls = draft.tls_denied;
    let parameters = &mut server.check_parameters;
    let elsewhere = parameters.port.is_some() || parameters.addr.is_some();
    // Checks go over TLS where traffic does, unless they go elsewhere (manual 5.2, "check").
    parameters.tls = draft.check_tls || (draft.tls && !elsewhere);
    // And so with PROXY headers (manual 5.2, "check-send-proxy").
    let sends_proxy = server.outgoing.send_proxy.version().is_some();
    parameters.send_proxy = draft.check_send_proxy || (sends_proxy && !elsewhere);
    match server_agent::settle(draft) {
        Ok(agent) => server.agent = agent,
        Err(problem) => report.push(problem),
    }
    if !draft.check {
        return server;
    }
    server.check = Some(server.check_parameters.clone());
    server
}

fn proxy(draft: &Draft, global: &Global, formats: &Formats, report: &mut Vec<Diagnostic>) -> Proxy {
    let mut proxy = draft.proxy.clone();
    proxy.http_request.extend(draft.redirects.iter().cloned());
    proxy.log = logging(draft, global, formats, report);
    proxy.stats = draft.stats.page.clone().map(|mut page| {
        // Without a text of their own they show what `global` says.
        let or_global = |own: Option<Arc<str>>, global: &Option<Arc<str>>| match own {
            Some(text) if text.is_empty() => Some(global.clone().unwrap_or(text)),
            own => own,
        };
        page.description = or_global(page.description, &global.description);
        page.node = or_global(page.node, &global.node);
        for name in page.scope.iter_mut().filter(|name| &***name == ".") {
            *name = draft.proxy.name.clone();
        }
        if let (Some(span), false) = (draft.stats.basic, page.http_request.is_empty()) {
            report.push(
                Diagnostic::alert(
                    span,
                    format!(
                        "{}: stats 'auth'/'realm' and 'http-request' can't be used at the same time",
                        draft.title()
                    ),
                )
                .help("write 'stats http-request auth realm …' with a 'userlist'"),
            );
        }
        page
    });
    proxy
}

fn logging(
    draft: &Draft,
    global: &Global,
    formats: &Formats,
    report: &mut Vec<Diagnostic>,
) -> Logging {
    let mut targets = Vec::new();
    for entry in &draft.log.targets {
        match entry {
            LogEntry::Global => targets.extend(global.log.iter().cloned()),
            LogEntry::Target(target) => targets.push(LogTarget {
                number: usize::MAX,
                ..target.clone()
            }),
        }
    }
    let log = &draft.log;
    let format = formats.of(draft, report);
    let custom = match &format {
        LogFormat::Custom(format) => Some(format),
        LogFormat::Default => None,
    };
    let tells_source = custom.into_iter().chain(&log.structured).any(|format| {
        [Variable::bi, Variable::bp]
            .iter()
            .any(|variable| format.has(*variable))
    });
    Logging {
        targets,
        format,
        tells_source,
        error_format: log.error_format.clone(),
        structured: log.structured.clone(),
        dontlognull: log.dontlognull,
        dontlog_normal: log.dontlog_normal,
        separate_errors: log.separate_errors,
        asap: log.asap,
        health_checks: log.health_checks,
        tag: log.tag.clone(),
    }
}

/// Numbers all `log` lines. What a proxy has of `global` keeps its number.
fn number_log_targets(config: &mut Config) {
    let mut next = config.global.log.len();
    let fronts = config.frontends.iter_mut().map(|front| &mut front.proxy);
    let backs = config.backends.iter_mut().map(|back| &mut back.proxy);
    for target in fronts.chain(backs).flat_map(|proxy| &mut proxy.log.targets) {
        if target.number == usize::MAX {
            target.number = next;
            next += 1;
        }
    }
}

/// A `listen` runs its rules once, in its front half (manual 4). The back half keeps them only
/// where another frontend leads to it: its own front half must then skip them.
fn share_listen_rules(config: &mut Config) {
    let mut led_to = vec![false; config.backends.len()];
    for frontend in &config.frontends {
        for id in targets(frontend) {
            let itself = frontend.listen
                && config.backends[id.0].listen
                && config.backends[id.0].proxy.name == frontend.proxy.name;
            led_to[id.0] |= !itself;
        }
    }
    for (backend, led_to) in config.backends.iter_mut().zip(led_to) {
        if backend.listen && !led_to {
            backend.proxy.http_request = RuleList::default();
            backend.proxy.http_response = Vec::new();
            backend.proxy.http_after_response = Vec::new();
            backend.proxy.tcp.request = Vec::new();
        }
    }
}

/// All backends a frontend may lead to.
pub(crate) fn targets(frontend: &Frontend) -> impl Iterator<Item = BackendId> {
    let ruled = frontend.use_backend.iter().flat_map(|it| it.target.all());
    ruled.chain(frontend.default_backend)
}
