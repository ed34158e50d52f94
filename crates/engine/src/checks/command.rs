//! A check by a program (manual 4.2, "external-check command"): it is told whom to look at, and its exit
//! code is the answer. One that does not end in time is killed.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use config::model::sequence::CheckCommand;
use config::model::{BindAddress, Mode};
use routing::health::CheckCode;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::facts::Context;
use super::sequence::Finding;
use crate::server::Target;
use crate::timing::within;

/// Programs that run at once at most: each is a process, and a thousand servers must not start a thousand
/// in the same moment. Who waits for a place waits within its own time.
const PROGRAMS_MAX: usize = 64;

static PLACES: Semaphore = Semaphore::const_new(PROGRAMS_MAX);

/// What stands for an address or a port that there is not (manual 4.2).
const NOT_USED: &str = "NOT_USED";

/// What the program is told of the proxy.
struct Proxy {
    address: String,
    port: String,
}

/// Runs it once.
pub(super) async fn run(command: &CheckCommand, context: &Context<'_>, limit: Duration) -> Finding {
    let Some(target) = context.server.target(None) else {
        return Finding::new(CheckCode::SocketError, "no address yet");
    };
    let expired = || Finding::new(CheckCode::ProcessTimeout, "");
    let running = async {
        // Never closed.
        let _place = PLACES.acquire().await.ok();
        if !context.shared.site.load().config.global.setuid_wanted {
            // Of this thread, which runs nothing else. Failing leaves it as it was started.
            let _ = nix::sys::prctl::set_no_new_privs();
        }
        let mut child = prepared(command, context, &target).spawn()?;
        // Dropped on time-out: then it is killed.
        child.wait().await
    };
    match within(Some(limit), running).await {
        Err(_) => expired(),
        Ok(Err(error)) => {
            let info = format!("cannot run '{}': {error}", command.program.display());
            Finding::new(CheckCode::ProcessError, info)
        }
        Ok(Ok(status)) => judged(status),
    }
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
    let maxconn = server.conf.maxconn.map_or(0, |maxconn| maxconn);
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
