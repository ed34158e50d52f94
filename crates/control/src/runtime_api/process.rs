//! Commands that show the process (management.txt 9.3).

use config::model::CliLevel;
use engine::Level;

use super::answer::{Answer, Call};
use super::info::{self, Form};
use super::table::{Row, changes, shows};

/// What `show version` tells.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// When this version was made.
pub(super) const RELEASE_DATE: &str = "2026/11/22";

pub(super) const ROWS: &[Row] = &[
    shows(
        "show info",
        "[desc|json|typed|float]*",
        "report information about the running process",
        |call| {
            let has = |word: &str| call.args.iter().any(|arg| arg == word);
            let form = match () {
                () if has("json") => Form::Json,
                () if has("typed") => Form::Typed,
                () => Form::Plain,
            };
            Answer::Text(info::write(&call.handle.snapshot(), form, has("desc")))
        },
    ),
    shows(
        "show version",
        "",
        "show version of the current process",
        |_| Answer::Text(format!("{VERSION}\n")),
    ),
    shows(
        "show env",
        "[var]",
        "dump environment variables known to the process",
        environment,
    )
    .operator(),
    shows("show cli sockets", "", "dump list of cli sockets", |call| {
        Answer::Text(format!(
            "# socket lvl processes\n{}",
            call.api.listed.concat()
        ))
    })
    .operator(),
    shows(
        "show startup-logs",
        "",
        "report logs emitted during startup",
        |call| Answer::Text(call.api.startup.clone()),
    ),
    shows(
        "show activity",
        "",
        "show per-thread activity stats",
        activity,
    )
    .operator(),
    shows("show threads", "", "show worker threads", threads).operator(),
    changes(
        "reload",
        "",
        "read the configuration again and apply what has changed, in place",
        |call| {
            let by = format!("{} on {}", call.session.peer, call.session.socket);
            Answer::Later(call.api.reloads.ask(&by))
        },
    ),
    shows(
        "show resolvers",
        "[id]",
        "dumps counters from all resolvers section and associated name servers",
        |call| {
            let wanted = Some(call.arg(0)).filter(|name| !name.is_empty());
            match call.handle.resolvers_text(wanted) {
                Some(text) => Answer::Text(text),
                None => Answer::error("Can't find that resolvers section"),
            }
        },
    ),
    shows(
        "show events",
        "[<sink>] [-w] [-n] [-0]",
        "show event sink state",
        |call| {
            match call.arg(0) {
            // Messages go to the log targets and to standard error as they come; none is kept in memory.
            "" => Answer::Text(
                "Supported events sinks are listed below. Add -0(zero), -w(wait), -n(new). Any key to stop.\n    \
                 stderr     : type=fd, 0 dropped, standard output (fd#2)\n"
                    .into(),
            ),
            "stderr" => Answer::error("This sink cannot be read."),
            _ => Answer::error("No such event sink"),
        }
        },
    ),
    shows(
        "show pools",
        "",
        "report information about the memory pools usage",
        |_| {
            Answer::Text(
                "Total: 0 pools, 0 bytes allocated, 0 used: memory is the system's.\n".into(),
            )
        },
    ),
    shows(
        "show profiling",
        "[<what>|<#lines>|<sort>]*",
        "show CPU profiling state",
        |_| {
            Answer::Text(
                "Nothing is profiled inside: use perf(1) on this process, and 'show activity'.\n"
                    .into(),
            )
        },
    )
    .operator(),
    shows(
        "show trace",
        "[<source>]",
        "show live tracing state",
        |_| Answer::Text("No source can be traced: use the logs and strace(1).\n".into()),
    )
    .operator(),
    shows(
        "show tls-keys",
        "[id|*]",
        "show available TLS session ticket keys",
        ticket_keys,
    )
    .operator(),
    shows(
        "show errors",
        "[<px>] [request|response]",
        "report last request and/or response errors for each proxy",
        |_| {
            let now = jiff::Zoned::now()
                .strftime("%d/%b/%Y:%H:%M:%S.%3f")
                .to_string();
            Answer::Text(format!("Total events captured on [{now}] : 0\n"))
        },
    )
    .operator(),
    shows(
        "show backend",
        "",
        "list backends in the current running config",
        |call| {
            let mut text = String::from("# name\n");
            for backend in call.handle.glance() {
                text.push_str(&backend.name);
                text.push('\n');
            }
            Answer::Text(text)
        },
    ),
    shows(
        "debug dev log",
        "<msg> [<level>]",
        "send this message to the logs",
        |call| {
            call.handle.log(Level::Info, &call.args.join(" "));
            Answer::Done
        },
    )
    .expert(),
    changes(
        "set anon",
        "[on|off]",
        "activate or not the anonymized mode",
        |_| Answer::error("Nothing is anonymized here."),
    ),
];

