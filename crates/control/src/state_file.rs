//! The last good fleet, kept across restarts, so that a start with discovery down still routes.
//!
//! Written as a whole or not at all ([`KeptFile`]), and read through the same gate as a list from the service:
//! the file is foreign input too. Nothing about it stops the program; a failure is a warning and a counter.

use std::io;
use std::path::Path;

use engine::KeptFile;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::discovery::Fleet;
use crate::discovery::listing::Listing;

/// The layout of the file; another number is another program's file.
const VERSION: u32 = 1;

/// Largest file that is read, bytes: ten thousand nodes, the largest `max-nodes`, with the longest ids
/// and host names (128 and 253) have less than five million.
const SIZE_MAX: u64 = 8 << 20;

/// The file and whose list it keeps.
#[derive(Debug)]
pub(crate) struct StateFile {
    file: KeptFile,
    source: String,
    backend: String,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Contents<'a> {
    version: u32,
    /// The service the list came from: another service's list is no news about this one's nodes.
    source: String,
    /// The backend it fills.
    backend: String,
    /// As the service lists them.
    #[serde(borrow)]
    nodes: &'a RawValue,
}

/// A node as the service lists it.
#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    url: String,
}

impl StateFile {
    /// Opens the folder of the file; fails when there is none.
    pub(crate) fn open(path: &Path, source: &str, backend: &str) -> io::Result<Self> {
        Ok(Self {
            file: KeptFile::open(path)?,
            source: source.to_owned(),
            backend: backend.to_owned(),
        })
    }

    /// The path, for messages.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads the fleet. `None`: there is no file yet. Fails with a reason for people when the file
    /// cannot be used; entries that cannot are left out.
    pub(crate) fn load(&self, nodes_max: usize) -> Result<Option<Fleet>, String> {
        let Some(text) = self.file.read(SIZE_MAX)? else {
            return Ok(None);
        };
        let contents: Contents<'_> = serde_json::from_slice(&text)
            .map_err(|error| format!("it is damaged at line {}", error.line()))?;
        if contents.version != VERSION {
            return Err(format!(
                "it has version {}, not {VERSION}",
                contents.version
            ));
        }
        if contents.source != self.source || contents.backend != self.backend {
            return Err("it keeps the list of another service or backend".to_owned());
        }
        let listing = Listing::parse(contents.nodes.get().as_bytes(), None);
        let listing = listing.map_err(|_| "its nodes are no list".to_owned())?;
        Ok(Some(listing.settle(&Fleet::default(), nodes_max).fleet))
    }

    /// Writes the fleet; on failure the file is as it was.
    pub(crate) fn save(&self, fleet: &Fleet) -> io::Result<()> {
        let text = self.contents(fleet)?;
        self.file.replace(|file| file.write_all(&text))
    }

    fn contents(&self, fleet: &Fleet) -> io::Result<Vec<u8>> {
        let nodes = fleet.nodes().iter().map(|node| Listed {
            id: node.id.as_str(),
            url: node.address.to_string(),
        });
        let nodes = serde_json::value::to_raw_value(&nodes.collect::<Vec<_>>())?;
        let mut text = serde_json::to_vec_pretty(&Contents {
            version: VERSION,
            source: self.source.clone(),
            backend: self.backend.clone(),
            nodes: &nodes,
        })?;
        text.push(b'\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tests::fleet;

    fn open(folder: &Path) -> StateFile {
        StateFile::open(&folder.join("fleet.json"), "http://service", "ws_backend").unwrap()
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_fleet_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path());
        assert_eq!(file.load(10), Ok(None));
        for nodes in ["a=10.0.0.1:1 b=https://[fd00::1]", "", "c=host:8081"] {
            file.save(&fleet(nodes)).unwrap();
            assert_eq!(file.load(10), Ok(Some(fleet(nodes))));
            assert_eq!(files(folder.path()), ["fleet.json"]);
        }
        file.save(&fleet("a=h:1 b=h:2 c=h:3")).unwrap();
        assert_eq!(file.load(2), Ok(Some(fleet("a=h:1 b=h:2"))));
    }

    #[test]
    fn a_file_that_cannot_be_used_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path());
        let whole = r#"{"version":1,"source":"http://service","backend":"ws_backend","nodes":[]}"#;
        let other = "it keeps the list of another service or backend";
        for (text, why) in [
            ("", "it is damaged at line 1"),
            (&whole[..40], "it is damaged at line 1"),
            ("null", "it is damaged at line 1"),
            (&whole.replace(":1,", ":2,"), "it has version 2, not 1"),
            (&whole.replace("//service", "//other"), other),
            (&whole.replace("ws_backend", "other"), other),
            (&whole.replace("[]", "{}"), "its nodes are no list"),
            (&" ".repeat(9 << 20), "it is larger than 8388608 bytes"),
        ] {
            std::fs::write(folder.path().join("fleet.json"), text).unwrap();
            assert_eq!(file.load(10), Err(why.to_owned()));
        }
        let hostile =
            r#"[{"id":"a\nb","url":"h"},{"id":"c","url":"ftp://h"},{"id":"d","url":"h"}]"#;
        let text = whole.replace("[]", hostile);
        std::fs::write(folder.path().join("fleet.json"), text).unwrap();
        assert_eq!(file.load(10), Ok(Some(fleet("d=h"))));
    }

    #[test]
    fn a_write_that_fails_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path());
        file.save(&fleet("a=h:1")).unwrap();
        // A folder in the place of the temporary file cannot be unlinked or created over.
        let temporary = format!("fleet.json.{}.tmp", std::process::id());
        std::fs::create_dir(folder.path().join(&temporary)).unwrap();
        assert!(file.save(&fleet("b=h:2")).is_err());
        assert_eq!(file.load(10), Ok(Some(fleet("a=h:1"))));
        std::fs::remove_dir(folder.path().join(&temporary)).unwrap();
        file.save(&fleet("b=h:2")).unwrap();
        assert_eq!(file.load(10), Ok(Some(fleet("b=h:2"))));
    }

    #[test]
    fn a_folder_that_is_gone_or_never_was_is_an_error_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing/fleet.json");
        assert!(StateFile::open(&missing, "s", "b").is_err());
        let file = open(folder.path());
        folder.close().unwrap();
        assert!(file.save(&fleet("a=h:1")).is_err());
        assert_eq!(file.load(10), Ok(None));
    }
}
