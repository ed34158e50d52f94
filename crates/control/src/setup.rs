//! From configuration and environment to what the loop needs; all that is wrong is told at once.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::FLEET_BACKEND_DEFAULT;
use config::model::{Backend, BackendId, Config, Discovery};
use engine::command::DrainOrder;

use crate::discovery::HostTemplate;
use crate::discovery::stream::SILENCE_MAX;
use crate::discovery::tls;
use crate::discovery::wsupdates::{BaseUrl, Client};
use crate::environment::{ApiKey, Environment, check_interval};
use crate::plan::Intent;

/// `UPDATE_INTERVAL` when nobody says anything else.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(30);

/// `max-nodes` when it is not given: a few hundred nodes are the largest fleets known.
const NODES_MAX_DEFAULT: usize = 1000;

/// Shortest `expire`: below it, a node is forgotten before it can be listed.
const EXPIRE_MIN: Duration = Duration::from_secs(1);

/// Why the control plane cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupError {
    /// An environment variable has a value that cannot be used.
    Variable {
        /// Its name.
        name: &'static str,
        /// Its value; `None` for `API_KEY`.
        value: Option<String>,
        /// What is wrong with it.
        why: &'static str,
        /// What to write instead.
        forms: &'static str,
    },
    /// A keyword of section `discovery` or `registry` has a value that cannot be used.
    Setting {
        /// The section.
        section: &'static str,
        /// The keyword.
        keyword: &'static str,
        /// What is wrong with its value.
        why: &'static str,
    },
    /// Nothing says which backend the nodes belong in.
    NoBackend {
        /// Backends that could be meant.
        candidates: Vec<Arc<str>>,
    },
    /// A registry whose key nobody has set.
    NoRegistryKey,
    /// Pushes are taken, and nobody has set a key for them.
    NoPushKey,
    /// No certificate could be trusted; why.
    NoRoots(String),
    /// The registry's address cannot be listened on.
    Bind(SocketAddr, String),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable {
                name,
                value,
                why,
                forms,
            } => {
                write!(f, "{name}")?;
                if let Some(value) = value {
                    write!(f, " is \"{value}\"")?;
                }
                write!(f, ": {why}; write {forms}")
            }
            Self::Setting {
                section,
                keyword,
                why,
            } => write!(f, "section {section}, {keyword}: {why}"),
            Self::NoBackend { candidates } => {
                let names = candidates.iter().map(|name| &**name).collect::<Vec<_>>();
                let names = match names.as_slice() {
                    [] => "there is no backend in mode http".to_owned(),
                    names => format!("it could be {}", names.join(" or ")),
                };
                write!(
                    f,
                    "no backend is called {FLEET_BACKEND_DEFAULT} and none is the only one that serves \
                     upgrades, so the discovered nodes have no place ({names}); name it with \
                     \"fill-backend NAME\" in section discovery"
                )
            }
            Self::NoRegistryKey => f.write_str(
                "API_KEY is not set, and section registry needs it: nodes announce themselves with \
                 this key, without one anybody could",
            ),
            Self::NoPushKey => f.write_str(
                "API_KEY is not set, and \"use-service node-push\" needs it: without one anybody could \
                 say which nodes there are",
            ),
            Self::NoRoots(why) => {
                write!(
                    f,
                    "the node list is at an https:// URL, but no certificate is trusted: {why}"
                )
            }
            Self::Bind(address, why) => {
                write!(f, "section registry: cannot listen on {address}: {why}")
            }
        }
    }
}

impl std::error::Error for SetupError {}

/// What the loop needs.
pub(crate) struct Setup {
    /// Discovery, when it is on.
    pub(crate) discovery: Option<DiscoverySetup>,
    /// The embedded registry, when it is on.
    pub(crate) registry: Option<RegistrySetup>,
    /// Who may push.
    pub(crate) key: Option<ApiKey>,
    /// How servers are emptied where nothing else is said.
    pub(crate) drain: DrainOrder,
    /// What the operator should know.
    pub(crate) notes: Vec<String>,
}

/// Discovery, ready to run.
pub(crate) struct DiscoverySetup {
    /// The service; `None`: the embedded registry.
    pub(crate) client: Option<Arc<Client>>,
    pub(crate) rewrite: Option<HostTemplate>,
    /// What the service is asked with.
    pub(crate) key: Option<ApiKey>,
    /// Whether a rule leads pushes here.
    pub(crate) takes_pushes: bool,
    /// Whether the service's event stream is asked for.
    pub(crate) stream: bool,
    /// How long that may be silent.
    pub(crate) silence: Duration,
    pub(crate) intent: Intent,
    pub(crate) interval: Duration,
    pub(crate) nodes_max: usize,
    pub(crate) state_file: Option<PathBuf>,
}

/// The embedded registry, ready to be bound.
pub(crate) struct RegistrySetup {
    pub(crate) bind: SocketAddr,
    pub(crate) key: ApiKey,
    pub(crate) expire: Duration,
}

