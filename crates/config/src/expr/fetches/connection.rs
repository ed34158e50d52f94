//! Fetches over what is kept, or asked of the kernel, only where an expression wants it: what a PROXY
//! header holds beyond addresses, what TCP has measured, both ends of the connection to the server, and
//! which rule has decided (manual 7.3.2, 7.3.3).

use super::Build::{Plain, With};
use super::session::SessionFigure;
use super::{Row, row};
use crate::diagnostics::Diagnostic;
use crate::expr::Kind::{Addr, Bool, Int, Str};
use crate::expr::Needs::{self, ResponseStatus, Session};
use crate::expr::arguments::Arguments;
use crate::expr::{Asked, Constant, Context, Fetch, Kind, StateFetch};

/// What is told of a client's connection that few ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionFetch {
    /// `fc_pp_tlv(id)`: the values of that type in its PROXY header.
    Extension(u8),
    /// `fc_rtt` and its like.
    Tcp(TcpFigure),
}

/// What the kernel has measured of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpFigure {
    /// `fc_rtt`, `bc_rtt`: the time to the peer and back.
    RoundTrip(RoundTripUnit),
    /// `fc_rttvar`, `bc_rttvar`: how much it varies.
    RoundTripVariance(RoundTripUnit),
    /// `fc_unacked`.
    Unacknowledged,
    /// `fc_sacked`.
    SelectivelyAcknowledged,
    /// `fc_retrans`.
    Retransmits,
    /// `fc_fackets`.
    ForwardAcknowledged,
    /// `fc_lost`.
    Lost,
    /// `fc_reordering`.
    Reordering,
}

/// What round trips are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundTripUnit {
    /// `ms`, unless given.
    Milliseconds,
    /// `us`.
    Microseconds,
}

const AUTHORITY: u8 = 0x02;
const UNIQUE_ID: u8 = 0x05;

/// Types of values in a PROXY header that have names (manual 7.3.3, "fc_pp_tlv").
const EXTENSIONS: [(&str, u8); 12] = [
    ("ALPN", 0x01),
    ("AUTHORITY", AUTHORITY),
    ("CRC32", 0x03),
    ("NETNS", 0x30),
    ("NOOP", 0x04),
    ("SSL", 0x20),
    ("SSL_CIPHER", 0x23),
    ("SSL_CN", 0x22),
    ("SSL_KEY_ALG", 0x25),
    ("SSL_SIG_ALG", 0x24),
    ("SSL_VERSION", 0x21),
    ("UNIQUE_ID", UNIQUE_ID),
];

const fn of_server(names: &'static [&'static str], kind: Kind, build: super::Build) -> Row {
    row(names, kind, ResponseStatus, build)
}

const fn count(names: &'static [&'static str], number: i64, needs: Needs) -> Row {
    let constant = Constant::Int(number);
    row(names, Int, needs, Plain(Fetch::Constant(constant)))
}

