//! Stick tables (manual 11.1), what sticks to servers by them (4.2, "stick"), and what rules count in them
//! (4.4, "track-sc0", "sc-inc-gpc").

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::expr::{Condition, Sample, TableRef};
use crate::source::Span;

/// A table, by its position in [`Config::stick_tables`](super::Config::stick_tables).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u16);

/// A table as declared (manual 11.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StickTable {
    /// The name of its proxy.
    pub name: Arc<str>,
    /// `type`.
    pub key: KeyType,
    /// `size`: entries, at most.
    pub size: u32,
    /// `expire`: how long an entry is kept from when it was last refreshed; `None`: until there is no room.
    pub expire: Option<Duration>,
    /// `nopurge`: a full table takes nothing new, in place of forgetting what would expire first.
    pub nopurge: bool,
    /// `store`, in its order.
    pub store: Vec<Stored>,
    /// `brates-factor`: `bytes_in_rate` and `bytes_out_rate` count blocks of so many bytes. Default 1.
    pub bytes_factor: u16,
    /// `srvkey`: what servers are recognised by where one table serves several backends.
    pub server_key: ServerKeyKind,
    /// Where.
    pub span: Span,
}

/// `srvkey` (manual 11.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerKeyKind {
    /// `name`.
    #[default]
    Name,
    /// `addr`: address and port.
    Address,
}

/// `stick match`, or what is to be stored by `stick store-request` and `store-response`.
#[derive(Debug, Clone)]
pub struct StickRule {
    /// What the key is made of.
    pub key: Sample,
    /// Where it is looked up or kept.
    pub table: TableRef,
    /// When.
    pub condition: Option<Condition>,
    /// Where.
    pub span: Span,
}

/// All `stick` rules of a backend. `stick on` stands in the first two.
#[derive(Debug, Clone, Default)]
pub struct StickRules {
    /// `stick match`.
    pub matches: Vec<StickRule>,
    /// `stick store-request`.
    pub store_request: Vec<StickRule>,
    /// `stick store-response`.
    pub store_response: Vec<StickRule>,
}

impl StickRules {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.matches.is_empty() && self.store_request.is_empty() && self.store_response.is_empty()
    }
}

/// Keys that one message stores, at most (manual 4.2, "stick store-request").
pub const STORES_MAX: usize = 8;

/// `track-sc0` and its like: what is counted from now on, in which table, under which number.
#[derive(Debug, Clone)]
pub struct Track {
    /// 0 for `track-sc0`.
    pub counter: u8,
    /// What the key is made of.
    pub key: Sample,
    /// In which table.
    pub table: TableRef,
}

/// `sc-inc-gpc` and its like: what is changed in the entry that a counter tracks.
#[derive(Debug, Clone)]
pub struct CounterChange {
    /// Which counter.
    pub counter: u8,
    /// What of the entry.
    pub slot: GeneralSlot,
    /// To what, or by how much.
    pub by: Amount,
}

/// A counter or tag that rules may use as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeneralSlot {
    /// `gpc` at this index, and `gpc_rate`.
    Counter(u8),
    /// `gpc0`, whether it is kept by itself or as the first of `gpc`.
    Counter0,
    /// `gpc1`.
    Counter1,
    /// `gpt` at this index.
    Tag(u8),
    /// `gpt0`.
    Tag0,
}

/// How much.
#[derive(Debug, Clone)]
pub enum Amount {
    /// So much.
    Number(u32),
    /// What comes out of it.
    Sample(Box<Sample>),
}

/// Which answers of nodes are held against whom (manual 3.1, "http-err-codes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlamedStatuses {
    /// `http-err-codes`: what `http_err_cnt` counts. Default 400 to 499.
    pub errors: StatusSet,
    /// `http-fail-codes`: what `http_fail_cnt` counts. Default 500 to 599 but 501 and 505.
    pub failures: StatusSet,
}

impl Default for BlamedStatuses {
    fn default() -> Self {
        let (mut errors, mut failures) = (StatusSet::default(), StatusSet::default());
        errors.change(400..=499, true);
        failures.change(500..=599, true);
        failures.change(501..=501, false);
        failures.change(505..=505, false);
        Self { errors, failures }
    }
}

