//! A syslog server over UDP: what `log 127.0.0.1:PORT local0` is sent to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::wait::{PATIENCE, wait_until};

/// Longest datagram kept; the balancer's log lines are bounded far below.
const DATAGRAM_LEN_MAX: usize = 65_536;

/// Receives datagrams and keeps them, oldest first.
pub struct LogSink {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl LogSink {
    /// Binds a free UDP port on 127.0.0.1.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; DATAGRAM_LEN_MAX];
            while let Ok(len) = socket.recv(&mut buffer).await {
                let line = String::from_utf8_lossy(&buffer[..len]).into_owned();
                kept.lock().unwrap().push(line);
            }
        });
        Self {
            address,
            lines,
            task,
        }
    }

    /// Where to send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All datagrams so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a datagram that contains all of `parts`, and returns it.
    pub async fn wait_for(&self, parts: &[&str]) -> String {
        wait_until(
            &format!("a log line with {parts:?}"),
            PATIENCE,
            async || {
                let lines = self.lines();
                let hit = lines
                    .iter()
                    .find(|line| parts.iter().all(|part| line.contains(part)));
                hit.cloned()
                    .ok_or_else(|| format!("{} lines:\n{}", lines.len(), lines.join("\n")))
            },
        )
        .await
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}
