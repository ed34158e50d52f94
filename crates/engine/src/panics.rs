//! What a panic costs, which none should happen: a bug of ours costs whoever met it, and nobody else.
//!
//! A session's task takes what it holds with it: places, gauges and sockets are given back by `Drop`,
//! and nobody waits for it. Tunnels have no tasks; the turn of each is [`guarded`] instead. A task that
//! all others of a worker need is [`Vital`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::log::Level;
use crate::shared::Shared;

/// How long the last line may take to its target.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// Does a piece of work for one connection; `None` where it panicked.
///
/// What the work borrowed of its worker it gives back while it unwinds. What it left half done is its
/// own, and ended by the caller.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The same of a task: `None` where it panicked.
pub(crate) async fn guarded_task<T>(task: impl Future<Output = T>) -> Option<T> {
    let mut task = std::pin::pin!(task);
    std::future::poll_fn(|cx| match guarded(|| task.as_mut().poll(cx)) {
        Some(poll) => poll.map(Some),
        None => Poll::Ready(None),
    })
    .await
}

/// Stands in a task without which a worker accepts connections and moves nothing. The runtime keeps a
/// panic of a task to itself; this one tells, and ends the process.
///
/// It is not started anew: events that the task had taken from its queue and not acted upon come no
/// second time, and the tunnels concerned would stand still for days. Whoever started the process starts
/// another one, and clients of a WebSocket connect again.
pub(crate) struct Vital<F: Fn(&str)> {
    what: &'static str,
    alarm: F,
}

impl<F: Fn(&str)> Vital<F> {
    fn new(what: &'static str, alarm: F) -> Self {
        Self { what, alarm }
    }

    /// The task has come to an end that it should not have.
    fn ended(self) {
        (self.alarm)(self.what);
    }
}

impl<F: Fn(&str)> Drop for Vital<F> {
    fn drop(&mut self) {
        // A task that is aborted, as all are when the worker ends, does not.
        if std::thread::panicking() {
            (self.alarm)(self.what);
        }
    }
}

/// A task that its worker cannot do without, should it panic.
pub(crate) async fn vital<T>(
    what: &'static str,
    shared: Arc<Shared>,
    task: impl Future<Output = T>,
) -> T {
    let _alarm = Vital::new(what, move |what| give_up(what, &shared));
    task.await
}

/// The same of one that has no end of its own either.
pub(crate) async fn endless(what: &'static str, shared: Arc<Shared>, task: impl Future) {
    let alarm = Vital::new(what, move |what| give_up(what, &shared));
    task.await;
    alarm.ended();
}

/// Ends the process, which would look healthy and do nothing.
fn give_up(what: &str, shared: &Shared) {
    let message =
        format!("A fault of ours has ended {what}, which nothing works without. Exiting.");
    shared.say(Level::Alert, &message);
    shared.logger.flush(LAST_WORDS_MAX);
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    #[test]
    fn a_panic_gives_back_what_it_borrowed() {
        let tunnels = RefCell::new(vec![1, 2, 3]);
        let turn = |at: usize| guarded(|| tunnels.borrow_mut()[at]);
        assert_eq!(turn(7), None);
        assert_eq!(turn(1), Some(2));
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_and_is_told_from_one_that_ends() {
        let panics = async {
            tokio::task::yield_now().await;
            panic!("a test that fails");
        };
        assert_eq!(guarded_task::<()>(panics).await, None);
        assert_eq!(guarded_task(async { 7 }).await, Some(7));
    }

    #[tokio::test]
    async fn a_vital_task_tells_of_its_end_unless_it_was_ended() {
        let alarms = Rc::new(Cell::new(0));
        let vital = || {
            let alarms = alarms.clone();
            Vital::new("it", move |_| alarms.set(alarms.get() + 1))
        };
        tokio::task::LocalSet::new()
            .run_until(async {
                let alarm = vital();
                let task = tokio::task::spawn_local(async move {
                    let _alarm = alarm;
                    tokio::task::yield_now().await;
                    panic!("a test that fails");
                });
                assert!(task.await.expect_err("it panics").is_panic());
                assert_eq!(alarms.get(), 1);
                let alarm = vital();
                let task = tokio::task::spawn_local(async move {
                    let _alarm = alarm;
                    std::future::pending::<()>().await;
                });
                task.abort();
                assert!(task.await.expect_err("it is aborted").is_cancelled());
                assert_eq!(alarms.get(), 1);
                vital().ended();
                assert_eq!(alarms.get(), 2);
            })
            .await;
    }
}
