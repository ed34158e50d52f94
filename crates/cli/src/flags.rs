//! The command line, HAProxy's (`management.txt` 3) with a few subcommands of our own. One table:
//! parser and `--help` are made from it.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the arguments ask for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// `-f FILE|DIR`, and everything after `--`.
    pub(crate) files: Vec<PathBuf>,
    /// `-c`: check the configuration and end.
    pub(crate) check: bool,
    /// `-cc CONDITION`: evaluate it and end.
    pub(crate) condition: Option<String>,
    /// `-v`: version; twice: everything about the build.
    pub(crate) version: u8,
    /// `-V`: say more (notices).
    pub(crate) verbose: bool,
    /// `-q`: say nothing.
    pub(crate) quiet: bool,
    /// `-d`: stay in the foreground and say more.
    pub(crate) debug: bool,
    /// `-db`: stay in the foreground whatever the configuration says.
    pub(crate) foreground: bool,
    /// `-D`: go into the background.
    pub(crate) daemon: bool,
    /// `-W` or `-Ws`: one process does it all; `-Ws` tells systemd when it is ready.
    pub(crate) notify: bool,
    /// `-p FILE`.
    pub(crate) pidfile: Option<PathBuf>,
    /// `-n NUMBER`: the process's `maxconn`.
    pub(crate) maxconn: Option<u32>,
    /// `-C DIR`: go there first.
    pub(crate) directory: Option<PathBuf>,
    /// `--metrics ADDRESS`: Prometheus metrics there, at `/metrics`.
    pub(crate) metrics: Option<String>,
    /// `-dW`: a warning about the configuration makes it invalid.
    pub(crate) zero_warning: bool,
    /// Flags that were given and have no effect.
    pub(crate) notes: Vec<String>,
    /// `--help`.
    pub(crate) help: bool,
}

/// What a flag does.
#[derive(Clone, Copy)]
enum Effect {
    /// Sets something.
    Set(fn(&mut Options)),
    /// Takes a value; the error says what was expected.
    Take(&'static str, fn(&mut Options, String) -> Result<(), String>),
    /// Does nothing here, because there is nothing to do.
    Accept,
    /// Takes a value that has no effect here; where somebody may have counted on it, a warning says so.
    AcceptValue(&'static str, &'static str),
    /// Cannot be honoured yet.
    Refuse(&'static str),
}

struct Flag {
    name: &'static str,
    help: &'static str,
    effect: Effect,
}

const fn flag(name: &'static str, help: &'static str, effect: Effect) -> Flag {
    Flag { name, help, effect }
}

/// In the order of `--help`; those without a text are HAProxy's tuning switches that have no
/// counterpart here.
const FLAGS: &[Flag] = &[
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
        Effect::Accept,
    ),
    flag(
        "-Ws",
        "the same, and tell systemd when ready",
        Effect::Set(|o| o.notify = true),
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
        "",
        Effect::AcceptValue("MB", "memory is not limited; use the system's means"),
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
        "",
        Effect::Refuse("stop the old process yourself: kill -USR1 PID"),
    ),
    flag(
        "-st",
        "",
        Effect::Refuse("stop the old process yourself: kill PID"),
    ),
    flag(
        "-S",
        "",
        Effect::AcceptValue("ADDR", "there is no master process to talk to"),
    ),
    flag(
        "-x",
        "",
        Effect::Refuse("stop the old process first, or let systemd hold the sockets"),
    ),
];

/// Reads the arguments, without the program's name. The error is a line for the user.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            options.files.extend(arguments.by_ref().map(PathBuf::from));
            break;
        }
        let text = argument.to_string_lossy().into_owned();
        let found = FLAGS.iter().find(|flag| flag.name == text);
        let found = found.or_else(|| with_suffix(&text));
        let Some(flag) = found else {
            return Err(unknown(&text));
        };
        let mut value = |name: &str| {
            let value = arguments
                .next()
                .ok_or(format!("{} wants a value: {name}", flag.name))?;
            value
                .into_string()
                .map_err(|_| format!("the value of {} is not UTF-8", flag.name))
        };
        match flag.effect {
            Effect::Set(set) => set(&mut options),
            Effect::Take(name, take) => {
                let value = value(name)?;
                take(&mut options, value)?;
            }
            Effect::Accept => {}
            Effect::AcceptValue(name, without) => {
                value(name)?;
                if !without.is_empty() {
                    options
                        .notes
                        .push(format!("{} has no effect: {without}", flag.name));
                }
            }
            Effect::Refuse(instead) => {
                return Err(format!("{} is not implemented yet: {instead}", flag.name));
            }
        }
    }
    Ok(options)
}

