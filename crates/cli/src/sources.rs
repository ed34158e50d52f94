//! Files for the configuration language: texts of `-f`, and what a configuration may look at.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use config::Surroundings;
use config::source::Source;
use nix::unistd::{Gid, Group, Uid, User};

/// The process's environment and file system.
pub(crate) struct System;

impl Surroundings for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn read_bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| error.to_string())
    }

    fn socket(&self, descriptor: i32) -> Result<(), String> {
        match std::fs::read_link(format!("/proc/self/fd/{descriptor}")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err("it is not open".into())
            }
            Ok(link) if !link.to_string_lossy().starts_with("socket:") => {
                Err("it is no socket".into())
            }
            // Without /proc it shows when it is used.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn user_id(&self, name: &str) -> Option<u32> {
        let found = User::from_name(name).ok()?.map(|user| user.uid.as_raw());
        found.or_else(|| unchanged(Uid::effective().as_raw()))
    }

    fn group_id(&self, name: &str) -> Option<u32> {
        let found = Group::from_name(name).ok()?.map(|group| group.gid.as_raw());
        found.or_else(|| unchanged(Gid::effective().as_raw()))
    }
}

/// Whoever is not root, in a container say, stays who they are: then nothing hangs on a name that
/// this machine does not know.
fn unchanged(id: u32) -> Option<u32> {
    (!Uid::effective().is_root()).then_some(id)
}

/// Reads all `-f` arguments in order; a folder stands for its `.cfg` files in alphabetical order
/// (`management.txt` 3, "-f").
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths {
        if path.is_dir() {
            for file in folder(path)? {
                sources.push(read_one(&file)?);
            }
        } else {
            sources.push(read_one(path)?);
        }
    }
    if sources.is_empty() {
        bail!("there is no .cfg file in what -f names");
    }
    Ok(sources)
}

fn folder(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path)
        .with_context(|| format!("cannot read the folder '{}'", path.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "cfg"))
        .filter(|file| {
            !file
                .file_name()
                .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."))
        })
        .collect();
    files.sort();
    Ok(files)
}

fn read_one(path: &Path) -> Result<Source> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path)
        .with_context(|| format!("cannot read the configuration file '{shown}'"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        anyhow::anyhow!("'{shown}' is not UTF-8 text: see line {line}")
    })?;
    Ok(Source {
        name: shown.into(),
        text: text.into(),
    })
}

/// The configuration behind `--metrics ADDRESS`: a frontend like any other.
pub(crate) fn metrics(address: &str) -> Source {
    let text = format!(
        "frontend tidegate-metrics\n    mode http\n    bind \"{address}\"\n    timeout client 10s\n    \
         timeout http-request 5s\n    http-request use-service prometheus-exporter if {{ path /metrics }}\n    \
         http-request return status 404 content-type text/plain string \"metrics are at /metrics\"\n"
    );
    Source {
        name: "--metrics".into(),
        text: text.into(),
    }
}

/// The line that `-S ADDRESS[,OPTION…]` stands for (management.txt 9.4).
pub(crate) fn master(address: &str) -> Source {
    let words: Vec<String> = address
        .split(',')
        .map(|word| format!("\"{word}\""))
        .collect();
    let text = format!("global\n    -S {}\n", words.join(" "));
    Source {
        name: "-S".into(),
        text: text.into(),
    }
}
