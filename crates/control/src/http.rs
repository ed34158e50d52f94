//! A small HTTP server for what is asked now and then, off the data path: one request a connection.
//! Clients are foreign: connections, heads and time are bounded.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections at once; more wait in the listen queue.
const CONNECTIONS_MAX: usize = 256;

/// A whole connection, from accept to the last byte of the answer.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// Reading a request's head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// Largest request head, bytes; hyper takes no less than 8 kB.
const HEAD_MAX: usize = 16 << 10;

/// Pause after a failed accept: without descriptors, trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers until dropped. The listener must not block. Must be called in a tokio runtime with I/O and
/// time; returns only with an error of handing the listener to it.
pub(crate) async fn serve<F, A, B>(listener: TcpListener, answer: F) -> io::Result<()>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            // Finished connections are let go of while waiting for the next one.
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = stream else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let answer = answer.clone();
        connections.spawn(async move {
            let _place = place;
            connection(stream, answer).await;
        });
    }
}

/// One connection, one request. What goes wrong on it is the client's to notice. An answer that does not say how
/// long it is has no end of its own: it may go on, and who gives it bounds it.
async fn connection<F, A, B>(stream: tokio::net::TcpStream, answer: F)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Events are small, and each is news.
    let _ = stream.set_nodelay(true);
    let is_endless = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        let (answered, is_endless) = (answer(request), &is_endless);
        async move {
            let answer = answered.await;
            let endless = answer.body().size_hint().exact().is_none();
            is_endless.store(endless, Relaxed);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_MAX)
        .keep_alive(false);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    if timeout(CONNECTION_TIME_MAX, &mut connection).await.is_err() && is_endless.load(Relaxed) {
        let _ = connection.await;
    }
}
