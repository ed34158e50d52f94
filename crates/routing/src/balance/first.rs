//! `balance first`: the first server that has room, by its numeric id (manual 4.2). Of use only where
//! servers have a `maxconn`.

use std::collections::BTreeSet;

use super::by_server::ByServer;
use super::{Member, ServerKey};

#[derive(Debug, Default)]
pub(super) struct First {
    members: BTreeSet<(u32, ServerKey)>,
    ids: ByServer<u32>,
}

impl First {
    pub(super) fn insert(&mut self, member: &Member) {
        self.members.insert((member.id, member.key));
        self.ids.insert(member.key, member.id);
    }

    pub(super) fn remove(&mut self, key: ServerKey) {
        if let Some(id) = self.ids.remove(&key) {
            self.members.remove(&(id, key));
        }
    }

    pub(super) fn pick(&self, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        let mut keys = self.members.iter().map(|(_, key)| *key);
        keys.find(|key| may(*key))
    }
}
