//! Section `global` (manual 3).

use super::server_health::choice;
use super::stick;
use super::{
    Bases, Keyword, Scope, Status, accepted, accepted_either_way, common, implemented, invertible,
    log, not_in_force, not_yet, refused, sockets, translated, verdict,
};
use crate::Surroundings as _;
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::expr::COUNTERS_MAX;
use crate::lexer::Word;
use crate::model::{Account, Global, MultiQueue};
use crate::values::{Unit, limit, next_duration, next_number, size};

/// Section `global` under way.
pub(crate) struct GlobalDraft {
    pub(crate) global: Global,
    pub(crate) bases: Bases,
    /// `zero-warning`.
    pub(crate) zero_warning: bool,
}

type Parse = fn(&mut GlobalDraft, &mut Args<'_>, &Scope<'_>) -> Result<(), Diagnostic>;
pub(crate) type Entry = Keyword<Parse, ()>;

const INT: u64 = i32::MAX as u64;

pub(crate) const KEYWORDS: &[Entry] = &[
    implemented("ca-base", (), |draft, args, _| {
        draft.bases.ca = Some(args.required("a folder")?.text.as_str().into());
        args.end()
    }),
    implemented("chroot", (), |draft, args, _| {
        draft.global.chroot = Some(args.required("a folder")?.text.as_str().into());
        args.end()
    }),
    implemented("crt-base", (), |draft, args, _| {
        draft.bases.crt = Some(args.required("a folder")?.text.as_str().into());
        args.end()
    }),
    implemented("daemon", (), |draft, args, _| {
        draft.global.daemon = true;
        args.end()
    }),
    implemented("description", (), |draft, args, _| {
        let words: Vec<&str> = args.rest().iter().map(|word| word.text.as_str()).collect();
        draft.global.description = Some(words.join(" ").into());
        Ok(())
    }),
    implemented("gid", (), |draft, args, _| {
        draft.global.group = Some(Account::Id(next_number(args, 0..=u64::from(u32::MAX))?));
        args.end()
    }),
    implemented("group", (), |draft, args, scope| {
        let name = args.required("the name of a group")?;
        if scope.environment.group_id(&name.text).is_none() {
            return Err(no_account(name, "group"));
        }
        draft.global.group = Some(Account::Name(name.text.as_str().into()));
        args.end()
    }),
    implemented("hard-stop-after", (), |draft, args, _| {
        draft.global.hard_stop_after = limit(next_duration(args, Unit::Milliseconds)?);
        args.end()
    }),
    invertible("log", (), |draft, args, scope| {
        if args.negated() || args.restores_default() {
            draft.global.log.clear();
            return args.end();
        }
        let target = log::target(args, scope)?;
        draft.global.log.push(target);
        Ok(())
    }),
    implemented("key-base", (), |draft, args, _| {
        draft.bases.key = Some(args.required("a folder")?.text.as_str().into());
        args.end()
    }),
    implemented("log-send-hostname", (), |draft, args, _| {
        draft.global.log_send_hostname = Some(args.next().map(|word| word.text.as_str().into()));
        args.end()
    }),
    implemented("log-tag", (), |draft, args, _| {
        draft.global.log_tag = Some(args.required("a tag")?.text.as_str().into());
        args.end()
    }),
    implemented("maxconn", (), |draft, args, _| {
        let value = next_number(args, 0..=INT)?;
        draft.global.maxconn = (value > 0).then_some(value);
        args.end()
    }),
    implemented("maxconnrate", (), |draft, args, _| {
        draft.global.maxconnrate = positive(args)?;
        args.end()
    }),
    implemented("maxsessrate", (), |draft, args, _| {
        draft.global.maxsessrate = positive(args)?;
        args.end()
    }),
    implemented("maxsslconn", (), |draft, args, _| {
        draft.global.maxsslconn = positive(args)?;
        args.end()
    }),
    implemented("maxsslrate", (), |draft, args, _| {
        draft.global.maxsslrate = positive(args)?;
        args.end()
    }),
    implemented("nbthread", (), nbthread),
    implemented("node", (), |draft, args, _| {
        draft.global.node = Some(args.required("a name")?.text.as_str().into());
        args.end()
    }),
    implemented("server-state-base", (), |draft, args, _| {
        let word = args.required("the path of a folder")?;
        draft.global.server_state_base = Some(word.text.as_str().into());
        args.end()
    }),
    implemented("server-state-file", (), |draft, args, _| {
        let word = args.required("the path of a file")?;
        draft.global.server_state_file = Some(word.text.as_str().into());
        args.end()
    }),
    implemented("pidfile", (), |draft, args, _| {
        draft.global.pidfile = Some(args.required("the path of a file")?.text.as_str().into());
        args.end()
    }),
    // These four have acted already, while the lines were read; see `parser`.
    implemented("presetenv", (), set_environment),
    implemented("resetenv", (), |_, args, _| {
        args.rest();
        Ok(())
    }),
    implemented("setenv", (), set_environment),
    implemented("unsetenv", (), |_, args, _| {
        args.required("the names of variables")?;
        args.rest();
        Ok(())
    }),
    implemented("spread-checks", (), |draft, args, _| {
        draft.global.spread_checks = next_number(args, 0..=50)?;
        args.end()
    }),
    implemented("tune.bufsize", (), |draft, args, _| {
        let word = args.required("a number of bytes")?;
        draft.global.tune.bufsize = size(word, args.keyword, BUFSIZE)? as usize;
        draft.bases.bufsize = Some(draft.global.tune.bufsize);
        args.end()
    }),
    implemented("set-var", (), |draft, args, scope| {
        draft
            .global
            .variables
            .push(common::of_process(args, scope, false)?);
        args.end()
    }),
    implemented("set-var-fmt", (), |draft, args, scope| {
        draft
            .global
            .variables
            .push(common::of_process(args, scope, true)?);
        args.end()
    }),
    implemented("tune.vars.global-max-size", (), |draft, args, _| {
        let max = variables_max(args)?;
        let limit = &mut draft.global.tune.vars.process;
        *limit = Some(limit.map_or(max, |other| other.min(max)));
        args.end()
    }),
    implemented("tune.vars.proc-max-size", (), |draft, args, _| {
        let max = variables_max(args)?;
        let limit = &mut draft.global.tune.vars.process;
        *limit = Some(limit.map_or(max, |other| other.min(max)));
        args.end()
    }),
    implemented("tune.vars.reqres-max-size", (), |draft, args, _| {
        draft.global.tune.vars.reqres = Some(variables_max(args)?);
        args.end()
    }),
    implemented("tune.vars.sess-max-size", (), |draft, args, _| {
        draft.global.tune.vars.sess = Some(variables_max(args)?);
        args.end()
    }),
    implemented("tune.vars.txn-max-size", (), |draft, args, _| {
        draft.global.tune.vars.txn = Some(variables_max(args)?);
        args.end()
    }),
    implemented("http-err-codes", (), |draft, args, _| {
        stick::statuses(&mut draft.global.blamed_statuses.errors, args)
    }),
    implemented("http-fail-codes", (), |draft, args, _| {
        stick::statuses(&mut draft.global.blamed_statuses.failures, args)
    }),
    implemented("tune.http.maxhdr", (), |draft, args, _| {
        draft.global.tune.http_maxhdr = next_number(args, 1..=32_767)?;
        args.end()
    }),
    implemented(
        "harden.reject-privileged-ports.tcp",
        (),
        |draft, args, _| {
            draft.global.refuses_privileged_ports = choice(args, &[("on", true), ("off", false)])?;
            args.end()
        },
    ),
    implemented("tune.idle-pool.shared", (), |draft, args, _| {
        let modes = [("on", true), ("auto", true), ("full", true), ("off", false)];
        draft.global.tune.idle_pool_shared = choice(args, &modes)?;
        args.end()
    }),
    implemented("tune.listener.multi-queue", (), |draft, args, _| {
        let modes = [
            ("on", MultiQueue::On),
            ("fair", MultiQueue::Fair),
            ("off", MultiQueue::Off),
        ];
        draft.global.tune.multi_queue = choice(args, &modes)?;
        args.end()
    }),
    implemented("tune.maxrewrite", (), |draft, args, _| {
        let word = args.required("a number of bytes")?;
        draft.global.tune.maxrewrite = size(word, args.keyword, 0..=BUFSIZE_MAX)? as usize;
        args.end()
    }),
    implemented("tune.stick-counters", (), |draft, args, _| {
        let counters = next_number(args, 0..=u64::from(COUNTERS_MAX))?;
        draft.bases.stick_counters = Some(counters);
        draft.global.tune.stick_counters = counters;
        args.end()
    }),
    implemented("uid", (), |draft, args, _| {
        draft.global.user = Some(Account::Id(next_number(args, 0..=u64::from(u32::MAX))?));
        args.end()
    }),
    implemented("ulimit-n", (), |draft, args, _| {
        draft.global.ulimit_n = Some(next_number(args, 0..=INT)?);
        args.end()
    }),
    implemented("unix-bind", (), |draft, args, scope| {
        sockets::unix_bind(&mut draft.bases.unix, args, scope)
    }),
    implemented("user", (), |draft, args, scope| {
        let name = args.required("the name of a user")?;
        if scope.environment.user_id(&name.text).is_none() {
            return Err(no_account(name, "user"));
        }
        draft.global.user = Some(Account::Name(name.text.as_str().into()));
        args.end()
    }),
    implemented("zero-warning", (), |draft, args, _| {
        draft.zero_warning = true;
        args.end()
    }),
    translated(
        "nbproc",
        (),
        "'nbthread': there is one process",
        one_process,
    ),
    translated("bind-process", (), ONE_PROCESS, one_process),
    translated("stats bind-process", (), ONE_PROCESS, one_process),
];

