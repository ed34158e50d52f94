//! A tunnel that goes to another process, and one that comes from there.

use std::os::fd::{AsFd as _, BorrowedFd};

use wire::ws::FrameEdge;

use super::{FOREVER, Flow, Kept, Phase, Tunnel, Wire, signed};
use crate::handover::state::{FlowState, TunnelState};
use crate::session::Resting;

impl Flow {
    fn state(&self) -> FlowState {
        FlowState {
            kept: self
                .kept
                .as_ref()
                .map_or_else(Vec::new, |kept| kept.bytes[kept.sent..].to_vec()),
            phase: match self.phase {
                Phase::Open => 0,
                Phase::Closing => 1,
                Phase::Closed => 2,
            },
            edge: Some(self.edge),
        }
    }

    fn adopt(state: FlowState) -> Self {
        Self {
            kept: Kept::new(state.kept),
            phase: match state.phase {
                0 => Phase::Open,
                1 => Phase::Closing,
                _ => Phase::Closed,
            },
            unflushed: false,
            edge: state.edge.unwrap_or(FrameEdge::none()),
        }
    }
}

impl Tunnel {
    /// What another process needs to know of it, and its sockets, the client's first. `None`: it must stay.
    pub(crate) fn state(&self, now_ms: u64) -> Option<(TunnelState, [BorrowedFd<'_>; 2])> {
        if self.client.is_tls() || self.server.is_tls() || self.parting.is_some() {
            return None;
        }
        let state = TunnelState {
            session: self.session.state()?,
            up: self.up.state(),
            down: self.down.state(),
            silent_ms: u64::try_from(signed(now_ms).saturating_sub(self.last_active)).unwrap_or(0),
            limit_ms: self.limit.into(),
        };
        Some((state, [self.client.as_fd(), self.server.as_fd()]))
    }

    /// One that another process has had.
    pub(crate) fn adopt(
        [client, server]: [Wire; 2],
        [up, down]: [FlowState; 2],
        session: Resting,
        (now_ms, silent_ms): (u64, u64),
        limit: u64,
    ) -> Self {
        Self {
            client,
            server,
            up: Flow::adopt(up),
            down: Flow::adopt(down),
            last_active: signed(now_ms).saturating_sub(signed(silent_ms)),
            limit: u32::try_from(limit).unwrap_or(FOREVER),
            session,
            parting: None,
        }
    }
}
