//! A session as its log line shows it: what the variables of log formats stand for (manual 8.2.6).

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use config::expr::{Flags, Variable};
use config::model::Mode;
use routing::dates;
use routing::format::{self, Variables};

use super::{Session, captures};
use crate::end::End;
use crate::server::Target;

/// A session with its end: what the variables of a log format stand for (manual 8.2.6).
pub(super) struct Ending<'a> {
    /// The session.
    pub(super) session: &'a Session,
    /// How it ended.
    pub(super) end: End,
    /// How long it took, from its first byte.
    pub(super) total: Duration,
    /// `%lc`, once it was asked for.
    pub(super) number: Cell<Option<u64>>,
    /// What is known of the response of a session that goes on (`option logasap`).
    pub(super) early: Option<Early>,
}

/// A response whose head has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Early {
    /// `%ST`.
    pub(crate) status: Option<u16>,
    /// `%Tr`.
    pub(crate) response: Option<Duration>,
    /// `%B`: bytes of the head.
    pub(crate) bytes: usize,
}

impl<'a> Ending<'a> {
    /// Of a session that goes on.
    pub(super) fn so_far(session: &'a Session) -> Self {
        Self {
            session,
            end: End::NORMAL,
            total: session.record.elapsed(),
            number: Cell::default(),
            early: None,
        }
    }
}

impl Ending<'_> {
    /// The line of a connection that never became a session (manual 8.2.5).
    pub(super) fn write_unfit_line(&self, bind: usize, accepted: Duration, out: &mut Vec<u8>) {
        let facts = &self.session.connection.facts;
        let frontend = self.session.frontend();
        out.extend_from_slice(shown(facts.source()).as_bytes());
        out.extend_from_slice(b" [");
        dates::log_millis(accepted, out);
        let bind_name = frontend.conf().binds[bind].name.clone();
        let bind_name = bind_name.unwrap_or_else(|| (bind + 1).to_string().into());
        let (frontend, words) = (frontend.name(), facts.error.words());
        out.extend_from_slice(format!("] {frontend}/{bind_name}: {words}").as_bytes());
    }

    fn address(&self, v: Variable) -> Option<SocketAddr> {
        let facts = &self.session.connection.facts;
        match v {
            Variable::ci | Variable::cp => facts.source(),
            Variable::fi | Variable::fp => facts.destination(),
            Variable::si | Variable::sp => {
                match self.session.server.as_ref()?.target(facts.destination())? {
                    Target::Inet(address) => Some(address),
                    Target::Unix(_) | Target::Abstract(_) => None,
                }
            }
            Variable::bi | Variable::bp => self.session.noted(|notes| notes.source),
            _ => None,
        }
    }

    fn gauge(&self, v: Variable) -> u64 {
        let session = self.session;
        match v {
            Variable::ac => session.worker().shared.connections.now(),
            Variable::fc => session.frontend().sessions.now(),
            Variable::bc => session.backend.as_ref().map_or(0, |b| b.sessions.now()),
            Variable::sc => session.server.as_ref().map_or(0, |s| s.sessions.now()),
            _ => 0,
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.early
            .map_or(self.session.record.status, |early| early.status)
    }

    pub(super) fn response(&self) -> Option<Duration> {
        self.early
            .map_or(self.session.record.response, |early| early.response)
    }

    /// `%B`.
    pub(super) fn bytes(&self) -> u64 {
        let early = self.early.map_or(0, |early| early.bytes as u64);
        self.session.bytes_out.get() + early
    }

    /// What the persistence cookie came to (manual 8.5).
    pub(super) fn cookie_letters(&self) -> [u8; 2] {
        let backend = self.session.backend.as_ref();
        match backend.and_then(|b| b.conf().cookie.as_ref()) {
            Some(_) => self.session.record.cookies.get(),
            None => *b"--",
        }
    }

    /// `option logasap`: these go on growing (manual 8.3.2).
    pub(super) fn write_plus(&self, out: &mut Vec<u8>) {
        if self.session.frontend().conf().proxy.log.asap {
            out.push(b'+');
        }
    }

    pub(super) fn time(&self, v: Variable) -> Option<Duration> {
        let record = &self.session.record;
        let known = || {
            record.request.unwrap_or_default()
                + record.queue.unwrap_or_default()
                + record.connect.unwrap_or_default()
                + self.response().unwrap_or_default()
        };
        match v {
            Variable::Th => Some(record.handshake),
            Variable::Ti => Some(record.idle),
            Variable::Tq => record.request.map(|r| record.handshake + record.idle + r),
            Variable::TR => record.request,
            Variable::Tw => record.queue,
            Variable::Tc => record.connect,
            Variable::Tr => self.response(),
            Variable::Td if !self.session.is_http() => {
                record.connect.map(|_| self.total.saturating_sub(known()))
            }
            Variable::Td => self.response().map(|_| self.total.saturating_sub(known())),
            Variable::Ta => Some(self.total),
            Variable::Tu => Some(self.total + record.idle),
            Variable::Tt => Some(self.total + record.idle + record.handshake),
            _ => None,
        }
    }

    fn request_part(&self, v: Variable) -> Option<&[u8]> {
        let line = &self.session.record.request_line;
        if line.is_empty() {
            return Some(b"<BADREQ>");
        }
        if v == Variable::r {
            return Some(line);
        }
        let mut words = line.split(|b| *b == b' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let (path, query) = match target.iter().position(|b| *b == b'?') {
            Some(at) => (&target[..at], &target[at..]),
            None => (target, &target[target.len()..]),
        };
        Some(match v {
            Variable::HM => method,
            Variable::HU => target,
            Variable::HP => path,
            Variable::HPO => captures::from_path(path),
            Variable::HQ => query,
            _ => version,
        })
    }

    /// Cookies that were captured, and the unique id.
    fn write_note(&self, v: Variable, out: &mut Vec<u8>) -> bool {
        let text = match v {
            Variable::CC => self.session.noted(|notes| notes.request_cookie.clone()),
            Variable::CS => self.session.noted(|notes| notes.response_cookie.clone()),
            _ => self.session.unique_id(),
        };
        let Some(text) = text else { return false };
        out.extend_from_slice(&text);
        true
    }

    /// Captured headers: `{one|two}`, or one after the other in the CLF style.
    fn write_captures(&self, v: Variable, flags: Flags, out: &mut Vec<u8>) {
        if !self.session.has_begun() {
            return;
        }
        let captures = &self.session.frontend().conf().captures;
        let of_request = matches!(v, Variable::hr | Variable::hrl);
        let slots = match of_request {
            true => captures.request.len(),
            false => captures.response.len(),
        };
        let clf = matches!(v, Variable::hrl | Variable::hsl);
        let notes = self.session.notes.borrow();
        let kept = notes.as_deref().map(|notes| match of_request {
            true => &notes.request,
            false => &notes.response,
        });
        let value = |slot: usize| kept?.get(slot)?.as_deref();
        format::captures((0..slots).map(value), clf, flags, out);
    }

    fn write_name(&self, v: Variable, out: &mut Vec<u8>) {
        let session = self.session;
        let frontend = session.frontend();
        match v {
            Variable::f => out.extend_from_slice(frontend.name().as_bytes()),
            Variable::ft => {
                out.extend_from_slice(frontend.name().as_bytes());
                if session.connection.facts.tls.is_some() {
                    out.push(b'~');
                }
            }
            Variable::b => {
                let name = session
                    .backend
                    .as_ref()
                    .map_or(frontend.name(), |b| b.name());
                out.extend_from_slice(name.as_bytes());
            }
            _ => {
                let name = session
                    .server
                    .as_ref()
                    .map_or(session.service, |s| &s.conf.name);
                out.extend_from_slice(name.as_bytes());
            }
        }
    }
}

