//! The line of `option httplog` (manual 8.2.3) written in one go: most services have that one, and asking its
//! format for one variable after the other costs more than twice as much.
//!
//! The format stays the only truth: debug builds, and so all tests, write each line by it as well, and compare.

use std::time::Duration;

use config::expr::Flags;
use routing::{dates, format};

use super::line::{Ending, number};

/// Room for a line of usual length.
const USUAL: usize = 256;

impl Ending<'_> {
    /// Writes the line; `by_format` as the format has it, where something is not as usual.
    pub(super) fn write_httplog(&self, out: &mut Vec<u8>, by_format: impl Fn(&mut Vec<u8>)) {
        if !cfg!(debug_assertions) {
            if !self.write_usual(out) {
                by_format(out);
            }
            return;
        }
        let mut lines = [Vec::new(), Vec::new()];
        by_format(&mut lines[0]);
        if self.write_usual(out) {
            by_format(&mut lines[1]);
            // Other threads count connections meanwhile.
            let same = lines.contains(out) || lines[0] != lines[1];
            debug_assert!(same, "{} is not as its format", out.escape_ascii());
        } else {
            out.extend_from_slice(&lines[0]);
        }
    }

    /// `false`, and nothing is written, where the format must be asked.
    fn write_usual(&self, out: &mut Vec<u8>) -> bool {
        let session = self.session;
        let record = &session.record;
        let Some(src) = session.connection.facts.source() else {
            return false;
        };
        let usual = session.is_http()
            && session.notes.borrow().is_none()
            && session.frontend().conf().captures.is_empty()
            && !record.request_line.is_empty()
            && format::stays_in_log(&record.request_line);
        if !usual {
            return false;
        }
        out.reserve(USUAL);
        format::address(src.ip(), Flags::default(), out);
        out.push(b':');
        number(out, src.port().into());
        out.extend_from_slice(b" [");
        dates::log_millis(record.date, out);
        out.extend_from_slice(b"] ");
        out.extend_from_slice(session.frontend().name().as_bytes());
        if session.connection.facts.tls.is_some() {
            out.push(b'~');
        }
        out.push(b' ');
        let backend = session.backend.as_ref();
        let backend_name = backend.map_or(session.frontend().name(), |it| it.name());
        out.extend_from_slice(backend_name.as_bytes());
        out.push(b'/');
        let server = session.server.as_ref();
        let server_name = server.map_or(session.service, |it| &it.conf.name);
        out.extend_from_slice(server_name.as_bytes());
        out.push(b' ');
        for time in [
            record.request,
            record.queue,
            record.connect,
            self.response(),
        ] {
            duration(out, time);
            out.push(b'/');
        }
        self.write_plus(out);
        duration(out, Some(self.total));
        out.push(b' ');
        match self.status() {
            Some(status) => number(out, status.into()),
            None => out.extend_from_slice(b"-1"),
        }
        out.push(b' ');
        self.write_plus(out);
        number(out, self.bytes());
        out.extend_from_slice(b" - - ");
        out.extend_from_slice(&self.end.letters());
        out.extend_from_slice(&self.cookie_letters());
        out.push(b' ');
        number(out, session.worker().shared.connections.now());
        out.push(b'/');
        number(out, session.frontend().sessions.now());
        out.push(b'/');
        number(out, backend.map_or(0, |it| it.sessions.now()));
        out.push(b'/');
        number(out, server.map_or(0, |it| it.sessions.now()));
        out.push(b'/');
        if record.redispatched {
            out.push(b'+');
        }
        number(out, record.retries.into());
        out.push(b' ');
        number(out, record.server_queue);
        out.push(b'/');
        number(out, record.backend_queue);
        out.extend_from_slice(b" \"");
        out.extend_from_slice(&record.request_line);
        out.push(b'"');
        true
    }
}

/// Milliseconds; -1 where it was not reached.
fn duration(out: &mut Vec<u8>, time: Option<Duration>) {
    match time {
        Some(time) => {
            let millis = u64::from(time.subsec_millis());
            number(out, time.as_secs().saturating_mul(1000) + millis);
        }
        None => out.extend_from_slice(b"-1"),
    }
}
