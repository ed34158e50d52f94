//! The cookie in the response: the node's is left, rewritten or removed, and ours is put in.

use config::model::{Cookie, CookieMode};
use wire::head::{Fields, Method, ResponseHead};

use super::{Presented, Returned, pair, piece_end};
use crate::balance::ServerKey;

/// The server that answered.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'a> {
    /// Which one.
    pub server: ServerKey,
    /// What stands for it in the cookie; without it, the client's cookie is taken away.
    pub value: Option<&'a [u8]>,
}

/// Does to a response what the configuration says. `now` is in seconds since 1970.
pub fn answer(
    cookie: &Cookie,
    presented: &Presented,
    chosen: &Chosen<'_>,
    method: &Method,
    head: &mut ResponseHead,
    now: u64,
) -> Returned {
    if presented.ignored {
        return Returned::None;
    }
    let returned = nodes_own(cookie, presented, chosen, &mut head.fields);
    let inserts = cookie.mode == CookieMode::Insert
        && returned != Returned::Provided
        && (!cookie.postonly || *method == Method::POST);
    if !inserts {
        return returned;
    }
    let returning = presented.server == Some(chosen.server);
    if returning && !presented.dates.need_update(cookie, now) {
        return returned;
    }
    let dates = match returning {
        true => presented.dates.renewed(now),
        false => super::date::Dates::default().renewed(now),
    };
    let mut value = [cookie.name.as_bytes(), b"="].concat();
    match chosen.value {
        Some(own) => {
            value.extend_from_slice(own);
            dates.write(cookie, &mut value);
        }
        None => value.extend_from_slice(b"; Expires=Thu, 01-Jan-1970 00:00:01 GMT"),
    }
    value.extend_from_slice(b"; path=/");
    value.extend_from_slice(cookie.attributes.as_bytes());
    let marks = cookie.nocache && is_cacheable(method, head);
    head.fields.append("set-cookie", &value);
    if marks {
        head.fields.append("cache-control", b"private");
    }
    match returning {
        true => Returned::Updated,
        false => Returned::Inserted,
    }
}

/// What becomes of the cookie that the node sets itself.
fn nodes_own(
    cookie: &Cookie,
    presented: &Presented,
    chosen: &Chosen<'_>,
    fields: &mut Fields,
) -> Returned {
    let name = cookie.name.as_bytes();
    let sets_cookie = |name: &str| matches!(name, "set-cookie" | "set-cookie2");
    let is_ours = |value: &[u8]| ours(value, name).is_some();
    if !fields
        .iter()
        .any(|(field, value)| sets_cookie(field) && is_ours(value))
    {
        return Returned::None;
    }
    let returning = presented.server == Some(chosen.server);
    let unwanted = cookie.mode == CookieMode::Insert || (cookie.indirect && returning);
    if unwanted && !cookie.preserve {
        fields.retain(|field, value| !(sets_cookie(field) && is_ours(value)));
        return Returned::Deleted;
    }
    let own = match (cookie.mode, chosen.value) {
        (CookieMode::Rewrite | CookieMode::Prefix, Some(own)) => own,
        _ => return Returned::Provided,
    };
    let mut replaced = Fields::new();
    for (field, value) in fields.iter() {
        match ours(value, name).filter(|_| sets_cookie(field)) {
            None => replaced.append(field, value),
            Some(theirs) => {
                let kept = match cookie.mode {
                    CookieMode::Prefix => [b"~", &value[theirs.start..]].concat(),
                    _ => value[theirs.end..].to_vec(),
                };
                replaced.append(field, &[name, b"=", own, &kept].concat())
            }
        };
    }
    *fields = replaced;
    Returned::Rewritten
}

/// Where the value stands in a Set-Cookie of ours.
fn ours(value: &[u8], name: &[u8]) -> Option<std::ops::Range<usize>> {
    let end = piece_end(value, 0, |byte| byte == b';');
    let (known, theirs) = pair(&value[..end])?;
    (value[known] == *name).then_some(theirs)
}

/// Statuses whose responses caches may keep unasked, and 206 (RFC 9110 section 15.1).
const CACHEABLE: [u16; 11] = [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501];

