//! When HAProxy may be reloaded for nodes that get in no other way. Pure.
//!
//! Each reload leaves a process behind for as long as its WebSockets stay open, or cuts them where
//! `hard-stop-after` is set. So one that was carried out and brought a node nothing is not made again for
//! that node (the file may be another one than HAProxy reads), and pauses grow until one helps.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::discovery::Node;

/// Least time from the end of one reload to the next. Nodes that come one by one are brought in together.
const PAUSE: Duration = Duration::from_secs(60);

/// Longest pause: somebody who has mended what was wrong is heard within it.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Nodes remembered that a reload brought nothing. With this many they are forgotten: at the pauses above
/// that takes days.
const TRIED_MAX: usize = 10_000;

/// What became of reloads so far.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// Nodes that the last reloads were for and that are not in.
    tried: BTreeSet<Node>,
    /// When the last one began or ended, and whether it was carried out.
    last: Option<(Duration, bool)>,
    pause: Duration,
}

/// Whether to reload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Now,
    Later,
    /// Never for these nodes: it did not help.
    InVain,
}

impl Reloads {
    /// A node is in HAProxy.
    pub(super) fn helped(&mut self, is_in: impl Fn(&Node) -> bool) {
        self.tried.retain(|node| !is_in(node));
    }

    /// Whether HAProxy is to be reloaded for these nodes; `Now`: it is, from now on.
    pub(super) fn decide(&mut self, waiting: BTreeSet<Node>, now: Duration) -> Verdict {
        let paused = self.last.is_some_and(|(at, _)| now < at + self.pause);
        if waiting.is_empty() || paused {
            return Verdict::Later;
        }
        let is_done = self.last.is_some_and(|(_, done)| done);
        if is_done && waiting.is_subset(&self.tried) {
            return Verdict::InVain;
        }
        self.pause = match self.tried.is_empty() {
            true => PAUSE,
            false => (self.pause * 2).clamp(PAUSE, PAUSE_MAX),
        };
        if self.tried.len() > TRIED_MAX {
            self.tried.clear();
        }
        self.tried.extend(waiting);
        self.last = Some((now, false));
        Verdict::Now
    }

    /// The reload has ended, and was carried out or not.
    pub(super) fn ended(&mut self, done: bool, now: Duration) {
        self.last = Some((now, done));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tests::nodes;

    const B: &str = "b=h2:1";

    fn decide(reloads: &mut Reloads, waiting: &str, second: u64) -> Verdict {
        let waiting = nodes(waiting).into_iter().collect();
        reloads.decide(waiting, Duration::from_secs(second))
    }

    fn end(reloads: &mut Reloads, done: bool, second: u64) {
        reloads.ended(done, Duration::from_secs(second));
    }

    #[test]
    fn a_reload_that_did_not_help_is_not_repeated() {
        let mut reloads = Reloads::default();
        let both = "a=h1:1 b=h2:1";
        assert_eq!(decide(&mut reloads, "", 0), Verdict::Later);
        assert_eq!(decide(&mut reloads, "a=h1:1", 0), Verdict::Now);
        end(&mut reloads, true, 5);
        assert_eq!(decide(&mut reloads, "a=h1:1", 64), Verdict::Later);
        for second in [65, 1_000, 1_000_000] {
            assert_eq!(decide(&mut reloads, "a=h1:1", second), Verdict::InVain);
        }
        // Another node may be luckier, after twice the time; who went and came again is not another one.
        assert_eq!(decide(&mut reloads, both, 2_000_000), Verdict::Now);
        end(&mut reloads, true, 2_000_000);
        assert_eq!(decide(&mut reloads, "c=h3:1", 2_000_119), Verdict::Later);
        assert_eq!(decide(&mut reloads, B, 2_000_120), Verdict::InVain);
        assert_eq!(decide(&mut reloads, "a=h1:1", 2_000_120), Verdict::InVain);
    }

    #[test]
    fn a_reload_that_helped_is_made_again_when_it_is_needed() {
        let mut reloads = Reloads::default();
        for second in [0, 100, 200] {
            assert_eq!(decide(&mut reloads, B, second), Verdict::Now);
            end(&mut reloads, true, second + 1);
            reloads.helped(|_| true);
        }
    }

    #[test]
    fn a_reload_that_failed_is_tried_again_later_and_later() {
        let mut reloads = Reloads::default();
        let mut second = 0;
        for pause in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            assert_eq!(decide(&mut reloads, B, second), Verdict::Now);
            end(&mut reloads, false, second);
            assert_eq!(decide(&mut reloads, B, second + pause - 1), Verdict::Later);
            second += pause;
        }
    }
}
