//! A proxy as a process: started on its core, its processor time and memory read from `/proc`,
//! killed when dropped.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::results::Void;

/// The core of the proxy; generator and nodes have the other one.
const PROXY_CORE: usize = 0;
const GENERATOR_CORE: usize = 1;

/// How long a proxy may take to start.
const START_MAX: Duration = Duration::from_secs(30);

/// Puts this thread where the generator belongs.
pub(crate) fn pin_generator() -> Result<()> {
    pin(&[GENERATOR_CORE])
}

fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context("choose the core to run on")
}

/// A running proxy.
pub(crate) struct Process {
    child: Child,
}

/// What a process has used so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage {
    /// Nanoseconds on a processor of each thread alive, children's as well.
    threads: BTreeMap<PathBuf, u64>,
    /// Clock ticks in user and kernel, of threads that ended too.
    user_ticks: u64,
    kernel_ticks: u64,
}

/// What a process used between two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// Nanoseconds on a processor, all threads and children.
    pub(crate) cpu_ns: u64,
    /// Clock ticks in user and kernel.
    pub(crate) user_ticks: u64,
    /// See `user_ticks`.
    pub(crate) kernel_ticks: u64,
}

/// Nanoseconds of a clock tick: there are a hundred a second on every Linux.
const TICK_NS: u64 = 10_000_000;

/// By how many ticks, and by which part, the two accounts of the kernel may differ: each account of ticks
/// is cut to whole ones.
const TICKS_APART: u64 = 5;
const PART_APART: u64 = 20;

impl Usage {
    /// What was used since `before`. A thread that ended meanwhile took its account in nanoseconds with
    /// it: then the account in ticks says whether it matters.
    pub(crate) fn since(&self, before: &Self) -> Result<Spent> {
        let mut cpu_ns = 0;
        for (thread, ns) in &self.threads {
            let earlier = before.threads.get(thread).copied().unwrap_or(0);
            cpu_ns += ns
                .checked_sub(earlier)
                .context("a thread of the proxy became another one")?;
        }
        let ticks = |now: u64, then: u64| {
            now.checked_sub(then)
                .context("a process of the proxy ended")
        };
        let spent = Spent {
            cpu_ns,
            user_ticks: ticks(self.user_ticks, before.user_ticks)?,
            kernel_ticks: ticks(self.kernel_ticks, before.kernel_ticks)?,
        };
        if !self.threads.keys().eq(before.threads.keys()) {
            let counted = (spent.user_ticks + spent.kernel_ticks) * TICK_NS;
            if counted > cpu_ns + cpu_ns / PART_APART + TICKS_APART * TICK_NS {
                return Err(Void(format!(
                    "a thread ended and took the account of {} ms with it",
                    (counted - cpu_ns) / 1_000_000
                ))
                .into());
            }
        }
        Ok(spent)
    }
}

