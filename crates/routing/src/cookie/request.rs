//! The client's cookies: which server they name, and what of them the node sees.
//!
//! A header of cookies is cut at `;` and `,` outside double quotes, whatever else it holds; what is
//! no `NAME=VALUE` is passed on as it is. Each byte is looked at a fixed number of times.

use config::model::{Cookie, CookieMode};
use wire::head::Fields;

use super::date::Dates;
use super::{Given, Persistence, Presented, pair, piece_end};
use crate::balance::ServerKey;

/// Values of our cookie in one request that are looked up, at most. A browser sends one for each path
/// and domain that has set it, the closest first: more than two are hardly ever there, and each costs
/// a look at the backend's servers.
const LOOK_UPS_MAX: usize = 4;

/// What the backend knows of a cookie's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A server that can be used has it: the first one of those.
    Usable(ServerKey),
    /// Only servers that are down have it: the first one of those.
    Down(ServerKey),
    /// No server has it.
    Unknown,
}

/// Reads the client's cookies, and leaves in `fields` what the node sees of them. `to_down`: servers
/// that are down are followed too (`option persist`). `now` is in seconds since 1970.
pub fn read(
    cookie: &Cookie,
    persistence: Persistence,
    to_down: bool,
    fields: &mut Fields,
    now: u64,
    find: &mut dyn FnMut(&[u8]) -> Found,
) -> Presented {
    let mut reader = Reader {
        cookie,
        to_down: to_down || persistence == Persistence::Forced,
        now,
        find,
        look_ups: 0,
        presented: Presented {
            ignored: persistence == Persistence::Ignored,
            ..Presented::default()
        },
    };
    let lines = fields.get_all("cookie");
    let left: Vec<Left> = lines.map(|line| reader.line(line)).collect();
    let presented = reader.presented;
    if left.iter().any(|left| *left != Left::AsItWas) {
        replace(fields, left);
    }
    presented
}

/// What is left of a header.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    AsItWas,
    Nothing,
    This(Vec<u8>),
}

/// Puts what is left in the place of each header.
fn replace(fields: &mut Fields, left: Vec<Left>) {
    let mut left = left.into_iter();
    let mut replaced = Fields::new();
    for (name, value) in fields.iter() {
        let left = match name {
            "cookie" => left.next().unwrap_or(Left::AsItWas),
            _ => Left::AsItWas,
        };
        match left {
            Left::AsItWas => replaced.append(name, value),
            Left::This(value) => replaced.append(name, &value),
            Left::Nothing => false,
        };
    }
    *fields = replaced;
}

struct Reader<'a> {
    cookie: &'a Cookie,
    to_down: bool,
    now: u64,
    find: &'a mut dyn FnMut(&[u8]) -> Found,
    look_ups: usize,
    presented: Presented,
}

impl Reader<'_> {
    fn line(&mut self, line: &[u8]) -> Left {
        let removes = self.cookie.indirect && self.cookie.mode == CookieMode::Insert;
        let mut out = Line::new(line.len());
        let mut start = 0;
        loop {
            let end = piece_end(line, start, |byte| matches!(byte, b';' | b','));
            let text = &line[start..end];
            let separator = start.checked_sub(1).map(|at| line[at]);
            match pair(text) {
                // An attribute of the cookie before it (RFC 2965 section 3.3.4).
                _ if text.trim_ascii_start().first() == Some(&b'$') => {
                    if !out.removing {
                        out.keep(separator, &[text]);
                    }
                }
                Some((name, value)) => {
                    let is_ours = text[name.clone()] == *self.cookie.name.as_bytes();
                    let mut from = value.start;
                    if is_ours {
                        from += self.judge(&text[value.clone()]);
                    }
                    out.said_something |= !(is_ours && removes);
                    out.changed |= name.end + 1 != from;
                    match is_ours && removes {
                        true => out.remove(),
                        false => out.keep(separator, &[&text[..name.end], b"=", &text[from..]]),
                    }
                }
                None => {
                    out.said_something = true;
                    out.keep(separator, &[text]);
                }
            }
            if end == line.len() {
                return out.left();
            }
            start = end + 1;
        }
    }

    /// Looks at a value of our cookie; how much of its beginning is not for the node.
    fn judge(&mut self, value: &[u8]) -> usize {
        let is_prefix = self.cookie.mode == CookieMode::Prefix;
        let mark = if is_prefix { b'~' } else { b'|' };
        let end = memchr::memchr(mark, value);
        let skip = end.filter(|_| is_prefix).map_or(0, |end| end + 1);
        let (own, rest) = value.split_at(end.unwrap_or(value.len()));
        let seen = &mut self.presented;
        if seen.ignored {
            seen.given = Given::Unused;
            return skip;
        }
        if seen.server.is_some() {
            return skip;
        }
        let dates = match self.cookie.mode {
            CookieMode::Insert => Dates::parse(rest),
            _ => Dates::default(),
        };
        if let Some(given) = dates.too_old(self.cookie, self.now) {
            seen.given = given;
            return skip;
        }
        if self.look_ups == LOOK_UPS_MAX {
            return skip;
        }
        self.look_ups += 1;
        match (self.find)(own) {
            Found::Usable(server) => {
                seen.given = Given::Valid;
                seen.server = Some(server);
                seen.dates = dates;
            }
            Found::Down(server) => {
                seen.given = Given::Down;
                seen.server = Some(server).filter(|_| self.to_down);
                seen.dates = dates;
            }
            Found::Unknown if seen.given == Given::None => seen.given = Given::Invalid,
            Found::Unknown => {}
        }
        skip
    }
}

