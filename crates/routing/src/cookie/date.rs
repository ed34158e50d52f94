//! Dates in cookies, `VALUE|LAST|FIRST`: when it was last given to the client, and when first. Each is
//! five digits of base 64 that count steps of four seconds.

use std::time::Duration;

use config::model::Cookie;

use super::Given;

/// Seconds in one step.
const STEP: u64 = 4;
const DIGITS: usize = 5;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// A date this far ahead counts still: clocks differ, and time zones get mended (manual 4.2, "maxidle").
const AHEAD_MAX: u64 = 86_400;

/// The dates of a cookie, in seconds since 1970; 0 where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Dates {
    last: u64,
    first: u64,
}

impl Dates {
    /// What follows the value, from its `|` on.
    pub(super) fn parse(text: &[u8]) -> Self {
        let Some(last) = text.strip_prefix(b"|") else {
            return Self::default();
        };
        let first = memchr::memchr(b'|', last).map(|at| &last[at + 1..]);
        let last = &last[..memchr::memchr(b'|', last).unwrap_or(last.len())];
        Self {
            last: decode(last),
            first: first.map_or(0, decode),
        }
    }

    /// Whether the cookie counts no more.
    pub(super) fn too_old(self, cookie: &Cookie, now: u64) -> Option<Given> {
        let past = |date: u64, limit: Option<Duration>| {
            let limit = limit.map(|limit| limit.as_secs());
            limit.is_some_and(|limit| date > 0 && (date + limit < now || date > now + AHEAD_MAX))
        };
        if past(self.first, cookie.maxlife) {
            Some(Given::Old)
        } else if past(self.last, cookie.maxidle) {
            Some(Given::Expired)
        } else {
            None
        }
    }

    /// Whether the client's cookie needs another date, or none any more.
    pub(super) fn need_update(self, cookie: &Cookie, now: u64) -> bool {
        let (idle, life) = (cookie.maxidle.is_some(), cookie.maxlife.is_some());
        let missing = (idle && self.last == 0) || (life && self.first == 0);
        let unwanted = !life && self.first != 0;
        missing || unwanted || (self.last != 0 && self.last / STEP < now / STEP)
    }

    /// The dates of the cookie that follows this one: it keeps its first one.
    pub(super) fn renewed(self, now: u64) -> Self {
        let first = if self.first == 0 { now } else { self.first };
        Self { last: now, first }
    }

    /// Those that the configuration asks for, as they follow the value.
    pub(super) fn write(self, cookie: &Cookie, out: &mut Vec<u8>) {
        if cookie.maxidle.is_some() || cookie.maxlife.is_some() {
            out.push(b'|');
            encode(self.last, out);
        }
        if cookie.maxlife.is_some() {
            out.push(b'|');
            encode(self.first, out);
        }
    }
}

fn decode(text: &[u8]) -> u64 {
    let digits = text.get(..DIGITS).into_iter().flatten();
    let values = digits.map(|digit| ALPHABET.iter().position(|known| known == digit));
    let mut steps = values.map(|value| value.map(|value| value as u64));
    let steps: Option<u64> = steps.try_fold(0, |steps, value| Some(steps << 6 | value?));
    steps.unwrap_or_default() * STEP
}

fn encode(seconds: u64, out: &mut Vec<u8>) {
    let steps = seconds / STEP;
    for place in (0..DIGITS).rev() {
        out.push(ALPHABET[(steps >> (6 * place)) as usize & 63]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_346_000;

    #[test]
    fn dates_are_written_and_read() {
        let mut out = Vec::new();
        encode(1_795_345_900, &mut out);
        assert_eq!(out, b"awLN7");
        assert_eq!(decode(b"awLN7"), 1_795_345_900);
        assert_eq!(decode(b"awLN7 and more"), 1_795_345_900);
        for nonsense in [&b""[..], b"awLN", b"-_-_-", b"aw N7", b"AAAAA"] {
            assert_eq!(decode(nonsense), 0, "{nonsense:?}");
        }
        assert_eq!(decode(b"/////"), 4 * ((1 << 30) - 1), "the last one");
    }

    /// What a cookie with dates this many seconds before now is worth, and whether it gets new ones.
    #[track_caller]
    fn check(idle: u64, life: u64, last: Option<i64>, first: Option<i64>, expected: &str) {
        let limit = |seconds| (seconds > 0).then(|| Duration::from_secs(seconds));
        let cookie = Cookie {
            maxidle: limit(idle),
            maxlife: limit(life),
            ..Cookie::default()
        };
        let date = |ago: Option<i64>| ago.map_or(0, |ago| NOW.saturating_add_signed(-ago));
        let dates = Dates {
            last: date(last),
            first: date(first),
        };
        let verdict = match dates.too_old(&cookie, NOW) {
            Some(given) => (given.letter() as char).to_string(),
            None if dates.need_update(&cookie, NOW) => "VU".to_owned(),
            None => "VN".to_owned(),
        };
        assert_eq!(verdict, expected, "{dates:?}");
    }

    #[test]
    fn old_cookies_count_no_more_and_others_are_renewed() {
        let (none, day) = (None, 86_400);
        check(60, 600, Some(0), None, "VU");
        check(60, 600, Some(0), Some(0), "VN");
        check(60, 600, Some(0), Some(300), "VN");
        check(60, 600, Some(0), Some(700), "O");
        check(60, 600, Some(0), Some(-day - 4), "O");
        check(60, 600, Some(30), Some(300), "VU");
        check(60, 600, Some(100), Some(300), "E");
        check(60, 600, Some(100), Some(700), "O");
        check(60, 600, Some(-3600), Some(0), "VN");
        check(60, 600, Some(-day - 4), Some(0), "E");
        check(60, 600, none, Some(300), "VU");
        check(60, 0, Some(0), None, "VN");
        check(60, 0, Some(4), None, "VU");
        check(60, 0, Some(60), None, "VU");
        check(60, 0, Some(61), None, "E");
        check(60, 0, Some(-day), None, "VN");
        check(60, 0, Some(0), Some(700), "VU");
        check(60, 0, none, none, "VU");
        check(0, 600, Some(0), Some(300), "VN");
        check(0, 600, Some(100), Some(300), "VU");
        check(0, 600, none, Some(300), "VN");
        check(0, 600, none, none, "VU");
        check(0, 600, Some(-day - 4), Some(0), "VN");
        check(0, 0, none, none, "VN");
        check(0, 0, Some(9999), none, "VU");
        check(0, 0, Some(-8), none, "VN");
    }
}
