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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use config::model::{Config, LogSample, LogSink, LogTarget};

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
    lane: Arc<Lane>,
    /// Its sink, by position in its lane.
    position: u16,
    sink: LogSink,
    sample: Option<LogSample>,
    sampler: Option<Sampler>,
}

impl Outlet {
    fn new(target: &LogTarget, lane: &Arc<Lane>, position: u16) -> Arc<Self> {
        Arc::new(Self {
            lane: lane.clone(),
            position,
            sink: target.sink.clone(),
            sample: target.sample.clone(),
            sampler: target.sample.as_ref().map(Sampler::new),
        })
    }

    fn is_of(&self, target: &LogTarget) -> bool {
        self.sink == target.sink && self.sample == target.sample
    }
}

/// A queue with its writer thread, which ends with it.
struct Lane {
    queue: Arc<Queue>,
    sinks: Vec<LogSink>,
    /// Lines lost by lanes that are gone.
    lost_before: Arc<AtomicU64>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.lost_before.fetch_add(self.queue.lost(), Relaxed);
        self.queue.close();
    }
}

/// The ways out. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logger {
    ways: Arc<ArcSwap<Ways>>,
    lost_before: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Ways {
    /// By [`LogTarget::number`]; none where no configuration in use has that number any more.
    outlets: Vec<Option<Arc<Outlet>>>,
    lanes: Vec<Arc<Lane>>,
    stderr: Arc<Lane>,
}

impl Logger {
    /// Starts the writer threads for the targets of `config`: one for all datagram sockets, which
    /// never block, and one for each stream or name, which may. They end with the logger's last clone.
    pub(crate) fn start(config: &Config, resolver: &Resolver) -> std::io::Result<Self> {
        let lost_before = Arc::<AtomicU64>::default();
        let mut plan = LanePlan::default();
        let (stderr, _) = plan.find(&LogSink::Stderr);
        let mut targets: Vec<&LogTarget> = targets(config).collect();
        targets.sort_by_key(|target| target.number);
        // `log global` repeats those of `global`.
        targets.dedup_by_key(|target| target.number);
        let places = targets.iter().map(|target| plan.find(&target.sink));
        let places: Vec<_> = places.collect();
        let lanes = plan.start(&lost_before, resolver)?;
        let placed = targets.iter().zip(places);
        let outlets =
            placed.map(|(target, (lane, at))| Some(Outlet::new(target, &lanes[lane], at)));
        let ways = Ways {
            // Numbers are given without gaps.
            outlets: outlets.collect(),
            stderr: lanes[stderr].clone(),
            lanes,
        };
        Ok(Self {
            ways: Arc::new(ArcSwap::from_pointee(ways)),
            lost_before,
        })
    }

    /// Gives the targets of another configuration their numbers: those that go where one in use goes
    /// already get its number, sample and queue. `used`: numbers that others still send by.
    pub(crate) fn adopt(
        &self,
        config: &mut Config,
        used: &BTreeSet<usize>,
        resolver: &Resolver,
    ) -> std::io::Result<()> {
        let mut ways = Ways::clone(&self.ways.load());
        for (number, outlet) in ways.outlets.iter_mut().enumerate() {
            if !used.contains(&number) {
                *outlet = None;
            }
        }
        let mut plan = LanePlan::default();
        let mut numbers = BTreeMap::new();
        let mut taken = BTreeSet::new();
        let mut wanted = Vec::new();
        for target in targets(config) {
            if numbers.contains_key(&target.number) {
                continue;
            }
            let mut known = ways.outlets.iter().enumerate();
            let known = known.find(|(at, outlet)| {
                !taken.contains(at) && outlet.as_ref().is_some_and(|it| it.is_of(target))
            });
            let number = match known {
                Some((at, _)) => at,
                None => {
                    let mut free = ways.outlets.iter().enumerate();
                    let is_free =
                        |(at, it): &(usize, &Option<_>)| it.is_none() && !taken.contains(at);
                    let free = free.find(is_free).map(|(at, _)| at);
                    let at = free.unwrap_or(ways.outlets.len());
                    if at == ways.outlets.len() {
                        ways.outlets.push(None);
                    }
                    wanted.push((at, target.clone()));
                    at
                }
            };
            taken.insert(number);
            numbers.insert(target.number, number);
        }
        let mut fresh = Vec::new();
        for (at, target) in wanted {
            let sink = &target.sink;
            let known = ways.lanes.iter().find_map(|lane| {
                let position = lane.sinks.iter().position(|it| it == sink)?;
                Some((lane.clone(), u16::try_from(position).unwrap_or(u16::MAX)))
            });
            match known {
                Some((lane, position)) => {
                    ways.outlets[at] = Some(Outlet::new(&target, &lane, position));
                }
                None => fresh.push((at, plan.find(sink), target)),
            }
        }
        let started = plan.start(&self.lost_before, resolver)?;
        for (at, (lane, position), target) in fresh {
            ways.outlets[at] = Some(Outlet::new(&target, &started[lane], position));
        }
        ways.lanes.extend(started);
        // A lane that nobody sends by ends when the last one lets go of it.
        let in_use = |lane: &Arc<Lane>| {
            let mut outlets = ways.outlets.iter().flatten();
            Arc::ptr_eq(lane, &ways.stderr) || outlets.any(|it| Arc::ptr_eq(lane, &it.lane))
        };
        let lanes = ways.lanes.iter().filter(|lane| in_use(lane));
        let lanes = lanes.cloned().collect();
        ways.lanes = lanes;
        for target in targets_mut(config) {
            if let Some(number) = numbers.get(&target.number) {
                target.number = *number;
            }
        }
        self.ways.store(Arc::new(ways));
        Ok(())
    }

