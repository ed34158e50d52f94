//! What comes up in the middle of a handshake and is needed at another place of it or after it: rustls
//! asks and tells through callbacks that carry nothing of ours.

use std::cell::{Cell, RefCell};
use std::io::Error;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;

tokio::task_local! {
    static NOTES: Notes;
}

/// Of one handshake.
struct Notes {
    depth: Cell<u8>,
    passed: Cell<Passed>,
    good_until: Cell<u64>,
    picked: RefCell<Option<Arc<CertifiedKey>>>,
}

/// What was let pass of a client's certificate: OpenSSL's numbers for itself and for those above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) own: u8,
    pub(super) ca: u8,
    pub(super) ca_depth: u8,
}

/// A session that no certificate limits.
pub(super) const FOR_EVER: u64 = u64::MAX;

/// Shakes hands with what was picked for the client. With it comes what was let pass, an error with
/// how far above the client's certificate the one is that was refused: rustls's errors do not say.
pub(super) async fn noting<T>(
    picked: Option<Arc<CertifiedKey>>,
    shaking: impl Future<Output = Result<T, Error>>,
) -> Result<(T, Passed), (Error, u8)> {
    let notes = Notes {
        depth: Cell::new(0),
        passed: Cell::default(),
        good_until: Cell::new(FOR_EVER),
        picked: RefCell::new(picked),
    };
    let noted = async {
        match shaking.await {
            Ok(done) => Ok((done, NOTES.with(|it| it.passed.get()))),
            Err(error) => Err((error, NOTES.with(|it| it.depth.get()))),
        }
    };
    NOTES.scope(notes, noted).await
}

// Outside of a handshake, in tests, nobody wants to know.

/// To be called by the verifier that refuses.
pub(super) fn note_depth(depth: u8) {
    let _ = NOTES.try_with(|it| it.depth.set(depth));
}

/// To be called by the verifier that lets pass what is not right.
pub(super) fn note_passed(passed: Passed) {
    let _ = NOTES.try_with(|it| it.passed.set(passed));
}

/// Until when, in seconds since 1970, the certificates of the client are in force.
pub(super) fn note_good_until(seconds: u64) {
    let _ = NOTES.try_with(|it| it.good_until.set(seconds));
}

/// Until when a session of this handshake may be resumed.
fn good_until() -> u64 {
    NOTES.try_with(|it| it.good_until.get()).unwrap_or(FOR_EVER)
}

/// What a stored session begins with: until when it may be resumed.
const LIMIT_LEN: usize = 8;

/// A session to be kept, with the limit of this handshake before it: it must not outlive the
/// certificate of the client.
pub(super) fn limited(session: &[u8]) -> Vec<u8> {
    [&good_until().to_be_bytes(), session].concat()
}

/// The session again, if it may be resumed. Those that follow it in this handshake have its limit.
pub(super) fn within_limit(kept: &[u8], now: SystemTime) -> Option<&[u8]> {
    let (limit, session) = kept.split_first_chunk::<LIMIT_LEN>()?;
    let limit = u64::from_be_bytes(*limit);
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    if now > limit {
        return None;
    }
    note_good_until(limit);
    Some(session)
}

/// The certificate that was picked when the client's greeting was read.
pub(super) fn picked() -> Option<Arc<CertifiedKey>> {
    NOTES.try_with(|it| it.picked.borrow().clone()).ok()?
}
