//! A file that outlives the process: what is kept there is there as a whole or as it was before, whenever the
//! process or the machine ends.
//!
//! Written into a temporary file in the same folder, fsync, rename, fsync of the folder. The folder is opened
//! once, at start: the path need not be reachable after `chroot`, and never leads elsewhere.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

/// The file.
#[derive(Debug)]
pub struct KeptFile {
    path: PathBuf,
    name: PathBuf,
    folder: OwnedFd,
}

impl KeptFile {
    /// Opens the folder of the file; fails when there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
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
        })
    }

    /// The path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it whole. `None`: there is no file yet. Fails with a reason for people, such as that it is longer
    /// than `len_max` bytes.
    pub fn read(&self, len_max: u64) -> Result<Option<Vec<u8>>, String> {
        // What stands there may be a pipe, which nobody waits for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io::Error::from(error).to_string()),
        };
        let mut text = Vec::new();
        let read = file.take(len_max + 1).read_to_end(&mut text);
        read.map_err(|error| error.to_string())?;
        if text.len() as u64 > len_max {
            return Err(format!("it is larger than {len_max} bytes"));
        }
        Ok(Some(text))
    }

    /// Writes it anew; on failure it is as it was. Nobody but the user that we are reads it.
    pub fn replace(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut temporary = self.name.clone().into_os_string();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = Path::new(&temporary);
        let replaced = self.replace_by(temporary, write);
        if replaced.is_err() {
            let _ = rustix::fs::unlinkat(&self.folder, temporary, AtFlags::empty());
        }
        replaced
    }

    fn replace_by(
        &self,
        temporary: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        // What a killed process left behind under this name, or what somebody put there for us to
        // follow: a new file or none.
        let _ = rustix::fs::unlinkat(&self.folder, temporary, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(rustix::fs::openat(&self.folder, temporary, flags, mode)?);
        let mut writer = BufWriter::new(file);
        write(&mut writer)?;
        let file = writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        rustix::fs::renameat(&self.folder, temporary, &self.folder, &self.name)?;
        rustix::fs::fsync(&self.folder)?;
        Ok(())
    }

    /// Adds to its end what is there when this returns, whatever happens then. There must be a file.
    pub fn append(&self, text: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty())?;
        let mut file = File::from(file);
        file.write_all(text)?;
        file.sync_data()
    }
}
