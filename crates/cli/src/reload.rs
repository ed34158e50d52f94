//! `tidegate reload` and `tidegate upgrade`: have a running process read its files again, or start the binary that is on
//! disk now in its place, and tell what came of it.
//!
//! Asked is the master's socket (`-S`) or a `stats socket` with `level admin`: given by hand, or found by the
//! arguments of the process that a pid file names.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use config::model::{BindAddress, CliLevel, RuntimeApi};

use crate::flags::{self, Options};
use crate::run::{self, Speaker, tell};

/// The process was reached, and said no.
const REFUSED: u8 = 1;
/// Whether it was done is not known.
const UNKNOWN: u8 = 2;

/// How long it may take: thousands of certificates are read, say.
const PATIENCE: Duration = Duration::from_secs(300);

/// Most that is read of an answer.
const ANSWER_MAX: u64 = 1 << 20;

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Verb {
    word: &'static str,
    does: &'static str,
}

/// `tidegate reload`.
pub(crate) const RELOAD: Verb = Verb {
    word: "reload",
    does: "Has a running tidegate read its configuration again and apply what has changed, and tells\n\
           what came of it.",
};

/// `tidegate upgrade`.
pub(crate) const UPGRADE: Verb = Verb {
    word: "upgrade",
    does: "Has the binary that is on disk now take the place of a running tidegate, open WebSockets\n\
           included, and tells what came of it.",
};

impl Verb {
    fn usage(self) -> String {
        format!(
            "usage: tidegate {} -p PIDFILE | PID | SOCKET | HOST:PORT\n\n{} SOCKET is the master's socket (-S) or a\n\
             stats socket with level admin; by a process id both are found by themselves.\n\
             Exit code: 0 done, 1 refused and nothing changed, 2 it could not be asked.\n",
            self.word, self.does
        )
    }
}

/// Runs it with the arguments behind the verb.
pub(crate) fn main(verb: Verb, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let asked = match words.as_slice() {
        ["-p", file] => ask_by_pid_file(verb, Path::new(file)),
        [word] if !word.starts_with('-') => match word.parse() {
            Ok(pid) => ask_by_pid(verb, pid),
            Err(_) => ask(verb, &door(word)),
        },
        _ => {
            tell(&verb.usage());
            return ExitCode::from(UNKNOWN);
        }
    };
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            tell(&format!("tidegate: {}: {error:#}\n", verb.word));
            return ExitCode::from(UNKNOWN);
        }
    };
    let (success, said) = answer.split_once("\n--\n").unwrap_or((&answer, ""));
    tell(said);
    match success.trim() {
        "Success=1" => ExitCode::SUCCESS,
        "Success=0" => ExitCode::from(REFUSED),
        other => {
            tell(&format!(
                "tidegate: {}: the answer was: {other}\n",
                verb.word
            ));
            ExitCode::from(UNKNOWN)
        }
    }
}

/// Where a process listens for commands.
#[derive(Debug, PartialEq, Eq)]
enum Door {
    Unix(PathBuf),
    Abstract(String),
    Tcp(String),
}

/// A socket as it is written on a `stats socket` line or behind `-S`.
fn door(text: &str) -> Door {
    let of = |prefix: &str| text.strip_prefix(prefix);
    if let Some(path) = of("unix@") {
        return Door::Unix(path.into());
    }
    if let Some(name) = of("abns@") {
        return Door::Abstract(name.into());
    }
    if let Some(address) = of("ipv4@").or_else(|| of("ipv6@")) {
        return Door::Tcp(address.into());
    }
    match text.contains('/') || !text.contains(':') {
        true => Door::Unix(text.into()),
        false => Door::Tcp(text.into()),
    }
}

fn ask(verb: Verb, door: &Door) -> Result<String> {
    match door {
        Door::Unix(path) => {
            let stream = UnixStream::connect(path);
            let stream = stream.with_context(|| format!("cannot connect to {}", path.display()))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            talk(verb, stream)
        }
        Door::Abstract(name) => {
            use std::os::linux::net::SocketAddrExt;
            // As HAProxy's, they fill the whole address with zeros.
            let mut whole = name.as_bytes().to_vec();
            whole.resize(107, 0);
            let address = std::os::unix::net::SocketAddr::from_abstract_name(whole)?;
            let stream = UnixStream::connect_addr(&address);
            let stream = stream.with_context(|| format!("cannot connect to abns@{name}"))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            talk(verb, stream)
        }
        Door::Tcp(address) => {
            let stream = TcpStream::connect(address);
            let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            talk(verb, stream)
        }
    }
}

