//! Choosing among 3,000 servers, and telling the balancer what has changed about one of them.

use std::hint::black_box;

use config::model::{Balance, Balancing};
use routing::balance::{
    Ask, Balancer, Candidate, Room, SCALE, ServerKey, ring_point, session_hash,
};

use crate::scene::{BROWSER, configuration, connection, facts, parsed};
use crate::{HotPath, Step, path};

/// As many as an operator of a large fleet has.
const SERVERS: u32 = 3000;

pub(crate) const PATHS: &[HotPath] = &[
    path("pick-roundrobin", 3000, || pick("roundrobin")),
    path("pick-static-rr", 3000, || pick("static-rr")),
    path("pick-leastconn", 3000, || pick("leastconn")),
    path("pick-random-2", 3000, || pick("random(2)")),
    path("pick-first", 3000, || pick("first")),
    path("pick-source-map", 1000, || pick("source")),
    path("pick-source-ring", 1000, || {
        pick("source\n hash-type consistent")
    }),
    path("pick-uri-map", 1000, || pick("uri")),
    path("pick-uri-ring", 1000, || {
        pick("uri\n hash-type consistent djb2 avalanche")
    }),
    path("pick-source-ring-bounded", 1000, || {
        pick("source\n hash-type consistent\n hash-balance-factor 150")
    }),
    path("pick-roundrobin-all-full", 1000, all_full),
    path("weight-change-roundrobin", 1000, || {
        change("roundrobin", weight)
    }),
    path("weight-change-leastconn", 1000, || {
        change("leastconn", weight)
    }),
    path("weight-change-random", 1000, || change("random(2)", weight)),
    path("weight-change-ring", 200, || {
        change("source\n hash-type consistent", weight)
    }),
    path("weight-change-map", 10, || change("source", weight)),
    path("server-down-up-roundrobin", 1000, || {
        change("roundrobin", usable)
    }),
    path("server-down-up-leastconn", 1000, || {
        change("leastconn", usable)
    }),
    path("server-down-up-ring", 100, || {
        change("source\n hash-type consistent", usable)
    }),
    path("server-down-up-map", 10, || change("source", usable)),
];

/// Weights differ, as they do where machines do.
fn candidate(key: u32) -> Candidate {
    Candidate {
        key: ServerKey(key),
        id: key + 1,
        point: ring_point(key + 1),
        weight: [1, 2, 4][key as usize % 3],
        ramp: SCALE,
        usable: true,
        backup: false,
        sessions: 0,
    }
}

fn balancer(balancing: &Balancing) -> Balancer {
    let mut balancer = Balancer::new(balancing);
    for key in 0..SERVERS {
        balancer.upsert(candidate(key));
    }
    balancer
}

fn balancing(balance: &str) -> Balancing {
    let config = configuration(&format!("backend nodes\n mode http\n balance {balance}\n"));
    config.backends[0].balancing.clone()
}

/// Numbers that look random, the same ones in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ self.0 >> 32
    }
}

/// A session comes: its hash, its server, and that one has a session more. The oldest of a thousand goes.
fn pick(balance: &str) -> Step {
    const OPEN: usize = 1000;
    let balancing = balancing(balance);
    let mut balancer = balancer(&balancing);
    let (head, mut connection) = (parsed(BROWSER), connection());
    let mut dice = Dice(1);
    let mut sessions = vec![0u64; SERVERS as usize];
    let mut open = [None; OPEN];
    let mut turn = 0;
    let is_first = matches!(balancing.algorithm, Balance::First);
    Box::new(move || {
        let random = dice.roll();
        connection.src = Some(
            (
                random
                    .to_be_bytes()
                    .first_chunk::<4>()
                    .copied()
                    .unwrap_or_default(),
                40_000,
            )
                .into(),
        );
        let hash = session_hash(&balancing, &facts(&connection, Some(&head)));
        let ask = Ask {
            hash,
            random,
            avoid: None,
        };
        let room = |key: ServerKey| match sessions[key.0 as usize] {
            // So that the first ones are full, and have to be passed.
            2.. if is_first => Room::Queue,
            _ => Room::Free,
        };
        let picked = balancer
            .pick(black_box(&ask), &room)
            .expect("there is room");
        let count = &mut sessions[picked.0 as usize];
        *count += 1;
        balancer.sessions_changed(picked, *count);
        if let Some(gone) = open[turn % OPEN].replace(picked) {
            let count = &mut sessions[gone.0 as usize];
            *count -= 1;
            balancer.sessions_changed(gone, *count);
        }
        turn += 1;
    })
}

/// Nobody has room, and so it was when last asked: what a queue of waiting sessions costs.
fn all_full() -> Step {
    let mut balancer = balancer(&balancing("roundrobin"));
    Box::new(move || {
        let picked = balancer.pick(black_box(&Ask::default()), &|_| Room::Queue);
        assert_eq!(picked, None, "all are full");
    })
}

/// One server after the other changes, and one session is placed, since some algorithms put work off
/// until then.
fn change(balance: &str, alter: fn(&mut Candidate, u64)) -> Step {
    let balancing = balancing(balance);
    let mut balancer = balancer(&balancing);
    let mut turn = 0u64;
    Box::new(move || {
        let mut changed = candidate((turn * 7 % u64::from(SERVERS)) as u32);
        for half in 0..2 {
            alter(&mut changed, half);
            balancer.upsert(changed);
        }
        turn += 1;
        let hash = (turn as u32).wrapping_mul(0x9e37_79b9);
        let ask = Ask {
            hash: Some(hash),
            random: u64::from(hash),
            avoid: None,
        };
        black_box(balancer.pick(black_box(&ask), &|_| Room::Free));
    })
}

/// There and back.
fn weight(candidate: &mut Candidate, half: u64) {
    candidate.weight = if half == 0 {
        candidate.weight + 8
    } else {
        candidate.weight - 8
    };
}

fn usable(candidate: &mut Candidate, half: u64) {
    candidate.usable = half == 1;
}
