//! A rate that many tasks share, each unit due at its own moment.
//!
//! The runtime's timers have a resolution of a millisecond: at 5,000 units a second they would make
//! bursts of five, and a proxy that is woken once for five is not at that rate. A thread that sleeps
//! precisely beats the time.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A rate, for a number of tasks. Ends when dropped.
pub(super) struct Rate {
    start: Instant,
    spacing: Duration,
    slots: Rc<[Notify]>,
    over: Arc<AtomicBool>,
    release: Option<JoinHandle<()>>,
}

impl Rate {
    /// `rate` units a second among `tasks`; 0: as fast as it goes.
    pub(super) fn new(rate: u32, tasks: usize) -> Self {
        let mut this = Self {
            start: Instant::now(),
            spacing: Duration::ZERO,
            slots: (0..tasks).map(|_| Notify::new()).collect(),
            over: Arc::default(),
            release: None,
        };
        if rate > 0 {
            this.spacing = Duration::from_secs(1) / rate;
            let beat = Arc::new(Notify::new());
            this.beat(beat.clone());
            this.release = Some(tokio::task::spawn_local(release(
                beat,
                this.slots.clone(),
                this.start,
                this.spacing,
            )));
        }
        this
    }

    /// The pace of one task.
    pub(super) fn pace(&self, index: usize) -> Pace {
        Pace {
            slots: self.slots.clone(),
            index,
            next: self.start + self.spacing * index as u32,
            period: self.spacing * self.slots.len() as u32,
        }
    }

    /// One beat a unit; late ones are made up for at once.
    fn beat(&self, beat: Arc<Notify>) {
        let (over, spacing, mut next) = (self.over.clone(), self.spacing, self.start);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                beat.notify_one();
                next += spacing;
                let wait = next.saturating_duration_since(Instant::now());
                if !wait.is_zero() {
                    std::thread::sleep(wait);
                }
            }
        });
    }
}

impl Drop for Rate {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.release.iter().for_each(JoinHandle::abort);
    }
}

/// Lets each task go when its unit is due.
async fn release(beat: Arc<Notify>, slots: Rc<[Notify]>, mut due: Instant, spacing: Duration) {
    for slot in slots.iter().cycle() {
        while Instant::now() < due {
            beat.notified().await;
        }
        slot.notify_one();
        due += spacing;
    }
}

/// When one task does its next unit.
pub(super) struct Pace {
    slots: Rc<[Notify]>,
    index: usize,
    next: Instant,
    period: Duration,
}

impl Pace {
    /// Waits until the next unit is due, and says when that was: a proxy that is late is not
    /// excused from what came due meanwhile.
    pub(super) async fn due(&mut self) -> Instant {
        if self.period.is_zero() {
            return Instant::now();
        }
        // A slot keeps one release at most, so a task that is late looks at the clock.
        while Instant::now() < self.next {
            self.slots[self.index].notified().await;
        }
        let due = self.next;
        self.next += self.period;
        due
    }
}
