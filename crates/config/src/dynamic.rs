//! A server that is added while the program runs (management.txt 9.3, "add server").

use std::cell::{Cell, RefCell};

use crate::Surroundings;
use crate::args::Args;
use crate::ast::{Line, Modifier};
use crate::diagnostics::{Diagnostic, Severity};
use crate::draft::Draft;
use crate::environment::Environment;
use crate::keywords::{Scope, SectionKind, common, resolvers, server};
use crate::lexer::Word;
use crate::model::{Backend, Config, Server, SetVar, Tracked};
use crate::source::Span;

/// Reads `words`, a name, an address and the parameters of a `server` line. It begins in maintenance,
/// with nothing of the backend's `default-server` unless it says `from`, as HAProxy's does. Fails with one sentence.
pub fn dynamic_server(
    config: &Config,
    backend: &Backend,
    words: &[String],
    surroundings: &dyn Surroundings,
) -> Result<Server, String> {
    let mut draft = Draft::new(
        SectionKind::Backend,
        backend.proxy.name.clone(),
        Span::default(),
    );
    draft.proxy.mode = backend.proxy.mode;
    let (read, mut report) = read(config, words, surroundings, |args, scope| {
        server::server(&mut draft, args, scope)
    });
    report.extend(read.err());
    let Some(draft) = draft.back.servers.pop() else {
        return Err(first(&report).unwrap_or_default());
    };
    let mut made = crate::resolve::server(&draft, &mut report);
    if let Some(why) = first(&report) {
        return Err(why);
    }
    if let Some(named) = &draft.resolvers {
        let mut report = Vec::new();
        made.lookup.resolvers = resolvers::find(&config.resolvers, named, &mut report);
        if let Some(why) = first(&report) {
            return Err(why);
        }
    }
    // Its checks take neither TLS nor PROXY headers from its traffic: they have what is said of them, as
    // HAProxy's have.
    for check in std::iter::once(&mut made.check_parameters).chain(made.check.as_mut()) {
        check.tls = draft.check_tls;
        check.send_proxy = draft.check_send_proxy;
    }
    if let Some(leader) = &draft.track {
        made.track = Some(leader_of(config, backend, leader)?);
    }
    let outer = &backend.default_server.outgoing;
    made.outgoing.keepalive.clone_from(&outer.keepalive);
    made.outgoing.no_linger = outer.no_linger;
    made.outgoing.smart_connect = outer.smart_connect;
    if made.outgoing.source.is_none() {
        made.outgoing.source.clone_from(&outer.source);
    }
    made.disabled = true;
    Ok(made)
}

/// The `default-server`s of each backend that servers added while running may begin with, by backend;
/// `None` is the one without a name (management.txt 9.3, "show default-server").
pub fn default_servers(config: &Config) -> impl Iterator<Item = (&str, Option<&str>)> {
    let all = config.origins.iter();
    let said = all.filter_map(|(backend, origins)| Some((backend, origins.as_deref()?)));
    said.flat_map(|(backend, origins)| origins.names().map(move |name| (&**backend, name)))
}

/// Reads `words` as those behind a keyword that came in no file.
fn read<T>(
    config: &Config,
    words: &[String],
    surroundings: &dyn Surroundings,
    parse: impl FnOnce(&mut Args<'_>, &Scope<'_>) -> Result<T, Diagnostic>,
) -> (Result<T, Diagnostic>, Vec<Diagnostic>) {
    let environment = Environment::new(surroundings);
    let report = RefCell::default();
    let line = Line {
        words: words.iter().map(|word| Word::bare(word)).collect(),
        modifier: Modifier::None,
        span: Span::default(),
    };
    let scope = Scope {
        environment: &environment,
        report: &report,
        references: &RefCell::default(),
        tables: &RefCell::default(),
        userlists: &RefCell::default(),
        asked: &Cell::default(),
        lists: &RefCell::default(),
        acls: &RefCell::default(),
        told: &RefCell::default(),
        bases: &config.bases,
        origins: &config.origins,
    };
    let outcome = parse(&mut Args::new(&line, "server", 0), &scope);
    (outcome, report.into_inner())
}

/// `set var proc.NAME SAMPLE`, `… expr SAMPLE` or `… fmt FORMAT`, behind its keyword. Fails with one
/// sentence.
pub fn process_variable(
    config: &Config,
    words: &[String],
    surroundings: &dyn Surroundings,
) -> Result<SetVar, String> {
    let is_format = words.get(1).is_some_and(|word| word == "fmt");
    let is_marked = is_format || words.get(1).is_some_and(|word| word == "expr");
    let words: Vec<String> = match words {
        [name, _, rest @ ..] if is_marked => std::iter::once(name).chain(rest).cloned().collect(),
        words => words.to_vec(),
    };
    let (read, _) = read(config, &words, surroundings, |args, scope| {
        common::of_process(args, scope, is_format)
    });
    read.map_err(|diagnostic| diagnostic.message)
}

fn first(report: &[Diagnostic]) -> Option<String> {
    let alert = report.iter().find(|it| it.severity == Severity::Alert)?;
    Some(alert.message.clone())
}

/// The server of the configuration that is tracked.
fn leader_of(
    config: &Config,
    own: &Backend,
    named: &crate::draft::Named,
) -> Result<Tracked, String> {
    let (backend, server) = named
        .name
        .split_once('/')
        .unwrap_or((&own.proxy.name, &named.name));
    let at = config
        .backends
        .iter()
        .position(|it| *it.proxy.name == *backend);
    let Some(at) = at else {
        return Err(format!(
            "unable to find required proxy '{backend}' for tracking."
        ));
    };
    let found = config.backends[at]
        .servers
        .iter()
        .find(|it| *it.name == *server);
    let Some(found) = found else {
        return Err(format!(
            "unable to find required server '{server}' for tracking."
        ));
    };
    if found.check.is_none() && found.track.is_none() {
        return Err(format!(
            "unable to use {backend}/{server} for tracking as it does not have any check nor agent enabled."
        ));
    }
    Ok(Tracked {
        backend: crate::model::BackendId(at),
        server: found.name.clone(),
    })
}
