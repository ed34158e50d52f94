//! Flags and patterns behind a criterion (manual 7.1): `-i -m beg -f FILE -- /a /b`, `gt 5`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::diagnostics::Diagnostic;
use crate::expr::{
    Context, Converter, Crypto, IpSet, Kind, Patterns, Ranges, Sample, TextSet, converters, regexes,
};
use crate::lexer::Word;
use crate::lists::{List, Matching};
use crate::model::sequence::unhex;
use crate::nearest::did_you_mean;
use crate::source::Span;

/// What methods are called behind `-m`.
const METHODS: [(&str, Matching); 13] = [
    ("found", Matching::Found),
    ("bool", Matching::Bool),
    ("int", Matching::Int),
    ("ip", Matching::Ip),
    ("bin", Matching::Bin),
    ("len", Matching::Length),
    ("str", Matching::Equal),
    ("sub", Matching::Contains),
    ("reg", Matching::Regex),
    ("beg", Matching::Prefix),
    ("end", Matching::Suffix),
    ("dir", Matching::Directory),
    ("dom", Matching::Domain),
];

/// What a method is called behind `-m`.
pub(crate) fn name_of(matching: Matching) -> &'static str {
    let row = METHODS.iter().find(|(_, method)| *method == matching);
    row.map_or("", |(name, _)| name)
}

/// What a type is compared by when nothing else is said; binary has no default.
fn default_of(kind: Kind) -> Option<Matching> {
    match kind {
        Kind::Bool => Some(Matching::Bool),
        Kind::Int => Some(Matching::Int),
        Kind::Addr => Some(Matching::Ip),
        Kind::Str | Kind::Method => Some(Matching::Equal),
        Kind::Bin | Kind::Any => None,
    }
}

fn takes_patterns(matching: Matching) -> bool {
    !matches!(matching, Matching::Found | Matching::Bool)
}

fn takes_operators(matching: Matching) -> bool {
    matches!(
        matching,
        Matching::Int | Matching::Version | Matching::Length
    )
}

/// The patterns of one entry.
pub(super) struct Entry(pub(super) Patterns);

/// Flags read so far, and the texts they apply to.
struct Reading<'a> {
    words: std::slice::Iter<'a, Word>,
    ignore_case: bool,
    /// `-M`.
    is_map: bool,
    matching: Option<Matching>,
    /// Files, with the case sensitivity at that place.
    files: Vec<(bool, Arc<List>, Span)>,
}

/// Reads flags and patterns. `matching` is what the criterion itself implies.
pub(super) fn read(
    sample: &Sample,
    matching: Option<Matching>,
    criterion: &Word,
    words: &[Word],
    context: &Context<'_>,
) -> Result<Vec<Entry>, Diagnostic> {
    let mut reading = Reading {
        words: words.iter(),
        ignore_case: false,
        is_map: false,
        matching: None,
        files: Vec::new(),
    };
    reading.flags(context)?;
    let default = matching.or_else(|| default_of(sample.kind));
    let Some(matching) = reading.matching.or(default) else {
        let message = format!(
            "'{}' gives {}, which can be compared in many ways",
            sample.text,
            sample.kind.words()
        );
        return Err(Diagnostic::alert(criterion.span, message)
            .label("expected '-m METHOD' after this")
            .help("for example '-m bin 00ff', or convert it first: ',hex'"));
    };
    if !takes_patterns(matching) {
        advise_on_verdicts(sample, criterion, context);
        let patterns = match matching {
            Matching::Found => Patterns::Found,
            _ => Patterns::Bool,
        };
        return Ok(vec![Entry(patterns)]);
    }
    warn_if_hopeless(sample, matching, criterion, context);
    let rest = reading.words.as_slice();
    if rest.is_empty() && reading.files.is_empty() {
        warn_if_nothing(criterion, context);
    }
    build(matching, reading.files, (reading.ignore_case, rest))
}

