//! What live traffic says of a server (manual 5.2, "observe", "error-limit", "on-error"), and what a
//! server makes of the one it follows ("track").

use std::time::Duration;

use config::model::{ObservedLayer, OnError};

use super::{Admin, Change, CheckCode, CheckResult, Health, State, What};

/// What a session saw of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It accepted the connection.
    Connected,
    /// It did not.
    Refused,
    /// It answered with this status.
    Status(u16),
    /// What it answered is no response.
    Invalid,
    /// The connection broke before the answer was there.
    Broken,
    /// No answer came in time.
    Silent,
    /// It closed the connection instead of answering.
    Closed,
}

impl Sight {
    /// Whether it is an error, for who looks at that layer; `None`: it says nothing there.
    pub fn is_error(self, layer: ObservedLayer) -> Option<bool> {
        match (self, layer) {
            (Self::Connected, ObservedLayer::Layer4) => Some(false),
            (Self::Connected, ObservedLayer::Layer7) => None,
            (Self::Refused, _) => Some(true),
            (_, ObservedLayer::Layer4) => None,
            // "Valid status codes include 100 to 499, 501 and 505" (manual 5.2, "observe").
            (Self::Status(status), ObservedLayer::Layer7) => {
                Some(!matches!(status, 100..=499 | 501 | 505))
            }
            (_, ObservedLayer::Layer7) => Some(true),
        }
    }

    /// HAProxy's words for an error.
    fn words(self) -> &'static str {
        match self {
            Self::Connected | Self::Refused => "L4 unsuccessful connection",
            Self::Status(_) => "Wrong http response",
            Self::Invalid => "Invalid http response (headers)",
            Self::Broken => "Read error (http)",
            Self::Silent => "Read timeout (http)",
            Self::Closed => "Close from server (http)",
        }
    }
}

impl Health {
    /// So many errors in a row, the last of which was `last`, were one too many: does what `on_error`
    /// says. A server that is down, in maintenance or never checked is left as it is.
    pub fn observed(
        &mut self,
        errors: u32,
        last: Sight,
        on_error: OnError,
        now: Duration,
    ) -> Option<(Change, CheckResult)> {
        if !self.wants_checks() || !self.is_up() {
            return None;
        }
        self.observed_total += 1;
        match on_error {
            OnError::FastInter => return None,
            OnError::FailCheck => {}
            OnError::SuddenDeath => self.counter = self.counter.min(self.rise + 1),
            OnError::MarkDown => self.counter = self.rise,
        }
        let result = CheckResult {
            code: CheckCode::Observed,
            status: None,
            info: format!(
                "Detected {errors} consecutive errors, last one was: {}",
                last.words()
            ),
            duration: Duration::ZERO,
        };
        self.last_result = Some(result.clone());
        let change = self
            .failed()
            .then(|| self.turn(What::Down, self.admin, State::Stopped, now))?;
        Some((change, result))
    }

    /// How often errors in a row were one too many (`hanafail`).
    pub fn observed_total(&self) -> u64 {
        self.observed_total
    }

    /// It has the state of `leader` from now on, whose wishes it inherits. `None`: it had already.
    pub fn follow(&mut self, leader: &Self, now: Duration) -> Option<Change> {
        let (before, was_up) = (self.wish(), self.is_up());
        self.follows = true;
        self.inherited = leader.wish();
        let state = match self.wish() {
            Admin::Maint => State::Stopped,
            _ => leader.state,
        };
        let what = match (before, self.wish()) {
            (Admin::Maint, Admin::Maint) => return None,
            (_, Admin::Maint) => What::MaintEntered { was_up },
            (Admin::Maint, _) => What::MaintLeft,
            (Admin::Ready, Admin::Drain) => What::DrainEntered,
            (Admin::Drain, Admin::Ready) => What::DrainLeft,
            _ if state == self.state => return None,
            _ => match state {
                State::Running => What::Up,
                State::Stopping => What::Stopping,
                State::Stopped => What::Down,
            },
        };
        // What it accepted is asked of the wish it had before.
        let accepted_before = before == Admin::Ready && self.state == State::Running;
        let mut change = self.turn(what, self.admin, state, now);
        change.accepted_before = accepted_before;
        if change.accepts != accepted_before {
            self.last_change = now;
        }
        Some(change)
    }

    /// The stricter of what the operator wants of it and of the server it follows.
    pub(super) fn wish(&self) -> Admin {
        match (self.admin, self.inherited) {
            (Admin::Maint, _) | (_, Admin::Maint) => Admin::Maint,
            (Admin::Drain, _) | (_, Admin::Drain) => Admin::Drain,
            _ => Admin::Ready,
        }
    }

    /// Whether it is in maintenance only because the server it follows is.
    pub fn inherits_maint(&self) -> bool {
        self.admin != Admin::Maint && self.inherited == Admin::Maint
    }
}