/// Whether a cache between us and the client might keep the response and give it to others: it says
/// how long it is fresh, or how to ask whether it still is, and nothing against it.
fn is_cacheable(method: &Method, head: &ResponseHead) -> bool {
    let fields = &head.fields;
    if !method.is_safe() || !CACHEABLE.contains(&head.status) {
        return false;
    }
    let is_any = |token: &[u8], of: &[&str]| {
        of.iter()
            .any(|one| token.eq_ignore_ascii_case(one.as_bytes()))
    };
    let against = ["no-cache", "no-store", "private", "max-age=0", "s-maxage=0"];
    let pragma = fields
        .get("pragma")
        .is_some_and(|value| is_any(value, &["no-cache"]));
    if pragma
        || fields
            .tokens("cache-control")
            .any(|token| is_any(token, &against))
    {
        return false;
    }
    let directive = |token: &[u8]| {
        let end = memchr::memchr(b'=', token).unwrap_or(token.len());
        is_any(&token[..end], &["max-age", "s-maxage"])
    };
    fields.tokens("cache-control").any(directive)
        || ["expires", "etag", "last-modified"]
            .iter()
            .any(|name| fields.contains(name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cookie::Given;

    const HERE: ServerKey = ServerKey(1);

    struct Case {
        cookie: Cookie,
        presented: Presented,
        value: Option<&'static str>,
        method: Method,
        head: ResponseHead,
    }

    fn case(mode: CookieMode) -> Case {
        Case {
            cookie: Cookie {
                name: "SRV".into(),
                mode,
                ..Cookie::default()
            },
            presented: Presented::default(),
            value: Some("a"),
            method: Method::GET,
            head: ResponseHead::new(200),
        }
    }

    impl Case {
        fn field(mut self, name: &str, value: &str) -> Self {
            self.head.fields.append(name, value.as_bytes());
            self
        }

        fn set(self, value: &str) -> Self {
            self.field("set-cookie", value)
        }

        fn returning(mut self) -> Self {
            self.presented.given = Given::Valid;
            self.presented.server = Some(HERE);
            self
        }

        fn with(mut self, change: impl FnOnce(&mut Cookie)) -> Self {
            change(&mut self.cookie);
            self
        }

        #[track_caller]
        fn check(mut self, expected: &str) {
            let chosen = Chosen {
                server: HERE,
                value: self.value.map(str::as_bytes),
            };
            let now = 1_795_345_900;
            let (cookie, presented) = (&self.cookie, &self.presented);
            let returned = answer(
                cookie,
                presented,
                &chosen,
                &self.method,
                &mut self.head,
                now,
            );
            let mut found = (returned.letter() as char).to_string();
            for (name, value) in self.head.fields.iter() {
                if name != "set-cookie" {
                    found += &format!(" | {name}:");
                } else {
                    found += " |";
                }
                found += &format!(" {}", String::from_utf8_lossy(value));
            }
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn insert_takes_the_place_of_the_nodes() {
        use CookieMode::Insert;
        case(Insert).check("I | SRV=a; path=/");
        case(Insert).returning().check("N");
        case(Insert).set("SRV=x").check("I | SRV=a; path=/");
        case(Insert)
            .set("other=x")
            .check("I | other=x | SRV=a; path=/");
        case(Insert).set("SRV=x").returning().check("D");
        case(Insert)
            .set("a=1, SRV=q")
            .returning()
            .check("N | a=1, SRV=q");
        let preserve = |cookie: &mut Cookie| cookie.preserve = true;
        case(Insert).set("SRV=x").with(preserve).check("P | SRV=x");
        case(Insert).with(preserve).check("I | SRV=a; path=/");
        let postonly = |cookie: &mut Cookie| cookie.postonly = true;
        case(Insert).with(postonly).check("N");
        case(Insert).set("SRV=x").with(postonly).check("D");
        let mut post = case(Insert).with(postonly);
        post.method = Method::POST;
        post.check("I | SRV=a; path=/");
        let mut none = case(Insert);
        none.value = None;
        none.check("I | SRV=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/");
        let attributes = |cookie: &mut Cookie| cookie.attributes = "; HttpOnly; x".into();
        case(Insert)
            .with(attributes)
            .check("I | SRV=a; path=/; HttpOnly; x");
        let mut ignored = case(Insert).set("SRV=x");
        ignored.presented.ignored = true;
        ignored.check("N | SRV=x");
    }

    #[test]
    fn dates_are_given_and_renewed() {
        use CookieMode::Insert;
        let idle = |cookie: &mut Cookie| cookie.maxidle = Some(Duration::from_secs(60));
        let life = |cookie: &mut Cookie| cookie.maxlife = Some(Duration::from_secs(60));
        case(Insert).with(idle).check("I | SRV=a|awLN7; path=/");
        case(Insert)
            .with(life)
            .check("I | SRV=a|awLN7|awLN7; path=/");
        case(Insert)
            .with(idle)
            .returning()
            .check("U | SRV=a|awLN7; path=/");
        let mut earlier = case(Insert).with(life).returning();
        earlier.presented.dates = super::super::date::Dates::parse(b"|awLN6|awLN5");
        earlier.check("U | SRV=a|awLN7|awLN5; path=/");
    }

    #[test]
    fn rewrite_and_prefix_change_the_nodes() {
        use CookieMode::{Passive, Prefix, Rewrite};
        case(Rewrite).check("N");
        case(Rewrite)
            .set("SRV=x; path=/")
            .check("R | SRV=a; path=/");
        case(Rewrite)
            .set("SRV = v ; Path=/")
            .check("R | SRV=a ; Path=/");
        case(Rewrite)
            .set("SRV=\"x;y\"; Path=/")
            .check("R | SRV=a; Path=/");
        case(Rewrite)
            .set("SRV=x")
            .set("SRV=y")
            .returning()
            .check("R | SRV=a | SRV=a");
        case(Rewrite).set("SRV").check("N | SRV");
        case(Rewrite).set("srv=x").check("N | srv=x");
        case(Rewrite)
            .field("set-cookie2", "SRV=w")
            .check("R | set-cookie2: SRV=a");
        let mut none = case(Rewrite).set("SRV=x");
        none.value = None;
        none.check("P | SRV=x");
        case(Prefix)
            .set("SRV=x; path=/")
            .check("R | SRV=a~x; path=/");
        case(Prefix)
            .set("SRV = v ; Path=/")
            .check("R | SRV=a~v ; Path=/");
        case(Prefix).set("SRV=").check("R | SRV=a~");
        let indirect = |cookie: &mut Cookie| cookie.indirect = true;
        case(Prefix)
            .set("SRV=x")
            .with(indirect)
            .check("R | SRV=a~x");
        case(Prefix)
            .set("SRV=x")
            .with(indirect)
            .returning()
            .check("D");
        case(Passive).set("SRV=x").check("P | SRV=x");
        case(Passive)
            .set("SRV=x")
            .with(indirect)
            .returning()
            .check("D");
    }

    #[test]
    fn what_caches_could_keep_is_marked() {
        let marked = |name: &str, value: &str| {
            let nocache = |cookie: &mut Cookie| cookie.nocache = true;
            let mut case = case(CookieMode::Insert).with(nocache).field(name, value);
            let chosen = Chosen {
                server: HERE,
                value: Some(b"a"),
            };
            answer(
                &case.cookie,
                &case.presented,
                &chosen,
                &case.method,
                &mut case.head,
                0,
            );
            let last = case.head.fields.iter().next_back();
            last == Some(("cache-control", &b"private"[..]))
        };
        for value in [
            "max-age=60",
            "Max-Age=5",
            "s-maxage=10",
            "max-age",
            "max-age=00",
            "max-age=\"5\"",
            "must-revalidate, max-age=5",
            "max-age=60, no-cache=\"set-cookie\"",
        ] {
            assert!(marked("cache-control", value), "{value}");
        }
        for value in [
            "public",
            "max-age=0",
            "S-MAXAGE=0",
            "no-store",
            "max-age=10, private",
            "xmax-age=5",
            "max-age=60,no-cache",
        ] {
            assert!(!marked("cache-control", value), "{value}");
        }
        assert!(marked("expires", "0"));
        assert!(marked("etag", "\"x\""));
        assert!(marked("last-modified", "x"));
        assert!(!marked("vary", "*"));
    }
}