/// What `jwt_verify` says of a token that is broken is a negative number, which is as true as 1.
fn advise_on_verdicts(sample: &Sample, criterion: &Word, context: &Context<'_>) {
    let mut converters = sample.converters.iter();
    if !converters.any(|it| matches!(it, Converter::Crypto(Crypto::JwtVerify(..)))) {
        return;
    }
    let message =
        "broken tokens pass here: 'jwt_verify' says less than 0 of them, which is not false";
    let advice = Diagnostic::advice(criterion.span, message)
        .label("only 1 is a right token")
        .help("compare with '-m int 1'");
    context.notices.borrow_mut().push(advice);
}

fn warn_if_nothing(criterion: &Word, context: &Context<'_>) {
    let message = format!(
        "'{}' is compared with nothing, so it never matches",
        criterion.text
    );
    let warning = Diagnostic::warning(criterion.span, message)
        .label("expected patterns after this")
        .help("to test whether it exists, add '-m found'");
    context.notices.borrow_mut().push(warning);
}

/// Casts that have no result leave a test that never matches (manual 7.1, the matrix).
fn warn_if_hopeless(sample: &Sample, matching: Matching, criterion: &Word, context: &Context<'_>) {
    let wanted = match matching {
        Matching::Ip => Kind::Addr,
        Matching::Int => Kind::Int,
        _ => return,
    };
    if converters::castable(sample.kind, wanted) {
        return;
    }
    let message = format!(
        "'{}' can never be compared with '-m {}'",
        sample.text,
        name_of(matching)
    );
    context
        .notices
        .borrow_mut()
        .push(Diagnostic::warning(criterion.span, message));
}

impl Reading<'_> {
    /// Reads words that begin with a dash.
    fn flags(&mut self, context: &Context<'_>) -> Result<(), Diagnostic> {
        while let Some(flag) = self.words.as_slice().first() {
            if !flag.text.starts_with('-') {
                break;
            }
            self.words.next();
            match flag.text.as_str() {
                "--" => break,
                "-i" => self.ignore_case = true,
                "-n" => {} // names are never resolved
                "-m" => self.method(flag)?,
                "-f" => self.file(flag, context)?,
                "-M" => self.is_map = true,
                "-u" => {
                    self.argument(flag, "a number")?;
                }
                text => {
                    let message = format!("'{text}' is not a flag of ACLs");
                    return Err(Diagnostic::alert(flag.span, message)
                        .label("expected '-i', '-m', '-f', '-M', '-n', '-u' or '--'")
                        .help("write '--' before a pattern that begins with a dash"));
                }
            }
        }
        Ok(())
    }

    fn argument(&mut self, flag: &Word, what: &str) -> Result<&Word, Diagnostic> {
        self.words.next().ok_or_else(|| {
            Diagnostic::alert(flag.span, format!("'{}' needs {what} after it", flag.text))
        })
    }

    fn method(&mut self, flag: &Word) -> Result<(), Diagnostic> {
        if !self.files.is_empty() {
            let message = "'-m' must stand before '-f': it decides how the file is read";
            return Err(Diagnostic::alert(flag.span, message));
        }
        let word = self.argument(flag, "a matching method")?;
        let row = METHODS.iter().find(|(name, _)| *name == word.text);
        let (_, matching) = row.ok_or_else(|| {
            let names = METHODS.map(|(name, _)| name);
            let problem = Diagnostic::alert(
                word.span,
                format!("unknown matching method '{}'", word.text),
            )
            .label(format!("expected one of {}", names.join(", ")));
            match did_you_mean(&word.text, names) {
                Some(help) => problem.help(help),
                None => problem,
            }
        })?;
        self.matching = Some(*matching);
        Ok(())
    }

    /// The entries of a file, or behind `-M` the keys of a map.
    fn file(&mut self, flag: &Word, context: &Context<'_>) -> Result<(), Diagnostic> {
        let is_map = self.is_map;
        let path = self.argument(flag, "a file")?;
        let (text, span) = (&path.text, path.span);
        let mut lists = context.lists.borrow_mut();
        let list = lists.open(text, is_map, context.surroundings, span)?;
        list.note_use("acl", span);
        self.files.push((self.ignore_case, list, span));
        Ok(())
    }
}

