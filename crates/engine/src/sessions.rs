//! Sessions that have a server, as operators see and end them (`show sess`, `shutdown session`;
//! management.txt 9.3): each worker is asked for its own, and tells them a few at a time while traffic goes
//! on. Nothing is kept for it: a tunnel knows all of this for its log line, and an exchange is glanced at
//! when it begins.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Zoned;
use tokio::sync::mpsc;

use crate::handle::Handle;
use crate::server::ServerState;
use crate::session::Glimpse;
use crate::site::{BackendState, FrontendState};
use crate::worker::{Message, Worker};

/// Places that are looked at before others get their turn: some ten kilobytes of text.
pub(crate) const LOOKED_AT: u32 = 64;

/// Pieces of text that wait for a reader who is slow: beyond, the workers wait to tell more.
const PIECES_WAITING: usize = 4;

/// What a session is called while it lasts. Another one may be called so only after 2²⁸ more of its
/// worker, and at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(u64);

const PLACE_BITS: u32 = 24;
const KIND_BIT: u64 = 1 << PLACE_BITS;
const WORKER_SHIFT: u32 = PLACE_BITS + 1;
const WORKER_BITS: u32 = 11;
const GENERATION_SHIFT: u32 = WORKER_SHIFT + WORKER_BITS;

/// What a session is to its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tunnel,
    Exchange,
}

impl SessionId {
    pub(crate) fn new(worker: usize, kind: Kind, (place, generation): (u32, u32)) -> Self {
        let kind = match kind {
            Kind::Tunnel => 0,
            Kind::Exchange => KIND_BIT,
        };
        let place = u64::from(place) & (KIND_BIT - 1);
        let worker = (worker as u64) & ((1 << WORKER_BITS) - 1);
        Self(u64::from(generation) << GENERATION_SHIFT | worker << WORKER_SHIFT | kind | place)
    }

