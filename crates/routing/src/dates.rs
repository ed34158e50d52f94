//! Dates as log lines and headers write them. The moment comes in as time since 1970, UTC.

use std::cell::Cell;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Length of a date in a header.
pub const HTTP_LEN: usize = 29;

/// Names of months, as RFC 9110 §5.6.7 and logs write them.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Names of days, Monday first.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A second as people read it.
#[derive(Clone, Copy)]
struct Moment {
    second: u64,
    year: u32,
    month: u8,
    day: u8,
    weekday: u8,
    hour: u8,
    minute: u8,
    of_minute: u8,
    /// From UTC.
    offset_minutes: i16,
}

thread_local! {
    /// The second last asked for, in UTC and in local time: a log line has several dates, and the
    /// next thousand lines have the same ones.
    static LAST: [Cell<Option<Moment>>; 2] = const { [Cell::new(None), Cell::new(None)] };
}

/// Text of a second, as a log line has it.
#[derive(Clone, Copy)]
struct Text {
    second: u64,
    bytes: [u8; TEXT_MAX],
    len: usize,
}

/// `01/Jan/1970:00:00:00.` and `Jan  1 00:00:00` fit.
const TEXT_MAX: usize = 24;

thread_local! {
    /// The two dates that nearly every log line has, as they were written last.
    static TEXTS: [Cell<Text>; 2] = const {
        [const { Cell::new(Text { second: u64::MAX, bytes: [0; TEXT_MAX], len: 0 }) }; 2]
    };
}

/// Writes what `write` writes of a second, which is asked once for each.
fn written(place: usize, now: Duration, out: &mut Vec<u8>, write: fn(&Moment, &mut Vec<u8>)) {
    let second = now.as_secs();
    TEXTS.with(|texts| {
        let text = texts[place].get();
        if text.second == second {
            return out.extend_from_slice(&text.bytes[..text.len]);
        }
        let start = out.len();
        write(&local(now), out);
        let written = &out[start..];
        let mut bytes = [0; TEXT_MAX];
        if let Some(room) = bytes.get_mut(..written.len()) {
            room.copy_from_slice(written);
            texts[place].set(Text {
                second,
                bytes,
                len: written.len(),
            });
        }
    });
}

/// A moment in UTC.
fn utc(now: Duration) -> Moment {
    remembered(0, now, || TimeZone::UTC)
}

/// A moment in the zone of this machine.
fn local(now: Duration) -> Moment {
    remembered(1, now, TimeZone::system)
}

fn remembered(place: usize, now: Duration, zone: fn() -> TimeZone) -> Moment {
    let second = now.as_secs();
    LAST.with(|last| match last[place].get() {
        Some(moment) if moment.second == second => moment,
        _ => {
            let moment = at(second, zone());
            last[place].set(Some(moment));
            moment
        }
    })
}

/// One beyond the year 9999 is 1970: no clock shows it.
fn at(second: u64, zone: TimeZone) -> Moment {
    let timestamp = i64::try_from(second).ok().map(Timestamp::from_second);
    let timestamp = timestamp
        .and_then(Result::ok)
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let date = timestamp.to_zoned(zone);
    // All of them are positive and far below these types' bounds.
    let small = |number: i8| u8::try_from(number).unwrap_or(0);
    Moment {
        second,
        year: u32::try_from(date.year()).unwrap_or(0),
        month: small(date.month()),
        day: small(date.day()),
        weekday: small(date.weekday().to_monday_zero_offset()),
        hour: small(date.hour()),
        minute: small(date.minute()),
        of_minute: small(date.second()),
        offset_minutes: i16::try_from(date.offset().seconds() / 60).unwrap_or(0),
    }
}

/// `Thu, 01 Jan 1970 00:00:00 GMT` (RFC 9110 §5.6.7).
pub fn http(now: Duration, out: &mut Vec<u8>) {
    let date = utc(now);
    out.extend_from_slice(DAYS[usize::from(date.weekday) % 7].as_bytes());
    out.extend_from_slice(b", ");
    digits(date.day.into(), 2, out);
    out.push(b' ');
    out.extend_from_slice(month(&date).as_bytes());
    out.push(b' ');
    digits(date.year, 4, out);
    out.push(b' ');
    time(&date, out);
    out.extend_from_slice(b" GMT");
}

