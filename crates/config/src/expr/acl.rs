//! `acl` lines: a name, what is looked at, and what it is compared with (manual 7.1).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Cursor;
use crate::expr::patterns::{self, Entry};
use crate::expr::{Acl, AclEntry, Context, converters, fetches, groups, sample};
use crate::lexer::Word;
use crate::lists::Matching;
use crate::source::Span;

/// The ACLs of one section. Declare all `acl` lines of a section before parsing its conditions:
/// a later line of the same name counts for earlier rules too.
#[derive(Debug, Clone, Default)]
pub struct AclTable {
    acls: HashMap<Arc<str>, Arc<Acl>>,
}

impl AclTable {
    /// The ACL of that name, if it was declared.
    pub fn find(&self, name: &str) -> Option<&Arc<Acl>> {
        self.acls.get(name)
    }

    /// The names of all declared ACLs, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.acls.keys().map(|name| &**name)
    }

    fn add(&mut self, name: &str, span: Span, entries: Vec<AclEntry>) {
        let name: Arc<str> = name.into();
        let acl = self.acls.entry(Arc::clone(&name)).or_insert_with(|| {
            Arc::new(Acl {
                name,
                span: Some(span),
                entries: Vec::new(),
            })
        });
        Arc::make_mut(acl).entries.extend(entries);
    }
}

/// Adds what one `acl` line says: `words` are its name, criterion, flags and patterns, without the
/// word `acl`. Fails on the first word that cannot be understood.
pub fn declare(
    words: &[Word],
    acls: &mut AclTable,
    context: &Context<'_>,
) -> Result<(), Diagnostic> {
    let Some((name, rest)) = words.split_first() else {
        return Err(Diagnostic::new(
            crate::diagnostics::Severity::Alert,
            None,
            "an 'acl' line needs a name and a criterion",
        ));
    };
    check_name(name)?;
    if rest.is_empty() {
        return Err(
            Diagnostic::alert(name.span, format!("ACL '{}' tests nothing", name.text))
                .label("expected a criterion after the name")
                .help(format!("for example 'acl {} path_beg /api'", name.text)),
        );
    }
    let entries = read_entries(rest, context)?;
    acls.add(&name.text, name.span, entries);
    Ok(())
}

fn check_name(name: &Word) -> Result<(), Diagnostic> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if let Some(odd) = name.text.chars().find(|c| !allowed(*c)) {
        let message = format!(
            "character '{odd}' is not allowed in the ACL name '{}'",
            name.text
        );
        return Err(Diagnostic::alert(name.span, message)
            .label("expected letters, digits, '-', '_', '.' and ':'"));
    }
    if name.text.eq_ignore_ascii_case("or") {
        let message = "an ACL called 'or' could never be used: the word joins tests of a condition";
        return Err(Diagnostic::alert(name.span, message));
    }
    Ok(())
}

/// Reads a criterion with its flags and patterns: what stands behind the name of an `acl` line, or
/// between the braces of an anonymous one. `words` must not be empty. One entry for each case
/// sensitivity that was asked for.
pub(super) fn read_entries(
    words: &[Word],
    context: &Context<'_>,
) -> Result<Vec<AclEntry>, Diagnostic> {
    let (first, _) = words
        .split_first()
        .expect("the caller checked that there is one");
    let (criterion, used) = joined(first, words);
    let (criterion, rest) = (&*criterion, &words[used..]);
    let (sample, matching) = read_criterion(criterion, context)?;
    warn_if_apart(criterion, rest, context);
    if let (super::Fetch::HttpAuthGroup(list), true) = (&sample.fetch, sample.converters.is_empty())
    {
        return groups::read(list, &sample, criterion, rest, context).map(|entry| vec![entry]);
    }
    let entries = patterns::read(&sample, matching, criterion, rest, context)?;
    let with_sample = |Entry(patterns)| AclEntry {
        sample: sample.clone(),
        patterns,
    };
    Ok(entries.into_iter().map(with_sample).collect())
}

/// The criterion, and how many words it has: behind a comma its converters may go on in the next word.
fn joined<'a>(first: &'a Word, words: &[Word]) -> (Cow<'a, Word>, usize) {
    let mut criterion = Cow::Borrowed(first);
    let mut used = 1;
    while let Some(next) = words.get(used)
        && criterion.text.ends_with(',')
        && !next.quoted
        && next
            .text
            .split(['(', ','])
            .next()
            .and_then(converters::find)
            .is_some()
    {
        let whole = criterion.to_mut();
        whole.text.push_str(&next.text);
        whole.span.end = next.span.end;
        used += 1;
    }
    (criterion, used)
}

/// `hdr (host)` compares all headers with the text `(host)`: surely not meant.
fn warn_if_apart(criterion: &Word, rest: &[Word], context: &Context<'_>) {
    let Some(next) = rest.first().filter(|next| next.text.starts_with('(')) else {
        return;
    };
    if next.quoted || criterion.text.contains('(') {
        return;
    }
    let message = format!("'{}' is taken as a pattern here", next.text);
    let warning = Diagnostic::warning(next.span, message).help(format!(
        "arguments follow without a space: '{}{}'; or write '--' before the pattern",
        criterion.text, next.text
    ));
    context.notices.borrow_mut().push(warning);
}

