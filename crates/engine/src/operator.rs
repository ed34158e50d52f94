//! The part of the [`Handle`] that operators ask by hand (Runtime API): one server, one frontend,
//! counters.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::model::{ServerAddress, SetVar};
use routing::sample::Value;

use crate::command::Refused;
use crate::counters::{Counters, Gauge, Rate};
use crate::handle::Handle;
use crate::server::ServerState;
use crate::snapshot::ServerStats;
use crate::stats;
use crate::worker::Message;

impl Handle {
    /// Time since start.
    pub fn uptime(&self) -> Duration {
        self.shared().clock.since_start()
    }

    /// One server, as a [`Snapshot`](crate::snapshot::Snapshot) has it.
    pub fn server(&self, backend: &str, server: &str) -> Result<ServerStats, Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        let ramps = backend.conf().balancing.is_dynamic();
        let site = self.shared().site.load();
        Ok(stats::server(&server, &site, ramps, self.uptime()))
    }

    /// Has a frontend take no more connections, which wait in the kernel, or go on. `None`: there is no
    /// such frontend; `false`: so it was already.
    pub fn pause_frontend(&self, name: &str, wanted: bool) -> Option<bool> {
        Some(self.frontend(name)?.pause(wanted))
    }

    /// Limits the sessions of a server; 0: no limit.
    pub fn set_server_maxconn(
        &self,
        backend: &str,
        server: &str,
        limit: u32,
    ) -> Result<(), Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        server.set_maxconn(limit);
        backend.refresh(&server);
        Ok(())
    }

    /// Whether other servers have the state of this one (`track`).
    pub fn is_followed(&self, backend: &str, server: &str) -> Result<bool, Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        let site = self.shared().site.load();
        let follows = |it: &Arc<ServerState>| {
            it.conf.track.as_ref().is_some_and(|tracked| {
                tracked.backend.0 == backend.index() && tracked.server == server.conf.name
            })
        };
        Ok(site
            .backends
            .iter()
            .any(|it| it.servers().iter().any(follows)))
    }

    /// Moves a server to another address, until the process ends. Sessions go on where they are.
    pub fn move_server(
        &self,
        backend: &str,
        server: &str,
        address: ServerAddress,
    ) -> Result<(), Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        server.move_to(address);
        backend.refresh(&server);
        self.shared().tell_workers(&Message::DropIdle {
            backend: backend.key,
            servers: Arc::new([server.key]),
        });
        Ok(())
    }

    /// A variable of the process, by its whole name: its type and its value in HAProxy's words.
    pub fn process_variable(&self, name: &str) -> Option<String> {
        let name = name.strip_prefix("proc.")?;
        let value = self.shared().variables.get(name).value()?;
        let text = String::from_utf8_lossy(&value.to_text()).into_owned();
        let kind = match value {
            Value::Bool(_) => "bool",
            Value::Int(_) => "sint",
            Value::Addr(IpAddr::V4(_)) => "ipv4",
            Value::Addr(IpAddr::V6(_)) => "ipv6",
            Value::Str(_) => "str",
            Value::Bin(_) => "bin",
            Value::Method(_) => "meth",
        };
        Some(format!("type={kind} value=<{text}>"))
    }

    /// Gives a variable of the process the value of an expression, in which nothing is known but the
    /// process itself.
    pub fn set_process_variable(&self, set: &SetVar) {
        let shared = self.shared();
        let site = shared.site.load();
        let limits = &site.config.global.tune.vars;
        crate::variables::set_of_process(&shared.variables, std::slice::from_ref(set), limits);
    }

    /// Forgets the highest values that were seen; with `all`, counts as well.
    pub fn clear_counters(&self, all: bool) {
        let shared = self.shared();
        let site = shared.site.load();
        clear(&shared.counters, all);
        clear_gauges(&[&shared.connections], &[&shared.connection_rate]);
        for it in &site.frontends {
            clear(&it.counters, all);
            clear_gauges(
                &[&it.sessions, &it.tunnels],
                &[&it.connection_rate, &it.session_rate, &it.request_rate],
            );
            for it in &it.listeners {
                clear(&it.counters, all);
                clear_gauges(&[&it.sessions], &[]);
            }
        }
        for it in &site.backends {
            clear(&it.counters, all);
            clear_gauges(
                &[&it.sessions, &it.tunnels, &it.queued],
                &[&it.session_rate],
            );
            for server in it.servers() {
                clear_server(&server, all);
            }
        }
    }

    /// The same for one server, counts included.
    pub fn clear_server_counters(&self, backend: &str, server: &str) -> Result<(), Refused> {
        let server = self.backend(backend)?.server(server)?;
        clear_server(&server, true);
        Ok(())
    }
}

fn clear_server(server: &ServerState, all: bool) {
    clear(&server.counters, all);
    clear_gauges(
        &[&server.sessions, &server.tunnels, &server.queued],
        &[&server.session_rate],
    );
}

fn clear(counters: &Counters, all: bool) {
    counters.forget_longest();
    if all {
        counters.forget();
    }
}

fn clear_gauges(gauges: &[&Gauge], rates: &[&Rate]) {
    for gauge in gauges {
        gauge.forget_max();
    }
    for rate in rates {
        rate.forget_max();
    }
}