/// Builds an entry for each file, and one for what stands on the line itself.
fn build(
    matching: Matching,
    files: Vec<(bool, Arc<List>, Span)>,
    (ignore_case, words): (bool, &[Word]),
) -> Result<Vec<Entry>, Diagnostic> {
    let mut entries = Vec::new();
    let has_files = !files.is_empty();
    for (ignore_case, list, span) in files {
        let index = list.index(matching, ignore_case, span)?;
        entries.push(Entry(Patterns::Listed(index)));
    }
    if !words.is_empty() || !has_files {
        entries.push(Entry(compile(matching, ignore_case, words)?));
    }
    Ok(entries)
}

fn compile(matching: Matching, ignore_case: bool, words: &[Word]) -> Result<Patterns, Diagnostic> {
    if takes_operators(matching) {
        let written = match matching {
            Matching::Version => Written::VERSION,
            _ => Written::NUMBER,
        };
        let ranges = Ranges::new(int_ranges(words, &written)?);
        return Ok(match matching {
            Matching::Length => Patterns::Length(ranges),
            _ => Patterns::Int(ranges),
        });
    }
    let all = words.iter().map(|word| (word.text.as_str(), word.span));
    if let Some(method) = matching.of_text() {
        return Ok(Patterns::Text {
            method,
            ignore_case,
            texts: all.map(|(text, _)| folded(text, ignore_case)).collect(),
        });
    }
    Ok(match matching {
        Matching::Regex => {
            let regexes = all.map(|(text, span)| regexes::compile(text, ignore_case, span));
            Patterns::Regex(regexes.collect::<Result<_, _>>()?)
        }
        Matching::Ip => {
            let networks = all.map(|(text, span)| network(text, span));
            Patterns::Ip(IpSet::new(networks.collect::<Result<Vec<_>, _>>()?))
        }
        Matching::Bin => {
            let blocks = all.map(|(text, span)| block(text, span));
            Patterns::Bin(blocks.collect::<Result<_, _>>()?)
        }
        _ => {
            let texts = all.map(|(text, _)| text.into()).collect();
            Patterns::Equal(TextSet::new(texts, ignore_case))
        }
    })
}

