//! Bringing a request's target into one form (manual 4.4, "normalize-uri"; RFC 3986 section 6.2.2).
//!
//! A rule over paths sees what the node will see only if both read the path alike: these take away what
//! they may read in two ways.

use config::model::Normalizer;
use wire::head::RequestHead;

/// What was asked for is none of what is understood (`strict`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// The new path and query of a target; `None`: it stays as it is.
pub(crate) fn normalized(
    normalizer: Normalizer,
    head: &RequestHead,
) -> Result<Option<Vec<u8>>, Broken> {
    let whole = head.path_and_query();
    if whole.first() != Some(&b'/') {
        return Ok(None);
    }
    let (path, query) = whole.split_at(head.path().len());
    if is_normal(normalizer, path, whole) {
        return Ok(None);
    }
    let with_query = |mut path: Vec<u8>| {
        path.extend_from_slice(query);
        path
    };
    let made = match normalizer {
        Normalizer::FragmentEncode => encode_fragment(whole),
        Normalizer::FragmentStrip => {
            let end = memchr::memchr(b'#', whole).unwrap_or(whole.len());
            whole[..end].to_vec()
        }
        Normalizer::MergeSlashes => with_query(merge_slashes(path)),
        Normalizer::StripDot => with_query(strip_dots(path)),
        Normalizer::StripDotDot(full) => with_query(strip_parents(path, full)),
        Normalizer::DecodeUnreserved(strict) => decode_unreserved(whole, strict)?,
        Normalizer::Uppercase(strict) => uppercase(whole, strict)?,
        Normalizer::SortQuery => match query.split_first() {
            Some((mark, pairs)) => [path, &[*mark], &sorted(pairs)].concat(),
            None => path.to_vec(),
        },
    };
    Ok((made != whole).then_some(made))
}

/// Whether there is nothing to bring into form, by what cannot be missing then: nearly all targets are as they
/// should be, and are not written anew to find that out.
fn is_normal(normalizer: Normalizer, path: &[u8], whole: &[u8]) -> bool {
    use memchr::{memchr, memmem};
    match normalizer {
        Normalizer::FragmentEncode | Normalizer::FragmentStrip => memchr(b'#', whole).is_none(),
        Normalizer::MergeSlashes => memmem::find(path, b"//").is_none(),
        Normalizer::StripDot | Normalizer::StripDotDot(_) => memmem::find(path, b"/.").is_none(),
        Normalizer::DecodeUnreserved(_) | Normalizer::Uppercase(_) => memchr(b'%', whole).is_none(),
        Normalizer::SortQuery => whole.len() == path.len(),
    }
}

fn encode_fragment(text: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'#' => made.extend_from_slice(b"%23"),
            other => made.push(*other),
        }
    }
    made
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut made: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        if !(*byte == b'/' && made.last() == Some(&b'/')) {
            made.push(*byte);
        }
    }
    made
}

/// The segments of a path that begins with a slash, and which of them is the last.
fn segments(path: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let inner = path.get(1..).unwrap_or_default();
    let last = inner.iter().filter(|byte| **byte == b'/').count();
    let segments = inner.split(|byte| *byte == b'/').enumerate();
    segments.map(move |(at, segment)| (segment, at == last))
}

fn strip_dots(path: &[u8]) -> Vec<u8> {
    let mut made = vec![b'/'];
    for (segment, is_last) in segments(path) {
        if segment == b"." {
            continue;
        }
        made.extend_from_slice(segment);
        if !is_last {
            made.push(b'/');
        }
    }
    made
}

/// A segment that leads up takes the one before it with it; `full`: also where there is none.
fn strip_parents(path: &[u8], full: bool) -> Vec<u8> {
    let mut kept: Vec<(&[u8], bool)> = Vec::new();
    for (segment, is_last) in segments(path) {
        if segment != b".." {
            kept.push((segment, is_last));
            continue;
        }
        match kept.last() {
            Some((before, _)) if *before != b".." => {
                kept.pop();
            }
            _ if full => {}
            // What leads up is a folder, also at the end.
            _ => kept.push((segment, false)),
        }
    }
    let mut made = vec![b'/'];
    for (segment, is_last) in kept {
        made.extend_from_slice(segment);
        if !is_last {
            made.push(b'/');
        }
    }
    made
}

