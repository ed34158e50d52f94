//! Where lists come from: the service, or the registry in this process.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::address::HostTemplate;
use super::listing::Listing;
use super::wsupdates::{Client, FetchError};
use crate::registry::table::Table;

/// Who is asked for the list.
#[derive(Clone)]
pub(crate) enum Source {
    /// A WSUpdates service.
    WsUpdates(Arc<Client>),
    /// The embedded registry; no socket is needed to ask it.
    Registry {
        /// What has been announced.
        table: Arc<Table>,
        /// For nodes that call themselves `localhost`.
        rewrite: Option<HostTemplate>,
    },
    /// Answers that a test prepares.
    #[cfg(test)]
    Scripted(Script),
}

/// A fetch under way.
pub(crate) type Fetch = Pin<Box<dyn Future<Output = Result<Listing, FetchError>> + Send>>;

impl Source {
    /// What the embedded registry is called where a service has its URL.
    pub(crate) const REGISTRY: &'static str = "embedded registry";

    /// Fetches the list once; bounded in time.
    pub(crate) fn fetch(&self) -> Fetch {
        match self.clone() {
            Self::WsUpdates(client) => Box::pin(async move { client.fetch().await }),
            Self::Registry { table, rewrite } => Box::pin(async move {
                Listing::parse(&table.list(), rewrite.as_ref()).map_err(FetchError::NotAList)
            }),
            #[cfg(test)]
            Self::Scripted(script) => Box::pin(async move { script.fetch().await }),
        }
    }

    /// Waits for a sign that another fetch is worth while; for ever where there is none.
    pub(crate) async fn changed(&self) {
        match self {
            Self::Registry { table, .. } => table.changed().await,
            Self::WsUpdates(_) => std::future::pending().await,
            #[cfg(test)]
            Self::Scripted(_) => std::future::pending().await,
        }
    }

    /// For people: the service's URL, or that there is none.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::WsUpdates(client) => client.to_string(),
            Self::Registry { .. } => Self::REGISTRY.to_owned(),
            #[cfg(test)]
            Self::Scripted(_) => "script".to_owned(),
        }
    }
}

/// What a test lets the service answer; the last answer is given again and again.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Script {
    state: Arc<std::sync::Mutex<ScriptState>>,
}

#[cfg(test)]
#[derive(Default)]
struct ScriptState {
    answer: String,
    fetched: Vec<tokio::time::Instant>,
}

#[cfg(test)]
impl Script {
    /// From now on: a JSON array, or anything else for a status of 500.
    pub(crate) fn answer(&self, answer: &str) {
        self.state.lock().unwrap().answer = answer.to_owned();
    }

    /// When it was asked.
    pub(crate) fn fetched(&self) -> Vec<tokio::time::Instant> {
        self.state.lock().unwrap().fetched.clone()
    }

    async fn fetch(&self) -> Result<Listing, FetchError> {
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.fetched.push(tokio::time::Instant::now());
            state.answer.clone()
        };
        // A fetch takes a moment, as in life.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        if answer.starts_with('[') {
            Listing::parse(answer.as_bytes(), None).map_err(FetchError::NotAList)
        } else {
            Err(FetchError::Status(hyper::StatusCode::INTERNAL_SERVER_ERROR))
        }
    }
}
