//! From arguments to a running balancer, and its end: `tidegate -f …`, and `-c`.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use config::diagnostics::{Diagnostic, Severity, Style};
use config::model::Config;
use config::source::Source;
use control::lifecycle::Lifecycle;
use control::reload::{Asked, Reloads};
use control::runtime_api::{RuntimeApi, Successor};
use control::{Control, Environment};
use engine::command::Command;
use engine::{Bound, Engine, Handle, Inheritance, Level, Prepared, Presence, Resolver};
use nix::libc;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::flags::{self, Options};
use crate::reloader::Reloader;
use crate::succession::Predecessors;
use crate::upgrade::{Started, Upgrader};
use crate::{limits, process, sources, version};

/// What is said behind all that is wrong with a configuration.
pub(crate) const FATAL: &str = "config : fatal errors found in configuration.";

/// HAProxy's exit code for anything that keeps it from running.
const FAILED: u8 = 1;
/// HAProxy's exit code for `-c` on a configuration without a fault that nobody could connect to.
const NOTHING_LISTENS: u8 = 2;

/// Runs what the arguments ask for.
pub(crate) fn main(options: &Options, program: &OsStr) -> ExitCode {
    match options.version {
        0 => {}
        1 => return print(&(version::line(program) + "\n")),
        _ => return print(&version::build(program)),
    }
    if options.help {
        return print(&flags::help());
    }
    if let Some(condition) = &options.condition {
        return evaluate(condition);
    }
    if options.files.is_empty() {
        return print_usage();
    }
    let speaker = Speaker::new(options.quiet, options.verbose);
    match start(options, program, &speaker) {
        Ok(code) => code,
        Err(Failed) => ExitCode::from(FAILED),
    }
}

/// Runs the balancer with one configuration file in the foreground and without a word on the
/// terminal; for the demo.
pub(crate) fn serve_file(path: &Path) -> ExitCode {
    let options = Options {
        files: vec![path.to_owned()],
        foreground: true,
        quiet: true,
        ..Options::default()
    };
    let speaker = Speaker::new(false, false);
    start(&options, OsStr::new("tidegate"), &speaker).unwrap_or(ExitCode::from(FAILED))
}

/// What is wrong has been said already.
pub(crate) struct Failed;

/// Says things on the terminal, as HAProxy words them.
pub(crate) struct Speaker {
    quiet: bool,
    verbose: bool,
    /// All of it, for `show startup-logs`.
    said: RefCell<String>,
}

/// Bytes that are kept of what was said: a configuration may have a warning a line.
const STARTUP_LOGS_MAX: usize = 64 * 1024;

impl Speaker {
    pub(crate) fn new(quiet: bool, verbose: bool) -> Self {
        Self {
            quiet,
            verbose,
            said: RefCell::default(),
        }
    }

    /// All that was said.
    pub(crate) fn into_said(self) -> String {
        self.said.into_inner()
    }

    pub(crate) fn alert(&self, message: &str) -> Failed {
        self.say("ALERT]   ", message);
        Failed
    }

    pub(crate) fn warning(&self, message: &str) {
        self.say("WARNING] ", message);
    }

    fn say(&self, word: &str, message: &str) {
        let line = line(word, message);
        if !self.quiet {
            tell(&line);
        }
        self.keep(&line);
    }

    /// What the log has said already.
    pub(crate) fn keep_notice(&self, message: &str) {
        self.keep(&line("NOTICE]  ", message));
    }

    /// The same of a warning.
    pub(crate) fn keep_warning(&self, message: &str) {
        self.keep(&line("WARNING] ", message));
    }

    pub(crate) fn diagnostics(&self, diagnostics: &[Diagnostic], sources: &[Source], shown: bool) {
        let style = |color| Style {
            pid: std::process::id(),
            notices: self.verbose,
            color,
        };
        let render = |color| config::diagnostics::render(diagnostics, sources, style(color));
        if !self.quiet && shown {
            tell(&render(std::io::stderr().is_terminal()));
        }
        self.keep(&render(false));
    }

    fn keep(&self, text: &str) {
        let mut said = self.said.borrow_mut();
        if said.len() + text.len() <= STARTUP_LOGS_MAX {
            said.push_str(text);
        }
    }
}

fn line(word: &str, message: &str) -> String {
    format!("[{word} ({}) : {message}\n", std::process::id())
}

