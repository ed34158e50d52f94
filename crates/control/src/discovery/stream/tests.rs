//! The follower against services that offer events, lie about them, or have none; over real sockets.

use std::cell::RefCell;
use std::rc::Rc;

use engine::snapshot::ControlStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::task::{AbortHandle, LocalSet, spawn_local};

use super::*;
use crate::discovery::wsupdates::BaseUrl;

/// What the follower said.
#[derive(Clone, Default)]
struct Lines(Rc<RefCell<Vec<String>>>);

impl Outlet for Lines {
    fn log(&self, level: Level, line: &str) {
        self.0.borrow_mut().push(format!("{level:?} {line}"));
    }

    fn show(&self, _: ControlStatus) {}
}

/// A service under a test's hand: each connection is taken, and answered, by the test.
struct Lab {
    listener: TcpListener,
    messages: Receiver<Message>,
    watched: Arc<Watched>,
    lines: Lines,
    task: AbortHandle,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lab {
    async fn start(silence: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (desk, messages) = Desk::new();
        let watched = Arc::<Watched>::default();
        let lines = Lines::default();
        let follower = Follower {
            client: Client::new(BaseUrl::parse(&url).unwrap(), None, None, None),
            desk,
            watched: Arc::clone(&watched),
            outlet: lines.clone(),
            silence,
            pauses: Pauses::new(7),
        };
        let task = spawn_local(follower.run()).abort_handle();
        watched.begin();
        Self {
            listener,
            messages,
            watched,
            lines,
            task,
        }
    }

    /// The next connection, and the head of its request.
    async fn request(&self) -> (TcpStream, String) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap())
    }

    /// The next connection, answered with these bytes.
    async fn answer(&self, answer: impl AsRef<[u8]>) -> (TcpStream, String) {
        let (mut stream, head) = self.request().await;
        stream.write_all(answer.as_ref()).await.unwrap();
        (stream, head)
    }

    /// The next message, in a word; news with its text.
    async fn message(&mut self) -> String {
        match self.messages.recv().await.unwrap() {
            Message::News(news) => {
                assert_eq!(news.origin, Origin::Stream);
                let text = String::from_utf8(news.text).unwrap();
                match news.action {
                    Some(action) => format!("{action:?} {text}"),
                    None => text,
                }
            }
            Message::Stream { fetch } => format!("stream {fetch} {}", self.watched.stage().word()),
            Message::Fetch(_) => unreachable!("a stream asks for none"),
        }
    }

    fn lines(&self) -> Vec<String> {
        let host = self.listener.local_addr().unwrap().to_string();
        let lines = std::mem::take(&mut *self.lines.0.borrow_mut());
        lines
            .iter()
            .map(|line| line.replace(&host, "HOST"))
            .collect()
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n";
const LONG: Duration = Duration::from_secs(600);

async fn run(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn events_are_followed_from_where_they_broke_off() {
    run(async {
        let mut lab = Lab::start(LONG).await;
        let (mut stream, head) = lab.answer(HEAD).await;
        assert!(head.starts_with("GET /nodes HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("accept: text/event-stream\r\n"), "{head}");
        assert!(!head.contains("last-event-id"), "{head}");
        assert_eq!(lab.message().await, "stream false open");
        let events = "retry: 1\n: hello\nid: 41\ndata: []\n\nevent: ping\ndata: x\n\nevent: nodes\n\
                      data: [\ndata: ]\n\ndata:\n\nid: 42\nevent: remove\ndata: {\"id\":\"a\"}\n\n";
        stream.write_all(events.as_bytes()).await.unwrap();
        assert_eq!(lab.message().await, "[]");
        assert_eq!(lab.message().await, "[\n]");
        assert_eq!(lab.message().await, r#"Remove {"id":"a"}"#);
        // An event that is cut off is none.
        stream.write_all(b"id: 43\ndata: [{").await.unwrap();
        drop(stream);
        assert_eq!(lab.message().await, "stream false not open");
        let (_stream, head) = lab.answer(HEAD).await;
        assert!(head.contains("last-event-id: 42\r\n"), "{head}");
        // Whatever happened meanwhile is fetched.
        assert_eq!(lab.message().await, "stream true open");
        assert_eq!(lab.watched.status().broken_total, 1);
        assert_eq!(
            lab.lines(),
            ["Notice Discovery: events of http://HOST are followed"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_service_without_events_is_polled_and_not_asked_again_at_once() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 406 Not Acceptable\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Type: text/event-stream\r\n\r\n",
    ] {
        run(async {
            let mut lab = Lab::start(LONG).await;
            let _answered = lab.answer(answer).await;
            assert_eq!(lab.message().await, "stream false not offered", "{answer}");
            let line = "Info Discovery: http://HOST offers no events: the list is polled";
            assert_eq!(lab.lines(), [line]);
        })
        .await;
    }
    run(async {
        let mut lab = Lab::start(LONG).await;
        let _answered = lab.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(lab.message().await, "stream false ended by the service");
    })
    .await;
}

#[tokio::test]
async fn a_silent_stream_is_dropped_and_opened_again() {
    run(async {
        let mut lab = Lab::start(Duration::from_millis(50)).await;
        let (mut silent, _) = lab.answer(HEAD).await;
        assert_eq!(lab.message().await, "stream false open");
        assert_eq!(lab.message().await, "stream false not open");
        // It was closed from the other side.
        assert_eq!(silent.read(&mut [0; 16]).await.unwrap(), 0);
        let _again = lab.answer(HEAD).await;
        assert_eq!(lab.message().await, "stream true open");
    })
    .await;
}

#[tokio::test]
async fn an_endless_line_ends_the_stream_and_is_told_when_it_comes_again() {
    run(async {
        let mut lab = Lab::start(LONG).await;
        for attempt in 0..2 {
            let (mut stream, _) = lab.answer(HEAD).await;
            assert_eq!(lab.message().await, format!("stream {} open", attempt > 0));
            let piece = vec![b'x'; 1 << 16];
            // It is closed in the middle.
            while stream.write_all(&piece).await.is_ok() {}
            assert_eq!(lab.message().await, "stream false not open");
        }
        let lines = lab.lines();
        let why = "an event is too large; the list is polled meanwhile";
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(
            lines[1],
            format!("Warning Discovery: events of http://HOST: {why}")
        );
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_events_waits_its_turn() {
    run(async {
        let mut lab = Lab::start(LONG).await;
        let (mut stream, _) = lab.answer(HEAD).await;
        assert_eq!(lab.message().await, "stream false open");
        let flood = spawn_local(async move {
            let events = "data: []\n\n".repeat(10_000);
            while stream.write_all(events.as_bytes()).await.is_ok() {}
        });
        let begun = Instant::now();
        for _ in 0..EVENTS_A_SECOND * 2 {
            assert_eq!(lab.message().await, "[]");
        }
        // So many at once, and the rest not faster than allowed.
        assert!(begun.elapsed() >= Duration::from_millis(950));
        assert!(!flood.is_finished(), "what is not taken is not read");
        flood.abort();
    })
    .await;
}

#[test]
fn pauses_grow_to_a_minute_whatever_is_asked_for() {
    #[track_caller]
    fn check(asked_ms: Option<u64>, expected: &[u64]) {
        let mut pauses = Pauses::new(7);
        for expected in expected {
            let pause = pauses.failed(asked_ms.map(Duration::from_millis));
            let expected = Duration::from_secs(*expected);
            assert!(
                pause >= expected * 3 / 4 && pause <= expected * 5 / 4,
                "{pause:?} {expected:?}"
            );
        }
    }
    let doubled = [1, 2, 4, 8, 16, 32, 60, 60, 60];
    check(None, &doubled);
    check(Some(0), &doubled);
    check(Some(10_000), &[10, 20, 40, 60, 60]);
    check(Some(u64::MAX), &[60, 60]);
    let mut two = [Pauses::new(1), Pauses::new(2)];
    assert_ne!(two[0].failed(None), two[1].failed(None));
}
