//! Who takes news of the fleet (`use-service node-push`, and `fetch nodes` of the Runtime API). The engine
//! brings in what was posted and takes out the answer; it reads neither. The control plane has a desk.

use std::pin::Pin;
use std::time::Duration;

/// What takes a while.
pub type Awaited<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The desk.
pub trait NewsDesk: Send + Sync {
    /// Looks at the head of a request before its body is read. Fails with the answer.
    fn admit(&self, head: &PushHead<'_>) -> Result<Box<dyn Push>, PushAnswer>;

    /// Has the list of nodes fetched now; what came of it, for people. Bounded in time.
    fn fetch(&self) -> Awaited<Result<String, String>>;
}

/// One request that was let in; holds its place until it is answered.
pub trait Push: Send {
    /// Takes the whole body. Bounded in time.
    fn take(self: Box<Self>, body: Vec<u8>) -> Awaited<PushAnswer>;

    /// The answer where the body did not come as it should.
    fn not_read(self: Box<Self>, why: NotRead) -> PushAnswer;
}

/// Largest body of a push, bytes: a list of as many nodes as a fleet can have, of 400 bytes each.
pub const PUSH_LEN_MAX: usize = 4 << 20;

/// How long the body of a push may take: who posts it has it at hand.
pub const PUSH_TIME_MAX: Duration = Duration::from_secs(10);

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRead {
    /// It is larger than [`PUSH_LEN_MAX`], or no body at all.
    TooLong,
    /// It took longer than [`PUSH_TIME_MAX`].
    TooSlow,
}

/// What is known of a request before its body.
#[derive(Debug, Clone)]
pub struct PushHead<'a> {
    /// Its method.
    pub method: &'a [u8],
    /// Values of all its `X-API-Key` fields.
    pub keys: Vec<&'a [u8]>,
    /// How long it says its body is; `None`: it does not say.
    pub length: Option<u64>,
}

/// An answer, JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushAnswer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// When to try again, whole seconds.
    pub retry_after: Option<Duration>,
}
