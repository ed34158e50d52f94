//! `tidegate demo`: everything on one machine, to look at and to break. A registry, some WebSocket
//! nodes as processes, a certificate made on the spot, and the balancer itself, run from a
//! configuration file through the same code path as `tidegate -f`.
//!
//! Not a way to run anything that matters: the certificate is its own authority and the folder is
//! removed at the end. What it watches it watches from outside, through the balancer's ports and
//! log lines, as any operator could.

mod announce;
mod companion;
mod files;
mod fleet;
mod node;
mod options;
mod screen;
mod sockets;
mod watching;

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use companion::Companion;
use options::{Options, Parsed};

/// Runs `tidegate demo ARGUMENTS`. `serve` runs the balancer with one configuration file, quietly,
/// and returns when it has stopped.
pub(crate) fn main(
    arguments: impl IntoIterator<Item = OsString>,
    serve: impl FnOnce(&Path) -> ExitCode,
) -> ExitCode {
    let outcome = match options::parse(arguments) {
        Ok(Parsed::Run(options)) => run(&options, serve),
        Ok(Parsed::Help) => {
            print!("{}", options::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(|error| complain(&error))
}

/// Runs the hidden `tidegate demo-node ARGUMENTS`: one node, until it is killed.
pub(crate) fn node_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let outcome = options::parse_node(arguments).and_then(|settings| {
        let runtime = single_thread()?;
        runtime.block_on(node::run(settings))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("tidegate demo: {error:#}");
    ExitCode::FAILURE
}

fn run(options: &Options, serve: impl FnOnce(&Path) -> ExitCode) -> Result<ExitCode> {
    check_port_free(options, options.http, "--http")?;
    check_port_free(options, options.https, "--https")?;
    let folder = tempfile::Builder::new()
        .prefix("tidegate-demo-")
        .tempdir()
        .context("make a folder for the demo's files")?;
    let runtime = single_thread()?;
    let companion = runtime.block_on(Companion::prepare(options, folder.path()))?;
    let config = companion.config().to_owned();
    let (stop, stopped) = watch::channel(false);
    let accompanying = std::thread::Builder::new()
        .name("demo".into())
        .spawn(move || runtime.block_on(companion.accompany(stopped)))
        .context("start a thread")?;
    let code = serve(&config);
    // The companion ends its nodes and leaves; it has nothing to report that was not printed.
    stop.send(true).ok();
    accompanying.join().ok();
    folder.close().context("remove the demo's folder")?;
    Ok(code)
}

fn single_thread() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")
}

/// The balancer would say so too, but it does not know the demo's flags.
fn check_port_free(options: &Options, port: u16, flag: &str) -> Result<()> {
    let Err(error) = TcpListener::bind((options.listen, port)) else {
        return Ok(());
    };
    if error.kind() == std::io::ErrorKind::AddrInUse {
        bail!("port {port} is taken; stop what uses it, or choose another one with {flag} PORT");
    }
    Err(error).with_context(|| {
        let listen = options.listen;
        format!("cannot listen on {listen}:{port}; choose another port with {flag} PORT")
    })
}