fn print(text: &str) -> ExitCode {
    // A closed pipe behind us is nobody's fault.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Writes to stderr. Its reader may be gone (`2>&1 | head -1`, a journal that is restarted): that is nobody's
/// fault, changes no exit code, and ends neither a reload nor the process.
pub(crate) fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn print_usage() -> ExitCode {
    let help = flags::help();
    tell(&format!(
        "tidegate: no configuration: give -f haproxy.cfg\n\n{help}"
    ));
    ExitCode::from(FAILED)
}

/// `-cc`: 0 true, 1 false, 2 cannot be read.
fn evaluate(condition: &str) -> ExitCode {
    match config::evaluate_condition(condition, &sources::System) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            tell(&format!("tidegate: -cc '{condition}': {why}\n"));
            ExitCode::from(2)
        }
    }
}

fn start(options: &Options, program: &OsStr, speaker: &Speaker) -> Result<ExitCode, Failed> {
    // The process in the background starts where this one has come to.
    let started = Started::now(program)
        .map_err(|error| speaker.alert(&format!("cannot find this program's own file: {error}")))?;
    if let Some(directory) = options
        .directory
        .as_ref()
        .filter(|_| !process::is_background())
    {
        std::env::set_current_dir(directory).map_err(|error| {
            speaker.alert(&format!(
                "cannot change to '{}': {error}",
                directory.display()
            ))
        })?;
    }
    for note in &options.notes {
        speaker.warning(note);
    }
    let (lifecycle, first_lines) = Lifecycle::begin();
    let (config, texts) = read(options, speaker)?;
    // Certificates and the like belong to the check: HAProxy's -c reads them too.
    match Prepared::new(Arc::new(config.clone())) {
        Ok(prepared) => {
            speaker.diagnostics(prepared.warnings(), &texts, !process::is_background());
        }
        Err(problems) => {
            speaker.diagnostics(&problems, &texts, true);
            return Err(speaker.alert(FATAL));
        }
    }
    let config = Arc::new(config);
    let environment = Environment::read(|name| variable(&config, name));
    let control = Control::new(&config, environment);
    let control = control.map_err(|errors| {
        for error in &errors {
            speaker.alert(&error.to_string());
        }
        Failed
    })?;
    if options.check {
        return Ok(report_valid(&config, speaker));
    }
    if !listens(&config) {
        return Err(
            speaker.alert("No enabled listener found (check for 'bind' directives) ! Exiting.")
        );
    }
    let run = Run {
        options,
        speaker,
        config,
        control,
        started,
    };
    run.run(program, lifecycle, &first_lines)
}

/// A variable as the configuration left it: `setenv` and its kin count before the environment the
/// program was started with (manual 3.1).
pub(crate) fn variable(config: &Config, name: &str) -> Option<OsString> {
    let environment = &config.global.environment;
    environment.get(name, || std::env::var_os(name))
}

fn report_valid(config: &Config, speaker: &Speaker) -> ExitCode {
    let (code, message) = match listens(config) {
        true => (ExitCode::SUCCESS, "Configuration file is valid\n"),
        false => (
            ExitCode::from(NOTHING_LISTENS),
            "Configuration file has no error but will not start (no listener) => exit(2).\n",
        ),
    };
    if !speaker.quiet {
        print(message);
    }
    code
}

/// Whether anybody could connect. A stats socket counts, as it does for HAProxy: Debian's stock
/// configuration has nothing else.
pub(crate) fn listens(config: &Config) -> bool {
    let enabled = config.frontends.iter().filter(|it| !it.proxy.disabled);
    enabled.map(|frontend| frontend.binds.len()).sum::<usize>() > 0
        || !config.global.runtime_api.sockets.is_empty()
        || config.global.runtime_api.master.is_some()
        || config.registry.is_some()
}

