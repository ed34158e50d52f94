//! Fetches over the session and its connections (manual 7.3.2 to 7.3.4, 7.3.6).

use super::Build::{Plain, With};
use super::connection::TcpFigure;
use super::{Row, row};
use crate::diagnostics::Diagnostic;
use crate::expr::Kind::{Addr, Bool, Int, Str};
use crate::expr::Needs::{self, ResponseStatus, Session};
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Fetch, StateFetch, TimeUnit};

/// What is told of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionFigure {
    /// `so_id`: the listener's number.
    ListenerId,
    /// `so_name`.
    ListenerName,
    /// `srv_id`: of the server in use.
    ServerId,
    /// `srv_name`.
    ServerName,
    /// `fe_defbe`: the backend that the frontend leads to by default.
    DefaultBackend,
    /// `http_first_req`: whether no request came before on its connection.
    IsFirst,
    /// `txn.id32`: a number of its own, as long as there are not too many.
    Id,
    /// `accept_date`: when the connection came.
    AcceptDate(TimeUnit),
    /// `request_date`: when the request's first byte came.
    RequestDate(TimeUnit),
    /// `bytes_in`, `req.bytes_in`: of the client, so far.
    BytesIn,
    /// `bytes_out`, `res.bytes_out`: to the client, so far.
    BytesOut,
    /// `txn.conn_retries`.
    Retries,
    /// `txn.redispatched`.
    IsRedispatched,
    /// `server_status`: what the server answered, whatever the client is told.
    ServerStatus,
    /// `bc_srv_queue`: how many went before in the server's queue.
    ServerQueue,
    /// `bc_be_queue`.
    BackendQueue,
    /// `txn.sess_term_state`: two letters.
    Termination,
    /// `req.timer.idle` and its like, milliseconds.
    Timer(Timer),
    /// `cur_server_timeout` and its like, milliseconds.
    Timeout(Whose, Timeout),
    /// `dst_conn`: connections of the same listener.
    ListenerConnections,
    /// `fs.aborted`: whether the client has broken off.
    IsClientGone,
    /// `bs.aborted`: whether the server has.
    IsServerGone,
    /// `be_max_retries`.
    RetriesMax,
    /// `cur_max_retries`.
    RetriesNow,
    /// `src_is_local`.
    IsSourceLocal,
    /// `dst_is_local`.
    IsDestinationLocal,
    /// `fc_rcvd_proxy`: whether a PROXY header came first.
    ReceivedProxy,
    /// `fc_http_major`: 1 where requests are understood.
    HttpMajor,
    /// `when(error)`: whether something went wrong, as `option dontlog-normal` sees it.
    HasFailed,
    /// `when(forwarded)`: whether a server got it.
    IsForwarded,
    /// `when(processed)`: whether a server or a service of ours got it.
    IsProcessed,
    /// `when(toapplet)`.
    IsOfService,
    /// `bc_http_major`.
    ServerHttpMajor,
    /// `bc_src`: from where the server was reached.
    ServerConnectionSource,
    /// `bc_src_port`.
    ServerConnectionSourcePort,
    /// `bc_dst`: where it was reached.
    ServerConnectionDestination,
    /// `bc_dst_port`.
    ServerConnectionDestinationPort,
    /// `bc_reused`: whether the connection to it had served another request.
    ServerConnectionReused,
    /// `bc_rtt` and its like.
    ServerTcp(TcpFigure),
    /// `last_rule_file`: of the last rule that has decided.
    LastRuleFile,
    /// `last_rule_line`.
    LastRuleLine,
    /// `last_entity`: both, a colon between them.
    LastRule,
    /// `waiting_entity`: the same of the rule that waited when the session ended.
    WaitingRule,
}

/// A span of a session's time, as `%Th` and its like show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// `fc.timer.handshake`: `%Th`.
    Handshake,
    /// `req.timer.idle`: `%Ti`.
    Idle,
    /// `req.timer.hdr`: `%TR`.
    Request,
    /// `req.timer.tq`: `%Tq`.
    UntilRequest,
    /// `req.timer.queue`: `%Tw`.
    Queue,
    /// `bc.timer.connect`: `%Tc`.
    Connect,
    /// `res.timer.hdr`: `%Tr`.
    Response,
    /// `res.timer.data`: `%Td`.
    Data,
    /// `txn.timer.total`: `%Ta`.
    Active,
    /// `txn.timer.user`: `%Tu`.
    User,
    /// `fc.timer.total`: `%Tt`.
    Total,
}

/// Whose time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The one in force for the session.
    Session,
    /// As the frontend was configured.
    Frontend,
    /// As the backend was configured.
    Backend,
}

/// Which time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is that of the keyword `timeout`")]
pub enum Timeout {
    Client,
    Server,
    Connect,
    Queue,
    Tarpit,
    Tunnel,
}

const fn plain(figure: SessionFigure) -> super::Build {
    Plain(Fetch::State(StateFetch::Session(figure)))
}

const fn timer(name: &'static [&'static str], timer: Timer) -> Row {
    row(name, Int, Session, plain(SessionFigure::Timer(timer)))
}

const fn timeout(name: &'static [&'static str], whose: Whose, timeout: Timeout) -> Row {
    row(
        name,
        Int,
        Session,
        plain(SessionFigure::Timeout(whose, timeout)),
    )
}

