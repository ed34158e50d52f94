//! Waiting for a condition, never for a while.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long a test waits for something that normally takes milliseconds. Long, because it is only
/// ever waited for in full by a test that fails, and machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` returns `Ok`, and returns that value. `Err` carries what was seen instead.
///
/// Panics after `within`, naming what was awaited and what was seen last.
pub async fn wait_until<R, S: Display>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<R, S>,
) -> R {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) if start.elapsed() >= within => {
                panic!("waited {within:?} for {what}; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// `Ok(())` when `holds`, else what was seen: the last line of most conditions.
pub fn or_seen<S: Display>(holds: bool, seen: S) -> Result<(), S> {
    if holds { Ok(()) } else { Err(seen) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_the_value_of_the_first_success() {
        let mut looks = 0;
        let value = wait_until("three looks", PATIENCE, async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(looks) }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "for a miracle; last seen: 7")]
    async fn says_what_was_awaited_and_what_was_seen() {
        wait_until("a miracle", Duration::ZERO, async || Err::<(), _>(7)).await;
    }
}
