//! What samples ask of a session: its listener, its server, its times (manual 7.3.2 to 7.3.6).

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use config::expr::{SessionFigure, TimeUnit, Timeout, TimeoutOf, Timer, Variable};
use config::model::Timeouts;
use config::source::Span;
use routing::process::{Asked, Process};
use routing::sample::Value;

use super::Session;
use super::captures::Notes;
use super::line::Ending;
use crate::end::Side;
use crate::figures::Asker;
use crate::listener;

impl Process for Session {
    /// In rules, while the session goes on: what is known so far.
    fn tell(&self, asked: Asked<'_>) -> Option<Value<'static>> {
        if matches!(asked, Asked::Session(_)) {
            return Ending::so_far(self).tell(asked);
        }
        let asker = Asker {
            worker: self.worker(),
            frontend: self.frontend(),
            backend: self.backend(),
        };
        asker.tell(asked)
    }
}

impl Process for Ending<'_> {
    fn tell(&self, asked: Asked<'_>) -> Option<Value<'static>> {
        match asked {
            Asked::Session(figure) => self.figure(figure),
            asked => self.session.tell(asked),
        }
    }
}

impl Ending<'_> {
    fn figure(&self, figure: SessionFigure) -> Option<Value<'static>> {
        let session = self.session;
        let record = &session.record;
        let facts = &session.connection().facts;
        let begun = record.date;
        Some(match figure {
            SessionFigure::ListenerId => {
                let ids = listener::ids(&session.frontend().conf().binds);
                Value::Int((*ids.get(session.connection().bind())?).into())
            }
            SessionFigure::ListenerName => {
                let binds = &session.frontend().conf().binds;
                let bind = binds.get(session.connection().bind())?;
                text(bind.name.as_deref()?)
            }
            SessionFigure::ServerId => Value::Int(session.server.as_ref()?.id.into()),
            SessionFigure::ServerName => text(&session.server.as_ref()?.conf.name),
            SessionFigure::DefaultBackend => {
                let id = session.frontend().conf().default_backend?;
                text(session.frontend().generation.backends.get(id.0)?.name())
            }
            SessionFigure::IsFirst => Value::Bool(record.is_first),
            SessionFigure::Id => Value::Int((session.number() as u32).into()),
            SessionFigure::AcceptDate(unit) => {
                date(begun.saturating_sub(record.idle + record.handshake), unit)
            }
            SessionFigure::RequestDate(unit) => date(begun, unit),
            SessionFigure::BytesIn => number(session.bytes_in.get()),
            SessionFigure::BytesOut => number(session.bytes_out.get()),
            SessionFigure::Retries => number(record.retries.into()),
            SessionFigure::IsRedispatched => Value::Bool(record.redispatched),
            SessionFigure::ServerStatus => {
                session.server.as_ref()?;
                Value::Int(record.status?.into())
            }
            SessionFigure::ServerQueue => number(record.server_queue),
            SessionFigure::BackendQueue => number(record.backend_queue),
            SessionFigure::Termination => Value::made(self.end.letters().to_vec()),
            SessionFigure::Timer(timer) => {
                let time = self.time(variable(timer));
                Value::Int(time.map_or(-1, millis))
            }
            SessionFigure::Timeout(whose, which) => {
                let front = &session.frontend().conf().proxy.timeouts;
                let back = session.backend();
                let back = back.map_or(front, |it| &it.conf().proxy.timeouts);
                let timeouts = match whose {
                    TimeoutOf::Frontend => front,
                    TimeoutOf::Backend => back,
                    TimeoutOf::Session if which == Timeout::Client => front,
                    TimeoutOf::Session => back,
                };
                let own = session.own_timeout(which);
                let own = own.filter(|_| whose == TimeoutOf::Session);
                Value::Int(millis(own.or_else(|| configured(timeouts, which))?))
            }
            SessionFigure::ListenerConnections => {
                number(session.connection().listener()?.connections())
            }
            SessionFigure::IsClientGone => Value::Bool(self.end.side == Side::Client),
            SessionFigure::IsServerGone => Value::Bool(self.end.side == Side::Server),
            SessionFigure::RetriesMax => Value::Int(session.backend()?.conf().retries.into()),
            SessionFigure::RetriesNow => {
                let own = session.own_retries();
                Value::Int(own.unwrap_or(session.backend()?.conf().retries).into())
            }
            SessionFigure::IsSourceLocal => Value::Bool(is_local(facts.source()?.ip())),
            SessionFigure::IsDestinationLocal => Value::Bool(is_local(facts.destination()?.ip())),
            SessionFigure::ReceivedProxy => Value::Bool(facts.received_proxy),
            SessionFigure::HasFailed => Value::Bool(session.has_failed(self.end)),
            SessionFigure::IsForwarded => Value::Bool(session.server.is_some()),
            SessionFigure::IsOfService => Value::Bool(session.service != super::NO_SERVICE),
            SessionFigure::IsProcessed => {
                let by_service = session.service != super::NO_SERVICE;
                Value::Bool(by_service || session.server.is_some())
            }
            SessionFigure::HttpMajor => Value::Int(session.is_http().into()),
            SessionFigure::ServerConnectionSource => Value::Addr(ends(session)?.0.ip()),
            SessionFigure::ServerConnectionSourcePort => Value::Int(ends(session)?.0.port().into()),
            SessionFigure::ServerConnectionDestination => Value::Addr(ends(session)?.1.ip()),
            SessionFigure::ServerConnectionDestinationPort => {
                Value::Int(ends(session)?.1.port().into())
            }
            SessionFigure::ServerConnectionReused => {
                let noted = |notes: &Notes| Some(notes.server_connection.as_deref()?.reused);
                Value::Bool(session.noted(noted)?)
            }
            SessionFigure::ServerTcp(figure) => {
                let noted = |notes: &Notes| notes.server_connection.as_deref()?.tcp;
                session.noted(noted)?.value(figure)
            }
            SessionFigure::LastRuleFile => text(&file(session, decided(session)?)?),
            SessionFigure::LastRuleLine => Value::Int(decided(session)?.line.into()),
            SessionFigure::LastRule => place(session, decided(session)?)?,
            SessionFigure::WaitingRule => place(session, session.noted(|notes| notes.waiting)?)?,
            SessionFigure::ServerHttpMajor => {
                session.server.as_ref()?;
                Value::Int(session.is_http().into())
            }
        })
    }
}

