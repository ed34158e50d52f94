//! Whether a server may take new sessions: what its checks say and what the operator wants.
//!
//! A pure state machine. The engine runs checks and calls [`Health::step`] with each result, carries
//! the operator's wish with [`Health::set_admin`], and does what the returned [`Change`] says. The
//! counters are HAProxy's (manual 5.2 "rise", "fall"; management.txt 9.1 "check_health"); what
//! is logged about it is worded in [`words`].
//!
//! ```text
//!  counter   0 ........ rise-1 | rise .......... rise+fall-1
//!            DOWN       going up | UP, one failure   UP
//!                                from going down
//!  success: one up, and from `rise` straight to the top
//!  failure: one down, and from `rise` straight to 0
//! ```

mod codes;
mod observed;
#[cfg(test)]
mod tests;
pub mod words;

use std::time::Duration;

use config::model::Check;

pub use codes::{CheckCode, CheckResult, Verdict};
pub use observed::Sight;

/// What the operator wants. Checks do not change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admin {
    /// Checks decide.
    #[default]
    Ready,
    /// No new sessions; checks go on.
    Drain,
    /// No new sessions, no checks.
    Maint,
}

/// How a server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// UP, and one failure takes it down: as HAProxy starts the servers of its configuration.
    Up,
    /// DOWN, and one success brings it up: a node nobody has verified yet.
    Down,
    /// UP as after many good checks: `fall` failures take it down.
    FullyUp,
    /// DOWN, and `rise` successes bring it up.
    FullyDown,
    /// Never checked, always UP.
    Unchecked,
}

/// What has changed for a server, to be acted upon and logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub what: What,
    /// Whether it took new sessions before.
    pub accepted_before: bool,
    /// Whether it takes new sessions now.
    pub accepts: bool,
    /// Whether it is up (though it may be draining).
    pub up: bool,
    /// Whether the operator wants it drained.
    pub draining: bool,
    /// Whether the operator said so, and not a check.
    pub forced: bool,
}

/// What happened to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Checks brought it up.
    Up,
    /// Checks took it down.
    Down,
    /// A check passed on a condition: it finishes what it has (`NOLB`).
    Stopping,
    /// The operator put it into maintenance.
    MaintEntered {
        /// Whether it was up.
        was_up: bool,
    },
    /// The operator took it out of maintenance; it is up until a check says otherwise.
    MaintLeft,
    /// The operator wants it drained.
    DrainEntered,
    /// The operator wants it back.
    DrainLeft,
}

/// What the checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Passed on a condition: takes nothing new.
    Stopping,
    Stopped,
}

/// What is known of a server from before the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// What the operator wanted; `None`: what the configuration says.
    pub admin: Option<Admin>,
    /// Whether it was up.
    pub up: bool,
    /// Its counter.
    pub counter: u32,
    /// Time since its last change.
    pub since: Duration,
}

/// What an agent said of a server's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentWord {
    /// It is up, as far as checks say so, too.
    Up,
    /// It is down.
    Down,
    /// Nothing, or it could not be asked.
    Nothing,
}

/// What an agent says.
#[derive(Debug, Clone)]
struct AgentSide {
    down: bool,
    last_result: CheckResult,
}

/// One server's health. Times are since the start of the process, from a clock that never jumps.
#[derive(Debug, Clone)]
pub struct Health {
    admin: Admin,
    /// What the server it follows is wanted to be; `Ready` where it follows none.
    inherited: Admin,
    /// Whether its state is another server's.
    follows: bool,
    state: State,
    checked: bool,
    /// Started [`Initial::Down`], and no check has passed yet.
    unverified: bool,
    rise: u32,
    fall: u32,
    /// 0 to rise+fall-1; `rise` and above is UP.
    counter: u32,
    last_result: Option<CheckResult>,
    /// What its agent says, where it has one and it said anything.
    agent: Option<Box<AgentSide>>,
    last_change: Duration,
    down_since: Option<Duration>,
    down_before: Duration,
    failures_total: u64,
    observed_total: u64,
    downs_total: u64,
}

