//! Log lines on their way out: framing, sampling, and bounded queues to writer threads.
//!
//! Follows `configuration.txt` 3.1 (`log`) and 8. What a session's line says is made elsewhere
//! (`session::line`); here it gets its header and goes to its targets. A slow target never holds up
//! traffic: when its queue is full a line is dropped and counted.

mod datagrams;
mod frame;
mod queue;
mod sampler;
mod writer;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use config::model::{Config, LogSink, LogTarget};

use crate::resolver::Resolver;
use queue::Queue;
use sampler::Sampler;

/// How important a line is: syslog's severities (RFC 5424 section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nobody is served (0).
    Emergency,
    /// Somebody must act now (1).
    Alert,
    /// A part of it failed (2).
    Critical,
    /// Something went wrong for somebody (3).
    Error,
    /// Somebody should act (4).
    Warning,
    /// A change of state worth keeping (5).
    Notice,
    /// Everything else (6).
    Info,
    /// For whoever looks for a fault (7).
    Debug,
}

impl Level {
    fn severity(self) -> u8 {
        self as u8
    }

    /// The level of that severity; those beyond 7 are the least important one.
    pub(crate) fn from_severity(severity: u8) -> Self {
        match severity {
            0 => Self::Emergency,
            1 => Self::Alert,
            2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 => Self::Notice,
            6 => Self::Info,
            _ => Self::Debug,
        }
    }
}

/// Who a line comes from: what its header says beside the date.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// `log-tag`, or the name the program was started as.
    pub(crate) tag: Arc<str>,
    /// Shown in headers that carry a host: `log-send-hostname`, else none.
    pub(crate) host: Option<Arc<str>>,
    /// Process id.
    pub(crate) pid: u32,
}

/// What is to be said, before any target's header is put before it.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    /// The text.
    pub(crate) text: &'a [u8],
    /// RFC 5424's structured data (`log-format-sd`); empty: none.
    pub(crate) structured: &'a [u8],
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self {
            text,
            structured: &[],
        }
    }
}

/// The way of one `log` line of the configuration.
struct Outlet {
    queue: Arc<Queue>,
    /// Its sink, by position in its queue.
    sink: u16,
    sampler: Option<Sampler>,
}

/// The ways out. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logger {
    ways: Arc<Ways>,
}

struct Ways {
    /// By [`LogTarget::number`].
    outlets: Vec<Outlet>,
    queues: Vec<Arc<Queue>>,
    stderr: Arc<Queue>,
}

impl Drop for Ways {
    /// The writer threads end when nobody can log any more.
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.close();
        }
    }
}

impl Logger {
    /// Starts the writer threads for the targets of `config`: one for all datagram sockets, which
    /// never block, and one for each stream or name, which may. They end with the logger's last clone.
    pub(crate) fn start(config: &Config, resolver: &Resolver) -> std::io::Result<Self> {
        let mut lanes = Lanes::default();
        let (stderr, _) = lanes.find(&LogSink::Stderr);
        let mut outlets: Vec<Option<Outlet>> = Vec::new();
        for target in targets(config) {
            if outlets.len() <= target.number {
                outlets.resize_with(target.number + 1, || None);
            }
            let (lane, sink) = lanes.find(&target.sink);
            outlets[target.number] = Some(Outlet {
                queue: lanes.queues[lane].clone(),
                sink,
                sampler: target.sample.as_ref().map(Sampler::new),
            });
        }
        for (queue, sinks) in lanes.queues.iter().zip(&lanes.sinks) {
            writer::start(queue.clone(), sinks.clone(), resolver.clone())?;
        }
        Ok(Self {
            ways: Arc::new(Ways {
                // Numbers are given without gaps.
                outlets: outlets.into_iter().flatten().collect(),
                stderr: lanes.queues[stderr].clone(),
                queues: lanes.queues,
            }),
        })
    }

    /// Waits until what was queued before is written, at most `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let (done, wait) = sync_channel(self.ways.queues.len());
        for queue in &self.ways.queues {
            queue.flush(done.clone());
        }
        for _ in &self.ways.queues {
            // A slow target has had its time; what is left is lost with the process.
            let left = deadline.saturating_duration_since(Instant::now());
            if wait.recv_timeout(left).is_err() {
                return;
            }
        }
    }

    /// Lines dropped since start.
    pub(crate) fn lost(&self) -> u64 {
        self.ways.queues.iter().map(|queue| queue.lost()).sum()
    }

    /// Queues a line for stderr as it is.
    pub(crate) fn send_stderr(&self, line: &str) {
        self.ways.stderr.push(0, |bytes| {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        });
    }

    /// Frames `message` for each target that wants lines of this level, and queues it.
    pub(crate) fn send(
        &self,
        targets: &[LogTarget],
        origin: &Origin,
        level: Level,
        now: Duration,
        message: Message<'_>,
    ) {
        for target in targets {
            if level.severity() > target.level {
                continue;
            }
            let Some(outlet) = self.ways.outlets.get(target.number) else {
                continue;
            };
            if outlet.sampler.as_ref().is_some_and(|s| !s.takes_next()) {
                continue;
            }
            outlet.queue.push(outlet.sink, |bytes| {
                frame::write(target, origin, level, now, message, bytes);
            });
        }
    }
}

/// All `log` lines in force.
fn targets(config: &Config) -> impl Iterator<Item = &LogTarget> {
    let fronts = config.frontends.iter().map(|frontend| &frontend.proxy);
    let backs = config.backends.iter().map(|backend| &backend.proxy);
    let of_proxies = fronts.chain(backs).flat_map(|proxy| &proxy.log.targets);
    config.global.log.iter().chain(of_proxies)
}

/// Queues in the making, with the sinks of each.
#[derive(Default)]
struct Lanes {
    queues: Vec<Arc<Queue>>,
    sinks: Vec<Vec<LogSink>>,
}

impl Lanes {
    /// Queue and position in it of a sink, found or made.
    fn find(&mut self, sink: &LogSink) -> (usize, u16) {
        let lane = self.sinks.iter().position(|sinks| match sinks.first() {
            Some(first) if writer::may_block(first) => first == sink,
            _ => !writer::may_block(sink),
        });
        let lane = lane.unwrap_or_else(|| {
            self.queues.push(Arc::default());
            self.sinks.push(Vec::new());
            self.sinks.len() - 1
        });
        let sinks = &mut self.sinks[lane];
        let position = sinks.iter().position(|known| known == sink);
        let position = position.unwrap_or_else(|| {
            sinks.push(sink.clone());
            sinks.len() - 1
        });
        // The configuration allows far fewer `log` lines than that.
        (lane, u16::try_from(position).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_block_has_a_queue_of_its_own() {
        let udp = |port: u16| LogSink::Udp(([127, 0, 0, 1], port).into());
        let mut lanes = Lanes::default();
        assert_eq!(lanes.find(&LogSink::Stderr), (0, 0));
        assert_eq!(lanes.find(&udp(1)), (1, 0));
        assert_eq!(lanes.find(&LogSink::Stdout), (2, 0));
        assert_eq!(lanes.find(&LogSink::Unix("/dev/log".into())), (1, 1));
        assert_eq!(lanes.find(&udp(1)), (1, 0));
        assert_eq!(lanes.find(&LogSink::Stdout), (2, 0));
        assert_eq!(lanes.find(&LogSink::Name("a".into(), 514)), (3, 0));
        assert_eq!(lanes.find(&LogSink::Name("b".into(), 514)), (4, 0));
    }
}