fn variables_max(args: &mut Args<'_>) -> Result<usize, Diagnostic> {
    let word = args.required("a size in bytes")?;
    Ok(size(word, args.keyword, 0..=i32::MAX as u64)? as usize)
}

const ONE_PROCESS: &str = "nothing: there is one process";

/// What divided work among processes has no effect: threads share all of it.
fn one_process(
    _: &mut GlobalDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    args.rest();
    let message = format!(
        "the '{}' directive is not supported anymore by HAProxy",
        args.keyword
    );
    let told = Diagnostic::warning(args.place(), message).label("it is left out");
    scope.report(
        told.help("remove the line: one process uses all processors, or 'nbthread' of them"),
    );
    Ok(())
}

/// Bounds of `tune.bufsize`: a head must have room, and each connection under way may hold one.
const BUFSIZE: std::ops::RangeInclusive<u64> = 1_024..=BUFSIZE_MAX;
const BUFSIZE_MAX: u64 = 16 << 20;
/// `nbthread`: more workers than HAProxy has bits for make no sense either.
const THREADS_MAX: u64 = 1_024;

/// An account that must exist on this machine, whoever runs this.
fn no_account(name: &Word, what: &str) -> Diagnostic {
    let message = format!("cannot find {what} id for '{}'", name.text);
    Diagnostic::alert(name.span, message)
        .label(format!("this machine has no such {what}"))
        .help(format!(
            "make the {what}, or write '{}id' and a number",
            &what[..1]
        ))
}

