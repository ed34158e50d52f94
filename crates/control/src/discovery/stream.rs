//! The service's event stream (`GET /nodes` with `Accept: text/event-stream`), where it has one: news comes
//! when it happens, and not when the next fetch is due. Fetches go on beside it, as if there were none.
//!
//! ```text
//!   first good list → Opening → Open → (broken) → a pause, longer each time → Opening …
//!                        │ no stream here: a list, 404, 406 …
//!                        └→ NotOffered → ten minutes → Opening …         204: → Over
//! ```
//! An event's data is a whole list or one change, as a push would post it. Its name may be `add`, `update`
//! or `remove`; `nodes` and `message` say nothing, and others mean something to somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use engine::Level;
use engine::snapshot::StreamStatus;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::change::Action;
use super::event_stream::{Event, EventStream};
use super::wsupdates::{Answered, Client, EVENTS};
use crate::news::{Desk, Message, News, Origin};
use crate::pace::Pace;
use crate::report::Outlet;

/// How long a stream may be silent unless `stream silence` says otherwise. Services send a comment four times
/// a minute, so that what stands between does not take the connection for dead.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The first pause behind a stream that broke; each further one is twice as long. Also the shortest that a
/// stream may ask for: a fetch can come as often.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause, whatever a stream asks for.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How far a pause is moved at random, in percent: a service that comes back is not asked by all at once.
const JITTER_PERCENT: u32 = 25;

/// When a service without a stream is asked again: it may have been replaced by a newer one.
const NOT_OFFERED_PAUSE: Duration = Duration::from_secs(600);

/// Events a second that are taken, and at once. Who sends more waits, and the socket fills: nothing is
/// dropped, and the loop stays free.
const EVENTS_A_SECOND: u32 = 20;

/// Where the stream stands, for the loop and its status.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// A good list has come: the service works, and its stream may be asked for.
    begin: Notify,
    stage: AtomicU8,
    broken: AtomicU64,
}

/// See the module's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Opening = 0,
    Open = 1,
    NotOffered = 2,
    Over = 3,
}

impl Watched {
    /// Lets it begin, if it has not.
    pub(crate) fn begin(&self) {
        self.begin.notify_one();
    }

    /// Where it stands.
    fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            1 => Stage::Open,
            2 => Stage::NotOffered,
            3 => Stage::Over,
            _ => Stage::Opening,
        }
    }

    /// For page and metrics.
    pub(crate) fn status(&self) -> StreamStatus {
        let stage = self.stage();
        StreamStatus {
            state: stage.word(),
            open: stage == Stage::Open,
            broken_total: self.broken.load(Relaxed),
        }
    }
}

impl Stage {
    /// In a word, for the page.
    fn word(self) -> &'static str {
        match self {
            Self::Opening => "not open",
            Self::Open => "open",
            Self::NotOffered => "not offered",
            Self::Over => "ended by the service",
        }
    }
}

/// Why a stream is over.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The service has none.
    NotOffered,
    /// The service wants nobody to come again (204).
    Over,
    /// Anything else; why.
    Broken(String),
}

/// Who follows a stream.
pub(crate) struct Follower<O> {
    pub(crate) client: Arc<Client>,
    pub(crate) desk: Desk,
    pub(crate) watched: Arc<Watched>,
    pub(crate) outlet: O,
    /// How long it may be silent.
    pub(crate) silence: Duration,
    pub(crate) pauses: Pauses,
}

