//! Replacing HAProxy's configuration file, or leaving it exactly as it was.
//!
//! ```text
//!   candidate (own name, same folder) → fsync → haproxy -c → copy of the old file → fsync
//!     → is the file still what was read? → rename over it → fsync of the folder
//! ```
//! Until the rename the file is the old one, from then on the new one, wherever we are killed.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, MemfdFlags, Mode, OFlags};

/// Largest configuration that is read, bytes. HAProxy's own bound is lower in practice: it keeps all of
/// it in memory several times over.
const SIZE_MAX: u64 = 64 << 20;

/// Longest check of a candidate: a configuration with thousands of certificates takes seconds.
const CHECK_TIME_MAX: Duration = Duration::from_secs(30);

/// How often it is looked whether the check has ended.
const CHECK_LOOK: Duration = Duration::from_millis(10);

/// Bytes of HAProxy's complaint that are read, and that a message quotes.
const COMPLAINT_MAX: u64 = 64 << 10;
const COMPLAINT_SHOWN: usize = 300;

/// What follows the file's name in that of the file before the last change.
const BACKUP: &str = ".before-tidegate";

/// HAProxy's configuration: the files of its `-f`, in order, and the program that checks them.
#[derive(Debug, Clone)]
pub(super) struct ConfigFiles {
    /// As given.
    pub(super) paths: Vec<PathBuf>,
    /// `haproxy`.
    pub(super) program: PathBuf,
}

/// A file as it was read, and which of them.
#[derive(Debug, Clone)]
pub(super) struct Original {
    pub(super) at: usize,
    pub(super) text: String,
}

/// Device, inode, size and time of the last change: another file has others.
pub(super) type Stamp = (u64, u64, u64, i64, i64);

/// A point at which a test may stop, as a `kill -9` would.
type Stop<'a> = &'a mut dyn FnMut(&'static str) -> io::Result<()>;

impl ConfigFiles {
    /// All texts. Fails when one cannot be read, with its path.
    pub(super) fn read(&self) -> Result<Vec<String>, String> {
        let texts = self.paths.iter().map(|path| {
            read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        });
        texts.collect()
    }

    /// What tells whether any file is another one than before, without reading them.
    pub(super) fn stamp(&self) -> Vec<Option<Stamp>> {
        let stamps = self.paths.iter().map(|path| {
            let it = std::fs::metadata(path).ok()?;
            Some((it.dev(), it.ino(), it.size(), it.mtime(), it.mtime_nsec()))
        });
        stamps.collect()
    }

    /// Takes away what updaters that were killed have left beside the files.
    pub(super) fn tidy(&self) {
        for path in self
            .paths
            .iter()
            .filter_map(|path| std::fs::canonicalize(path).ok())
        {
            // What cannot be opened now is told when it is to be written.
            if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
                let _ = Folder::open(folder, name);
            }
        }
    }

    /// Puts `text` in the place of one file if HAProxy takes it. On failure the file is as it was.
    /// Blocks; for a thread of its own.
    pub(super) fn replace(&self, original: &Original, text: &str) -> Result<(), String> {
        self.replace_until(original, text, &mut |_| Ok(()))
    }

    fn replace_until(&self, original: &Original, text: &str, stop: Stop<'_>) -> Result<(), String> {
        let shown = self.paths[original.at].display();
        // A link stays a link: what it leads to is replaced.
        let path = std::fs::canonicalize(&self.paths[original.at]);
        let path = path.map_err(|error| format!("{shown} cannot be found: {error}"))?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(format!("{shown} is no file in a folder"));
        };
        let failed = |doing: &str, error: io::Error| format!("{shown}: cannot {doing}: {error}");
        let place = Folder::open(folder, name).map_err(|e| failed("open its folder", e))?;
        let candidate = place.temporary("new");
        let written = place.write(&candidate, text, stop);
        let written = written.map_err(|error| failed("write beside it", error));
        let replaced = written.and_then(|()| {
            self.check(original.at, &folder.join(&candidate))?;
            place
                .exchange(&candidate, original, stop)
                .map_err(|error| failed("replace it", error))
        });
        if replaced.is_err() {
            place.remove(&candidate);
        }
        replaced
    }

    /// Asks HAProxy whether it would start with this file in the place of that one.
    fn check(&self, at: usize, candidate: &Path) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        // What HAProxy says about a line quotes its variables.
        command.arg("-c").env_remove("API_KEY");
        for (index, path) in self.paths.iter().enumerate() {
            let path = if index == at { candidate } else { path };
            command.arg("-f").arg(path);
        }
        let program = self.program.display();
        let said = rustix::fs::memfd_create("haproxy -c", MemfdFlags::CLOEXEC);
        let mut said = File::from(said.map_err(|error| format!("no room for {program}: {error}"))?);
        let output = said
            .try_clone()
            .map_err(|error| format!("no room for {program}: {error}"))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        let child = command.spawn();
        let mut child = child.map_err(|error| format!("cannot run {program}: {error}"))?;
        let begun = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() < CHECK_TIME_MAX => std::thread::sleep(CHECK_LOOK),
                Ok(None) | Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let limit = CHECK_TIME_MAX.as_secs();
                    return Err(format!("{program} -c did not end within {limit} s"));
                }
            }
        };
        if status.success() {
            return Ok(());
        }
        let mut complaint = Vec::new();
        let _ = said.rewind();
        let _ = said.take(COMPLAINT_MAX).read_to_end(&mut complaint);
        let complaint = String::from_utf8_lossy(&complaint);
        Err(format!("{program} -c refuses it: {}", essence(&complaint)))
    }
}

