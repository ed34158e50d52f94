//! Commands about the fleet (our own).

use std::time::Duration;

use engine::Handle;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::answer::{Answer, Call};
use super::table::{Row, changes};

pub(super) const ROWS: &[Row] = &[changes(
    "fetch nodes",
    "",
    "fetch the node list now and say what changed (our own)",
    fetch,
)
.operator()];

/// The longest wait: a fetch that is under way, the pause behind it, and one more fetch.
const FETCH_TIME_MAX: Duration = Duration::from_secs(12);

fn fetch(call: &mut Call<'_>) -> Answer {
    let Some(desk) = call.handle.news_desk() else {
        return Answer::error("There is no discovery: nothing can be fetched.");
    };
    let (tell, mut told) = oneshot::channel();
    let fetching = desk.fetch();
    tokio::spawn(async move {
        // Whoever asked may have left.
        let _ = tell.send(fetching.await);
    });
    let until = move |_: &Handle| match told.try_recv() {
        Ok(Ok(text)) => Some(Answer::Text(text)),
        Ok(Err(why)) => Some(Answer::error(format!("Nothing was changed: {why}."))),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => Some(Answer::error("The control loop has ended.")),
    };
    Answer::Wait {
        limit: FETCH_TIME_MAX,
        until: Box::new(until),
        late: Box::new(Answer::error("The node list did not come in time.")),
    }
}
