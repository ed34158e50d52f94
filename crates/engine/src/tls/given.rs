//! TLS files that an operator gives by hand (`set ssl cert` and the like): from then on they stand in
//! place of what is on disk, until the process ends.
//!
//! One collection for the process: files are read in many places that share nothing but the disk, and
//! this is in front of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

/// Files given at most: each may be as long as a payload.
const GIVEN_MAX: usize = 20_000;

static GIVEN: RwLock<BTreeMap<PathBuf, Given>> = RwLock::new(BTreeMap::new());

/// Whether any file was ever given: most processes have none, and look no further.
static ANY: AtomicBool = AtomicBool::new(false);

/// What tells one content of a file from the next.
static EDITION: AtomicU64 = AtomicU64::new(1);

/// One file. An empty one is as good as none.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) bytes: Arc<[u8]>,
    pub(super) edition: u64,
}

/// The file at this path, if one was given.
pub(super) fn get(path: &Path) -> Option<Given> {
    if !ANY.load(Relaxed) {
        return None;
    }
    let given = GIVEN.read().unwrap_or_else(PoisonError::into_inner);
    given.get(path).cloned()
}

/// Puts a file there, or takes it away; what was there is returned. The error is a sentence.
pub(super) fn put(path: &Path, bytes: Option<Arc<[u8]>>) -> Result<Option<Arc<[u8]>>, String> {
    let mut given = GIVEN.write().unwrap_or_else(PoisonError::into_inner);
    let Some(bytes) = bytes else {
        return Ok(given.remove(path).map(|old| old.bytes));
    };
    if given.len() >= GIVEN_MAX && !given.contains_key(path) {
        return Err(format!(
            "more than {GIVEN_MAX} TLS files were given by hand"
        ));
    }
    ANY.store(true, Relaxed);
    let new = Given {
        bytes,
        edition: EDITION.fetch_add(1, Relaxed),
    };
    Ok(given.insert(path.to_owned(), new).map(|old| old.bytes))
}
