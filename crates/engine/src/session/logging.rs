//! Whether, when and at which level a session is logged (manual 8.3).

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use config::expr::Format;
use config::model::{LogFormat, LogLevel, Logging, Mode};

use routing::sample::Facts;

use super::Session;
use super::line::{self, Early, Ending};
use crate::clock;
use crate::end::{End, Side, Stage};
use crate::log::{Level, Message};
use crate::worker::Connection;

/// Of a session as short as that the date at its end is known from the one at its start.
const SHORT: Duration = Duration::from_millis(500);

/// Where lines are written before they are sent: one of each a worker, used over and over.
#[derive(Default)]
pub(crate) struct Scratch {
    text: Vec<u8>,
    structured: Vec<u8>,
}

impl Scratch {
    /// A line of a megabyte was an exception: such a buffer is not kept.
    const KEPT: usize = 64 << 10;

    fn clear(&mut self) {
        for buffer in [&mut self.text, &mut self.structured] {
            buffer.clear();
            buffer.shrink_to(Self::KEPT);
        }
    }
}

impl Session {
    /// Writes the line of a session that is over, if it is to be logged.
    pub(super) fn log(&self, end: End, total: Duration) {
        self.log_once(end, total, None);
    }

    /// Without a format a session has one short line, when it begins (manual 8.2.1).
    pub(crate) fn log_begin(&self) {
        let logging = &self.frontend().conf().proxy.log;
        if matches!(logging.format, LogFormat::Default) && !logging.targets.is_empty() {
            self.send_line(logging, Level::Info, clock::wall(), |text, _| {
                line::write_short_line(self, text);
            });
        }
    }

    /// `option logasap`: writes the line now, when the response has begun or the server is reached.
    pub(crate) fn log_early(&self, early: Early) {
        if self.frontend().conf().proxy.log.asap {
            self.log_once(End::NORMAL, self.record.elapsed(), Some(early));
        }
    }

    fn log_once(&self, end: End, total: Duration, early: Option<Early>) {
        let logging = &self.frontend().conf().proxy.log;
        let null = logging.dontlognull && self.is_null(end);
        if logging.targets.is_empty() || null || self.logged.get() {
            return;
        }
        self.logged.set(early.is_some());
        let format = match (&logging.format, &logging.error_format) {
            // What was no request is an error of the connection (manual 8.2.5).
            (_, Some(format)) if self.was_no_request() => format,
            (LogFormat::Custom(format), _) => format,
            _ => return, // it was written when the session began
        };
        let failed = self.has_failed(end);
        if logging.dontlog_normal && !failed {
            return;
        }
        let level = match self.noted(|notes| notes.level) {
            Some(LogLevel::Silent) => return,
            Some(LogLevel::Severity(severity)) => Level::from_severity(severity),
            None if failed && logging.separate_errors => Level::Error,
            None => Level::Info,
        };
        let ending = Ending {
            session: self,
            end,
            total,
            number: Cell::default(),
            early,
        };
        self.write_line(logging, format, level, &ending);
    }

    /// Writes the line of a connection that never became a session (manual 8.2.5).
    pub(crate) fn log_unfit(unfit: &Rc<Connection>, bind: usize, accepted: Instant) {
        let logging = &unfit.frontend.conf().proxy.log;
        let silent = logging.dontlognull && unfit.facts.error.is_silence();
        if logging.targets.is_empty() || silent {
            return;
        }
        let level = match logging.separate_errors {
            true => Level::Error,
            false => Level::Info,
        };
        let session = Session::start(unfit);
        let ending = Ending {
            session: &session,
            end: End::by(Side::Proxy, Stage::Request),
            total: Duration::ZERO,
            number: Cell::default(),
            early: None,
        };
        match &logging.error_format {
            Some(format) => session.write_line(logging, format, level, &ending),
            // HAProxy tells of sessions that began alone where there is no format.
            None if matches!(logging.format, LogFormat::Default) => {}
            None => {
                let date = clock::wall().saturating_sub(accepted.elapsed());
                session.send_line(logging, level, clock::wall(), |text, _| {
                    ending.write_unfit_line(bind, date, text);
                });
            }
        }
    }

    fn was_no_request(&self) -> bool {
        self.frontend().conf().proxy.mode == Mode::Http && self.record.request_line.is_empty()
    }

    /// Whether the client never said anything. Of a TCP client that got no server nobody knows.
    fn is_null(&self, end: End) -> bool {
        let unread = !self.is_http() && matches!(end.stage, Stage::Connect | Stage::Queue);
        !self.record.heard && self.bytes_in.get() == 0 && !unread
    }

    /// Whether it is an error in the sense of manual 8.3.3: an early end, a retry, a redispatch, or
    /// a status of 500 and above.
    pub(super) fn has_failed(&self, end: End) -> bool {
        let record = &self.record;
        !matches!(end.side, Side::None | Side::Local)
            || (end.side == Side::None && record.retries > 0)
            || record.redispatched
            || record.status.is_some_and(|status| status >= 500)
    }

    fn write_line(&self, logging: &Logging, format: &Format, level: Level, ending: &Ending<'_>) {
        let now = self.now_after(ending.total);
        self.send_line(logging, level, now, |text, structured| {
            let by_format = |out: &mut Vec<u8>| self.render(format, ending, now, out);
            match format.is_httplog {
                true => ending.write_httplog(text, by_format),
                false => by_format(text),
            }
            if let Some(format) = &logging.structured {
                self.render(format, ending, now, structured);
            }
        });
    }

    /// The date so long after its start. That of a long session is asked for anew: the clock may have been
    /// set meanwhile.
    fn now_after(&self, total: Duration) -> Duration {
        match total < SHORT {
            true => self.record.date + total,
            false => clock::wall(),
        }
    }

    fn send_line(
        &self,
        logging: &Logging,
        level: Level,
        now: Duration,
        write: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>),
    ) {
        let worker = self.worker();
        let mut scratch = worker.log_lines.borrow_mut();
        let Scratch { text, structured } = &mut *scratch;
        write(text, structured);
        let message = Message { text, structured };
        worker.shared.send_line(logging, level, now, message);
        scratch.clear();
    }

    fn render(&self, format: &Format, ending: &Ending<'_>, now: Duration, out: &mut Vec<u8>) {
        let facts = Facts {
            process: ending,
            ..self.facts_at(now, None, None)
        };
        routing::format::render(format, &facts, ending, out);
    }
}
