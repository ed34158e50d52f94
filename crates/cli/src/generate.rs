//! `tidegate generate`: the man page and the completions of shells, from the tables of flags and
//! subcommands. What packages install is a copy, and a test compares it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::flags::table::{Effect, FLAGS, Flag, SUBCOMMANDS};
use crate::reference;

type Page = fn() -> String;

/// What can be generated, by its name.
const PAGES: [(&str, Page); 4] = [("man", man), ("bash", bash), ("zsh", zsh), ("fish", fish)];

/// Prints the page that is asked for, or writes the pages of the reference into a folder.
pub(crate) fn main(what: Option<&str>, folder: Option<&OsStr>) -> ExitCode {
    if let (Some("reference"), Some(folder)) = (what, folder) {
        return match reference::write(Path::new(folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!(
                    "tidegate generate reference: {}: {error}",
                    Path::new(folder).display()
                );
                ExitCode::FAILURE
            }
        };
    }
    match PAGES.iter().find(|(name, _)| Some(*name) == what) {
        Some((_, page)) => {
            print!("{}", page());
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("tidegate generate: say which: man, bash, zsh, fish or reference FOLDER");
            ExitCode::FAILURE
        }
    }
}

/// What a flag does, also where `--help` has no room for it.
fn help(flag: &Flag) -> String {
    match (flag.help, flag.effect) {
        ("", Effect::Accept) => "accepted, without effect here".into(),
        ("", Effect::AcceptValue(_, "")) => "accepted, without effect here".into(),
        ("", Effect::AcceptValue(_, why)) => format!("no effect: {why}"),
        ("", _) => format!("see {}", spelled_out(flag)),
        (help, _) => help.into(),
    }
}

/// The flag that says what a short or doubled spelling of it does: `--help` for `-h`, `-v` for `-vv`.
fn spelled_out(flag: &Flag) -> &'static str {
    let name = flag.name.trim_start_matches('-');
    let mut explained = FLAGS.iter().filter(|other| !other.help.is_empty());
    let found = explained.find(|other| {
        let other = other.name.trim_start_matches('-');
        name.starts_with(other) || other.starts_with(name)
    });
    found.map_or("", |found| found.name)
}

/// The man page, in the `man` macros of groff.
fn man() -> String {
    let mut page = String::from(concat!(
        ".TH TIDEGATE 8 \"\" \"tidegate ",
        env!("CARGO_PKG_VERSION"),
        "\" \"System administration\"\n",
        ".SH NAME\n",
        "tidegate, haproxy \\- load balancer for WebSocket fleets that reads haproxy.cfg\n",
        ".SH SYNOPSIS\n",
        ".B tidegate \\-f\n",
        ".I haproxy.cfg\n",
        "[\\fIflags\\fR]\n",
    ));
    for command in SUBCOMMANDS {
        let (name, arguments) = (command.name, roff(command.arguments));
        let _ = writeln!(page, ".br\n.B tidegate {name}\n{arguments}");
    }
    page.push_str(
        ".SH DESCRIPTION\n\
         tidegate balances HTTP, WebSocket and TCP connections over the servers that its configuration\n\
         names and over the nodes that a discovery service lists. The configuration language, the\n\
         flags, logs, statistics and exit codes are HAProxy's; under the name\n\
         .B haproxy\n\
         the program takes the place of that one.\n\
         .SH OPTIONS\n",
    );
    for flag in FLAGS {
        let (name, value) = (roff(flag.name), flag.value());
        let _ = match value {
            "" => writeln!(page, ".TP\n.B {name}\n{}", roff(&help(flag))),
            _ => writeln!(page, ".TP\n.BI {name} \" {value}\"\n{}", roff(&help(flag))),
        };
    }
    page.push_str(".SH COMMANDS\n");
    for command in SUBCOMMANDS {
        let (name, arguments) = (command.name, roff(command.arguments));
        let _ = writeln!(
            page,
            ".TP\n.BI {name} \" {arguments}\"\n{}",
            roff(command.help)
        );
    }
    page.push_str(MAN_END);
    page
}

