//! Certificates, lists, keys and CAs that change on disk are taken over while connections come in:
//! looked at every few seconds, and at once on SIGHUP. Established connections keep what they have.
//!
//! Runs beside the manager; files are read on a thread of its own, so that a slow disk holds up
//! neither checks nor workers.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use crate::log::Level;
use crate::shared::Shared;
use crate::tls::{ClientTls, ServerTlsConfig};

/// How often files are looked at: a renewal should not wait for long, and a look is one `stat` a file.
const POLL: Duration = Duration::from_secs(2);

/// A look over tens of thousands of files takes a while: the pause after it is so many times as long,
/// so that looking never takes more than two percent of a core.
const PAUSE_FACTOR: u32 = 50;

/// What reloading needs, for the life of the process.
#[derive(Clone, Default)]
pub(crate) struct Reloading {
    /// Told to look at once.
    pub(crate) now: Arc<Notify>,
    /// Held by who looks: one after the other.
    looking: Arc<Mutex<()>>,
}

/// Looks for changes until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut out_of_reach = false;
    let mut pause = POLL;
    while !shared.stopping.load(Relaxed) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.reloading.now.notified() => {}
        }
        if !uses_tls(&shared) {
            continue;
        }
        let started = Instant::now();
        let looking = tokio::task::spawn_blocking({
            let shared = shared.clone();
            move || look(&shared)
        });
        // A look that panicked, which none should, is one that found nothing.
        let Ok(outcome) = looking.await else { continue };
        pause = POLL.max(started.elapsed() * PAUSE_FACTOR);
        if outcome.out_of_reach && !out_of_reach {
            let message = "Certificates cannot be read again from here (chroot or missing files): \
                           those in use stay until a restart.";
            shared.say(Level::Warning, message);
        }
        out_of_reach = outcome.out_of_reach;
        for line in outcome.told {
            // Words of files are quoted in it.
            shared.say(Level::Alert, &line.replace(char::is_control, "?"));
        }
        if outcome.reloaded > 0 {
            let count = outcome.reloaded;
            let message = format!(
                "TLS files have changed and were read again (lines that use them: {count})."
            );
            shared.say(Level::Notice, &message);
        }
    }
}

/// Whether any line speaks TLS: else there is nothing to look at, and no thread to wake for it.
fn uses_tls(shared: &Shared) -> bool {
    let site = shared.site.load();
    let mut binds = site.frontends.iter().flat_map(|it| &it.tls);
    binds.any(Option::is_some)
        || site.backends.iter().any(|backend| {
            let mut servers = backend.servers().into_iter();
            servers.any(|server| server.tls_known().is_some() || server.check_tls.is_some())
        })
}

/// What a look has found.
struct Outcome {
    told: Vec<String>,
    reloaded: usize,
    out_of_reach: bool,
}

/// Looks once, on this thread, for who has changed files by hand.
pub(crate) fn look_now(shared: &Shared) {
    for line in look(shared).told {
        shared.say(Level::Alert, &line.replace(char::is_control, "?"));
    }
}

/// The same, with what could not be taken over left to the caller to tell.
pub(crate) fn try_now(shared: &Shared) -> Vec<String> {
    look(shared).told
}

fn look(shared: &Shared) -> Outcome {
    let looking = shared.reloading.looking.lock();
    let _looking = looking.unwrap_or_else(PoisonError::into_inner);
    let mut outcome = Outcome {
        told: Vec::new(),
        reloaded: 0,
        out_of_reach: false,
    };
    let site = shared.site.load_full();
    let (common, shelf) = (&site.common, &site.shelf);
    let binds: Vec<&Arc<ServerTlsConfig>> = site
        .frontends
        .iter()
        .flat_map(|it| it.tls.iter().flatten())
        .collect();
    let now = SystemTime::now();
    let overtaken = common.store.is_overtaken();
    for bind in &binds {
        bind.rotate();
        if !overtaken && !bind.has_changed() {
            continue;
        }
        if bind.is_out_of_reach() {
            bind.drop_overtaken(now);
            outcome.out_of_reach = true;
            continue;
        }
        bind.reload(common, &mut outcome.told);
        outcome.reloaded += 1;
    }
    if outcome.out_of_reach {
        common.store.drop_overtaken(now);
    }
    if outcome.reloaded > 0 {
        let used: std::collections::HashSet<_> = binds.iter().flat_map(|it| it.files()).collect();
        common.store.keep_only(|file| used.contains(file));
    }
    shelf.roots.refresh(&mut outcome.told);
    for backend in &site.backends {
        for server in backend.servers() {
            let both = [server.tls_known(), server.check_tls.as_ref()]
                .into_iter()
                .flatten();
            let reloaded = both.filter(|tls: &&ClientTls| tls.reload(shelf, &mut outcome.told));
            outcome.reloaded += reloaded.count();
        }
    }
    // Lines that share a file have the same to say of it.
    outcome.told.sort();
    outcome.told.dedup();
    outcome
}
