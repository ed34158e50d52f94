//! Changes that rules make to heads: worked out over what is there, then made (manual 4.4).
//!
//! Whatever a rule writes, the head stays one that has one meaning: names are tokens, values hold no
//! control character, a target is one that a parser takes, and what frames the message is nobody's to
//! write (see [`wire::head::Fields`], and the writer, which makes framing anew).

use config::expr::{Format, TextMethod};
use config::model::{FieldEdit, FieldName, Replacement, TargetEdit, TargetPart};
use regex::bytes::Regex;
use wire::head::{Fields, Method, RequestHead};

use crate::convert;
use crate::format::{self, Variables};
use crate::normalize::{self, Broken};
use crate::sample::Facts;

/// A change to fields, worked out.
pub(crate) enum FieldChange<'a> {
    Set(&'a str, Vec<u8>),
    Add(&'a str, Vec<u8>),
    Delete(&'a FieldName),
    Replace {
        replacement: &'a Replacement,
        with: Vec<u8>,
        /// Each value between commas by itself.
        values: bool,
    },
}

/// A change to what is asked for, worked out.
pub(crate) enum TargetChange {
    Method(Vec<u8>),
    Part(TargetPart, Vec<u8>),
    /// It stays.
    None,
}

/// What an edit of fields comes to.
pub(crate) fn fields<'a>(
    edit: &'a FieldEdit,
    seen: &Facts<'_>,
    variables: &dyn Variables,
) -> FieldChange<'a> {
    let text = |format: &Format| text(format, seen, variables);
    match edit {
        FieldEdit::Set(name, value) => FieldChange::Set(name, text(value)),
        FieldEdit::Add(name, value) => FieldChange::Add(name, text(value)),
        FieldEdit::Delete(name) => FieldChange::Delete(name),
        FieldEdit::Replace(it) => FieldChange::Replace {
            replacement: it,
            with: text(&it.with),
            values: false,
        },
        FieldEdit::ReplaceValue(it) => FieldChange::Replace {
            replacement: it,
            with: text(&it.with),
            values: true,
        },
    }
}

impl FieldChange<'_> {
    /// The one field it touches; `None`: it may be any.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Set(name, _) | Self::Add(name, _) => Some(name),
            Self::Delete(FieldName::Is(name)) => Some(name),
            Self::Delete(_) => None,
            Self::Replace { replacement, .. } => Some(&replacement.name),
        }
    }

    /// Makes it; `false`: it cannot be made, and nothing has changed.
    pub(crate) fn make(self, fields: &mut Fields, len_max: usize) -> bool {
        match self {
            Self::Delete(name) => {
                delete(name, fields);
                true
            }
            Self::Set(name, value) => {
                let freed: usize = fields.get_all(name).map(|old| old.len() + name.len()).sum();
                if !has_room(fields, name.len() + value.len(), freed, len_max) {
                    return false;
                }
                fields.remove(name);
                fields.append_written(name, &value)
            }
            Self::Add(name, value) => {
                has_room(fields, name.len() + value.len(), 0, len_max)
                    && fields.append_written(name, &value)
            }
            Self::Replace {
                replacement,
                with,
                values,
            } => replace(replacement, &with, values, fields, len_max),
        }
    }
}

/// Whether so much more fits. What fields take is summed up only when it may be too much.
fn has_room(fields: &Fields, more: usize, freed: usize, len_max: usize) -> bool {
    fields.len_bound() + more <= len_max
        || (fields.byte_len() + more).saturating_sub(freed) <= len_max
}

fn delete(name: &FieldName, fields: &mut Fields) {
    match name {
        FieldName::Is(name) => {
            fields.remove(name);
        }
        FieldName::Matches(method, text) => fields.retain(|name, _| match method {
            TextMethod::Prefix => !name.starts_with(&**text),
            TextMethod::Suffix => !name.ends_with(&**text),
            _ => !name.contains(&**text),
        }),
        FieldName::Regex(regex) => fields.retain(|name, _| !regex.is_match(name.as_bytes())),
    }
}