const MAN_END: &str = ".SH ENVIRONMENT\n\
.TP\n.B WS_UPDATES_URL\nbase URL of the discovery service; without it the servers in the file serve alone\n\
.TP\n.B API_KEY\nsent to it as X\\-API\\-Key; shown nowhere\n\
.TP\n.B UPDATE_INTERVAL\ntime between two fetches: 30, 500ms, 2m (default 30s)\n\
.SH SIGNALS\n\
.TP\n.B USR1\nstop taking connections, end with the last one\n\
.TP\n.B TERM, INT\nend now\n\
.TP\n.B HUP\nwrite the state of all servers to the log, and read certificates again\n\
.SH EXIT STATUS\n\
.TP\n.B 0\nended as asked, or the configuration is valid\n\
.TP\n.B 1\nit cannot run, or the configuration is not valid\n\
.TP\n.B 2\nwith \\-c: no error, but nothing to listen on; with \\-cc: the condition cannot be read\n\
.SH FILES\n\
.TP\n.I /etc/tidegate/haproxy.cfg\nthe configuration of the packaged service\n\
.SH SEE ALSO\n\
.BR haproxy (1)\n";

/// Text that groff shows as it is.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    // A line that begins like this would be a request.
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

/// What a shell completes behind a flag.
fn completes(flag: &Flag) -> &'static str {
    match flag.value() {
        "FILE" => "file",
        "DIR" => "directory",
        _ => "",
    }
}

fn words<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}

fn names_that_complete(what: &str) -> String {
    let names = FLAGS.iter().filter(|flag| completes(flag) == what);
    names.map(|flag| flag.name).collect::<Vec<_>>().join("|")
}

fn bash() -> String {
    format!(
        "# bash completion of tidegate\n\
         _tidegate() {{\n    \
         local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}\n    \
         case $before in\n    \
         {files}) mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n    \
         {folders}) mapfile -t COMPREPLY < <(compgen -d -- \"$word\"); return ;;\n    \
         generate) mapfile -t COMPREPLY < <(compgen -W \"man bash zsh fish\" -- \"$word\"); return ;;\n    \
         esac\n    \
         local words=\"{flags}\"\n    \
         [ \"$COMP_CWORD\" = 1 ] && words=\"{commands} $words\"\n    \
         mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n\
         }}\n\
         complete -o filenames -F _tidegate tidegate\n",
        files = names_that_complete("file"),
        folders = names_that_complete("directory"),
        flags = words(FLAGS.iter().map(|flag| flag.name)),
        commands = words(SUBCOMMANDS.iter().map(|command| command.name)),
    )
}

fn zsh() -> String {
    let quote = |text: &str| {
        text.replace('\'', "'\\''")
            .replace('[', "(")
            .replace(']', ")")
    };
    let mut text = String::from("#compdef tidegate\n_arguments \\\n");
    for flag in FLAGS {
        let value = match (flag.value(), completes(flag)) {
            ("", _) => String::new(),
            (value, "file") => format!(":{value}:_files"),
            (value, "directory") => format!(":{value}:_files -/"),
            (value, _) => format!(":{value}:"),
        };
        let _ = writeln!(text, "  '*{}[{}]{value}' \\", flag.name, quote(&help(flag)));
    }
    let commands = words(SUBCOMMANDS.iter().map(|command| command.name));
    let _ = writeln!(text, "  '1:command:({commands})'");
    text
}

fn fish() -> String {
    let quote = |text: &str| text.replace('\'', "\\'");
    let mut text = String::from("# fish completion of tidegate\ncomplete -c tidegate -f\n");
    for command in SUBCOMMANDS {
        let _ = writeln!(
            text,
            "complete -c tidegate -n __fish_use_subcommand -a {} -d '{}'",
            command.name,
            quote(command.help)
        );
    }
    for flag in FLAGS {
        let name = match flag.name.strip_prefix("--") {
            Some(long) => format!("-l {long}"),
            None => format!("-o {}", flag.name.trim_start_matches('-')),
        };
        let value = match (flag.value(), completes(flag)) {
            ("", _) => "",
            (_, "") => " -x",
            _ => " -r -F",
        };
        let _ = writeln!(
            text,
            "complete -c tidegate {name}{value} -d '{}'",
            quote(&help(flag))
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packaged_pages_are_what_is_generated() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/generated/");
        let names = ["tidegate.8", "tidegate.bash", "_tidegate", "tidegate.fish"];
        for (name, (what, page)) in names.into_iter().zip(PAGES) {
            let kept = std::fs::read_to_string(format!("{folder}{name}")).unwrap();
            assert_eq!(
                kept,
                page(),
                "stale: run `tidegate generate {what} > deploy/generated/{name}`"
            );
        }
    }

    #[test]
    fn every_flag_is_explained() {
        for flag in FLAGS {
            let help = help(flag);
            assert!(!help.is_empty() && help != "see ", "{}", flag.name);
        }
    }
}