fn folded(text: &str, ignore_case: bool) -> Arc<str> {
    if ignore_case {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

pub(crate) fn block(text: &str, span: Span) -> Result<Arc<[u8]>, Diagnostic> {
    unhex(text.as_bytes()).map(Into::into).ok_or_else(|| {
        let message = format!("'{text}' is not an even number of hexadecimal digits");
        Diagnostic::alert(span, message).label("expected something like 00ff")
    })
}

/// Numbers and ranges; on the line itself an operator counts for all numbers behind it.
fn int_ranges(words: &[Word], written: &Written) -> Result<Vec<(i64, i64)>, Diagnostic> {
    let mut ranges = Vec::new();
    let mut operator = "eq";
    for word in words {
        match word.text.as_str() {
            text @ ("eq" | "ge" | "gt" | "le" | "lt") => operator = text,
            "ne" => {
                return Err(Diagnostic::alert(word.span, "ACLs have no operator 'ne'")
                    .help("negate the test: '!{ … eq N }'"));
            }
            text => ranges.push(compared(range(text, word.span, written)?, operator)),
        }
    }
    Ok(ranges)
}

/// The values that compare so with a number or range. A range keeps its other bound, as in HAProxy.
/// Bounds that no value is beyond give an empty range.
fn compared((first, last): (i64, i64), operator: &str) -> (i64, i64) {
    const EMPTY: (i64, i64) = (1, 0);
    let single = first == last;
    match operator {
        "ge" if single => (first, i64::MAX),
        "le" if single => (i64::MIN, last),
        "gt" => match first.checked_add(1) {
            Some(next) if single => (next, i64::MAX),
            Some(next) => (next, last),
            None => EMPTY,
        },
        "lt" => match last.checked_sub(1) {
            Some(previous) if single => (i64::MIN, previous),
            Some(previous) => (first, previous),
            None => EMPTY,
        },
        _ => (first, last),
    }
}

/// How the numbers of a pattern are written.
struct Written {
    read: fn(&str, Span) -> Result<i64, Diagnostic>,
    /// What stands between the bounds of a range.
    separators: &'static [char],
}

impl Written {
    const NUMBER: Self = Self {
        read: number,
        separators: &[':'],
    };
    const VERSION: Self = Self {
        read: version,
        separators: &[':', '-'],
    };
}

fn number(text: &str, span: Span) -> Result<i64, Diagnostic> {
    text.parse::<i64>().map_err(|_| {
        Diagnostic::alert(span, format!("'{text}' is not a whole number"))
            .label("expected a number or a range such as '1024:65535'")
    })
}

/// `3.1`, or `3` for `3.0`.
fn version(text: &str, span: Span) -> Result<i64, Diagnostic> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    match (major.parse::<u16>(), minor.parse::<u16>()) {
        (Ok(major), Ok(minor)) => Ok((i64::from(major) << 16) + i64::from(minor)),
        _ => Err(
            Diagnostic::alert(span, format!("'{text}' is not a version"))
                .label("expected a version such as '3.1' or a range such as '3.1:3.3'"),
        ),
    }
}

/// One number or range of a file.
pub(crate) fn number_range(text: &str, span: Span) -> Result<(i64, i64), Diagnostic> {
    range(text, span, &Written::NUMBER)
}

/// One version or range of them.
pub(crate) fn version_range(text: &str, span: Span) -> Result<(i64, i64), Diagnostic> {
    range(text, span, &Written::VERSION)
}

/// `5`, `5:9`, `5:` or `:9`; versions may have a hyphen in between.
fn range(text: &str, span: Span, written: &Written) -> Result<(i64, i64), Diagnostic> {
    let number = written.read;
    let Some((first, last)) = text.split_once(written.separators) else {
        let value = number(text, span)?;
        return Ok((value, value));
    };
    let first = if first.is_empty() {
        i64::MIN
    } else {
        number(first, span)?
    };
    let last = if last.is_empty() {
        i64::MAX
    } else {
        number(last, span)?
    };
    if first > last {
        return Err(
            Diagnostic::alert(span, format!("the range '{text}' ends before it begins"))
                .help(format!("write '{last}:{first}'")),
        );
    }
    Ok((first, last))
}

/// An address, with or without a mask. Abbreviated IPv4 addresses leave out the zeros before the
/// last number (manual 7.1.6).
pub(crate) fn network(text: &str, span: Span) -> Result<IpNet, Diagnostic> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let wrong_mask = |expected: &str| {
        Diagnostic::alert(span, format!("'{text}' has an invalid mask")).label(expected.to_owned())
    };
    if let Some(v4) = abbreviated_v4(address) {
        let length = mask.map_or(Some(32), |mask| converters::prefix::<Ipv4Addr>(mask, 32));
        let length = length.ok_or_else(|| wrong_mask("expected 0 to 32, or 255.255.255.0"))?;
        return Ipv4Net::new(v4, length)
            .map(IpNet::V4)
            .map_err(|_| wrong_mask("expected 0 to 32"));
    }
    if let Ok(v6) = address.parse::<Ipv6Addr>() {
        let length = mask.map_or(Some(128), |mask| mask.parse().ok());
        let net = length.and_then(|length| Ipv6Net::new(v6, length).ok());
        return net
            .map(IpNet::V6)
            .ok_or_else(|| wrong_mask("expected 0 to 128"));
    }
    let problem = Diagnostic::alert(span, format!("'{text}' is not an IP address or network"));
    if address.contains(|c: char| c.is_ascii_alphabetic()) && !address.contains(':') {
        return Err(problem.label("a host name?").help(
            "names are not resolved here: what a rule lets in must not depend on who answers DNS; \
             write its addresses",
        ));
    }
    Err(problem.label("expected something like 10.0.0.0/8 or fd00::/8"))
}

fn abbreviated_v4(text: &str) -> Option<Ipv4Addr> {
    let octet = |part: &str| {
        let plain = part.bytes().all(|byte| byte.is_ascii_digit());
        let octal = part.len() > 1 && part.starts_with('0');
        (plain && !octal).then(|| part.parse::<u8>().ok()).flatten()
    };
    let parts: Vec<u8> = text.split('.').map(octet).collect::<Option<_>>()?;
    match parts[..] {
        [a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d)),
        [a, b, c] => Some(Ipv4Addr::new(a, b, 0, c)),
        [a, b] => Some(Ipv4Addr::new(a, 0, 0, b)),
        _ => None,
    }
}
