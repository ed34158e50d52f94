//! Persistence by cookie: which server a client comes back to (manual 4.2, "cookie").
//!
//! [`read`] takes what the client's cookies say and removes from them what the node must not see;
//! [`answer`] puts ours into the response. Who can be used is the caller's to know, and so is the
//! time. What HAProxy does where the manual is silent was taken from its answers.

mod date;
mod dynamic;
mod request;
mod response;
mod rules;

use crate::balance::ServerKey;

pub use dynamic::dynamic_value;
pub use request::{Found, read};
pub use response::{Chosen, answer};
pub use rules::persistence;

/// What the client's cookies said: the third letter of the termination state (manual 8.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Given {
    /// None: `N`.
    #[default]
    None,
    /// One that no server has: `I`.
    Invalid,
    /// One of a server that is down: `D`.
    Down,
    /// One of a server that can be used: `V`.
    Valid,
    /// One not used for longer than `maxidle`: `E`.
    Expired,
    /// One older than `maxlife`: `O`.
    Old,
    /// One that a rule says to ignore: `U`.
    Unused,
}

impl Given {
    /// As the log shows it.
    pub fn letter(self) -> u8 {
        match self {
            Self::None => b'N',
            Self::Invalid => b'I',
            Self::Down => b'D',
            Self::Valid => b'V',
            Self::Expired => b'E',
            Self::Old => b'O',
            Self::Unused => b'U',
        }
    }
}

/// What became of the cookie in the response: the fourth letter (manual 8.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Returned {
    /// None came, none was put in: `N`.
    #[default]
    None,
    /// We put one in: `I`.
    Inserted,
    /// We gave the client's one another date: `U`.
    Updated,
    /// The node's was left: `P`.
    Provided,
    /// The node's got the server's value: `R`.
    Rewritten,
    /// The node's was taken away: `D`.
    Deleted,
}

impl Returned {
    /// As the log shows it.
    pub fn letter(self) -> u8 {
        match self {
            Self::None => b'N',
            Self::Inserted => b'I',
            Self::Updated => b'U',
            Self::Provided => b'P',
            Self::Rewritten => b'R',
            Self::Deleted => b'D',
        }
    }
}

/// What a rule of the backend says of this request ("force-persist", "ignore-persist").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Persistence {
    /// Nothing: servers that are down are left alone.
    #[default]
    Usual,
    /// Also to a server that is down.
    Forced,
    /// Cookies decide nothing.
    Ignored,
}

/// What the client's cookies came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presented {
    /// For the log.
    pub given: Given,
    /// The server to go to; `None`: whichever balancing picks.
    pub server: Option<ServerKey>,
    /// Cookies decide nothing for this request.
    pub ignored: bool,
    dates: date::Dates,
}

/// The name and the value, as places in `text`: `NAME = VALUE` without the spaces around either.
/// `None` where there is no `=`.
fn pair(text: &[u8]) -> Option<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let equals = memchr::memchr(b'=', text)?;
    Some((
        trimmed(text, 0, equals),
        trimmed(text, equals + 1, text.len()),
    ))
}

/// A part of the text without the white space around it.
fn trimmed(text: &[u8], start: usize, end: usize) -> std::ops::Range<usize> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let part = &text[start..end];
    let before = part.iter().take_while(|byte| is_space(byte)).count();
    let after = part[before..]
        .iter()
        .rev()
        .take_while(|byte| is_space(byte))
        .count();
    start + before..end - after
}

/// Where the piece that begins at `start` ends: at a separator that is not in double quotes, or at
/// the end. Always behind `start` or at the end of the text.
fn piece_end(text: &[u8], start: usize, separates: impl Fn(u8) -> bool) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in text.iter().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if !quoted && separates(byte) => return at,
            _ => {}
        }
    }
    text.len()
}
