//! Which servers of a backend a value of its persistence cookie stands for, found without a look at
//! all of them: clients may send many.

use std::collections::HashMap;

use routing::balance::ServerKey;

/// The values of a backend's servers. Several may have the same one.
#[derive(Default)]
pub(crate) struct CookieValues {
    servers: HashMap<Box<[u8]>, Vec<ServerKey>>,
    values: HashMap<ServerKey, Box<[u8]>>,
}

impl CookieValues {
    /// A server has this value from now on, or none.
    pub(crate) fn set(&mut self, server: ServerKey, value: Option<&[u8]>) {
        if self.values.get(&server).map(|known| &**known) == value {
            return;
        }
        if let Some(before) = self.values.remove(&server)
            && let Some(servers) = self.servers.get_mut(&before)
        {
            servers.retain(|key| *key != server);
            if servers.is_empty() {
                self.servers.remove(&before);
            }
        }
        if let Some(value) = value {
            let servers = self.servers.entry(value.into()).or_default();
            let at = servers.partition_point(|key| *key < server);
            servers.insert(at, server);
            self.values.insert(server, value.into());
        }
    }

    /// Who has this value, in the order they were added.
    pub(crate) fn servers(&self, value: &[u8]) -> &[ServerKey] {
        self.servers.get(value).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_servers_are_not_looked_through_for_one_value() {
        let mut values = CookieValues::default();
        for number in 0..3000 {
            let value = format!("value{number}");
            values.set(ServerKey(number), Some(value.as_bytes()));
        }
        // What is looked at for a value is what has it, however many others there are.
        assert_eq!(values.servers(b"value2999"), [ServerKey(2999)]);
        assert_eq!(values.servers(b"x"), []);
    }

    #[test]
    fn values_are_shared_changed_and_forgotten() {
        let mut values = CookieValues::default();
        for number in [2, 0, 1] {
            values.set(ServerKey(number), Some(b"a"));
        }
        assert_eq!(values.servers(b"a"), [0, 1, 2].map(ServerKey));
        values.set(ServerKey(1), Some(b"b"));
        assert_eq!(values.servers(b"a"), [0, 2].map(ServerKey));
        assert_eq!(values.servers(b"b"), [ServerKey(1)]);
        values.set(ServerKey(1), None);
        values.set(ServerKey(0), None);
        values.set(ServerKey(2), None);
        assert!(values.servers.is_empty() && values.values.is_empty());
    }
}
