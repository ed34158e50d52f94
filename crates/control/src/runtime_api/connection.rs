//! One connection to the Runtime API: lines in, answers out (management.txt 9.3).

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use engine::Level;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::answer::{Answer, Call, message};
use super::session::{Mode, Session};
use super::table::{self, Found};
use super::{Api, handing_over, journal_commands, line, master};
use crate::reload::Outcome;

/// How long a client may take to close after the last answer, before we do.
const LINGER: Duration = Duration::from_secs(1);

/// What such a client may still have sent, bytes.
const LINGER_BYTES_MAX: usize = 256 << 10;

/// How often a waiting command looks.
const LOOK: Duration = Duration::from_millis(10);

/// A connection under way.
pub(super) struct Connection<S> {
    stream: S,
    api: Rc<Api>,
    session: Session,
    /// Bytes that came and were not read as a line yet.
    read: Vec<u8>,
    /// The client has said its last.
    half_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + AsFd + Unpin> Connection<S> {
    pub(super) fn new(stream: S, api: Rc<Api>, session: Session) -> Self {
        Self {
            stream,
            api,
            session,
            read: Vec::new(),
            half_closed: false,
        }
    }

    /// Until the client, a command or silence ends it.
    pub(super) async fn run(mut self) {
        // Nobody waits for the outcome: a client that has gone has gone.
        let _ = self.converse().await;
    }

    async fn converse(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.line(self.line_max()).await? {
            let line = line::parse(&bytes);
            if self.session.gives_listeners
                && let Some(asked) = handing_over::asked(&line, &self.session)
            {
                return handing_over::give(&self.api, self.stream.as_fd(), asked);
            }
            let payload = match &line.payload_end {
                None => None,
                Some(end) => match self.payload(end).await? {
                    Some(payload) => Some(payload),
                    None => break,
                },
            };
            let last = line.commands.len().saturating_sub(1);
            for (at, words) in line.commands.iter().enumerate() {
                let payload = payload.as_deref().filter(|_| at == last);
                self.command(words, payload).await?;
                if self.session.ended {
                    break;
                }
                self.write(b"\n").await?;
            }
            if self.session.ended || self.session.mode == Mode::Once {
                break;
            }
            let prompt = self.session.prompt(self.api.handle.uptime());
            self.write(prompt.as_bytes()).await?;
        }
        self.close().await
    }

    fn line_max(&self) -> usize {
        self.api.config.global.tune.bufsize
    }

    /// The next line without its end; `None`: there is none, or it is too long to be one.
    async fn line(&mut self, max: usize) -> io::Result<Option<Vec<u8>>> {
        let mut seen = 0;
        loop {
            if let Some(at) = memchr(&self.read[seen..]) {
                let rest = self.read.split_off(seen + at + 1);
                let mut line = std::mem::replace(&mut self.read, rest);
                line.pop();
                return Ok(Some(line));
            }
            seen = self.read.len();
            if seen > max {
                return Ok(None);
            }
            if self.half_closed {
                let rest = std::mem::take(&mut self.read);
                return Ok(Some(rest).filter(|rest| !rest.is_empty()));
            }
            let read = timeout(self.session.timeout, self.stream.read_buf(&mut self.read));
            match read.await {
                Ok(count) => self.half_closed = count? == 0,
                Err(_) => return Ok(None),
            }
        }
    }

    /// All lines up to `end`; `None`: it never came, or it is too much.
    async fn payload(&mut self, end: &str) -> io::Result<Option<String>> {
        let max = self.api.settings().payload_max;
        let mut payload = Vec::new();
        loop {
            if self.read.is_empty() && self.session.mode == Mode::Prompt {
                self.write(b"+ ").await?;
            }
            let Some(line) = self.line(max).await? else {
                return Ok(None);
            };
            let shown = line.strip_suffix(b"\r").unwrap_or(&line);
            if shown == end.as_bytes() {
                return Ok(Some(String::from_utf8_lossy(&payload).into_owned()));
            }
            payload.extend_from_slice(&line);
            payload.push(b'\n');
            if payload.len() > max {
                let answer = Answer::error("The payload is larger than tune.cli.max-payload-size.");
                self.answer(answer).await?;
                return Ok(None);
            }
        }
    }

    /// Runs one command and writes its answer.
    async fn command(&mut self, words: &[String], payload: Option<&str>) -> io::Result<()> {
        let words = match &mut self.session.master {
            None => words,
            Some(_) => match master::route(&mut self.session, words) {
                master::Route::Worker(words) => words,
                master::Route::Master(words) => {
                    let (api, session) = (&self.api, &mut self.session);
                    let answer = master::run(api, session, words);
                    return self.answer(answer).await;
                }
            },
        };
        if words.is_empty() {
            return Ok(());
        }
        let answer = match table::find(words, &self.session) {
            Found::Row(row, args) => {
                let config = self.api.handle.config();
                let mut call = Call {
                    config: &config,
                    handle: &self.api.handle,
                    api: &self.api,
                    session: &mut self.session,
                    args,
                    payload,
                };
                let answer = (row.run)(&mut call);
                if row.changes && !answer.is_refusal() {
                    self.tell(&row.told(args));
                }
                if row.changed.is_some() && !answer.is_refusal() {
                    // Whoever is told that it is done may rely on it.
                    journal_commands::keep(&self.api, words, payload, &self.session.peer).await;
                }
                answer
            }
            Found::Refused(answer) => answer,
        };
        self.answer(answer).await
    }

    /// Who changed what, for the log.
    fn tell(&self, told: &str) {
        let Session { socket, peer, .. } = &self.session;
        let line = format!("Runtime API: '{told}' by {peer} on {socket}.");
        self.api.handle.log(Level::Notice, &line);
    }

    async fn answer(&mut self, answer: Answer) -> io::Result<()> {
        match answer {
            Answer::Done => Ok(()),
            Answer::Text(text) => self.write(text.as_bytes()).await,
            Answer::Message(gravity, text) => {
                let text = message(self.session.severity, gravity, &text);
                self.write(text.as_bytes()).await
            }
            Answer::Report(mut report) => loop {
                let mut piece = String::new();
                let more = report.piece(&mut piece);
                self.write(piece.as_bytes()).await?;
                if !more {
                    return Ok(());
                }
            },
            Answer::Pieces { mut pieces, none } => {
                let mut some = false;
                // Nobody takes so long, unless a worker hangs.
                while let Some(piece) = timeout(self.session.timeout, pieces.recv()).await? {
                    some = true;
                    self.write(piece.as_bytes()).await?;
                }
                if some {
                    return Ok(());
                }
                Box::pin(self.answer(*none)).await
            }
            Answer::Later(told) => {
                // Whoever it was left to says something, or has ended.
                let told = told.await.unwrap_or_else(|_| Outcome::lost());
                self.write(told.to_string().as_bytes()).await
            }
            Answer::Wait {
                limit,
                mut until,
                late,
            } => {
                let api = Rc::clone(&self.api);
                let Ok(_place) = api.waits.try_acquire() else {
                    let text = "Too many commands are waiting already.";
                    return Box::pin(self.answer(Answer::error(text))).await;
                };
                let handle = self.api.handle.clone();
                let seen = async {
                    loop {
                        if let Some(answer) = until(&handle) {
                            return answer;
                        }
                        tokio::time::sleep(LOOK).await;
                    }
                };
                let answer = timeout(limit, seen).await.unwrap_or(*late);
                Box::pin(self.answer(answer)).await
            }
        }
    }

    /// Writes all of it, unless the reader takes nothing for too long.
    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = timeout(self.session.timeout, self.stream.write(bytes));
            let count = written.await.map_err(|_| io::ErrorKind::TimedOut)??;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Says that nothing more comes, and reads what the client still sends: closed with bytes unread, a
    /// socket would take back what was written.
    async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut left = LINGER_BYTES_MAX;
        let mut scrap = [0; 4096];
        let drained = async {
            while !self.half_closed && left > 0 {
                match self.stream.read(&mut scrap).await? {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
            Ok(())
        };
        timeout(LINGER, drained).await.unwrap_or(Ok(()))
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}
