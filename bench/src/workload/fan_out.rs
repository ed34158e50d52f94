//! One message from the node to every socket, again and again: the next one once all have it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::sync::Notify;
use tokio::task::spawn_local;

use super::span::ANSWER_MAX;
use super::{Scene, Span};
use crate::frames;
use crate::results::Figures;

pub(super) async fn run(scene: &Scene<'_>, length: usize, sockets: usize) -> Result<Figures> {
    let clients = scene.open("/subscribe", sockets).await?;
    while scene.node.subscriber_count() < sockets {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let span = Span::of(scene.plan);
    let received = Rc::new((Cell::new(0), Notify::new()));
    let sent_at = Rc::new(Cell::new(Instant::now()));
    let samples = Rc::new(RefCell::new(Vec::new()));
    let mut tasks = Vec::with_capacity(sockets);
    for mut client in clients {
        let (received, sent_at) = (received.clone(), sent_at.clone());
        let (samples, span) = (samples.clone(), span.clone());
        tasks.push(spawn_local(async move {
            for number in 0.. {
                let payload = frames::payload(0, number, length);
                if client.receive(&payload).await.is_err() {
                    break;
                }
                samples.borrow_mut().extend(span.done(sent_at.get()));
                received.0.set(received.0.get() + 1);
                received.1.notify_one();
            }
        }));
    }
    let publishing = async {
        for number in 0.. {
            if span.is_over() {
                break;
            }
            received.0.set(0);
            sent_at.set(Instant::now());
            scene
                .node
                .publish(&frames::payload(0, number, length))
                .await?;
            let all = async {
                while received.0.get() < sockets {
                    received.1.notified().await;
                }
            };
            let in_time = tokio::time::timeout(ANSWER_MAX, all).await;
            ensure!(
                in_time.is_ok(),
                "{} of {sockets} got message {number}",
                received.0.get()
            );
        }
        Ok(())
    };
    let (meter, published) = tokio::join!(span.watch(scene.proxy), publishing);
    published?;
    let meter = meter?;
    // Every subscriber has everything that was sent; it waits for more.
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    meter.figures(&samples.take(), 0)
}
