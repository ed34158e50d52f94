//! The master's socket (management.txt 9.4). There is one process, so master and worker 1 are the
//! same one: `@1 command` and `command` in the worker's place go to the same table.

use std::time::Duration;

use config::model::CliLevel;

use super::Api;
use super::answer::Answer;
use super::session::{Mode, Session};

/// Whom the next commands go to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Master {
    in_worker: bool,
    debug: bool,
}

impl Master {
    /// What stands before the `>`.
    pub(super) fn prompt(&self, session: &Session) -> String {
        let flags = [
            (session.experimental, 'x'),
            (session.expert, 'e'),
            (self.debug, 'd'),
        ];
        let flags: String = flags.iter().filter(|it| it.0).map(|it| it.1).collect();
        let flags = if flags.is_empty() {
            flags
        } else {
            format!("({flags})")
        };
        match self.in_worker {
            true => format!("{}{flags}", std::process::id()),
            false => format!("master{flags}"),
        }
    }
}

/// Where a command goes.
pub(super) enum Route<'a> {
    /// To the worker: the table of all commands.
    Worker(&'a [String]),
    /// To the master.
    Master(&'a [String]),
}

/// Takes `@…` off a command.
pub(super) fn route<'a>(session: &mut Session, words: &'a [String]) -> Route<'a> {
    let Some(mut master) = session.master else {
        return Route::Worker(words);
    };
    let Some(target) = words.first().and_then(|word| word.strip_prefix('@')) else {
        return match master.in_worker || is_everywhere(words) {
            true => Route::Worker(words),
            false => Route::Master(words),
        };
    };
    let target = target.strip_prefix('@').unwrap_or(target);
    let own = std::process::id().to_string();
    let is_worker = target == "1" || target.strip_prefix('!') == Some(&own);
    let rest = &words[1..];
    if !target.is_empty() && !is_worker {
        return Route::Master(words);
    }
    if rest.is_empty() {
        master.in_worker = is_worker;
        session.master = Some(master);
        return Route::Worker(rest);
    }
    match is_worker {
        true => Route::Worker(rest),
        false => Route::Master(rest),
    }
}

/// What is about the connection itself, whoever is asked.
fn is_everywhere(words: &[String]) -> bool {
    const EVERYWHERE: [&str; 6] = [
        "prompt",
        "quit",
        "expert-mode",
        "experimental-mode",
        "operator",
        "user",
    ];
    words.is_empty() || EVERYWHERE.contains(&words[0].as_str())
}

const HELP: &str = "The following commands are valid at this level:
  @!<pid>                                 : send a command to the <pid> process
  @<relative pid>                         : send a command to the <relative pid> process
  @master                                 : send a command to the master process
  mcli-debug-mode [on|off]                : enable or disable the debug mode for the master
  operator                                : lower the level of the current CLI session to operator
  reload                                  : reload the configuration
  show cli level                          : display the level of the current CLI session
  show proc                               : show processes status
  show startup-logs                       : report logs emitted during startup
  show version                            : show version of the current process
  upgrade                                 : have the program as it is on disk now take over
  user                                    : lower the level of the current CLI session to user
  help [<command>]                        : list matching or all commands
  prompt [help | n | i | p | timed ]*     : toggle interactive mode with prompt
  quit                                    : disconnect
";

/// A command for the master itself.
pub(super) fn run(api: &Api, session: &mut Session, words: &[String]) -> Answer {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["show", "proc", ..] => Answer::Text(processes(api)),
        ["show", "version", ..] => Answer::Text(format!("{}\n", super::process::VERSION)),
        ["show", "startup-logs", ..] => Answer::Text(api.startup.clone()),
        ["show", "cli", "level", ..] => super::process::level(session.level),
        ["reload" | "hard-reload", ..] if session.level < CliLevel::Operator => {
            Answer::error("Permission denied")
        }
        ["reload" | "hard-reload", ..] => {
            session.ended = true;
            session.mode = Mode::Once;
            let by = format!("{} on {}", session.peer, session.socket);
            Answer::Later(api.reloads.ask(&by))
        }
        ["upgrade", ..] if session.level < CliLevel::Admin => Answer::error("Permission denied"),
        ["upgrade", ..] => super::handing_over::upgrade(api),
        ["mcli-debug-mode", rest @ ..] => {
            let debug = rest.first() == Some(&"on");
            session.master = session.master.map(|it| Master { debug, ..it });
            Answer::Done
        }
        ["help", ..] => Answer::Text(HELP.to_owned()),
        [target, ..] if target.starts_with('@') => Answer::error(format!(
            "Can't find the target PID matching the prefix '{target}'."
        )),
        _ => Answer::error(format!(
            "Unknown command: '{}'. {HELP}",
            words.first().copied().unwrap_or_default()
        )),
    }
}

fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}d{:02}h{:02}m{:02}s",
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn processes(api: &Api) -> String {
    let pid = std::process::id();
    let uptime = shown(api.handle.uptime());
    let version = super::process::VERSION;
    let mut text = format!(
        "#{:<14} {:<15} {:<15} {:<15} {:<15}\n",
        "<PID>", "<type>", "<reloads>", "<uptime>", "<version>"
    );
    let row = |kind: &str, reloads: &str| {
        format!("{pid:<15} {kind:<15} {reloads:<15} {uptime:<15} {version:<15}\n")
    };
    let (done, failed) = api.handle.reloads();
    text += &row("master", &format!("{done} [failed: {failed}]"));
    text += "# workers\n";
    text += &row("worker", "0");
    if let Some(old) = api.handle.old_process() {
        text += "# old workers\n";
        let uptime = shown(old.uptime_then + old.since.elapsed());
        let (pid, release) = (old.pid, old.release);
        text += &format!(
            "{pid:<15} {:<15} {:<15} {uptime:<15} {release:<15}\n",
            "worker", "1"
        );
    }
    text
}
