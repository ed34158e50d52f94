//! Numbers as people read them.

use std::fmt;
use std::time::Duration;

/// `1,904,332`.
pub(super) struct Grouped(pub(super) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// `1.9M`, `412k`: three digits, for the second line of a cell.
pub(super) fn short(value: u64) -> String {
    scaled(value, 1000, &["", "k", "M", "G", "T", "P", "E"])
}

/// `3.56 GB`; decimal units.
pub(super) fn bytes(value: u64) -> String {
    scaled(
        value,
        1000,
        &[" B", " kB", " MB", " GB", " TB", " PB", " EB"],
    )
}

/// Three significant digits and a unit.
fn scaled(value: u64, base: u64, units: &[&str]) -> String {
    let mut unit = 0;
    let mut scale: u64 = 1;
    while unit + 1 < units.len() && value / scale >= base {
        scale *= base;
        unit += 1;
    }
    let name = units[unit];
    if unit == 0 {
        return format!("{value}{name}");
    }
    // Truncated, so that 999,999 does not become 1000k.
    let hundredths = u128::from(value) * 100 / u128::from(scale);
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match whole {
        100.. => format!("{whole}{name}"),
        10..100 => format!("{whole}.{}{name}", rest / 10),
        _ => format!("{whole}.{rest:02}{name}"),
    }
}

/// `3d 4h`, `12m 5s`, `41s`: how long ago, two units at most.
pub(super) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d {}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m {}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// `811 ms`, `1.20 s`, `20m 4s`: how long something takes.
pub(super) fn span(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0 if duration.is_zero() => "0 ms".into(),
        0 => "<1 ms".into(),
        1..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{:02} s", milliseconds / 1000, milliseconds % 1000 / 10),
        _ => age(duration),
    }
}

/// A share in whole percent, 0 to 100; something is never 0.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    if part == 0 || whole == 0 {
        return 0;
    }
    let percent = u128::from(part) * 100 / u128::from(whole);
    u64::try_from(percent).unwrap_or(100).clamp(1, 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_904_332, "1,904,332"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ];
        for (value, expected) in cases {
            assert_eq!(Grouped(value).to_string(), expected);
        }
    }

    #[test]
    fn numbers_are_shortened() {
        let cases = [
            (0, "0", "0 B"),
            (999, "999", "999 B"),
            (1_000, "1.00k", "1.00 kB"),
            (12_345, "12.3k", "12.3 kB"),
            (999_999, "999k", "999 kB"),
            (7_120_330_118, "7.12G", "7.12 GB"),
            (u64::MAX, "18.4E", "18.4 EB"),
        ];
        for (value, count, size) in cases {
            assert_eq!(short(value), count);
            assert_eq!(bytes(value), size);
        }
    }

    #[test]
    fn times_are_told_in_two_units() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (725, "12m 5s"),
            (7_260, "2h 1m"),
            (273_906, "3d 4h"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
        let spans = [
            (0, "0 ms"),
            (300, "<1 ms"),
            (811_000, "811 ms"),
            (1_204_000, "1.20 s"),
        ];
        for (micros, expected) in spans {
            assert_eq!(span(Duration::from_micros(micros)), expected);
        }
        assert_eq!(span(Duration::from_secs(1_204)), "20m 4s");
    }

    #[test]
    fn shares_are_between_0_and_100() {
        let cases = [
            (0, 0, 0),
            (5, 0, 0),
            (1, 1_000_000, 1),
            (1, 2, 50),
            (3, 2, 100),
        ];
        for (part, whole, expected) in cases {
            assert_eq!(percent(part, whole), expected);
        }
    }
}
