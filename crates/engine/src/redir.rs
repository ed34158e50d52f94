//! `server … redir PREFIX`: clients are sent to the server instead of their requests (manual 5.2).

use routing::rules::Answer;
use wire::head::{Method, RequestHead};

use crate::server::ServerState;

/// The answer to a request that would go to `server`; `None` where it goes there.
pub(crate) fn answer(server: &ServerState, head: &RequestHead) -> Option<Answer> {
    let prefix = server.conf.redir.as_deref()?;
    if head.method != Method::GET && !head.method.is_head() {
        return None;
    }
    let mut answer = Answer::empty(302);
    let fields = &mut answer.fields;
    fields.append("cache-control", b"no-cache");
    // Its value is the writer's; here is its place.
    fields.append("content-length", b"0");
    let path = head.path_and_query();
    fields.append("location", &[prefix.as_bytes(), path].concat());
    fields.append("connection", b"close");
    Some(answer)
}
