//! What makes a program a daemon: background, pid file, chroot, user, systemd.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use anyhow::{Context, Result, bail};
use config::model::{Account, Global};
use nix::unistd::{Gid, Group, Uid, User, chdir, chroot, setgid, setgroups, setuid};

/// Goes into the background; what was opened stays open. To be called while there is one thread.
pub(crate) fn go_to_background() -> Result<()> {
    nix::unistd::daemon(true, false).context("cannot go into the background")
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

/// Tells systemd that we are ready (`Type=notify`); nothing happens without `NOTIFY_SOCKET`.
pub(crate) fn notify_ready() -> Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let message = format!("READY=1\nMAINPID={}\nSTATUS=Ready.\n", std::process::id());
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
