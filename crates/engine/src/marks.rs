//! What the kernel tells packets of a connection apart by: `set-fc-mark`, `set-bc-tos` and their like (manual 4.4).

use std::os::fd::AsFd;

use config::model::Mark;
use socket2::SockRef;

use crate::session::Session;

/// Sets what rules have said of the client's connection.
pub(crate) fn of_client(session: &Session, socket: &impl AsFd) {
    for (mark, value) in session.take_marks(false) {
        set(mark, value, socket);
    }
}

/// The same of the server's. It is not used for anything else then: what goes over it is marked for this session.
pub(crate) fn of_server(session: &Session, socket: &impl AsFd) {
    for (mark, value) in session.take_marks(true) {
        session.record.server_closes.set(true);
        set(mark, value, socket);
    }
}

/// Where the kernel will not have it (a mark takes CAP_NET_ADMIN, a Unix socket has no packets), packets go
/// unmarked, as in HAProxy.
fn set(mark: Mark, value: u32, socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    let _ = match mark {
        Mark::Client | Mark::Server => socket.set_mark(value),
        Mark::ClientTos | Mark::ServerTos => {
            let v6 = socket.set_tclass_v6(value);
            socket.set_tos_v4(value).or(v6)
        }
    };
}
