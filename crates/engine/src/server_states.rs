//! States of servers as text: what `show servers state` answers, and what `load-server-state-from-file`
//! takes up again (management.txt 9.3, "show servers state"; manual 4.2, "load-server-state-from-file").

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use config::model::{AgentAddress, CheckAddress, Config, ServerAddress, StateFile};
use routing::health::{Admin, Restored, Verdict};

use crate::handle::Handle;
use crate::server::{ServerState, Target};
use crate::shared::Shared;
use crate::site::BackendState;

/// The version of the format, on a line of its own.
const VERSION: &str = "1";

const HEADER: &str = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state \
    srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result \
    srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port \
    srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port";

/// A state file is read whole. As long as one of a hundred thousand servers.
const FILE_LEN_MAX: u64 = 16 << 20;

/// Bits of `srv_admin_state`.
mod admin_bit {
    pub(super) const MAINT_FORCED: u32 = 1;
    pub(super) const MAINT_INHERITED: u32 = 2;
    pub(super) const MAINT_CONFIGURED: u32 = 4;
    pub(super) const DRAIN_FORCED: u32 = 8;
    pub(super) const DRAIN_INHERITED: u32 = 16;
}

/// Bits of `srv_check_state` and `srv_agent_state`.
mod check_bit {
    pub(super) const UNDER_WAY: u32 = 1;
    pub(super) const CONFIGURED: u32 = 2;
    pub(super) const ENABLED: u32 = 4;
    pub(super) const PAUSED: u32 = 8;
    pub(super) const AGENT: u32 = 16;
}

impl Handle {
    /// The states of all servers, or of those of one backend; `None`: there is no such backend.
    pub fn server_states(&self, backend: Option<&str>) -> Option<String> {
        let shared = self.shared();
        let site = shared.site.load();
        let mut text = format!("{VERSION}\n{HEADER}\n");
        match backend {
            Some(name) => {
                let found = site.backends.iter().find(|it| **it.name() == *name)?;
                write_backend(shared, found, &mut text);
            }
            None => {
                for backend in &site.backends {
                    write_backend(shared, backend, &mut text);
                }
            }
        }
        Some(text)
    }
}

fn write_backend(shared: &Shared, backend: &BackendState, text: &mut String) {
    for server in backend.servers() {
        write_server(shared, backend, &server, text);
    }
}

fn write_server(shared: &Shared, backend: &BackendState, server: &ServerState, text: &mut String) {
    let conf = &server.conf;
    let health = server.health().clone();
    let now = shared.clock.since_start();
    let (address, port) = match server.target(None) {
        Some(Target::Inet(address)) => (address.ip().to_string(), address.port()),
        _ => ("-".to_owned(), 0),
    };
    let operation = match (health.is_up(), health.is_stopping()) {
        (false, _) => 0,
        (true, false) => 2,
        (true, true) => 3,
    };
    let (status, result) = match health.last_result() {
        None => (1, 0),
        Some(last) => {
            let result = match last.code.verdict() {
                Verdict::Unknown => 0,
                Verdict::Failed => 2,
                Verdict::Passed => 3,
                Verdict::Conditional => 4,
            };
            (last.code.number(), result)
        }
    };
    let paused = match health.admin() {
        Admin::Maint => check_bit::PAUSED,
        _ => 0,
    };
    let check_state = match &conf.check {
        None => 0,
        Some(_) => {
            let enabled = if health.is_checked() {
                check_bit::ENABLED
            } else {
                0
            };
            let under_way = u32::from(server.checking.load(Relaxed)) * check_bit::UNDER_WAY;
            check_bit::CONFIGURED | enabled | paused | under_way
        }
    };
    let agent_state = match &conf.agent {
        None => 0,
        Some(_) => check_bit::AGENT | check_bit::CONFIGURED | check_bit::ENABLED | paused,
    };
    let (agent_addr, agent_port) = match &conf.agent {
        None => ("-".to_owned(), 0),
        Some(agent) => {
            let addr = match &agent.addr {
                None => "-".to_owned(),
                Some(AgentAddress::Ip(ip)) => ip.to_string(),
                Some(AgentAddress::Name(name)) => name.to_string(),
            };
            (addr, agent.port)
        }
    };
    let check_addr = match &conf.check_parameters.addr {
        Some(CheckAddress::Ip(ip)) => ip.to_string(),
        _ => "-".to_owned(),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{} {} {} {} {address} {operation} {} {} {} {} {status} {result} {} {check_state} \
         {agent_state} {} {} {} {port} - {} {} {check_addr} {agent_addr} {agent_port}",
        backend.id,
        backend.name(),
        server.id,
        conf.name,
        admin_bits(server, &health),
        server.weight.load(Relaxed),
        conf.weight.value(),
        health.since_change(now).as_secs(),
        counter(server, &health),
        u8::from(backend.conf().proxy.id.is_some()),
        u8::from(conf.id.is_some()),
        server
            .name_to_resolve()
            .map_or_else(|| "-".into(), |(name, _)| name),
        server.use_tls_shown(),
        conf.check_parameters.port.unwrap_or(0),
    );
}

