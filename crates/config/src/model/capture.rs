//! What is kept of requests and responses for their log line, and what they are called (manual 4.2,
//! "capture", "declare capture", "unique-id-format").

use std::sync::Arc;

use crate::expr::{Format, Sample};

/// What a frontend keeps.
#[derive(Debug, Clone, Default)]
pub struct Captures {
    /// Slots filled from requests, in the order of their numbers.
    pub request: Vec<CaptureSlot>,
    /// Slots filled from responses.
    pub response: Vec<CaptureSlot>,
    /// `capture cookie`.
    pub cookie: Option<CookieCapture>,
}

impl Captures {
    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty() && self.cookie.is_none()
    }
}

/// A place for one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureSlot {
    /// The header that fills it, in lower case; `None`: a rule does (`declare capture`,
    /// `http-request capture`).
    pub header: Option<Arc<str>>,
    /// `len`: longest value, bytes.
    pub length_max: usize,
}

/// `capture cookie NAME len N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieCapture {
    /// What the cookie's name begins with; one that ends in `=` is the whole name.
    pub prefix: Arc<str>,
    /// `len`: longest text of name and value, bytes.
    pub length_max: usize,
}

/// `http-request capture`, `http-response capture`.
#[derive(Debug, Clone)]
pub struct RuleCapture {
    /// What is kept.
    pub sample: Sample,
    /// Where: a slot of the frontend, by number. A backend's rule may name one that its frontend
    /// does not have; then nothing is kept.
    pub slot: usize,
    /// `len`: the rule has declared its own slot of that length.
    pub declares: Option<usize>,
}

/// `unique-id-format`, `unique-id-header`.
#[derive(Debug, Clone, Default)]
pub struct UniqueId {
    /// What the id is made of; `None`: there is none.
    pub format: Option<Arc<Format>>,
    /// The header, in lower case, that tells it to servers.
    pub header: Option<Arc<str>>,
}

/// `set-log-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// `silent`: no line.
    Silent,
    /// A syslog severity, 0 to 7.
    Severity(u8),
}