#[rustfmt::skip] // a table reads best as one line a row
pub(super) static ROWS: &[Row] = &[
    row(&["fc_pp_tlv"], Str, Session, With(extension)),
    row(&["fc_pp_authority"], Str, Session, With(|_, context| Ok(kept(AUTHORITY, context)))),
    row(&["fc_pp_unique_id"], Str, Session, With(|_, context| Ok(kept(UNIQUE_ID, context)))),
    row(&["fc_rtt"], Int, Session, With(|it, context| Ok(tcp(TcpFigure::RoundTrip(unit(it)?), context)))),
    row(&["fc_rttvar"], Int, Session, With(|it, context| Ok(tcp(TcpFigure::RoundTripVariance(unit(it)?), context)))),
    row(&["fc_unacked"], Int, Session, With(|_, context| Ok(tcp(TcpFigure::Unacknowledged, context)))),
    row(&["fc_sacked"], Int, Session, With(|_, context| Ok(tcp(TcpFigure::SelectivelyAcknowledged, context)))),
    row(&["fc_retrans"], Int, Session, With(|_, context| Ok(tcp(TcpFigure::Retransmits, context)))),
    row(&["fc_fackets"], Int, Session, With(|_, context| Ok(tcp(TcpFigure::ForwardAcknowledged, context)))),
    row(&["fc_lost"], Int, Session, With(|_, context| Ok(tcp(TcpFigure::Lost, context)))),
    row(&["fc_reordering"], Int, Session, With(|_, context| Ok(tcp(TcpFigure::Reordering, context)))),
    of_server(&["bc_rtt"], Int, With(|it, context| Ok(server_tcp(TcpFigure::RoundTrip(unit(it)?), context)))),
    of_server(&["bc_rttvar"], Int, With(|it, context| Ok(server_tcp(TcpFigure::RoundTripVariance(unit(it)?), context)))),
    of_server(&["bc_src"], Addr, With(|_, context| Ok(server(SessionFigure::ServerConnectionSource, context)))),
    of_server(&["bc_src_port"], Int, With(|_, context| Ok(server(SessionFigure::ServerConnectionSourcePort, context)))),
    of_server(&["bc_dst"], Addr, With(|_, context| Ok(server(SessionFigure::ServerConnectionDestination, context)))),
    of_server(&["bc_dst_port"], Int, With(|_, context| Ok(server(SessionFigure::ServerConnectionDestinationPort, context)))),
    of_server(&["bc_reused"], Bool, With(|_, context| Ok(server(SessionFigure::ServerConnectionReused, context)))),
    row(&["dst_conn"], Int, Session, With(|_, context| {
        ask(context, |asked| asked.listeners = true);
        Ok(Fetch::State(StateFetch::Session(SessionFigure::ListenerConnections)))
    })),
    row(&["last_rule_file"], Str, Session, With(|_, context| Ok(rules(SessionFigure::LastRuleFile, context)))),
    row(&["last_rule_line"], Int, Session, With(|_, context| Ok(rules(SessionFigure::LastRuleLine, context)))),
    row(&["last_entity"], Str, Session, With(|_, context| Ok(rules(SessionFigure::LastRule, context)))),
    row(&["waiting_entity"], Str, Session, With(|_, context| Ok(rules(SessionFigure::WaitingRule, context)))),
    // HTTP/1 has one stream, and an error in it ends the connection.
    count(&["fc_nb_streams", "fc_settings_streams_limit"], 1, Session),
    count(&["bc_nb_streams", "bc_settings_streams_limit"], 1, ResponseStatus),
    count(&["fc_glitches"], 0, Session),
    count(&["bc_glitches"], 0, ResponseStatus),
];

fn ask(context: &Context<'_>, more: impl FnOnce(&mut Asked)) {
    let mut asked = context.asked.get();
    more(&mut asked);
    context.asked.set(asked);
}

fn kept(id: u8, context: &Context<'_>) -> Fetch {
    ask(context, |asked| asked.proxy_extensions = true);
    Fetch::Connection(ConnectionFetch::Extension(id))
}

fn tcp(figure: TcpFigure, context: &Context<'_>) -> Fetch {
    ask(context, |asked| asked.tcp = true);
    Fetch::Connection(ConnectionFetch::Tcp(figure))
}

fn server_tcp(figure: TcpFigure, context: &Context<'_>) -> Fetch {
    server(SessionFigure::ServerTcp(figure), context)
}

fn server(figure: SessionFigure, context: &Context<'_>) -> Fetch {
    ask(context, |asked| asked.server_connection = true);
    Fetch::State(StateFetch::Session(figure))
}

fn rules(figure: SessionFigure, context: &Context<'_>) -> Fetch {
    ask(context, |asked| asked.rules = true);
    Fetch::State(StateFetch::Session(figure))
}

/// `(<id>)`: a name, or a number in decimal or hexadecimal digits.
fn extension(arguments: &mut Arguments, context: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let (text, span) = arguments.text("the type of a value in the PROXY header")?;
    let named = EXTENSIONS.iter().find(|(name, _)| *name == text);
    let number = || match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let id = named.map(|(_, id)| *id).or_else(number).ok_or_else(|| {
        Diagnostic::alert(
            span,
            format!("'{text}' is no type of a PROXY header's values"),
        )
        .label("expected a number up to 255, or 'ALPN', 'AUTHORITY', 'SSL_CN', 'UNIQUE_ID' …")
    })?;
    Ok(kept(id, context))
}

fn unit(arguments: &mut Arguments) -> Result<RoundTripUnit, Diagnostic> {
    match arguments.optional() {
        None | Some(("" | "ms", _)) => Ok(RoundTripUnit::Milliseconds),
        Some(("us", _)) => Ok(RoundTripUnit::Microseconds),
        Some((text, span)) => {
            let problem = Diagnostic::alert(span, format!("'{text}' is not a unit of round trips"));
            Err(problem.label("expected 'ms' or 'us'"))
        }
    }
}
