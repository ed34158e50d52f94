//! Every flag and subcommand, once: parser, `--help`, man page and completions are made from these
//! tables.

use super::Options;

/// What a flag does.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// Sets something.
    Set(fn(&mut Options)),
    /// Takes a value; the error says what was expected.
    Take(&'static str, fn(&mut Options, String) -> Result<(), String>),
    /// Takes all words that follow, up to the next flag, as process ids; there may be none.
    TakePids(fn(&mut Options, Vec<u32>)),
    /// Does nothing here, because there is nothing to do.
    Accept,
    /// Takes a value that has no effect here; where somebody may have counted on it, a warning says so.
    AcceptValue(&'static str, &'static str),
}

/// One flag.
pub(crate) struct Flag {
    /// As written, dashes included.
    pub(crate) name: &'static str,
    /// What it does; empty for HAProxy's tuning switches that have no counterpart here.
    pub(crate) help: &'static str,
    /// What becomes of it.
    pub(crate) effect: Effect,
}

const fn flag(name: &'static str, help: &'static str, effect: Effect) -> Flag {
    Flag { name, help, effect }
}

/// In the order of `--help`; those without a text are HAProxy's tuning switches that have no
/// counterpart here.
pub(crate) const FLAGS: &[Flag] = &[
    flag(
        "-f",
        "configuration file or folder (several are read as one)",
        Effect::Take("FILE", |o, v| {
            o.files.push(v.into());
            Ok(())
        }),
    ),
    flag(
        "-c",
        "check the configuration, say whether it is valid, and end",
        Effect::Set(|o| o.check = true),
    ),
    flag(
        "-cc",
        "evaluate a condition as .if does, and end: 0 true, 1 false",
        Effect::Take("COND", |o, v| {
            o.condition = Some(v);
            Ok(())
        }),
    ),
    flag(
        "-v",
        "version; -vv says how it was built",
        Effect::Set(|o| o.version += 1),
    ),
    flag("-vv", "", Effect::Set(|o| o.version = 2)),
    flag(
        "-V",
        "say more: notices about the configuration",
        Effect::Set(|o| o.verbose = true),
    ),
    flag(
        "-q",
        "say nothing on the terminal",
        Effect::Set(|o| o.quiet = true),
    ),
    flag(
        "-d",
        "stay in the foreground and say more",
        Effect::Set(|o| {
            o.debug = true;
            o.verbose = true;
        }),
    ),
    flag(
        "-db",
        "stay in the foreground",
        Effect::Set(|o| o.foreground = true),
    ),
    flag(
        "-D",
        "go into the background",
        Effect::Set(|o| o.daemon = true),
    ),
    flag(
        "-p",
        "write the process id to this file",
        Effect::Take("FILE", |o, v| {
            o.pidfile = Some(v.into());
            Ok(())
        }),
    ),
    flag(
        "-n",
        "connections at once, in place of the configuration's maxconn",
        Effect::Take("N", |o, v| {
            o.maxconn = Some(
                v.parse()
                    .map_err(|_| format!("-n wants a number, not '{v}'"))?,
            );
            Ok(())
        }),
    ),
    flag(
        "-C",
        "change to this folder first",
        Effect::Take("DIR", |o, v| {
            o.directory = Some(v.into());
            Ok(())
        }),
    ),
    flag(
        "-W",
        "accepted: one process does it all, no master is needed",
        Effect::Set(|o| o.master_worker = true),
    ),
    flag(
        "-Ws",
        "the same, and tell systemd when ready",
        Effect::Set(|o| {
            o.notify = true;
            o.master_worker = true;
        }),
    ),
    flag(
        "--metrics",
        "Prometheus metrics on this address, at /metrics",
        Effect::Take("ADDR", |o, v| {
            o.metrics = Some(v);
            Ok(())
        }),
    ),
    flag("--help", "this text", Effect::Set(|o| o.help = true)),
    flag("-h", "", Effect::Set(|o| o.help = true)),
    flag("--version", "", Effect::Set(|o| o.version = 1)),
    flag(
        "-dr",
        "accepted: names that do not resolve never stop the start",
        Effect::Accept,
    ),
    flag(
        "-dW",
        "a warning makes the configuration invalid",
        Effect::Set(|o| o.zero_warning = true),
    ),
    flag("-L", "", Effect::AcceptValue("NAME", "")),
    flag(
        "-m",
        "megabytes for connections: where there is no maxconn, that many are let in",
        Effect::Take("MB", |o, v| {
            let megabytes = v.parse().ok().filter(|megabytes| *megabytes > 0);
            o.memory = Some(megabytes.ok_or(format!("-m wants megabytes, not '{v}'"))?);
            Ok(())
        }),
    ),
    flag(
        "-N",
        "",
        Effect::AcceptValue("N", "use maxconn in defaults or frontend"),
    ),
    flag("-dM", "", Effect::Accept),
    flag("-dI", "", Effect::Accept),
    flag("-dD", "", Effect::Accept),
    flag("-dC", "", Effect::Accept),
    flag("-dF", "", Effect::Accept),
    flag("-dL", "", Effect::Accept),
    flag("-dS", "", Effect::Accept),
    flag("-dG", "", Effect::Accept),
    flag("-dR", "", Effect::Accept),
    flag("-dV", "", Effect::Accept),
    flag("-dZ", "", Effect::Accept),
    flag("-de", "", Effect::Accept),
    flag("-dp", "", Effect::Accept),
    flag(
        "-sf",
        "when ready, have these processes finish and leave",
        Effect::TakePids(|o, pids| {
            o.predecessors.extend(pids);
            o.terminates = false;
        }),
    ),
    flag(
        "-st",
        "the same, but have them end at once",
        Effect::TakePids(|o, pids| {
            o.predecessors.extend(pids);
            o.terminates = true;
        }),
    ),
    flag(
        "-S",
        "socket of the master's commands (`show proc`, `@1 …`)",
        Effect::Take("ADDR", |o, v| {
            o.master = Some(v);
            Ok(())
        }),
    ),
    flag(
        "-x",
        "take listening sockets over from the process with this stats socket",
        Effect::Take("SOCKET", |o, v| {
            o.listeners_from = Some(v);
            Ok(())
        }),
    ),
];

/// A subcommand of our own.
pub(crate) struct Subcommand {
    /// The word.
    pub(crate) name: &'static str,
    /// What stands behind it.
    pub(crate) arguments: &'static str,
    /// What it does.
    pub(crate) help: &'static str,
}

/// In the order of `--help`.
pub(crate) const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "demo",
        arguments: "[--help]",
        help: "a registry, three nodes and the balancer, to look at",
    },
    Subcommand {
        name: "updater",
        arguments: "[--help]",
        help: "keep a running HAProxy in step with discovery",
    },
    Subcommand {
        name: "probe",
        arguments: "URL",
        help: "exit 0 if that URL answers 2xx or 3xx",
    },
    Subcommand {
        name: "reload",
        arguments: "-p PIDFILE | SOCKET",
        help: "have a running process read its files again",
    },
    Subcommand {
        name: "upgrade",
        arguments: "-p PIDFILE | SOCKET",
        help: "have the binary on disk take a running one's place",
    },
    Subcommand {
        name: "generate",
        arguments: "man|bash|zsh|fish",
        help: "print the man page, or completions for a shell",
    },
];

impl Flag {
    /// What its value is called; empty when it takes none.
    pub(crate) fn value(&self) -> &'static str {
        match self.effect {
            Effect::Take(name, _) | Effect::AcceptValue(name, _) => name,
            Effect::TakePids(_) => "PID...",
            _ => "",
        }
    }
}