/// Reads what is looked at, in the spelling of ACLs: `hdr_beg(host)` is `req.hdr(host)` with
/// `-m beg`, unless a converter follows.
fn read_criterion(
    word: &Word,
    context: &Context<'_>,
) -> Result<(super::Sample, Option<Matching>), Diagnostic> {
    let mut cursor = Cursor::new(word, 0);
    let written = cursor.name();
    let (name, matching) = derivative(written).unwrap_or((written, None));
    let sample = sample::read_named(&mut cursor, 0, written, name, None, context)
        .map_err(|problem| suggest_method(problem, written))?;
    let matching = matching.filter(|_| sample.converters.is_empty());
    Ok((sample, matching))
}

/// Suffixes that choose a matching method.
const SUFFIXES: [(&str, Matching); 7] = [
    ("_beg", Matching::Prefix),
    ("_dir", Matching::Directory),
    ("_dom", Matching::Domain),
    ("_end", Matching::Suffix),
    ("_len", Matching::Length),
    ("_reg", Matching::Regex),
    ("_sub", Matching::Contains),
];

/// Fetches that take these suffixes, and what they are called as fetches.
const DERIVED: [(&str, &str); 13] = [
    ("base", "base"),
    ("cook", "req.cook"),
    ("hdr", "req.hdr"),
    ("path", "path"),
    ("req.cook", "req.cook"),
    ("req.hdr", "req.hdr"),
    ("res.cook", "res.cook"),
    ("res.hdr", "res.hdr"),
    ("scook", "res.cook"),
    ("shdr", "res.hdr"),
    ("url", "url"),
    ("url_param", "urlp"),
    ("urlp", "urlp"),
];

/// What a keyword that only ACLs know stands for: a fetch and a matching method.
fn derivative(written: &str) -> Option<(&'static str, Option<Matching>)> {
    match written {
        "hdr" => return Some(("req.hdr", None)),
        "req.payload" => return Some(("req.payload", Some(Matching::Bin))),
        "req.payload_lv" => return Some(("req.payload_lv", Some(Matching::Bin))),
        "res.payload" => return Some(("res.payload", Some(Matching::Bin))),
        "res.payload_lv" => return Some(("res.payload_lv", Some(Matching::Bin))),
        "req.ssl_ver" | "req_ssl_ver" => return Some(("req.ssl_ver", Some(Matching::Version))),
        "ssl_fc_sni_end" => return Some(("ssl_fc_sni", Some(Matching::Suffix))),
        "ssl_fc_sni_reg" => return Some(("ssl_fc_sni", Some(Matching::Regex))),
        _ => {}
    }
    let (base, matching) = without_suffix(written)?;
    let (_, fetch) = DERIVED.iter().find(|(name, _)| *name == base)?;
    Some((fetch, Some(matching)))
}

fn without_suffix(written: &str) -> Option<(&str, Matching)> {
    SUFFIXES.iter().find_map(|(suffix, matching)| {
        let base = written.strip_suffix(suffix)?;
        Some((base, *matching))
    })
}

/// `pathq_beg` does not exist, but `pathq -m beg` does.
fn suggest_method(problem: Diagnostic, written: &str) -> Diagnostic {
    match without_suffix(written) {
        Some((base, matching)) if fetches::find(base).is_some() => {
            problem.help(format!("write '{base} -m {}'", patterns::name_of(matching)))
        }
        _ => problem,
    }
}

/// What the predefined ACLs stand for (manual 7.4).
const PREDEFINED: [(&str, &str); 23] = [
    ("FALSE", "always_false"),
    ("HTTP", "req.proto_http"),
    ("HTTP_1.0", "req.ver 1.0"),
    ("HTTP_1.1", "req.ver 1.1"),
    ("HTTP_2.0", "req.ver 2.0"),
    ("HTTP_3.0", "req.ver 3.0"),
    ("HTTP_CONTENT", "req.hdr_val(content-length) gt 0"),
    ("HTTP_URL_ABS", "url_reg ^[^/:]*://"),
    ("HTTP_URL_SLASH", "url_beg /"),
    ("HTTP_URL_STAR", "url *"),
    ("LOCALHOST", "src 127.0.0.1/8 ::1"),
    ("METH_CONNECT", "method CONNECT"),
    ("METH_DELETE", "method DELETE"),
    ("METH_GET", "method GET HEAD"),
    ("METH_HEAD", "method HEAD"),
    ("METH_OPTIONS", "method OPTIONS"),
    ("METH_POST", "method POST"),
    ("METH_PUT", "method PUT"),
    ("METH_TRACE", "method TRACE"),
    ("RDP_COOKIE", "req.rdp_cookie_cnt gt 0"),
    ("REQ_CONTENT", "req.len gt 0"),
    ("TRUE", "always_true"),
    ("WAIT_END", "wait_end"),
];

/// Names of the predefined ACLs, for suggestions.
pub(super) fn predefined_names() -> impl Iterator<Item = &'static str> {
    PREDEFINED.iter().map(|(name, _)| *name)
}

/// The predefined ACL of that name; `span` is where it is used.
pub(super) fn predefined(
    name: &str,
    span: Span,
    context: &Context<'_>,
) -> Option<Result<Arc<Acl>, Diagnostic>> {
    let (name, text) = PREDEFINED.iter().find(|(known, _)| *known == name)?;
    let word = |text: &str| Word {
        text: text.to_owned(),
        span,
        quoted: false,
    };
    let words: Vec<Word> = text.split(' ').map(word).collect();
    let acl = |entries| {
        Arc::new(Acl {
            name: (*name).into(),
            span: None,
            entries,
        })
    };
    Some(read_entries(&words, context).map(acl))
}
