//! What every algorithm promises, checked against a naive model and, where it can be, against what
//! HAProxy 2.6 did with the same servers.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use config::model::{Balance, Balancing, HashKey};
use proptest::prelude::*;

use super::*;

fn balancing(algorithm: Balance) -> Balancing {
    Balancing {
        algorithm,
        ..Balancing::default()
    }
}

/// `balance source`.
fn map() -> Balancing {
    balancing(Balance::Hash(HashKey::Source))
}

/// The same with `hash-type consistent`.
fn ring() -> Balancing {
    let mut balancing = map();
    balancing.hashing.consistent = true;
    balancing
}

fn all() -> Vec<Balancing> {
    let by_turns = [
        Balance::RoundRobin,
        Balance::LeastConn,
        Balance::Random(1),
        Balance::Random(2),
        Balance::First,
        Balance::StaticRr,
    ];
    let by_turns = by_turns.into_iter().map(balancing);
    by_turns.chain([map(), ring()]).collect()
}

fn is_hashing(balancing: &Balancing) -> bool {
    matches!(balancing.algorithm, Balance::Hash(_))
}

fn server(key: u32, weight: u16) -> Candidate {
    Candidate {
        key: ServerKey(key),
        id: key + 1,
        point: ring_point(key + 1),
        weight,
        ramp: SCALE,
        usable: true,
        backup: false,
        sessions: 0,
    }
}

fn farm(balance: Balance, weights: &[u16]) -> Balancer {
    farm_of(&balancing(balance), weights)
}

fn farm_of(balancing: &Balancing, weights: &[u16]) -> Balancer {
    let mut balancer = Balancer::new(balancing);
    for (key, weight) in weights.iter().enumerate() {
        balancer.upsert(server(key as u32, *weight));
    }
    balancer
}

fn room(_: ServerKey) -> Room {
    Room::Free
}

/// Full where the test says no.
fn room_if(free: bool) -> Room {
    match free {
        true => Room::Free,
        false => Room::Queue,
    }
}

/// The keys of the next `count` picks, each with another random number and hash.
fn picks(balancer: &mut Balancer, count: usize) -> Vec<u32> {
    let pick = |number: usize| {
        let ask = Ask {
            hash: Some(number as u32),
            random: number as u64 * 7919,
            avoid: None,
        };
        balancer.pick(&ask, &room).unwrap().0
    };
    (0..count).map(pick).collect()
}

fn counts(picks: &[u32]) -> HashMap<u32, usize> {
    let mut counts = HashMap::new();
    for key in picks {
        *counts.entry(*key).or_default() += 1;
    }
    counts
}

#[test]
fn roundrobin_keeps_the_others_positions() {
    let mut balancer = farm(Balance::RoundRobin, &[1, 1, 1, 1]);
    assert_eq!(picks(&mut balancer, 2), [0, 1]);
    balancer.remove(ServerKey(3));
    assert_eq!(picks(&mut balancer, 4), [2, 0, 1, 2]);
    balancer.upsert(server(4, 1));
    assert_eq!(picks(&mut balancer, 5), [0, 1, 2, 4, 0]);
    // A server that comes back does not disturb the order, nor get what it missed.
    balancer.upsert(Candidate {
        usable: false,
        ..server(0, 1)
    });
    assert_eq!(picks(&mut balancer, 30)[27..], [1, 2, 4]);
    balancer.upsert(server(0, 1));
    let counts = counts(&picks(&mut balancer, 8));
    assert_eq!(counts, HashMap::from([(0, 2), (1, 2), (2, 2), (4, 2)]));
}

#[test]
fn a_new_server_gets_no_burst_in_roundrobin() {
    let mut balancer = farm(Balance::RoundRobin, &[1; 100]);
    picks(&mut balancer, 12345);
    for key in 2..100 {
        balancer.remove(ServerKey(key));
    }
    balancer.upsert(server(100, 1));
    let first = picks(&mut balancer, 9);
    assert!(
        counts(&first).values().all(|count| *count == 3),
        "{first:?}"
    );
}

