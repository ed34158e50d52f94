//! A child process: its output kept, its group killed and reaped when dropped.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait::{PATIENCE, wait_until};

/// A running (or ended) child. Everything it prints is kept, standard output and error together.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    name: String,
}

impl Process {
    /// Starts it in a process group of its own, its standard input empty.
    pub fn start(command: &mut Command) -> Self {
        Self::start_with_stdin(command, Stdio::null())
    }

    /// The same with that as its standard input.
    pub fn start_with_stdin(command: &mut Command, stdin: Stdio) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .process_group(0)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        let lines = Arc::default();
        keep_lines(child.stdout.take().unwrap(), Arc::clone(&lines));
        keep_lines(child.stderr.take().unwrap(), Arc::clone(&lines));
        Self { child, lines, name }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.pid()).unwrap())
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: Signal) {
        kill(self.nix_pid(), signal).unwrap();
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        self.wait_exit_within(PATIENCE).await
    }

    /// Waits for its end that long.
    pub async fn wait_exit_within(&mut self, within: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_until(&what, within, async || self.exited().ok_or("it still runs")).await
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// All output so far.
    pub fn output(&self) -> String {
        self.lines().join("\n")
    }

    /// How many lines contain `part`.
    pub fn count_lines(&self, part: &str) -> usize {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| line.contains(part)).count()
    }

    /// Waits for a line that contains all of `parts`, and returns it.
    pub async fn wait_for_line(&self, parts: &[&str]) -> String {
        self.wait_for_line_after(0, parts).await
    }

    /// The same among the lines after the first `skip`.
    pub async fn wait_for_line_after(&self, skip: usize, parts: &[&str]) -> String {
        let what = format!("a line with {parts:?} from {}", self.name);
        wait_until(&what, PATIENCE, async || {
            let lines = self.lines();
            let mut later = lines.iter().skip(skip);
            let hit = later.find(|line| parts.iter().all(|part| line.contains(part)));
            hit.cloned()
                .ok_or_else(|| format!("{} lines:\n{}", lines.len(), lines.join("\n")))
        })
        .await
    }

    /// Open descriptors now.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    /// Resident memory now, bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        kilobytes.unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Processor time used so far, user and system.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum();
        // Linux reports in hundredths of a second everywhere (USER_HZ).
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group first: a child of the child must not outlive the test either.
        killpg(self.nix_pid(), Signal::SIGKILL).ok();
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- output of {}:\n{}\n---", self.name, self.output());
        }
    }
}

/// Lets this process, and those it starts, open as many descriptors as the system allows: the usual
/// soft limit of 1024 is for programs that use `select`.
pub fn raise_descriptor_limit() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// A thread, not a task: output is kept even while the test's own thread is busy.
fn keep_lines(from: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            lines.lock().unwrap().push(line);
        }
    });
}