#[rustfmt::skip] // a table reads best as one line a row
pub(super) static ROWS: &[Row] = &[
    row(&["so_id"], Int, Session, plain(SessionFigure::ListenerId)),
    row(&["so_name"], Str, Session, plain(SessionFigure::ListenerName)),
    row(&["srv_id"], Int, Session, plain(SessionFigure::ServerId)),
    row(&["srv_name"], Str, Session, plain(SessionFigure::ServerName)),
    row(&["fe_defbe"], Str, Session, plain(SessionFigure::DefaultBackend)),
    row(&["http_first_req"], Bool, Needs::RequestLine, plain(SessionFigure::IsFirst)),
    row(&["txn.id32"], Int, Session, plain(SessionFigure::Id)),
    row(&["accept_date"], Int, Session, With(accept_date)),
    row(&["request_date"], Int, Needs::RequestLine, With(request_date)),
    row(&["bytes_in", "req.bytes_in"], Int, Session, plain(SessionFigure::BytesIn)),
    row(&["bytes_out", "res.bytes_out"], Int, Session, plain(SessionFigure::BytesOut)),
    row(&["txn.conn_retries"], Int, Session, plain(SessionFigure::Retries)),
    row(&["txn.redispatched"], Bool, Session, plain(SessionFigure::IsRedispatched)),
    row(&["server_status"], Int, ResponseStatus, plain(SessionFigure::ServerStatus)),
    row(&["bc_srv_queue"], Int, Session, plain(SessionFigure::ServerQueue)),
    row(&["bc_be_queue"], Int, Session, plain(SessionFigure::BackendQueue)),
    row(&["txn.sess_term_state"], Str, Session, plain(SessionFigure::Termination)),
    timer(&["fc.timer.handshake"], Timer::Handshake),
    timer(&["fc.timer.total"], Timer::Total),
    timer(&["req.timer.idle"], Timer::Idle),
    timer(&["req.timer.hdr"], Timer::Request),
    timer(&["req.timer.tq"], Timer::UntilRequest),
    timer(&["req.timer.queue"], Timer::Queue),
    timer(&["bc.timer.connect"], Timer::Connect),
    timer(&["res.timer.hdr"], Timer::Response),
    timer(&["res.timer.data"], Timer::Data),
    timer(&["txn.timer.total"], Timer::Active),
    timer(&["txn.timer.user"], Timer::User),
    timeout(&["cur_client_timeout"], Whose::Session, Timeout::Client),
    timeout(&["cur_server_timeout"], Whose::Session, Timeout::Server),
    timeout(&["cur_connect_timeout"], Whose::Session, Timeout::Connect),
    timeout(&["cur_queue_timeout"], Whose::Session, Timeout::Queue),
    timeout(&["cur_tarpit_timeout"], Whose::Session, Timeout::Tarpit),
    timeout(&["cur_tunnel_timeout"], Whose::Session, Timeout::Tunnel),
    timeout(&["be_server_timeout"], Whose::Backend, Timeout::Server),
    timeout(&["be_connect_timeout"], Whose::Backend, Timeout::Connect),
    timeout(&["be_queue_timeout"], Whose::Backend, Timeout::Queue),
    timeout(&["be_tarpit_timeout"], Whose::Backend, Timeout::Tarpit),
    timeout(&["be_tunnel_timeout"], Whose::Backend, Timeout::Tunnel),
    timeout(&["fe_client_timeout"], Whose::Frontend, Timeout::Client),
    timeout(&["fe_tarpit_timeout"], Whose::Frontend, Timeout::Tarpit),
    row(&["fs.aborted"], Bool, Session, plain(SessionFigure::IsClientGone)),
    row(&["bs.aborted"], Bool, Session, plain(SessionFigure::IsServerGone)),
    row(&["be_max_retries"], Int, Session, plain(SessionFigure::RetriesMax)),
    row(&["cur_max_retries"], Int, Session, plain(SessionFigure::RetriesNow)),
    row(&["src_is_local", "fc_src_is_local"], Bool, Session, plain(SessionFigure::IsSourceLocal)),
    row(&["dst_is_local", "fc_dst_is_local"], Bool, Session, plain(SessionFigure::IsDestinationLocal)),
    row(&["fc_rcvd_proxy"], Bool, Session, plain(SessionFigure::ReceivedProxy)),
    row(&["fc_http_major"], Int, Session, plain(SessionFigure::HttpMajor)),
    row(&["bc_http_major"], Int, ResponseStatus, plain(SessionFigure::ServerHttpMajor)),
    row(&["fc_src"], Addr, Session, Plain(Fetch::Src)),
    row(&["fc_src_port"], Int, Session, Plain(Fetch::SrcPort)),
    row(&["fc_dst"], Addr, Session, Plain(Fetch::Dst)),
    row(&["fc_dst_port"], Int, Session, Plain(Fetch::DstPort)),
];

fn unit(arguments: &mut Arguments) -> Result<TimeUnit, Diagnostic> {
    match arguments.optional() {
        None | Some(("" | "s", _)) => Ok(TimeUnit::Seconds),
        Some(("ms", _)) => Ok(TimeUnit::Milliseconds),
        Some(("us", _)) => Ok(TimeUnit::Microseconds),
        Some((text, span)) => Err(Diagnostic::alert(
            span,
            format!("'{text}' is not a unit of time"),
        )
        .label("expected 's', 'ms' or 'us'")),
    }
}

fn accept_date(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let figure = SessionFigure::AcceptDate(unit(arguments)?);
    Ok(Fetch::State(StateFetch::Session(figure)))
}

fn request_date(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let figure = SessionFigure::RequestDate(unit(arguments)?);
    Ok(Fetch::State(StateFetch::Session(figure)))
}