#[test]
fn a_farm_that_was_all_gone_starts_afresh_in_roundrobin() {
    for weights in [[256_u16; 5], [1, 1, 1, 1, 1], [1, 256, 1, 256, 1]] {
        let mut balancer = farm(Balance::RoundRobin, &weights);
        picks(&mut balancer, 1000);
        for key in 0..5 {
            balancer.remove(ServerKey(key));
        }
        for (key, weight) in weights.iter().enumerate() {
            balancer.upsert(server(key as u32, *weight));
            picks(&mut balancer, 3);
        }
        let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        let shares = counts(&picks(&mut balancer, 10 * total));
        for (key, weight) in weights.iter().enumerate() {
            let share = shares.get(&(key as u32)).copied().unwrap_or_default();
            let fair = 10 * usize::from(*weight);
            assert!(
                share.abs_diff(fair) <= 5 + fair / 20,
                "{weights:?}: {shares:?}"
            );
        }
    }
}

#[test]
fn a_full_server_does_not_get_all_it_missed_in_roundrobin() {
    let mut balancer = farm(Balance::RoundRobin, &[1, 1, 1]);
    let only_0_is_full = |key: ServerKey| room_if(key != ServerKey(0));
    for _ in 0..1000 {
        assert_ne!(
            balancer.pick(&Ask::default(), &only_0_is_full),
            Some(ServerKey(0))
        );
    }
    let after = picks(&mut balancer, 9);
    assert!(counts(&after)[&0] <= 4, "{after:?}");
}

#[test]
fn a_weight_change_counts_from_now_in_roundrobin() {
    let mut balancer = farm(Balance::RoundRobin, &[1, 256]);
    picks(&mut balancer, 3);
    balancer.upsert(server(0, 256));
    let after = picks(&mut balancer, 100);
    assert!(counts(&after)[&0].abs_diff(50) <= 1);
    balancer.upsert(server(1, 0));
    assert_eq!(counts(&picks(&mut balancer, 10)), HashMap::from([(0, 10)]));
    assert_eq!(balancer.total_weight(), 256);
}

#[test]
fn leastconn_takes_the_least_loaded_and_turns_among_equals() {
    let mut balancer = farm(Balance::LeastConn, &[1, 1, 1]);
    assert_eq!(picks(&mut balancer, 6), [0, 1, 2, 0, 1, 2]);
    balancer.sessions_changed(ServerKey(0), 5);
    balancer.sessions_changed(ServerKey(1), 1);
    balancer.sessions_changed(ServerKey(2), 1);
    assert_eq!(picks(&mut balancer, 4), [1, 2, 1, 2]);
    balancer.sessions_changed(ServerKey(0), 0);
    assert_eq!(picks(&mut balancer, 2), [0, 0]);
}

#[test]
fn leastconn_sends_a_new_node_the_new_load() {
    // 50 tunnels on each of three nodes, then a fourth comes and 50 sessions more.
    let mut balancer = farm(Balance::LeastConn, &[1; 3]);
    for key in 0..3 {
        balancer.sessions_changed(ServerKey(key), 50);
    }
    balancer.upsert(server(3, 1));
    for sessions in 0..50 {
        assert_eq!(picks(&mut balancer, 1), [3]);
        balancer.sessions_changed(ServerKey(3), sessions + 1);
    }
}

#[test]
fn leastconn_fills_by_weight() {
    let mut balancer = farm(Balance::LeastConn, &[1, 3, 6]);
    let mut sessions = [0_u64; 3];
    for _ in 0..1000 {
        let key = picks(&mut balancer, 1)[0];
        sessions[key as usize] += 1;
        balancer.sessions_changed(ServerKey(key), sessions[key as usize]);
    }
    assert_eq!(sessions, [100, 300, 600]);
}

/// HAProxy's rule for the map, position by position over all servers, to check ours by.
fn naive_map(weights: &[u16]) -> Vec<u32> {
    let total: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
    let mut scores = vec![0_i64; weights.len()];
    let mut map = Vec::new();
    for _ in 0..total {
        let mut best: Option<(i64, usize)> = None;
        for (index, weight) in weights.iter().enumerate() {
            scores[index] += i64::from(*weight);
            let behind = (scores[index] + total).div_euclid(total);
            if *weight > 0 && best.is_none_or(|(most, _)| behind > most) {
                best = Some((behind, index));
            }
        }
        let (_, best) = best.unwrap();
        scores[best] -= total;
        map.push(best as u32);
    }
    map
}

proptest! {
    #[test]
    fn the_source_map_is_haproxys(weights in prop::collection::vec(1_u16..=256, 1..12)) {
        // 1 among the weights keeps the common divisor from shortening the map.
        let weights: Vec<u16> = weights.into_iter().chain([1]).collect();
        let expected = naive_map(&weights);
        let mut balancer = farm(Balance::Hash(HashKey::Source), &weights);
        prop_assert_eq!(picks(&mut balancer, expected.len()), expected);
    }
}

