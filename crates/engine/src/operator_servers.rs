//! The part of the [`Handle`] that changes what a server is by hand: its name, the name of its address, TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::command::Refused;
use crate::handle::Handle;
use crate::manager::Order;
use crate::server::{ServerState, Target};
use crate::site::BackendState;
use crate::worker::Message;

impl Handle {
    /// Whether other parts of the configuration name this server (`use-server`, `track`, an expression): it can
    /// neither go nor be called otherwise.
    pub fn is_referenced(&self, backend: &str, server: &str) -> Result<bool, Refused> {
        let state = self.backend(backend)?;
        let name = state.server(server)?.conf.name.clone();
        Ok(state.conf().named_servers.contains(&name) || self.is_followed(backend, server)?)
    }

    /// Has traffic to a server go over TLS, or not; `false`: nothing is known of TLS to it.
    pub fn set_server_tls(
        &self,
        backend: &str,
        server: &str,
        wanted: bool,
    ) -> Result<bool, Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        if !server.set_tls(wanted) {
            return Ok(false);
        }
        self.drop_idle_of(&backend, &server);
        Ok(true)
    }

    /// Has the address of a server be that of a name from now on, as its `resolvers` have it; until they say
    /// something it stays where it is. The name before; `Err(Invalid)`: it has no `resolvers`.
    pub fn set_server_fqdn(
        &self,
        backend: &str,
        server: &str,
        name: &str,
    ) -> Result<Option<Arc<str>>, Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        if server.conf.lookup.resolvers.is_none() {
            let why = "set server <b>/<s> fqdn failed because no resolution is configured.";
            return Err(Refused::Invalid(why.to_owned()));
        }
        let before = server.name_to_resolve().map(|(name, _)| name);
        if before.as_deref() == Some(name) {
            return Ok(before);
        }
        let current: Option<SocketAddr> = match server.target(None) {
            Some(Target::Inet(address)) => Some(address),
            _ => None,
        };
        server.set_name_to_resolve(name.into(), current);
        backend.set_address(&server, current);
        Ok(before)
    }

    /// Calls a server otherwise; all it has goes on.
    pub fn rename_server(&self, backend: &str, server: &str, name: &str) -> Result<(), Refused> {
        let backend = self.backend(backend)?;
        let old = backend.server(server)?;
        if *old.conf.name == *name {
            return Ok(());
        }
        let new = Arc::new(old.renamed(name));
        let mut pool = backend.pool();
        if pool.server(name).is_some() {
            return Err(Refused::NameTaken(backend.name().clone(), name.into()));
        }
        pool.rename(&old, &new);
        drop(pool);
        // Whoever looks after it calls it by its name.
        self.mind(Order::Mind(backend, new));
        Ok(())
    }

    fn drop_idle_of(&self, backend: &BackendState, server: &ServerState) {
        self.shared().tell_workers(&Message::DropIdle {
            backend: backend.key,
            servers: Arc::new([server.key]),
        });
    }
}