/// The first complaints, on one line.
pub(super) fn essence(complaint: &str) -> String {
    let lines = complaint.lines().filter(|line| line.contains("ALERT"));
    let text: Vec<&str> = lines.map(str::trim).collect();
    let text = if text.is_empty() {
        complaint.trim().replace('\n', " ")
    } else {
        text.join(" ")
    };
    crate::discovery::shown_up_to(&text, COMPLAINT_SHOWN)
}

fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    file.take(SIZE_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > SIZE_MAX {
        true => Err(io::Error::other("it is too large")),
        false => Ok(text),
    }
}

/// Whether what is called so (`new-1234`) belongs to another process that lives, such as an updater for
/// another backend of the same file.
fn is_in_use(rest: &[u8]) -> bool {
    let number = std::str::from_utf8(rest)
        .ok()
        .and_then(|it| it.rsplit_once('-'));
    let process = number.and_then(|(_, number)| number.parse::<u32>().ok());
    process.is_some_and(|process| {
        process != std::process::id() && Path::new(&format!("/proc/{process}")).exists()
    })
}

/// A folder that is held open, and the file in it.
struct Folder {
    folder: OwnedFd,
    name: OsString,
    before: std::fs::Metadata,
}

impl Folder {
    /// Opens it, and takes away what killed updaters have left there.
    fn open(path: &Path, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        let before = std::fs::metadata(path.join(name))?;
        let place = Self {
            folder,
            name: name.to_owned(),
            before,
        };
        place.tidy(path);
        Ok(place)
    }

    /// Hidden, and never ending in `.cfg`: HAProxy reads whole folders of those.
    fn temporary(&self, what: &str) -> OsString {
        let mut name = self.prefix();
        name.push(format!("{what}-{}", std::process::id()));
        name
    }

