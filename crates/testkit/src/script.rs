//! A server that plays a script on each connection: for protocols that are checked and never relayed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// One step of a script.
#[derive(Debug, Clone)]
pub enum Cue {
    /// Sends this.
    Say(Vec<u8>),
    /// Reads so many bytes.
    Hear(usize),
    /// Reads to the end of a request's head.
    HearHead,
    /// Reads until the other side closes.
    Listen,
}

impl Cue {
    /// Sends a text.
    pub fn say(text: impl AsRef<[u8]>) -> Self {
        Self::Say(text.as_ref().to_vec())
    }

    /// Sends a response without a body.
    pub fn status(status: &str) -> Self {
        Self::say(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))
    }
}

/// A running server. Stops when dropped.
pub struct Scripted {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// Plays the scripts one after the other, one for each connection, and then the last one again.
    pub async fn start(scripts: Vec<Vec<Cue>>) -> Self {
        assert!(!scripts.is_empty(), "a script is needed");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let shared = heard.clone();
        let task = tokio::spawn(async move {
            let mut players = JoinSet::new();
            let mut played = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let script = scripts[played.min(scripts.len() - 1)].clone();
                played += 1;
                players.spawn(play(stream, script, shared.clone()));
            }
        });
        Self {
            address,
            heard,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that it heard, one entry for each step that hears.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }
}

/// Ends with the script, or when the other side does.
async fn play(mut stream: TcpStream, script: Vec<Cue>, heard: Arc<Mutex<Vec<Vec<u8>>>>) {
    for cue in script {
        let mut bytes = Vec::new();
        match cue {
            Cue::Say(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
                continue;
            }
            Cue::Hear(length) => {
                bytes.resize(length, 0);
                if stream.read_exact(&mut bytes).await.is_err() {
                    return;
                }
            }
            Cue::HearHead => {
                let mut chunk = [0; 1024];
                while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut chunk).await {
                        Ok(count @ 1..) => bytes.extend(&chunk[..count]),
                        _ => return,
                    }
                }
            }
            Cue::Listen => {
                let _ = stream.read_to_end(&mut bytes).await;
            }
        }
        heard.lock().unwrap().push(bytes);
    }
}
