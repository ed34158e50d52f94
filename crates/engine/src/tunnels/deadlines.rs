//! Whose time is up next. Each stands here once at most, under a deadline that may have moved on since:
//! who is due is looked at again, and put back further on.

use std::collections::BTreeSet;

/// No deadline.
pub(super) const NEVER: u64 = u64::MAX;

/// Deadlines in milliseconds since start, each with the place of whose it is.
#[derive(Default)]
pub(super) struct Deadlines {
    list: BTreeSet<(u64, u32)>,
}

impl Deadlines {
    /// Puts who stands at `place`, until now under `listed`, under another deadline. Tells whether that
    /// is the nearest of all.
    pub(super) fn put(&mut self, place: u32, listed: &mut u64, deadline: u64) -> bool {
        self.list.remove(&(*listed, place));
        *listed = deadline;
        if deadline == NEVER {
            return false;
        }
        let entry = (deadline, place);
        self.list.insert(entry);
        self.list.first() == Some(&entry)
    }

    /// The nearest one.
    pub(super) fn first(&self) -> Option<u64> {
        self.list.first().map(|(deadline, _)| *deadline)
    }

    /// Who is due first, if anybody is.
    pub(super) fn due(&self, now: u64) -> Option<u32> {
        let (deadline, place) = self.list.first()?;
        (*deadline <= now).then_some(*place)
    }

    /// Takes the nearest one away.
    pub(super) fn drop_first(&mut self) {
        self.list.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_on_is_due_later_and_who_comes_nearer_is_due_first() {
        let mut deadlines = Deadlines::default();
        let mut listed = [NEVER; 3];
        let mut put = |deadlines: &mut Deadlines, place: u32, deadline: u64| {
            deadlines.put(place, &mut listed[place as usize], deadline)
        };
        assert_eq!((deadlines.first(), deadlines.due(u64::MAX)), (None, None));
        assert!(put(&mut deadlines, 0, 100));
        assert!(!put(&mut deadlines, 1, 200));
        assert!(!put(&mut deadlines, 2, 100), "the first one is waited for");
        assert_eq!((deadlines.due(99), deadlines.due(100)), (None, Some(0)));
        // It was active meanwhile.
        assert!(!put(&mut deadlines, 0, 300));
        assert_eq!(deadlines.due(100), Some(2));
        // It has half-closed, and its time is shorter now.
        assert!(put(&mut deadlines, 1, 50));
        assert_eq!((deadlines.first(), deadlines.due(50)), (Some(50), Some(1)));
        // They end, or may be silent for ever.
        assert!(!put(&mut deadlines, 1, NEVER));
        assert!(!put(&mut deadlines, 2, NEVER));
        assert_eq!((deadlines.first(), deadlines.due(299)), (Some(300), None));
        assert_eq!(deadlines.due(300), Some(0));
        deadlines.drop_first();
        assert!(!put(&mut deadlines, 0, NEVER), "nothing is left of it");
        assert_eq!(deadlines.first(), None);
    }
}