/// A header as it is put together again.
struct Line {
    out: Vec<u8>,
    empty: bool,
    /// The cookie before was removed, and its attributes with it.
    removing: bool,
    removed: bool,
    changed: bool,
    /// Something else than attributes was kept.
    said_something: bool,
}

impl Line {
    fn new(room: usize) -> Self {
        Self {
            out: Vec::with_capacity(room),
            empty: true,
            removing: false,
            removed: false,
            changed: false,
            said_something: false,
        }
    }

    fn remove(&mut self) {
        self.removing = true;
        self.removed = true;
    }

    fn keep(&mut self, separator: Option<u8>, parts: &[&[u8]]) {
        if !self.empty {
            if self.removing {
                self.out.truncate(self.out.trim_ascii_end().len());
            }
            self.out.extend(separator);
        }
        let mut parts = parts.iter().copied();
        let mut first = parts.next().unwrap_or_default();
        if self.removing {
            first = first.trim_ascii_start();
            if !self.empty {
                self.out.push(b' ');
            }
        }
        self.out.extend_from_slice(first);
        parts.for_each(|part| self.out.extend_from_slice(part));
        self.empty = false;
        self.removing = false;
    }

    fn left(self) -> Left {
        let nothing = self.out.is_empty() || !self.said_something;
        match (self.removed, self.changed) {
            (true, _) if nothing => Left::Nothing,
            (false, false) => Left::AsItWas,
            _ => Left::This(self.out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKEND: [(&[u8], u32); 2] = [(b"a", 1), (b"b", 2)];

    fn cookie(mode: CookieMode, indirect: bool) -> Cookie {
        Cookie {
            name: "SRV".into(),
            mode,
            indirect,
            ..Cookie::default()
        }
    }

    fn find(value: &[u8]) -> Found {
        let known = BACKEND.iter().find(|(known, _)| *known == value);
        match (known, value) {
            (Some((_, key)), _) => Found::Usable(ServerKey(*key)),
            (None, b"down") => Found::Down(ServerKey(9)),
            _ => Found::Unknown,
        }
    }

    /// Letter and server, and the headers the node sees.
    fn seen(cookie: &Cookie, persistence: Persistence, lines: &[&[u8]]) -> (String, Fields) {
        let mut fields = Fields::new();
        fields.append("host", b"h");
        for line in lines {
            fields.append("cookie", line);
        }
        fields.append("accept", b"*/*");
        let presented = read(cookie, persistence, false, &mut fields, 0, &mut find);
        let server = presented
            .server
            .map_or(String::new(), |key| key.0.to_string());
        (
            format!("{}{server}", presented.given.letter() as char),
            fields,
        )
    }

    #[track_caller]
    fn check(cookie: &Cookie, lines: &[&str], expected: &str, node: &[&str]) {
        let bytes: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let (found, fields) = seen(cookie, Persistence::Usual, &bytes);
        assert_eq!(found, expected, "{lines:?}");
        let left: Vec<_> = fields
            .get_all("cookie")
            .map(String::from_utf8_lossy)
            .collect();
        assert_eq!(left, node, "{lines:?}");
        let others: Vec<_> = fields
            .iter()
            .filter(|(name, _)| *name != "cookie")
            .collect();
        assert_eq!(others, [("host", &b"h"[..]), ("accept", b"*/*")]);
    }

    /// Each line as HAProxy 2.6 treats it.
    #[test]
    fn our_cookie_is_read_and_taken_away() {
        let ours = cookie(CookieMode::Insert, true);
        let check = |line, expected, node: &[&str]| check(&ours, &[line], expected, node);
        check("SRV=b", "V2", &[]);
        check("SRV=zz", "I", &[]);
        check("SRV=down", "D", &[]);
        check("SRV=B", "I", &[]);
        check("SRV=", "I", &[]);
        check("SRV=\"a\"", "I", &[]);
        check("SRV=b=c", "I", &[]);
        check("SRV==b", "I", &[]);
        check("SRV=b c; y=1", "I", &["y=1"]);
        check("SRV=b|", "V2", &[]);
        check("SRV=b|AAAAA|AAAAA", "V2", &[]);
        check("SRV=b~v", "I", &[]);
        check("srv=b", "N", &["srv=b"]);
        check("SRV", "N", &["SRV"]);
        check("SRVX=b; XSRV=a", "N", &["SRVX=b; XSRV=a"]);
        check("x=1; SRV=b; y=2", "V2", &["x=1; y=2"]);
        check("SRV = b ; u=1", "V2", &["u=1"]);
        check("x = 1 ; SRV = b", "V2", &["x=1"]);
        check("x = 1; y = 2", "N", &["x=1; y=2"]);
        check("y=2 ;  SRV=b  ;  z=3", "V2", &["y=2; z=3"]);
        check("y=1, SRV=b; z=2", "V2", &["y=1; z=2"]);
        check("SRV=b,x=1", "V2", &["x=1"]);
        check("\tSRV=b\t;\tx=1", "V2", &["x=1"]);
        check(";;SRV=b;;", "V2", &[";; ;"]);
        check("; SRV=b", "V2", &[]);
        check("SRV=b;", "V2", &[]);
        check("x=1;;;SRV=b", "V2", &["x=1;;"]);
        check("x; SRV; SRV=b", "V2", &["x; SRV"]);
        check("=b; SRV=b", "V2", &["=b"]);
        check("a=b=c; SRV=b; d", "V2", &["a=b=c; d"]);
        check("", "N", &[""]);
        check("=", "N", &["="]);
    }

    #[test]
    fn of_several_the_first_usable_one_counts_and_all_are_taken_away() {
        let ours = cookie(CookieMode::Insert, true);
        check(&ours, &["SRV=b; SRV=a"], "V2", &[]);
        check(&ours, &["SRV=zz; SRV=b"], "V2", &[]);
        check(&ours, &["SRV=down; SRV=b"], "V2", &[]);
        check(&ours, &["SRV=zz; SRV=down"], "D", &[]);
        check(&ours, &["SRV=down; SRV=zz"], "D", &[]);
        check(&ours, &["SRV=b; y=1; SRV=a; z=2"], "V2", &["y=1; z=2"]);
        check(&ours, &["x=1", "SRV=b; z=1"], "V2", &["x=1", "z=1"]);
        check(&ours, &["SRV=zz", "SRV=a"], "V1", &[]);
    }

    #[test]
    fn thousands_of_our_cookie_are_not_all_looked_up() {
        let ours = cookie(CookieMode::Insert, true);
        let mut fields = Fields::new();
        fields.append("cookie", "SRV=x; ".repeat(3700).as_bytes());
        let mut look_ups = 0;
        let mut find = |_: &[u8]| {
            look_ups += 1;
            Found::Unknown
        };
        let presented = read(&ours, Persistence::Usual, false, &mut fields, 0, &mut find);
        assert_eq!((presented.given, look_ups), (Given::Invalid, LOOK_UPS_MAX));
        let last = format!("{}SRV=b", "SRV=x; ".repeat(LOOK_UPS_MAX - 1));
        check(&ours, &[&last], "V2", &[]);
        let behind = format!("{}SRV=b; y=1", "SRV=x; ".repeat(LOOK_UPS_MAX));
        check(&ours, &[&behind], "I", &["y=1"]);
    }

    #[test]
    fn quotes_hide_what_is_in_them() {
        let ours = cookie(CookieMode::Insert, true);
        check(&ours, &["x=\"SRV=a;\"; SRV=b"], "V2", &["x=\"SRV=a;\""]);
        check(
            &ours,
            &["y=\"unterminated; SRV=b"],
            "N",
            &["y=\"unterminated; SRV=b"],
        );
        check(
            &ours,
            &["x=\"\\\"; SRV=a\"; SRV=b"],
            "V2",
            &["x=\"\\\"; SRV=a\""],
        );
        check(&ours, &["x=\\\"; SRV=b"], "N", &["x=\\\"; SRV=b"]);
        check(&ours, &["x=\"\"SRV=a; SRV=b"], "V2", &["x=\"\"SRV=a"]);
    }

    #[test]
    fn attributes_go_with_their_cookie() {
        let ours = cookie(CookieMode::Insert, true);
        let line = "x=1; $Path=/; SRV=b; $Domain=q; y=2";
        check(&ours, &[line], "V2", &["x=1; $Path=/; y=2"]);
        check(&ours, &["$Version=1; SRV=b; $Path=\"/\""], "V2", &[]);
        check(&ours, &["SRV=b; $Path=/; y=2"], "V2", &["y=2"]);
        check(&ours, &["x=1; $Path=/; y=2"], "N", &["x=1; $Path=/; y=2"]);
    }

    #[test]
    fn without_indirect_the_node_sees_it_and_a_prefix_never() {
        let insert = cookie(CookieMode::Insert, false);
        check(&insert, &["x=1; SRV=b"], "V2", &["x=1; SRV=b"]);
        check(&insert, &["SRV = b ; u=1"], "V2", &["SRV=b ; u=1"]);
        for indirect in [false, true] {
            let prefix = cookie(CookieMode::Prefix, indirect);
            let check = |line, expected, node| check(&prefix, &[line], expected, &[node]);
            check("SRV=b", "V2", "SRV=b");
            check("SRV=b~v; q=1", "V2", "SRV=v; q=1");
            check("SRV=b~v~w", "V2", "SRV=v~w");
            check("SRV=b~", "V2", "SRV=");
            check("SRV=~v", "I", "SRV=v");
            check("SRV=zz~v; SRV=a~w", "V1", "SRV=v; SRV=w");
            check("SRV=\"b~v\"", "I", "SRV=v\"");
            check("x=1;SRV = b~v ; y=2", "V2", "x=1;SRV=v ; y=2");
            check("SRV=b|AAAAA", "I", "SRV=b|AAAAA");
        }
    }

    #[test]
    fn rules_have_the_last_word() {
        let ours = cookie(CookieMode::Insert, true);
        let (found, fields) = seen(&ours, Persistence::Ignored, &[b"SRV=b; y=1"]);
        assert_eq!((&*found, fields.get("cookie")), ("U", Some(&b"y=1"[..])));
        assert_eq!(seen(&ours, Persistence::Ignored, &[b"y=1"]).0, "N");
        assert_eq!(seen(&ours, Persistence::Forced, &[b"SRV=down"]).0, "D9");
        assert_eq!(seen(&ours, Persistence::Usual, &[b"SRV=down"]).0, "D");
    }

    proptest! {
        /// Whatever comes: it ends, the node gets no more than the client sent, and with `indirect`
        /// no cookie of that name.
        #[test]
        fn any_bytes_are_read(
            lines in prop::collection::vec("[SRV=;, \"\\\\$~|ab\u{80}]{0,40}", 0..4),
            mode in prop::sample::select(vec![
                CookieMode::Passive, CookieMode::Rewrite, CookieMode::Insert, CookieMode::Prefix,
            ]),
            indirect: bool,
        ) {
            let ours = cookie(mode, indirect);
            let bytes: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            let before: usize = bytes.iter().map(|line| line.len()).sum();
            let (_, mut fields) = seen(&ours, Persistence::Usual, &bytes);
            let after: usize = fields.get_all("cookie").map(<[u8]>::len).sum();
            // A space may follow each separator where a cookie was taken out.
            prop_assert!(after <= before * 2);
            if indirect && mode == CookieMode::Insert {
                let again = read(&ours, Persistence::Usual, false, &mut fields, 0, &mut find);
                prop_assert_eq!(again.given, Given::None);
            }
        }
    }
}
