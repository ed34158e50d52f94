//! Answers of one's own in place of error pages (manual 4.2, "errorfile", "errorloc").

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Reply;

/// Answers of one's own, by the status they stand for.
pub type ErrorPages = BTreeMap<u16, ErrorPage>;

/// What clients get instead of a page of ours (manual 4.2, "errorfile", "errorloc").
#[derive(Debug, Clone)]
pub enum ErrorPage {
    /// An empty file: the connection ends without an answer.
    Silent,
    /// This answer.
    Answer(Arc<ErrorAnswer>),
    /// What `http-error` says, made anew for each request.
    Reply(Arc<Reply>),
}

/// An answer read from a file, or the redirect of an `errorloc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The status that is sent, which need not be the one it stands for. 200 to 599.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Arc<[u8]>,
    /// Fields in order, names in lower case; none about framing or the connection.
    pub fields: Vec<(Arc<str>, Box<[u8]>)>,
    /// The body; empty with 204 and 304.
    pub body: Arc<[u8]>,
}
