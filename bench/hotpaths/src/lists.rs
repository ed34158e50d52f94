//! What maps and pattern files are asked for, by one request after the other.

use std::hint::black_box;
use std::net::Ipv4Addr;

use routing::format::NoVariables;
use routing::rules::{self, Outcome};
use routing::sample::ConnectionFacts;
use wire::head::RequestHead;

use crate::scene::{configuration_with, connection, facts, parsed};
use crate::{HotPath, Step, path};

/// Entries of a map.
const ENTRIES: u32 = 100_000;

/// Addresses in a pattern file.
const ADDRESSES: u32 = 10_000;

/// Different requests: how far a hash map is searched for one of them is chance.
const REQUESTS: u32 = 1000;

/// From one of them to the next, so that they lie far apart in a list.
const STRIDE: u32 = 97;

pub(crate) const PATHS: &[HotPath] = &[
    path("map-100000-text", 1000, || {
        judge(
            "deny unless { hdr(host),map(list) -m found }",
            list(ENTRIES, |n| format!("tenant-{n}.example.com backend-{n}")),
            |n| format!("GET / HTTP/1.1\r\nHost: tenant-{n}.example.com\r\n\r\n"),
        )
    }),
    path("map-100000-longest-prefix", 1000, || {
        judge(
            "deny unless { path,map_beg(list) -m found }",
            list(ENTRIES, |n| format!("/tenant-{n}/ backend-{n}")),
            |n| format!("GET /tenant-{n}/rooms/17 HTTP/1.1\r\nHost: a\r\n\r\n"),
        )
    }),
    // As most requests meet a list of those who are kept out.
    path("acl-file-10000-addresses", 1000, || {
        judge(
            "deny if { src -f list }",
            list(ADDRESSES, |n| client(ENTRIES + n).to_string()),
            |_| "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        )
    }),
];

fn client(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + n)
}

fn list(entries: u32, line: impl Fn(u32) -> String) -> String {
    (0..entries).map(|n| line(n) + "\n").collect()
}

/// Requests that a rule with a list lets pass, each of another client and for something else.
fn judge(rule: &str, list: String, request: impl Fn(u32) -> String) -> Step {
    let text = format!("frontend www\n mode http\n http-request {rule}\n");
    let config = configuration_with(&text, &[("list", list)]);
    let made = |turn| -> (RequestHead, ConnectionFacts) {
        let n = turn * STRIDE;
        let connection = ConnectionFacts {
            src: Some((client(n), 40_000).into()),
            ..connection()
        };
        (parsed(&request(n)), connection)
    };
    let mut requests: Vec<_> = (0..REQUESTS).map(made).collect();
    let mut turn = 0;
    Box::new(move || {
        turn = (turn + 1) % requests.len();
        let (head, connection) = &mut requests[turn];
        let rules = &config.frontends[0].proxy.http_request;
        let facts = facts(connection, None);
        let outcome = rules::request(
            rules,
            rules::Resume::START,
            black_box(head),
            &facts,
            &NoVariables,
            &[],
        );
        assert!(matches!(outcome, Outcome::Continue), "nothing is denied");
    })
}