#[test]
fn random_follows_weights_and_prefers_the_less_loaded() {
    let mut balancer = farm(Balance::Random(1), &[1, 3, 6]);
    let shares = counts(&picks(&mut balancer, 10_000));
    for (key, expected) in [(0, 1000_usize), (1, 3000), (2, 6000)] {
        assert!(shares[&key].abs_diff(expected) < 150, "{shares:?}");
    }
    // With two draws an overloaded server is only taken when it is drawn twice.
    let mut balancer = farm(Balance::Random(2), &[1, 1]);
    balancer.sessions_changed(ServerKey(0), 1000);
    let shares = counts(&picks(&mut balancer, 10_000));
    assert!(shares[&0].abs_diff(2500) < 200, "{shares:?}");
}

#[test]
fn first_fills_one_server_after_the_other() {
    let mut balancer = farm(Balance::First, &[1, 100, 1]);
    let free = Cell::new(0);
    let has_room = |key: ServerKey| room_if(key.0 >= free.get());
    for expected in 0..3 {
        free.set(expected);
        let picked = balancer.pick(&Ask::default(), &has_room);
        assert_eq!(picked, Some(ServerKey(expected)));
    }
}

#[test]
fn only_the_first_usable_backup_serves_and_only_alone() {
    for balance in all() {
        let mut balancer = farm_of(&balance, &[1, 1]);
        let backup = |key, usable| Candidate {
            backup: true,
            usable,
            ..server(key, 5)
        };
        balancer.upsert(backup(2, false));
        balancer.upsert(backup(3, true));
        balancer.upsert(backup(4, true));
        assert!(picks(&mut balancer, 50).iter().all(|key| *key < 2));
        assert_eq!((balancer.usable_count(), balancer.total_weight()), (2, 2));
        balancer.upsert(server(0, 0));
        balancer.upsert(Candidate {
            usable: false,
            ..server(1, 1)
        });
        assert_eq!(counts(&picks(&mut balancer, 20)), HashMap::from([(3, 20)]));
        assert_eq!((balancer.usable_count(), balancer.total_weight()), (1, 5));
        assert_eq!((balancer.active_count(), balancer.backup_count()), (0, 2));
        balancer.upsert(backup(2, true));
        assert_eq!(picks(&mut balancer, 1), [2]);
        assert_eq!(
            balancer.pick(&Ask::default(), &|key| room_if(key != ServerKey(2))),
            None
        );
        balancer.upsert(server(1, 1));
        assert_eq!(picks(&mut balancer, 2), [1, 1]);
    }
}

#[test]
fn a_server_may_become_a_backup_and_back() {
    for balance in all() {
        let mut balancer = farm_of(&balance, &[1, 1]);
        balancer.upsert(Candidate {
            backup: true,
            ..server(0, 1)
        });
        assert_eq!(picks(&mut balancer, 2), [1, 1], "{balance:?}");
        balancer.remove(ServerKey(1));
        assert_eq!(picks(&mut balancer, 2), [0, 0], "{balance:?}");
        balancer.upsert(server(0, 1));
        assert_eq!((balancer.active_count(), balancer.backup_count()), (1, 0));
    }
}

#[test]
fn the_failed_server_is_avoided_unless_it_is_alone() {
    for balance in all() {
        let mut balancer = farm_of(&balance, &[1, 1, 1]);
        let asks = |number: u64| Ask {
            hash: Some(number as u32),
            random: number,
            avoid: Some(ServerKey(1)),
        };
        for number in 0..100 {
            let picked = balancer.pick(&asks(number), &room);
            assert_ne!(picked, Some(ServerKey(1)), "{balance:?}");
        }
        if !is_hashing(&balance) {
            let others_are_full = |key| room_if(key == ServerKey(1));
            assert_eq!(
                balancer.pick(&asks(0), &others_are_full),
                Some(ServerKey(1))
            );
        }
        balancer.remove(ServerKey(0));
        balancer.remove(ServerKey(2));
        assert_eq!(
            balancer.pick(&asks(0), &room),
            Some(ServerKey(1)),
            "{balance:?}"
        );
        let waits = is_hashing(&balance).then_some(ServerKey(1));
        assert_eq!(balancer.pick(&asks(0), &|_| Room::Queue), waits);
    }
}