/// The text of `show cli level`.
pub(super) fn level(level: CliLevel) -> Answer {
    Answer::info(match level {
        CliLevel::User => "user",
        CliLevel::Operator => "operator",
        CliLevel::Admin => "admin",
    })
}

fn environment(call: &mut Call<'_>) -> Answer {
    let variables = &call.config.global.environment;
    let shown = |name: &str, value: &std::ffi::OsStr| {
        let value = match config::SECRETS.contains(&name) {
            true => "…".into(),
            false => value.to_string_lossy(),
        };
        format!("{name}={value}\n")
    };
    let outer = |name: &str| variables.get(name, || std::env::var_os(name));
    if let Some(name) = call.args.first() {
        return match outer(name) {
            Some(value) => Answer::Text(shown(name, &value)),
            None => Answer::error("Variable not found"),
        };
    }
    let mut text = String::new();
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if let Some(value) = outer(&name) {
            text += &shown(&name, &value);
        }
    }
    Answer::Text(text)
}

/// One line a fact: all threads together, then each.
fn activity(call: &mut Call<'_>) -> Answer {
    let process = call.handle.snapshot().process;
    let each: Vec<String> = process
        .worker_connections
        .iter()
        .map(u64::to_string)
        .collect();
    Answer::Text(format!(
        "threads: {}\nconnections: {} [ {} ]\nuptime_now: {}.{:06}\n",
        process.workers,
        process.connections,
        each.join(" "),
        process.uptime.as_secs(),
        process.uptime.subsec_micros(),
    ))
}

/// Files of ticket keys, numbered as they come in the configuration. The keys in them are secrets.
fn ticket_keys(call: &mut Call<'_>) -> Answer {
    let mut files: Vec<String> = Vec::new();
    let binds = call.config.frontends.iter().flat_map(|it| &it.binds);
    let named = binds.filter_map(|bind| bind.tls.as_ref()?.ticket_keys.as_ref());
    for file in named.map(|file| file.display().to_string()) {
        if !files.contains(&file) {
            files.push(file);
        }
    }
    let wanted = call.arg(0);
    if wanted.is_empty() {
        let lines = files.iter().enumerate();
        let lines = lines.map(|(id, file)| format!("{id} ({file})\n"));
        return Answer::Text(format!("# id (file)\n{}", lines.collect::<String>()));
    }
    let is_known = |it: &str| files.iter().any(|file| file == it);
    let by_id = wanted.strip_prefix('#').and_then(|id| id.parse().ok());
    if wanted == "*" && files.is_empty() {
        return Answer::Text("# id secret\n".into());
    }
    match wanted == "*" || is_known(wanted) || by_id.is_some_and(|id: usize| id < files.len()) {
        true => Answer::error("Secrets are not shown here: they are in the file."),
        false => Answer::error("'show tls-keys' unable to locate referenced filename"),
    }
}

fn threads(call: &mut Call<'_>) -> Answer {
    let process = call.handle.snapshot().process;
    let mut text = String::new();
    for (at, connections) in process.worker_connections.iter().enumerate() {
        text += &format!("Thread {:<3}: connections={connections}\n", at + 1);
    }
    Answer::Text(text)
}