impl Health {
    /// A server that starts like this, in state [`Admin::Ready`]; for `disabled` call
    /// [`Health::start_in_maint`]. `rise` and `fall` below 1 count as 1.
    pub fn new(check: &Check, initial: Initial, now: Duration) -> Self {
        let rise = check.rise.max(1);
        let (state, counter) = match initial {
            Initial::Up => (State::Running, rise),
            Initial::FullyUp => (State::Running, rise.saturating_add(check.fall.max(1)) - 1),
            Initial::Down | Initial::FullyDown => (State::Stopped, 0),
            Initial::Unchecked => (State::Running, 0),
        };
        Self {
            admin: Admin::Ready,
            inherited: Admin::Ready,
            follows: false,
            state,
            checked: initial != Initial::Unchecked,
            unverified: initial == Initial::Down,
            rise,
            fall: check.fall.max(1),
            counter,
            last_result: None,
            agent: None,
            last_change: now,
            down_since: (state == State::Stopped).then_some(now),
            down_before: Duration::ZERO,
            failures_total: 0,
            observed_total: 0,
            downs_total: 0,
        }
    }

    /// Starts in maintenance (`disabled`); no change is told, since nothing has been before.
    #[must_use]
    pub fn start_in_maint(mut self, now: Duration) -> Self {
        self.admin = Admin::Maint;
        self.state = State::Stopped;
        self.down_since = Some(now);
        self
    }

    /// Takes the result of a check. `None`: nothing changed but the counter. Results that arrive in
    /// maintenance, or for a server that is not checked, are ignored.
    pub fn step(&mut self, result: CheckResult, now: Duration) -> Option<Change> {
        if !self.checked || self.admin == Admin::Maint {
            return None;
        }
        let verdict = result.code.verdict();
        self.last_result = Some(result);
        let what = match verdict {
            Verdict::Unknown => return None,
            Verdict::Passed => self.passed(State::Running).then_some(What::Up),
            Verdict::Conditional => self.passed(State::Stopping).then_some(What::Stopping),
            Verdict::Failed => self.failed().then_some(What::Down),
        }?;
        let state = match what {
            What::Up => State::Running,
            What::Stopping => State::Stopping,
            _ => State::Stopped,
        };
        Some(self.turn(what, self.admin, state, now))
    }

    /// Carries the operator's wish. `None`: it was so already. A server that leaves maintenance is
    /// up at once, as in HAProxy, and its first failed check takes it down: check it immediately.
    /// A node that no check has ever passed stays down until one does.
    pub fn set_admin(&mut self, admin: Admin, now: Duration) -> Option<Change> {
        let was_up = self.is_up();
        let (what, state) = match (self.admin, admin) {
            (before, after) if before == after => return None,
            (_, Admin::Maint) => (What::MaintEntered { was_up }, State::Stopped),
            (Admin::Maint, _) if self.unverified => (What::MaintLeft, State::Stopped),
            (Admin::Maint, _) => {
                self.counter = if self.checked { self.rise } else { 0 };
                let state = match self.agent_is_down() {
                    true => State::Stopped,
                    false => State::Running,
                };
                (What::MaintLeft, state)
            }
            (_, Admin::Drain) => (What::DrainEntered, self.state),
            (_, Admin::Ready) => (What::DrainLeft, self.state),
        };
        Some(self.turn(what, admin, state, now))
    }

    /// Says what checks would say, until they do. `None`: it was so already, or it is in maintenance.
    pub fn force(&mut self, verdict: Verdict, now: Duration) -> Option<Change> {
        if self.admin == Admin::Maint {
            return None;
        }
        let (what, state, counter) = match verdict {
            Verdict::Passed => (What::Up, State::Running, self.top()),
            Verdict::Conditional => (What::Stopping, State::Stopping, self.top()),
            Verdict::Failed => (What::Down, State::Stopped, 0),
            Verdict::Unknown => return None,
        };
        self.counter = if self.checked { counter } else { 0 };
        self.unverified = false;
        (self.state != state).then(|| Change {
            forced: true,
            ..self.turn(what, self.admin, state, now)
        })
    }

