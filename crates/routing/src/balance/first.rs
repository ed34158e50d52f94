//! `balance first`: the first server that has room, in file order (manual 4.2). Of use only where
//! servers have a `maxconn`.

use std::collections::BTreeSet;

use super::{Member, ServerKey};

#[derive(Debug, Default)]
pub(super) struct First {
    members: BTreeSet<ServerKey>,
}

impl First {
    pub(super) fn insert(&mut self, member: &Member) {
        self.members.insert(member.key);
    }

    pub(super) fn remove(&mut self, key: ServerKey) {
        self.members.remove(&key);
    }

    pub(super) fn pick(&self, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        self.members.iter().copied().find(|key| may(*key))
    }
}
