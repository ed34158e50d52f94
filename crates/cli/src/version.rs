//! `-v` and `-vv`.

use std::ffi::OsStr;
use std::path::Path;

/// The line of `-v`. Scripts read the word behind "version" (`management.txt` 3); those that call us
/// `haproxy` compare it with HAProxy's.
pub(crate) fn line(program: &OsStr) -> String {
    if Path::new(program).file_name() == Some(OsStr::new("haproxy")) {
        return format!(
            "HAProxy version {} (spoken by tidegate {})",
            config::COMPATIBLE_VERSION,
            env!("CARGO_PKG_VERSION"),
        );
    }
    format!(
        "tidegate version {} (speaks the configuration language of HAProxy {})",
        env!("CARGO_PKG_VERSION"),
        config::COMPATIBLE_VERSION,
    )
}

/// The text of `-vv`.
pub(crate) fn build(program: &OsStr) -> String {
    let features: Vec<String> = config::FEATURES
        .iter()
        .map(|feature| format!("+{feature}"))
        .collect();
    format!(
        "{}\n\
         Target: {}-{}, {} build\n\
         Feature list: {}\n\
         TLS: rustls with aws-lc-rs (TLS 1.2, TLS 1.3)\n\
         Polling: epoll through tokio, one event loop per thread\n\
         Discovery: WSUpdates over http and https; embedded registry\n\
         Environment: WS_UPDATES_URL, API_KEY, UPDATE_INTERVAL\n",
        line(program),
        std::env::consts::ARCH,
        std::env::consts::OS,
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        features.join(" "),
    )
}
