//! Sockets at a rate, first alone, then beside two that take all they can get: one whose node sends
//! messages of 16 MiB to a client that reads slowly, one that sends such messages to a node that
//! reads as fast as it can. How late are the others, and how much memory does it take?

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::{JoinHandle, spawn_local};

use super::span::Times;
use super::{Scene, relay};
use crate::frames;
use crate::results::Figures;

const MESSAGE_LEN: usize = 64;

/// How much the slow reader reads at a time, and how long it rests: 3 MB/s.
const SLOW_PIECE: usize = 64 * 1024;
const SLOW_REST: Duration = Duration::from_millis(20);

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn run(scene: &Scene<'_>, sockets: usize, rate: u32) -> Result<Figures> {
    let clients = scene.open("/echo", sockets).await?;
    let (clients, alone, meter) = relay::exchange(scene, clients, MESSAGE_LEN, rate).await?;
    meter.figures(&alone, rate)?;

    let before = scene.proxy.resident_bytes()?;
    let slow = Rc::new(Cell::new(0));
    let greedy = [
        slow_reader(scene, slow.clone()).await?,
        fast_sender(scene).await?,
    ];
    let (sunk_before, began) = (scene.node.sunk(), Instant::now());
    let (exchanged, peak) = tokio::join!(
        relay::exchange(scene, clients, MESSAGE_LEN, rate),
        peak(scene)
    );
    let (_, beside, meter) = exchanged?;
    let sunk_bytes = scene.node.sunk() - sunk_before;
    let seconds = began.elapsed().as_secs_f64();
    for task in greedy {
        ensure!(!task.is_finished(), "a greedy socket came to an end");
        task.abort();
    }
    // Neither may have been starved to spare the others.
    ensure!(
        sunk_bytes > frames::HUGE_LEN && slow.get() > SLOW_PIECE,
        "the greedy ones got through {sunk_bytes} and {} bytes",
        slow.get()
    );
    let mut figures = meter.figures(&beside, rate)?;
    let (alone, beside) = (Times::of(&alone), Times::of(&beside));
    figures.extend([
        ("p50_alone", alone.share(0.5)),
        ("p99_alone", alone.share(0.99)),
        ("max_alone", alone.share(1.0)),
        (
            "later_p99",
            (beside.share(0.99) - alone.share(0.99)).max(0.0),
        ),
        ("later_max", (beside.share(1.0) - alone.share(1.0)).max(0.0)),
        ("grown_kib", peak?.saturating_sub(before) as f64 / 1024.0),
        ("greedy_mib_s", sunk_bytes as f64 / seconds / 1_048_576.0),
    ]);
    // The processor time is the greedy ones' and is no cost of a message.
    figures.remove("cost");
    Ok(figures)
}

/// The most memory while the measurement lasts.
async fn peak(scene: &Scene<'_>) -> Result<u64> {
    let mut most = 0;
    let looks = (scene.plan.warm_up + scene.plan.measured).as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        tokio::time::sleep(LOOK).await;
        most = most.max(scene.proxy.resident_bytes()?);
    }
    Ok(most)
}

/// Reads what its node sends without end, a piece at a time, and sees that it is right.
async fn slow_reader(scene: &Scene<'_>, read: Rc<Cell<usize>>) -> Result<JoinHandle<Result<()>>> {
    let mut client = scene.open("/flood", 1).await?.remove(0);
    Ok(spawn_local(async move {
        let expected = frames::huge(None);
        loop {
            let got = client.read_piece(SLOW_PIECE).await?;
            frames::check_repeated(&expected, read.get(), &got)?;
            read.set(read.get() + got.len());
            tokio::time::sleep(SLOW_REST).await;
        }
    }))
}

/// Sends without end; its node sees that what comes is right.
async fn fast_sender(scene: &Scene<'_>) -> Result<JoinHandle<Result<()>>> {
    let mut client = scene.open("/sink", 1).await?.remove(0);
    Ok(spawn_local(async move {
        let frame = frames::huge(Some(frames::MASK));
        loop {
            for piece in frame.chunks(SLOW_PIECE) {
                client.write_all(piece).await?;
                // The others of this thread are not to wait for it.
                tokio::task::yield_now().await;
            }
        }
    }))
}
