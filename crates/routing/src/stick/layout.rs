//! DataType an entry holds, and at which of its words (manual 11.1, "store").

use std::ops::Range;

use config::model::{DataType, LayoutError, Stored, check_stored};

use crate::rates::Period;

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
            check_stored(one, &stored[..position])?;
            let kind = match one.period {
                Some(period) => Kind::Rate(period),
                None => Kind::Count(mask(one.what)),
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

    pub(super) fn field(&self, what: DataType, index: usize) -> Option<Field> {
        let find = |what: DataType| self.stored.iter().position(|one| one.what == what);
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

/// The largest value: bytes are counted in 64 bits, all else in 32. What stands for a server's name has 64.
fn mask(what: DataType) -> u64 {
    match what {
        DataType::BytesInCnt | DataType::BytesOutCnt | DataType::ServerKey => u64::MAX,
        _ => u64::from(u32::MAX),
    }
}
