//! Proves that a request comes from a user of a `userlist`, once a rule asks for it.
//!
//! Hashes take long to check, so that is done on other threads, and what was right once is
//! remembered: as a keyed digest, which tells nobody a password. What was wrong is not remembered, so
//! guessing fills no memory; and when more guesses come than can be checked, they are told to come
//! again: a password that could not be checked is not a wrong one.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use config::model::Userlist;
use routing::auth::{self, Candidate, Logins};
use wire::head::Fields;

use crate::offload::Offload;

/// Threads that check hashes: with one, a single slow guess would keep everybody waiting.
const THREADS: usize = 2;

/// Checks that may wait. A usual hash takes some milliseconds: longer queues are guesses.
const QUEUE_MAX: usize = 64;

/// Logins that are remembered: 32 bytes each.
const REMEMBERED_MAX: usize = 1024;

type Digest = [u8; 32];

/// What checks of passwords need, for the whole process.
pub(crate) struct Prover {
    checks: Offload,
    /// Drawn at the start; `None` if the system has no randomness: then nothing is remembered.
    key: Option<hmac::Key>,
    remembered: Mutex<Remembered>,
}

/// More is being checked than can be.
#[derive(Debug)]
pub(crate) struct Busy;

#[derive(Default)]
struct Remembered {
    digests: HashSet<Digest>,
    /// The oldest first.
    order: VecDeque<Digest>,
}

impl Prover {
    /// Nothing is remembered yet.
    pub(crate) fn new() -> Self {
        Self {
            checks: Offload::new("passwords", THREADS, QUEUE_MAX),
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            remembered: Mutex::default(),
        }
    }

    /// As which users of these lists the request proves to come. `before` is what was proven of it
    /// for other lists. `None`: it gives nothing to prove. An error: too much is being checked already.
    pub(crate) async fn prove(
        &self,
        fields: &Fields,
        lists: &[Arc<Userlist>],
        before: Option<Box<Logins>>,
    ) -> Result<Option<Box<Logins>>, Busy> {
        let Some(credentials) = auth::basic(fields) else {
            return Ok(before);
        };
        let given = fields.get("authorization").unwrap_or_default();
        let mut logins = before
            .filter(|logins| *logins.given == *given)
            .unwrap_or_default();
        logins.given = given.into();
        for list in lists {
            if logins.has(&list.name) {
                continue;
            }
            let Some(candidate) = auth::candidate(list, &credentials) else {
                continue;
            };
            logins.proven.extend(self.check(candidate).await?);
        }
        Ok(Some(logins))
    }

    async fn check(&self, candidate: Candidate) -> Result<Option<auth::Proven>, Busy> {
        if !candidate.is_slow() {
            return Ok(candidate.check().then(|| candidate.into_proven()));
        }
        let digest = self.digest(&candidate);
        if digest.is_some_and(|digest| self.remembered().digests.contains(&digest)) {
            return Ok(Some(candidate.into_proven()));
        }
        let job = move || candidate.check().then(|| candidate.into_proven());
        let proven = self.checks.run(job).await.ok_or(Busy)?;
        if let (Some(digest), Some(_)) = (digest, &proven) {
            self.remembered().insert(digest);
        }
        Ok(proven)
    }

    fn digest(&self, candidate: &Candidate) -> Option<Digest> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in candidate.parts() {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }

    /// A lock whose holder never panics.
    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn insert(&mut self, digest: Digest) {
        if !self.digests.insert(digest) {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use config::model::{Password, Scheme, Secret, User};

    use super::*;

    fn fields(authorization: &str) -> Fields {
        let mut fields = Fields::new();
        fields.append("authorization", authorization.as_bytes());
        fields
    }

    #[tokio::test]
    async fn what_was_right_is_remembered_and_guesses_are_not() {
        let hash = "$5$rounds=1000$abc$Mz4DiYKTnNKbZLo/mIp3d8Y4aQBhv3uhSwxLDy55/Y8";
        let lists = [Arc::new(Userlist {
            name: "L".into(),
            users: vec![User {
                name: "joe".into(),
                password: Password::Hash(Scheme::Sha256, Secret(hash.into())),
                groups: Vec::new(),
            }],
        })];
        let prover = Prover::new();
        let right = fields("Basic am9lOnNlY3JldA==");
        for _ in 0..2 {
            let logins = prover
                .prove(&right, &lists, None)
                .await
                .expect("nobody else asks")
                .expect("credentials");
            assert_eq!(logins.proven.len(), 1);
        }
        assert_eq!(prover.remembered().order.len(), 1);
        let wrong = fields("Basic am9lOlNlY3JldA==");
        let logins = prover
            .prove(&wrong, &lists, None)
            .await
            .expect("nobody else asks")
            .expect("credentials");
        assert!(logins.proven.is_empty());
        assert_eq!(prover.remembered().order.len(), 1);
        assert!(
            prover
                .prove(&fields("Bearer x"), &lists, None)
                .await
                .is_ok_and(|logins| logins.is_none())
        );
    }

    #[test]
    fn no_more_is_remembered_than_the_bound() {
        let mut remembered = Remembered::default();
        for number in 0..REMEMBERED_MAX as u64 * 2 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            remembered.insert(digest);
        }
        assert_eq!(remembered.order.len(), REMEMBERED_MAX);
        assert_eq!(remembered.digests.len(), REMEMBERED_MAX);
    }
}