/// `01/Jan/1970:00:00:00.000`, local: what `%t` and `%tr` write.
pub fn log_millis(now: Duration, out: &mut Vec<u8>) {
    written(0, now, out, |date, out| {
        log_day(date, out);
        time(date, out);
        out.push(b'.');
    });
    let millis = now.subsec_millis();
    let digit = |place: u32| b'0' + (millis / place % 10) as u8;
    out.extend_from_slice(&[digit(100), digit(10), digit(1)]);
}

/// `01/Jan/1970:00:00:00 +0000` in UTC: what `%T` and `%trg` write.
pub fn log_utc(now: Duration, out: &mut Vec<u8>) {
    with_offset(&utc(now), out);
}

/// `01/Jan/1970:01:00:00 +0100`, local: what `%Tl` and `%trl` write.
pub fn log_local(now: Duration, out: &mut Vec<u8>) {
    with_offset(&local(now), out);
}

/// `Jan  1 00:00:00`, local: RFC 3164 section 4.1.2.
pub fn syslog(now: Duration, out: &mut Vec<u8>) {
    written(1, now, out, |date, out| {
        out.extend_from_slice(month(date).as_bytes());
        out.extend_from_slice(if date.day < 10 { b"  " } else { b" " });
        digits(date.day.into(), 1, out);
        out.push(b' ');
        time(date, out);
    });
}

/// `1970-01-01T00:00:00.000000+00:00`, local: RFC 5424 section 6.2.3.
pub fn iso(now: Duration, out: &mut Vec<u8>) {
    let date = local(now);
    digits(date.year, 4, out);
    out.push(b'-');
    digits(date.month.into(), 2, out);
    out.push(b'-');
    digits(date.day.into(), 2, out);
    out.push(b'T');
    time(&date, out);
    out.push(b'.');
    digits(now.subsec_micros(), 6, out);
    offset(&date, Some(b':'), out);
}

fn with_offset(date: &Moment, out: &mut Vec<u8>) {
    log_day(date, out);
    time(date, out);
    out.push(b' ');
    offset(date, None, out);
}

fn offset(date: &Moment, separator: Option<u8>, out: &mut Vec<u8>) {
    let minutes = u32::from(date.offset_minutes.unsigned_abs());
    out.push(if date.offset_minutes < 0 { b'-' } else { b'+' });
    digits(minutes / 60, 2, out);
    out.extend(separator);
    digits(minutes % 60, 2, out);
}

fn log_day(date: &Moment, out: &mut Vec<u8>) {
    digits(date.day.into(), 2, out);
    out.push(b'/');
    out.extend_from_slice(month(date).as_bytes());
    out.push(b'/');
    digits(date.year, 4, out);
    out.push(b':');
}

fn time(date: &Moment, out: &mut Vec<u8>) {
    digits(date.hour.into(), 2, out);
    out.push(b':');
    digits(date.minute.into(), 2, out);
    out.push(b':');
    digits(date.of_minute.into(), 2, out);
}

fn month(date: &Moment) -> &'static str {
    MONTHS[usize::from(date.month.saturating_sub(1)) % 12]
}

/// A number with at least so many digits.
fn digits(number: u32, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number);
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(text.len())));
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_look_like_haproxys() {
        let check = |write: fn(Duration, &mut Vec<u8>), millis: u64, expected: &str| {
            let mut out = Vec::new();
            write(Duration::from_millis(millis), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        };
        check(http, 0, "Thu, 01 Jan 1970 00:00:00 GMT");
        check(http, 1_795_337_577_782, "Sun, 22 Nov 2026 08:52:57 GMT");
        check(log_utc, 1_795_337_577_782, "22/Nov/2026:08:52:57 +0000");
        check(http, u64::MAX, "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn local_dates_carry_their_offset() {
        let zone = TimeZone::fixed(jiff::tz::Offset::constant(-3));
        let mut out = Vec::new();
        with_offset(&at(0, zone.clone()), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "31/Dec/1969:21:00:00 -0300");
        out.clear();
        offset(&at(0, zone), Some(b':'), &mut out);
        assert_eq!(out, b"-03:00");
    }
}