/// Status codes from 100 to 599.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusSet([u64; 8]);

impl StatusSet {
    /// Whether it has this one.
    pub fn contains(&self, status: u16) -> bool {
        let at = usize::from(status.wrapping_sub(100));
        let word = self.0.get(at / 64);
        word.is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Takes these in, or out.
    pub fn change(&mut self, statuses: std::ops::RangeInclusive<u16>, belong: bool) {
        for at in statuses.map(|status| usize::from(status.wrapping_sub(100))) {
            if let Some(word) = self.0.get_mut(at / 64) {
                *word = *word & !(1 << (at % 64)) | u64::from(belong) << (at % 64);
            }
        }
    }
}

/// Counters that may be tracked at once unless `tune.stick-counters` says otherwise.
pub const STICK_COUNTERS: u8 = 3;

/// `type` (manual 11.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `ip`, `ipv4`.
    Ip,
    /// `ipv6`.
    Ipv6,
    /// `integer`: 32 bits.
    Integer,
    /// `string len N`: longer ones are cut.
    String(u16),
    /// `binary len N`: longer ones are cut, shorter ones filled up with zeros.
    Binary(u16),
}

/// Length of strings and blocks that are declared without one, in bytes.
pub const LEN_DEFAULT: u16 = 32;

impl KeyType {
    /// The type by its name; strings and blocks of the default length. `None`: there is no such type.
    pub fn named(name: &str) -> Option<KeyType> {
        Some(match name {
            "ip" | "ipv4" => KeyType::Ip,
            "ipv6" => KeyType::Ipv6,
            "integer" => KeyType::Integer,
            "string" => KeyType::String(LEN_DEFAULT),
            "binary" => KeyType::Binary(LEN_DEFAULT),
            _ => return None,
        })
    }

    /// Its name, as `show table` writes it.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::Ip => "ip",
            KeyType::Ipv6 => "ipv6",
            KeyType::Integer => "integer",
            KeyType::String(_) => "string",
            KeyType::Binary(_) => "binary",
        }
    }

    /// Bytes of the longest key.
    pub fn len_max(self) -> usize {
        match self {
            KeyType::Ip | KeyType::Integer => 4,
            KeyType::Ipv6 => 16,
            KeyType::String(len) | KeyType::Binary(len) => usize::from(len),
        }
    }
}

/// What a rate is counted over: one millisecond at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u32);

impl Period {
    /// None of nothing, and of more than the 49 days that HAProxy's own milliseconds can count.
    pub fn new(length: Duration) -> Option<Period> {
        let millis = u32::try_from(length.as_millis()).ok()?;
        (millis > 0).then_some(Period(millis))
    }

    /// Its length in milliseconds, as `show table` writes it.
    pub fn millis(self) -> u32 {
        self.0
    }
}

/// A data type of `store`, without its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the names are the manual's, which says what each is"
)]
pub enum DataType {
    BytesInCnt,
    BytesInRate,
    BytesOutCnt,
    BytesOutRate,
    ConnCnt,
    ConnCur,
    ConnRate,
    GlitchCnt,
    GlitchRate,
    Gpc,
    GpcRate,
    Gpc0,
    Gpc0Rate,
    Gpc1,
    Gpc1Rate,
    Gpt,
    Gpt0,
    HttpErrCnt,
    HttpErrRate,
    HttpFailCnt,
    HttpFailRate,
    HttpReqCnt,
    HttpReqRate,
    ServerId,
    ServerKey,
    SessCnt,
    SessRate,
}

