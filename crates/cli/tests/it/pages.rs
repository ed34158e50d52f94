//! The reference pages in `docs/reference/` are what the program writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn pages(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).expect("a folder of pages");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let text = std::fs::read_to_string(entry.path()).expect("a page is text");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect()
}

#[test]
fn the_reference_is_what_the_program_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["generate", "reference"])
        .arg(folder.path())
        .status()
        .expect("the program starts");
    assert!(ended.success());
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let (written, stored) = (pages(folder.path()), pages(&stored));
    let stale: Vec<&String> = written
        .keys()
        .chain(stored.keys())
        .filter(|page| written.get(*page) != stored.get(*page))
        .collect();
    assert!(
        stale.is_empty(),
        "stale: {stale:?}; write them anew with ./run reference"
    );
}