    /// As it was printed: hexadecimal behind `0x`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x")?;
        Some(Self(u64::from_str_radix(digits, 16).ok()?))
    }

    fn kind(self) -> Kind {
        match self.0 & KIND_BIT {
            0 => Kind::Tunnel,
            _ => Kind::Exchange,
        }
    }

    fn place(self) -> u32 {
        u32::try_from(self.0 & (KIND_BIT - 1)).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Which sessions are shown, and how.
#[derive(Debug, Clone, Default)]
pub struct SessionsWanted {
    /// This one alone.
    pub id: Option<SessionId>,
    /// Those that came in by this frontend.
    pub frontend: Option<String>,
    /// Those of this backend.
    pub backend: Option<String>,
    /// Those on the server of that name (of that backend).
    pub server: Option<String>,
    /// Those that have lasted so long.
    pub older: Duration,
    /// Whether the first line of the request is told.
    pub uri: bool,
    /// Several lines each instead of one.
    pub wide: bool,
}

/// What workers are asked.
#[derive(Debug)]
pub(crate) enum Asked {
    /// To tell these.
    Show(SessionsWanted),
    /// To end this one; whoever does tells an empty text.
    Shut(SessionId),
}

impl Handle {
    /// Sessions as text, piece by piece, until no worker has any more.
    pub fn sessions(&self, wanted: SessionsWanted) -> mpsc::Receiver<String> {
        self.ask(Asked::Show(wanted))
    }

    /// Ends a session. Something comes if there was one of that name, and nothing otherwise.
    pub fn shut_session(&self, id: SessionId) -> mpsc::Receiver<String> {
        self.ask(Asked::Shut(id))
    }

    fn ask(&self, asked: Asked) -> mpsc::Receiver<String> {
        let (pieces, told) = mpsc::channel(PIECES_WAITING);
        let asked = Arc::new(asked);
        self.shared()
            .tell_workers(&Message::Sessions { asked, pieces });
        told
    }
}

/// Answers for a worker; ends early when nobody listens any more.
pub(crate) async fn answer(worker: Rc<Worker>, asked: Arc<Asked>, pieces: mpsc::Sender<String>) {
    match &*asked {
        Asked::Show(wanted) => show(&worker, wanted, &pieces).await,
        Asked::Shut(id) => {
            if shut(&worker, *id) {
                // Who asked may be gone by now.
                let _ = pieces.send(String::new()).await;
            }
        }
    }
}

async fn show(worker: &Worker, wanted: &SessionsWanted, pieces: &mpsc::Sender<String>) {
    for kind in [Kind::Tunnel, Kind::Exchange] {
        let mut from = Some(0);
        while let Some(place) = from {
            let mut text = String::new();
            from = look(worker, kind, place, |seen| {
                if seen.is_wanted(wanted) {
                    seen.write(wanted, &mut text);
                }
            });
            if !text.is_empty() && pieces.send(text).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Looks at some from a place on; says where to go on.
fn look(worker: &Worker, kind: Kind, from: u32, mut see: impl FnMut(Seen<'_>)) -> Option<u32> {
    let index = worker.index;
    match kind {
        Kind::Tunnel => worker.tunnels.look(from, |name, tunnel, left| {
            let session = tunnel.session();
            see(Seen {
                id: SessionId::new(index, kind, name),
                src: session.source(),
                frontend: Some(session.frontend()),
                backend: session.backend(),
                server: session.server(),
                started: session.started(),
                line: session.request_line(),
                moved: Some(session.moved()),
                left,
            });
        }),
        Kind::Exchange => {
            let site = worker.shared.site.load();
            worker.exchanges.look(from, |name, glimpse: &Glimpse| {
                let backend = site.backend(glimpse.backend);
                let servers = backend.map(|it| it.servers()).unwrap_or_default();
                let mut frontends = site.frontends.iter();
                see(Seen {
                    id: SessionId::new(index, kind, name),
                    src: glimpse.src,
                    frontend: frontends
                        .find(|it| it.id == glimpse.frontend)
                        .map(|it| &**it),
                    backend: backend.map(|it| &**it),
                    server: servers
                        .iter()
                        .find(|it| it.key == glimpse.server)
                        .map(|it| &**it),
                    started: glimpse.started,
                    line: &[],
                    moved: None,
                    left: None,
                });
            })
        }
    }
}

fn shut(worker: &Worker, id: SessionId) -> bool {
    let (kind, place) = (id.kind(), id.place());
    let name = match kind {
        Kind::Tunnel => worker.tunnels.name_at(place),
        Kind::Exchange => worker.exchanges.name_at(place),
    };
    // Only who is called exactly so: the place may be somebody else's by now.
    if name.is_none_or(|name| SessionId::new(worker.index, kind, name) != id) {
        return false;
    }
    match kind {
        Kind::Tunnel => worker.tunnels.close_at(place),
        Kind::Exchange => worker.exchanges.close_at(place),
    }
    true
}

/// A session, to be told of.
struct Seen<'a> {
    id: SessionId,
    src: Option<SocketAddr>,
    frontend: Option<&'a FrontendState>,
    backend: Option<&'a BackendState>,
    server: Option<&'a ServerState>,
    started: Instant,
    /// Empty: not known, or there is none.
    line: &'a [u8],
    /// Bytes from and to the client, where they are known meanwhile.
    moved: Option<(u64, u64)>,
    /// How long it may go on in silence.
    left: Option<Duration>,
}

impl Seen<'_> {
    fn is_wanted(&self, wanted: &SessionsWanted) -> bool {
        let named = |wanted: &Option<String>, name: Option<&str>| {
            wanted.as_deref().is_none_or(|it| name == Some(it))
        };
        wanted.id.is_none_or(|id| id == self.id)
            && named(&wanted.frontend, self.frontend.map(|it| &**it.name()))
            && named(&wanted.backend, self.backend.map(|it| &**it.name()))
            && named(&wanted.server, self.server.map(|it| &*it.conf.name))
            && self.started.elapsed() >= wanted.older
    }

    fn write(&self, wanted: &SessionsWanted, text: &mut String) {
        match wanted.wide {
            true => self.write_wide(text),
            false => self.write_line(wanted.uri, text),
        }
    }

    fn protocol(&self) -> &'static str {
        match self.src {
            None => "unix_stream",
            Some(SocketAddr::V4(_)) => "tcpv4",
            Some(SocketAddr::V6(_)) => "tcpv6",
        }
    }

    fn source(&self) -> String {
        match self.src {
            None => "unix:1".to_owned(),
            Some(src) => format!("{}:{}", src.ip(), src.port()),
        }
    }

    fn write_line(&self, uri: bool, text: &mut String) {
        *text += &format!(
            "{}: proto={} src={} fe={} be={} srv={} age={} exp={}",
            self.id,
            self.protocol(),
            self.source(),
            self.frontend.map_or("<NONE>", |it| it.name()),
            self.backend.map_or("<NONE>", |it| it.name()),
            self.server.map_or("<none>", |it| &it.conf.name),
            human(self.started.elapsed()),
            self.left.map(human).unwrap_or_default(),
        );
        if uri && !self.line.is_empty() {
            *text += &format!(" uri=\"{}\"", self.line.escape_ascii());
        }
        text.push('\n');
    }

    fn write_wide(&self, text: &mut String) {
        let age = self.started.elapsed();
        let began = Zoned::now()
            .checked_sub(age)
            .unwrap_or_else(|_| Zoned::now());
        let (id, proto, source) = (self.id, self.protocol(), self.source());
        let date = began.strftime("%d/%b/%Y:%H:%M:%S.%6f");
        *text += &format!("{id}: [{date}] proto={proto} source={source}\n");
        let mode = |mode| match mode {
            config::model::Mode::Http => "http",
            config::model::Mode::Tcp => "tcp",
        };
        if let Some(it) = self.frontend {
            let (name, id, mode) = (it.name(), it.id, mode(it.conf().proxy.mode));
            *text += &format!("  frontend={name} (id={id} mode={mode})\n");
        }
        match self.backend {
            Some(it) => {
                let (name, id, mode) = (it.name(), it.id, mode(it.conf().proxy.mode));
                *text += &format!("  backend={name} (id={id} mode={mode})\n");
            }
            None => *text += "  backend=<NONE> (id=-1 mode=-)\n",
        }
        match self.server {
            Some(it) => {
                let at = match it.target(None) {
                    Some(crate::server::Target::Inet(at)) => format!(" addr={at}"),
                    _ => String::new(),
                };
                *text += &format!("  server={} (id={}){at}\n", it.conf.name, it.id);
            }
            None => *text += "  server=<NONE> (id=-1)\n",
        }
        let moved = self.moved.map(|(from, to)| format!(" in={from} out={to}"));
        let left = self.left.map_or("<NEVER>".to_owned(), human);
        let moved = moved.unwrap_or_default();
        *text += &format!("  age={} exp={left}{moved}\n", human(age));
        if !self.line.is_empty() {
            *text += &format!("  uri=\"{}\"\n", self.line.escape_ascii());
        }
    }
}

/// The two largest units of a duration, as HAProxy tells it: `59m59s`, `1h`, `3d4h`.
fn human(duration: Duration) -> String {
    let units = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    let mut left = duration.as_secs();
    let Some(first) = units.iter().position(|(_, seconds)| left >= *seconds) else {
        return "0s".to_owned();
    };
    let mut text = String::new();
    for (unit, seconds) in units.iter().skip(first).take(2) {
        if left >= *seconds {
            text += &format!("{}{unit}", left / seconds);
            left %= seconds;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_tell_the_kind() {
        let id = SessionId::new(3, Kind::Exchange, (70_000, u32::MAX));
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        assert_eq!((id.kind(), id.place()), (Kind::Exchange, 70_000));
        assert_ne!(id, SessionId::new(3, Kind::Tunnel, (70_000, u32::MAX)));
        assert_ne!(id, SessionId::new(2, Kind::Exchange, (70_000, u32::MAX)));
        for wrong in ["", "0x", "12", "0xg", "0x10000000000000000"] {
            assert_eq!(SessionId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_have_their_two_largest_units() {
        let table = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m59s"),
            (3_601, "1h"),
            (273_600, "3d4h"),
        ];
        for (seconds, expected) in table {
            assert_eq!(human(Duration::from_secs(seconds)), expected);
        }
    }
}
