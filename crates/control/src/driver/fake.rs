//! A driver without anything behind it, for tests: what the loop would find is set by hand.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use engine::command::Admin;

use super::{Driver, DriverError, Observation};
use crate::plan::{Health, Observed, Seen, Step};

/// A backend made of values. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake {
    state: Rc<RefCell<State>>,
}

#[derive(Debug, Default)]
struct State {
    servers: Vec<Seen>,
    routed: bool,
    steps: Vec<String>,
    looks: usize,
    refuse: Option<String>,
    clinging: bool,
    hidden: Option<String>,
}

impl Fake {
    /// Backend with these servers, all written in the configuration.
    pub(crate) fn with(servers: Observed) -> Self {
        let fake = Self::default();
        fake.state.borrow_mut().servers = servers.servers;
        fake
    }

    /// What the checks of a server say from now on.
    pub(crate) fn set_health(&self, name: &str, health: Health) {
        self.edit(name, |seen| seen.health = health);
    }

    /// How many sessions a server has.
    pub(crate) fn set_sessions(&self, name: &str, sessions: u64) {
        self.edit(name, |seen| seen.sessions = sessions);
    }

    /// A session has been routed.
    pub(crate) fn set_routed(&self) {
        self.state.borrow_mut().routed = true;
    }

    /// Refuses every step from now on, or none.
    pub(crate) fn refuse(&self, why: Option<&str>) {
        self.state.borrow_mut().refuse = why.map(str::to_owned);
    }

    /// Cannot be looked at from now on, or can.
    pub(crate) fn hide(&self, why: Option<&str>) {
        self.state.borrow_mut().hidden = why.map(str::to_owned);
    }

    /// Sessions do not end when they are told to.
    pub(crate) fn cling(&self) {
        self.state.borrow_mut().clinging = true;
    }

    /// Steps carried out since the last call.
    pub(crate) fn steps(&self) -> Vec<String> {
        std::mem::take(&mut self.state.borrow_mut().steps)
    }

    /// How often it was looked at since the last call.
    pub(crate) fn looks(&self) -> usize {
        std::mem::take(&mut self.state.borrow_mut().looks)
    }

    /// Somebody else changes its state.
    pub(crate) fn set_admin(&self, name: &str, admin: Admin) {
        self.edit(name, |seen| seen.admin = admin);
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Seen)) {
        let mut state = self.state.borrow_mut();
        let mut servers = state.servers.iter_mut();
        change(servers.find(|seen| &*seen.name == name).expect(name));
    }
}

impl State {
    fn at(&self, name: &str) -> Result<usize, DriverError> {
        let at = self.servers.iter().position(|seen| &*seen.name == name);
        at.ok_or_else(|| DriverError::Refused(format!("no server is called {name}")))
    }

    fn apply(&mut self, step: &Step) -> Result<(), DriverError> {
        match step {
            Step::Add { server, node } => {
                if self.at(&server.name).is_ok() {
                    return Err(DriverError::Refused(format!("{} is taken", server.name)));
                }
                self.servers.push(Seen {
                    name: Arc::clone(&server.name),
                    node: Some(node.clone()),
                    admin: Admin::Ready,
                    drain_is_ours: false,
                    health: Health::Unknown,
                    sessions: 0,
                    stands_in: true,
                    joining_since: None,
                    draining_since: None,
                });
            }
            Step::Ready(name) => {
                let at = self.at(name)?;
                self.servers[at].admin = Admin::Ready;
            }
            Step::Drain(name) => {
                let at = self.at(name)?;
                self.servers[at].admin = Admin::Drain;
            }
            Step::Shutdown(name) => {
                let at = self.at(name)?;
                if !self.clinging {
                    self.servers[at].sessions = 0;
                }
            }
            Step::Remove(name) => {
                let at = self.at(name)?;
                match self.servers[at].sessions {
                    0 => drop(self.servers.remove(at)),
                    sessions => return Err(DriverError::Busy(sessions)),
                }
            }
        }
        Ok(())
    }
}

impl Driver for Fake {
    async fn observe(&mut self) -> Result<Observation, DriverError> {
        let mut state = self.state.borrow_mut();
        state.looks += 1;
        if let Some(why) = &state.hidden {
            return Err(DriverError::Unreachable(why.clone()));
        }
        let servers = state.servers.clone();
        let waits = |seen: &&Seen| seen.health == Health::Unknown;
        Ok(Observation {
            unchecked: servers.iter().filter(waits).count(),
            backend: Observed { servers },
            routed: state.routed,
            configured: None,
        })
    }

    async fn apply(&mut self, step: &Step) -> Result<(), DriverError> {
        let mut state = self.state.borrow_mut();
        if let Some(why) = &state.refuse {
            return Err(DriverError::Refused(why.clone()));
        }
        state.apply(step)?;
        state.steps.push(step.to_string());
        Ok(())
    }
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    super::contract::holds(&mut Fake::default()).await;
}