impl<O: Outlet> Follower<O> {
    /// Follows it for ever.
    pub(crate) async fn run(mut self) {
        self.watched.begin.notified().await;
        let mut reading = EventStream::default();
        let mut opened = false;
        let mut said = false;
        loop {
            let last_id = reading.last_id().to_vec();
            reading = EventStream::after(last_id);
            let before = self.pauses.failures;
            let ended = self.once(&mut reading, &mut opened, &mut said).await;
            let (stage, pause) = match ended {
                Ended::Over => (Stage::Over, None),
                Ended::NotOffered => (
                    Stage::NotOffered,
                    Some(self.pauses.jittered(NOT_OFFERED_PAUSE)),
                ),
                Ended::Broken(why) => {
                    let pause = self.pauses.failed(reading.retry());
                    // That a connection ends now and then is no news.
                    if before > 0 && !said {
                        said = true;
                        let client = &self.client;
                        let line = format!(
                            "Discovery: events of {client}: {why}; the list is polled meanwhile"
                        );
                        self.outlet.log(Level::Warning, &line);
                    }
                    (Stage::Opening, Some(pause))
                }
            };
            self.enter(stage).await;
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Opens it once, and reads to its end.
    async fn once(
        &mut self,
        reading: &mut EventStream,
        opened: &mut bool,
        said: &mut bool,
    ) -> Ended {
        let answered = match self.client.open_stream(reading.last_id()).await {
            Ok(answered) => answered,
            Err(error) => return Ended::Broken(error.line()),
        };
        if let Err(ended) = judge(&answered) {
            return ended;
        }
        if !*opened || *said {
            let line = format!("Discovery: events of {} are followed", self.client);
            self.outlet.log(Level::Notice, &line);
        }
        *said = false;
        self.watched.stage.store(Stage::Open as u8, Relaxed);
        // What happened while nobody was listening is in the list.
        let fetch = std::mem::replace(opened, true);
        self.desk.tell(Message::Stream { fetch }).await;
        self.read(answered, reading).await
    }

    async fn read(&mut self, mut answered: Answered, reading: &mut EventStream) -> Ended {
        let started = Instant::now();
        let mut pace = Pace::new(EVENTS_A_SECOND, EVENTS_A_SECOND);
        let body: &mut Incoming = answered.response.body_mut();
        loop {
            let frame = match timeout(self.silence, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Ended::Broken("the connection broke".to_owned()),
                Ok(None) => return Ended::Broken("the service closed it".to_owned()),
                Err(_) => {
                    let seconds = self.silence.as_secs_f32();
                    return Ended::Broken(format!("nothing came for {seconds} s"));
                }
            };
            let Some(bytes) = frame.data_ref() else {
                continue;
            };
            let mut bytes = &bytes[..];
            loop {
                let event = match reading.next(&mut bytes) {
                    Ok(Some(event)) => event,
                    Ok(None) => break,
                    Err(_) => return Ended::Broken("an event is too large".to_owned()),
                };
                while let Err(wait) = pace.take(started.elapsed()) {
                    sleep(wait).await;
                }
                if let Some(news) = news(event) {
                    self.desk.tell(Message::News(news)).await;
                    self.pauses.failures = 0;
                }
            }
        }
    }

    /// Notes where it stands now that it has ended.
    async fn enter(&mut self, stage: Stage) {
        let before = self.watched.stage();
        self.watched.stage.store(stage as u8, Relaxed);
        if before == Stage::Open {
            self.watched.broken.fetch_add(1, Relaxed);
        }
        if before != stage {
            if stage == Stage::NotOffered {
                let line = format!(
                    "Discovery: {} offers no events: the list is polled",
                    self.client
                );
                self.outlet.log(Level::Info, &line);
            }
            self.desk.tell(Message::Stream { fetch: false }).await;
        }
    }
}

/// Whether an answer is a stream.
fn judge(answered: &Answered) -> Result<(), Ended> {
    let response = &answered.response;
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match response.status() {
        StatusCode::OK if kind.eq_ignore_ascii_case(EVENTS) => Ok(()),
        StatusCode::NO_CONTENT => Err(Ended::Over),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(Ended::Broken("the service refuses the API key".to_owned()))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(busy(response.status())),
        status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
            Err(busy(status))
        }
        // The list, a page, a redirection that is not followed, 404, 406.
        _ => Err(Ended::NotOffered),
    }
}

fn busy(status: StatusCode) -> Ended {
    Ended::Broken(format!("the service answers status {}", status.as_u16()))
}

/// What an event says, unless it is for somebody else.
fn news(event: Event) -> Option<News> {
    let action = match event.name.as_str() {
        "message" | "nodes" => None,
        name => Some(Action::named(name)?),
    };
    let is_blank = event.data.iter().all(u8::is_ascii_whitespace);
    (!is_blank).then(|| News::new(Origin::Stream, event.data, action))
}

/// Pauses between attempts.
#[derive(Debug)]
pub(crate) struct Pauses {
    failures: u32,
    rng: fastrand::Rng,
}

impl Pauses {
    /// None has failed yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            failures: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// It broke: how long to wait, where the stream asked for so long.
    fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let first = asked.unwrap_or(PAUSE_MIN).clamp(PAUSE_MIN, PAUSE_MAX);
        let doubled = first.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.jittered(doubled.min(PAUSE_MAX))
    }

    fn jittered(&mut self, pause: Duration) -> Duration {
        let percent = self.rng.u32(100 - JITTER_PERCENT..=100 + JITTER_PERCENT);
        pause * percent / 100
    }
}

#[cfg(test)]
mod tests;
