//! Who asks for a reload, and what comes of it: the door between the Runtime API, which is asked, and the
//! program, which reads files and carries it out.

use std::fmt;

use tokio::sync::{mpsc, oneshot};

/// Reloads that wait for the one under way, at most: each reads the files as they are when its turn comes,
/// so that more of them would only do the same again.
const WAITING_MAX: usize = 4;

/// Whom to ask for a reload. Cheap to clone.
#[derive(Clone)]
pub struct Reloads {
    asked: mpsc::Sender<Asked>,
}

/// A reload that somebody wants.
pub struct Asked {
    /// Who asks, for the log.
    pub by: String,
    told: oneshot::Sender<Outcome>,
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the new configuration is in force.
    pub success: bool,
    /// What there is to say about it: whole lines, as at the start of the program.
    pub said: String,
}

impl Outcome {
    /// Nobody is there any more to reload anything.
    pub(crate) fn lost() -> Self {
        Self::failed("the process is about to end")
    }

    /// Nothing has changed; why.
    pub fn failed(why: &str) -> Self {
        let pid = std::process::id();
        Self {
            success: false,
            said: format!("[ALERT]    ({pid}) : {why}\n"),
        }
    }
}

impl fmt::Display for Outcome {
    /// As HAProxy's master answers `reload` (management.txt 9.4.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let success = u8::from(self.success);
        write!(f, "Success={success}\n--\n{}", self.said)
    }
}

impl Reloads {
    /// The door, and where who carries reloads out finds those that are wanted.
    pub fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asked, wanted) = mpsc::channel(WAITING_MAX);
        (Self { asked }, wanted)
    }

    /// Asks for one; what comes of it is told.
    pub fn ask(&self, by: &str) -> oneshot::Receiver<Outcome> {
        let (told, telling) = oneshot::channel();
        let by = by.to_owned();
        if let Err(error) = self.asked.try_send(Asked { by, told }) {
            let (why, asked) = match error {
                mpsc::error::TrySendError::Full(asked) => {
                    ("so many reloads are waiting already", asked)
                }
                mpsc::error::TrySendError::Closed(asked) => ("the process is about to end", asked),
            };
            // Who asked may have left.
            let _ = asked.told.send(Outcome::failed(why));
        }
        telling
    }
}

impl Asked {
    /// That is what came of it.
    pub fn settle(self, outcome: Outcome) {
        // Who asked may have left.
        let _ = self.told.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_is_told_also_when_nobody_can_do_it() {
        let (reloads, mut wanted) = Reloads::new();
        let first = reloads.ask("a test");
        let more: Vec<_> = (1..WAITING_MAX + 1)
            .map(|_| reloads.ask("a test"))
            .collect();
        let asked = wanted.recv().await.unwrap();
        assert_eq!(asked.by, "a test");
        let said = "it is well\n".to_owned();
        let good = Outcome {
            success: true,
            said,
        };
        asked.settle(good);
        assert_eq!(
            first.await.unwrap().to_string(),
            "Success=1\n--\nit is well\n"
        );
        let last = more.into_iter().next_back().unwrap().await.unwrap();
        assert!(
            !last.success && last.said.contains("waiting already"),
            "{last:?}"
        );
        drop(wanted);
        assert!(!reloads.ask("a test").await.unwrap().success);
    }
}
