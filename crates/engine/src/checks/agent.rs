//! `agent-check`: what runs beside a server says how much it can bear (manual 5.2).
//!
//! Asked on a connection of its own, of which one line comes. An agent that cannot be reached changes
//! nothing: whether the server can be is what checks are for.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use config::model::{Agent, AgentAddress, Outgoing};
use routing::health::{Admin, AgentWord, CheckCode, CheckResult};

use super::sequence::{Finding, buffers, connect_failure, explain};
use super::spread;
use crate::buffer::Buffer;
use crate::io;
use crate::manager;
use crate::server::{ServerState, Target};
use crate::shared::Shared;
use crate::site::BackendState;
use crate::stream::Stream;
use crate::timing::within;
use crate::upstream::connect::{self, Dial};

/// Asks a server's agent until the server leaves its backend.
pub(crate) async fn run(
    shared: &Shared,
    backend: &Arc<BackendState>,
    server: &Arc<ServerState>,
    agent: &Agent,
) {
    super::begin(
        shared,
        &server.agent_due,
        super::FIRST_WITHIN.min(agent.inter),
    )
    .await;
    while !server.removed.load(Relaxed) && !shared.stopping.load(Relaxed) {
        let started = Instant::now();
        let asked = server.check_overrides().agent_off != Some(true);
        if asked && server.is_resolved() {
            let (said, result, open) = Box::pin(ask(shared, backend, server, agent)).await;
            if !server.removed.load(Relaxed) {
                take(shared, backend, server, &said, result);
            }
            // An agent that sees its connection closed may count on it that it was heard.
            drop(open);
        }
        let pause = spread(agent.inter, shared.site.load().config.global.spread_checks);
        super::note_due(shared, &server.agent_due, started + pause);
        tokio::time::sleep_until((started + pause).into()).await;
    }
}

/// Does what the agent said, in HAProxy's order: the operator's wishes, the load, the state.
fn take(
    shared: &Shared,
    backend: &Arc<BackendState>,
    server: &Arc<ServerState>,
    said: &Said,
    result: CheckResult,
) {
    if let Some(admin) = said.admin {
        manager::set_admin(shared, backend, server, admin);
    }
    if let Some(weight) = said.weight {
        let initial = u64::from(server.conf.weight.value());
        let weight = match weight {
            Weight::Absolute(weight) => u64::from(weight),
            Weight::Percent(percent) => initial * u64::from(percent) / 100,
        };
        manager::set_weight(shared, backend, server, weight.min(256));
    }
    if let Some(maxconn) = said.maxconn {
        server.set_maxconn(maxconn);
        backend.refresh(server);
    }
    manager::settle_agent(shared, backend, server, said.word, result);
}

async fn ask(
    shared: &Shared,
    backend: &BackendState,
    server: &ServerState,
    agent: &Agent,
) -> (Said, CheckResult, Option<Stream>) {
    let started = Instant::now();
    let limit = backend.conf().proxy.timeouts.check.unwrap_or(agent.inter);
    let asking = talk(shared, backend, server, agent, limit);
    let (line, open) = match within(Some(limit), asking).await {
        Ok(Ok((line, stream))) => (Ok(line), Some(stream)),
        Ok(Err(finding)) => (Err(finding), None),
        Err(_) => (Err(Finding::new(CheckCode::Layer7Timeout, "")), None),
    };
    let said = line.as_deref().map(read).unwrap_or_default();
    let (code, info) = match (line, said.word) {
        (Err(finding), _) => (finding.code.unwrap_or(CheckCode::SocketError), finding.info),
        (Ok(_), AgentWord::Up) => (CheckCode::Layer7Ok, said.words()),
        (Ok(_), AgentWord::Down) => (CheckCode::Layer7Status, said.words()),
        (Ok(_), AgentWord::Nothing) => (CheckCode::Initializing, String::new()),
    };
    let shows = matches!(code, CheckCode::Layer7Ok | CheckCode::Layer7Status);
    let result = CheckResult {
        code,
        status: shows.then_some(0),
        info,
        duration: started.elapsed(),
    };
    (said, result, open)
}

