//! Log lines on their way out: framing, targets, and a bounded queue to one writer thread.
//!
//! Follows `configuration.txt` 3.1 (`log`) and 8. A slow target never holds up traffic: when the
//! queue is full a line is dropped and counted.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use config::model::{LogLineFormat, LogSink, LogTarget};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Lines waiting for the writer, at most: about a second of a busy balancer, 4 MB at 500 bytes.
const QUEUE_MAX: usize = 8192;

/// How important a line is: syslog's severities (RFC 5424 section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nobody is served (0).
    Emergency,
    /// Somebody must act now (1).
    Alert,
    /// Somebody should act (4).
    Warning,
    /// A change of state worth keeping (5).
    Notice,
    /// Everything else (6).
    Info,
}

impl Level {
    fn severity(self) -> u8 {
        match self {
            Self::Emergency => 0,
            Self::Alert => 1,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
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

/// What the writer thread is asked to do.
enum Job {
    /// Write a line.
    Line(Arc<LogSink>, Vec<u8>),
    /// Say when everything before is written.
    Flush(SyncSender<()>),
}

/// The queue to the writer thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logger {
    queue: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

impl Logger {
    /// Starts the writer thread. It ends when the last clone of the logger is gone.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = lost.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || Writer::new(counter).run(&lines))?;
        Ok(Self { queue, lost })
    }

    /// Waits until what was queued before is written, at most `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Job::Flush(done)).is_ok() {
            // A slow target has had its time; what is left is lost with the process.
            let _ = wait.recv_timeout(limit);
        }
    }

