//! How a check ended: HAProxy's short codes and their descriptions (management.txt 9.1, field
//! `check_status`), in one table.

use std::time::Duration;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckCode {
    /// No check has ended yet.
    Initializing,
    /// No check: live traffic showed it (`observe`).
    Observed,
    /// No socket, or it broke in a way no layer explains.
    SocketError,
    /// The connection was accepted, and that was all that was asked.
    Layer4Ok,
    /// The connection was not accepted in time.
    Layer4Timeout,
    /// The connection was refused, or there was no way to it.
    Layer4Connection,
    /// The TLS handshake ended well, and that was all that was asked.
    Layer6Ok,
    /// The TLS handshake did not end in time.
    Layer6Timeout,
    /// The TLS handshake failed.
    Layer6Response,
    /// The answer is as expected.
    Layer7Ok,
    /// The answer is right on a condition (`http-check disable-on-404`).
    Layer7OkConditional,
    /// The answer did not come in time.
    Layer7Timeout,
    /// The answer is not the protocol, or its content is not what was expected.
    Layer7Response,
    /// The answer has the wrong status.
    Layer7Status,
    /// A program could not be run, or did not find the server well.
    ProcessError,
    /// A program did not end in time.
    ProcessTimeout,
    /// A program found the server well.
    ProcessOk,
}

/// What the end of a check means for the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Unknown,
    /// A success.
    Passed,
    /// A success, but the server wants no new sessions.
    Conditional,
    /// A failure.
    Failed,
}

/// One line a code, in HAProxy's order.
const CODES: [(CheckCode, &str, &str, Verdict); 17] = {
    use CheckCode as C;
    use Verdict as V;
    [
        (C::Initializing, "INI", "Initializing", V::Unknown),
        (C::Observed, "HANA", "Health analyze", V::Failed),
        (C::SocketError, "SOCKERR", "Socket error", V::Failed),
        (C::Layer4Ok, "L4OK", "Layer4 check passed", V::Passed),
        (C::Layer4Timeout, "L4TOUT", "Layer4 timeout", V::Failed),
        (
            C::Layer4Connection,
            "L4CON",
            "Layer4 connection problem",
            V::Failed,
        ),
        (C::Layer6Ok, "L6OK", "Layer6 check passed", V::Passed),
        (C::Layer6Timeout, "L6TOUT", "Layer6 timeout", V::Failed),
        (
            C::Layer6Response,
            "L6RSP",
            "Layer6 invalid response",
            V::Failed,
        ),
        (C::Layer7Ok, "L7OK", "Layer7 check passed", V::Passed),
        (
            C::Layer7OkConditional,
            "L7OKC",
            "Layer7 check conditionally passed",
            V::Conditional,
        ),
        (C::Layer7Timeout, "L7TOUT", "Layer7 timeout", V::Failed),
        (
            C::Layer7Response,
            "L7RSP",
            "Layer7 invalid response",
            V::Failed,
        ),
        (C::Layer7Status, "L7STS", "Layer7 wrong status", V::Failed),
        (
            C::ProcessError,
            "PROCERR",
            "External check error",
            V::Failed,
        ),
        (
            C::ProcessTimeout,
            "PROCTOUT",
            "External check timeout",
            V::Failed,
        ),
        (C::ProcessOk, "PROCOK", "External check passed", V::Passed),
    ]
};

impl CheckCode {
    /// All codes.
    pub fn all() -> impl Iterator<Item = Self> {
        CODES.iter().map(|(code, ..)| *code)
    }

    /// HAProxy's short code: `L7OK`.
    pub fn short(self) -> &'static str {
        self.line().1
    }

    /// HAProxy's description: `Layer7 check passed`.
    pub fn description(self) -> &'static str {
        self.line().2
    }

    /// HAProxy's number, as `show servers state` has it.
    pub fn number(self) -> u8 {
        match self {
            Self::Initializing => 1,
            Self::Observed => 3,
            Self::SocketError => 5,
            Self::Layer4Ok => 6,
            Self::Layer4Timeout => 7,
            Self::Layer4Connection => 8,
            Self::Layer6Ok => 9,
            Self::Layer6Timeout => 10,
            Self::Layer6Response => 11,
            Self::Layer7Timeout => 12,
            Self::Layer7Response => 13,
            Self::Layer7Ok => 15,
            Self::Layer7OkConditional => 16,
            Self::Layer7Status => 17,
            Self::ProcessError => 18,
            Self::ProcessTimeout => 19,
            Self::ProcessOk => 20,
        }
    }

    /// The description of a short code; empty for an unknown one.
    pub fn describe(short: &str) -> &'static str {
        let line = CODES.iter().find(|line| line.1 == short);
        line.map_or("", |line| line.2)
    }

    /// What it means for the counter.
    pub fn verdict(self) -> Verdict {
        self.line().3
    }

    /// The table stands in the order of the variants; a test says so.
    fn line(self) -> &'static (Self, &'static str, &'static str, Verdict) {
        &CODES[self as usize]
    }
}

/// The end of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// How it ended.
    pub code: CheckCode,
    /// The status of an HTTP answer, if one came.
    pub status: Option<u16>,
    /// What else there is to say (`Connection refused`); may be empty. May hold a node's own words:
    /// control characters are made harmless where it is written out.
    pub info: String,
    /// How long it took.
    pub duration: Duration,
}