impl Variables for Ending<'_> {
    fn write(&self, v: Variable, flags: Flags, out: &mut Vec<u8>) -> bool {
        let record = &self.session.record;
        match v {
            Variable::ci | Variable::fi => match self.address(v) {
                Some(address) => format::address(address.ip(), flags, out),
                None => out.extend_from_slice(b"unix"),
            },
            Variable::bi | Variable::si => match self.address(v) {
                Some(address) => format::address(address.ip(), flags, out),
                None => return self.session.server.is_some() && v == Variable::si && unix(out),
            },
            Variable::cp | Variable::fp => {
                format::port(self.address(v).map_or(0, |a| a.port()), flags, out);
            }
            Variable::bp | Variable::sp => match self.address(v) {
                Some(address) => format::port(address.port(), flags, out),
                None => return false,
            },
            Variable::f | Variable::ft | Variable::b | Variable::s => self.write_name(v, out),
            Variable::ac | Variable::fc | Variable::bc | Variable::sc => {
                number(out, self.gauge(v));
            }
            Variable::rc => {
                if record.redispatched {
                    out.push(b'+');
                }
                number(out, u64::from(record.retries));
            }
            Variable::sq => number(out, record.server_queue),
            Variable::bq => number(out, record.backend_queue),
            Variable::ST => match self.status() {
                Some(status) => number(out, u64::from(status)),
                None if self.session.is_http() => out.extend_from_slice(b"-1"),
                None => number(out, 0),
            },
            Variable::B => {
                self.write_plus(out);
                number(out, self.bytes());
            }
            Variable::U => number(out, self.session.bytes_in.get()),
            Variable::ts => out.extend_from_slice(&self.end.letters()),
            Variable::tsc => {
                out.extend_from_slice(&self.end.letters());
                out.extend_from_slice(&self.cookie_letters());
            }
            Variable::r
            | Variable::HM
            | Variable::HU
            | Variable::HP
            | Variable::HPO
            | Variable::HQ
            | Variable::HV => match self.request_part(v) {
                Some(part) => out.extend_from_slice(part),
                None => return false,
            },
            Variable::CC | Variable::CS | Variable::ID => return self.write_note(v, out),
            Variable::hr | Variable::hs | Variable::hrl | Variable::hsl => {
                self.write_captures(v, flags, out);
            }
            // Sessions are told of at their end, or as soon as a response has come.
            Variable::OG => out.extend_from_slice(match self.early {
                Some(_) => b"txn_response",
                None => b"txn_close",
            }),
            Variable::H => out.extend_from_slice(self.session.worker().shared.hostname.as_bytes()),
            Variable::pid => format::number(i64::from(std::process::id()), flags, out),
            Variable::rt => counter(self.session.number(), flags, out),
            Variable::lc => {
                let count = || self.session.frontend().log_lines.fetch_add(1, Relaxed);
                let number = self.number.get().unwrap_or_else(count);
                self.number.set(Some(number));
                counter(number, flags, out);
            }
            Variable::sslv | Variable::sslc => match &self.session.connection.facts.tls {
                Some(tls) if v == Variable::sslv => out.extend_from_slice(tls.version().as_bytes()),
                Some(tls) => out.extend_from_slice(tls.cipher().as_bytes()),
                None => return false,
            },
            _ => return self.write_time(v, flags, out),
        }
        true
    }
}

