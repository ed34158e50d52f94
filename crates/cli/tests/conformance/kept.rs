//! How excepted cases differ, as it was when somebody last looked: an exception allows that
//! difference, and no other one.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// By case and part.
pub(crate) struct Kept {
    texts: BTreeMap<String, String>,
    /// What was seen now, to be written in its place (`CONFORMANCE_KEEP=1`).
    seen: BTreeMap<String, String>,
    writes: bool,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../conformance/differences.txt")
}

const HEAD: &str =
    "# How the cases in exceptions.toml differ: H is HAProxy's alone, t tidegate's alone.
# Written by CONFORMANCE_KEEP=1 cargo test -p cli --test conformance; read what changes.
";

impl Kept {
    /// Reads the file.
    pub(crate) fn load() -> Self {
        let text = std::fs::read_to_string(path()).unwrap_or_default();
        let blocks = text.split("\n=== ").skip(1);
        let texts = blocks.filter_map(|block| {
            let (id, difference) = block.split_once('\n')?;
            Some((id.to_owned(), difference.trim_end().to_owned()))
        });
        Self {
            texts: texts.collect(),
            seen: BTreeMap::new(),
            writes: std::env::var_os("CONFORMANCE_KEEP").is_some(),
        }
    }

    /// Whether a case differs as it did before.
    pub(crate) fn is_known(&mut self, case: &str, part: &str, difference: &str) -> bool {
        let id = format!("{case} [{part}]");
        let known = self
            .texts
            .get(&id)
            .is_some_and(|kept| kept == difference.trim_end());
        self.seen.insert(id, difference.trim_end().to_owned());
        known || self.writes
    }

    /// Puts what was seen in the place of what was kept, if that was asked for.
    pub(crate) fn write(&self) {
        if !self.writes {
            return;
        }
        let mut text = HEAD.to_owned();
        for (id, difference) in &self.seen {
            text.push_str(&format!("\n=== {id}\n{difference}\n"));
        }
        std::fs::write(path(), text).unwrap();
    }
}