    /// Stops or resumes the checks; the state stays.
    pub fn set_checks(&mut self, enabled: bool) {
        if enabled && !self.checked && self.is_up() {
            self.counter = self.top();
        }
        self.checked = enabled;
    }

    /// Another `rise` and `fall` hold from now on. It stays up, or down, and needs as many checks to
    /// change as a server that has just come there.
    pub fn set_thresholds(&mut self, check: &Check) {
        let (rise, fall) = (check.rise.max(1), check.fall.max(1));
        if (rise, fall) == (self.rise, self.fall) {
            return;
        }
        let was_up = self.counter >= self.rise;
        (self.rise, self.fall) = (rise, fall);
        if self.checked {
            self.counter = if was_up { self.top() } else { 0 };
        }
    }

    /// Takes up what was known before the process started; nothing is told of it. The next check counts
    /// on from there.
    pub fn restore(&mut self, restored: &Restored, now: Duration) {
        self.admin = restored.admin.unwrap_or(self.admin);
        let up = restored.up && self.admin != Admin::Maint;
        if self.checked {
            self.counter = match up {
                true => restored.counter.clamp(self.rise, self.top()),
                false => restored.counter.min(self.rise - 1),
            };
        }
        self.state = match up || (!self.checked && self.admin != Admin::Maint) {
            true => State::Running,
            false => State::Stopped,
        };
        self.last_change = now.saturating_sub(restored.since);
        self.down_since = (self.state == State::Stopped).then_some(now);
    }

    /// What the server that it follows is wanted to be.
    pub fn inherited(&self) -> Admin {
        self.inherited
    }

    /// Whether it finishes what it has, and is up otherwise.
    pub fn is_stopping(&self) -> bool {
        self.state == State::Stopping
    }

    /// Takes what its agent said: a server is up where neither its checks nor its agent say otherwise.
    /// In maintenance it is remembered.
    pub fn agent_said(
        &mut self,
        word: AgentWord,
        result: CheckResult,
        now: Duration,
    ) -> Option<Change> {
        let before = self.agent.as_ref().is_some_and(|agent| agent.down);
        let down = match word {
            AgentWord::Up => false,
            AgentWord::Down => true,
            AgentWord::Nothing => before,
        };
        let last_result = result;
        self.agent = Some(Box::new(AgentSide { down, last_result }));
        if self.admin == Admin::Maint {
            return None;
        }
        let well = !self.checked || self.counter >= self.rise;
        match word {
            AgentWord::Up if !self.is_up() && well && !self.unverified => {
                Some(self.turn(What::Up, self.admin, State::Running, now))
            }
            AgentWord::Down if self.is_up() => {
                Some(self.turn(What::Down, self.admin, State::Stopped, now))
            }
            _ => None,
        }
    }

    /// What its agent said last, or what came of asking it.
    pub fn agent_result(&self) -> Option<&CheckResult> {
        self.agent.as_ref().map(|agent| &agent.last_result)
    }

