//! Arguments of `tidegate demo` and of the hidden `tidegate demo-node`.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;

use super::node;

/// Each node is a process; beyond this a demo is a load test of the machine.
const NODES_MAX: usize = 32;

/// What `tidegate demo --help` prints.
pub(super) const HELP: &str = "\
Usage: tidegate demo [--http PORT] [--https PORT] [--nodes N] [--listen ADDRESS]

Runs a node registry, N WebSocket nodes and the balancer on this machine, with a
certificate made on the spot, and tells what happens. Ctrl-C stops everything.

  --http PORT       plain HTTP and WebSocket (default 8080)
  --https PORT      the same through TLS (default 8443)
  --nodes N         how many nodes, 1 to 32 (default 3)
  --listen ADDRESS  where the balancer listens (default 127.0.0.1: this machine
                    alone can reach it)
";

/// What `demo` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// `--http`.
    pub(super) http: u16,
    /// `--https`.
    pub(super) https: u16,
    /// `--nodes`.
    pub(super) nodes: usize,
    /// `--listen`.
    pub(super) listen: IpAddr,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            http: 8080,
            https: 8443,
            nodes: 3,
            listen: Ipv4Addr::LOCALHOST.into(),
        }
    }
}

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The demo.
    Run(Options),
    /// `--help`.
    Help,
}

/// Reads the arguments behind `demo`.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("http") => options.http = parser.value()?.parse().context("--http")?,
            Long("https") => options.https = parser.value()?.parse().context("--https")?,
            Long("nodes") => options.nodes = parser.value()?.parse().context("--nodes")?,
            Long("listen") => options.listen = parser.value()?.parse().context("--listen")?,
            Short('h') | Long("help") => return Ok(Parsed::Help),
            other => bail!("{}; see tidegate demo --help", other.unexpected()),
        }
    }
    ensure!(
        (1..=NODES_MAX).contains(&options.nodes),
        "--nodes {} is not between 1 and {NODES_MAX}",
        options.nodes
    );
    ensure!(
        options.http != 0 && options.https != 0,
        "a port is between 1 and 65535"
    );
    ensure!(
        options.http != options.https,
        "--http and --https are the same port, {}",
        options.http
    );
    Ok(Parsed::Run(options))
}

/// Reads the arguments behind `demo-node`; the key comes from `API_KEY`, where nobody sees it.
pub(super) fn parse_node(arguments: impl IntoIterator<Item = OsString>) -> Result<node::Settings> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut settings = node::Settings {
        id: "node1".into(),
        listen: Ipv4Addr::LOCALHOST.into(),
        announced: None,
        port: 0,
        registry: None,
        key: std::env::var("API_KEY").unwrap_or_default(),
        ends_with_stdin: false,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("id") => settings.id = parser.value()?.string()?,
            Long("listen") => settings.listen = parser.value()?.parse().context("--listen")?,
            Long("announce") => settings.announced = Some(parser.value()?.string()?),
            Long("port") => settings.port = parser.value()?.parse().context("--port")?,
            Long("registry") => settings.registry = Some(parser.value()?.string()?),
            Long("ends-with-stdin") => settings.ends_with_stdin = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &str, expected: Result<Options, &str>) {
        let parsed = parse(arguments.split_whitespace().map(OsString::from));
        match (parsed, expected) {
            (Ok(Parsed::Run(options)), Ok(expected)) => assert_eq!(options, expected),
            (Err(error), Err(expected)) => assert_eq!(format!("{error:#}"), expected),
            (parsed, expected) => panic!("{arguments}: {parsed:?}, not {expected:?}"),
        }
    }

    #[test]
    fn reads_the_demos_arguments() {
        let options = Options::default;
        check("", Ok(options()));
        check(
            "--http 9080 --https=9443 --nodes 5 --listen 0.0.0.0",
            Ok(Options {
                http: 9080,
                https: 9443,
                nodes: 5,
                listen: Ipv4Addr::UNSPECIFIED.into(),
            }),
        );
        check("--nodes 0", Err("--nodes 0 is not between 1 and 32"));
        check("--nodes 33", Err("--nodes 33 is not between 1 and 32"));
        check(
            "--http 8443",
            Err("--http and --https are the same port, 8443"),
        );
        check("--https 0", Err("a port is between 1 and 65535"));
        check(
            "--port 1",
            Err("invalid option '--port'; see tidegate demo --help"),
        );
    }

    #[test]
    fn asks_for_help() {
        assert_eq!(parse([OsString::from("--help")]).unwrap(), Parsed::Help);
    }
}
