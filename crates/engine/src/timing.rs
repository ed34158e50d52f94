//! Waiting with a limit.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// The time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired;

/// Waits for `work`, at most `limit`; `None` waits for ever. What is ready at once sets no timer.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = T>,
) -> Result<T, Expired> {
    let Some(limit) = limit else {
        return Ok(work.await);
    };
    let mut work = pin!(work);
    let mut timer = pin!(None::<Sleep>);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if timer.is_none() {
            timer.set(Some(sleep(limit)));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => poll_timer(timer, cx).map(|()| Err(Expired)),
            None => Poll::Pending,
        }
    })
    .await
}

/// Looks at a timer whatever is left of the task's budget: work that uses it up each time must not
/// keep its own limit from being seen.
fn poll_timer(timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    pin!(unconstrained(timer)).poll(cx)
}

/// The limits of all that one task waits for on one connection, one after the other or side by side.
///
/// A timer that was set for one wait stays where it is when that is over: the next one ends later, and
/// looks again when the timer goes off. So a busy connection sets one timer in the time of its shortest
/// limit, not several for each request.
#[derive(Default)]
pub(crate) struct Alarm {
    set: RefCell<Option<Pin<Box<Sleep>>>>,
}

impl Alarm {
    /// As [`within`].
    pub(crate) async fn within<T>(
        &self,
        limit: Option<Duration>,
        work: impl Future<Output = T>,
    ) -> Result<T, Expired> {
        let mut work = pin!(work);
        self.poll_within(limit, |cx| work.as_mut().poll(cx)).await
    }

    /// The same for work that is nothing but a poll function. What waits is then hardly larger than what it
    /// looks at: a future is copied into the one that waits for it, at each level, and those of requests
    /// are many levels deep.
    pub(crate) fn poll_within<T>(
        &self,
        limit: Option<Duration>,
        mut work: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> impl Future<Output = Result<T, Expired>> {
        let mut deadline = None;
        poll_fn(move |cx| {
            if let Poll::Ready(done) = work(cx) {
                return Poll::Ready(Ok(done));
            }
            let Some(limit) = limit else {
                return Poll::Pending;
            };
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
            self.poll_passed(deadline, cx).map(|()| Err(Expired))
        })
    }

    /// Waits until `deadline` has passed.
    fn poll_passed(&self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut set = self.set.borrow_mut();
        let timer = set.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while poll_timer(timer.as_mut(), cx).is_ready() {
            if Instant::now() >= deadline {
                // A wait beside this one may have been looked at before, and have no timer now.
                cx.waker().wake_by_ref();
                return Poll::Ready(());
            }
            // It was set for an earlier wait.
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    /// A wait that nothing else ends.
    async fn expires(alarm: &Alarm, limit: Duration) {
        let start = Instant::now();
        let waited = alarm.within(Some(limit), pending::<()>()).await;
        assert_eq!(waited, Err(Expired));
        assert!(start.elapsed() >= limit);
    }

    /// A wait that ends in time, while timers of others may go off.
    async fn lasts(alarm: &Alarm, time: Duration) {
        assert_eq!(alarm.within(Some(LONG), sleep(time)).await, Ok(()));
    }

    #[tokio::test]
    async fn each_wait_has_its_own_limit_on_one_timer() {
        let alarm = Alarm::default();
        assert_eq!(alarm.within(Some(SHORT), sleep(SHORT / 2)).await, Ok(()));
        // The timer of the wait before stands in the midst of this one.
        expires(&alarm, SHORT).await;
        lasts(&alarm, SHORT * 2).await;
        expires(&alarm, SHORT).await;
        tokio::join!(lasts(&alarm, SHORT * 3), expires(&alarm, SHORT));
        tokio::join!(expires(&alarm, SHORT * 2), lasts(&alarm, SHORT * 3));
        tokio::join!(expires(&alarm, SHORT * 2), expires(&alarm, SHORT));
    }
    #[tokio::test]
    async fn a_wait_keeps_its_limit_when_a_shorter_one_beside_it_ends() {
        let alarm = Alarm::default();
        let both = async {
            // The longer one is always looked at first.
            tokio::join!(biased; expires(&alarm, SHORT * 2), expires(&alarm, SHORT))
        };
        assert_eq!(within(Some(LONG), both).await, Ok(((), ())));
    }
}
