//! What an entry holds, and at which of its words (manual 11.1, "store").

use std::fmt;
use std::ops::Range;

use crate::rates::Period;

/// A data type of `store`, without its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the names are the manual's, which says what each is"
)]
pub enum What {
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

impl What {
    /// All of them by their names.
    pub const NAMED: [(&'static str, What); 27] = [
        ("bytes_in_cnt", What::BytesInCnt),
        ("bytes_in_rate", What::BytesInRate),
        ("bytes_out_cnt", What::BytesOutCnt),
        ("bytes_out_rate", What::BytesOutRate),
        ("conn_cnt", What::ConnCnt),
        ("conn_cur", What::ConnCur),
        ("conn_rate", What::ConnRate),
        ("glitch_cnt", What::GlitchCnt),
        ("glitch_rate", What::GlitchRate),
        ("gpc", What::Gpc),
        ("gpc_rate", What::GpcRate),
        ("gpc0", What::Gpc0),
        ("gpc0_rate", What::Gpc0Rate),
        ("gpc1", What::Gpc1),
        ("gpc1_rate", What::Gpc1Rate),
        ("gpt", What::Gpt),
        ("gpt0", What::Gpt0),
        ("http_err_cnt", What::HttpErrCnt),
        ("http_err_rate", What::HttpErrRate),
        ("http_fail_cnt", What::HttpFailCnt),
        ("http_fail_rate", What::HttpFailRate),
        ("http_req_cnt", What::HttpReqCnt),
        ("http_req_rate", What::HttpReqRate),
        ("server_id", What::ServerId),
        ("server_key", What::ServerKey),
        ("sess_cnt", What::SessCnt),
        ("sess_rate", What::SessRate),
    ];

    /// As configurations and `show table` write it.
    pub fn name(self) -> &'static str {
        let named = What::NAMED.iter().find(|(_, what)| *what == self);
        named.map_or("", |(name, _)| name)
    }

    /// Whether it counts over a period.
    pub fn is_rate(self) -> bool {
        self.name().ends_with("_rate")
    }

    /// Whether it is several, and says how many.
    pub fn is_array(self) -> bool {
        matches!(self, What::Gpc | What::GpcRate | What::Gpt)
    }

    /// The largest value: bytes are counted in 64 bits, all else in 32.
    fn mask(self) -> u64 {
        match self {
            What::BytesInCnt | What::BytesOutCnt => u64::MAX,
            _ => u64::from(u32::MAX),
        }
    }

    /// The array whose elements take the place of this one, and which element it is then.
    fn in_array(self) -> Option<(What, usize)> {
        match self {
            What::Gpc0 => Some((What::Gpc, 0)),
            What::Gpc1 => Some((What::Gpc, 1)),
            What::Gpc0Rate => Some((What::GpcRate, 0)),
            What::Gpc1Rate => Some((What::GpcRate, 1)),
            What::Gpt0 => Some((What::Gpt, 0)),
            _ => None,
        }
    }
}

/// One data type as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Which.
    pub what: What,
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
    Excludes(What, What),
    /// The same twice.
    Twice(What),
    /// A rate without a period, or a period without a rate.
    Period(What),
    /// Too few or too many elements.
    Elements(What),
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

/// Where in the entries of one table something is, found once ([`Table::field`](super::Table::field)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The first of its words.
    word: u16,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One word, of which these bits count.
    Count(u64),
    /// Two words.
    Rate(Period),
}

impl Field {
    pub(super) fn words(self) -> Range<usize> {
        let start = usize::from(self.word);
        start..start + self.kind.words()
    }

    pub(super) fn kind(self) -> Kind {
        self.kind
    }
}

impl Kind {
    fn words(self) -> usize {
        match self {
            Kind::Count(_) => 1,
            Kind::Rate(_) => 2,
        }
    }
}

#[derive(Debug)]
pub(super) struct Layout {
    stored: Vec<Stored>,
    /// Of each stored one its first element.
    fields: Vec<Field>,
    words: usize,
}

impl Layout {
    pub(super) fn new(stored: &[Stored]) -> Result<Layout, LayoutError> {
        let (mut fields, mut words) = (Vec::new(), 0);
        for (position, one) in stored.iter().enumerate() {
            check(one, &stored[..position])?;
            let kind = match one.period {
                Some(period) => Kind::Rate(period),
                None => Kind::Count(one.what.mask()),
            };
            // At most 27 types of 100 elements of two words.
            let word = u16::try_from(words).unwrap_or(u16::MAX);
            fields.push(Field { word, kind });
            words += usize::from(one.elements) * kind.words();
        }
        Ok(Layout {
            stored: stored.to_vec(),
            fields,
            words,
        })
    }

    /// Words of the data of one entry.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    pub(super) fn stored(&self) -> &[Stored] {
        &self.stored
    }

    pub(super) fn field(&self, what: What, index: usize) -> Option<Field> {
        let find = |what: What| self.stored.iter().position(|one| one.what == what);
        let (position, index) = match (find(what), what.in_array()) {
            (Some(position), _) => (position, index),
            (None, Some((array, element))) if index == 0 => (find(array)?, element),
            _ => return None,
        };
        let (one, first) = (self.stored[position], self.fields[position]);
        let word = first.word + (index * first.kind.words()) as u16;
        (index < usize::from(one.elements)).then_some(Field { word, ..first })
    }
}

fn check(one: &Stored, before: &[Stored]) -> Result<(), LayoutError> {
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