impl DataType {
    /// All of them by their names.
    pub const NAMED: [(&'static str, DataType); 27] = [
        ("bytes_in_cnt", DataType::BytesInCnt),
        ("bytes_in_rate", DataType::BytesInRate),
        ("bytes_out_cnt", DataType::BytesOutCnt),
        ("bytes_out_rate", DataType::BytesOutRate),
        ("conn_cnt", DataType::ConnCnt),
        ("conn_cur", DataType::ConnCur),
        ("conn_rate", DataType::ConnRate),
        ("glitch_cnt", DataType::GlitchCnt),
        ("glitch_rate", DataType::GlitchRate),
        ("gpc", DataType::Gpc),
        ("gpc_rate", DataType::GpcRate),
        ("gpc0", DataType::Gpc0),
        ("gpc0_rate", DataType::Gpc0Rate),
        ("gpc1", DataType::Gpc1),
        ("gpc1_rate", DataType::Gpc1Rate),
        ("gpt", DataType::Gpt),
        ("gpt0", DataType::Gpt0),
        ("http_err_cnt", DataType::HttpErrCnt),
        ("http_err_rate", DataType::HttpErrRate),
        ("http_fail_cnt", DataType::HttpFailCnt),
        ("http_fail_rate", DataType::HttpFailRate),
        ("http_req_cnt", DataType::HttpReqCnt),
        ("http_req_rate", DataType::HttpReqRate),
        ("server_id", DataType::ServerId),
        ("server_key", DataType::ServerKey),
        ("sess_cnt", DataType::SessCnt),
        ("sess_rate", DataType::SessRate),
    ];

    /// As configurations and `show table` write it.
    pub fn name(self) -> &'static str {
        let named = DataType::NAMED.iter().find(|(_, what)| *what == self);
        named.map_or("", |(name, _)| name)
    }

    /// Whether it counts over a period.
    pub fn is_rate(self) -> bool {
        self.name().ends_with("_rate")
    }

    /// Whether it is several, and says how many.
    pub fn is_array(self) -> bool {
        matches!(self, DataType::Gpc | DataType::GpcRate | DataType::Gpt)
    }

    /// The array whose elements take the place of this one, and which element it is then.
    pub fn in_array(self) -> Option<(DataType, usize)> {
        match self {
            DataType::Gpc0 => Some((DataType::Gpc, 0)),
            DataType::Gpc1 => Some((DataType::Gpc, 1)),
            DataType::Gpc0Rate => Some((DataType::GpcRate, 0)),
            DataType::Gpc1Rate => Some((DataType::GpcRate, 1)),
            DataType::Gpt0 => Some((DataType::Gpt, 0)),
            _ => None,
        }
    }
}

/// One data type as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Which.
    pub what: DataType,
    /// How many: 1 but for arrays, which may have 1 to [`ELEMENTS_MAX`].
    pub elements: u8,
    /// Of rates: over which period.
    pub period: Option<Period>,
}

/// Elements of an array, at most (manual 11.1).
pub const ELEMENTS_MAX: u8 = 100;

/// Why data cannot be stored together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutError {
    /// An array and one that its elements take the place of.
    Excludes(DataType, DataType),
    /// The same twice.
    Twice(DataType),
    /// A rate without a period, or a period without a rate.
    Period(DataType),
    /// Too few or too many elements.
    Elements(DataType),
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::Excludes(array, single) => {
                let (array, single) = (array.name(), single.name());
                write!(
                    f,
                    "'{single}' cannot be stored beside '{array}', whose elements it is"
                )
            }
            LayoutError::Twice(what) => write!(f, "'{}' is stored already", what.name()),
            LayoutError::Period(what) if what.is_rate() => {
                write!(f, "'{}' needs a period", what.name())
            }
            LayoutError::Period(what) => write!(f, "'{}' has no period", what.name()),
            LayoutError::Elements(what) if what.is_array() => {
                write!(f, "'{}' has 1 to {ELEMENTS_MAX} elements", what.name())
            }
            LayoutError::Elements(what) => write!(f, "'{}' is one and no array", what.name()),
        }
    }
}

impl std::error::Error for LayoutError {}

/// Whether one may be stored beside those before it.
pub fn check_stored(one: &Stored, before: &[Stored]) -> Result<(), LayoutError> {
    let what = one.what;
    if what.is_rate() != one.period.is_some() {
        return Err(LayoutError::Period(what));
    }
    let elements_max = if what.is_array() { ELEMENTS_MAX } else { 1 };
    if !(1..=elements_max).contains(&one.elements) {
        return Err(LayoutError::Elements(what));
    }
    for other in before.iter().map(|stored| stored.what) {
        if other == what {
            return Err(LayoutError::Twice(what));
        }
        for (single, array) in [(what, other), (other, what)] {
            if single.in_array().is_some_and(|(of, _)| of == array) {
                return Err(LayoutError::Excludes(array, single));
            }
        }
    }
    Ok(())
}
