//! One question to HAProxy's Runtime API (management.txt 9.3) and its whole answer, or none.
//!
//! Each question is a connection of its own, as HAProxy's non-interactive mode wants it: nothing of an
//! earlier one can be left over in it. Connecting, asking and reading together are bounded in time, the
//! answer in size, and text that is no UTF-8 is none of HAProxy's.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Longest wait for an answer. HAProxy answers within milliseconds unless it hangs or is stopped; what
/// waits for it is the control loop alone, never traffic.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Longest wait for a reload: HAProxy answers when the new process has read its configuration, which
/// may load thousands of certificates.
pub(super) const RELOAD_TIME_MAX: Duration = Duration::from_secs(60);

/// Largest answer, bytes: `show stat` has some 500 a server, and ten thousand nodes are the most.
const ANSWER_LEN_MAX: usize = 32 << 20;

/// Where HAProxy listens for commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Unix(PathBuf),
    Tcp(String),
}

impl Place {
    /// Reads `unix:/path`, `unix@/path`, `/path`, `tcp:host:port`, `ipv4@host:port`, `host:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const FORMS: &str = "it is neither unix:/PATH nor tcp:HOST:PORT";
        let after = |prefixes: &[&str]| {
            let mut prefixes = prefixes.iter();
            prefixes.find_map(|prefix| text.strip_prefix(prefix))
        };
        if let Some(path) = after(&["unix:", "unix@"]).or(text.starts_with('/').then_some(text)) {
            return match path.starts_with('/') && path.len() < UNIX_PATH_MAX {
                true => Ok(Self::Unix(path.into())),
                false => Err("its path is not absolute, or too long for a socket"),
            };
        }
        let address = after(&["tcp:", "tcp@", "ipv4@", "ipv6@"]).unwrap_or(text);
        let (host, port) = address.rsplit_once(':').ok_or(FORMS)?;
        let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        match !host.is_empty() && host.bytes().all(in_host) && is_port {
            true => Ok(Self::Tcp(address.to_owned())),
            false => Err(FORMS),
        }
    }
}

/// `sun_path` has room for 108 bytes, one of which ends it.
const UNIX_PATH_MAX: usize = 108;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Nobody is there, or they hang up.
    Io(&'static str, String),
    /// None came in time; what was waited for.
    Late(Duration),
    /// It is longer than anything HAProxy has to say.
    Long,
    /// It is no text.
    NoText,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(doing, error) => write!(f, "cannot {doing}: {error}"),
            Self::Late(limit) => write!(f, "no answer within {} s", limit.as_secs()),
            Self::Long => write!(f, "its answer is longer than {ANSWER_LEN_MAX} bytes"),
            Self::NoText => f.write_str("its answer is no text"),
        }
    }
}

/// Sends a line of commands and reads all that is answered until HAProxy hangs up.
pub(super) async fn ask(place: &Place, line: &str) -> Result<String, NoAnswer> {
    let asked = ask_anybody(place, line, false);
    timeout(ANSWER_TIME_MAX, asked)
        .await
        .unwrap_or(Err(NoAnswer::Late(ANSWER_TIME_MAX)))
}

/// The same of HAProxy's master, with that patience. It waits for more commands until it is told that
/// there are none (management.txt 9.3, "prompt").
pub(super) async fn ask_master(
    place: &Place,
    line: &str,
    patience: Duration,
) -> Result<String, NoAnswer> {
    let asked = ask_anybody(place, line, true);
    timeout(patience, asked)
        .await
        .unwrap_or(Err(NoAnswer::Late(patience)))
}

async fn ask_anybody(place: &Place, line: &str, is_last: bool) -> Result<String, NoAnswer> {
    debug_assert!(!line.contains('\n'), "one line is one question");
    let answer = match place {
        Place::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            exchange(stream.map_err(connect)?, line, is_last).await?
        }
        Place::Tcp(address) => {
            let stream = TcpStream::connect(address.as_str()).await;
            exchange(stream.map_err(connect)?, line, is_last).await?
        }
    };
    String::from_utf8(answer).map_err(|_| NoAnswer::NoText)
}

fn connect(error: io::Error) -> NoAnswer {
    NoAnswer::Io("connect", error.to_string())
}

async fn exchange<S>(mut stream: S, line: &str, is_last: bool) -> Result<Vec<u8>, NoAnswer>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    let sent = stream.write_all(format!("{line}\n").as_bytes()).await;
    sent.map_err(|error| NoAnswer::Io("ask", error.to_string()))?;
    if is_last {
        // Whoever has hung up by now has answered, or shows it below.
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let mut bounded = stream.take(ANSWER_LEN_MAX as u64 + 1);
    let read = bounded.read_to_end(&mut answer).await;
    read.map_err(|error| NoAnswer::Io("read the answer", error.to_string()))?;
    match answer.len() > ANSWER_LEN_MAX {
        true => Err(NoAnswer::Long),
        false => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let got = Place::parse(text);
            let got = got.map_or_else(str::to_owned, |place| place.to_string());
            assert_eq!(got, expected, "{text}");
        }
        let forms = "it is neither unix:/PATH nor tcp:HOST:PORT";
        let path = "its path is not absolute, or too long for a socket";
        for (text, expected) in [
            ("unix:/run/haproxy.sock", "unix:/run/haproxy.sock"),
            ("unix@/run/h", "unix:/run/h"),
            ("/run/h", "unix:/run/h"),
            ("tcp:127.0.0.1:9999", "tcp:127.0.0.1:9999"),
            ("ipv4@127.0.0.1:9999", "tcp:127.0.0.1:9999"),
            ("[::1]:9999", "tcp:[::1]:9999"),
            ("haproxy:9999", "tcp:haproxy:9999"),
            ("unix:run/h", path),
            ("haproxy", forms),
            ("haproxy:0", forms),
            (":1", forms),
            ("a b:1", forms),
            ("", forms),
        ] {
            check(text, expected);
        }
        check(&format!("/{}", "x".repeat(200)), path);
    }

    /// A HAProxy that says this and hangs up.
    async fn answer_of(said: &'static [u8]) -> Result<String, NoAnswer> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::Tcp(listener.local_addr().unwrap().to_string());
        let other = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 10];
            stream.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"show info\n");
            stream.write_all(said).await.unwrap();
        };
        let (answer, ()) = tokio::join!(ask(&place, "show info"), other);
        answer
    }

    #[tokio::test]
    async fn what_is_said_until_the_end_is_the_answer() {
        assert_eq!(answer_of(b"x\n\n").await, Ok("x\n\n".to_owned()));
        assert_eq!(answer_of(b"\xff").await, Err(NoAnswer::NoText));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_says_nothing_is_not_waited_for_for_ever() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::Tcp(listener.local_addr().unwrap().to_string());
        let answer = ask(&place, "show info").await;
        assert_eq!(answer, Err(NoAnswer::Late(ANSWER_TIME_MAX)));
        drop(listener);
        let gone = ask(&place, "show info")
            .await
            .map_err(|why| why.to_string());
        assert!(gone.unwrap_err().starts_with("cannot connect: "));
    }
}