impl Variables for Session {
    /// In rules, while the session goes on: what is known so far.
    fn write(&self, v: Variable, flags: Flags, out: &mut Vec<u8>) -> bool {
        Ending::so_far(self).write(v, flags, out)
    }

    fn disable_retries(&self) {
        self.record.sent_once.set(true);
    }
}

impl Ending<'_> {
    /// Durations in milliseconds, and dates.
    fn write_time(&self, v: Variable, flags: Flags, out: &mut Vec<u8>) -> bool {
        let record = &self.session.record;
        let accepted = || record.date.saturating_sub(record.idle + record.handshake);
        match v {
            Variable::t => dates::log_millis(accepted(), out),
            Variable::tr => dates::log_millis(record.date, out),
            Variable::T => dates::log_utc(accepted(), out),
            Variable::trg => dates::log_utc(record.date, out),
            Variable::Tl => dates::log_local(accepted(), out),
            Variable::trl => dates::log_local(record.date, out),
            Variable::Ts => counter(accepted().as_secs(), flags, out),
            Variable::ms => {
                out.extend_from_slice(format!("{:03}", accepted().subsec_millis()).as_bytes());
            }
            Variable::Ta | Variable::Tt | Variable::Tu => {
                self.write_plus(out);
                self.write_duration(self.time(v), out);
            }
            _ => self.write_duration(self.time(v), out),
        }
        true
    }

    fn write_duration(&self, time: Option<Duration>, out: &mut Vec<u8>) {
        match time {
            Some(time) => {
                let millis = u64::from(time.subsec_millis());
                number(
                    out,
                    time.as_secs().saturating_mul(1000).saturating_add(millis),
                );
            }
            None => out.extend_from_slice(b"-1"),
        }
    }
}

/// The line without any `option httplog` or `tcplog` (manual 8.2.1).
pub(super) fn write_short_line(session: &Session, out: &mut Vec<u8>) {
    let facts = &session.connection.facts;
    let frontend = session.frontend();
    let mode = match frontend.conf().proxy.mode {
        Mode::Http => "HTTP",
        Mode::Tcp => "TCP",
    };
    let (src, dst) = (shown(facts.source()), shown(facts.destination()));
    let line = format!("Connect from {src} to {dst} ({}/{mode})", frontend.name());
    out.extend_from_slice(line.as_bytes());
}

/// An address with its port, as lines without a format write it.
fn shown(address: Option<SocketAddr>) -> String {
    match address {
        Some(address) => format!("{}:{}", address.ip(), address.port()),
        None => "unix:0".into(),
    }
}

/// A number that has a hexadecimal form.
fn counter(value: u64, flags: Flags, out: &mut Vec<u8>) {
    format::number(i64::try_from(value).unwrap_or(i64::MAX), flags, out);
}

/// What stands for the address of a Unix socket.
fn unix(out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(b"unix");
    true
}

pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    format::decimal(value, out);
}