/// Reads and checks all files, those of TLS aside; everything that is wrong is said.
pub(crate) fn read(options: &Options, speaker: &Speaker) -> Result<(Config, Vec<Source>), Failed> {
    let mut texts =
        sources::read(&options.files).map_err(|error| speaker.alert(&format!("{error:#}")))?;
    if let Some(address) = &options.metrics {
        texts.push(sources::metrics(address));
    }
    if let Some(address) = &options.master {
        texts.push(sources::master(address));
    }
    let outcome = config::load(&texts, &sources::System);
    // The process in the background repeats nothing that the terminal has seen.
    let first = !process::is_background();
    speaker.diagnostics(&outcome.diagnostics, &texts, first);
    let Some(mut config) = outcome.config else {
        return Err(speaker.alert(FATAL));
    };
    let warned = outcome
        .diagnostics
        .iter()
        .any(|found| found.severity == Severity::Warning);
    if warned && options.zero_warning {
        return Err(speaker.alert("config : there are warnings, and -dW makes them fatal."));
    }
    if let Some(maxconn) = options.maxconn {
        config.global.maxconn = Some(maxconn);
    } else if let (Some(megabytes), None) = (options.memory, config.global.maxconn) {
        config.global.maxconn = Some(limits::by_memory(megabytes, &config));
    }
    Ok((config, texts))
}

/// A checked configuration about to run.
struct Run<'a> {
    options: &'a Options,
    speaker: &'a Speaker,
    config: Arc<Config>,
    control: Control,
    started: Started,
}

