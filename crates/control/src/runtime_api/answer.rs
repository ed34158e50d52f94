//! What a command answers, and what it is given.

use std::borrow::Cow;
use std::time::Duration;

use config::model::{Config, SeverityOutput};
use engine::Handle;
use engine::command::Refused;
use engine::export::Report;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;

use super::Api;
use super::session::Session;
use crate::reload::Outcome;

/// What a command is given.
pub(super) struct Call<'a> {
    /// The door to the engine.
    pub(super) handle: &'a Handle,
    /// What connections share.
    pub(super) api: &'a Api,
    /// The configuration in force.
    pub(super) config: &'a Config,
    /// Who asks; commands about the connection itself change it.
    pub(super) session: &'a mut Session,
    /// The words behind the command's own.
    pub(super) args: &'a [String],
    /// What came after `<<`, each line with its end.
    pub(super) payload: Option<&'a str>,
}

impl Call<'_> {
    /// The word at a position; empty when there is none, as HAProxy's commands see it.
    pub(super) fn arg(&self, at: usize) -> &str {
        self.args.get(at).map_or("", String::as_str)
    }

    /// The first word as `backend/server`.
    pub(super) fn server(&self) -> Result<(&str, &str), Answer> {
        let split = self.arg(0).split_once('/');
        split.ok_or_else(|| Answer::error("Require 'backend/server'."))
    }
}

/// How grave a message is: syslog's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gravity {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

/// HAProxy's words.
const REFERENCED: &str =
    "This server cannot be removed at runtime due to other configuration elements pointing to it.";

/// A look at the engine that may have an answer.
pub(super) type Until = Box<dyn FnMut(&Handle) -> Option<Answer>>;

/// What a command answers.
pub(super) enum Answer {
    /// Nothing but the empty line that ends every answer.
    Done,
    /// Text as it is, whole lines.
    Text(String),
    /// What a reload comes to.
    Later(oneshot::Receiver<Outcome>),
    /// A message; its end of line is added.
    Message(Gravity, Cow<'static, str>),
    /// A long text, written piece by piece as the reader takes it.
    Report(Box<dyn Report>),
    /// Text that comes piece by piece, until who tells it has no more.
    Pieces {
        /// The text.
        pieces: Receiver<String>,
        /// What is said when nothing comes at all.
        none: Box<Answer>,
    },
    /// Waits until `until` has an answer, or the time is up (then `late` is answered).
    Wait {
        /// At most so long.
        limit: Duration,
        /// Looked at again and again.
        until: Until,
        /// What is said when the time is up.
        late: Box<Answer>,
    },
}

impl Answer {
    pub(super) fn error(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Message(Gravity::Error, text.into())
    }

    pub(super) fn warning(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Message(Gravity::Warning, text.into())
    }

    pub(super) fn info(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Message(Gravity::Info, text.into())
    }

    pub(super) fn notice(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Message(Gravity::Notice, text.into())
    }

    /// What the engine said to a command.
    pub(super) fn of(outcome: Result<(), Refused>) -> Self {
        match outcome {
            Ok(()) => Self::Done,
            Err(refused) => Self::refused(&refused),
        }
    }

    /// Why the engine did not, in HAProxy's words.
    pub(super) fn refused(refused: &Refused) -> Self {
        Self::error(match refused {
            Refused::NoSuchBackend(_) => "No such backend.".to_owned(),
            Refused::NoSuchServer(..) => "No such server.".to_owned(),
            Refused::NameTaken(..) => {
                "Already exists a server with the same name in backend.".to_owned()
            }
            Refused::Busy(_) => {
                "Server still has connections attached to it, cannot remove it.".to_owned()
            }
            Refused::Referenced => REFERENCED.to_owned(),
            Refused::Invalid(why) => why.clone(),
        })
    }

    /// Whether it says that nothing was done.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Message(Gravity::Error, _))
    }
}

impl From<Result<Answer, Answer>> for Answer {
    fn from(outcome: Result<Answer, Answer>) -> Self {
        outcome.unwrap_or_else(|refused| refused)
    }
}

/// A message as it is written, its gravity before it where that is wanted (`set severity-output`).
pub(super) fn message(severity: SeverityOutput, gravity: Gravity, text: &str) -> String {
    let word = match gravity {
        Gravity::Error => "err",
        Gravity::Warning => "warning",
        Gravity::Notice => "notice",
        Gravity::Info => "info",
    };
    let mark = match severity {
        SeverityOutput::None => String::new(),
        SeverityOutput::Number => format!("[{}]: ", gravity as u8),
        SeverityOutput::String => format!("[{word}]: "),
    };
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{mark}{text}{end}")
}