#[test]
fn nobody_is_picked_where_nobody_is() {
    for balance in all() {
        let mut balancer = Balancer::new(&balance);
        assert_eq!(balancer.pick(&Ask::default(), &room), None);
        balancer.remove(ServerKey(7));
        balancer.sessions_changed(ServerKey(7), 7);
        balancer.upsert(server(1, 0));
        assert_eq!(balancer.pick(&Ask::default(), &room), None);
        assert_eq!((balancer.usable_count(), balancer.total_weight()), (0, 0));
    }
}

/// What may happen to a farm.
#[derive(Debug, Clone)]
enum Event {
    Upsert(Candidate),
    Remove(u32),
    Sessions(u32, u64),
    Pick { ask: Ask, full: u32 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let candidate = (0..12_u32, 0..=5_u16, any::<bool>(), 0..4_u8, 0..9_u64);
    let upsert = candidate.prop_map(|(key, weight, usable, backup, sessions)| {
        Event::Upsert(Candidate {
            usable,
            backup: backup == 0,
            sessions,
            ..server(key, weight)
        })
    });
    let ask = (
        any::<u32>(),
        any::<u64>(),
        prop::option::of(0..12_u32),
        0..(1_u32 << 12),
    );
    let pick = ask.prop_map(|(hash, random, avoid, full)| Event::Pick {
        ask: Ask {
            hash: Some(hash),
            random,
            avoid: avoid.map(ServerKey),
        },
        full,
    });
    let event = prop_oneof![
        3 => upsert,
        1 => (0..12_u32).prop_map(Event::Remove),
        2 => (0..12_u32, 0..9_u64).prop_map(|(key, sessions)| Event::Sessions(key, sessions)),
        6 => pick,
    ];
    prop::collection::vec(event, 1..200)
}

/// All servers an answer may name: who may be asked at all, by the rules common to all algorithms.
/// A hash leads to full servers too.
fn eligible(
    model: &BTreeMap<u32, Candidate>,
    ask: &Ask,
    full: u32,
    hashing: bool,
) -> Vec<Candidate> {
    let takes = |candidate: &&Candidate| candidate.usable && candidate.weight > 0;
    let has_room = |candidate: &Candidate| full >> candidate.key.0 & 1 == 0;
    let mut servers: Vec<Candidate> = model.values().filter(takes).copied().collect();
    if servers.iter().any(|candidate| !candidate.backup) {
        servers.retain(|candidate| !candidate.backup && (hashing || has_room(candidate)));
    } else {
        servers.truncate(1);
        servers.retain(has_room);
    }
    let others = servers
        .iter()
        .filter(|candidate| Some(candidate.key) != ask.avoid);
    let others: Vec<Candidate> = others.copied().collect();
    if others.is_empty() { servers } else { others }
}

/// The naive rule of algorithms that have one; the others may name any eligible server.
fn is_right(balance: &Balance, eligible: &[Candidate], picked: ServerKey) -> bool {
    let load = |candidate: &Candidate| match candidate.sessions {
        0 => 0,
        sessions => ((sessions + 1) << 20) / u64::from(candidate.weight * candidate.ramp),
    };
    let Some(chosen) = eligible.iter().find(|candidate| candidate.key == picked) else {
        return false;
    };
    match balance {
        Balance::LeastConn => eligible.iter().all(|other| load(chosen) <= load(other)),
        Balance::First => eligible.iter().all(|other| chosen.key <= other.key),
        _ => true,
    }
}

proptest! {
    #[test]
    fn picks_obey_the_rules_whatever_happens(events in events(), which in 0..all().len()) {
        let balance = all().swap_remove(which);
        let mut balancer = Balancer::new(&balance);
        let mut model = BTreeMap::new();
        for event in events {
            match event {
                Event::Upsert(candidate) => {
                    balancer.upsert(candidate);
                    model.insert(candidate.key.0, candidate);
                }
                Event::Remove(key) => {
                    balancer.remove(ServerKey(key));
                    model.remove(&key);
                }
                Event::Sessions(key, sessions) => {
                    balancer.sessions_changed(ServerKey(key), sessions);
                    if let Some(candidate) = model.get_mut(&key) {
                        candidate.sessions = sessions;
                    }
                }
                Event::Pick { ask, full } => {
                    let eligible = eligible(&model, &ask, full, is_hashing(&balance));
                    let has_room = |key: ServerKey| room_if(full >> key.0 & 1 == 0);
                    // Who is full is drawn anew for each pick.
                    balancer.limits_risen();
                    match balancer.pick(&ask, &has_room) {
                        Some(picked) => prop_assert!(is_right(&balance.algorithm, &eligible, picked)),
                        None => prop_assert!(eligible.is_empty()),
                    }
                }
            }
            let active = model.values().filter(|it| it.usable && it.weight > 0 && !it.backup);
            prop_assert_eq!(balancer.active_count(), active.count());
        }
    }

    /// In any stretch a server gets its share, give or take three turns of its own or of rivals; in a
    /// whole round (16 turns for each unit of weight) one.
    #[test]
    fn roundrobin_is_fair_in_any_stretch(weights in prop::collection::vec(1_u16..=20, 1..10)) {
        let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        let mut balancer = farm(Balance::RoundRobin, &weights);
        let picked = picks(&mut balancer, 32 * total);
        let round = counts(&picked[..16 * total]);
        for (key, weight) in weights.iter().enumerate() {
            let key = key as u32;
            prop_assert!(round[&key].abs_diff(16 * usize::from(*weight)) <= 1);
            let mut taken = 0_usize;
            for (index, pick) in picked.iter().enumerate() {
                taken += usize::from(*pick == key);
                let share = (index + 1) * usize::from(*weight);
                prop_assert!((taken * total).abs_diff(share) < 3 * total, "{} at {}", key, index);
            }
        }
    }
}

#[test]
fn three_thousand_servers_are_served_alike() {
    for balance in [
        balancing(Balance::RoundRobin),
        balancing(Balance::LeastConn),
        map(),
    ] {
        let mut balancer = farm_of(&balance, &[100; 3000]);
        let shares = counts(&picks(&mut balancer, 9000));
        assert!(shares.len() == 3000 && shares.values().all(|share| *share == 3));
        for key in (0..3000).step_by(2) {
            balancer.remove(ServerKey(key));
        }
        let shares = counts(&picks(&mut balancer, 3000));
        assert!(shares.len() == 1500 && shares.values().all(|share| *share == 2));
    }
}

/// A pick must not look at all servers: how many are asked for room does not grow with the farm.
#[test]
fn a_pick_looks_at_few_of_three_thousand_servers() {
    for balance in all() {
        // A ring has as many points as there is weight; fewer of them tell the same.
        let weight_max = if balance.hashing.consistent { 4 } else { 256 };
        let weights: Vec<u16> = (0..3000).map(|index| index % weight_max + 1).collect();
        let mut balancer = farm_of(&balance, &weights);
        let asked = Cell::new(0);
        let has_room = |_: ServerKey| {
            asked.set(asked.get() + 1);
            Room::Free
        };
        for number in 0..10_000_u32 {
            let ask = Ask {
                hash: Some(number),
                random: u64::from(number),
                avoid: None,
            };
            let picked = balancer.pick(&ask, &has_room).unwrap();
            balancer.sessions_changed(picked, u64::from(number % 100));
        }
        assert!(asked.get() <= 20_000, "{balance:?}: {}", asked.get());
    }
}

/// Asks with so many different keys, and lets every session stay.
fn fill(balancer: &mut Balancer, keys: u32, sessions: usize) -> Vec<u64> {
    let mut loads = vec![0; 16];
    for number in 0..sessions {
        let ask = Ask {
            hash: Some(avalanche(number as u32 % keys)),
            random: number as u64,
            avoid: None,
        };
        let picked = balancer.pick(&ask, &room).unwrap();
        loads[picked.0 as usize] += 1;
        balancer.sessions_changed(picked, loads[picked.0 as usize]);
    }
    loads
}

#[test]
fn a_balance_factor_bounds_what_a_popular_key_does_to_its_server() {
    let weights = [1, 1, 2];
    let unbounded = fill(&mut farm_of(&ring(), &weights), 1, 400);
    assert_eq!(unbounded.iter().max(), Some(&400));
    let mut bounded = ring();
    bounded.hashing.balance_factor = Some(150);
    let loads = fill(&mut farm_of(&bounded, &weights), 1, 400);
    for (load, weight) in loads.iter().zip(weights) {
        // 400 sessions, a quarter of them for each unit of weight, and half as many more.
        assert!(*load <= 150 * u64::from(weight) + 1, "{loads:?}");
    }
}

#[test]
fn affinity_says_when_a_full_server_is_passed_over() {
    let own = ServerKey(0);
    let cases = [
        // affinity, what its own server has, whether it stays the one
        (Affinity::Always, Room::None, true),
        (Affinity::Maxconn, Room::Free, true),
        (Affinity::Maxconn, Room::Queue, false),
        (Affinity::Maxqueue, Room::Queue, true),
        (Affinity::Maxqueue, Room::ShortQueue, true),
        (Affinity::Maxqueue, Room::None, false),
    ];
    for (affinity, has, stays) in cases {
        for mut balancing in [map(), ring()] {
            balancing.hashing.affinity = affinity;
            let mut balancer = farm_of(&balancing, &[1, 1, 1]);
            let mut hashes = (0..).map(avalanche);
            let ask = hashes.find_map(|hash| {
                let ask = Ask {
                    hash: Some(hash),
                    ..Ask::default()
                };
                (balancer.pick(&ask, &room) == Some(own)).then_some(ask)
            });
            let rooms = |key: ServerKey| if key == own { has } else { Room::Free };
            let picked = balancer.pick(&ask.unwrap(), &rooms);
            assert_eq!(picked == Some(own), stays, "{affinity:?} {has:?}");
            // Where all are alike its own is the one to wait for.
            assert_eq!(balancer.pick(&ask.unwrap(), &|_| Room::None), Some(own));
        }
    }
}

#[test]
fn all_backups_share_the_load_where_that_is_wanted() {
    for mut balancing in all() {
        balancing.allbackups = true;
        let mut balancer = farm_of(&balancing, &[1]);
        for key in 1..4 {
            balancer.upsert(Candidate {
                backup: true,
                ..server(key, 2)
            });
        }
        assert!(picks(&mut balancer, 20).iter().all(|key| *key == 0));
        assert!(!balancer.serves(ServerKey(2)));
        balancer.remove(ServerKey(0));
        assert_eq!((balancer.usable_count(), balancer.total_weight()), (3, 6));
        assert!(balancer.serves(ServerKey(2)));
        if !matches!(balancing.algorithm, Balance::First) {
            let loads = fill(&mut balancer, 300, 300);
            assert!(loads[1..4].iter().all(|load| *load > 0), "{balancing:?}");
        }
    }
}

#[test]
fn a_server_that_warms_up_has_part_of_its_share() {
    for balancing in [balancing(Balance::RoundRobin), ring()] {
        let mut balancer = farm_of(&balancing, &[32, 32]);
        let warming = |ramp| Candidate {
            ramp,
            ..server(1, 32)
        };
        balancer.upsert(warming(1));
        assert_eq!(balancer.total_weight(), 34);
        let share = |balancer: &mut Balancer| {
            let mut of_1 = 0;
            for number in 0..3400 {
                let ask = Ask {
                    hash: Some(avalanche(number)),
                    ..Ask::default()
                };
                of_1 += usize::from(balancer.pick(&ask, &room) == Some(ServerKey(1)));
            }
            of_1
        };
        assert!((100..400).contains(&share(&mut balancer)), "{balancing:?}");
        balancer.upsert(warming(16));
        assert!(
            (1300..2100).contains(&share(&mut balancer)),
            "{balancing:?}"
        );
    }
    // A map is static.
    let mut balancer = farm_of(&map(), &[1, 1]);
    balancer.upsert(Candidate {
        ramp: 1,
        ..server(1, 1)
    });
    assert_eq!(balancer.total_weight(), 2);
}

/// Where all are full, what is not to be had is not looked for again by everybody who comes.
#[test]
fn every_session_asked_all_servers_that_were_full() {
    for mut balancing in all() {
        if matches!(balancing.algorithm, Balance::LeastConn) {
            continue;
        }
        balancing.hashing.affinity = Affinity::Maxqueue;
        let mut balancer = farm_of(&balancing, &[4; 300]);
        let asked = Cell::new(0);
        let none = |_: ServerKey| {
            asked.set(asked.get() + 1);
            Room::None
        };
        for hash in [Some(7), None] {
            let ask = Ask {
                hash,
                ..Ask::default()
            };
            for _ in 0..100 {
                balancer.pick(&ask, &none);
            }
        }
        assert!(asked.get() <= 2 * 301 + 1, "{balancing:?}: {}", asked.get());
        let free = |key: ServerKey| room_if(key == ServerKey(5));
        let by_turns = Ask::default();
        balancer.sessions_changed(ServerKey(5), 9);
        assert_eq!(balancer.pick(&by_turns, &free), None, "{balancing:?}");
        balancer.sessions_changed(ServerKey(5), 8);
        assert_eq!(balancer.pick(&by_turns, &free), Some(ServerKey(5)));
        let taken = |_: ServerKey| Room::None;
        assert_eq!(balancer.pick(&by_turns, &taken), None);
        balancer.limits_risen();
        assert_eq!(balancer.pick(&by_turns, &free), Some(ServerKey(5)));
    }
}

/// How many maps a balancer has made.
fn maps_made(balancer: &mut Balancer) -> usize {
    balancer.maps().map(|map| map.made).sum()
}

#[test]
fn a_thousand_changes_at_once_made_a_thousand_maps() {
    for balancing in [map(), balancing(Balance::StaticRr)] {
        let mut balancer = farm_of(&balancing, &[1; 1000]);
        let ask = Ask {
            hash: Some(7),
            ..Ask::default()
        };
        let pick = |balancer: &mut Balancer| balancer.pick(&ask, &|_| Room::Free);
        assert!(pick(&mut balancer).is_some());
        let before = maps_made(&mut balancer);
        balancer.hold();
        for key in 0..500 {
            balancer.remove(ServerKey(key));
            balancer.upsert(server(1000 + key, 1 + key as u16 % 9));
            // Sessions go on, and to nobody who has left.
            assert!(pick(&mut balancer) > Some(ServerKey(key)));
        }
        assert_eq!(maps_made(&mut balancer), before);
        let made = balancer.draft().make();
        balancer.release(made);
        let mut fresh = Balancer::new(&balancing);
        for key in (500..1000).map(|key| server(key, 1)) {
            fresh.upsert(key);
        }
        for key in 0..500 {
            fresh.upsert(server(1000 + key, 1 + key as u16 % 9));
        }
        if is_hashing(&balancing) {
            for hash in 0..5000 {
                let ask = Ask {
                    hash: Some(hash),
                    ..Ask::default()
                };
                let pick = |balancer: &mut Balancer| balancer.pick(&ask, &|_| Room::Free);
                assert_eq!(pick(&mut balancer), pick(&mut fresh));
            }
        }
        assert!(pick(&mut balancer).is_some());
        assert_eq!(maps_made(&mut balancer), before + 1);
    }
}

#[test]
fn changes_of_two_hold_a_map_until_both_are_over() {
    let ask = Ask {
        hash: Some(7),
        ..Ask::default()
    };
    let mut balancer = farm_of(&map(), &[1; 3]);
    let pick = |balancer: &mut Balancer| balancer.pick(&ask, &|_| Room::Free);
    assert!(pick(&mut balancer).is_some());
    let before = maps_made(&mut balancer);
    balancer.hold();
    balancer.hold();
    let made = balancer.draft().make();
    balancer.release(made);
    balancer.upsert(server(7, 1));
    assert!(pick(&mut balancer).is_some());
    assert_eq!(maps_made(&mut balancer), before);
    let made = balancer.draft().make();
    balancer.release(made);
    assert!(pick(&mut balancer).is_some());
    assert_eq!(maps_made(&mut balancer), before + 1);
}

#[test]
fn a_map_made_too_late_is_made_again() {
    let mut balancer = farm_of(&map(), &[1; 3]);
    balancer.hold();
    balancer.remove(ServerKey(0));
    let made = balancer.draft().make();
    balancer.remove(ServerKey(1));
    balancer.release(made);
    let ask = |hash| Ask {
        hash: Some(hash),
        ..Ask::default()
    };
    for hash in 0..10 {
        let picked = balancer.pick(&ask(hash), &|_| Room::Free);
        assert_eq!(picked, Some(ServerKey(2)));
    }
}

#[test]
fn who_comes_first_is_found_while_many_come() {
    for balancing in all() {
        let mut balancer = farm_of(&balancing, &[]);
        balancer.hold();
        let any = |balancer: &mut Balancer| balancer.pick(&Ask::default(), &|_| Room::Free);
        assert_eq!(any(&mut balancer), None);
        balancer.upsert(server(0, 1));
        assert_eq!(any(&mut balancer), Some(ServerKey(0)));
        balancer.upsert(server(1, 1));
        balancer.remove(ServerKey(0));
        assert_eq!(any(&mut balancer), Some(ServerKey(1)));
    }
}
