//! What live traffic says of a server, and what follows when it goes up or down (manual 5.2).

/// `observe`, `error-limit` and `on-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observe {
    /// What is looked at; `None`: nothing.
    pub layer: Option<ObservedLayer>,
    /// `error-limit`: so many errors in a row are one too many. Default 10.
    pub error_limit: u32,
    /// `on-error`: what happens then.
    pub on_error: OnError,
}

impl Default for Observe {
    fn default() -> Self {
        Self {
            layer: None,
            error_limit: 10,
            on_error: OnError::default(),
        }
    }
}

/// `observe layer4|layer7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObservedLayer {
    /// Whether connections are accepted.
    Layer4,
    /// Also what is answered.
    Layer7,
}

/// `on-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// `fastinter`: the next check comes soon.
    FastInter,
    /// `fail-check`: it counts as a failed check.
    #[default]
    FailCheck,
    /// `sudden-death`: as many failed checks that one more takes the server down.
    SuddenDeath,
    /// `mark-down`: the server is down.
    MarkDown,
}

/// `on-marked-down` and `on-marked-up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnMarked {
    /// `on-marked-down shutdown-sessions`: its own sessions end when it goes down.
    pub down_shuts_sessions: bool,
    /// `on-marked-up shutdown-backup-sessions`: those of all backups end when it goes up.
    pub up_shuts_backups: bool,
}
