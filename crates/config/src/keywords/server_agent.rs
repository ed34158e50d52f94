//! `agent-check` and its parameters (manual 5.2).

use super::Scope;
use crate::address::{self, Address, Host, Port, Transport};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::ServerDraft;
use crate::model::{Agent, AgentAddress, Check};

pub(crate) fn addr(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("an IP address or a host name")?;
    let parsed = address::parse(&word.text, word, "agent-addr", Transport::Stream)?;
    draft.agent.addr = match parsed {
        Address::Inet {
            host: Host::Ip(ip),
            port: Port::None,
        } => Some(AgentAddress::Ip(ip)),
        Address::Inet {
            host: Host::Name(name),
            port: Port::None,
        } => Some(AgentAddress::Name(name)),
        _ => {
            return Err(
                Diagnostic::alert(word.span, format!("invalid address '{}'", word.text))
                    .label("expected an IP address or a host name; its port is 'agent-port'"),
            );
        }
    };
    Ok(())
}

/// The agent of a server, where it has one.
pub(crate) fn settle(draft: &ServerDraft) -> Result<Option<Agent>, Diagnostic> {
    if !draft.agent.on {
        return Ok(None);
    }
    let Some(port) = draft.agent.port else {
        let message = format!(
            "server '{}' does not have agent port. Agent check has been disabled.",
            draft.server.name
        );
        return Err(Diagnostic::alert(draft.server.span, message).help("add 'agent-port N'"));
    };
    Ok(Some(Agent {
        port,
        addr: draft.agent.addr.clone(),
        inter: draft.agent.inter.unwrap_or(Check::default().inter),
        send: draft.agent.send.clone(),
    }))
}
