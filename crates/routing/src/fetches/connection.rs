//! What is kept of a client's connection only where an expression asks for it (manual 7.3.3): the
//! extensions of its PROXY header, and what the kernel has measured.

use config::expr::{ConnectionFetch, RoundTripUnit, TcpFigure};
use wire::proxy_protocol;

use crate::sample::ConnectionFacts;
use crate::value::Value;

/// What was kept.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Type-length-value vectors of its PROXY header, `proxy_protocol::V2_LEN_MAX` bytes at most.
    pub extensions: Box<[u8]>,
    /// What the kernel has last told of it.
    pub tcp: Option<TcpFacts>,
}

/// What the kernel tells of a TCP connection (tcp(7), "TCP_INFO").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpFacts {
    /// Microseconds.
    pub round_trip: u32,
    /// Microseconds.
    pub round_trip_variance: u32,
    /// Segments on their way.
    pub unacknowledged: u32,
    /// Segments that arrived out of order.
    pub selectively_acknowledged: u32,
    /// Segments sent again and still on their way.
    pub retransmits: u32,
    /// The highest of those acknowledged out of order; kernels of today do not count it.
    pub forward_acknowledged: u32,
    /// Segments taken for lost.
    pub lost: u32,
    /// How far segments overtake each other.
    pub reordering: u32,
}

impl TcpFacts {
    /// One of them, as a sample.
    pub fn value(&self, figure: TcpFigure) -> Value<'static> {
        let in_unit = |micros: u32, unit| match unit {
            RoundTripUnit::Milliseconds => micros / 1000,
            RoundTripUnit::Microseconds => micros,
        };
        let number = match figure {
            TcpFigure::RoundTrip(unit) => in_unit(self.round_trip, unit),
            TcpFigure::RoundTripVariance(unit) => in_unit(self.round_trip_variance, unit),
            TcpFigure::Unacknowledged => self.unacknowledged,
            TcpFigure::SelectivelyAcknowledged => self.selectively_acknowledged,
            TcpFigure::Retransmits => self.retransmits,
            TcpFigure::ForwardAcknowledged => self.forward_acknowledged,
            TcpFigure::Lost => self.lost,
            TcpFigure::Reordering => self.reordering,
        };
        Value::Int(number.into())
    }
}

/// What a fetch of one value sees.
pub(crate) fn value(
    fetch: ConnectionFetch,
    connection: &ConnectionFacts,
) -> Option<Value<'static>> {
    match fetch {
        ConnectionFetch::Extension(_) => None,
        ConnectionFetch::Tcp(figure) => {
            let rare = connection.rare.borrow();
            Some(rare.as_ref()?.kept.tcp?.value(figure))
        }
    }
}

/// Visits the values of that type in a PROXY header, until a visit says it is enough.
pub(crate) fn each_extension<'a>(
    kind: u8,
    connection: &ConnectionFacts,
    visit: &mut dyn FnMut(Value<'a>) -> bool,
) {
    // What is kept may not change while it is looked at.
    let rare = connection.rare.borrow();
    let Some(rare) = rare.as_ref() else { return };
    let mut values = proxy_protocol::values_of(&rare.kept.extensions, kind);
    values.any(|value| visit(Value::made(value.to_vec())));
}