fn replace(
    replacement: &Replacement,
    with: &[u8],
    values: bool,
    fields: &mut Fields,
    len_max: usize,
) -> bool {
    let Replacement { name, regex, .. } = replacement;
    if !fields.contains(name) {
        return true;
    }
    let mut made = Fields::new();
    for (other, value) in fields.iter() {
        let new = match other == &**name {
            false => None,
            true if values => replaced_values(regex, with, value),
            true => replaced(regex, with, value),
        };
        made.append(other, new.as_deref().unwrap_or(value));
    }
    let fits = made.len_bound() <= len_max;
    if fits {
        *fields = made;
    }
    fits
}

/// What takes the place of a text; `None`: it does not match.
fn replaced(regex: &Regex, with: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let captures = regex.captures(text)?;
    let mut made = Vec::new();
    convert::expand(with, &captures, &mut made);
    Some(made)
}

/// The same for each value between commas. What stands around the others stays.
fn replaced_values(regex: &Regex, with: &[u8], line: &[u8]) -> Option<Vec<u8>> {
    let mut changed = false;
    let mut made = Vec::with_capacity(line.len());
    for (at, part) in crate::fields::split_values(line).enumerate() {
        if at > 0 {
            made.push(b',');
        }
        let value = part.trim_ascii();
        match replaced(regex, with, value).filter(|_| !value.is_empty()) {
            Some(new) => {
                changed = true;
                let start = part.len() - part.trim_ascii_start().len();
                // As in HAProxy a value that is replaced stands close to the comma before it.
                made.extend_from_slice(&new);
                made.extend_from_slice(&part[start + value.len()..]);
            }
            None => made.extend_from_slice(part),
        }
    }
    changed.then_some(made)
}

/// What an edit of the target comes to.
pub(crate) fn target(
    edit: &TargetEdit,
    head: &RequestHead,
    seen: &Facts<'_>,
    variables: &dyn Variables,
) -> Result<TargetChange, Broken> {
    Ok(match edit {
        TargetEdit::Method(format) => TargetChange::Method(text(format, seen, variables)),
        TargetEdit::Set(part, format) => TargetChange::Part(*part, text(format, seen, variables)),
        TargetEdit::Replace(part, it) => {
            let old = match part {
                TargetPart::Path => head.path(),
                TargetPart::Uri => head.target(),
                _ => head.path_and_query(),
            };
            let with = text(&it.with, seen, variables);
            match replaced(&it.regex, &with, old) {
                Some(new) => TargetChange::Part(*part, new),
                None => TargetChange::None,
            }
        }
        TargetEdit::Normalize(normalizer) => match normalize::normalized(*normalizer, head)? {
            Some(new) => TargetChange::Part(TargetPart::PathQ, new),
            None => TargetChange::None,
        },
    })
}

impl TargetChange {
    /// Makes it; `false`: it cannot be made, and nothing has changed.
    pub(crate) fn make(self, head: &mut RequestHead, len_max: usize) -> bool {
        match self {
            Self::None => true,
            Self::Method(name) => match Method::new(&name) {
                Some(method) if may_become(head, &method) => {
                    head.method = method;
                    true
                }
                _ => false,
            },
            Self::Part(_, text) if text.len() > len_max => false,
            Self::Part(TargetPart::Path, path) => head.set_path(&path),
            Self::Part(TargetPart::PathQ, path) => head.set_path_and_query(&path),
            Self::Part(TargetPart::Query, query) => head.set_query(&query),
            Self::Part(TargetPart::Uri, uri) => head.set_uri(&uri),
        }
    }
}

/// Whether a request can be one of another method. What CONNECT asks for is no target of any other one; the
/// client of anything but a HEAD waits for a body, which the answer to a HEAD has none of (that of a HEAD is
/// spared the body of what it becomes); only GET asks for an upgrade.
fn may_become(head: &RequestHead, method: &Method) -> bool {
    let old = &head.method;
    !old.is_connect()
        && !method.is_connect()
        && (old.is_head() || !method.is_head())
        && (old == method || !head.fields.contains("upgrade"))
}

fn text(format: &Format, facts: &Facts<'_>, variables: &dyn Variables) -> Vec<u8> {
    let mut out = Vec::new();
    format::render(format, facts, variables, &mut out);
    out
}
