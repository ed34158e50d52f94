//! A check by a program (manual 4.2, "external-check command"): it is told whom to look at, and its exit
//! code is the answer. One that does not end in time is killed, with all that it has started.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use config::model::sequence::{Action, CheckCommand, Sequence};
use config::model::{BindAddress, Mode};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use routing::health::CheckCode;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::facts::Context;
use super::sequence::Finding;
use crate::log::Level;
use crate::server::Target;
use crate::shared::Shared;
use crate::timing::within;

/// Programs that run at once at most: each is a process, and a thousand servers must not start a thousand
/// in the same moment. Waiting for a place is no part of a check: it begins later, and says nothing of a server.
const PROGRAMS_MAX: usize = 64;

static PLACES: Semaphore = Semaphore::const_new(PROGRAMS_MAX);

/// A check that begins later than this is worth a word: servers are looked at less often than they should be.
const LATE: Duration = Duration::from_secs(1);

/// It is said once: what is to be done about it does not change.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// What a program that is over its time has for putting things in order, between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(100);

/// What stands for an address or a port that there is not (manual 4.2).
const NOT_USED: &str = "NOT_USED";

/// What the program is told of the proxy.
struct Proxy {
    address: String,
    port: String,
}

/// A place for the program of a check that runs one.
pub(super) async fn place_for(
    sequence: &Sequence,
    shared: &Shared,
) -> Option<SemaphorePermit<'static>> {
    let is_program = |step: &config::model::sequence::Step| matches!(step.what, Action::Command(_));
    if !sequence.steps.iter().any(is_program) {
        return None;
    }
    let began = Instant::now();
    // Never closed.
    let place = PLACES.acquire().await.ok();
    if began.elapsed() > LATE && !IS_TOLD.swap(true, Relaxed) {
        let line = format!(
            "External checks begin late: {PROGRAMS_MAX} programs run at the same time, further ones wait. \
             Servers keep their state meanwhile; a longer 'inter' or a shorter 'timeout check' helps."
        );
        shared.say(Level::Warning, &line);
    }
    place
}

/// A program and all that it has started, unless they left its process group. Whoever drops it ends them.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            leader: id.map(Pid::from_raw),
        }
    }

    /// The number is theirs as long as nobody has waited for the leader.
    fn send(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // Gone is what they should be.
            let _ = killpg(leader, signal);
        }
    }

    /// It ended by itself, and was waited for.
    fn ended(&mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.send(Signal::SIGKILL);
    }
}

/// Runs it once.
pub(super) async fn run(command: &CheckCommand, context: &Context<'_>, limit: Duration) -> Finding {
    let Some(target) = context.server.target(None) else {
        return Finding::new(CheckCode::SocketError, "no address yet");
    };
    if !context.shared.site.load().config.global.setuid_wanted {
        // Of this thread, which runs nothing else. Failing leaves it as it was started.
        let _ = nix::sys::prctl::set_no_new_privs();
    }
    match bounded(prepared(command, context, &target), limit).await {
        Ok(Some(status)) => judged(status),
        Ok(None) => Finding::new(CheckCode::ProcessTimeout, ""),
        Err(error) => {
            let info = format!("cannot run '{}': {error}", command.program.display());
            Finding::new(CheckCode::ProcessError, info)
        }
    }
}

/// How it ended; `None`: not in time, and it was made to.
async fn bounded(mut command: Command, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    // Dropped before the child: nobody has waited for that then.
    let mut group = Group::of(&child);
    if let Ok(status) = within(Some(limit), child.wait()).await {
        group.ended();
        return status.map(Some);
    }
    group.send(Signal::SIGTERM);
    tokio::time::sleep(GRACE).await;
    drop(group);
    child.wait().await?;
    Ok(None)
}

fn judged(status: ExitStatus) -> Finding {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => Finding::of_program(CheckCode::ProcessOk, 0),
        (Some(code), _) => {
            Finding::of_program(CheckCode::ProcessError, u16::try_from(code).unwrap_or(0))
        }
        (None, signal) => {
            let info = format!("killed by signal {}", signal.unwrap_or(0));
            Finding::new(CheckCode::ProcessError, info)
        }
    }
}

fn prepared(command: &CheckCommand, context: &Context<'_>, target: &Target) -> Command {
    let site = context.shared.site.load();
    let (server, backend) = (context.server, context.backend);
    let proxy = proxy(context);
    let (address, port) = place(target);
    let or = |text: &str| {
        if text.is_empty() {
            NOT_USED.to_owned()
        } else {
            text.to_owned()
        }
    };
    let mut made = Command::new(&command.program);
    made.args([
        or(&proxy.address),
        or(&proxy.port),
        address.clone(),
        or(&port),
    ]);
    if !site.config.global.external_check_env {
        made.env_clear();
    }
    // The key to the fleet is nobody's business.
    made.env_remove("API_KEY");
    let maxconn = server.conf.maxconn.unwrap_or(0);
    let proto = match backend.conf().proxy.mode {
        Mode::Http => "h1",
        _ => "tcp",
    };
    for (name, value) in [
        ("HAPROXY_PROXY_ADDR", proxy.address),
        ("HAPROXY_PROXY_PORT", proxy.port),
        ("HAPROXY_PROXY_NAME", backend.name().to_string()),
        ("HAPROXY_PROXY_ID", backend.id.to_string()),
        ("HAPROXY_SERVER_ADDR", address),
        ("HAPROXY_SERVER_PORT", port),
        ("HAPROXY_SERVER_NAME", server.conf.name.to_string()),
        ("HAPROXY_SERVER_ID", server.id.to_string()),
        ("HAPROXY_SERVER_CURCONN", server.sessions.now().to_string()),
        ("HAPROXY_SERVER_MAXCONN", maxconn.to_string()),
        (
            "HAPROXY_SERVER_SSL",
            u8::from(server.conf.tls.is_some()).to_string(),
        ),
        ("HAPROXY_SERVER_PROTO", proto.to_owned()),
        ("PATH", command.path.to_string()),
    ] {
        made.env(name, value);
    }
    made.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    made
}

/// The first address of the proxy's own; a `backend` has none.
fn proxy(context: &Context<'_>) -> Proxy {
    let site = context.shared.site.load();
    let name = context.backend.name();
    let own = site
        .config
        .frontends
        .iter()
        .filter(|_| context.backend.conf().listen)
        .find(|frontend| *frontend.proxy.name == **name);
    let first = own.and_then(|frontend| frontend.binds.first());
    let (address, port) = match first.map(|bind| &bind.address) {
        Some(BindAddress::Inet(at)) => (at.ip().to_string(), at.port().to_string()),
        Some(BindAddress::Unix(path)) => (shown(path), String::new()),
        Some(BindAddress::Abstract(name)) => (name.to_string(), String::new()),
        Some(BindAddress::Fd(_)) | None => (String::new(), String::new()),
    };
    Proxy { address, port }
}

fn place(target: &Target) -> (String, String) {
    match target {
        Target::Inet(at) => (at.ip().to_string(), at.port().to_string()),
        Target::Unix(path) => (shown(path), String::new()),
        Target::Abstract(_) => ("abns".to_owned(), String::new()),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
