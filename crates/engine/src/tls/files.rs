//! Files that certificates and the like were read from, and whether they have changed since.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::given;

/// Stands for the device of files that were given by hand: no file system has it.
const GIVEN: u64 = u64::MAX;

/// What tells one state of a file or folder from another. A file that is not there has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The state now.
    fn of(path: &Path) -> Option<Self> {
        if let Some(given) = given::get(path) {
            return Some(Self {
                device: GIVEN,
                inode: given.edition,
                length: given.bytes.len() as u64,
                modified: (0, 0),
                changed: (0, 0),
            });
        }
        let data = std::fs::metadata(path).ok()?;
        Some(Self {
            device: data.dev(),
            inode: data.ino(),
            length: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }
}

/// Files and folders with their states as of before they were read, so that what changes while it
/// is read counts as changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched(BTreeMap<PathBuf, Option<Stamp>>);

impl Watched {
    /// Remembers the state; to be called before reading.
    pub(super) fn note(&mut self, path: &Path) {
        self.0
            .entry(path.to_owned())
            .or_insert_with(|| Stamp::of(path));
    }

    /// Remembers and reads; `None`: there is no such file.
    pub(super) fn read_if_there(&mut self, path: &Path) -> Result<Option<Vec<u8>>, String> {
        self.note(path);
        if let Some(given) = given::get(path) {
            return Ok(Some(given.bytes.to_vec()));
        }
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read '{}': {error}", path.display())),
        }
    }

    /// Remembers and reads.
    pub(super) fn read(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        self.note(path);
        if let Some(given) = given::get(path) {
            return Ok(given.bytes.to_vec());
        }
        std::fs::read(path).map_err(|error| format!("cannot read '{}': {error}", path.display()))
    }

    /// The files of a folder in alphabetical order, dot files aside.
    pub(super) fn folder(&mut self, path: &Path) -> Result<Vec<PathBuf>, String> {
        self.note(path);
        let wrong = |error| format!("cannot read the folder '{}': {error}", path.display());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(wrong)? {
            let file = entry.map_err(wrong)?.path();
            let hidden = file
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        Ok(files)
    }

    /// The same files in their states of now; to be called before they are read again.
    pub(super) fn renewed(&self) -> Self {
        let files = self.0.keys();
        Self(files.map(|path| (path.clone(), Stamp::of(path))).collect())
    }

    /// Takes over what another has seen.
    pub(super) fn extend(&mut self, other: &Self) {
        for (path, stamp) in &other.0 {
            self.0.entry(path.clone()).or_insert(*stamp);
        }
    }

    /// Whether any of it is not as it was.
    pub(super) fn has_changed(&self) -> bool {
        self.0.iter().any(|(path, stamp)| Stamp::of(path) != *stamp)
    }

    /// Whether nothing of it can be seen any more: after a `chroot`, say.
    pub(super) fn is_out_of_reach(&self) -> bool {
        let mut were_there = self
            .0
            .iter()
            .filter(|(_, stamp)| stamp.is_some())
            .peekable();
        were_there.peek().is_some() && were_there.all(|(path, _)| Stamp::of(path).is_none())
    }
}

/// Whether there is such a file, on disk or given by hand.
pub(super) fn exists(path: &Path) -> bool {
    given::get(path).is_some() || path.exists()
}

/// `FILE.EXTENSION`, or with `ssl-load-extra-del-ext` and a file that ends in `.crt` that in its
/// place (manual 3.1).
pub(super) fn beside(file: &Path, extension: &str, del_ext: bool) -> PathBuf {
    if del_ext && file.extension().is_some_and(|it| it == "crt") {
        return file.with_extension(extension);
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_content_and_of_existence_are_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let [here, missing] = ["here", "missing"].map(|name| folder.path().join(name));
        std::fs::write(&here, "a").expect("writable");
        let watch = || {
            let mut watched = Watched::default();
            assert!(watched.read(&here).is_ok());
            assert_eq!(watched.read_if_there(&missing), Ok(None));
            watched
        };
        let watched = watch();
        assert!(!watched.has_changed());
        std::fs::write(&missing, "now").expect("writable");
        assert!(watched.has_changed());
        std::fs::remove_file(&missing).expect("it was there");
        let watched = watch();
        let other = folder.path().join("other");
        std::fs::write(&other, "b").expect("writable");
        std::fs::rename(&other, &here).expect("the same folder");
        assert!(watched.has_changed() && !watched.is_out_of_reach());
        std::fs::remove_file(&here).expect("it was there");
        assert!(watched.is_out_of_reach());
    }

    #[test]
    fn extra_files_stand_beside_their_certificate() {
        for (file, del_ext, expected) in [
            ("a.crt", false, "a.crt.key"),
            ("a.crt", true, "a.key"),
            ("a.pem", true, "a.pem.key"),
        ] {
            assert_eq!(beside(Path::new(file), "key", del_ext), Path::new(expected));
        }
    }
}
