//! What nameservers have answered, counted for `show resolvers` (management.txt 9.3).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::handle::Handle;

/// What is counted of a nameserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// A question was sent.
    Sent,
    /// It could not be, or no answer could be had.
    Unsent,
    /// A valid answer.
    Valid,
    /// One that changed an address in use.
    Update,
    /// The name does not exist.
    Nx,
    /// No answer in time.
    Timeout,
    /// It refused.
    Refused,
    /// Another error.
    Other,
    /// What was no answer to our question.
    Invalid,
    /// An answer too long for UDP.
    Truncated,
}

/// How many there are.
const KINDS: usize = 10;

/// Counts of one nameserver.
#[derive(Debug, Default)]
pub(crate) struct Counts([AtomicU64; KINDS]);

impl Counts {
    /// One more.
    pub(crate) fn add(&self, what: Answered) {
        self.0[what as usize].fetch_add(1, Relaxed);
    }

    fn get(&self, what: Answered) -> u64 {
        self.0[what as usize].load(Relaxed)
    }
}

/// Section and nameserver.
type Name = (Arc<str>, Arc<str>);

/// Of all nameservers that were asked since the start: as many as sections name.
#[derive(Debug, Default)]
pub(crate) struct AllCounts(Mutex<BTreeMap<Name, Arc<Counts>>>);

impl AllCounts {
    /// Those of one.
    pub(crate) fn of(&self, section: &Arc<str>, nameserver: &Arc<str>) -> Arc<Counts> {
        let name = (section.clone(), nameserver.clone());
        // Its holder only looks up.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(name).or_default().clone()
    }
}

impl Handle {
    /// Sections `resolvers` with what their nameservers have answered, as text; of one alone, `None`: there is
    /// no such section.
    pub fn resolvers_text(&self, wanted: Option<&str>) -> Option<String> {
        use Answered as A;
        let shared = self.shared();
        let site = shared.site.load();
        let mut sections = site.config.resolvers.iter();
        if wanted.is_some_and(|wanted| !sections.any(|it| *it.name == *wanted)) {
            return None;
        }
        let mut text = String::new();
        for section in &site.config.resolvers {
            if wanted.is_some_and(|wanted| *section.name != *wanted) {
                continue;
            }
            text += &format!("Resolvers section {}\n", section.name);
            for nameserver in &section.nameservers {
                let counts = shared.nameservers.of(&section.name, &nameserver.name);
                text += &format!(" nameserver {}:\n", nameserver.name);
                for (word, count) in [
                    ("sent", counts.get(A::Sent)),
                    ("snd_error", counts.get(A::Unsent)),
                    ("valid", counts.get(A::Valid)),
                    ("update", counts.get(A::Update)),
                    // Chains of names are followed inside an answer, and not counted.
                    ("cname", 0),
                    ("cname_error", 0),
                    ("any_err", 0),
                    ("nx", counts.get(A::Nx)),
                    ("timeout", counts.get(A::Timeout)),
                    ("refused", counts.get(A::Refused)),
                    ("other", counts.get(A::Other)),
                    ("invalid", counts.get(A::Invalid)),
                    ("too_big", 0),
                    ("truncated", counts.get(A::Truncated)),
                    // Who is late finds nobody listening.
                    ("outdated", 0),
                ] {
                    text += &format!("  {:<13}{count}\n", format!("{word}:"));
                }
            }
        }
        Some(text)
    }
}
