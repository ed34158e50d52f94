//! Pattern files of ACLs and maps (`-f`, `map(…)`) that change on disk are read anew while requests come in:
//! looked at every few seconds. What is under way goes by what it has found already.
//!
//! A list that was changed by hand or by rules stays what it was made: the file would undo that.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use config::lists::{List, Unchanged};

use crate::log::Level;
use crate::shared::Shared;

/// How often files are looked at; one that has changed is read once it has rested for as long, because half of a
/// deny list lets in whom the other half keeps out.
const POLL: Duration = Duration::from_secs(2);

/// As for certificates: looking never takes more than two percent of a core.
const PAUSE_FACTOR: u32 = 50;

/// Largest file that is read anew, bytes: some ten times what [`config::lists::ENTRIES_MAX`] entries take.
const FILE_LEN_MAX: u64 = 1 << 30;

/// What tells one state of a file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// What is known of a list's file.
struct Known {
    list: Arc<List>,
    /// As it was read; `None`: there was none.
    read: Option<Stamp>,
    /// As it was seen last.
    seen: Option<Stamp>,
}

/// Looks for changes until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut known: HashMap<Arc<str>, Known> = HashMap::new();
    let mut pause = Duration::ZERO;
    while !shared.stopping.load(Relaxed) {
        let lists = shared.site.load().config.lists.clone();
        let lists: Vec<_> = lists.into_iter().filter(|list| list.is_of_file()).collect();
        if !lists.is_empty() {
            let started = Instant::now();
            let looking = tokio::task::spawn_blocking(move || {
                let told = look(&lists, &mut known);
                (known, told)
            });
            // A look that panicked, which none should, is one that found nothing.
            let Ok((now_known, told)) = looking.await else {
                return;
            };
            known = now_known;
            for (level, line) in told {
                // Words of files are quoted in it.
                shared.say(level, &line.replace(char::is_control, "?"));
            }
            pause = started.elapsed() * PAUSE_FACTOR;
        }
        tokio::time::sleep(POLL.max(pause)).await;
    }
}

fn stamp(path: &str) -> Option<Stamp> {
    let told = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: told.dev(),
        inode: told.ino(),
        len: told.len(),
        seconds: told.mtime(),
        nanoseconds: told.mtime_nsec(),
    })
}

fn look(lists: &[Arc<List>], known: &mut HashMap<Arc<str>, Known>) -> Vec<(Level, String)> {
    let mut told = Vec::new();
    for list in lists {
        let now = stamp(&list.name);
        // It may have changed since the configuration was read, and another one has read it for itself.
        let as_read = now.filter(|now| now.len == list.file_len);
        let entry = known.entry(list.name.clone()).or_insert_with(|| Known {
            list: list.clone(),
            read: as_read,
            seen: None,
        });
        if !Arc::ptr_eq(&entry.list, list) {
            entry.list = list.clone();
            (entry.read, entry.seen) = (as_read, None);
        }
        let rested = entry.seen == now;
        entry.seen = now;
        // One that is gone is no news: the list stays.
        let Some(now) = now.filter(|_| rested && entry.read != now) else {
            continue;
        };
        entry.read = Some(now);
        told.push(read(list, now));
    }
    known.retain(|name, _| lists.iter().any(|list| list.name == *name));
    told
}

fn read(list: &List, stamp: Stamp) -> (Level, String) {
    let name = &list.name;
    let stays = |why: &str| {
        let line = format!("Pattern file '{name}' has changed and is not taken over: {why}.");
        (Level::Warning, line)
    };
    if stamp.len > FILE_LEN_MAX {
        return stays("it is too large");
    }
    let text = match std::fs::read_to_string(&**name) {
        Ok(text) => text,
        Err(error) => return stays(&error.to_string()),
    };
    match list.read_anew(&text) {
        Ok(count) => {
            let line = format!("Pattern file '{name}' was read again, entries: {count}.");
            (Level::Notice, line)
        }
        Err(Unchanged::ByHand) => stays(
            "the list was changed at run time; 'clear acl' or 'clear map' and 'add' make it another one",
        ),
        Err(Unchanged::Unfit(why)) => stays(&why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a file after each of these texts was written and looked at twice.
    fn check(texts: &[(&str, &str)], by_hand: bool) {
        let folder = std::env::temp_dir().join(format!("tidegate-lists-{}", fastrand::u64(..)));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("list");
        let name = path.to_str().expect("a name").to_owned();
        std::fs::write(&path, "10.0.0.1\n").expect("written");
        let list = Arc::new(List::new(0, name.as_str().into(), false, "10.0.0.1\n"));
        let span = config::source::Span::default();
        let ip = config::lists::Matching::Ip;
        list.index(ip, false, span).expect("an address fits");
        if by_hand {
            list.add("10.9.9.9", None).expect("there is room");
        }
        let mut known = HashMap::new();
        assert!(look(std::slice::from_ref(&list), &mut known).is_empty());
        for (text, expected) in texts {
            std::fs::write(&path, text).expect("written");
            assert!(
                look(std::slice::from_ref(&list), &mut known).is_empty(),
                "it must rest"
            );
            let told = look(std::slice::from_ref(&list), &mut known);
            let told: Vec<&str> = told.iter().map(|(_, line)| line.as_str()).collect();
            let told = told.join(" ").replace(&name, "FILE");
            assert!(told.contains(expected), "{text:?}: {told}");
            assert!(
                look(std::slice::from_ref(&list), &mut known).is_empty(),
                "once is enough"
            );
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_file_that_has_rested_is_taken_over_whole_or_not_at_all() {
        check(
            &[
                ("10.0.0.1\n10.0.0.2\n", "entries: 2"),
                ("10.0.0.1\nnonsense\n10.0.0.3\n", "is not taken over"),
                ("", "entries: 0"),
            ],
            false,
        );
    }

    #[test]
    fn what_was_changed_by_hand_stays() {
        check(&[("10.0.0.1\n10.0.0.22\n", "changed at run time")], true);
    }
}