/// A number, where 0 is no limit.
fn positive(args: &mut Args<'_>) -> Result<Option<u32>, Diagnostic> {
    let value = next_number(args, 0..=INT)?;
    Ok((value > 0).then_some(value))
}

fn nbthread(draft: &mut GlobalDraft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    draft.global.nbthread = Some(next_number(args, 1..=THREADS_MAX)?);
    args.end()
}

fn set_environment(
    _: &mut GlobalDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("a name and a value")?;
    if word.text.contains('=') {
        return Err(Diagnostic::alert(
            word.span,
            format!("'{}' : a name must not contain '='", args.keyword),
        ));
    }
    args.required_text("a value after the name")?;
    match args.peek() {
        None => Ok(()),
        // Not quoted in the message: it may be the rest of a secret.
        Some(more) => Err(Diagnostic::alert(
            more.span,
            format!("'{}' expects one name and one value", args.keyword),
        )
        .help("quote the value when it has spaces")),
    }
}

const THREADS: &str = "the kernel places the workers";
const POLL: &str = "the runtime chooses how it waits";
const NO_DHE: &str = "finite-field key exchange is not offered, only that of elliptic curves";
const NO_QUIC: &str = "HTTP/3 is not served";
const NO_HTTP2: &str = "HTTP/2 is not served yet";
pub(crate) const NO_LUA: &str = "no Lua is run";
pub(crate) const NO_LUA_INSTEAD: &str = "rules, maps, variables and stick tables do most of what scripts did; for the rest put a service behind";
const NO_ZLIB: &str = "nothing is compressed";
const MASTER: &str = "there is one process, and changes need no reload";
const MEMORY: &str = "memory is the engine's";
const DEBUG: &str = "it serves HAProxy's own developers";
const CLIENT: &str = "there is no HTTP client inside rules";
const OCSP: &str = super::crt_store::OCSP_FROM_FILES;
const BUFFERS: &str = "the kernel sizes socket buffers";
const CASE: &str = "the options that would use it are refused";
const COUNTERS: &str = "counters begin at zero";
const MODES: &str = "nothing experimental or deprecated hides behind it";

