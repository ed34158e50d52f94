//! Where the Runtime API answers: `stats socket`, and `-S` of the command line (management.txt 9.3, 9.4).

use std::time::Duration;

use super::Bind;

/// Sockets of the Runtime API, and its bounds.
#[derive(Debug, Clone)]
pub struct RuntimeApi {
    /// `stats socket` lines.
    pub sockets: Vec<StatsSocket>,
    /// `-S`: the master's socket.
    pub master: Option<StatsSocket>,
    /// `stats timeout`: how long a connection may be silent. Default 10 s.
    pub timeout: Duration,
    /// `stats maxconn`: connections at once. Default 10.
    pub maxconn: u32,
    /// `tune.cli.max-payload-size`, bytes. Default 128 KiB.
    pub payload_max: usize,
}

impl Default for RuntimeApi {
    fn default() -> Self {
        Self {
            sockets: Vec::new(),
            master: None,
            timeout: Duration::from_secs(10),
            maxconn: 10,
            payload_max: 128 << 10,
        }
    }
}

/// One socket of the Runtime API.
#[derive(Debug, Clone)]
pub struct StatsSocket {
    /// Where, and whom its file belongs to.
    pub bind: Bind,
    /// What it lets do.
    pub settings: StatsSocketSettings,
}

/// What a `stats socket` line says beyond a `bind` line.
#[derive(Debug, Clone, Copy, Default)]
pub struct StatsSocketSettings {
    /// `level`. Default `operator`.
    pub level: CliLevel,
    /// `severity-output`. Default `none`.
    pub severity: SeverityOutput,
    /// `expose-fd listeners`: listening sockets may be handed to whoever asks here.
    pub expose_listeners: bool,
}

/// What a connection to the Runtime API may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum CliLevel {
    /// Look at what gives nothing away.
    User,
    /// Look at everything.
    #[default]
    Operator,
    /// Change anything.
    Admin,
}

/// Whether answers begin with how grave they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SeverityOutput {
    /// They do not.
    #[default]
    None,
    /// As syslog's number.
    Number,
    /// As syslog's word.
    String,
}