/// Its line, without the end of it, and the connection it came on.
async fn talk(
    shared: &Shared,
    backend: &BackendState,
    server: &ServerState,
    agent: &Agent,
    limit: Duration,
) -> Result<(Vec<u8>, Stream), Finding> {
    let nowhere = || Finding::new(CheckCode::SocketError, "no address yet");
    let changed = server.check_overrides();
    let port = changed.agent_port.unwrap_or(agent.port);
    let addr = match changed.agent_addr {
        Some(ip) => Some(AgentAddress::Ip(ip)),
        None => agent.addr.clone(),
    };
    let ip = match &addr {
        Some(AgentAddress::Ip(ip)) => *ip,
        Some(AgentAddress::Name(name)) => {
            let found = shared.resolver.look_up(name, port).await;
            let found = found.map_err(|why| Finding::new(CheckCode::SocketError, why))?;
            found.first().ok_or_else(nowhere)?.ip()
        }
        None => match server.target(None).ok_or_else(nowhere)? {
            Target::Inet(address) => address.ip(),
            _ => return Err(nowhere()),
        },
    };
    let limit = limit.min(backend.conf().proxy.timeouts.connect.unwrap_or(limit));
    let dial = Dial {
        target: &Target::Inet(SocketAddr::new(ip, port)),
        // Neither ports that are counted out nor headers are for agents.
        socks4: None,
        outgoing: &Outgoing::default(),
        next_port: &server.next_port,
        speak_first: false,
        header: None,
        tls: None,
        sni: None,
    };
    let mut stream = connect::connect(&dial, Some(limit))
        .await
        .map_err(|error| connect_failure(&error))?;
    let broken = |error: std::io::Error| Finding::new(CheckCode::SocketError, explain(&error));
    let shared_stream = RefCell::new(&mut stream);
    if let Some(text) = changed.agent_send.as_ref().or(agent.send.as_ref()) {
        io::write_all(&shared_stream, text.as_bytes())
            .await
            .map_err(broken)?;
    }
    let pool = buffers();
    let mut buffer = Buffer::default();
    loop {
        let bytes = buffer.bytes();
        if let Some(end) = bytes
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n' | 0))
        {
            return Ok((bytes[..end].to_vec(), stream));
        }
        let full = buffer.is_full(&pool);
        if full
            || io::fill(&shared_stream, &mut buffer, &pool)
                .await
                .map_err(broken)?
                == 0
        {
            let words = match buffer.is_empty() {
                true => "TCPCHK got an empty response at step 2",
                false => "Ignoring incomplete line from agent",
            };
            return Err(Finding::new(CheckCode::Layer7Response, words));
        }
    }
}

/// What an agent said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    word: AgentWord,
    /// The word itself, and what follows a sharp.
    text: String,
    why: String,
    admin: Option<Admin>,
    weight: Option<Weight>,
    maxconn: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Absolute(u16),
    Percent(u16),
}

impl Default for Said {
    fn default() -> Self {
        Self {
            word: AgentWord::Nothing,
            text: String::new(),
            why: String::new(),
            admin: None,
            weight: None,
            maxconn: None,
        }
    }
}

impl Said {
    fn words(&self) -> String {
        match self.why.is_empty() {
            true => format!("via agent : {}", self.text),
            false => format!("via agent : {} ({})", self.text, self.why),
        }
    }
}

/// Reads a line of words between spaces, tabs and commas. What is none of them explains the state.
fn read(line: &[u8]) -> Said {
    let line = String::from_utf8_lossy(line);
    let mut said = Said::default();
    let (words, why) = line.split_once('#').unwrap_or((&line, ""));
    let mut unknown = Vec::new();
    for word in words
        .split([' ', '\t', ','])
        .filter(|word| !word.is_empty())
    {
        match word {
            "up" => said.state(AgentWord::Up, word),
            "down" | "fail" | "stopped" => said.state(AgentWord::Down, word),
            "ready" => said.admin = Some(Admin::Ready),
            "drain" => said.admin = Some(Admin::Drain),
            "maint" => said.admin = Some(Admin::Maint),
            word => match (word.strip_prefix("maxconn:"), weight(word)) {
                (Some(number), _) => said.maxconn = number.parse().ok().or(said.maxconn),
                (None, Some(weight)) => said.weight = Some(weight),
                (None, None) => unknown.push(word),
            },
        }
    }
    said.why = match why.trim() {
        "" => unknown.join(" "),
        why => why.to_owned(),
    };
    said
}

impl Said {
    fn state(&mut self, word: AgentWord, text: &str) {
        self.word = word;
        self.text = text.to_owned();
    }
}

/// `75%`, `weight:75%`, `weight:75`.
fn weight(word: &str) -> Option<Weight> {
    let named = word.strip_prefix("weight:");
    let text = named.unwrap_or(word);
    match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().map(Weight::Percent),
        None if named.is_some() => text
            .parse()
            .ok()
            .filter(|it| *it <= 256)
            .map(Weight::Absolute),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let said = read(line.as_bytes());
        let mut shown = String::new();
        if said.word != AgentWord::Nothing {
            shown += &said.words();
        }
        if let Some(admin) = said.admin {
            shown += &format!(" {admin:?}");
        }
        if let Some(weight) = said.weight {
            shown += &format!(" {weight:?}");
        }
        if let Some(maxconn) = said.maxconn {
            shown += &format!(" maxconn {maxconn}");
        }
        assert_eq!(shown.trim(), expected, "{line}");
    }

    #[test]
    fn words_are_read_in_any_order() {
        check("up", "via agent : up");
        check("75%", "Percent(75)");
        check(
            "weight:50%,maxconn:30\tready up",
            "via agent : up Ready Percent(50) maxconn 30",
        );
        check("weight:256", "Absolute(256)");
        check("weight:257", "");
        check("0% drain", "Drain Percent(0)");
        check("down #too  hot", "via agent : down (too  hot)");
        check("stopped#asleep", "via agent : stopped (asleep)");
        check("fail disk", "via agent : fail (disk)");
        check("up,down", "via agent : down");
        check("maxconn:many -5% 99999999% hello", "");
    }
}
