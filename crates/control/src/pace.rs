//! How often something may happen: so many times a second, and so many at once. Pure.

use std::time::Duration;

/// A pace, as a generic cell rate algorithm keeps it (ITU-T I.371): one moment, no bucket to refill.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Between two, in the long run.
    apart: Duration,
    /// How many may come at once.
    burst: u32,
    /// When the next one would come if all had kept the distance.
    due: Duration,
}

impl Pace {
    /// At most `a_second` in the long run, and `burst` at once.
    pub(crate) fn new(a_second: u32, burst: u32) -> Self {
        Self {
            apart: Duration::from_secs(1) / a_second.max(1),
            burst: burst.max(1),
            due: Duration::ZERO,
        }
    }

    /// Takes a turn now, or says how long to wait for one. `now` never goes back.
    pub(crate) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let ahead = self.due.saturating_sub(now);
        let most = self.apart * (self.burst - 1);
        if ahead > most {
            return Err(ahead - most);
        }
        self.due = self.due.max(now) + self.apart;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_after_the_other() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(10, 3);
        for (now, expected) in [
            (1_000, Ok(())),
            (1_000, Ok(())),
            (1_000, Ok(())),
            (1_000, Err(ms(100))),
            (1_060, Err(ms(40))),
            (1_100, Ok(())),
            (1_100, Err(ms(100))),
            (9_000, Ok(())),
            (9_000, Ok(())),
            (9_000, Ok(())),
            (9_000, Err(ms(100))),
        ] {
            assert_eq!(pace.take(ms(now)), expected, "{now}");
        }
    }
}