/// Visits each byte, or each percent sign with its two digits. One without them is visited alone, or
/// refused if it is to be `strict`.
fn each(text: &[u8], strict: bool, mut visit: impl FnMut(&[u8])) -> Result<(), Broken> {
    let mut rest = text;
    while let Some(first) = rest.first() {
        let length = match (first, rest.get(1..3)) {
            (b'%', Some(digits)) if digits.iter().all(u8::is_ascii_hexdigit) => 3,
            (b'%', _) if strict => return Err(Broken),
            _ => 1,
        };
        let (one, behind) = rest.split_at(length);
        visit(one);
        rest = behind;
    }
    Ok(())
}

fn decode_unreserved(text: &[u8], strict: bool) -> Result<Vec<u8>, Broken> {
    let mut made = Vec::with_capacity(text.len());
    each(text, strict, |one| match one {
        [b'%', high, low] => {
            let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
            let byte = digit(*high) << 4 | digit(*low);
            match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                true => made.push(byte),
                false => made.extend_from_slice(one),
            }
        }
        other => made.extend_from_slice(other),
    })?;
    Ok(made)
}

fn uppercase(text: &[u8], strict: bool) -> Result<Vec<u8>, Broken> {
    let mut made = Vec::with_capacity(text.len());
    each(text, strict, |one| match one {
        [b'%', ..] => made.extend(one.iter().map(u8::to_ascii_uppercase)),
        other => made.extend_from_slice(other),
    })?;
    Ok(made)
}

/// By name; what has the same name keeps its order.
fn sorted(pairs: &[u8]) -> Vec<u8> {
    fn name(pair: &[u8]) -> &[u8] {
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        &pair[..end]
    }
    let mut pairs: Vec<&[u8]> = pairs.split(|byte| *byte == b'&').collect();
    pairs.sort_by_key(|pair| name(pair));
    pairs.join(&b'&')
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::head::Method;

    fn check(normalizer: Normalizer, target: &str, expected: &str) {
        let head = RequestHead::new(Method::GET, target.as_bytes()).expect("a target");
        let found = match normalized(normalizer, &head) {
            Ok(None) => target.to_owned(),
            Ok(Some(made)) => String::from_utf8(made).expect("text"),
            Err(Broken) => "broken".to_owned(),
        };
        assert_eq!(found, expected, "{normalizer:?} {target}");
    }

    #[test]
    fn paths_are_brought_into_one_form() {
        use Normalizer as N;
        check(N::MergeSlashes, "//a///b/?c//d", "/a/b/?c//d");
        check(N::StripDot, "/.", "/");
        check(N::StripDot, "/./bar/", "/bar/");
        check(N::StripDot, "/a/./a/.", "/a/a/");
        check(N::StripDot, "/.well-known/?./", "/.well-known/?./");
        let plain = N::StripDotDot(false);
        check(plain, "/foo/../", "/");
        check(plain, "/foo/bar/../", "/foo/");
        check(plain, "/foo/bar/..", "/foo/");
        check(plain, "/../bar/", "/../bar/");
        check(plain, "/bar/../../", "/../");
        check(plain, "/foo//../", "/foo/");
        check(plain, "/foo/%2E%2E/", "/foo/%2E%2E/");
        check(plain, "/..", "/../");
        let full = N::StripDotDot(true);
        check(full, "/../bar/", "/bar/");
        check(full, "/bar/../../", "/");
        check(full, "/a/b/../../../c?d/../e", "/c?d/../e");
        check(full, "/..", "/");
    }

    #[test]
    fn percent_signs_are_brought_into_one_form() {
        use Normalizer as N;
        check(N::DecodeUnreserved(false), "/%61dmin?%7e", "/admin?~");
        check(
            N::DecodeUnreserved(false),
            "/foo%3Fbar=baz",
            "/foo%3Fbar=baz",
        );
        check(N::DecodeUnreserved(false), "/%%36%36", "/%66");
        check(N::DecodeUnreserved(false), "/%ZZ%6", "/%ZZ%6");
        check(N::DecodeUnreserved(true), "/%%36%36", "broken");
        check(N::DecodeUnreserved(true), "/%2f%61", "/%2fa");
        check(N::Uppercase(false), "/%6f?%aa%zz", "/%6F?%AA%zz");
        check(N::Uppercase(true), "/%zz", "broken");
    }

    #[test]
    fn queries_are_sorted_by_name() {
        use Normalizer as N;
        check(N::SortQuery, "/?c=3&a=1&b=2", "/?a=1&b=2&c=3");
        check(N::SortQuery, "/?aaa=3&a=1&aa=2", "/?a=1&aa=2&aaa=3");
        check(
            N::SortQuery,
            "/?a=3&b=4&a=1&b=5&a=2",
            "/?a=3&a=1&a=2&b=4&b=5",
        );
        check(N::SortQuery, "/none", "/none");
    }
}
