//! The line of a session in the log.

use std::hint::black_box;
use std::sync::Arc;

use config::expr::{Flags, Format, Variable};
use config::model::LogFormat;
use routing::dates;
use routing::format::{self, Variables};
use routing::sample::ConnectionFacts;

use crate::scene::{BROWSER, configuration, connection, facts, parsed};
use crate::{HotPath, Step, path};

pub(crate) const PATHS: &[HotPath] = &[
    path("log-line-httplog", 200, || line("option httplog")),
    path("log-line-tcplog", 200, || line("option tcplog")),
    path("log-line-custom", 200, || {
        line("log-format '%ci:%cp %ST %B %{+Q}HU %[src,ipmask(24)] %Ta'")
    }),
];

/// What only the engine knows, as a session of two minutes would have it.
struct Session {
    connection: ConnectionFacts,
}

impl Variables for Session {
    fn write(&self, variable: Variable, flags: Flags, out: &mut Vec<u8>) -> bool {
        use Variable as V;
        let (src, dst) = (self.connection.src, self.connection.dst);
        let address = match variable {
            V::ci | V::cp => src,
            V::fi | V::fp | V::bi | V::bp | V::si | V::sp => dst,
            _ => None,
        };
        match (variable, address) {
            (V::ci | V::fi | V::bi | V::si, Some(address)) => {
                format::address(address.ip(), flags, out);
            }
            (_, Some(address)) => format::port(address.port(), flags, out),
            (V::f | V::ft, _) => out.extend_from_slice(b"www"),
            (V::b, _) => out.extend_from_slice(b"nodes"),
            (V::s, _) => out.extend_from_slice(b"node-17"),
            (V::ts, _) => out.extend_from_slice(b"--"),
            (V::tsc, _) => out.extend_from_slice(b"----"),
            (V::t | V::tr, _) => {
                dates::log_millis(std::time::Duration::from_millis(1_795_337_577_123), out);
            }
            (V::r, _) => out.extend_from_slice(b"GET /socket?room=17&user=3f2a HTTP/1.1"),
            (V::ST, _) => format::number(101, Flags::default(), out),
            (V::B | V::U | V::Ta | V::Tt, _) => format::number(123_456, Flags::default(), out),
            (V::CC | V::CS | V::hr | V::hs, _) => return false,
            _ => format::number(3, Flags::default(), out),
        }
        true
    }
}

fn line(option: &str) -> Step {
    let config = configuration(&format!(
        "frontend www\n mode http\n log 127.0.0.1 local0\n {option}\n"
    ));
    let LogFormat::Custom(format) = &config.frontends[0].proxy.log.format else {
        unreachable!("a format is set");
    };
    let format: Arc<Format> = format.clone();
    let (head, session) = (
        parsed(BROWSER),
        Session {
            connection: connection(),
        },
    );
    let mut out = Vec::with_capacity(1024);
    Box::new(move || {
        out.clear();
        let facts = facts(&session.connection, Some(&head));
        format::render(black_box(&format), &facts, &session, black_box(&mut out));
    })
}
