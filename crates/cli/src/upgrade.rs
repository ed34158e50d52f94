//! Taking over from oneself with another binary: `upgrade` on the socket of the Runtime API or of the master.
//!
//! The program that lies where ours was started from is started with our arguments and gets a socket to us as its
//! standard input: our listeners come by it, and our tunnels when it serves clients. Until then nothing changes here; if
//! it ends before, all goes on as it was. See ADR 8.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use control::runtime_api::Upgraded;
use engine::{Handle, Level, ListeningSocket};

use crate::process;

/// Says to a process that its standard input leads to the one before it.
const HANDED_OVER: &str = "TIDEGATE_HANDOVER";

/// How this process was started, to do it again.
#[derive(Clone)]
pub(crate) struct Started {
    /// Where the binary lay then; another one may lie there now.
    executable: PathBuf,
    program: OsString,
    arguments: Vec<OsString>,
    folder: PathBuf,
}

impl Started {
    /// To be asked before anything changes the folder.
    pub(crate) fn now(program: &OsStr) -> io::Result<Self> {
        Ok(Self {
            executable: std::env::current_exe()?,
            program: program.to_owned(),
            arguments: std::env::args_os().skip(1).collect(),
            folder: std::env::current_dir()?,
        })
    }
}

/// The socket to the process that has started this one to take its place, if one has.
pub(crate) fn parent() -> Option<io::Result<UnixStream>> {
    std::env::var_os(HANDED_OVER)?;
    let take = || {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        // Nobody who reads from the terminal shall meet it.
        nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Ok(UnixStream::from(socket))
    };
    Some(take())
}

/// Starts the new process on request.
pub(crate) struct Upgrader {
    /// How to start it.
    pub(crate) started: Started,
    /// Who hands over.
    pub(crate) handle: Handle,
    /// Whether systemd is told.
    pub(crate) notifies: bool,
    /// Whether files are out of reach.
    pub(crate) is_in_chroot: bool,
}

impl Upgrader {
    /// Starts it, and says what comes of it once that is known. The error says why it cannot be tried.
    pub(crate) fn start(
        self: &Arc<Self>,
        own: Vec<ListeningSocket>,
    ) -> Result<Receiver<Upgraded>, String> {
        if self.is_in_chroot {
            return Err("after 'chroot' the program cannot be started again from here: start it with -x and -sf".into());
        }
        if std::process::id() == 1 {
            return Err(
                "the first process of a container cannot be replaced: its end is the container's"
                    .into(),
            );
        }
        let cannot = |error: io::Error| format!("cannot start the new process: {error}");
        let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
        let mut child = Command::new(&self.started.executable)
            .arg0(&self.started.program)
            .args(&self.started.arguments)
            .current_dir(&self.started.folder)
            .env(HANDED_OVER, "1")
            .stdin(OwnedFd::from(theirs))
            .spawn()
            .map_err(cannot)?;
        let (tell, told) = sync_channel(1);
        let it = self.clone();
        let thread = std::thread::Builder::new().name("upgrade".into());
        let pid = child.id();
        let spawned = thread.spawn(move || it.attend(ours, own, &mut child, tell));
        spawned.map_err(cannot)?;
        let line = format!("Upgrade: process {pid} is started to take over.");
        self.handle.log(Level::Notice, &line);
        Ok(told)
    }

    /// Serves the new process until one of the two ends.
    fn attend(
        &self,
        ours: UnixStream,
        own: Vec<ListeningSocket>,
        child: &mut Child,
        tell: SyncSender<Upgraded>,
    ) {
        self.notify(&process::reloading("Upgrading."));
        let has_left = Arc::new(AtomicBool::new(false));
        let leaving = {
            let (has_left, notifies, tell) = (has_left.clone(), self.notifies, tell.clone());
            move |pid: u32| {
                has_left.store(true, Relaxed);
                if notifies {
                    // From now on it speaks for the service.
                    let _ = process::notify(&format!("MAINPID={pid}\n"));
                }
                // Nobody may wait for it any more.
                let _ = tell.try_send(Ok(format!("process {pid} has taken over")));
            }
        };
        let served = self.handle.hand_over(ours, own, Box::new(leaving));
        if has_left.load(Relaxed) {
            return;
        }
        // Whoever has not come so far is of no use any more.
        let _ = child.kill();
        let ended = child.wait();
        let why = match (served, ended) {
            (Err(error), _) => error.to_string(),
            (Ok(()), Ok(status)) => format!("the new process ended: {status}"),
            (Ok(()), Err(error)) => error.to_string(),
        };
        self.notify("READY=1\nSTATUS=The upgrade has failed, the former process goes on.\n");
        let line = format!("Upgrade: it has failed and this process goes on, since {why}.");
        self.handle.log(Level::Warning, &line);
        let _ = tell.try_send(Err(why));
    }

    fn notify(&self, text: &str) {
        if self.notifies
            && let Err(error) = process::notify(text)
        {
            self.handle.log(Level::Warning, &format!("{error:#}"));
        }
    }
}