/// `srv_check_health`. HAProxy's servers without checks have what `default-server` has for all.
fn counter(server: &ServerState, health: &routing::health::Health) -> u32 {
    match &server.conf.check {
        None if server.conf.has_defaults => health.rise(),
        _ => health.counter(),
    }
}

fn admin_bits(server: &ServerState, health: &routing::health::Health) -> u32 {
    let own = match health.admin() {
        Admin::Ready => 0,
        Admin::Drain => admin_bit::DRAIN_FORCED,
        Admin::Maint => admin_bit::MAINT_FORCED,
    };
    let inherited = match health.inherited() {
        Admin::Ready => 0,
        Admin::Drain => admin_bit::DRAIN_INHERITED,
        Admin::Maint => admin_bit::MAINT_INHERITED,
    };
    let configured = if server.conf.disabled {
        admin_bit::MAINT_CONFIGURED
    } else {
        0
    };
    own | inherited | configured
}

/// One line of a state file, as far as it is taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    address: Option<IpAddr>,
    operation: u32,
    admin: u32,
    weight: u64,
    initial_weight: u64,
    since_change: Duration,
    counter: u32,
}

/// Server names to their lines, by backend.
type Lines = HashMap<String, HashMap<String, Line>>;

/// Reads a state file; lines that are none of ours are left out. Fails with a sentence.
fn read(text: &str) -> Result<Lines, String> {
    let mut lines = text.lines();
    match lines.next().map(str::trim) {
        Some(VERSION) => {}
        other => {
            let other = other.unwrap_or_default();
            return Err(format!(
                "it is of version '{other}', and version 1 is known"
            ));
        }
    }
    let mut found = Lines::new();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if let [_, backend, _, server, rest @ ..] = &words[..]
            && let Some(line) = read_line(rest)
        {
            let servers = found.entry((*backend).to_owned()).or_default();
            servers.insert((*server).to_owned(), line);
        }
    }
    Ok(found)
}

/// What is behind the name of a server.
fn read_line(words: &[&str]) -> Option<Line> {
    let number = |at: usize| words.get(at)?.parse::<u32>().ok();
    Some(Line {
        address: words.first()?.parse().ok(),
        operation: number(1).filter(|state| *state <= 3)?,
        admin: number(2)?,
        weight: u64::from(number(3).filter(|weight| *weight <= 256)?),
        initial_weight: u64::from(number(4)?),
        since_change: Duration::from_secs(number(5)?.into()),
        counter: number(8)?,
    })
}

/// The files that backends want, read while they are in reach; each problem is a sentence.
pub(crate) struct StateFiles {
    lines: HashMap<PathBuf, Lines>,
    pub(crate) problems: Vec<String>,
}

impl StateFiles {
    pub(crate) fn load(config: &Config) -> Self {
        let mut files = Self {
            lines: HashMap::new(),
            problems: Vec::new(),
        };
        for backend in &config.backends {
            let Some(path) = path(config, &backend.state_file) else {
                continue;
            };
            if files.lines.contains_key(&path) {
                continue;
            }
            let lines = match read_file(&path) {
                Ok(lines) => lines,
                Err(why) => {
                    let path = path.display();
                    files
                        .problems
                        .push(format!("cannot use server state file '{path}': {why}"));
                    Lines::new()
                }
            };
            files.lines.insert(path, lines);
        }
        files
    }