impl Run<'_> {
    fn run(
        mut self,
        program: &OsStr,
        lifecycle: Lifecycle,
        first_lines: &[String],
    ) -> Result<ExitCode, Failed> {
        let daemon = self.is_daemon();
        if daemon && !process::is_background() {
            let ready = process::start_in_background(program)
                .map_err(|error| self.speaker.alert(&format!("{error:#}")))?;
            // What went wrong is on stderr already.
            return if ready {
                Ok(ExitCode::SUCCESS)
            } else {
                Err(Failed)
            };
        }
        let (reloads, reloads_wanted) = Reloads::new();
        let (before, problem) = Predecessors::find(self.options);
        if let Some(problem) = problem {
            // HAProxy's master goes on without them, too: the old process may be gone.
            if !self.options.master_worker || before.is_upgrade() {
                return Err(self.speaker.alert(&problem));
            }
            self.speaker.warning(&problem);
        }
        let (bound, mut runtime_api) = self
            .open(program, daemon, &before, &reloads)
            .inspect_err(|_| before.stay())?;
        let pidfile = self
            .options
            .pidfile
            .as_ref()
            .or(self.config.global.pidfile.as_ref());
        // As HAProxy: in the foreground nobody needs the file of a configuration made for a daemon.
        let wanted = daemon || self.options.notify || self.options.pidfile.is_some();
        let pidfile = pidfile.filter(|_| wanted).cloned();
        if let Some(pidfile) = pidfile.as_ref().filter(|_| !before.is_upgrade()) {
            process::write_pid(pidfile)
                .map_err(|error| self.speaker.alert(&format!("{error:#}")))?;
        }
        let nowhere = daemon.then(process::open_nowhere).transpose();
        let nowhere = nowhere.map_err(|error| self.speaker.alert(&format!("{error:#}")))?;
        let warnings = process::give_up_rights(&self.config.global)
            .map_err(|error| self.speaker.alert(&format!("{error:#}")))?;
        for warning in warnings {
            self.speaker.warning(&warning);
        }
        let beside = Beside::new().map_err(|error| {
            self.speaker
                .alert(&format!("cannot wait for signals: {error}"))
        })?;
        let engine = bound.run().map_err(|error| {
            self.speaker
                .alert(&format!("cannot start threads: {error}"))
        })?;
        for line in first_lines {
            engine.handle().log(Level::Notice, line);
        }
        runtime_api.set_startup_logs(self.speaker.said.take());
        let notifies = self.options.notify;
        let upgrader = Arc::new(Upgrader {
            started: self.started.clone(),
            handle: engine.handle(),
            notifies,
            is_in_chroot: self.config.global.chroot.is_some(),
        });
        runtime_api.set_successor(Successor {
            start: Box::new(move |own| upgrader.start(own)),
            leaving: Arc::new(move |pid| {
                if notifies {
                    // It speaks for the service from now on. Whoever is told nothing sees that we end.
                    let _ = process::notify(&format!("MAINPID={pid}\n"));
                }
            }),
        });
        let answering = runtime_api.answering();
        runtime_api.start(engine.handle()).map_err(|error| {
            self.speaker.alert(&format!(
                "cannot start the thread of the Runtime API: {error}"
            ))
        })?;
        let tell = move || {
            if notifies {
                process::notify_ready()
            } else {
                Ok(())
            }
        };
        if before.is_upgrade() {
            let log = engine.handle();
            let told = move || {
                // Until now it is the other one's. Without the rights that were given up since the start it stays so.
                let written = pidfile.map(|pidfile| process::write_pid(&pidfile));
                if let Some(Err(error)) = written {
                    log.log(Level::Warning, &format!("{error:#}"));
                }
                if let Err(error) = tell() {
                    log.log(Level::Warning, &format!("{error:#}"));
                }
            };
            let taken = before.take_place(&engine.handle(), told);
            taken.map_err(|problem| self.speaker.alert(&problem))?;
        } else {
            for problem in before.leave(&engine.handle()) {
                self.speaker.warning(&problem);
            }
            if let Err(error) = tell() {
                self.speaker.warning(&format!("{error:#}"));
            }
        }
        if let Some(nowhere) = &nowhere {
            process::leave_terminal(nowhere)
                .map_err(|error| self.speaker.alert(&format!("{error:#}")))?;
        }
        let reloader = Reloader {
            options: self.options.clone(),
            handle: engine.handle(),
            door: self.control.door(),
            speaks: !self.options.quiet && !daemon,
            reloads,
        };
        let ended = beside.watch(engine, self.control, lifecycle, (reloader, reloads_wanted));
        answering.wait();
        let signal =
            ended.map_err(|why| self.speaker.alert(&format!("stopped by a fault: {why}")))?;
        // As HAProxy's master does, and shells: 130 after SIGINT, 143 after SIGTERM.
        Ok(match signal {
            Some(signal) if self.options.master_worker => ExitCode::from(128 + signal),
            _ => ExitCode::SUCCESS,
        })
    }

    fn is_daemon(&self) -> bool {
        let options = self.options;
        let stays = options.debug || options.foreground || options.notify;
        (options.daemon || self.config.global.daemon) && !stays
    }

    /// Opens all sockets that anybody connects to.
    fn open(
        &mut self,
        program: &OsStr,
        daemon: bool,
        before: &Predecessors,
        reloads: &Reloads,
    ) -> Result<(Bound, RuntimeApi), Failed> {
        let bound = self.bind(program, daemon, before.inheritance())?;
        self.control
            .open_after(before.inheritance())
            .map_err(|error| self.speaker.alert(&error.to_string()))?;
        let opened = RuntimeApi::open(
            &self.config,
            &sources::System,
            reloads,
            before.inheritance(),
        );
        let runtime_api = opened.map_err(|problems| {
            for problem in problems {
                self.speaker.alert(&problem);
            }
            Failed
        })?;
        before.inheritance().close_rest();
        Ok((bound, runtime_api))
    }

    /// Opens the listening sockets, with as many descriptors as allowed.
    fn bind(
        &self,
        program: &OsStr,
        daemon: bool,
        inheritance: &Inheritance,
    ) -> Result<Bound, Failed> {
        let (descriptors, warning) = limits::raise(&self.config);
        if let Some(warning) = warning {
            self.speaker.warning(&warning);
        }
        let name = Path::new(program)
            .file_name()
            .unwrap_or(OsStr::new("tidegate"));
        let resolver = Resolver::start().map_err(|error| {
            self.speaker
                .alert(&format!("cannot start threads: {error}"))
        })?;
        let presence = Presence {
            tag: name.to_string_lossy().into(),
            to_stderr: !self.options.quiet && !daemon,
            resolver,
            descriptors,
            inheritance: inheritance.clone(),
        };
        let prepared = Prepared::new(self.config.clone()).map_err(|problems| {
            for problem in problems {
                self.speaker.alert(&problem.message);
            }
            Failed
        })?;
        prepared.bind(presence).map_err(|problems| {
            for problem in problems {
                self.speaker.alert(&problem);
            }
            Failed
        })
    }
}

/// What runs beside the engine on the main thread: the control loop and the signals. Made before
/// anybody is told that we are ready, since who waits for that may send a signal at once.
struct Beside {
    runtime: Runtime,
    signals: Signals,
}