impl Process {
    /// Starts `command` on one core (or, with several `workers`, on both) and waits until something
    /// listens on `address`.
    pub(crate) fn start(mut command: Command, address: SocketAddr, workers: usize) -> Result<Self> {
        // A child runs where its parent ran when it was made.
        if workers == 1 {
            pin(&[PROXY_CORE])?;
        } else {
            pin(&[PROXY_CORE, GENERATOR_CORE])?;
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        pin_generator()?;
        let mut process = Self {
            child: child.with_context(|| format!("start {command:?}"))?,
        };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("{command:?} ended with {status}");
            }
            if started.elapsed() > START_MAX {
                bail!("{command:?} does not listen on {address}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    /// The process and its children: nginx works in them.
    fn pids(&self) -> Vec<u32> {
        let parent = self.child.id();
        let mut pids = vec![parent];
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.unwrap_or_default();
        pids.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        pids
    }

    /// Counts its system calls from now on, with strace: it becomes many times slower, so nothing
    /// else is measured meanwhile.
    pub(crate) fn trace(&self) -> Result<Trace> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-q"]);
        for pid in self.pids() {
            command.args(["-p", &pid.to_string()]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = command.spawn().context("strace is not installed")?;
        let trace = Trace { child };
        let asked = Instant::now();
        while !self.is_traced()? {
            if asked.elapsed() > START_MAX {
                bail!("strace does not get hold of the proxy");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(trace)
    }

    /// Whether strace has got hold of every thread.
    fn is_traced(&self) -> Result<bool> {
        for pid in self.pids() {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                // A thread may end while we look.
                let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
                if status.contains("TracerPid:\t0\n") {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Nanoseconds on a processor of each thread of it and of its children.
    pub(crate) fn threads(&self) -> Result<BTreeMap<PathBuf, u64>> {
        let mut threads = BTreeMap::new();
        for pid in self.pids() {
            threads.extend(tasks(&format!("/proc/{pid}/task"))?);
        }
        Ok(threads)
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for pid in self.pids() {
            let threads = tasks(&format!("/proc/{pid}/task"))?;
            usage.threads.extend(threads);
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let (_, fields) = stat.rsplit_once(") ").context("a stat without a name")?;
            let mut fields = fields.split_whitespace().skip(11);
            let mut ticks = || {
                fields
                    .next()
                    .and_then(|field| field.parse::<u64>().ok())
                    .unwrap_or(0)
            };
            usage.user_ticks += ticks();
            usage.kernel_ticks += ticks();
        }
        Ok(usage)
    }

    /// Bytes of memory it has in use.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for pid in self.pids() {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line
                .and_then(|line| line.split_whitespace().next())
                .context("no VmRSS")?;
            bytes += kib.parse::<u64>()? * 1024;
        }
        Ok(bytes)
    }
}

/// Nanoseconds on a processor of each thread below a folder of `/proc`.
fn tasks(folder: &str) -> Result<BTreeMap<PathBuf, u64>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(folder)? {
        let path = task?.path();
        // A thread may end while we look.
        let Ok(stat) = fs::read_to_string(path.join("schedstat")) else {
            continue;
        };
        let ns = stat.split_whitespace().next();
        threads.insert(path, ns.context("an empty schedstat")?.parse()?);
    }
    Ok(threads)
}

/// Nanoseconds on a processor of the generator and its nodes so far.
pub(crate) fn own_cpu_ns() -> Result<u64> {
    Ok(tasks("/proc/self/task")?.values().sum())
}

/// The caches of the kernel that grow with each socket.
const SOCKET_CACHES: [&str; 6] = [
    "TCP",
    "sock_inode_cache",
    "filp",
    "dentry",
    "eventpoll_epi",
    "eventpoll_pwq",
];

/// Bytes in the kernel's caches that hold sockets, of the whole machine; `None`: we may not know.
pub(crate) fn kernel_socket_bytes() -> Option<u64> {
    let slabs = fs::read_to_string("/proc/slabinfo").ok()?;
    let bytes = slabs.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        if !SOCKET_CACHES.contains(&words.next()?) {
            return None;
        }
        // Objects in use, objects there are, bytes of each.
        let count: u64 = words.next()?.parse().ok()?;
        let size: u64 = words.nth(1)?.parse().ok()?;
        Some(count * size)
    });
    Some(bytes.sum())
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM first: a master takes its workers with it.
        let pid = Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(2) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// strace at work.
pub(crate) struct Trace {
    child: Child,
}

impl Trace {
    /// How many calls there were.
    pub(crate) fn finish(self) -> Result<u64> {
        let pid = Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)?;
        let output = self.child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        // The last line: percent, seconds, microseconds a call, calls, errors, "total".
        let total = text.lines().find(|line| line.trim_end().ends_with("total"));
        let calls = total.and_then(|line| line.split_whitespace().nth(3));
        let calls = calls.with_context(|| format!("strace said: {text}"))?;
        Ok(calls.parse()?)
    }
}