    /// Waits until what was queued before is written, at most `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let ways = self.ways.load_full();
        let (done, wait) = sync_channel(ways.lanes.len());
        for lane in &ways.lanes {
            lane.queue.flush(done.clone());
        }
        for _ in &ways.lanes {
            // A slow target has had its time; what is left is lost with the process.
            let left = deadline.saturating_duration_since(Instant::now());
            if wait.recv_timeout(left).is_err() {
                return;
            }
        }
    }

    /// Lines dropped since start.
    pub(crate) fn lost(&self) -> u64 {
        let ways = self.ways.load();
        let now: u64 = ways.lanes.iter().map(|lane| lane.queue.lost()).sum();
        self.lost_before.load(Relaxed) + now
    }

    /// Queues a line for stderr as it is.
    pub(crate) fn send_stderr(&self, line: &str) {
        self.ways.load().stderr.queue.push(0, |bytes| {
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
        if targets.is_empty() {
            return;
        }
        let ways = self.ways.load();
        for target in targets {
            if level.severity() > target.level {
                continue;
            }
            let Some(Some(outlet)) = ways.outlets.get(target.number) else {
                continue;
            };
            if outlet.sampler.as_ref().is_some_and(|s| !s.takes_next()) {
                continue;
            }
            outlet.lane.queue.push(outlet.position, |bytes| {
                frame::write(target, origin, level, now, message, bytes);
            });
        }
    }
}

/// All `log` lines in force.
pub(crate) fn targets(config: &Config) -> impl Iterator<Item = &LogTarget> {
    let fronts = config.frontends.iter().map(|frontend| &frontend.proxy);
    let backs = config.backends.iter().map(|backend| &backend.proxy);
    let of_proxies = fronts.chain(backs).flat_map(|proxy| &proxy.log.targets);
    config.global.log.iter().chain(of_proxies)
}

/// The same, to be numbered.
fn targets_mut(config: &mut Config) -> impl Iterator<Item = &mut LogTarget> {
    let fronts = config.frontends.iter_mut().map(|it| &mut it.proxy);
    let backs = config.backends.iter_mut().map(|it| &mut it.proxy);
    let of_proxies = fronts.chain(backs).flat_map(|it| &mut it.log.targets);
    config.global.log.iter_mut().chain(of_proxies)
}

/// Lanes in the making, with the sinks of each.
#[derive(Default)]
struct LanePlan {
    sinks: Vec<Vec<LogSink>>,
}

impl LanePlan {
    /// Lane and position in it of a sink, found or made.
    fn find(&mut self, sink: &LogSink) -> (usize, u16) {
        let lane = self.sinks.iter().position(|sinks| match sinks.first() {
            Some(first) if writer::may_block(first) => first == sink,
            _ => !writer::may_block(sink),
        });
        let lane = lane.unwrap_or_else(|| {
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

    /// Starts their threads.
    fn start(
        self,
        lost_before: &Arc<AtomicU64>,
        resolver: &Resolver,
    ) -> std::io::Result<Vec<Arc<Lane>>> {
        let start = |sinks: Vec<LogSink>| {
            let queue = Arc::<Queue>::default();
            writer::start(queue.clone(), sinks.clone(), resolver.clone())?;
            Ok(Arc::new(Lane {
                queue,
                sinks,
                lost_before: lost_before.clone(),
            }))
        };
        self.sinks.into_iter().map(start).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_block_has_a_queue_of_its_own() {
        let udp = |port: u16| LogSink::Udp(([127, 0, 0, 1], port).into());
        let mut lanes = LanePlan::default();
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
