//! The session cache of `tune.ssl.cachesize`: for `no-tls-tickets`, where we keep what clients would
//! carry. Bounded in number and in time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use rustls::server::StoresServerSessions;

use super::handshake;
use super::tickets::Scope;

/// Parts, each behind a lock of its own, so that workers seldom meet.
const PARTS: usize = 16;

/// Bytes of a block: `tune.ssl.cachesize` counts blocks (manual 3.2).
const BLOCK: usize = 200;

/// Sessions of the whole process.
#[derive(Debug)]
pub(crate) struct SessionCache {
    parts: [Mutex<Part>; PARTS],
    blocks_max: usize,
    lifetime: Duration,
}

#[derive(Debug, Default)]
struct Part {
    sessions: HashMap<Vec<u8>, Session>,
    /// Keys in the order they came, with the number that tells a session from a later one.
    order: VecDeque<(Vec<u8>, u64)>,
    blocks: usize,
    count: u64,
}

#[derive(Debug)]
struct Session {
    value: Vec<u8>,
    until: Instant,
    number: u64,
}

fn blocks(value: &[u8]) -> usize {
    value.len().div_ceil(BLOCK)
}

impl SessionCache {
    /// An empty one.
    pub(crate) fn new(blocks: usize, lifetime: Duration) -> Self {
        Self {
            parts: Default::default(),
            blocks_max: blocks.div_ceil(PARTS),
            lifetime,
        }
    }

    fn part(&self, key: &[u8]) -> MutexGuard<'_, Part> {
        // Keys end in random bytes.
        let index = usize::from(key.last().copied().unwrap_or(0)) % PARTS;
        self.parts[index]
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn put(&self, key: Vec<u8>, value: Vec<u8>, now: Instant) -> bool {
        if blocks(&value) > self.blocks_max {
            return false;
        }
        let mut part = self.part(&key);
        part.remove(&key);
        part.count += 1;
        part.blocks += blocks(&value);
        let number = part.count;
        part.order.push_back((key.clone(), number));
        let until = now + self.lifetime;
        part.sessions.insert(
            key,
            Session {
                value,
                until,
                number,
            },
        );
        part.shrink(self.blocks_max);
        true
    }

    fn get(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let part = self.part(key);
        let session = part.sessions.get(key)?;
        (now < session.until).then(|| session.value.clone())
    }
}

impl Part {
    fn remove(&mut self, key: &[u8]) -> Option<Session> {
        let session = self.sessions.remove(key)?;
        self.blocks -= blocks(&session.value);
        Some(session)
    }

    /// Drops the oldest until all fit, and places in the order that nobody holds any more.
    fn shrink(&mut self, blocks_max: usize) {
        while self.blocks > blocks_max || self.order.len() > self.sessions.len() * 2 + PARTS {
            let Some((key, number)) = self.order.pop_front() else {
                return;
            };
            let same = self
                .sessions
                .get(&key)
                .is_some_and(|it| it.number == number);
            if same {
                if self.blocks > blocks_max {
                    self.remove(&key);
                } else {
                    self.order.push_back((key, number));
                }
            }
        }
    }
}

/// The sessions of one scope in the cache of all.
#[derive(Debug)]
pub(super) struct Scoped {
    pub(super) cache: Arc<SessionCache>,
    pub(super) scope: Scope,
}

impl Scoped {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.scope, key].concat()
    }
}

impl StoresServerSessions for Scoped {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let value = handshake::limited(&value);
        self.cache.put(self.key(&key), value, Instant::now())
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let kept = self.cache.get(&self.key(key), Instant::now())?;
        handshake::within_limit(&kept, SystemTime::now()).map(<[u8]>::to_vec)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let key = self.key(key);
        let session = self.cache.part(&key).remove(&key)?;
        let kept = Some(session.value).filter(|_| Instant::now() < session.until)?;
        handshake::within_limit(&kept, SystemTime::now()).map(<[u8]>::to_vec)
    }

    fn can_cache(&self) -> bool {
        self.cache.blocks_max > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoped(cache: &Arc<SessionCache>, scope: u8) -> Scoped {
        Scoped {
            cache: cache.clone(),
            scope: [scope; 32],
        }
    }

    #[test]
    fn a_session_is_found_in_its_scope_alone_and_taken_once() {
        let cache = Arc::new(SessionCache::new(1000, Duration::from_secs(60)));
        let [one, two] = [1, 2].map(|scope| scoped(&cache, scope));
        assert!(one.put(vec![7], vec![1, 2, 3]));
        assert!(two.get(&[7]).is_none() && two.take(&[7]).is_none());
        assert_eq!(one.get(&[7]), Some(vec![1, 2, 3]));
        assert_eq!(one.take(&[7]), Some(vec![1, 2, 3]));
        assert!(one.get(&[7]).is_none());
        assert!(!scoped(&Arc::new(SessionCache::new(0, Duration::ZERO)), 1).can_cache());
    }

    /// A session of a client whose certificate ends at that second.
    async fn resumed(until: u64, now: u64) -> bool {
        let cache = Arc::new(SessionCache::new(1000, Duration::from_secs(60)));
        let scoped = scoped(&cache, 1);
        let made = async {
            handshake::note_good_until(until);
            Ok(scoped.put(vec![7], vec![1]))
        };
        assert_eq!(
            handshake::noting(None, made).await.ok().map(|it| it.0),
            Some(true)
        );
        let kept = cache.get(&scoped.key(&[7]), Instant::now()).expect("kept");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        let again = async {
            let found = handshake::within_limit(&kept, now).is_some();
            // What follows the session in the same handshake ends with it.
            let next = handshake::limited(&[2]);
            assert_eq!(found, next.starts_with(&until.to_be_bytes()));
            Ok(found)
        };
        handshake::noting(None, again).await.is_ok_and(|it| it.0)
    }

    #[tokio::test]
    async fn a_session_does_not_outlive_the_certificate_it_was_begun_with() {
        assert!(resumed(100, 99).await && resumed(100, 100).await);
        assert!(!resumed(100, 101).await);
    }

    #[test]
    fn the_cache_stays_within_its_bound_and_its_time() {
        let lifetime = Duration::from_secs(60);
        let cache = SessionCache::new(PARTS * 3, lifetime);
        let now = Instant::now();
        let key = |number: u8| vec![number, 0];
        for number in 0..100 {
            assert!(cache.put(key(number), vec![0; BLOCK], now));
        }
        let part = cache.part(&key(0));
        assert!(part.sessions.len() == 3 && part.order.len() <= 3 + 2 * PARTS);
        drop(part);
        assert!(cache.get(&key(96), now).is_none());
        assert!(cache.get(&key(99), now).is_some());
        assert!(cache.get(&key(99), now + lifetime).is_none());
        assert!(!cache.put(key(1), vec![0; BLOCK * 4], now), "too large");
        // The same key again and again leaves no trail.
        for _ in 0..1000 {
            cache.put(key(1), vec![0; BLOCK], now);
        }
        assert!(cache.part(&key(1)).order.len() < 100);
    }
}