/// Checks everything, and reports all that is wrong.
pub(crate) fn set_up(config: &Config, environment: Environment) -> Result<Setup, Vec<SetupError>> {
    let mut errors = Vec::new();
    let section = config.discovery.clone().unwrap_or_default();
    // Also when what is wanted is wrong: the rest of it is checked all the same.
    let url_wanted = section.url.is_some() || !matches!(environment.url, Ok(None));
    let url = keep(environment.url, &mut errors);
    let key = keep(environment.key, &mut errors);
    let interval = keep(environment.interval, &mut errors);
    let registry = registry(config, key.as_ref(), &mut errors);
    let base = match section.url.as_deref().map(BaseUrl::parse) {
        Some(Ok(base)) => Some(base),
        Some(Err(why)) => {
            errors.push(wrong("url", why));
            None
        }
        None => url,
    };
    let mut notes = Vec::new();
    let is_key = |error: &SetupError| matches!(error, SetupError::Variable { value: None, .. });
    if config.takes_pushes() && key.is_none() && !errors.iter().any(is_key) {
        errors.push(SetupError::NoPushKey);
    }
    // A registry beside no backend at all is there for the balancers of other machines.
    let fills_itself = config.registry.is_some() && !config.backends.is_empty();
    let discovery = if url_wanted || fills_itself {
        discovery(config, &section, base, key.clone(), interval, &mut errors)
    } else {
        if config.discovery.is_some() {
            notes.push(
                "section discovery has no effect: neither its url nor WS_UPDATES_URL is set, and \
                 there is no section registry with a backend to fill"
                    .to_owned(),
            );
        }
        None
    };
    if config.takes_pushes() && discovery.is_none() {
        notes.push(
            "\"use-service node-push\" takes nothing: there is no discovery, so no fleet to change"
                .to_owned(),
        );
    }
    if errors.is_empty() {
        Ok(Setup {
            drain: DrainOrder::of(&config.runtime),
            discovery,
            registry,
            key,
            notes,
        })
    } else {
        Err(errors)
    }
}

fn keep<T>(value: Result<Option<T>, SetupError>, errors: &mut Vec<SetupError>) -> Option<T> {
    value.unwrap_or_else(|error| {
        errors.push(error);
        None
    })
}

/// A keyword of section `discovery` is wrong.
fn wrong(keyword: &'static str, why: &'static str) -> SetupError {
    SetupError::Setting {
        section: "discovery",
        keyword,
        why,
    }
}

fn registry(
    config: &Config,
    key: Option<&ApiKey>,
    errors: &mut Vec<SetupError>,
) -> Option<RegistrySetup> {
    let section = config.registry.as_ref()?;
    let Some(key) = key else {
        let is_key = |error: &SetupError| matches!(error, SetupError::Variable { value: None, .. });
        if !errors.iter().any(is_key) {
            errors.push(SetupError::NoRegistryKey);
        }
        return None;
    };
    if section.expire < EXPIRE_MIN {
        errors.push(SetupError::Setting {
            section: "registry",
            keyword: "expire",
            why: "it is shorter than 1s",
        });
    }
    Some(RegistrySetup {
        bind: section.bind,
        key: key.clone(),
        expire: section.expire,
    })
}

fn discovery(
    config: &Config,
    section: &Discovery,
    base: Option<BaseUrl>,
    key: Option<ApiKey>,
    interval: Option<Duration>,
    errors: &mut Vec<SetupError>,
) -> Option<DiscoverySetup> {
    let rewrite = section
        .rewrite_localhost
        .as_deref()
        .map(HostTemplate::parse);
    let rewrite = rewrite.transpose().unwrap_or_else(|why| {
        errors.push(wrong("rewrite-localhost", why));
        None
    });
    let interval = section.interval.or(interval).unwrap_or(INTERVAL_DEFAULT);
    if let Err(why) = check_interval(interval) {
        errors.push(wrong("interval", why));
    }
    let connector = match base
        .as_ref()
        .filter(|base| base.tls())
        .map(|_| tls::connector())
    {
        Some(Ok(connector)) => Some(connector),
        Some(Err(why)) => {
            errors.push(SetupError::NoRoots(why));
            None
        }
        None => None,
    };
    let nodes_max = section.nodes_max.unwrap_or(NODES_MAX_DEFAULT);
    let backend = match fleet_backend(config) {
        Ok(backend) => backend,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let client = base.map(|base| Client::new(base, key.clone(), connector, rewrite.clone()));
    Some(DiscoverySetup {
        stream: client.is_some() && section.stream,
        silence: section.stream_silence.unwrap_or(SILENCE_MAX),
        takes_pushes: config.takes_pushes(),
        client,
        rewrite,
        key,
        intent: intent(backend, section.drain, nodes_max),
        interval,
        nodes_max,
        state_file: section.state_file.clone(),
    })
}

fn intent(backend: &Backend, drain: Option<Duration>, nodes_max: usize) -> Intent {
    let configured = backend.servers.iter();
    Intent {
        backend: Arc::clone(&backend.proxy.name),
        configured: configured
            .map(|server| (Arc::clone(&server.name), server.address.clone()))
            .collect(),
        default_server: backend.default_server.clone(),
        server_tls: backend.default_server_tls.clone(),
        drain,
        // A fleet that is replaced as a whole drains as many servers as it adds.
        servers_max: nodes_max.saturating_mul(2),
    }
}

/// The backend the fleet fills, or those that could be meant.
fn fleet_backend(config: &Config) -> Result<&Backend, SetupError> {
    let at = |id: BackendId| config.backends.get(id.0);
    let chosen = config.fleet_backend();
    let candidates = match chosen.map(at) {
        Ok(Some(backend)) => return Ok(backend),
        Ok(None) => Vec::new(),
        Err(candidates) => candidates,
    };
    let names = candidates.into_iter().filter_map(at);
    let names = names.map(|backend| Arc::clone(&backend.proxy.name));
    Err(SetupError::NoBackend {
        candidates: names.take(CANDIDATES_MAX).collect(),
    })
}

/// Backends that a message names.
const CANDIDATES_MAX: usize = 5;

#[cfg(test)]
mod tests;
