//! The command line, HAProxy's (`management.txt` 3) with a few subcommands of our own.

pub(crate) mod table;

use std::ffi::OsString;
use std::path::PathBuf;

use table::{Effect, FLAGS, Flag, SUBCOMMANDS};

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
    /// `-W` or `-Ws`: how it ends is told as a master would.
    pub(crate) master_worker: bool,
    /// `-p FILE`.
    pub(crate) pidfile: Option<PathBuf>,
    /// `-n NUMBER`: the process's `maxconn`.
    pub(crate) maxconn: Option<u32>,
    /// `-m MB`: what the connections may take together.
    pub(crate) memory: Option<u64>,
    /// `-C DIR`: go there first.
    pub(crate) directory: Option<PathBuf>,
    /// `-S ADDRESS[,OPTION…]`: the master's socket.
    pub(crate) master: Option<String>,
    /// `--metrics ADDRESS`: Prometheus metrics there, at `/metrics`.
    pub(crate) metrics: Option<String>,
    /// `-sf`, `-st`: processes that this one takes the place of.
    pub(crate) predecessors: Vec<u32>,
    /// `-st`: they are to end at once.
    pub(crate) terminates: bool,
    /// `-x ADDRESS`: the stats socket that gives us the listening sockets of one of them.
    pub(crate) listeners_from: Option<String>,
    /// `-dW`: a warning about the configuration makes it invalid.
    pub(crate) zero_warning: bool,
    /// Flags that were given and have no effect.
    pub(crate) notes: Vec<String>,
    /// `--help`.
    pub(crate) help: bool,
}

/// Reads the arguments, without the program's name. The error is a line for the user.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter().peekable();
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
            Effect::TakePids(take) => {
                while let Some(word) =
                    arguments.next_if(|word| !word.as_encoded_bytes().starts_with(b"-"))
                {
                    take(&mut options, pids(&word.to_string_lossy(), flag.name)?);
                }
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
        }
    }
    Ok(options)
}

/// The process ids of one word, which may be empty: the list often is what `cat haproxy.pid` or `pidof` said. No other
/// number is one, as 0 and those below would be whole groups of processes.
fn pids(word: &str, flag: &str) -> Result<Vec<u32>, String> {
    let pid = |text: &str| match text.parse::<i32>() {
        Ok(pid) if pid > 0 => Ok(pid.unsigned_abs()),
        _ => Err(format!("{flag} wants process ids, not '{text}'")),
    };
    word.split_whitespace().map(pid).collect()
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
         usage: tidegate -f haproxy.cfg [flags]      run (or check, with -c)\n",
    );
    for command in SUBCOMMANDS {
        let shown = format!("tidegate {} {}", command.name, command.arguments);
        text.push_str(&format!("       {shown:<37}{}\n", command.help));
    }
    text.push_str("\nflags:\n");
    for flag in FLAGS.iter().filter(|flag| !flag.help.is_empty()) {
        let shown = format!("{} {}", flag.name, flag.value());
        text.push_str(&format!("  {shown:<16} {}\n", flag.help));
    }
    text.push_str(
        "\nsignals: USR1 stop taking connections and end with the last one; TERM, INT end now;\n         \
         HUP write the state of all servers to the log, read certificates again.\n\
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
                master_worker: true,
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
        check(
            "-sf 12 34 -x /s -f a",
            Ok(Options {
                files: file("a"),
                predecessors: vec![12, 34],
                listeners_from: Some("/s".into()),
                ..Options::default()
            }),
        );
        check(
            "-f a -st",
            Ok(Options {
                files: file("a"),
                ..Options::default()
            }),
        );
        check(
            "-f a -st 7",
            Ok(Options {
                files: file("a"),
                predecessors: vec![7],
                terminates: true,
                ..Options::default()
            }),
        );
        check("-sf 0", Err("-sf wants process ids, not '0'"));
        check("-sf 12 x", Err("-sf wants process ids, not 'x'"));
        check("--frob", Err("no flag is called '--frob'"));
        check("haproxy.cfg", Err("files are given with -f"));
    }

    #[test]
    fn help_fits_a_screen_and_names_every_flag_that_has_a_text() {
        let text = help();
        assert!(text.lines().count() <= 38, "{} lines", text.lines().count());
        assert!(text.lines().all(|line| line.len() <= 100));
        assert!(text.contains("-cc COND"));
    }
}
