//! Tunnels that move as much as they can, and those beside them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use testkit::wait::or_seen;
use testkit::{Balancer, LogSink, PATIENCE, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{echo_server, setup};

/// What each greedy client sends before it reads anything: more than the kernel takes for it on the
/// whole way there and back.
const GREEDY_BYTES: usize = 64 << 20;

/// The same block again and again, which is different everywhere.
const BLOCK: usize = 1 << 20;

const GREEDY: usize = 2;

/// Round trips of one that is not.
const ROUNDS: u32 = 500;

/// Far below what waits to be read, far above two scratch buffers for each tunnel.
const GROWTH_MAX: u64 = 8 << 20;

/// Tunnels that always have something to do.
const BUSY: usize = 50;

/// Round trips beside them, each of which waits for what all of them move in a turn.
const BUSY_ROUNDS: u32 = 40;

/// What all of those may get through while one that is not greedy waits for its answer. Each may have
/// a turn before it, there and back, in the balancer (512 KiB) as here.
const BYTES_BETWEEN_MAX: u64 = BUSY as u64 * (4 << 20);

const CONFIG: &str = "
global
    nbthread 1
frontend fe
    mode tcp
    bind 127.0.0.1:<port:tcp>
    default_backend be
backend be
    mode tcp
    server n1 <n1>
";

/// A balancer, and an ordinary tunnel through it.
async fn lab() -> (LogSink, Balancer, TcpStream) {
    let log = LogSink::start().await;
    let balancer = setup(&log, CONFIG)
        .set("n1", echo_server().await)
        .start()
        .await;
    let modest = TcpStream::connect(balancer.address("tcp")).await.unwrap();
    (log, balancer, modest)
}

fn block(seed: usize) -> Vec<u8> {
    (0..BLOCK / 4)
        .flat_map(|at| u32::try_from(at * 31 + seed).unwrap().to_be_bytes())
        .collect()
}

#[tokio::test]
async fn greedy_tunnels_whose_readers_wait_hold_little() {
    let (_log, balancer, mut modest) = lab().await;
    let address = balancer.address("tcp");
    round_trip(&mut modest, 0).await;
    let before = balancer.resident_bytes();
    let mut readers = Vec::new();
    let mut writers = Vec::new();
    for seed in 0..GREEDY {
        let greedy = TcpStream::connect(address).await.unwrap();
        let (reader, mut writer) = greedy.into_split();
        readers.push(reader);
        writers.push(tokio::spawn(async move {
            let block = block(seed);
            for _ in 0..GREEDY_BYTES / BLOCK {
                writer.write_all(&block).await.unwrap();
            }
            // Its direction ends; what comes back does not.
            writer.shutdown().await.unwrap();
        }));
    }
    for round in 1..ROUNDS {
        round_trip(&mut modest, round).await;
    }
    let grown = balancer.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
    assert!(
        writers.iter().all(|writer| !writer.is_finished()),
        "somebody kept what nobody had read"
    );
    for (seed, mut reader) in readers.into_iter().enumerate() {
        let (block, mut got) = (block(seed), vec![0; BLOCK]);
        for _ in 0..GREEDY_BYTES / BLOCK {
            reader.read_exact(&mut got).await.unwrap();
            assert!(got == block, "not the same of {seed}");
        }
        assert_eq!(reader.read(&mut got).await.unwrap(), 0);
    }
    round_trip(&mut modest, ROUNDS).await;
    wait_until("what they held", PATIENCE, async || {
        let grown = balancer.resident_bytes().saturating_sub(before);
        or_seen(grown < GROWTH_MAX, grown)
    })
    .await;
}

#[tokio::test]
async fn busy_tunnels_let_others_have_their_turn() {
    let (_log, balancer, mut modest) = lab().await;
    let address = balancer.address("tcp");
    let moved = Arc::new(AtomicU64::new(0));
    let mut busy = JoinSet::new();
    for _ in 0..BUSY {
        let tunnel = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = tunnel.into_split();
        busy.spawn(async move {
            let block = vec![7; 64 << 10];
            while writer.write_all(&block).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        let moved = moved.clone();
        busy.spawn(async move {
            let mut room = vec![0; 64 << 10];
            while let Ok(count @ 1..) = reader.read(&mut room).await {
                moved.fetch_add(count as u64, Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    let (mut most, start) = (0, moved.load(Relaxed));
    for round in 0..BUSY_ROUNDS {
        let before = moved.load(Relaxed);
        round_trip(&mut modest, round).await;
        most = most.max(moved.load(Relaxed) - before);
    }
    let all = moved.load(Relaxed) - start;
    assert!(
        most <= BYTES_BETWEEN_MAX,
        "{most} of {all} bytes in one wait"
    );
    assert!(all > BUSY as u64 * 1024, "{all} bytes is standing still");
    assert!(busy.try_join_next().is_none(), "one has ended");
}

async fn round_trip(tcp: &mut TcpStream, round: u32) {
    let sent = [round.to_be_bytes(); 16].concat();
    tcp.write_all(&sent).await.unwrap();
    let mut got = vec![0; sent.len()];
    tcp.read_exact(&mut got).await.unwrap();
    assert_eq!(got, sent);
}
