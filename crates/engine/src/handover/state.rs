//! A tunnel as another process is told of it, its two sockets aside.

use std::net::SocketAddr;
use std::time::Duration;

use routing::sample::Value;
use wire::ws::FrameEdge;

use super::codec::{Garbled, Pass, Reading, Writing};

/// What an open tunnel is. Names, not numbers: the other process may have another configuration.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct TunnelState {
    /// What it was before.
    pub(crate) session: SessionState,
    /// Client to server.
    pub(crate) up: FlowState,
    /// Server to client.
    pub(crate) down: FlowState,
    /// Milliseconds since anything passed.
    pub(crate) silent_ms: u64,
    /// Milliseconds that it may be silent.
    pub(crate) limit_ms: u64,
}

/// One direction.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct FlowState {
    /// What the receiver did not take yet.
    pub(crate) kept: Vec<u8>,
    /// 0: open, 1: the sender has ended, 2: and the receiver was told.
    pub(crate) phase: u64,
    /// Where the frame under way ends.
    pub(crate) edge: Option<FrameEdge>,
}

/// What the end of the session needs: its places, its log line, its counters.
#[derive(Debug, Default, Clone, PartialEq)]
#[allow(
    missing_docs,
    reason = "the names are those of the session's own fields"
)]
pub(crate) struct SessionState {
    pub(crate) frontend: String,
    /// The text of the `bind`.
    pub(crate) bind: String,
    pub(crate) backend: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Microseconds since 1970.
    pub(crate) date: u64,
    /// Microseconds since it began.
    pub(crate) age: u64,
    pub(crate) request_line: Vec<u8>,
    pub(crate) src: Option<SocketAddr>,
    pub(crate) dst: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    /// Handshake, idle, request, queue, connect, response.
    pub(crate) times: [Option<Duration>; 6],
    pub(crate) retries: u32,
    pub(crate) status: Option<u16>,
    pub(crate) cookies: [u8; 2],
    /// See `Resting`, in its order.
    pub(crate) flags: [bool; 9],
    pub(crate) server_queue: u64,
    pub(crate) backend_queue: u64,
    /// The frontend's and the backend's, where a rule has set others: client, client-fin, server, server-fin, tunnel.
    pub(crate) timeouts: Option<[[Option<Duration>; 5]; 2]>,
    pub(crate) variables: Vec<VariableState>,
    pub(crate) tracking: Vec<TrackedState>,
    pub(crate) notes: Option<NotesState>,
}

/// A variable.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VariableState {
    /// Scope and name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) value: Value<'static>,
}

impl Default for VariableState {
    fn default() -> Self {
        Self {
            name: String::new(),
            value: Value::Bool(false),
        }
    }
}

/// An entry of a stick table that is tracked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrackedState {
    /// By which counter.
    pub(crate) counter: u8,
    /// In which table.
    pub(crate) table: String,
    /// Under which key.
    pub(crate) key: Value<'static>,
}

impl Default for TrackedState {
    fn default() -> Self {
        Self {
            counter: 0,
            table: String::new(),
            key: Value::Bool(false),
        }
    }
}

/// What was noted for the log line.
#[derive(Debug, Default, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are those of the notes")]
pub(crate) struct NotesState {
    pub(crate) request: Vec<Option<Vec<u8>>>,
    pub(crate) response: Vec<Option<Vec<u8>>>,
    pub(crate) request_cookie: Option<Vec<u8>>,
    pub(crate) response_cookie: Option<Vec<u8>>,
    pub(crate) unique_id: Option<Vec<u8>>,
    pub(crate) number: Option<u64>,
    /// A severity; 255: no line.
    pub(crate) level: Option<u8>,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) variables: Vec<VariableState>,
    pub(crate) tracking: Vec<TrackedState>,
}

impl TunnelState {
    /// As bytes; `Err`: something of it is larger than another process would take.
    pub(crate) fn write(&mut self) -> Result<Vec<u8>, Garbled> {
        let mut writing = Writing::default();
        self.pass(&mut writing)?;
        Ok(writing.0)
    }

    /// The other way round.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Garbled> {
        let (mut state, mut reading) = (Self::default(), Reading(bytes));
        state.pass(&mut reading)?;
        reading.end()?;
        Ok(state)
    }

    fn pass(&mut self, by: &mut impl Pass) -> Result<(), Garbled> {
        self.session.pass(by)?;
        for flow in [&mut self.up, &mut self.down] {
            by.bytes(&mut flow.kept)?;
            by.number(&mut flow.phase)?;
            if flow.phase > 2 {
                return Err(Garbled);
            }
            let mut edge = flow
                .edge
                .map_or_else(Vec::new, |edge| edge.to_bytes().to_vec());
            by.bytes(&mut edge)?;
            flow.edge = match <[u8; FrameEdge::BYTES]>::try_from(edge) {
                Ok(bytes) => Some(FrameEdge::from_bytes(bytes).ok_or(Garbled)?),
                Err(none) if none.is_empty() => None,
                Err(_) => return Err(Garbled),
            };
        }
        by.number(&mut self.silent_ms)?;
        by.number(&mut self.limit_ms)
    }
}

