//! Many WebSockets at once: open them, echo on each with sequence numbers, tell which are lost.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::process::raise_descriptor_limit;
use crate::websocket::{Target, WebSocket};

/// How many handshakes are under way at once: enough to be quick, few enough for any backlog.
const OPENING_MAX: usize = 64;

struct Member {
    number: usize,
    node: String,
    sequence: u64,
    socket: Result<WebSocket, String>,
}

/// A socket that no longer works.
#[derive(Debug, Clone)]
pub struct Lost {
    /// Which one, in order of opening.
    pub number: usize,
    /// Id of the node it was on; empty if it never opened.
    pub node: String,
    /// What happened.
    pub why: String,
}

/// Open WebSockets, each known to be on one node.
pub struct Swarm {
    members: Vec<Member>,
}

impl Swarm {
    /// Opens `count` WebSockets; panics unless all open and are greeted by a node.
    pub async fn open(target: &Target, count: usize) -> Self {
        raise_descriptor_limit();
        let mut opening = FuturesUnordered::new();
        let mut members = Vec::with_capacity(count);
        for number in 0..count {
            if opening.len() == OPENING_MAX {
                members.extend(opening.next().await);
            }
            opening.push(Member::open(target, number));
        }
        while let Some(member) = opening.next().await {
            members.push(member);
        }
        members.sort_by_key(|member| member.number);
        let swarm = Self { members };
        let lost = swarm.lost();
        assert!(
            lost.is_empty(),
            "{} of {count} did not open; the first: {:?}",
            lost.len(),
            lost[0]
        );
        swarm
    }

    /// How many were opened.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether none was opened.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// One echo on every socket that still works, all at once. Those that fail are lost from then on.
    pub async fn echo_all(&mut self) {
        let mut echoing: FuturesUnordered<_> = self.members.iter_mut().map(Member::echo).collect();
        while echoing.next().await.is_some() {}
    }

    /// The lost ones.
    pub fn lost(&self) -> Vec<Lost> {
        self.members.iter().filter_map(Member::lost).collect()
    }

    /// The lost ones that were not on `node`.
    pub fn lost_elsewhere(&self, node: &str) -> Vec<Lost> {
        let mut lost = self.lost();
        lost.retain(|lost| lost.node != node);
        lost
    }

    /// How many were opened on each node.
    pub fn by_node(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for member in &self.members {
            *counts.entry(member.node.clone()).or_default() += 1;
        }
        counts
    }

    /// How many opened on that node.
    pub fn on(&self, node: &str) -> usize {
        self.by_node().get(node).copied().unwrap_or_default()
    }

    /// Panics unless every socket still works.
    pub fn assert_whole(&self) {
        let lost = self.lost();
        assert!(
            lost.is_empty(),
            "{} of {} WebSockets lost; the first: {:?}",
            lost.len(),
            self.len(),
            lost[0]
        );
    }
}

impl Member {
    async fn open(target: &Target, number: usize) -> Self {
        let (socket, node) = match WebSocket::open_greeted(target).await {
            Ok((socket, node)) => (Ok(socket), node),
            Err(error) => (Err(format!("{error:#}")), String::new()),
        };
        Self {
            number,
            node,
            sequence: 0,
            socket,
        }
    }

    async fn echo(&mut self) {
        let Ok(socket) = &mut self.socket else { return };
        self.sequence += 1;
        let text = format!("{} {}", self.number, self.sequence);
        if let Err(error) = socket.echo(&text).await {
            self.socket = Err(format!("echo {}: {error:#}", self.sequence));
        }
    }

    fn lost(&self) -> Option<Lost> {
        let why = self.socket.as_ref().err()?;
        Some(Lost {
            number: self.number,
            node: self.node.clone(),
            why: why.clone(),
        })
    }
}
