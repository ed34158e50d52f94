//! The driver of the engine in this process.
//!
//! It remembers which servers it added and for which node: the engine knows servers only. Both live
//! and end together, so nothing of this has to be kept anywhere.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use engine::command::{Admin, Command, DrainOrder, Refused};
use engine::glance::{BackendGlance, ServerGlance};
use engine::{Changing, Handle};

use super::{Driver, DriverError, Observation};
use crate::discovery::Node;
use crate::plan::{Health, Observed, Seen, Step};

/// Changes one backend of an engine.
pub(crate) struct Embedded {
    handle: Handle,
    backend: Option<Arc<str>>,
    /// How servers of nodes that left are emptied.
    drain: DrainOrder,
    nodes: BTreeMap<Arc<str>, Node>,
    /// While steps are carried out.
    changing: Option<Changing>,
}

impl Embedded {
    /// A driver for that backend; `None`: it only looks whether servers are checked.
    pub(crate) fn new(handle: Handle, backend: Option<Arc<str>>, drain: DrainOrder) -> Self {
        Self {
            handle,
            backend,
            drain,
            nodes: BTreeMap::new(),
            changing: None,
        }
    }

    /// Whether the engine does so by itself, having been told over which period.
    fn closes_what_is_left(&self, backend: &str, server: &str) -> bool {
        let found = self.handle.server(backend, server);
        let drain = found.ok().and_then(|it| it.drain);
        drain.is_some_and(|drain| drain.under_way && drain.over.is_some())
    }

    fn command(&self, step: &Step, backend: Arc<str>) -> Command {
        let drain = |server: &Arc<str>, over| Command::Drain {
            backend: Arc::clone(&backend),
            server: Arc::clone(server),
            order: DrainOrder { over, ..self.drain },
        };
        let admin = |server: &Arc<str>, admin| Command::SetAdmin {
            backend: Arc::clone(&backend),
            server: Arc::clone(server),
            admin,
        };
        match step {
            Step::Add { server, .. } => Command::AddServer {
                backend,
                server: server.clone(),
            },
            Step::Ready(server) => admin(server, Admin::Ready),
            Step::Drain(server) => drain(server, self.drain.over),
            Step::Shutdown(server) => drain(server, Some(Duration::ZERO)),
            Step::Remove(server) => Command::RemoveServer {
                backend,
                server: Arc::clone(server),
            },
        }
    }
}

impl Driver for Embedded {
    async fn observe(&mut self) -> Result<Observation, DriverError> {
        let backends = self.handle.glance();
        observation(&backends, self.backend.as_ref(), &mut self.nodes)
    }

    async fn apply(&mut self, step: &Step) -> Result<(), DriverError> {
        let Some(backend) = &self.backend else {
            return Err(DriverError::Refused(
                "no backend is filled by nodes".to_owned(),
            ));
        };
        if self.changing.is_none() {
            self.changing = self.handle.changing(backend);
        }
        if let Step::Shutdown(server) = step
            && self.closes_what_is_left(backend, server)
        {
            return Ok(());
        }
        let command = self.command(step, Arc::clone(backend));
        self.handle
            .apply(command)
            .map_err(|refused| match refused {
                Refused::Busy(sessions) => DriverError::Busy(sessions),
                refused => DriverError::Refused(refused.to_string()),
            })?;
        if let Step::Add { server, node } = step {
            self.nodes.insert(Arc::clone(&server.name), node.clone());
        }
        Ok(())
    }

    async fn settle(&mut self) {
        self.changing = None;
    }

    fn aim(&mut self, backend: Option<Arc<str>>) {
        if self.backend != backend {
            self.changing = None;
            self.nodes.clear();
            self.backend = backend;
        }
    }
}

/// What of a glance matters here. Nodes whose server is gone are forgotten.
fn observation(
    backends: &[BackendGlance],
    backend: Option<&Arc<str>>,
    nodes: &mut BTreeMap<Arc<str>, Node>,
) -> Result<Observation, DriverError> {
    let all = || backends.iter().flat_map(|backend| &backend.servers);
    let mut servers = Vec::new();
    if let Some(name) = backend {
        let found = backends.iter().find(|glance| glance.name == *name);
        let found = found.ok_or_else(|| DriverError::NoBackend(Arc::clone(name)))?;
        servers.extend(found.servers.iter().map(|server| seen(server, nodes)));
    }
    let here: HashSet<&str> = servers.iter().map(|seen: &Seen| &*seen.name).collect();
    nodes.retain(|name, _| here.contains(&**name));
    Ok(Observation {
        backend: Observed { servers },
        unchecked: all().filter(|server| awaits_check(server)).count(),
        routed: all().any(|server| server.sessions_total > 0),
        configured: None,
    })
}

fn seen(server: &ServerGlance, nodes: &BTreeMap<Arc<str>, Node>) -> Seen {
    let health = match server {
        server if server.usable => Health::Up,
        server if awaits_check(server) => Health::Unknown,
        _ => Health::Down,
    };
    Seen {
        name: Arc::clone(&server.name),
        // A server of that name in the configuration is never ours, whatever we remember.
        node: nodes.get(&server.name).filter(|_| server.dynamic).cloned(),
        admin: server.admin,
        drain_is_ours: false,
        health,
        sessions: server.sessions,
        // What `default-server` makes of a node is the same for the nodes it stands in for.
        stands_in: server.weight > 0 && server.checked && (server.dynamic || !server.backup),
        joining_since: None,
        draining_since: None,
    }
}

/// Whether a check has yet to say its first word. HAProxy calls that state of a check `INI`.
fn awaits_check(server: &ServerGlance) -> bool {
    let no_result = server.check_status.is_empty() || server.check_status == "INI";
    server.checked && no_result && server.admin != Admin::Maint
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Surroundings;
    use config::source::Source;
    use engine::{Engine, Prepared, Presence};

    struct Nothing;

    impl Surroundings for Nothing {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }

        fn read(&self, path: &str) -> Result<String, String> {
            Err(format!("{path} is not to be read"))
        }
    }

    /// A real engine with one empty backend, listening where no other test does.
    fn engine() -> Engine {
        let text = format!(
            "defaults\n  mode http\n  timeout client 1s\n  timeout connect 1s\n  timeout server 1s\n\
             frontend f\n  bind abns@tidegate-contract-{}\n  default_backend b\n\
             backend b\n",
            std::process::id()
        );
        let outcome = config::load(&[Source::new("test", text)], &Nothing);
        let config = outcome
            .config
            .unwrap_or_else(|| panic!("{:?}", outcome.diagnostics));
        let presence = Presence {
            tag: "test".into(),
            to_stderr: false,
            resolver: engine::Resolver::start().expect("a thread"),
            descriptors: 1000,
            inheritance: engine::Inheritance::default(),
        };
        let prepared = Prepared::new(Arc::new(config)).expect("no files");
        let bound = prepared.bind(presence).expect("a free name");
        bound.run().expect("threads")
    }

    #[tokio::test]
    async fn the_embedded_engine_keeps_the_contract() {
        let engine = engine();
        let handle = engine.handle();
        let drain = DrainOrder::of(&config::model::Runtime::default());
        let mut driver = Embedded::new(handle.clone(), Some("b".into()), drain);
        crate::driver::contract::holds(&mut driver).await;
        handle
            .apply(Command::HardStop)
            .expect("it can always be stopped");
        engine.wait_stopped().expect("an orderly end");
    }
}
