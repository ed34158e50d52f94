//! Arguments of `tidegate updater`.

use std::ffi::OsString;

use anyhow::{Context, Result, bail, ensure};
use control::updater::Options;
use lexopt::prelude::*;

/// What `tidegate updater --help` prints.
pub(super) const HELP: &str = "\
Usage: tidegate updater --haproxy-socket ADDRESS [flags]

Keeps the servers of a running HAProxy (2.6 or newer) in step with a node list, without
reloading it: nodes that join are added, nodes that leave are drained and then removed.

  --haproxy-socket ADDRESS  HAProxy's `stats socket … level admin`, as unix:/run/haproxy.sock
                            or tcp:127.0.0.1:9999
  --backend NAME            the backend that nodes fill (default: what `fill-backend` in section
                            discovery says, else ws_backend)
  --haproxy-config FILE     HAProxy's configuration. Its default-server holds for nodes too, and
                            a marked block of it is rewritten, so that a restart of HAProxy keeps
                            the fleet. Give it once for each -f of HAProxy, in the same order
  --haproxy-binary FILE     checks a configuration before it is put in place (/usr/sbin/haproxy)
  --master-socket ADDRESS   HAProxy's -S: reload it where a node cannot get in otherwise
  --server-options WORDS    parameters of servers, beside those of default-server
  --listen ADDRESS          page at /stats, Prometheus at /metrics (127.0.0.1:9090; none: nowhere)
  --drain TIME              a node that left keeps its sessions that long (until they end)
  --state-file FILE         keeps the last good list for the next start
  --max-nodes N             the most nodes (1000)
  --rewrite-localhost HOST  where nodes are that call themselves localhost, as in ws{id}

The last four can stand in section discovery of the configuration as well, between
`.if feature(TIDEGATE)` and `.endif`, which HAProxy skips.

signals: TERM, INT end it; HAProxy keeps the servers it has.
environment: WS_UPDATES_URL (the node list), API_KEY, UPDATE_INTERVAL (30s).
";

/// Where HAProxy's packages put it.
const PROGRAM: &str = "/usr/sbin/haproxy";

/// Page and metrics are for this machine, unless somebody says otherwise.
const LISTEN: &str = "127.0.0.1:9090";

/// What the arguments ask for.
#[derive(Debug)]
pub(super) enum Parsed {
    /// To work.
    Run(Box<Options>),
    /// `--help`.
    Help,
}

/// Reads the arguments behind `updater`.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut options = Options {
        program: PROGRAM.into(),
        ..Options::default()
    };
    let mut listen = LISTEN.to_owned();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("haproxy-socket") => options.socket = text(&mut parser)?,
            Long("backend") => {
                let name = text(&mut parser)?;
                ensure!(
                    options.backend.is_none(),
                    "--backend is given twice; run an updater for each backend"
                );
                options.backend = Some(name);
            }
            Long("haproxy-config") => options.config.push(parser.value()?.into()),
            Long("haproxy-binary") => options.program = parser.value()?.into(),
            Long("master-socket") => options.master = Some(text(&mut parser)?),
            Long("server-options") => options.parameters = text(&mut parser)?,
            Long("listen") => listen = text(&mut parser)?,
            Long("drain") => options.settings.push(("drain", text(&mut parser)?)),
            Long("state-file") => options.settings.push(("state-file", text(&mut parser)?)),
            Long("max-nodes") => options.settings.push(("max-nodes", text(&mut parser)?)),
            Long("rewrite-localhost") => options
                .settings
                .push(("rewrite-localhost", text(&mut parser)?)),
            Short('h') | Long("help") => return Ok(Parsed::Help),
            other => bail!("{}; see tidegate updater --help", other.unexpected()),
        }
    }
    ensure!(
        !options.socket.is_empty(),
        "--haproxy-socket is missing; see tidegate updater --help"
    );
    options.listen = match listen.as_str() {
        "none" => None,
        address => {
            let address = address.strip_prefix("tcp:").unwrap_or(address);
            Some(
                address
                    .parse()
                    .with_context(|| format!("--listen {address}"))?,
            )
        }
    };
    Ok(Parsed::Run(Box::new(options)))
}

fn text(parser: &mut lexopt::Parser) -> Result<String> {
    Ok(parser.value()?.string()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: &str) {
        let printed = match parse(arguments.iter().map(OsString::from)) {
            Ok(Parsed::Run(it)) => format!(
                "{} {:?} {:?} {} {:?} {:?} {:?}",
                it.socket,
                it.backend,
                it.config,
                it.program.display(),
                it.master,
                it.listen,
                it.settings
            ),
            Ok(Parsed::Help) => "help".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        assert_eq!(printed, expected);
    }

    #[test]
    fn reads_the_updaters_arguments() {
        check(
            &["--haproxy-socket", "unix:/s"],
            "unix:/s None [] /usr/sbin/haproxy None Some(127.0.0.1:9090) []",
        );
        let all = "--haproxy-socket=/s --backend b --haproxy-config a --haproxy-config b \
                   --haproxy-binary /h --master-socket /m --listen none --drain 30s";
        check(
            &all.split_whitespace().collect::<Vec<_>>(),
            "/s Some(\"b\") [\"a\", \"b\"] /h Some(\"/m\") None [(\"drain\", \"30s\")]",
        );
        check(&["--help"], "help");
        check(
            &[],
            "--haproxy-socket is missing; see tidegate updater --help",
        );
        check(
            &["--port", "1"],
            "invalid option '--port'; see tidegate updater --help",
        );
        check(
            &["--haproxy-socket", "/s", "--listen", "x"],
            "--listen x: invalid socket address syntax",
        );
        check(
            &["--backend", "a", "--backend", "b"],
            "--backend is given twice; run an updater for each backend",
        );
    }

    #[test]
    fn the_help_fits_a_screen() {
        assert!(HELP.lines().count() <= 34, "{}", HELP.lines().count());
        assert!(HELP.lines().all(|line| line.chars().count() <= 100));
    }
}
