//! What an operator has changed of where a server is checked and its agent asked (`set server`;
//! management.txt 9.3), until the process ends. Hardly any server has any of it.

use std::net::IpAddr;
use std::sync::Arc;

/// `None`: as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckOverrides {
    /// `check-addr`.
    pub check_addr: Option<IpAddr>,
    /// `check-port`.
    pub check_port: Option<u16>,
    /// `agent-addr`.
    pub agent_addr: Option<IpAddr>,
    /// `agent-port`.
    pub agent_port: Option<u16>,
    /// `disable agent`: it is not asked.
    pub agent_off: Option<bool>,
    /// `agent-send`.
    pub agent_send: Option<Arc<str>>,
}

impl CheckOverrides {
    /// The same with what the other one changes.
    #[must_use]
    pub(crate) fn and(&self, news: &Self) -> Self {
        Self {
            check_addr: news.check_addr.or(self.check_addr),
            check_port: news.check_port.or(self.check_port),
            agent_addr: news.agent_addr.or(self.agent_addr),
            agent_port: news.agent_port.or(self.agent_port),
            agent_off: news.agent_off.or(self.agent_off),
            agent_send: news.agent_send.clone().or(self.agent_send.clone()),
        }
    }
}