/// `-dM0x55` and `-dMno-merge` carry their value in the same word.
fn with_suffix(text: &str) -> Option<&'static Flag> {
    const WITH_SUFFIX: [&str; 1] = ["-dM"];
    let prefix = WITH_SUFFIX
        .into_iter()
        .find(|prefix| text.starts_with(prefix))?;
    FLAGS.iter().find(|flag| flag.name == prefix)
}

fn unknown(text: &str) -> String {
    if !text.starts_with('-') {
        return format!("'{text}' is neither a flag nor a command; files are given with -f");
    }
    format!("no flag is called '{text}'; `tidegate --help` lists them")
}

/// The text of `--help`; fits a screen.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "tidegate: a load balancer for WebSocket fleets that reads haproxy.cfg\n\n\
         usage: tidegate -f haproxy.cfg [flags]     run (or check, with -c)\n       \
         tidegate demo [--help]              a registry, three nodes and the balancer, to look at\n\n\
         flags:\n",
    );
    for flag in FLAGS.iter().filter(|flag| !flag.help.is_empty()) {
        let value = match flag.effect {
            Effect::Take(name, _) | Effect::AcceptValue(name, _) => name,
            _ => "",
        };
        let shown = format!("{} {value}", flag.name);
        text.push_str(&format!("  {shown:<16} {}\n", flag.help));
    }
    text.push_str(
        "\nsignals: USR1 stop taking connections and end with the last one; TERM, INT end now;\n         \
         HUP write the state of all servers to the log.\n\
         environment: WS_UPDATES_URL, API_KEY, UPDATE_INTERVAL (discovery of nodes; 30s).\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &str, expected: Result<Options, &str>) {
        let read = parse(arguments.split_whitespace().map(OsString::from));
        match (read, expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{arguments}"),
            (Err(read), Err(expected)) => assert!(read.contains(expected), "{read}"),
            (read, expected) => panic!("{arguments}: {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn haproxys_flags_are_understood() {
        let file = |name: &str| vec![PathBuf::from(name)];
        check(
            "-f a.cfg",
            Ok(Options {
                files: file("a.cfg"),
                ..Options::default()
            }),
        );
        check(
            "-c -V -f a -- b",
            Ok(Options {
                files: vec!["a".into(), "b".into()],
                check: true,
                verbose: true,
                ..Options::default()
            }),
        );
        check(
            "-Ws -dM -dMno-merge -L me -p /run/pid -f a",
            Ok(Options {
                files: file("a"),
                notify: true,
                pidfile: Some("/run/pid".into()),
                ..Options::default()
            }),
        );
        check(
            "-vv",
            Ok(Options {
                version: 2,
                ..Options::default()
            }),
        );
        check("-n many", Err("wants a number"));
        check("-f", Err("-f wants a value"));
        check("-sf 12", Err("not implemented yet"));
        check("--frob", Err("no flag is called '--frob'"));
        check("haproxy.cfg", Err("files are given with -f"));
    }

    #[test]
    fn help_fits_a_screen_and_names_every_flag_that_has_a_text() {
        let text = help();
        assert!(text.lines().count() <= 36, "{} lines", text.lines().count());
        assert!(text.lines().all(|line| line.len() <= 100));
        assert!(text.contains("-cc COND"));
    }
}