    /// Lines dropped since start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Queues a line for stderr as it is.
    pub(crate) fn send_stderr(&self, line: &str) {
        let sink = Arc::new(LogSink::Stderr);
        if self
            .queue
            .try_send(Job::Line(sink, format!("{line}\n").into_bytes()))
            .is_err()
        {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Frames `message` for each target that wants lines of this level, and queues it.
    pub(crate) fn send(
        &self,
        targets: &[LogTarget],
        origin: &Origin,
        level: Level,
        now: Duration,
        message: &[u8],
    ) {
        for target in targets
            .iter()
            .filter(|target| level.severity() <= target.level)
        {
            let line = frame(target, origin, level, now, message);
            let sink = Arc::new(target.sink.clone());
            if self.queue.try_send(Job::Line(sink, line)).is_err() {
                self.lost.fetch_add(1, Relaxed);
            }
        }
    }
}

/// The line as the target wants it, cut to its `len`, ending in a newline where lines are streamed.
fn frame(
    target: &LogTarget,
    origin: &Origin,
    level: Level,
    now: Duration,
    message: &[u8],
) -> Vec<u8> {
    let severity = level.severity().max(target.level_min);
    let priority = u32::from(target.facility) * 8 + u32::from(severity);
    let mut line = Vec::with_capacity(message.len() + 64);
    let Origin { tag, host, pid } = origin;
    let header = match target.format {
        LogLineFormat::Raw => String::new(),
        LogLineFormat::Short => format!("<{severity}>"),
        LogLineFormat::Priority => format!("<{priority}>"),
        LogLineFormat::Timed => format!("<{severity}>{} ", iso_date(now)),
        LogLineFormat::Iso => format!("{} {tag}[{pid}]: ", iso_date(now)),
        LogLineFormat::Local => format!("<{priority}>{} {tag}[{pid}]: ", bsd_date(now)),
        LogLineFormat::Rfc3164 => match host {
            Some(host) => format!("<{priority}>{} {host} {tag}[{pid}]: ", bsd_date(now)),
            None => format!("<{priority}>{} {tag}[{pid}]: ", bsd_date(now)),
        },
        LogLineFormat::Rfc5424 => {
            let host = host.as_deref().unwrap_or("-");
            format!("<{priority}>1 {} {host} {tag} {pid} - - ", iso_date(now))
        }
    };
    line.extend_from_slice(header.as_bytes());
    line.extend_from_slice(message);
    line.truncate(target.length_max);
    if matches!(target.sink, LogSink::Stdout | LogSink::Stderr) {
        line.push(b'\n');
    }
    line
}

fn local(now: Duration) -> jiff::Zoned {
    let nanos = i128::try_from(now.as_nanos()).unwrap_or(0);
    let moment = Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.to_zoned(TimeZone::system())
}

/// "Nov 22 08:05:01", RFC 3164 section 4.1.2.
fn bsd_date(now: Duration) -> String {
    local(now).strftime("%b %e %H:%M:%S").to_string()
}

/// "2026-11-22T08:05:01.123456+00:00", RFC 5424 section 6.2.3.
fn iso_date(now: Duration) -> String {
    local(now).strftime("%Y-%m-%dT%H:%M:%S.%6f%:z").to_string()
}

/// The thread that writes. Sockets are opened on first use and after a failure on the next line.
struct Writer {
    sockets: HashMap<LogSink, Socket>,
    lost: Arc<AtomicU64>,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Writer {
    fn new(lost: Arc<AtomicU64>) -> Self {
        Self {
            sockets: HashMap::new(),
            lost,
        }
    }

    fn run(&mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Line(sink, line) => {
                    if self.write(&sink, &line).is_err() {
                        self.sockets.remove(&*sink);
                        self.lost.fetch_add(1, Relaxed);
                    }
                }
                Job::Flush(done) => {
                    // Whoever asked may have stopped waiting.
                    let _ = done.try_send(());
                }
            }
        }
    }

    fn write(&mut self, sink: &LogSink, line: &[u8]) -> std::io::Result<()> {
        match sink {
            LogSink::Stdout => std::io::stdout().lock().write_all(line).and_then(|()| {
                // Lines are for whoever watches: they must not wait for a full block.
                std::io::stdout().lock().flush()
            }),
            LogSink::Stderr => std::io::stderr().lock().write_all(line),
            LogSink::Udp(_) | LogSink::Unix(_) => self.send(sink, line),
        }
    }

    fn send(&mut self, sink: &LogSink, line: &[u8]) -> std::io::Result<()> {
        if !self.sockets.contains_key(sink) {
            let socket = open(sink)?;
            self.sockets.insert(sink.clone(), socket);
        }
        match self.sockets.get(sink) {
            Some(Socket::Udp(udp)) => udp.send(line).map(drop),
            Some(Socket::Unix(unix)) => unix.send(line).map(drop),
            None => Ok(()),
        }
    }
}

/// Opens a datagram socket that never blocks: a target that does not keep up loses lines.
fn open(sink: &LogSink) -> std::io::Result<Socket> {
    match sink {
        LogSink::Unix(path) => {
            let unix = UnixDatagram::unbound()?;
            unix.connect(path)?;
            unix.set_nonblocking(true)?;
            Ok(Socket::Unix(unix))
        }
        LogSink::Udp(address) => {
            let any = if address.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let udp = UdpSocket::bind(any)?;
            udp.connect(address)?;
            udp.set_nonblocking(true)?;
            Ok(Socket::Udp(udp))
        }
        LogSink::Stdout | LogSink::Stderr => Err(std::io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: LogLineFormat, host: Option<&str>, expected: &str) {
        let target = LogTarget {
            sink: LogSink::Udp(([127, 0, 0, 1], 514).into()),
            length_max: 1024,
            format,
            facility: 16,
            level: 7,
            level_min: 0,
        };
        let origin = Origin {
            tag: "haproxy".into(),
            host: host.map(Into::into),
            pid: 42,
        };
        let now = Duration::new(1_795_334_701, 123_456_789);
        let line = frame(&target, &origin, Level::Notice, now, b"hello");
        let line = String::from_utf8(line).expect("text");
        let date = local(now);
        let expected = expected
            .replace("BSD", &date.strftime("%b %e %H:%M:%S").to_string())
            .replace(
                "ISO",
                &date.strftime("%Y-%m-%dT%H:%M:%S.123456%:z").to_string(),
            );
        assert_eq!(line, expected);
    }

    #[test]
    fn each_format_frames_as_the_manual_says() {
        check(LogLineFormat::Raw, None, "hello");
        check(LogLineFormat::Short, None, "<5>hello");
        check(LogLineFormat::Priority, None, "<133>hello");
        check(LogLineFormat::Timed, None, "<5>ISO hello");
        check(LogLineFormat::Iso, None, "ISO haproxy[42]: hello");
        check(
            LogLineFormat::Local,
            Some("lb"),
            "<133>BSD haproxy[42]: hello",
        );
        check(LogLineFormat::Rfc3164, None, "<133>BSD haproxy[42]: hello");
        check(
            LogLineFormat::Rfc3164,
            Some("lb"),
            "<133>BSD lb haproxy[42]: hello",
        );
        check(
            LogLineFormat::Rfc5424,
            Some("lb"),
            "<133>1 ISO lb haproxy 42 - - hello",
        );
    }

    #[test]
    fn a_long_line_is_cut_to_the_length_of_its_target() {
        let target = LogTarget {
            sink: LogSink::Stdout,
            length_max: 80,
            format: LogLineFormat::Raw,
            facility: 16,
            level: 7,
            level_min: 0,
        };
        let origin = Origin {
            tag: "t".into(),
            host: None,
            pid: 1,
        };
        let line = frame(&target, &origin, Level::Info, Duration::ZERO, &[b'x'; 500]);
        assert_eq!(line.len(), 81);
        assert_eq!(line.last(), Some(&b'\n'));
    }
}
