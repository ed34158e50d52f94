//! The desk where news are pushed and fetches asked for: the engine's [`NewsDesk`], in front of the loop.
//!
//! Whoever pushes is foreign until the key has been seen, and bounded behind it: in rate, in bodies at once,
//! in bytes, in time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::news_desk::{
    Awaited, NewsDesk, NotRead, PUSH_LEN_MAX, PUSH_TIME_MAX, Push, PushAnswer, PushHead,
};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::environment::ApiKey;
use crate::news::{Desk, Message, News, Origin, Refusal};
use crate::pace::Pace;

/// Pushes a second that are taken, and at once: a fleet that comes up pushes each node of its own.
const PUSHES_A_SECOND: u32 = 20;

/// The same at once.
const PUSHES_AT_ONCE: u32 = 50;

/// Bodies that are read or looked at at the same time: each may have four megabytes.
const BODIES_MAX: usize = 8;

/// The desk.
pub(crate) struct Intake {
    desk: Desk,
    /// `None`: there is no key, and nobody is let in.
    key: Mutex<Option<ApiKey>>,
    begun: Instant,
    pace: Mutex<Pace>,
    places: Arc<Semaphore>,
    refused: Arc<RefusedPushes>,
}

/// Pushes that were not let in, by cause.
#[derive(Debug, Default)]
pub(crate) struct RefusedPushes {
    counts: [AtomicU64; CAUSES.len()],
}

/// Why a push is not let in.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Key,
    Method,
    Length,
    Rate,
    Time,
}

/// The same as the metric calls them, in that order.
const CAUSES: [&str; 5] = ["key", "method", "length", "rate", "time"];

impl RefusedPushes {
    /// All causes and their counts.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        CAUSES.into_iter().zip(counts).collect()
    }

    fn count(&self, cause: Cause) {
        self.counts[cause as usize].fetch_add(1, Relaxed);
    }
}

impl Intake {
    /// A desk that nobody has come to yet.
    pub(crate) fn new(desk: Desk, key: Option<ApiKey>) -> Self {
        Self {
            desk,
            key: Mutex::new(key),
            begun: Instant::now(),
            pace: Mutex::new(Pace::new(PUSHES_A_SECOND, PUSHES_AT_ONCE)),
            places: Arc::new(Semaphore::new(BODIES_MAX)),
            refused: Arc::default(),
        }
    }

    /// Who may push from now on.
    pub(crate) fn set_key(&self, key: Option<ApiKey>) {
        *self.key() = key;
    }

    /// A lock whose holder only compares.
    fn key(&self) -> MutexGuard<'_, Option<ApiKey>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pushes that were not let in.
    pub(crate) fn refused(&self) -> Arc<RefusedPushes> {
        Arc::clone(&self.refused)
    }

    fn refuse(&self, cause: Cause, status: u16, why: &str) -> PushAnswer {
        self.refused.count(cause);
        error(status, why)
    }

    /// Whether the one key there is is the right one.
    fn check_key(&self, keys: &[&[u8]]) -> Result<(), &'static str> {
        let (Some(key), [sent]) = (&*self.key(), keys) else {
            return Err(match keys {
                [] => "X-API-Key is missing",
                [_] => "no key is good: API_KEY is not set here",
                _ => "X-API-Key is given more than once",
            });
        };
        match key.matches(sent) {
            true => Ok(()),
            false => Err("X-API-Key is wrong"),
        }
    }
}

impl NewsDesk for Intake {
    fn admit(&self, head: &PushHead<'_>) -> Result<Box<dyn Push>, PushAnswer> {
        // First of all: who has no key learns nothing else, and costs nothing else.
        if let Err(why) = self.check_key(&head.keys) {
            return Err(self.refuse(Cause::Key, 401, why));
        }
        if head.method != b"POST" {
            return Err(self.refuse(Cause::Method, 405, "news of nodes are sent by POST"));
        }
        match head.length {
            Some(0) => return Err(self.refuse(Cause::Length, 400, NOTHING)),
            Some(length) if length > PUSH_LEN_MAX as u64 => {
                return Err(self.refuse(Cause::Length, 413, &too_long()));
            }
            _ => {}
        }
        let turn = {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.take(self.begun.elapsed())
        };
        let place = turn.and_then(|()| {
            let place = Arc::clone(&self.places).try_acquire_owned();
            place.map_err(|_| Duration::from_secs(1))
        });
        match place {
            Ok(place) => Ok(Box::new(Admitted {
                desk: self.desk.clone(),
                refused: self.refused(),
                _place: place,
            })),
            Err(wait) => Err(PushAnswer {
                retry_after: Some(wait),
                ..self.refuse(
                    Cause::Rate,
                    429,
                    "too many pushes at the moment: nothing was changed",
                )
            }),
        }
    }

