//! How a session ended: one value that the log, the statistics and the retry decision all read.

/// Who ended it: the first letter of HAProxy's termination state (`configuration.txt` 8.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client closed or sent something wrong: `C`.
    Client,
    /// The client's timeout struck: `c`.
    ClientTimeout,
    /// The server closed, refused or sent something wrong: `S`.
    Server,
    /// The server's timeout struck: `s`.
    ServerTimeout,
    /// We did, by a rule or a limit: `P`.
    Proxy,
    /// We served the answer ourselves (stats, metrics, redirect): `L`.
    Local,
    /// Nothing could be done with it: `I`.
    Internal,
    /// An operator or a discovery step ended it: `K`.
    Killed,
    /// Its server went DOWN (`on-marked-down shutdown-sessions`): `D`.
    Down,
    /// A server that its backup stood in for is UP again: `U`.
    Up,
    /// Nobody: it ran to its end: `-`.
    None,
}

/// What was under way: the second letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for a request: `R`.
    Request,
    /// Waiting in a queue: `Q`.
    Queue,
    /// The request was held back, to cost its sender time: `T`.
    Tarpit,
    /// Connecting to the server: `C`.
    Connect,
    /// Waiting for the response head: `H`.
    Headers,
    /// Data was flowing: `D`.
    Data,
    /// Nothing: `-`.
    None,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Who ended it.
    pub(crate) side: Side,
    /// What was under way.
    pub(crate) stage: Stage,
}

impl End {
    /// It ran to its end.
    pub(crate) const NORMAL: Self = Self {
        side: Side::None,
        stage: Stage::None,
    };

    /// Ended by `side` during `stage`.
    pub(crate) const fn by(side: Side, stage: Stage) -> Self {
        Self { side, stage }
    }

    /// The two letters of the log's termination state.
    pub(crate) fn letters(self) -> [u8; 2] {
        let side = match self.side {
            Side::Client => b'C',
            Side::ClientTimeout => b'c',
            Side::Server => b'S',
            Side::ServerTimeout => b's',
            Side::Proxy => b'P',
            Side::Local => b'L',
            Side::Internal => b'I',
            Side::Killed => b'K',
            Side::Down => b'D',
            Side::Up => b'U',
            Side::None => b'-',
        };
        let stage = match self.stage {
            Stage::Request => b'R',
            Stage::Queue => b'Q',
            Stage::Connect => b'C',
            Stage::Headers => b'H',
            Stage::Data => b'D',
            Stage::Tarpit => b'T',
            Stage::None => b'-',
        };
        [side, stage]
    }
}
