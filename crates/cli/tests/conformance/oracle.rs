//! The HAProxy that everything is compared with.

use std::path::Path;
use std::process::Command;

/// The version that the table and its exceptions were made with: Debian 12's.
const KNOWN: &str = "version 2.6.";

/// Where to look when `HAPROXY` does not say.
const PLACES: [&str; 3] = [
    "/usr/sbin/haproxy",
    "/usr/local/sbin/haproxy",
    "/usr/bin/haproxy",
];

/// Its path. Panics where there is none: a comparison with nothing would pass.
pub(crate) fn find() -> String {
    let named = std::env::var("HAPROXY").ok();
    let found = named.or_else(|| {
        let mut places = PLACES.iter().filter(|place| Path::new(place).exists());
        places.next().map(|place| (*place).to_owned())
    });
    let Some(path) = found else {
        panic!(
            "haproxy is not installed, and there is nothing to compare with. On Debian: \
             sudo apt-get install haproxy. Elsewhere: set HAPROXY to the path of a 2.6."
        );
    };
    let output = Command::new(&path).arg("-v").output();
    let output = output.unwrap_or_else(|error| panic!("run {path} -v: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.lines().next().unwrap_or_default();
    println!("comparing with {version}");
    if !version.contains(KNOWN) {
        println!("the table was made with {KNOWN}x: other versions differ from it here and there");
    }
    path
}