    /// Whether its agent says that it is down.
    pub fn agent_is_down(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.down)
    }

    /// Whether it takes new sessions.
    pub fn accepts_new(&self) -> bool {
        self.wish() == Admin::Ready && self.state == State::Running
    }

    /// Whether it is up, be it draining: its open sessions go on.
    pub fn is_up(&self) -> bool {
        self.state != State::Stopped
    }

    /// What the operator wants.
    pub fn admin(&self) -> Admin {
        self.admin
    }

    /// Whether a check is to be run for it now: it is checked and not in maintenance.
    pub fn wants_checks(&self) -> bool {
        self.checked && self.admin != Admin::Maint
    }

    /// Whether it has checks at all.
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// Time from one check to the next, before jitter: `inter` when surely up, `downinter` when
    /// surely down, `fastinter` in between (manual 5.2 "inter").
    pub fn next_interval(&self, check: &Check) -> Duration {
        if self.counter == self.top() {
            check.inter
        } else if self.state == State::Stopped && self.counter == 0 {
            check.downinter.unwrap_or(check.inter)
        } else {
            check.fastinter.unwrap_or(check.inter)
        }
    }

    /// The text of HAProxy's `status` column: `UP`, `UP 1/3`, `DOWN`, `DOWN 1/2`, `NOLB`, `DRAIN`,
    /// `MAINT`, `no check`.
    pub fn status_text(&self) -> String {
        let going_down = self.checked && self.counter < self.top();
        let up_part = || {
            format!(
                "{}/{}",
                (self.counter + 1).saturating_sub(self.rise),
                self.fall
            )
        };
        let name = match (self.wish(), self.state) {
            (Admin::Maint, _) => return "MAINT".into(),
            (_, State::Stopped) if self.counter == 0 => return "DOWN".into(),
            (_, State::Stopped) => return format!("DOWN {}/{}", self.counter, self.rise),
            (_, State::Stopping) => "NOLB",
            (Admin::Drain, State::Running) => "DRAIN",
            (Admin::Ready, State::Running) if !self.checked && !self.follows => {
                return "no check".into();
            }
            (Admin::Ready, State::Running) => "UP",
        };
        if going_down {
            format!("{name} {}", up_part())
        } else {
            name.into()
        }
    }

    /// The last result, if a check has ended since the start.
    pub fn last_result(&self) -> Option<&CheckResult> {
        self.last_result.as_ref()
    }

    /// HAProxy's `check_rise`.
    pub fn rise(&self) -> u32 {
        self.rise
    }

    /// HAProxy's `check_fall`.
    pub fn fall(&self) -> u32 {
        self.fall
    }

    /// HAProxy's `check_health`: 0 to rise+fall-1.
    pub fn counter(&self) -> u32 {
        self.counter
    }

    /// Time since it last went up, down, into or out of drain or maintenance.
    pub fn since_change(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_change)
    }

    /// Time spent down or in maintenance since the start.
    pub fn downtime(&self, now: Duration) -> Duration {
        let lasting = self.down_since.map(|since| now.saturating_sub(since));
        self.down_before + lasting.unwrap_or_default()
    }

    /// Checks that failed while it was up (`chkfail`).
    pub fn failures_total(&self) -> u64 {
        self.failures_total
    }

    /// Times it went from up to down or into maintenance (`chkdown`).
    pub fn downs_total(&self) -> u64 {
        self.downs_total
    }

    fn top(&self) -> u32 {
        self.rise.saturating_add(self.fall) - 1
    }

    /// Counts a success; whether that changes the state to `to`.
    fn passed(&mut self, to: State) -> bool {
        self.counter = self.counter.saturating_add(1);
        if self.counter >= self.rise || self.unverified {
            self.counter = self.top();
        }
        self.unverified = false;
        self.counter >= self.rise && self.state != to && !self.agent_is_down()
    }

    /// Counts a failure; whether it takes the server down.
    fn failed(&mut self) -> bool {
        if self.counter >= self.rise {
            self.failures_total += 1;
        }
        self.counter = if self.counter > self.rise {
            self.counter - 1
        } else {
            0
        };
        self.counter == 0 && self.is_up()
    }

    fn turn(&mut self, what: What, admin: Admin, state: State, now: Duration) -> Change {
        let accepted_before = self.accepts_new();
        let was_up = self.is_up();
        let moved = self.state != state;
        self.admin = admin;
        self.state = state;
        let accepts = self.accepts_new();
        if moved || accepts != accepted_before {
            self.last_change = now;
        }
        if was_up && !self.is_up() {
            self.downs_total += 1;
            self.down_since = Some(now);
        } else if self.is_up()
            && let Some(since) = self.down_since.take()
        {
            self.down_before += now.saturating_sub(since);
        }
        Change {
            what,
            accepted_before,
            accepts,
            up: self.is_up(),
            draining: self.wish() == Admin::Drain,
            forced: false,
        }
    }
}
