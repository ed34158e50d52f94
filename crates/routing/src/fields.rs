//! Headers, cookies and parameters as lists of values.

use config::expr::{Parameter, Side};
use wire::head::Fields;

/// The lines of a header, whole but for the blanks that a rule may have left behind; of all headers where the name
/// is empty.
pub(crate) fn lines<'a>(head: Option<&'a Fields>, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let (all, named) = match name.is_empty() {
        true => (head, None),
        false => (None, head),
    };
    let all = all.into_iter().flat_map(Fields::lines);
    let named = named.into_iter().flat_map(|head| head.get_all(name));
    named
        .chain(all.map(|(_, value)| value))
        .map(<[u8]>::trim_ascii_end)
}

/// The comma-separated values of a header, trimmed. Commas in double quotes separate nothing; a
/// line without any comma is one value, an empty one too.
pub(crate) fn values<'a>(
    head: Option<&'a Fields>,
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    lines(head, name)
        .flat_map(|line| Pieces::new(line, |byte| byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// The values of cookies of that name, or of all where it is empty. In a response each line sets
/// one; what follows the first semicolon are attributes (RFC 6265 §4.1).
pub(crate) fn cookies<'a>(
    head: Option<&'a Fields>,
    side: Side,
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    let (header, cookies_per_line) = match side {
        Side::Response => ("set-cookie", 1),
        _ => ("cookie", usize::MAX),
    };
    lines(head, header)
        .flat_map(move |line| Pieces::new(line, |byte| byte == b';').take(cookies_per_line))
        .filter_map(|pair| split_pair(pair))
        .map(|(known, value)| (known.trim_ascii(), value.trim_ascii()))
        .filter(move |(known, _)| name.is_empty() || *known == name.as_bytes())
        .map(|(_, value)| value)
}

/// The names of cookies, in their order.
pub(crate) fn cookie_names(head: Option<&Fields>, side: Side) -> impl Iterator<Item = &[u8]> {
    let (header, cookies_per_line) = match side {
        Side::Response => ("set-cookie", 1),
        _ => ("cookie", usize::MAX),
    };
    lines(head, header)
        .flat_map(move |line| Pieces::new(line, |byte| byte == b';').take(cookies_per_line))
        .filter_map(|pair| split_pair(pair))
        .map(|(name, _)| name.trim_ascii())
}

fn split_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'=', pair)?;
    Some((&pair[..at], &pair[at + 1..]))
}

/// What stands between the commas of a line, with the spaces around it.
pub(crate) fn split_values(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    Pieces::new(line, |byte| byte == b',')
}

/// A text cut at separators that are not in double quotes.
struct Pieces<'a> {
    rest: Option<&'a [u8]>,
    separates: fn(u8) -> bool,
}

impl<'a> Pieces<'a> {
    fn new(text: &'a [u8], separates: fn(u8) -> bool) -> Self {
        Self {
            rest: Some(text),
            separates,
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let mut quoted = false;
        let mut escaped = false;
        for (at, &byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                byte if !quoted && (self.separates)(byte) => {
                    self.rest = Some(&rest[at + 1..]);
                    return Some(&rest[..at]);
                }
                _ => {}
            }
        }
        self.rest = None;
        Some(rest)
    }
}

/// The values of parameters in a URL: behind the delimiter, between `&`, `;` or the delimiter.
pub(crate) struct Pairs<'a> {
    rest: Option<&'a [u8]>,
    parameter: &'a Parameter,
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(url: &'a [u8], parameter: &'a Parameter) -> Self {
        let begin = memchr::memchr(parameter.delimiter, url);
        Self {
            rest: begin.map(|at| &url[at + 1..]),
            parameter,
        }
    }

    fn is_wanted(&self, name: &[u8]) -> bool {
        let wanted = self.parameter.name.as_bytes();
        wanted.is_empty()
            || wanted == name
            || (self.parameter.ignore_case && wanted.eq_ignore_ascii_case(name))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let end = memchr::memchr3(b'&', b';', self.parameter.delimiter, rest);
            self.rest = end.map(|at| &rest[at + 1..]);
            let pair = &rest[..end.unwrap_or(rest.len())];
            match split_pair(pair) {
                Some((name, value)) if self.is_wanted(name) => return Some(value),
                _ => {}
            }
        }
    }
}

/// A host without its port, and the port's digits if there is a colon. IPv6 stays in brackets.
pub(crate) fn split_port(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    let after_brackets = memchr::memrchr(b']', host).map_or(0, |at| at + 1);
    match memchr::memchr(b':', &host[after_brackets..]) {
        Some(at) => {
            let colon = after_brackets + at;
            (&host[..colon], Some(&host[colon + 1..]))
        }
        None => (host, None),
    }
}
