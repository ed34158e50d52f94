//! Which backend the discovered nodes belong in. Asked by the checks of a configuration and by the
//! control plane, which must not answer differently.

use std::collections::BTreeSet;

use crate::expr::{Condition, Fetch};
use crate::model::{Backend, BackendId, Config, Mode, RequestAction};

/// The backend the fleet fills when nobody says anything else.
pub const FLEET_BACKEND_DEFAULT: &str = "ws_backend";

impl Config {
    /// Whether some rule takes news of the fleet (`use-service node-push`).
    pub fn takes_pushes(&self) -> bool {
        let front = self.frontends.iter().map(|it| &it.proxy);
        let back = self.backends.iter().map(|it| &it.proxy);
        let rules = front.chain(back).flat_map(|proxy| &proxy.http_request);
        rules
            .into_iter()
            .any(|rule| matches!(rule.action, RequestAction::NodePush))
    }

    /// Which backend the fleet fills: the one named in section `discovery`, else `ws_backend`, else
    /// the only one that serves upgrades (a `use_backend` rule about Upgrade leads there), else the
    /// only one in mode http. When none of that decides, it fails with those that could be meant.
    pub fn fleet_backend(&self) -> Result<BackendId, Vec<BackendId>> {
        let named = self.discovery.as_ref().and_then(|it| it.backend);
        if let Some(id) = named.filter(|id| id.0 < self.backends.len()) {
            return Ok(id);
        }
        let http: Vec<BackendId> = (0..self.backends.len())
            .map(BackendId)
            .filter(|id| self.backends.get(id.0).is_some_and(may_be_filled))
            .collect();
        let is_default = |id: &&BackendId| {
            let backend = self.backends.get(id.0);
            backend.is_some_and(|backend| &*backend.proxy.name == FLEET_BACKEND_DEFAULT)
        };
        if let Some(id) = http.iter().find(is_default) {
            return Ok(*id);
        }
        let rules = self.frontends.iter().flat_map(|it| &it.use_backend);
        let upgrades: BTreeSet<BackendId> = rules
            .filter(|rule| {
                let condition = rule.condition.as_ref();
                condition.is_some_and(Condition::is_about_upgrades)
            })
            .filter_map(|rule| rule.target.known())
            .filter(|id| http.contains(id))
            .collect();
        let upgrades = Vec::from_iter(upgrades);
        let candidates = if upgrades.is_empty() { http } else { upgrades };
        match candidates.as_slice() {
            [only] => Ok(*only),
            _ => Err(candidates),
        }
    }
}

fn may_be_filled(backend: &Backend) -> bool {
    backend.proxy.mode == Mode::Http && !backend.proxy.disabled
}

impl Condition {
    /// Whether it holds because of the Upgrade header, or of `Sec-WebSocket-…` ones: terms that must
    /// not hold are not meant.
    pub fn is_about_upgrades(&self) -> bool {
        let terms = self.any_of.iter().flatten();
        terms
            .filter(|term| term.negated == self.unless)
            .flat_map(|term| &term.acl.entries)
            .any(|entry| match &entry.sample.fetch {
                Fetch::Hdr(named)
                | Fetch::Fhdr(named)
                | Fetch::HdrCnt(named)
                | Fetch::FhdrCnt(named) => {
                    &*named.name == "upgrade" || named.name.starts_with("sec-websocket-")
                }
                _ => false,
            })
    }
}
