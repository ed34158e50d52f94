//! Our place for another process, on a socket that says `expose-fd listeners`: what HAProxy's `-x` asks for are our
//! listening sockets; a process like this one gets our tunnels, too.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use config::model::{Bind, CliLevel};
use engine::{Level, ListeningSocket};

use super::Api;
use super::answer::Answer;
use super::line::Line;
use super::session::Session;
use super::table::{Row, changes};

/// The word by which HAProxy asks. It is in no help, here nor at HAProxy's: no operator has a use for it.
const HAPROXYS: &str = "_getsocks";

/// Who asks for what.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// HAProxy, or who speaks like it: listening sockets.
    Listeners,
    /// A process like this one: everything.
    Place,
}

/// A socket of the Runtime API, as long as somebody accepts on it.
pub(super) struct Listens {
    socket: OwnedFd,
    bind: Bind,
}

impl Listens {
    /// The same socket as `socket`.
    pub(super) fn new(socket: &OwnedFd, bind: &Bind) -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            socket: socket.try_clone()?,
            bind: bind.clone(),
        }))
    }
}

/// What a line asks for, if it does. Of one like this one that speaks another version nothing is known but that it
/// understands HAProxy's word.
pub(super) fn asked(line: &Line, session: &Session) -> Option<Asked> {
    let [words] = line.commands.as_slice() else {
        return None;
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [HAPROXYS] => Some(Asked::Listeners),
        // It ends this process.
        [engine::HANDOVER_GREETING, version]
            if *version == engine::HANDOVER_VERSION.to_string()
                && session.level == CliLevel::Admin =>
        {
            Some(Asked::Place)
        }
        _ => None,
    }
}

/// Commands about another process that takes our place.
pub(super) const ROWS: &[Row] = &[changes(
    "upgrade",
    "",
    "have the program as it is on disk now take over, open WebSockets included",
    |call| upgrade(call.api),
)];

/// How long a new process may take to serve clients, before whoever has asked is told that nobody knows.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts it; the answer, in the form of `reload`'s, comes when it has our place.
pub(super) fn upgrade(api: &Api) -> Answer {
    let text = |success: bool, why: &str| {
        let number = u8::from(success);
        Answer::Text(format!("Success={number}\n--\n{why}\n"))
    };
    let own = own(api).map_err(|error| error.to_string());
    // The process may end as soon as another one has its place: it waits for this to go.
    let answering = api.answering.clone();
    match own.and_then(|own| (api.successor.start)(own)) {
        Err(why) => text(false, &why),
        Ok(told) => Answer::Wait {
            limit: PATIENCE,
            until: Box::new(move |_| {
                let _held = &answering;
                match told.try_recv() {
                    Ok(Ok(done)) => Some(text(true, &done)),
                    Ok(Err(why)) => Some(text(false, &why)),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => Some(text(false, "nobody knows")),
                }
            }),
            late: Box::new(text(
                false,
                "the new process is not ready yet; it may be later",
            )),
        },
    }
}

/// Our own sockets, for another process.
fn own(api: &Api) -> io::Result<Vec<ListeningSocket>> {
    let all = api.listening.borrow();
    let all = all.iter().filter_map(Weak::upgrade);
    all.map(|it| ListeningSocket::of_runtime_api(it.socket.as_fd(), &it.bind))
        .collect()
}

/// Gives it to whoever is at the other end of `stream`. On a thread of its own: it waits for the other one.
pub(super) fn give(api: &Api, stream: BorrowedFd<'_>, asked: Asked) -> io::Result<()> {
    let own = own(api)?;
    let stream = UnixStream::from(stream.try_clone_to_owned()?);
    let (handle, leaving) = (api.handle.clone(), api.successor.leaving.clone());
    let thread = std::thread::Builder::new().name("handover".into());
    thread.spawn(move || match asked {
        // What comes of it is in the log.
        Asked::Place => drop(handle.hand_over(stream, own, Box::new(move |pid| leaving(pid)))),
        Asked::Listeners => {
            let mut sockets = handle.listening_sockets();
            sockets.extend(own);
            let (level, told) = match engine::give_listeners(stream.as_fd(), &sockets) {
                Ok(()) => {
                    let count = sockets.len();
                    let told = format!("{count} listening sockets were given to another process.");
                    (Level::Notice, told)
                }
                Err(error) => {
                    let told = format!(
                        "Listening sockets could not be given to another process: {error}."
                    );
                    (Level::Warning, told)
                }
            };
            handle.log(level, &told);
        }
    })?;
    Ok(())
}