/// Without effect, and nobody would miss it.
pub(crate) const ACCEPTED: &[Entry] = &[
    accepted("acme.scheduler", (), "certificates are not ordered here"),
    accepted("anonkey", (), DEBUG),
    accepted_either_way("busy-polling", (), POLL),
    accepted(
        "close-spread-time",
        (),
        "idle connections are closed as they come",
    ),
    accepted("cluster-secret", (), NO_QUIC),
    accepted("cpu-affinity", (), THREADS),
    accepted("cpu-map", (), THREADS),
    accepted("cpu-policy", (), THREADS),
    accepted("cpu-set", (), THREADS),
    accepted("debug", (), DEBUG),
    accepted("debug.counters", (), DEBUG),
    accepted("harden.reject-privileged-ports.quic", (), NO_QUIC),
    accepted(
        "fd-hard-limit",
        (),
        "'maxconn' bounds connections, and costs nothing before they come",
    ),
    accepted("default-path current", (), "it is the default"),
    accepted("expose-deprecated-directives", (), MODES),
    accepted("expose-experimental-directives", (), MODES),
    accepted("force-cfg-parser-pause", (), DEBUG),
    accepted("h2-workaround-bogus-websocket-clients", (), NO_HTTP2),
    accepted("httpclient.resolvers.disabled", (), CLIENT),
    accepted("httpclient.resolvers.id", (), CLIENT),
    accepted("httpclient.resolvers.prefer", (), CLIENT),
    accepted("httpclient.retries", (), CLIENT),
    accepted("httpclient.ssl.ca-file", (), CLIENT),
    accepted("httpclient.ssl.verify", (), CLIENT),
    accepted("httpclient.timeout.connect", (), CLIENT),
    implemented("insecure-fork-wanted", (), |draft, args, _| {
        draft.bases.fork_wanted = true;
        args.end()
    }),
    implemented("insecure-setuid-wanted", (), |draft, args, _| {
        draft.global.setuid_wanted = true;
        args.end()
    }),
    accepted("jwt.decrypt_alg_list", (), "no token is decrypted"),
    accepted("jwt.decrypt_enc_list", (), "no token is decrypted"),
    accepted("limited-quic", (), NO_QUIC),
    accepted("localpeer", (), "there are no peers yet"),
    accepted("master-worker", (), MASTER),
    accepted("max-spread-checks", (), "'spread-checks' says it"),
    accepted("max-threads-per-group", (), THREADS),
    accepted("maxcompcpuusage", (), NO_ZLIB),
    accepted("maxcomprate", (), NO_ZLIB),
    accepted("maxpipes", (), "no pipes are used"),
    accepted("maxzlibmem", (), NO_ZLIB),
    accepted("mworker-max-reloads", (), MASTER),
    accepted("mworker-prog", (), MASTER),
    accepted("no-memory-trimming", (), MEMORY),
    accepted("no-quic", (), NO_QUIC),
    accepted("noepoll", (), POLL),
    accepted("noevports", (), POLL),
    accepted(
        "nogetaddrinfo",
        (),
        "names are resolved by the system's resolver",
    ),
    accepted("nokqueue", (), POLL),
    accepted("noktls", (), "TLS is done in the process"),
    accepted("nopoll", (), POLL),
    accepted(
        "nosplice",
        (),
        "how bytes are relayed is chosen by the engine",
    ),
    accepted(
        "noreuseport",
        (),
        "listeners are shared out as the workers need them",
    ),
    accepted_either_way("numa-cpu-mapping", (), THREADS),
    accepted("ocsp-update.disable", (), OCSP),
    not_in_force("ocsp-update.httpproxy", (), OCSP),
    not_in_force("ocsp-update.maxdelay", (), OCSP),
    not_in_force("ocsp-update.mindelay", (), OCSP),
    implemented("ocsp-update.mode", (), |draft, args, scope| {
        let word = args.required("on or off")?;
        let place = word.span;
        draft.global.tls.ocsp_update =
            crate::values::choice(word, args.keyword, &[("on", true), ("off", false)])?;
        if draft.global.tls.ocsp_update {
            scope.report(Diagnostic::notice(
                place,
                format!("'ocsp-update.mode' is accepted and has no effect: {OCSP}"),
            ));
        }
        args.end()
    }),
    not_in_force(
        "pp2-never-send-local",
        (),
        "checks with 'check-send-proxy' say LOCAL in version 2 of the PROXY protocol",
    ),
    accepted("prealloc-fd", (), MEMORY),
    accepted("profiling.memory", (), DEBUG),
    accepted("profiling.tasks", (), DEBUG),
    accepted("quiet", (), "the flag -q says it"),
    accepted_either_way("set-dumpable", (), DEBUG),
    not_in_force(
        "setcap",
        (),
        "no capability is kept once 'user' or 'uid' is in force; give them to the service instead",
    ),
    accepted("shm-stats-file", (), COUNTERS),
    accepted("shm-stats-file-max-objects", (), COUNTERS),
    accepted("stress-level", (), DEBUG),
    implemented("ssl-dh-param-file", (), dh_parameters),
    accepted("ssl-mode-async", (), "rustls has no engines"),
    accepted(
        "ssl-skip-self-issued-ca",
        (),
        "chains are sent as their file has them",
    ),
    accepted_either_way(
        "strict-limits",
        (),
        "limits that cannot be raised give a warning",
    ),
    accepted("thread-group", (), THREADS),
    accepted("thread-groups", (), THREADS),
    not_in_force(
        "tune.vars.check-max-size",
        (),
        "variables of checks are not bounded",
    ),
    accepted(
        "thread-hard-limit",
        (),
        "'nbthread' says how many there are",
    ),
    accepted("tune.applet.zero-copy-forwarding", (), MEMORY),
    accepted("tune.buffers.limit", (), MEMORY),
    accepted("tune.buffers.reserve", (), MEMORY),
    accepted("tune.bufsize.large", (), MEMORY),
    accepted("tune.bufsize.small", (), MEMORY),
    accepted("tune.chksize", (), MEMORY),
    accepted("tune.comp.maxlevel", (), NO_ZLIB),
    accepted("tune.defaults.purge", (), MEMORY),
    accepted("tune.disable-fast-forward", (), MEMORY),
    accepted("tune.disable-zero-copy-forwarding", (), MEMORY),
    accepted("tune.epoll.mask-events", (), POLL),
    accepted("tune.events.max-events-at-once", (), POLL),
    accepted("tune.fail-alloc", (), DEBUG),
    accepted("tune.fd.edge-triggered", (), POLL),
    accepted("tune.fd.tables", (), POLL),
    accepted(
        "tune.h1.be.glitches-threshold",
        (),
        "a message with two meanings ends its connection",
    ),
    accepted(
        "tune.h1.fe.glitches-threshold",
        (),
        "a message with two meanings ends its connection",
    ),
    accepted(
        "tune.glitches.kill.cpu-usage",
        (),
        "a message with two meanings ends its connection",
    ),
    accepted("tune.h1.zero-copy-fwd-recv", (), MEMORY),
    accepted("tune.h1.zero-copy-fwd-send", (), MEMORY),
    accepted("tune.h2.be.glitches-threshold", (), NO_HTTP2),
    accepted("tune.h2.be.initial-window-size", (), NO_HTTP2),
    accepted("tune.h2.be.max-concurrent-streams", (), NO_HTTP2),
    accepted("tune.h2.be.max-frames-at-once", (), NO_HTTP2),
    accepted("tune.h2.be.rxbuf", (), NO_HTTP2),
    accepted("tune.h2.fe.glitches-threshold", (), NO_HTTP2),
    accepted("tune.h2.fe.initial-window-size", (), NO_HTTP2),
    accepted("tune.h2.fe.max-concurrent-streams", (), NO_HTTP2),
    accepted("tune.h2.fe.max-frames-at-once", (), NO_HTTP2),
    accepted("tune.h2.fe.max-rst-at-once", (), NO_HTTP2),
    accepted("tune.h2.fe.max-total-streams", (), NO_HTTP2),
    accepted("tune.h2.fe.rxbuf", (), NO_HTTP2),
    accepted("tune.h2.header-table-size", (), NO_HTTP2),
    accepted("tune.h2.initial-window-size", (), NO_HTTP2),
    accepted("tune.h2.log-errors", (), NO_HTTP2),
    accepted("tune.h2.max-concurrent-streams", (), NO_HTTP2),
    accepted("tune.h2.max-frame-size", (), NO_HTTP2),
    accepted("tune.h2.zero-copy-fwd-send", (), NO_HTTP2),
    not_in_force(
        "tune.http.cookielen",
        (),
        "what is captured of a cookie is bounded by the 'len' of its own 'capture cookie' line",
    ),
    accepted("tune.http.logurilen", (), "'log … len' bounds the line"),
    accepted("tune.idletimer", (), MEMORY),
    accepted("tune.listener.default-shards", (), THREADS),
    accepted("tune.lua.bool-sample-conversion", (), NO_LUA),
    accepted("tune.lua.burst-timeout", (), NO_LUA),
    accepted("tune.lua.forced-yield", (), NO_LUA),
    accepted("tune.lua.log.loggers", (), NO_LUA),
    accepted("tune.lua.log.stderr", (), NO_LUA),
    accepted("tune.lua.maxmem", (), NO_LUA),
    accepted("tune.lua.openlibs", (), NO_LUA),
    accepted("tune.lua.service-timeout", (), NO_LUA),
    accepted("tune.lua.session-timeout", (), NO_LUA),
    accepted("tune.lua.task-timeout", (), NO_LUA),
    accepted(
        "tune.max-checks-per-thread",
        (),
        "checks run off the data path",
    ),
    accepted("tune.max-rules-at-once", (), POLL),
    accepted("tune.maxaccept", (), POLL),
    accepted("tune.maxpollevents", (), POLL),
    accepted("tune.memory.hot-size", (), MEMORY),
    accepted("tune.notsent-lowat.client", (), BUFFERS),
    accepted("tune.notsent-lowat.server", (), BUFFERS),
    accepted(
        "tune.pattern.cache-size",
        (),
        "patterns are looked up in built tables",
    ),
    accepted(
        "tune.peers.max-updates-at-once",
        (),
        "there are no peers yet",
    ),
    accepted("tune.pipesize", (), "no pipes are used"),
    accepted("tune.pool-high-fd-ratio", (), MEMORY),
    accepted("tune.pool-low-fd-ratio", (), MEMORY),
    accepted("tune.pt.zero-copy-forwarding", (), MEMORY),
    accepted("tune.rcvbuf.backend", (), BUFFERS),
    accepted("tune.rcvbuf.client", (), BUFFERS),
    accepted("tune.rcvbuf.frontend", (), BUFFERS),
    accepted("tune.rcvbuf.server", (), BUFFERS),
    accepted("tune.recv_enough", (), POLL),
    accepted("tune.renice.runtime", (), THREADS),
    accepted("tune.renice.startup", (), THREADS),
    accepted("tune.ring.queues", (), "there are no rings"),
    accepted("tune.runqueue-depth", (), POLL),
    accepted("tune.sched.low-latency", (), POLL),
    accepted("tune.sndbuf.backend", (), BUFFERS),
    accepted("tune.sndbuf.client", (), BUFFERS),
    accepted("tune.sndbuf.frontend", (), BUFFERS),
    accepted("tune.sndbuf.server", (), BUFFERS),
    accepted(
        "tune.ssl.capture-buffer-size",
        (),
        "client hellos are not kept",
    ),
    accepted(
        "tune.ssl.capture-cipherlist-size",
        (),
        "client hellos are not kept",
    ),
    accepted(
        "tune.ssl.certificate-compression",
        (),
        "certificates are not compressed",
    ),
    accepted("tune.ssl.default-dh-param", (), NO_DHE),
    accepted("tune.ssl.force-private-cache", (), "there is one process"),
    accepted("tune.ssl.hard-maxrecord", (), "records are sized by rustls"),
    accepted("tune.ssl.keylog", (), "keys are never logged"),
    accepted("tune.ssl.keyupdate-rate-limit", (), "rustls bounds them"),
    accepted("tune.ssl.maxrecord", (), "records are sized by rustls"),
    not_in_force("tune.ssl.ocsp-update.maxdelay", (), OCSP),
    not_in_force("tune.ssl.ocsp-update.mindelay", (), OCSP),
    accepted(
        "tune.ssl.ssl-ctx-cache-size",
        (),
        "certificates are not made on the fly",
    ),
    accepted("tune.streams-elasticity", (), NO_HTTP2),
    accepted("tune.takeover-other-tg-connections", (), THREADS),
    accepted("tune.zlib.memlevel", (), NO_ZLIB),
    accepted("tune.zlib.windowsize", (), NO_ZLIB),
    accepted("tune.quic.backend.max-idle-timeout", (), NO_QUIC),
    accepted("tune.quic.be.cc.cubic-min-losses", (), NO_QUIC),
    accepted("tune.quic.be.cc.hystart", (), NO_QUIC),
    accepted("tune.quic.be.cc.max-frame-loss", (), NO_QUIC),
    accepted("tune.quic.be.cc.max-win-size", (), NO_QUIC),
    accepted("tune.quic.be.cc.reorder-ratio", (), NO_QUIC),
    accepted("tune.quic.be.max-idle-timeout", (), NO_QUIC),
    accepted("tune.quic.be.sec.glitches-threshold", (), NO_QUIC),
    accepted("tune.quic.be.stream.data-ratio", (), NO_QUIC),
    accepted("tune.quic.be.stream.max-concurrent", (), NO_QUIC),
    accepted("tune.quic.be.stream.rxbuf", (), NO_QUIC),
    accepted("tune.quic.be.tx.pacing", (), NO_QUIC),
    accepted("tune.quic.be.tx.udp-gso", (), NO_QUIC),
    accepted("tune.quic.cc-hystart", (), NO_QUIC),
    accepted("tune.quic.cc.cubic.min-losses", (), NO_QUIC),
    accepted("tune.quic.conn-buf-limit", (), NO_QUIC),
    accepted("tune.quic.disable-tx-pacing", (), NO_QUIC),
    accepted("tune.quic.disable-udp-gso", (), NO_QUIC),
    accepted("tune.quic.fe.cc.cubic-min-losses", (), NO_QUIC),
    accepted("tune.quic.fe.cc.hystart", (), NO_QUIC),
    accepted("tune.quic.fe.cc.max-frame-loss", (), NO_QUIC),
    accepted("tune.quic.fe.cc.max-win-size", (), NO_QUIC),
    accepted("tune.quic.fe.cc.reorder-ratio", (), NO_QUIC),
    accepted("tune.quic.fe.max-idle-timeout", (), NO_QUIC),
    accepted("tune.quic.fe.sec.glitches-threshold", (), NO_QUIC),
    accepted("tune.quic.fe.sec.retry-threshold", (), NO_QUIC),
    accepted("tune.quic.fe.sock-per-conn", (), NO_QUIC),
    accepted("tune.quic.fe.stream.data-ratio", (), NO_QUIC),
    accepted("tune.quic.fe.stream.max-concurrent", (), NO_QUIC),
    accepted("tune.quic.fe.stream.max-total", (), NO_QUIC),
    accepted("tune.quic.fe.stream.rxbuf", (), NO_QUIC),
    accepted("tune.quic.fe.tx.pacing", (), NO_QUIC),
    accepted("tune.quic.fe.tx.udp-gso", (), NO_QUIC),
    accepted("tune.quic.frontend.conn-tx-buffers.limit", (), NO_QUIC),
    accepted("tune.quic.frontend.default-max-window-size", (), NO_QUIC),
    accepted("tune.quic.frontend.glitches-threshold", (), NO_QUIC),
    accepted("tune.quic.frontend.max-data-size", (), NO_QUIC),
    accepted("tune.quic.frontend.max-idle-timeout", (), NO_QUIC),
    accepted("tune.quic.frontend.max-streams-bidi", (), NO_QUIC),
    accepted("tune.quic.frontend.max-tx-mem", (), NO_QUIC),
    accepted("tune.quic.frontend.stream-data-ratio", (), NO_QUIC),
    accepted("tune.quic.listen", (), NO_QUIC),
    accepted("tune.quic.max-frame-loss", (), NO_QUIC),
    accepted("tune.quic.mem.tx-max", (), NO_QUIC),
    accepted("tune.quic.reorder-ratio", (), NO_QUIC),
    accepted("tune.quic.retry-threshold", (), NO_QUIC),
    accepted("tune.quic.socket-owner", (), NO_QUIC),
    accepted("tune.quic.zero-copy-fwd-send", (), NO_QUIC),
    accepted("warn-blocked-traffic-after", (), DEBUG),
];

