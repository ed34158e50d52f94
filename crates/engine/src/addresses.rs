//! Where servers given by name are: their first address (`init-addr`), and those that come after it, by
//! the system's resolver or by the nameservers of a `resolvers` section (manual 5.3).
//!
//! An address in use stays in use as long as the name has it. What the system says is believed only when
//! it says something; what nameservers say may take the address away (`hold`).

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use config::model::{InitAddress, Lookup, Resolvers};
use routing::health::words::{self, Standing};
use tokio::sync::watch;

use crate::dns::Service;
use crate::dns::names::{Names, News, Resolution, Taker};
use crate::log::Level;
use crate::manager::{level, note_capacity, set_weight, who};
use crate::server::{ServerState, Target};
use crate::shared::Shared;
use crate::site::BackendState;
use crate::worker::Message;

/// Pause after a name did not resolve, at first and at most: it doubles in between.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often a name that resolved is looked at again, and how often while its server is down.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_DOWN: Duration = Duration::from_secs(5);

/// Keeps the address of a server until it leaves its backend.
pub(crate) async fn keep(
    shared: &Shared,
    names: &Names,
    backend: &Arc<BackendState>,
    server: &ServerState,
) {
    let section = &server.conf.lookup.resolvers;
    while !server.removed.load(Relaxed) {
        let renamed = server.renamed.notified();
        let Some((name, port)) = server.name_to_resolve() else {
            // Nobody gives it a name without them.
            if section.is_none() {
                return;
            }
            renamed.await;
            continue;
        };
        let place = Place {
            shared,
            backend,
            server,
            name: &name,
            port,
        };
        // Boxed: hardly any server has one.
        let keeping = Box::pin(async {
            match section {
                Some(section) => place.follow(names, section).await,
                None => place.keep_by_system().await,
            }
        });
        tokio::select! {
            () = keeping => return,
            () = renamed => {}
        }
    }
}

/// The address of one server.
struct Place<'a> {
    shared: &'a Shared,
    backend: &'a Arc<BackendState>,
    server: &'a ServerState,
    name: &'a Arc<str>,
    port: u16,
}

