//! `tidegate updater`: keeps the servers of a HAProxy in step with discovery.

mod options;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use control::Environment;
use control::updater::{Say, Updater};
use engine::Level;
use tokio::signal::unix::{SignalKind, signal};

use crate::{process, sources};
use options::Parsed;

/// Runs `tidegate updater ARGUMENTS` until TERM or INT.
pub(crate) fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match options::parse(arguments) {
        Ok(Parsed::Run(options)) => options,
        Ok(Parsed::Help) => {
            // A closed pipe behind us is nobody's fault.
            let _ = std::io::stdout().write_all(options::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("tidegate updater: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let environment = Environment::read(|name| std::env::var_os(name));
    let say: Say = Arc::new(say);
    match Updater::open(
        &options,
        environment,
        Arc::new(sources::System),
        Arc::clone(&say),
    ) {
        Ok(updater) => match run(updater, &say) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(Level::Alert, &format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
        Err(problems) => {
            for problem in problems {
                say(Level::Alert, &problem);
            }
            ExitCode::FAILURE
        }
    }
}

/// Says a line as HAProxy does; a terminal or a journal puts the time to it.
fn say(level: Level, line: &str) {
    let word = match level {
        Level::Emergency | Level::Alert | Level::Critical | Level::Error => "ALERT]   ",
        Level::Warning => "WARNING] ",
        Level::Notice | Level::Info | Level::Debug => "NOTICE]  ",
    };
    let line = format!("[{word} ({}) : {line}\n", std::process::id());
    // Nobody listens any more: the work goes on.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn run(updater: Updater, say: &Say) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let mut int = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
        if let Some(address) = updater.listens_at() {
            say(
                Level::Notice,
                &format!("Page and metrics: http://{address}/"),
            );
        }
        process::notify_ready()?;
        tokio::select! {
            () = updater.run() => {}
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        say(Level::Notice, "Exiting: HAProxy keeps the servers it has.");
        anyhow::Ok(())
    })?;
    // A file that is being written is the old one or the new one.
    runtime.shutdown_background();
    Ok(())
}
