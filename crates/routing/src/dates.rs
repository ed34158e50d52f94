//! Dates as log lines and headers write them. The moment comes in as time since 1970, UTC.

use std::time::Duration;

use jiff::Timestamp;
use jiff::Zoned;
use jiff::tz::TimeZone;

/// Length of a date in a header.
pub const HTTP_LEN: usize = 29;

/// Names of months, as RFC 9110 §5.6.7 and logs write them.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Names of days, Monday first.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A moment in a time zone. One beyond the year 9999 is 1970: no clock shows it.
fn at(now: Duration, zone: TimeZone) -> Zoned {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(0);
    let nanoseconds = i32::try_from(now.subsec_nanos()).unwrap_or(0);
    let timestamp = Timestamp::new(seconds, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    timestamp.to_zoned(zone)
}

/// `Thu, 01 Jan 1970 00:00:00 GMT` (RFC 9110 §5.6.7).
pub fn http(now: Duration, out: &mut Vec<u8>) {
    let date = at(now, TimeZone::UTC);
    let day = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0);
    out.extend_from_slice(DAYS[day % 7].as_bytes());
    out.extend_from_slice(b", ");
    digits(date.day().into(), 2, out);
    out.push(b' ');
    out.extend_from_slice(month(&date).as_bytes());
    out.push(b' ');
    digits(date.year().into(), 4, out);
    out.push(b' ');
    time(&date, out);
    out.extend_from_slice(b" GMT");
}

/// `01/Jan/1970:00:00:00.000`, local: what `%t` and `%tr` write.
pub fn log_millis(now: Duration, out: &mut Vec<u8>) {
    let date = at(now, TimeZone::system());
    log_day(&date, out);
    time(&date, out);
    out.push(b'.');
    digits(now.subsec_millis().into(), 3, out);
}

/// `01/Jan/1970:00:00:00 +0000` in UTC: what `%T` and `%trg` write.
pub fn log_utc(now: Duration, out: &mut Vec<u8>) {
    with_offset(&at(now, TimeZone::UTC), out);
}

/// `01/Jan/1970:01:00:00 +0100`, local: what `%Tl` and `%trl` write.
pub fn log_local(now: Duration, out: &mut Vec<u8>) {
    with_offset(&at(now, TimeZone::system()), out);
}

fn with_offset(date: &Zoned, out: &mut Vec<u8>) {
    log_day(date, out);
    time(date, out);
    let minutes = i64::from(date.offset().seconds()) / 60;
    out.extend_from_slice(if minutes < 0 { b" -" } else { b" +" });
    digits(minutes.abs() / 60, 2, out);
    digits(minutes.abs() % 60, 2, out);
}

fn log_day(date: &Zoned, out: &mut Vec<u8>) {
    digits(date.day().into(), 2, out);
    out.push(b'/');
    out.extend_from_slice(month(date).as_bytes());
    out.push(b'/');
    digits(date.year().into(), 4, out);
    out.push(b':');
}

fn time(date: &Zoned, out: &mut Vec<u8>) {
    digits(date.hour().into(), 2, out);
    out.push(b':');
    digits(date.minute().into(), 2, out);
    out.push(b':');
    digits(date.second().into(), 2, out);
}

fn month(date: &Zoned) -> &'static str {
    let index = usize::try_from(date.month() - 1).unwrap_or(0);
    MONTHS[index % 12]
}

/// A number with at least so many digits.
fn digits(number: i64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number.unsigned_abs());
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
        with_offset(&at(Duration::ZERO, zone), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "31/Dec/1969:21:00:00 -0300");
    }
}