    fn prefix(&self) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".tidegate-");
        name
    }

    fn tidy(&self, path: &Path) {
        let prefix = self.prefix();
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        for name in entries.map(|entry| entry.file_name()) {
            let rest = name
                .as_encoded_bytes()
                .strip_prefix(prefix.as_encoded_bytes());
            if rest.is_some_and(|rest| !is_in_use(rest)) {
                self.remove(&name);
            }
        }
    }

    fn remove(&self, name: &OsStr) {
        let _ = rustix::fs::unlinkat(&self.folder, name, AtFlags::empty());
    }

    /// Writes a new file with owner and mode of the old one, down to the disk.
    fn write(&self, name: &OsStr, text: &str, stop: Stop<'_>) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::openat(&self.folder, name, flags, mode)?);
        stop("created")?;
        let (first, rest) = text.as_bytes().split_at(text.len() / 2);
        file.write_all(first)?;
        stop("half written")?;
        file.write_all(rest)?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (self.before.uid(), self.before.gid()) {
            let (owner, group) = (self.before.uid(), self.before.gid());
            std::os::unix::fs::fchown(&file, Some(owner), Some(group))?;
        }
        file.set_permissions(Permissions::from_mode(self.before.mode() & 0o7777))?;
        file.sync_all()?;
        stop("written")
    }

    /// Keeps the old file under another name, and puts the candidate in its place.
    fn exchange(&self, candidate: &OsStr, original: &Original, stop: Stop<'_>) -> io::Result<()> {
        stop("checked")?;
        let copy = self.temporary("old");
        self.write(&copy, &original.text, stop)?;
        let mut backup = self.name.clone();
        backup.push(BACKUP);
        rustix::fs::renameat(&self.folder, &copy, &self.folder, &backup)?;
        stop("kept")?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let now = rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty())?;
        let mut text = String::new();
        File::from(now).take(SIZE_MAX).read_to_string(&mut text)?;
        if text != original.text {
            return Err(io::Error::other("somebody else has changed it meanwhile"));
        }
        rustix::fs::renameat(&self.folder, candidate, &self.folder, &self.name)?;
        stop("replaced")?;
        rustix::fs::fsync(&self.folder)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a file, and a program that takes everything without the word `bad`.
    fn files(folder: &Path) -> ConfigFiles {
        let program = folder.join("haproxy");
        let script = "#!/bin/sh\nshift 2\n! grep -n bad \"$1\" >&2\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        std::fs::write(folder.join("haproxy.cfg"), "old\n").unwrap();
        ConfigFiles {
            paths: vec![folder.join("haproxy.cfg")],
            program,
        }
    }

    fn original() -> Original {
        Original {
            at: 0,
            text: "old\n".to_owned(),
        }
    }

    fn content(folder: &Path, name: &str) -> String {
        std::fs::read_to_string(folder.join(name)).unwrap_or_default()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_the_old_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let path = folder.path().join("haproxy.cfg");
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let stamp = files.stamp();
        files.replace(&original(), "new\n").unwrap();
        assert_ne!(files.stamp(), stamp);
        assert_eq!(content(folder.path(), "haproxy.cfg"), "new\n");
        assert_eq!(
            content(folder.path(), "haproxy.cfg.before-tidegate"),
            "old\n"
        );
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(
            names(folder.path()),
            ["haproxy", "haproxy.cfg", "haproxy.cfg.before-tidegate"]
        );
    }

    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(folder.path());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("haproxy.cfg", &link).unwrap();
        files.paths = vec![link.clone()];
        files.replace(&original(), "new\n").unwrap();
        assert_eq!(content(folder.path(), "haproxy.cfg"), "new\n");
        assert!(link.is_symlink());
    }

    #[test]
    fn what_haproxy_refuses_or_somebody_else_has_changed_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(folder.path());
        let refused = files.replace(&original(), "bad\n").unwrap_err();
        assert!(refused.contains("-c refuses it: 1:bad"), "{refused}");
        let other = Original {
            text: "older\n".to_owned(),
            ..original()
        };
        let refused = files.replace(&other, "new\n").unwrap_err();
        assert!(
            refused.contains("somebody else has changed it"),
            "{refused}"
        );
        files.program = folder.path().join("nobody");
        assert!(
            files
                .replace(&original(), "new\n")
                .unwrap_err()
                .contains("cannot run")
        );
        assert_eq!(content(folder.path(), "haproxy.cfg"), "old\n");
        assert!(
            names(folder.path())
                .iter()
                .all(|name| !name.starts_with('.'))
        );
    }

    #[test]
    fn killed_anywhere_it_leaves_the_old_file_or_the_new_one() {
        let steps = [
            "created",
            "half written",
            "written",
            "checked",
            "created",
            "half written",
            "written",
            "kept",
            "replaced",
        ];
        for last in 0..steps.len() {
            let folder = tempfile::tempdir().unwrap();
            let files = files(folder.path());
            // Ends the thread as a kill does: nothing after that point runs, clearing up included.
            let killed = std::thread::spawn({
                let files = files.clone();
                move || {
                    let mut step = 0;
                    let _ = files.replace_until(&original(), "new\n", &mut |name| {
                        assert_eq!(name, steps[step]);
                        step += 1;
                        match step > last {
                            true => std::panic::resume_unwind(Box::new(())),
                            false => Ok(()),
                        }
                    });
                }
            });
            assert!(killed.join().is_err(), "{last}");
            let expected = if steps[last] == "replaced" {
                "new\n"
            } else {
                "old\n"
            };
            assert_eq!(
                content(folder.path(), "haproxy.cfg"),
                expected,
                "{}",
                steps[last]
            );
            files.tidy();
            let left = names(folder.path());
            assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
            let rest = Original {
                text: expected.to_owned(),
                ..original()
            };
            files.replace(&rest, "newer\n").unwrap();
            assert_eq!(content(folder.path(), "haproxy.cfg"), "newer\n");
            assert!(
                names(folder.path())
                    .iter()
                    .all(|name| !name.starts_with('.'))
            );
        }
    }
}
