//! What a connection to the Runtime API remembers between commands.

use std::time::Duration;

use config::model::{CliLevel, SeverityOutput, StatsSocketSettings};

/// How a connection goes on after a line (management.txt 9.3, "prompt").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// One line, then it ends.
    Once,
    /// Line after line.
    Interactive,
    /// The same, with a prompt.
    Prompt,
}

/// See the module's text.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The socket it came in by, for the log.
    pub(super) socket: String,
    /// Who it is, for the log.
    pub(super) peer: String,
    pub(super) mode: Mode,
    /// Whether the prompt tells the uptime.
    pub(super) timed: bool,
    pub(super) level: CliLevel,
    pub(super) expert: bool,
    pub(super) experimental: bool,
    pub(super) severity: SeverityOutput,
    /// How long it may be silent.
    pub(super) timeout: Duration,
    /// Set by `quit`.
    pub(super) ended: bool,
    /// Whether listening sockets are given away here (`expose-fd listeners`).
    pub(super) gives_listeners: bool,
    /// On the master's socket: whom commands go to.
    pub(super) master: Option<super::master::Master>,
}

impl Session {
    pub(super) fn new(settings: StatsSocketSettings, timeout: Duration) -> Self {
        Self {
            socket: String::new(),
            peer: String::new(),
            mode: Mode::Once,
            timed: false,
            level: settings.level,
            expert: false,
            experimental: false,
            severity: settings.severity,
            timeout,
            ended: false,
            gives_listeners: false,
            master: None,
        }
    }

    /// The prompt, after an uptime.
    pub(super) fn prompt(&self, uptime: Duration) -> String {
        if self.mode != Mode::Prompt {
            return String::new();
        }
        let time = if self.timed {
            let seconds = uptime.as_secs();
            let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
            format!(
                "[{days}:{hours:02}:{:02}:{:02}]",
                seconds / 60 % 60,
                seconds % 60
            )
        } else {
            String::new()
        };
        match &self.master {
            None => format!("{time}> "),
            Some(master) => {
                let gap = if self.timed { " " } else { "" };
                format!("{time}{gap}{}> ", master.prompt(self))
            }
        }
    }
}
