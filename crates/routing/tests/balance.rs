//! Which servers get which sessions, against what HAProxy 2.6 did with the same weights, ids and keys
//! (`tests/haproxy/turns.tsv`, `hashing.tsv`, `hashes.tsv`).

#![allow(
    clippy::panic,
    reason = "a panic is how a test reports, in its helpers too"
)]

use std::net::SocketAddr;
use std::time::Duration;

use config::model::Balancing;
use routing::balance::{
    Ask, Balancer, Candidate, Room, SCALE, ServerKey, avalanche, crc32, djb2, ring_point, sdbm,
    session_hash, wt6,
};
use routing::content::Content;
use routing::process::NoProcess;
use routing::sample::{ConnectionFacts, Facts};
use wire::h1::{Limits, Parsed, parse_request};
use wire::head::RequestHead;

struct World;

impl config::Surroundings for World {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, _: &str) -> Result<String, String> {
        Err("there are no files here".to_owned())
    }
}

/// What a backend with these lines says of balancing.
fn balancing(balance: &str, hash_type: Option<&str>) -> Balancing {
    let hash_type = hash_type.map_or(String::new(), |it| format!("hash-type {it}\n"));
    let text = format!("backend b\nmode http\nbalance {balance}\n{hash_type}");
    let source = config::source::Source::new("test", text);
    let checked = config::load(&[source], &World);
    let Some(mut config) = checked.config else {
        panic!("{balance}: {:?}", checked.diagnostics)
    };
    config.backends.remove(0).balancing
}

fn server(key: usize, id: u32, weight: u16, usable: bool) -> Candidate {
    Candidate {
        key: ServerKey(key as u32),
        id,
        point: ring_point(id),
        weight,
        ramp: SCALE,
        usable,
        backup: false,
        sessions: 0,
    }
}

fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').collect())
}

#[test]
fn servers_get_their_turns_as_in_haproxy() {
    for row in rows(include_str!("haproxy/turns.tsv")) {
        let [algorithm, weights, expected] = row[..] else {
            panic!("three columns: {row:?}")
        };
        let (balance, hash_type) = match algorithm.split_once(';') {
            Some((balance, hash_type)) => (balance, Some(hash_type)),
            None => (algorithm, None),
        };
        let mut balancer = Balancer::new(&balancing(balance, hash_type));
        for (key, weight) in weights.split(' ').enumerate() {
            let weight = weight.parse().expect("a weight");
            balancer.upsert(server(key, key as u32 + 1, weight, true));
        }
        let mut turn = || {
            let picked = balancer.pick(&Ask::default(), &|_| Room::Free);
            picked.expect("a server").0.to_string()
        };
        let turns: String = (0..expected.len()).map(|_| turn()).collect();
        assert_eq!(turns, expected, "{algorithm} {weights}");
    }
}

fn head(target: &str, header: &str) -> RequestHead {
    let host = target.split('/').nth(2).filter(|_| target.contains("://"));
    let host = host.unwrap_or("h");
    let text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n");
    let limits = Limits {
        head_bytes_max: 15_360,
        fields_max: 101,
        lenient: false,
    };
    match parse_request(text.as_bytes(), &limits) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => panic!("{text}: {other:?}"),
    }
}

/// The hash of a request or client that has `key` where the algorithm looks for it.
fn hash_of(balancing: &Balancing, balance: &str, key: &str) -> Option<u32> {
    let (target, header, source) = match balance {
        "source" | "hash src" => ("/".to_owned(), String::new(), key),
        it if it.starts_with("uri") => (key.to_owned(), String::new(), "127.0.0.1"),
        it if it.starts_with("url_param") => (format!("/?id={key}"), String::new(), "127.0.0.1"),
        _ => ("/".to_owned(), format!("x: {key}\r\n"), "127.0.0.1"),
    };
    let head = head(&target, &header);
    let source = source.parse().expect("an address");
    let connection = ConnectionFacts {
        src: Some(SocketAddr::new(source, 40_000)),
        ..ConnectionFacts::default()
    };
    let facts = Facts {
        request: Some(&head),
        response: None,
        content: Content::default(),
        connection: &connection,
        memory: &routing::sample::NoMemory,
        frontend: "fe",
        backend: None,
        server_tls: None,
        process: &NoProcess,
        now: Duration::ZERO,
        random: 7,
        logins: None,
    };
    session_hash(balancing, &facts)
}

#[test]
fn keys_go_where_haproxy_sends_them() {
    let mut wrong = Vec::new();
    for row in rows(include_str!("haproxy/hashing.tsv")) {
        let [balance, hash_type, servers, keys, expected] = row[..] else {
            panic!("five columns: {row:?}")
        };
        let balancing = balancing(balance, (hash_type != "-").then_some(hash_type));
        let mut balancer = Balancer::new(&balancing);
        for (key, text) in servers.split(' ').enumerate() {
            let (id, weight) = text.split_once(':').expect("id:weight");
            let (weight, usable) = match weight.strip_suffix('!') {
                Some(weight) => (weight, false),
                None => (weight, true),
            };
            let (id, weight) = (
                id.parse().expect("an id"),
                weight.parse().expect("a weight"),
            );
            balancer.upsert(server(key, id, weight, usable));
        }
        for (key, expected) in keys.split(' ').zip(expected.split(' ')) {
            let hash = hash_of(&balancing, balance, key);
            let ask = Ask {
                hash,
                ..Ask::default()
            };
            let picked = balancer
                .pick(&ask, &|_| Room::Queue)
                .map(|key| key.0.to_string());
            if hash.is_none() || picked.as_deref() != Some(expected) {
                wrong.push(format!(
                    "{balance}; {hash_type}; {key}: {picked:?}, not {expected}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hashes_are_haproxys() {
    for row in rows(include_str!("haproxy/hashes.tsv")) {
        let plain = [sdbm, djb2, wt6, crc32].map(|function| function(row[0].as_bytes()));
        let ours = plain.iter().copied().chain(plain.map(avalanche));
        let ours: Vec<String> = ours.map(|hash| hash.to_string()).collect();
        assert_eq!(ours, row[1..], "{}", row[0]);
    }
}
