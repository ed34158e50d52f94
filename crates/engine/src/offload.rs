//! Work that takes long, away from the workers: checking hashes of passwords, taking snapshots of
//! thousands of servers. A few threads, started when they are first needed, and a short queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Threads for one kind of work.
pub(crate) struct Offload {
    name: &'static str,
    threads: usize,
    queue_max: usize,
    sender: OnceLock<SyncSender<Job>>,
}

impl Offload {
    /// None started yet. More jobs than `queue_max` do not wait: they are refused.
    pub(crate) const fn new(name: &'static str, threads: usize, queue_max: usize) -> Self {
        Self {
            name,
            threads,
            queue_max,
            sender: OnceLock::new(),
        }
    }

    /// Has it done there; `None` when too much waits already.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, result) = oneshot::channel();
        let job = Box::new(move || {
            // Whoever asked may have gone, before it or meanwhile.
            if !answer.is_closed() {
                let _ = answer.send(job());
            }
        });
        let sender = self.sender.get_or_init(|| self.start());
        sender.try_send(job).ok()?;
        result.await.ok()
    }

    fn start(&self) -> SyncSender<Job> {
        let (sender, jobs) = sync_channel(self.queue_max);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..self.threads {
            let jobs = jobs.clone();
            // Without a thread the jobs are refused: their sender has nobody to send to.
            let _ = std::thread::Builder::new()
                .name(self.name.into())
                .spawn(move || work(&jobs));
        }
        sender
    }
}

/// Ends with the engine, when nobody can send any more.
fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A job that fails takes its own answer with it, and not the thread.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_failed_job_costs_only_itself() {
        let offload = Arc::new(Offload::new("test", 1, 1));
        assert_eq!(offload.run(|| 7).await, Some(7));
        let failed = offload.run(|| "x".parse::<i32>().expect("a test that fails"));
        assert_eq!(failed.await, None);
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let busy = tokio::spawn({
            let offload = offload.clone();
            async move {
                let job = move || {
                    let _ = begun.send(());
                    gone.recv().is_ok()
                };
                offload.run(job).await
            }
        });
        begins.await.expect("the job begins");
        let waiting = offload.run(|| 1);
        tokio::pin!(waiting);
        assert!(futures_now(&mut waiting).await.is_none(), "it waits");
        assert_eq!(offload.run(|| 2).await, None, "the queue is full");
        go.send(()).expect("the job waits for it");
        assert_eq!(busy.await.expect("it ends"), Some(true));
        assert_eq!(waiting.await, Some(1));
    }

    /// The result of a future if it is there at once.
    async fn futures_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
