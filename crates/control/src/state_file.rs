//! The last good fleet, kept across restarts, so that a start with discovery down still routes.
//!
//! Written as a whole or not at all: a temporary file in the same folder, fsync, rename, fsync of
//! the folder. The folder is opened once, at start: the path need not be reachable after `chroot`.
//! Read through the same gate as a list from the service: the file is foreign input too. Nothing
//! about it stops the program; a failure is a warning and a counter.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
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
    path: PathBuf,
    name: PathBuf,
    folder: OwnedFd,
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
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            path: path.to_owned(),
            name: name.into(),
            folder: rustix::fs::open(folder, flags, Mode::empty())?,
            source: source.to_owned(),
            backend: backend.to_owned(),
        })
    }

    /// The path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the fleet. `None`: there is no file yet. Fails with a reason for people when the file
    /// cannot be used; entries that cannot are left out.
    pub(crate) fn load(&self, nodes_max: usize) -> Result<Option<Fleet>, String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io::Error::from(error).to_string()),
        };
        let mut text = Vec::new();
        let read = file.take(SIZE_MAX + 1).read_to_end(&mut text);
        read.map_err(|error| error.to_string())?;
        if text.len() as u64 > SIZE_MAX {
            return Err(format!("it is larger than {SIZE_MAX} bytes"));
        }
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
        let mut temporary = self.name.clone().into_os_string();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = Path::new(&temporary);
        let saved = self.replace(temporary, &text);
        if saved.is_err() {
            let _ = rustix::fs::unlinkat(&self.folder, temporary, AtFlags::empty());
        }
        saved
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

    fn replace(&self, temporary: &Path, text: &[u8]) -> io::Result<()> {
        // What a killed process left behind under this name, or what somebody put there for us to
        // follow: a new file or none.
        let _ = rustix::fs::unlinkat(&self.folder, temporary, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::openat(&self.folder, temporary, flags, mode)?);
        file.write_all(text)?;
        file.sync_all()?;
        rustix::fs::renameat(&self.folder, temporary, &self.folder, &self.name)?;
        rustix::fs::fsync(&self.folder)?;
        Ok(())
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