impl Place<'_> {
    fn is_over(&self) -> bool {
        self.server.removed.load(Relaxed)
    }

    /// `init-addr`, behind `last`, which the state file has done. `false`: the system has to be asked.
    fn begin(&self) -> bool {
        for method in &self.server.conf.lookup.init {
            match method {
                InitAddress::Last if self.server.is_resolved() => return true,
                InitAddress::Last => {}
                InitAddress::System => return false,
                InitAddress::None => return true,
                InitAddress::Ip(ip) => {
                    self.take(SocketAddr::new(*ip, self.port), "init-addr");
                    return true;
                }
            }
        }
        // `last,libc` where nothing is said.
        !self.server.conf.lookup.init.is_empty() || self.server.is_resolved()
    }

    /// The address behind `libc` in `init-addr`, where the system knows none.
    fn without_system(&self) {
        let init = &self.server.conf.lookup.init;
        let behind = init.iter().skip_while(|it| **it != InitAddress::System);
        for method in behind {
            match method {
                InitAddress::Ip(ip) => {
                    return self.take(SocketAddr::new(*ip, self.port), "init-addr");
                }
                InitAddress::None => return,
                InitAddress::Last | InitAddress::System => {}
            }
        }
    }

    /// Resolves the name by the system and goes on looking: a container that restarts has the same name
    /// and another address. Until it resolves the server takes no sessions. Where `init-addr` does not
    /// name `libc`, the system is never asked.
    async fn keep_by_system(&self) {
        let init = &self.server.conf.lookup.init;
        self.begin();
        if !init.is_empty() && !init.contains(&InitAddress::System) {
            return;
        }
        let mut pause = PAUSE;
        let mut said = false;
        while !self.is_over() {
            match self.ask_system().await {
                Ok(addresses) => {
                    self.choose_of(&addresses);
                    let down = !self.server.health().is_up();
                    pause = if down { AGAIN_DOWN } else { AGAIN };
                }
                Err(why) if !self.server.is_resolved() => {
                    self.without_system();
                    if !said && !self.server.is_resolved() {
                        self.say_unresolved(&why);
                        said = true;
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(_) => pause = AGAIN,
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.server.went_down.notified() => {}
            }
        }
    }

    fn say_unresolved(&self, why: &str) {
        let (backend, server) = (self.backend.name(), &self.server.conf.name);
        let message = format!(
            "Server {backend}/{server} takes no traffic: cannot resolve '{}': {why}. Trying on.",
            self.name
        );
        self.say(Level::Warning, &message);
    }

    fn say(&self, level: Level, message: &str) {
        let log = &self.backend.conf().proxy.log;
        self.shared.say_to(log, level, message);
    }

    /// The addresses of the name that the server may have. One found by discovery may not be where no
    /// node can be: a name is as foreign as the list it came in.
    async fn ask_system(&self) -> Result<Vec<SocketAddr>, String> {
        let resolver = &self.shared.resolver;
        let mut addresses = resolver.look_up(self.name, self.port).await?;
        let found = addresses.len();
        addresses.retain(|address| self.may_be_at(address.ip()));
        match addresses.is_empty() {
            false => Ok(addresses),
            true => Err(format!("none of its {found} addresses can be a node's")),
        }
    }

    fn may_be_at(&self, ip: IpAddr) -> bool {
        !self.server.dynamic || config::node_address::never_a_node(ip).is_none()
    }

    /// Servers of a template share a name: each has an address that no other one has.
    fn choose_of(&self, addresses: &[SocketAddr]) {
        let current = self.current();
        if current.is_some_and(|current| addresses.contains(&current)) {
            return;
        }
        let taken = match self.server.conf.is_template {
            false => Vec::new(),
            true => self.taken(),
        };
        let mut free = addresses.iter().filter(|it| !taken.contains(&it.ip()));
        if let Some(first) = free.next() {
            self.take(*first, &format!("DNS ('{}')", self.name));
        }
    }

    fn current(&self) -> Option<SocketAddr> {
        match self.server.resolved_to() {
            Some(Target::Inet(current)) => Some(current),
            _ => None,
        }
    }

    /// The addresses that other servers of that name have.
    fn taken(&self) -> Vec<IpAddr> {
        let others = self.backend.servers();
        let others = others.iter().filter(|other| {
            let name = other.name_to_resolve().map(|(name, _)| name);
            other.key != self.server.key && name.as_ref() == Some(self.name)
        });
        let taken = others.filter_map(|other| match other.resolved_to() {
            Some(Target::Inet(address)) => Some(address.ip()),
            _ => None,
        });
        taken.collect()
    }

    /// The server is there now.
    fn take(&self, address: SocketAddr, by: &str) {
        let before = self.current();
        if before == Some(address) {
            return;
        }
        self.backend.set_address(self.server, Some(address));
        if let Some(before) = before {
            let (backend, server) = (self.backend.name(), &self.server.conf.name);
            let message = format!(
                "{backend}/{server} changed its IP from {} to {} by {by}.",
                before.ip(),
                address.ip(),
            );
            self.say(Level::Notice, &message);
            self.forget_idle();
        }
        self.server.recheck.notify_one();
        self.backend.refresh(self.server);
        note_capacity(self.shared, self.backend);
    }

    /// The server is nowhere any more: it takes no sessions until its name has an address again.
    fn lose(&self, cause: &str) {
        if self.current().is_none() {
            return;
        }
        let accepted = self.server.accepts_new();
        self.backend.set_address(self.server, None);
        let requeued = self.backend.refresh(self.server);
        let (left, _) = self.backend.capacity();
        let standing = Standing {
            active: left.active,
            backup: left.backup,
            sessions: self.server.sessions.now(),
            requeued: requeued as u64,
            queued: self.server.queued.now(),
        };
        let who = who(self.backend, self.server, None);
        let line = words::address_lost_line(&who, accepted, cause, &standing);
        self.say(level(line.severity), &line.text);
        self.forget_idle();
        note_capacity(self.shared, self.backend);
    }

    /// Connections to where it was are of no use.
    fn forget_idle(&self) {
        self.shared.tell_workers(&Message::DropIdle {
            backend: self.backend.key,
            servers: [self.server.key].into(),
        });
    }

    /// Follows what the nameservers of a section say. The system is asked beside them, and only at first.
    async fn follow(&self, names: &Names, section: &Arc<Resolvers>) {
        let first = async {
            if !self.begin() {
                let found = self.ask_system().await;
                match found {
                    _ if self.server.is_resolved() || self.is_over() => {}
                    Ok(addresses) if !self.name.starts_with('_') => self.choose_of(&addresses),
                    _ => self.without_system(),
                }
            }
        };
        let prefers_v4 = self.server.conf.lookup.prefers_v4;
        let resolution = names.keep(section, self.name, prefers_v4);
        let following = async {
            match self.name.starts_with('_') {
                true => self.follow_services(names, section, &resolution).await,
                false => self.follow_addresses(&resolution).await,
            }
        };
        tokio::join!(first, following);
    }

    async fn follow_addresses(&self, resolution: &Resolution) {
        let mut news = resolution.news();
        while !self.is_over() {
            let known = news.borrow_and_update().clone();
            let taken = self.taken();
            self.judge(&known, &known.addresses(), &taken, self.port);
            tokio::select! {
                // The other end is in `resolution`.
                _ = news.changed() => {}
                () = self.server.went_down.notified() => resolution.hurry(),
            }
        }
        // Somebody else may have its address now.
        self.backend.set_address(self.server, None);
        resolution.tell();
    }

    /// Takes one of `addresses`, or loses what it had.
    fn judge(&self, known: &News, addresses: &[IpAddr], taken: &[IpAddr], port: u16) {
        let current = self.current().map(|it| it.ip());
        let may: Vec<IpAddr> = addresses
            .iter()
            .copied()
            .filter(|ip| self.may_be_at(*ip))
            .collect();
        let lookup = &self.server.conf.lookup;
        match choose(current, &may, taken, lookup) {
            Some(ip) => {
                let lost = current.is_none() && self.server.was_lost.swap(false, Relaxed);
                self.take(SocketAddr::new(ip, port), &known.by);
                if lost {
                    let who = who(self.backend, self.server, None);
                    let line = words::address_found_line(&who, self.name);
                    self.say(level(line.severity), &line.text);
                }
            }
            None => {
                let cause = match known.failure {
                    // Nothing is known yet.
                    None if known.found.is_empty() => return,
                    None => "No IP for server ",
                    Some(failure) => failure.words(),
                };
                self.server.was_lost.store(true, Relaxed);
                self.lose(cause);
            }
        }
    }

    /// One of the services behind an SRV label is the server's: it has that one's port and weight, and the
    /// address of its host.
    async fn follow_services(
        &self,
        names: &Names,
        section: &Arc<Resolvers>,
        resolution: &Resolution,
    ) {
        let me = (self.backend.key, self.server.key);
        let mut news = resolution.news();
        let mut host: Option<Host> = None;
        while !self.is_over() {
            let known = news.borrow_and_update().clone();
            let mine = deal(&known, resolution, me);
            host = match &mine {
                None => {
                    self.judge(&known, &[], &[], 0);
                    None
                }
                Some(service) if !service.addresses.is_empty() => {
                    self.weigh(service);
                    self.judge(&known, &service.addresses, &[], service.port);
                    None
                }
                Some(service) => {
                    self.weigh(service);
                    let mut kept = match host {
                        Some(host) if host.name == service.host => host,
                        _ => Host::keep(names, section, service, &self.server.conf.lookup),
                    };
                    let known = kept.news.borrow_and_update().clone();
                    self.judge(&known, &known.addresses(), &[], service.port);
                    Some(kept)
                }
            };
            let of_host = async {
                match &mut host {
                    Some(host) => host.news.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The other ends are in the resolutions.
                _ = news.changed() => {}
                _ = of_host => {}
                () = self.server.went_down.notified() => resolution.hurry(),
            }
        }
        resolution.give_back(me);
    }

    /// The weight of an SRV record, 0 to 65535, is one of 1 to 256 here.
    fn weigh(&self, service: &Service) {
        if !self.server.conf.lookup.ignores_weight {
            let weight = u64::from(service.weight / 256) + 1;
            set_weight(self.shared, self.backend, self.server, weight);
        }
    }
}

/// The host of a service, whose addresses are asked for.
struct Host {
    name: Arc<str>,
    news: watch::Receiver<News>,
    /// It is asked for as long as somebody has this.
    _kept: Rc<Resolution>,
}

impl Host {
    fn keep(names: &Names, section: &Arc<Resolvers>, service: &Service, lookup: &Lookup) -> Self {
        let kept = names.keep(section, &service.host, lookup.prefers_v4);
        Self {
            name: service.host.clone(),
            news: kept.news(),
            _kept: kept,
        }
    }
}

/// The service that is the server's: what it had, if that is still there, or one that nobody has.
fn deal(known: &News, resolution: &Resolution, me: Taker) -> Option<Service> {
    let mut taken = resolution.taken.borrow_mut();
    let had = taken.remove(&me);
    let still = known
        .services()
        .find(|service| had.as_ref().is_some_and(|had| had.is_at(service)));
    let nobodys = |service: &&Service| {
        // Each backend deals them out among its own.
        let others = taken.iter().filter(|((backend, _), _)| *backend == me.0);
        !others
            .map(|(_, other)| other)
            .any(|other| other.is_at(service))
    };
    let mine = still.or_else(|| known.services().find(nobodys)).cloned();
    if let Some(mine) = &mine {
        taken.insert(me, mine.clone());
    }
    mine
}

/// Which address a server has from now on: the one it has, if its name still has that; else one that no
/// other server has, of the networks and the family that are preferred (manual 5.2, "resolve-…").
fn choose(
    current: Option<IpAddr>,
    addresses: &[IpAddr],
    taken: &[IpAddr],
    lookup: &Lookup,
) -> Option<IpAddr> {
    if let Some(current) = current
        && addresses.contains(&current)
    {
        return Some(current);
    }
    let worth = |ip: &IpAddr| {
        let near = lookup.nets.iter().any(|net| net.contains(ip));
        (near, ip.is_ipv4() == lookup.prefers_v4)
    };
    let best = |may: &dyn Fn(&IpAddr) -> bool| {
        // From behind, as of several that are worth the same the last one would be taken.
        let may = addresses.iter().rev().filter(|ip| may(ip));
        may.max_by_key(|ip| worth(ip)).copied()
    };
    let free = best(&|ip| !taken.contains(ip));
    match free {
        None if lookup.shares_address => best(&|_| true),
        free => free,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(current: &str, addresses: &str, taken: &str, lookup: &Lookup, expected: &str) {
        let list = |text: &str| -> Vec<IpAddr> {
            let words = text.split_ascii_whitespace();
            words.map(|it| it.parse().expect("an address")).collect()
        };
        let chosen = choose(
            list(current).first().copied(),
            &list(addresses),
            &list(taken),
            lookup,
        );
        assert_eq!(chosen, list(expected).first().copied(), "{addresses}");
    }

    #[test]
    fn an_address_is_kept_then_near_then_of_the_family() {
        let v6 = Lookup::default();
        let v4 = Lookup {
            prefers_v4: true,
            ..Lookup::default()
        };
        let near = Lookup {
            nets: vec!["10.0.0.0/8".parse().expect("a network")],
            ..Lookup::default()
        };
        let shared = Lookup {
            shares_address: true,
            ..Lookup::default()
        };
        check("", "", "", &v6, "");
        check("1.1.1.1", "2.2.2.2 1.1.1.1", "", &v6, "1.1.1.1");
        check("1.1.1.1", "2.2.2.2 3.3.3.3", "", &v6, "2.2.2.2");
        check("", "2.2.2.2 ::1", "", &v6, "::1");
        check("", "::1 2.2.2.2", "", &v4, "2.2.2.2");
        check("", "::1 10.1.1.1", "", &near, "10.1.1.1");
        check("", "2.2.2.2 3.3.3.3", "2.2.2.2", &v6, "3.3.3.3");
        check("", "2.2.2.2", "2.2.2.2", &v6, "");
        check("", "2.2.2.2 3.3.3.3", "2.2.2.2", &shared, "3.3.3.3");
        check("", "2.2.2.2", "2.2.2.2", &shared, "2.2.2.2");
    }
}
