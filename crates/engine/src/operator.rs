//! The part of the [`Handle`] that operators ask by hand (Runtime API): one server, one frontend,
//! counters.

use std::time::Duration;

use crate::command::Refused;
use crate::counters::{Counters, Gauge, Rate};
use crate::handle::Handle;
use crate::server::ServerState;
use crate::snapshot::ServerStats;
use crate::stats;

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