impl Beside {
    fn new() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _context = runtime.enter();
            Signals::new()?
        };
        Ok(Self { runtime, signals })
    }

    /// Runs until the engine has stopped; the signal that ended it at once is returned.
    fn watch(
        mut self,
        engine: Engine,
        control: Control,
        lifecycle: Lifecycle,
        (reloader, wanted): (Reloader, mpsc::Receiver<Asked>),
    ) -> Result<Option<u8>, String> {
        let handle = engine.handle();
        let mut signal = None;
        log_panics(handle.clone());
        let ended = self.runtime.block_on(async {
            let stopped = tokio::task::spawn_blocking(move || engine.wait_stopped());
            let controlled = tokio::spawn(control.run(handle.clone(), lifecycle));
            let reloads = reloader.reloads.clone();
            let reloading = tokio::spawn(reloader.run(wanted));
            tokio::pin!(stopped);
            let ended = loop {
                tokio::select! {
                    ended = &mut stopped => break ended,
                    wish = self.signals.next() => {
                        if let Wish::HardStop(number) = wish {
                            signal = Some(number);
                        }
                        obey(wish, &handle, &reloads);
                    }
                }
            };
            controlled.abort();
            reloading.abort();
            ended
        });
        // A disk or a resolver that hangs holds up nothing any more.
        self.runtime.shutdown_background();
        ended.map_err(|error| format!("the engine's threads are lost: {error}"))??;
        Ok(signal)
    }
}

/// What a signal asks for (`management.txt` 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    SoftStop,
    /// By this signal.
    HardStop(u8),
    Dump,
    Reload,
    /// Make room for another process that wants our addresses.
    Pause,
    Resume,
}

const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

struct Signals {
    usr1: Signal,
    usr2: Signal,
    hup: Signal,
    ttou: Signal,
    ttin: Signal,
    term: Signal,
    int: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            hup: signal(SignalKind::hangup())?,
            ttou: signal(SignalKind::from_raw(libc::SIGTTOU))?,
            ttin: signal(SignalKind::from_raw(libc::SIGTTIN))?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.usr1.recv() => Wish::SoftStop,
            _ = self.usr2.recv() => Wish::Reload,
            _ = self.hup.recv() => Wish::Dump,
            _ = self.ttou.recv() => Wish::Pause,
            _ = self.ttin.recv() => Wish::Resume,
            _ = self.term.recv() => Wish::HardStop(SIGTERM),
            _ = self.int.recv() => Wish::HardStop(SIGINT),
        }
    }
}

/// A panic is a fault of ours that costs one connection. That one is told where somebody reads it: the
/// standard error stream, where the system's own account goes, is closed in the background.
fn log_panics(handle: Handle) {
    let to_stderr = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        to_stderr(panic);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("?");
        let place = panic.location().map(ToString::to_string);
        let place = place.as_deref().unwrap_or("?");
        // What it says may quote what a peer sent, and have any number of lines: that stays there.
        let line = format!("A fault of ours: thread {thread} panicked at {place}.");
        handle.log(Level::Alert, &line);
    }));
}

fn obey(wish: Wish, handle: &Handle, reloads: &Reloads) {
    let command = match wish {
        Wish::SoftStop => {
            handle.log(
                Level::Warning,
                "Stopping: no new connections; open ones go on.",
            );
            Command::SoftStop {
                within: handle.config().global.hard_stop_after,
            }
        }
        Wish::HardStop(_) => {
            handle.log(Level::Warning, "Exiting: all connections are closed now.");
            Command::HardStop
        }
        Wish::Dump => {
            handle.reload_certificates();
            return dump(handle);
        }
        Wish::Pause => {
            handle.pause_listening();
            let line = "SIGTTOU: no connections are taken until SIGTTIN comes.";
            return handle.log(Level::Warning, line);
        }
        Wish::Resume => {
            let failed = handle.resume_listening();
            let line = match failed {
                0 => "SIGTTIN: connections are taken again.".to_owned(),
                _ => format!("SIGTTIN: {failed} sockets could not listen again."),
            };
            return handle.log(Level::Warning, &line);
        }
        // What comes of it is in the log.
        Wish::Reload => return drop(reloads.ask("SIGUSR2")),
    };
    if let Err(refused) = handle.apply(command) {
        handle.log(Level::Alert, &format!("Cannot stop: {refused}"));
    }
}

/// HUP: the state of all servers, as HAProxy writes it.
fn dump(handle: &Handle) {
    let snapshot = handle.snapshot();
    handle.log(Level::Warning, "SIGHUP received, dumping servers states.");
    for backend in &snapshot.backends {
        for server in &backend.servers {
            let line = format!(
                "SIGHUP: Server {}/{} is {}. Conn: {} act, {} tot.",
                backend.name,
                server.name,
                server.status,
                server.traffic.sessions,
                server.traffic.sessions_total,
            );
            handle.log(Level::Notice, &line);
        }
    }
}
