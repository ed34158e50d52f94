//! What makes a program a daemon: background, pid file, chroot, user, systemd.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use config::model::{Account, Global};
use nix::unistd::{Gid, Group, Uid, User, chdir, chroot, setgid, setgroups, setuid};

/// Set for the process that [`start_in_background`] starts.
const BACKGROUND: &str = "TIDEGATE_BACKGROUND";

/// What the process in the background writes when it runs.
const READY: &[u8] = b"\0ready\0";

/// Whether this is the process that was started to run in the background.
pub(crate) fn is_background() -> bool {
    std::env::var_os(BACKGROUND).is_some()
}

/// Starts this program once more, to run in the background, and waits until it does: its sockets
/// are open and its pid file is written. What it has to say against that is on stderr by then.
/// Started anew and not forked, since a fork has only one of the threads of its parent.
pub(crate) fn start_in_background(program: &OsStr) -> Result<bool> {
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let mut child = Command::new(executable)
        .arg0(program)
        .args(std::env::args_os().skip(1))
        .env(BACKGROUND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the process in the background")?;
    let mut said = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        output
            .read_to_end(&mut said)
            .context("cannot hear the process in the background")?;
    }
    Ok(said.windows(READY.len()).any(|window| window == READY))
}

/// Where a daemon's input comes from and its output goes: to be opened before a `chroot`.
pub(crate) fn open_nowhere() -> Result<File> {
    let nowhere = File::options().read(true).write(true).open("/dev/null");
    nowhere.context("cannot open /dev/null")
}

/// Leaves the terminal, after telling who started us that all is well.
pub(crate) fn leave_terminal(nowhere: &File) -> Result<()> {
    nix::unistd::setsid().context("cannot leave the terminal")?;
    std::io::stdout()
        .write_all(READY)
        .and_then(|()| std::io::stdout().flush())?;
    nix::unistd::dup2_stdin(nowhere)?;
    nix::unistd::dup2_stdout(nowhere)?;
    nix::unistd::dup2_stderr(nowhere)?;
    Ok(())
}

/// Writes the process id (`pidfile`, `-p`).
pub(crate) fn write_pid(path: &Path) -> Result<()> {
    std::fs::write(path, format!("{}\n", std::process::id()))
        .with_context(|| format!("cannot write the pid file '{}'", path.display()))
}

/// `chroot`, `group`, `user`, in this order. Without root's rights none of them is possible nor
/// needed (a container that runs as nobody): then a warning says so for each.
pub(crate) fn give_up_rights(global: &Global) -> Result<Vec<String>> {
    let wanted = global.chroot.is_some() || global.user.is_some() || global.group.is_some();
    if !wanted {
        return Ok(Vec::new());
    }
    if !Uid::effective().is_root() {
        return Ok(vec![format!(
            "'chroot', 'user' and 'group' are left out: the process is not root but uid {}",
            Uid::effective()
        )]);
    }
    // Names are looked up before the root changes: the files that know them are outside.
    let user = global.user.as_ref().map(user_id).transpose()?;
    let group = global.group.as_ref().map(group_id).transpose()?;
    if let Some(path) = &global.chroot {
        chroot(path).with_context(|| format!("cannot chroot to '{}'", path.display()))?;
        chdir("/").context("cannot enter the chroot")?;
    }
    if let Some(group) = group {
        setgroups(&[group]).context("cannot drop root's groups")?;
        setgid(group).with_context(|| format!("cannot become group {group}"))?;
    }
    if let Some(user) = user {
        if group.is_none() {
            setgroups(&[]).context("cannot drop root's groups")?;
        }
        setuid(user).with_context(|| format!("cannot become user {user}"))?;
    }
    Ok(Vec::new())
}

fn user_id(account: &Account) -> Result<Uid> {
    match account {
        Account::Id(id) => Ok(Uid::from_raw(*id)),
        Account::Name(name) => match User::from_name(name).context("cannot read the users")? {
            Some(user) => Ok(user.uid),
            None => bail!("cannot find user id for '{name}': make the user, or use `uid`"),
        },
    }
}

fn group_id(account: &Account) -> Result<Gid> {
    match account {
        Account::Id(id) => Ok(Gid::from_raw(*id)),
        Account::Name(name) => match Group::from_name(name).context("cannot read the groups")? {
            Some(group) => Ok(group.gid),
            None => bail!("cannot find group id for '{name}': make the group, or use `gid`"),
        },
    }
}

/// Tells systemd that we are ready (`Type=notify`).
pub(crate) fn notify_ready() -> Result<()> {
    let pid = std::process::id();
    notify(&format!("READY=1\nMAINPID={pid}\nSTATUS=Ready.\n"))
}

/// What systemd is told when we begin to change (`Type=notify-reload` wants the time, too).
pub(crate) fn reloading(status: &str) -> String {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    let now = now.map_or(0, |now| std::time::Duration::from(now).as_micros());
    format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS={status}\n")
}

/// Tells systemd something (sd_notify(3)); nothing happens without `NOTIFY_SOCKET`.
pub(crate) fn notify(message: &str) -> Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let socket = UnixDatagram::unbound()?;
    let text = path.to_string_lossy().into_owned();
    let sent = match text.strip_prefix('@') {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(message.as_bytes(), &address)
        }
        None => socket.send_to(message.as_bytes(), &path),
    };
    sent.map(drop)
        .with_context(|| format!("cannot notify systemd at {text}"))
}