const NO_DATABASE: &str = "it needs a commercial device database";
const NO_DATABASE_INSTEAD: &str = "match the User-Agent header with an ACL";

/// With an effect that would be missed.
pub(crate) const MISSING: &[Entry] = &[
    not_yet("default-path", ()),
    not_yet("dns-accept-family", ()),
    implemented("external-check", (), |draft, args, _| {
        // `preserve-env` keeps the program's environment.
        draft.bases.external_checks = true;
        if args.peek().is_some_and(|word| word.is("preserve-env")) {
            args.next();
            draft.global.external_check_env = true;
        }
        args.end()
    }),
    not_in_force(
        "grace",
        (),
        "a soft stop begins at once; 'hard-stop-after' says when it ends",
    ),
    refused(
        "h1-accept-payload-with-any-method",
        (),
        "a GET, HEAD or DELETE with a body has two meanings",
        "have the client send it with POST or PUT",
    ),
    accepted("h1-case-adjust", (), CASE),
    accepted("h1-case-adjust-file", (), CASE),
    refused("lua-load", (), NO_LUA, NO_LUA_INSTEAD),
    refused("lua-load-per-thread", (), NO_LUA, NO_LUA_INSTEAD),
    refused("lua-prepend-path", (), NO_LUA, NO_LUA_INSTEAD),
    refused(
        "ssl-passphrase-cmd",
        (),
        "no program is asked for passphrases",
        "store keys without one, in files that only the service may read",
    ),
    not_in_force("stats-file", (), COUNTERS),
    refused(
        "h1-do-not-close-on-insecure-transfer-encoding",
        (),
        "a request with two meanings is never forwarded",
        "have the client fixed: its requests are answered with 400",
    ),
    refused(
        "51degrees-allow-unmatched",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
    refused("51degrees-cache-size", (), NO_DATABASE, NO_DATABASE_INSTEAD),
    refused("51degrees-data-file", (), NO_DATABASE, NO_DATABASE_INSTEAD),
    refused("51degrees-difference", (), NO_DATABASE, NO_DATABASE_INSTEAD),
    refused("51degrees-drift", (), NO_DATABASE, NO_DATABASE_INSTEAD),
    refused(
        "51degrees-property-name-list",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
    refused(
        "51degrees-property-separator",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
    refused(
        "51degrees-use-performance-graph",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
    refused(
        "51degrees-use-predictive-graph",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
    refused(
        "deviceatlas-json-file",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
    refused(
        "deviceatlas-log-level",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
    refused(
        "deviceatlas-properties-cookie",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
    refused(
        "deviceatlas-separator",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
    refused("wurfl-cache-size", (), NO_DATABASE, NO_DATABASE_INSTEAD),
    refused("wurfl-data-file", (), NO_DATABASE, NO_DATABASE_INSTEAD),
    refused(
        "wurfl-information-list",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
    refused(
        "wurfl-information-list-separator",
        (),
        NO_DATABASE,
        NO_DATABASE_INSTEAD,
    ),
];

/// `ssl-dh-param-file FILE`: a file that would not do is told, though nothing is done with it.
fn dh_parameters(
    _: &mut GlobalDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("the path of a file with DH parameters")?;
    let cannot = |why: &str| {
        let message = format!("'ssl-dh-param-file' : cannot use '{}' : {why}", word.text);
        Diagnostic::alert(word.span, message)
    };
    let text = scope
        .environment
        .read(&word.text)
        .map_err(|why| cannot(&why))?;
    if !text.contains("DH PARAMETERS-----") {
        return Err(cannot("there are no DH parameters in it"));
    }
    let (name, status) = (args.keyword, Status::<()>::NotInForce(NO_DHE));
    if let Some(told) = verdict(name, &status, args.place()) {
        scope.report_verdict(name, &status, told);
    }
    args.end()
}