    /// Gives the servers of a backend what its file says of them.
    pub(crate) fn apply(&self, config: &Config, backend: &Arc<BackendState>, now: Duration) {
        let lines = path(config, &backend.conf().state_file).and_then(|path| self.lines.get(&path));
        let Some(lines) = lines.and_then(|lines| lines.get(&**backend.name())) else {
            return;
        };
        for server in backend.servers() {
            if let Some(line) = lines.get(&*server.conf.name) {
                restore(backend, &server, line, now);
            }
        }
    }
}

/// Where the states of a backend's servers are.
fn path(config: &Config, file: &StateFile) -> Option<PathBuf> {
    let global = &config.global;
    let base = |path: &Path| match &global.server_state_base {
        Some(base) if path.is_relative() => base.join(path),
        _ => path.to_owned(),
    };
    match file {
        StateFile::None => None,
        StateFile::Global => global.server_state_file.as_deref().map(base),
        StateFile::Local(path) => Some(base(path)),
    }
}

fn read_file(path: &Path) -> Result<Lines, String> {
    let length = std::fs::metadata(path)
        .map_err(|why| why.to_string())?
        .len();
    if length > FILE_LEN_MAX {
        return Err(format!("it is longer than {FILE_LEN_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|why| why.to_string())?;
    read(&text)
}

/// What an operator has set counts again, where the configuration still says what it said: its weight and
/// state of administration. What checks knew holds until they know better.
fn restore(backend: &Arc<BackendState>, server: &ServerState, line: &Line, now: Duration) {
    if line.initial_weight == u64::from(server.conf.weight.value()) {
        server.weight.store(line.weight, Relaxed);
    }
    // `init-addr last`: an address that its name had.
    if let (Some((_, port)), Some(ip)) = (server.name_to_resolve(), line.address)
        && matches!(server.conf.address, ServerAddress::Name(..))
    {
        backend.set_address(server, Some((ip, port).into()));
    }
    let was_disabled = line.admin & admin_bit::MAINT_CONFIGURED != 0;
    let admin = if was_disabled != server.conf.disabled {
        // The configuration has changed its mind, and it is the newer word.
        None
    } else if line.admin & admin_bit::MAINT_FORCED != 0 {
        Some(Admin::Maint)
    } else if line.admin & admin_bit::DRAIN_FORCED != 0 {
        Some(Admin::Drain)
    } else {
        Some(Admin::Ready)
    };
    let restored = Restored {
        admin,
        up: line.operation != 0,
        counter: line.counter,
        since: line.since_change,
    };
    server.health().restore(&restored, now);
    backend.refresh(server);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match read(text) {
            Err(why) => why,
            Ok(lines) => {
                let mut shown: Vec<String> = Vec::new();
                for (backend, servers) in lines {
                    for (server, line) in servers {
                        shown.push(format!(
                            "{backend}/{server} {:?} {} {} {}/{} {}s {}",
                            line.address,
                            line.operation,
                            line.admin,
                            line.weight,
                            line.initial_weight,
                            line.since_change.as_secs(),
                            line.counter
                        ));
                    }
                }
                shown.sort();
                shown.join("\n")
            }
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn state_files_are_read_as_far_as_they_make_sense() {
        let line = "6 be1 1 srv1 127.0.0.1 2 8 75 100 3 6 3 4 6 0 0 0 - 80 - 0 0 - - 0\n";
        check(
            &format!("1\n# be_id be_name …\n{line}"),
            "be1/srv1 Some(127.0.0.1) 2 8 75/100 3s 4",
        );
        check("2\n", "it is of version '2', and version 1 is known");
        check("", "it is of version '', and version 1 is known");
        check(
            "1\n6 be1 1 srv1\n6 be1 1 srv1 - 9 0 1 1 0 0 0 0\nhello\n",
            "",
        );
        check("1\n6 b 1 s - 0 0 999 1 0 0 0 0 6\n", "");
        check("1\n6 b 1 s - 0 1 1 1 0 0 0 0 6\n", "b/s None 0 1 1/1 0s 0");
    }
}