fn talk(verb: Verb, mut stream: impl Read + Write) -> Result<String> {
    let line = format!("{}\n", verb.word);
    stream.write_all(line.as_bytes()).context("cannot ask")?;
    let mut answer = String::new();
    let mut stream = stream.take(ANSWER_MAX);
    stream
        .read_to_string(&mut answer)
        .context("no answer came")?;
    Ok(answer)
}

/// Finds the process by its pid file, and its sockets by what it was started with.
fn ask_by_pid_file(verb: Verb, file: &Path) -> Result<String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let pid = text.split_whitespace().next().unwrap_or_default();
    let pid = pid.parse();
    ask_by_pid(
        verb,
        pid.with_context(|| format!("{shown} holds no process id"))?,
    )
}

/// The same by the id of the process.
fn ask_by_pid(verb: Verb, pid: u32) -> Result<String> {
    let doors = doors_of(pid)?;
    let mut last = None;
    for door in &doors {
        match ask(verb, door) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error),
        None => bail!(
            "process {pid} has neither a master's socket (-S) nor a stats socket with level admin to be \
             asked by{}",
            match verb.word {
                "reload" => format!(
                    "; `kill -USR2 {pid}` has it reload all the same, and its log tells what came of it"
                ),
                _ => String::new(),
            }
        ),
    }
}

/// Where a process of ours can be asked: by its arguments, and the files they name.
fn doors_of(pid: u32) -> Result<Vec<Door>> {
    let of = |what: &str| format!("/proc/{pid}/{what}");
    let line =
        std::fs::read(of("cmdline")).with_context(|| format!("there is no process {pid}"))?;
    let words = line.split(|byte| *byte == 0).skip(1);
    let words = words.filter(|word| !word.is_empty());
    let words = words.map(|word| OsString::from(String::from_utf8_lossy(word).into_owned()));
    let mut options = match flags::parse(words) {
        Ok(options) => options,
        Err(why) => bail!("the arguments of process {pid} are none of ours: {why}"),
    };
    let home = std::fs::read_link(of("cwd")).unwrap_or_default();
    for file in &mut options.files {
        *file = home.join(&*file);
    }
    Ok(doors(&options))
}

fn doors(options: &Options) -> Vec<Door> {
    let speaker = Speaker::new(true, false);
    let Ok((config, _)) = run::read(options, &speaker) else {
        return doors_of_broken(options);
    };
    let RuntimeApi {
        master, sockets, ..
    } = &config.global.runtime_api;
    let admin = sockets
        .iter()
        .filter(|it| it.settings.level == CliLevel::Admin);
    let all = master.iter().chain(admin);
    let doors = all.filter_map(|socket| match &socket.bind.address {
        BindAddress::Unix(path) => Some(Door::Unix(path.clone())),
        BindAddress::Abstract(name) => Some(Door::Abstract(name.to_string())),
        BindAddress::Inet(address) => Some(Door::Tcp(address.to_string())),
        BindAddress::Fd(_) => None,
    });
    doors.collect()
}

/// The same where the files cannot be used: the process is to say so itself.
fn doors_of_broken(options: &Options) -> Vec<Door> {
    let master = options.master.as_deref();
    let master = master.and_then(|it| it.split(',').next()).map(door);
    let texts = options
        .files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok());
    let named = texts.flat_map(|text| text.lines().filter_map(named).collect::<Vec<_>>());
    master.into_iter().chain(named).collect()
}

/// The socket that a `stats socket` line with `level admin` names.
fn named(line: &str) -> Option<Door> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["stats", "socket", at, rest @ ..]
            if rest.windows(2).any(|it| it == ["level", "admin"]) =>
        {
            Some(door(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_in_files_that_are_broken_as_well() {
        let found = named("  stats socket /run/a.sock mode 600 level admin");
        assert_eq!(found, Some(Door::Unix("/run/a.sock".into())));
        assert_eq!(named("  stats socket /run/a.sock"), None);
        assert_eq!(named("  bind /run/a.sock level admin"), None);
    }

    #[test]
    fn a_socket_is_written_as_in_the_file() {
        let check = |text: &str, expected: Door| assert_eq!(door(text), expected, "{text}");
        check(
            "/run/tidegate.sock",
            Door::Unix("/run/tidegate.sock".into()),
        );
        check("unix@a.sock", Door::Unix("a.sock".into()));
        check("a.sock", Door::Unix("a.sock".into()));
        check("abns@name", Door::Abstract("name".into()));
        check("127.0.0.1:9999", Door::Tcp("127.0.0.1:9999".into()));
        check("ipv6@[::1]:9999", Door::Tcp("[::1]:9999".into()));
    }
}
