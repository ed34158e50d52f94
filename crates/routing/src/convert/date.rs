//! Dates (manual 7.3.1).

use std::time::Duration;

use config::expr::{TimeFormat, TimeUnit};
use jiff::Timestamp;
use jiff::fmt::strtime::{BrokenDownTime, Config};
use jiff::tz::TimeZone;

use super::MADE_LEN_MAX;

/// So much time since 1970.
pub(super) fn since_1970(date: i64, unit: TimeUnit) -> Option<Duration> {
    let date = u64::try_from(date).ok()?;
    Some(match unit {
        TimeUnit::Seconds => Duration::from_secs(date),
        TimeUnit::Milliseconds => Duration::from_millis(date),
        TimeUnit::Microseconds => Duration::from_micros(date),
    })
}

/// `ltime` and its like. Directives that nobody knows stand there as they are.
pub(super) fn written(format: &TimeFormat, date: i64) -> Option<Vec<u8>> {
    let date = date.saturating_add(format.offset);
    let at = match format.unit {
        TimeUnit::Seconds => Timestamp::from_second(date),
        TimeUnit::Milliseconds => Timestamp::from_millisecond(date),
        TimeUnit::Microseconds => Timestamp::from_microsecond(date),
    }
    .ok()?;
    let zone = match format.local {
        true => TimeZone::system(),
        false => TimeZone::UTC,
    };
    let text = plain(format, at.subsec_nanosecond().unsigned_abs());
    let mut out = String::new();
    let zoned = at.to_zoned(zone);
    let config = Config::new().lenient(true);
    BrokenDownTime::from(&zoned)
        .format_with_config(&config, &text, &mut out)
        .ok()?;
    (out.len() <= MADE_LEN_MAX).then(|| out.into_bytes())
}

/// Writes out what strftime(3) has in the C locale and what is finer than a second: `%N`, or as many of
/// its digits as stand between (`%3N`), where the sample counts such.
fn plain(format: &TimeFormat, nanoseconds: u32) -> String {
    let digits = format!("{nanoseconds:09}");
    let fine = format.unit != TimeUnit::Seconds;
    let mut out = String::with_capacity(format.format.len());
    let mut rest = &*format.format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let (text, len) = match behind.as_bytes() {
            [width @ b'1'..=b'9', b'N', ..] if fine => (&digits[..usize::from(width - b'0')], 2),
            [b'N', ..] if fine => (&*digits, 1),
            [b'Z', ..] if !format.local => ("GMT", 1),
            [b'c', ..] => ("%a %b %e %H:%M:%S %Y", 1),
            [b'x', ..] => ("%m/%d/%y", 1),
            [b'X', ..] => ("%H:%M:%S", 1),
            _ => {
                // The next one may be a percent sign that stands for itself.
                let len = behind.chars().next().map_or(0, char::len_utf8);
                (&rest[at..=at + len], len)
            }
        };
        out.push_str(text);
        rest = &behind[len..];
    }
    out.push_str(rest);
    out
}

/// Seconds since 1970 of a date in a header (RFC 9110 §5.6.7), in any of its three forms.
pub(super) fn read(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    // The day's name says nothing that the date does not.
    let rest = text.split_once(' ').map(|(_, rest)| rest.trim_start())?;
    let formats = [
        "%d %b %Y %H:%M:%S GMT",
        "%d-%b-%y %H:%M:%S GMT",
        "%b %e %H:%M:%S %Y",
    ];
    formats.iter().find_map(|format| {
        let time = BrokenDownTime::parse(format, rest).ok()?;
        let time = time.to_datetime().ok()?;
        let zoned = time.to_zoned(TimeZone::UTC).ok()?;
        Some(zoned.timestamp().as_second())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_headers_are_read_in_their_three_forms() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(read(text.as_bytes()), expected, "{text}");
        };
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("yesterday", None);
        check("", None);
    }

    #[test]
    fn fractions_have_as_many_digits_as_wanted() {
        let check = |text: &str, expected: &str| {
            let format = TimeFormat {
                format: text.into(),
                local: false,
                unit: TimeUnit::Milliseconds,
                offset: 0,
            };
            assert_eq!(plain(&format, 123_456_000), expected);
        };
        check("%3N", "123");
        check("%N|%6N|%%N|%H %Z", "123456000|123456|%%N|%H GMT");
        check("%", "%");
        check("%é", "%é");
    }
}