/// Both ends of the connection to the server, ours first.
fn ends(session: &Session) -> Option<(SocketAddr, SocketAddr)> {
    session.noted(|notes| notes.server_connection.as_deref()?.ends)
}

/// Where the last rule stands that has decided.
fn decided(session: &Session) -> Option<Span> {
    session.noted(|notes| notes.decided)
}

/// The file that a place is in.
fn file(session: &Session, place: Span) -> Option<Arc<str>> {
    let sources = &session.frontend().generation.config.global.sources;
    sources.get(usize::from(place.source.0)).cloned()
}

/// File and line of a place.
fn place(session: &Session, place: Span) -> Option<Value<'static>> {
    Some(text(&format!("{}:{}", file(session, place)?, place.line)))
}

fn text(text: &str) -> Value<'static> {
    Value::made(text.as_bytes().to_vec())
}

fn number(number: u64) -> Value<'static> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn date(since_1970: Duration, unit: TimeUnit) -> Value<'static> {
    let date = match unit {
        TimeUnit::Seconds => since_1970.as_secs().into(),
        TimeUnit::Milliseconds => since_1970.as_millis(),
        TimeUnit::Microseconds => since_1970.as_micros(),
    };
    Value::Int(i64::try_from(date).unwrap_or(i64::MAX))
}

/// The variable of log formats that shows the same.
fn variable(timer: Timer) -> Variable {
    match timer {
        Timer::Handshake => Variable::Th,
        Timer::Idle => Variable::Ti,
        Timer::Request => Variable::TR,
        Timer::UntilRequest => Variable::Tq,
        Timer::Queue => Variable::Tw,
        Timer::Connect => Variable::Tc,
        Timer::Response => Variable::Tr,
        Timer::Data => Variable::Td,
        Timer::Active => Variable::Ta,
        Timer::User => Variable::Tu,
        Timer::Total => Variable::Tt,
    }
}

fn configured(timeouts: &Timeouts, which: Timeout) -> Option<Duration> {
    match which {
        Timeout::Client => timeouts.client,
        Timeout::Server => timeouts.server,
        Timeout::Connect => timeouts.connect,
        Timeout::Queue => timeouts.queue.or(timeouts.connect),
        Timeout::Tarpit => timeouts.tarpit.or(timeouts.connect),
        Timeout::Tunnel => timeouts.tunnel,
    }
}

/// Whether an address is one of this machine: then a socket can have it.
fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}