    fn fetch(&self) -> Awaited<Result<String, String>> {
        let desk = self.desk.clone();
        Box::pin(async move {
            match desk.ask(Message::Fetch).await {
                Some(Ok(outcome)) => Ok(outcome.to_string()),
                Some(Err(refusal)) => Err(refusal.why),
                None => Err("the control loop has ended".to_owned()),
            }
        })
    }
}

/// A push that was let in.
struct Admitted {
    desk: Desk,
    refused: Arc<RefusedPushes>,
    _place: OwnedSemaphorePermit,
}

impl Push for Admitted {
    fn take(self: Box<Self>, body: Vec<u8>) -> Awaited<PushAnswer> {
        Box::pin(async move {
            let mut news = News::new(Origin::Push, body, None);
            let asked = self.desk.ask(|reply| {
                news.reply = Some(reply);
                Message::News(news)
            });
            match asked.await {
                Some(Ok(outcome)) => PushAnswer {
                    // Part of it is only noted.
                    status: if outcome.held.is_some() { 202 } else { 200 },
                    body: outcome.to_json(),
                    retry_after: None,
                },
                Some(Err(Refusal { status, why })) => error(status, &why),
                None => error(503, "the control loop has ended"),
            }
        })
    }

    fn not_read(self: Box<Self>, why: NotRead) -> PushAnswer {
        match why {
            NotRead::TooLong => {
                self.refused.count(Cause::Length);
                error(413, &too_long())
            }
            NotRead::TooSlow => {
                self.refused.count(Cause::Time);
                let seconds = PUSH_TIME_MAX.as_secs();
                error(408, &format!("the body did not come within {seconds} s"))
            }
        }
    }
}

const NOTHING: &str =
    "the body is empty: it is a JSON array (the list of nodes) or an object (one change)";

fn too_long() -> String {
    format!("the body is larger than {PUSH_LEN_MAX} bytes, or cut off")
}

fn error(status: u16, why: &str) -> PushAnswer {
    PushAnswer {
        status,
        body: json!({"error": why}).to_string(),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head<'a>(method: &'a str, keys: &[&'a str], length: u64) -> PushHead<'a> {
        PushHead {
            method: method.as_bytes(),
            keys: keys.iter().map(|key| key.as_bytes()).collect(),
            length: Some(length),
        }
    }

    #[test]
    fn who_is_let_in() {
        let (desk, _loop) = Desk::new();
        let intake = Intake::new(desk.clone(), Some(ApiKey::parse("secret").unwrap()));
        let check = |head: PushHead<'_>, expected: u16, word: &str| {
            let answer = intake.admit(&head).err().expect("it is refused");
            assert_eq!(answer.status, expected);
            assert!(answer.body.contains(word), "{}", answer.body);
            assert!(!answer.body.contains("secret"));
        };
        check(head("POST", &[], 1), 401, "missing");
        check(head("POST", &["secreT"], 1), 401, "wrong");
        check(
            head("POST", &["secret", "secret"], 1),
            401,
            "more than once",
        );
        check(head("GET", &["wrong"], 1), 401, "wrong");
        check(head("GET", &["secret"], 0), 405, "POST");
        check(head("POST", &["secret"], 0), 400, "empty");
        check(head("POST", &["secret"], u64::MAX), 413, "larger");
        assert!(intake.admit(&head("POST", &["secret"], 1)).is_ok());
        let no_key = Intake::new(desk, None);
        let answer = no_key.admit(&head("POST", &["secret"], 1)).err();
        assert_eq!(answer.map(|answer| answer.status), Some(401));
        let counts = intake.refused().counts();
        assert_eq!(
            counts,
            [
                ("key", 4),
                ("method", 1),
                ("length", 2),
                ("rate", 0),
                ("time", 0)
            ]
        );
    }

    #[test]
    fn bodies_at_once_and_pushes_in_a_row_are_bounded() {
        let (desk, _loop) = Desk::new();
        let intake = Intake::new(desk, Some(ApiKey::parse("k").unwrap()));
        let push = || intake.admit(&head("POST", &["k"], 1));
        let mut held: Vec<_> = (0..BODIES_MAX).map(|_| push().ok().unwrap()).collect();
        let busy = push().err().unwrap();
        assert_eq!(
            (busy.status, busy.retry_after),
            (429, Some(Duration::from_secs(1)))
        );
        held.pop();
        assert!(push().is_ok());
        let answers = (0..1000).filter_map(|_| push().err());
        assert!(answers.count() > 900, "a thousand at once are not taken");
    }
}
