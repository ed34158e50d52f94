//! What rules change of heads (manual 4.4).

use std::sync::Arc;

use crate::expr::{Format, TextMethod};

/// A change to the fields of a request or a response. Names in lower case.
#[derive(Debug, Clone)]
pub enum FieldEdit {
    /// `set-header`: replaces all of that name.
    Set(Arc<str>, Format),
    /// `add-header`.
    Add(Arc<str>, Format),
    /// `del-header`.
    Delete(FieldName),
    /// `replace-header`: of the lines that match.
    Replace(Box<Replacement>),
    /// `replace-value`: of the values between commas that match.
    ReplaceValue(Box<Replacement>),
}

/// Which fields, by their names.
#[derive(Debug, Clone)]
pub enum FieldName {
    /// This one.
    Is(Arc<str>),
    /// `-m beg`, `end` or `sub`; the text in lower case.
    Matches(TextMethod, Arc<str>),
    /// `-m reg`.
    Regex(regex::bytes::Regex),
}

/// What takes the place of a text that matches, and of which field.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The field's name; empty where it is no field.
    pub name: Arc<str>,
    /// What must match somewhere in it.
    pub regex: regex::bytes::Regex,
    /// `\0` to `\9` are groups.
    pub with: Format,
}

/// A change to what is asked for.
#[derive(Debug, Clone)]
pub enum TargetEdit {
    /// `set-method`.
    Method(Format),
    /// `set-path`, `set-pathq`, `set-query`, `set-uri`.
    Set(TargetPart, Format),
    /// `replace-path`, `replace-pathq`, `replace-uri`.
    Replace(TargetPart, Box<Replacement>),
    /// `normalize-uri`.
    Normalize(Normalizer),
}

/// Which part of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetPart {
    /// From the first slash of the path to the question mark.
    Path,
    /// With the query.
    PathQ,
    /// Behind the question mark.
    Query,
    /// All of it.
    Uri,
}

/// How a target is brought into one form (manual 4.4, "normalize-uri").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalizer {
    /// `fragment-encode`.
    FragmentEncode,
    /// `fragment-strip`.
    FragmentStrip,
    /// `path-merge-slashes`.
    MergeSlashes,
    /// `path-strip-dot`.
    StripDot,
    /// `path-strip-dotdot`, and whether at the beginning, too (`full`).
    StripDotDot(bool),
    /// `percent-decode-unreserved`, and whether what is no such sequence is refused (`strict`).
    DecodeUnreserved(bool),
    /// `percent-to-uppercase`, the same.
    Uppercase(bool),
    /// `query-sort-by-name`.
    SortQuery,
}
