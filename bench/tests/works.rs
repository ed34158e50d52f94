//! The bench still works: counts match through every kind of proxy, and all is told. What things
//! cost is no matter of tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test reports, in its helpers too"
)]

use std::path::Path;
use std::process::Command;

#[test]
fn a_short_run_tells_what_was_measured() {
    let bench = Path::new(env!("CARGO_BIN_EXE_bench"));
    let tidegate = bench.with_file_name("tidegate");
    assert!(
        tidegate.exists(),
        "{} is missing; run: cargo build --package cli",
        tidegate.display()
    );
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(bench)
        .args(["--seconds", "0.5", "--rounds", "1", "--peers"])
        .args(["haproxy,tidegate,copy-loop", "--haproxy"])
        .arg(haproxy())
        .args([
            "--only",
            "relay-64-100-sockets,tls-connect-resumed,http-10-rules",
        ])
        .arg("--tidegate")
        .arg(tidegate)
        .arg("--out")
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complaint}");
    for row in [
        "| relay-64-100-sockets | haproxy |",
        "| relay-64-100-sockets | tidegate |",
        "| relay-64-100-sockets | copy-loop |",
        "| tls-connect-resumed | CPU per unit, ratio to HAProxy |",
        "| tls-connect-resumed | tidegate |",
        "| http-10-rules | tidegate |",
    ] {
        assert!(said.contains(row), "no {row} in\n{said}\n{complaint}");
    }
    for (file, begins) in [
        ("table.md", "- 2"),
        ("lines.json", "{"),
        ("ratios.svg", "<svg"),
    ] {
        let written = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(written.starts_with(begins), "{file}: {written}");
    }
}

/// The HAProxy to run, found as the other tests find it.
fn haproxy() -> std::ffi::OsString {
    let given = std::env::var_os("HAPROXY");
    given.unwrap_or_else(|| match Path::new("/usr/sbin/haproxy").exists() {
        true => "/usr/sbin/haproxy".into(),
        false => "haproxy".into(),
    })
}
