//! Actions that rules of several sets have in common (manual 4.3).

use std::sync::Arc;
use std::time::Duration;

use crate::expr::{Format, Sample, SetWhen, Timeout, VarName};
use crate::lists::List;
use crate::model::{Amount, CounterChange, LogLevel, Track};

/// What rules of more than one set can do alike.
#[derive(Debug, Clone)]
pub enum Action {
    /// `set-var`, `set-var-fmt`.
    SetVar(Box<SetVar>),
    /// `unset-var`.
    UnsetVar(VarName),
    /// `add-acl`, `del-acl`, `set-map`, `del-map`.
    ChangeList(Box<ListChange>),
    /// `set-src`, `set-src-port`, `set-dst`, `set-dst-port`.
    SetAddress(AddressPart, Box<Sample>),
    /// `set-timeout`.
    SetTimeout(Timeout, NewTimeout),
    /// `set-retries`.
    SetRetries(Amount),
    /// `set-fc-mark`, `set-bc-tos` and their like.
    SetMark(Mark, Amount),
    /// `set-priority-class`, `set-priority-offset`.
    SetPriority(Priority, Box<Sample>),
    /// One that has nothing to do here.
    Nothing,
    /// `set-log-level`.
    SetLogLevel(LogLevel),
    /// `track-sc0` and its like.
    Track(Box<Track>),
    /// `sc-inc-gpc` and its like.
    ChangeCounter(Box<CounterChange>),
}

/// What the kernel tells packets of a connection apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// `set-fc-mark`: a number of netfilter's for the client's connection.
    Client,
    /// `set-fc-tos`: the byte in the headers of what goes to the client.
    ClientTos,
    /// `set-bc-mark`: the same for the server's.
    Server,
    /// `set-bc-tos`.
    ServerTos,
}

impl Mark {
    /// The greatest value.
    pub fn max(self) -> u32 {
        match self {
            Self::Client | Self::Server => u32::MAX,
            Self::ClientTos | Self::ServerTos => u8::MAX.into(),
        }
    }
}

/// What decides who of those that wait for a server is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// `set-priority-class`: from -2047 to 2047, lower ones first.
    Class,
    /// `set-priority-offset`: as though it had come so many milliseconds later; up to 524287 either way.
    Offset,
}

impl Priority {
    /// The greatest value, and the least one is as far below zero.
    pub fn max(self) -> i64 {
        match self {
            Self::Class => 2047,
            Self::Offset => 524_287,
        }
    }
}

/// Which part of the client's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressPart {
    /// Where it comes from.
    Source,
    /// From which port.
    SourcePort,
    /// Where it came to.
    Destination,
    /// To which port.
    DestinationPort,
}

/// What a timeout becomes for one request.
#[derive(Debug, Clone)]
pub enum NewTimeout {
    /// This.
    Fixed(Duration),
    /// So many milliseconds; without a value it stays as it is.
    Sample(Box<Sample>),
}

/// A change to the entries of a pattern file.
#[derive(Debug, Clone)]
pub struct ListChange {
    /// Which.
    pub list: Arc<List>,
    /// Of this entry.
    pub key: Format,
    /// To this; `None`: it goes.
    pub to: Option<ListEntry>,
}

/// What an entry of a pattern file becomes.
#[derive(Debug, Clone)]
pub enum ListEntry {
    /// It is there.
    Key,
    /// It has this value.
    Value(Format),
}

/// A variable and what it becomes.
#[derive(Debug, Clone)]
pub struct SetVar {
    /// Which.
    pub name: VarName,
    /// When at all.
    pub when: Vec<SetWhen>,
    /// To what.
    pub value: VarSource,
}

/// What a variable is made of.
#[derive(Debug, Clone)]
pub enum VarSource {
    /// A sample, with its type; without a value the variable stays as it is.
    Sample(Sample),
    /// A text.
    Format(Format),
}

impl Action {
    /// The samples it looks at by themselves, not within a format.
    pub fn sample(&self) -> Option<&Sample> {
        match self {
            Self::SetVar(set) => match &set.value {
                VarSource::Sample(sample) => Some(sample),
                VarSource::Format(_) => None,
            },
            Self::SetAddress(_, sample) | Self::SetTimeout(_, NewTimeout::Sample(sample)) => {
                Some(sample)
            }
            Self::SetRetries(Amount::Sample(sample))
            | Self::SetMark(_, Amount::Sample(sample))
            | Self::SetPriority(_, sample) => Some(sample),
            Self::Track(track) => Some(&track.key),
            Self::ChangeCounter(change) => match &change.by {
                Amount::Sample(sample) => Some(sample),
                Amount::Number(_) => None,
            },
            _ => None,
        }
    }
}