impl SessionState {
    fn pass<P: Pass>(&mut self, by: &mut P) -> Result<(), Garbled> {
        by.text(&mut self.frontend)?;
        by.text(&mut self.bind)?;
        by.option(&mut self.backend, P::text)?;
        by.option(&mut self.server, P::text)?;
        for number in [
            &mut self.bytes_in,
            &mut self.bytes_out,
            &mut self.date,
            &mut self.age,
            &mut self.server_queue,
            &mut self.backend_queue,
        ] {
            by.number(number)?;
        }
        by.bytes(&mut self.request_line)?;
        for address in [&mut self.src, &mut self.dst, &mut self.peer] {
            by.address(address)?;
        }
        for time in &mut self.times {
            by.time(time)?;
        }
        by.small(&mut self.retries)?;
        by.option(&mut self.status, P::small)?;
        for letter in &mut self.cookies {
            by.small(letter)?;
        }
        for flag in &mut self.flags {
            by.flag(flag)?;
        }
        by.option(&mut self.timeouts, |by, both| {
            both.iter_mut().flatten().try_for_each(|time| by.time(time))
        })?;
        by.list(&mut self.variables, VariableState::pass)?;
        by.list(&mut self.tracking, TrackedState::pass)?;
        by.option(&mut self.notes, NotesState::pass)
    }
}

impl VariableState {
    fn pass(by: &mut impl Pass, it: &mut Self) -> Result<(), Garbled> {
        by.text(&mut it.name)?;
        by.value(&mut it.value)
    }
}

impl TrackedState {
    fn pass(by: &mut impl Pass, it: &mut Self) -> Result<(), Garbled> {
        by.small(&mut it.counter)?;
        by.text(&mut it.table)?;
        by.value(&mut it.key)
    }
}

impl NotesState {
    fn pass<P: Pass>(by: &mut P, it: &mut Self) -> Result<(), Garbled> {
        for captured in [&mut it.request, &mut it.response] {
            by.list(captured, |by, one| by.option(one, P::bytes))?;
        }
        for text in [
            &mut it.request_cookie,
            &mut it.response_cookie,
            &mut it.unique_id,
        ] {
            by.option(text, P::bytes)?;
        }
        by.option(&mut it.number, P::number)?;
        by.option(&mut it.level, P::small)?;
        by.address(&mut it.source)?;
        by.list(&mut it.variables, VariableState::pass)?;
        by.list(&mut it.tracking, TrackedState::pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::codec::BYTES_MAX;

    fn full() -> TunnelState {
        let some = |text: &str| Some(text.as_bytes().to_vec());
        let variable = |name: &str, value| VariableState {
            name: name.into(),
            value,
        };
        let tracked = TrackedState {
            counter: 2,
            table: "t".into(),
            key: Value::Addr([192, 0, 2, 1].into()),
        };
        TunnelState {
            session: SessionState {
                frontend: "fe".into(),
                bind: ":80".into(),
                backend: Some("be".into()),
                server: Some("s1".into()),
                bytes_in: 1,
                bytes_out: u64::MAX,
                date: 3,
                age: 4,
                request_line: b"GET / HTTP/1.1".to_vec(),
                src: "192.0.2.1:80".parse().ok(),
                dst: "[2001:db8::1%3]:443".parse().ok(),
                peer: None,
                times: [None, Some(Duration::from_micros(7)), None, None, None, None],
                retries: 2,
                status: Some(101),
                cookies: *b"VN",
                flags: [true, false, true, false, true, false, true, false, true],
                server_queue: 5,
                backend_queue: 6,
                timeouts: Some([[None; 5], [Some(Duration::from_secs(9)); 5]]),
                variables: vec![
                    variable("sess.a", Value::Int(-1)),
                    variable("sess.b", Value::Str(b"x".into())),
                    variable("sess.c", Value::Bin(b"\xff".into())),
                    variable("sess.d", Value::Method(b"GET".into())),
                    variable("sess.e", Value::Bool(true)),
                ],
                tracking: vec![tracked.clone()],
                notes: Some(NotesState {
                    request: vec![None, some("a")],
                    response: vec![some("b")],
                    request_cookie: some("c"),
                    response_cookie: None,
                    unique_id: some("d"),
                    number: Some(8),
                    level: Some(255),
                    source: "127.0.0.1:9".parse().ok(),
                    variables: vec![variable("txn.f", Value::Int(1))],
                    tracking: vec![tracked],
                }),
            },
            up: FlowState {
                kept: vec![1; 1000],
                phase: 1,
                edge: Some(FrameEdge::new()),
            },
            down: FlowState::default(),
            silent_ms: 10,
            limit_ms: u64::MAX,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for mut state in [TunnelState::default(), full()] {
            let written = state.write().expect("it is small");
            assert_eq!(TunnelState::read(&written), Ok(state));
        }
    }

    #[test]
    fn whatever_is_cut_added_or_too_long_is_refused() {
        let written = full().write().expect("it is small");
        for length in 0..written.len() {
            assert!(TunnelState::read(&written[..length]).is_err(), "{length}");
        }
        let mut longer = written.clone();
        longer.push(0);
        assert!(TunnelState::read(&longer).is_err());
        // Nothing here panics or takes all memory, whatever a byte is.
        for at in 0..written.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut other = written.clone();
                other[at] = byte;
                let _ = TunnelState::read(&other);
            }
        }
        let mut greedy = full();
        greedy.up.kept = vec![0; BYTES_MAX + 1];
        assert!(greedy.write().is_err());
    }
}
