//! The program under test, with a folder, a configuration and ports of its own.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::ports::listened_on;
use crate::stats::{Metrics, Table};
use crate::wait::{PATIENCE, wait_until};
use crate::{Port, Process, http};

/// Variables of the surroundings that would change what the balancer does.
const UNWANTED_VARIABLES: [&str; 4] = [
    "WS_UPDATES_URL",
    "API_KEY",
    "UPDATE_INTERVAL",
    "NOTIFY_SOCKET",
];

/// A balancer in the making.
///
/// The configuration may contain `<port:NAME>` (a free port, claimed on first use and told by
/// [`Balancer::address`]), `<dir>` (its folder), and whatever was [set](Setup::set).
pub struct Setup {
    program: PathBuf,
    config: String,
    values: BTreeMap<String, String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: TempDir,
    ports: BTreeMap<String, Port>,
}

impl Setup {
    /// The folder it will run with.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Fills a placeholder: `<name>` becomes `value`.
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.values.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds an argument behind `-db -f FILE`.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds an environment variable.
    pub fn variable(mut self, name: &str, value: impl Display) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds several.
    pub fn variables(
        mut self,
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        for (name, value) in variables {
            self = self.variable(name, value);
        }
        self
    }

    /// Writes a file into the folder.
    pub fn file(self, name: &str, content: &str) -> Self {
        std::fs::write(self.folder().join(name), content).unwrap();
        self
    }

    /// Starts, and waits until every claimed port is listened on.
    pub async fn start(self) -> Balancer {
        let mut balancer = self.start_unready();
        balancer.wait_ready().await;
        balancer
    }

    /// Starts without waiting for anything.
    pub fn start_unready(mut self) -> Balancer {
        let text = self.fill();
        let config = self.folder.path().join("haproxy.cfg");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-db").arg("-f").arg(&config);
        command.args(&self.arguments).envs(self.environment);
        command.current_dir(self.folder.path());
        command.env("HOME", self.folder.path());
        for name in UNWANTED_VARIABLES {
            if !command.get_envs().any(|(known, _)| known == name) {
                command.env_remove(name);
            }
        }
        Balancer {
            process: Process::start(&mut command),
            folder: self.folder,
            ports: self.ports,
        }
    }

    /// The configuration with every placeholder filled.
    fn fill(&mut self) -> String {
        let folder = self.folder.path().display().to_string();
        self.values.insert("dir".into(), folder);
        let mut filled = String::new();
        let mut rest = std::mem::take(&mut self.config);
        while let Some((before, name, after)) = next_placeholder(&rest) {
            filled.push_str(before);
            match name.strip_prefix("port:") {
                Some(name) => {
                    let port = self.ports.entry(name.to_owned());
                    filled.push_str(&port.or_insert_with(Port::claim).number().to_string());
                }
                None => match self.values.get(name) {
                    Some(value) => filled.push_str(value),
                    None => panic!("nothing was set for <{name}>"),
                },
            }
            rest = after.to_owned();
        }
        filled + &rest
    }
}

/// Splits at the first `<word>`; other angle brackets are text.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find('<')?;
        let close = open + text[open..].find('>')?;
        let name = &text[open + 1..close];
        let is_name = |c: char| c.is_ascii_alphanumeric() || ":_-".contains(c);
        if !name.is_empty() && name.chars().all(is_name) {
            return Some((&text[..open], name, &text[close + 1..]));
        }
        from = open + 1;
    }
}

/// A running balancer. Killed when dropped; a panic of its is a failure of the test.
pub struct Balancer {
    process: Process,
    folder: TempDir,
    ports: BTreeMap<String, Port>,
}

impl Balancer {
    /// Prepares `program` with that configuration.
    pub fn setup(program: impl Into<PathBuf>, config: &str) -> Setup {
        Setup {
            program: program.into(),
            config: config.to_owned(),
            values: BTreeMap::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: TempDir::with_prefix("tidegate-test-").unwrap(),
            ports: BTreeMap::new(),
        }
    }

    /// Waits until every claimed port is listened on; panics if the program ends first.
    pub async fn wait_ready(&mut self) {
        let ports: Vec<u16> = self.ports.values().map(Port::number).collect();
        let process = &mut self.process;
        wait_until("the balancer to listen", PATIENCE, async || {
            if let Some(status) = process.exited() {
                panic!("the balancer ended with {status}:\n{}", process.output());
            }
            let missing: Vec<u16> = ports
                .iter()
                .copied()
                .filter(|port| !listened_on(*port))
                .collect();
            crate::wait::or_seen(missing.is_empty(), format!("not yet on {missing:?}"))
        })
        .await;
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of `<port:NAME>`.
    pub fn address(&self, name: &str) -> SocketAddr {
        match self.ports.get(name) {
            Some(port) => port.address(),
            None => panic!("the configuration has no <port:{name}>"),
        }
    }

    /// The statistics of all frontends, backends and servers, read from `/stats;csv` on that port.
    pub async fn stats(&self, port: &str) -> Table {
        let response = http::get(self.address(port), "/stats;csv").await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        Table::parse(&response.text())
    }

    /// The metrics, read from `/metrics` on that port.
    pub async fn metrics(&self, port: &str) -> Metrics {
        let response = http::get(self.address(port), "/metrics").await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        Metrics::parse(&response.text())
    }

    /// Waits until a server's status begins with `status`.
    pub async fn wait_status(&self, port: &str, backend: &str, server: &str, status: &str) {
        let what = format!("{backend}/{server} to be {status}");
        wait_until(&what, PATIENCE, async || {
            let table = self.stats(port).await;
            let seen = table.try_get(backend, server, "status");
            match seen {
                Some(seen) if seen.starts_with(status) => Ok(()),
                seen => Err(format!(
                    "{seen:?}, last check: {:?} {:?}",
                    table.try_get(backend, server, "check_status"),
                    table.try_get(backend, server, "last_chk"),
                )),
            }
        })
        .await;
    }
}

impl Deref for Balancer {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Balancer {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let panicked = self.process.count_lines("panicked at") > 0;
        if panicked && !std::thread::panicking() {
            panic!("the balancer panicked:\n{}", self.process.output());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_placeholders_and_leaves_other_brackets() {
        let config = "bind :<port:a>\nbind :<port:a>\nserver s <node> # a < b > c <dir>";
        let mut setup = Balancer::setup("none", config).set("node", "127.0.0.1:1");
        let folder = setup.folder().display().to_string();
        let filled = setup.fill();
        let port = setup.ports["a"].number();
        assert_eq!(
            filled,
            format!("bind :{port}\nbind :{port}\nserver s 127.0.0.1:1 # a < b > c {folder}")
        );
    }

    #[test]
    #[should_panic(expected = "nothing was set for <node>")]
    fn an_unset_placeholder_is_an_error() {
        Balancer::setup("none", "server s <node>").fill();
    }
}
