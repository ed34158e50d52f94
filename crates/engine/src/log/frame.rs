//! What stands before a message, and where the line is cut (manual 4.2, "log", `format` and `len`).

use std::io::Write as _;
use std::time::Duration;

use config::model::{LogLineFormat, LogTarget};
use routing::dates;

use super::{Level, Message, Origin};

/// The host in RFC 3164 headers where `log-send-hostname` names none: HAProxy's word for it.
const NO_HOST: &str = "localhost";

/// Appends the line as the target wants it: its header and the message, `len` bytes at most, and a
/// newline.
pub(super) fn write(
    target: &LogTarget,
    origin: &Origin,
    level: Level,
    now: Duration,
    message: Message<'_>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let severity = level.severity().max(target.level_min);
    let priority = u32::from(target.facility) * 8 + u32::from(severity);
    let Origin { tag, host, pid } = origin;
    let host = host.as_deref();
    match (target.format, host) {
        (LogLineFormat::Raw, _) => {}
        (LogLineFormat::Short, _) => angled(u32::from(severity), out),
        (LogLineFormat::Priority, _) => angled(priority, out),
        (LogLineFormat::Timed, _) => {
            angled(u32::from(severity), out);
            dates::iso(now, out);
            out.push(b' ');
        }
        (LogLineFormat::Iso, _) => {
            dates::iso(now, out);
            out.push(b' ');
        }
        (LogLineFormat::Local, _) | (LogLineFormat::Default, None) => {
            angled(priority, out);
            dates::syslog(now, out);
            tagged(tag, *pid, out);
        }
        (LogLineFormat::Rfc3164, host) | (LogLineFormat::Default, host @ Some(_)) => {
            angled(priority, out);
            dates::syslog(now, out);
            let host = host.unwrap_or(NO_HOST);
            out.push(b' ');
            out.extend_from_slice(host.as_bytes());
            tagged(tag, *pid, out);
        }
        (LogLineFormat::Rfc5424, host) => {
            angled(priority, out);
            out.extend_from_slice(b"1 ");
            dates::iso(now, out);
            put(out, format_args!(" {} {tag} {pid} - ", host.unwrap_or("-")));
            let structured = match message.structured {
                b"" => b"-",
                structured => structured,
            };
            out.extend_from_slice(structured);
            out.push(b' ');
        }
    }
    out.extend_from_slice(message.text);
    out.truncate(start + target.length_max);
    out.push(b'\n');
}

fn angled(number: u32, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.push(b'>');
}

/// ` haproxy[42]: `
fn tagged(tag: &str, pid: u32, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(tag.as_bytes());
    out.push(b'[');
    out.extend_from_slice(itoa::Buffer::new().format(pid).as_bytes());
    out.extend_from_slice(b"]: ");
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "a Vec takes all that is written");
}

#[cfg(test)]
mod tests {
    use config::model::LogSink;

    use super::*;

    fn target(format: LogLineFormat, length_max: usize) -> LogTarget {
        LogTarget {
            number: 0,
            sink: LogSink::Stdout,
            length_max,
            format,
            facility: 16,
            level: 7,
            level_min: 0,
            sample: None,
        }
    }

    fn check(format: LogLineFormat, host: Option<&str>, structured: &str, expected: &str) {
        let origin = Origin {
            tag: "haproxy".into(),
            host: host.map(Into::into),
            pid: 42,
        };
        let now = Duration::new(1_795_334_701, 123_456_789);
        let message = Message {
            text: b"hello",
            structured: structured.as_bytes(),
        };
        let mut line = Vec::new();
        let target = target(format, 1024);
        write(&target, &origin, Level::Notice, now, message, &mut line);
        let line = String::from_utf8(line).expect("text");
        let date = |write: fn(Duration, &mut Vec<u8>)| {
            let mut date = Vec::new();
            write(now, &mut date);
            String::from_utf8(date).expect("text")
        };
        let expected = expected
            .replace("BSD", &date(dates::syslog))
            .replace("ISO", &date(dates::iso));
        assert_eq!(line, format!("{expected}\n"));
    }

    #[test]
    fn each_format_frames_as_haproxy_does() {
        use LogLineFormat as F;
        check(F::Raw, None, "", "hello");
        check(F::Short, None, "", "<5>hello");
        check(F::Priority, None, "", "<133>hello");
        check(F::Timed, None, "", "<5>ISO hello");
        check(F::Iso, None, "", "ISO hello");
        check(F::Local, Some("lb"), "", "<133>BSD haproxy[42]: hello");
        check(F::Default, None, "", "<133>BSD haproxy[42]: hello");
        check(F::Default, Some("lb"), "", "<133>BSD lb haproxy[42]: hello");
        check(
            F::Rfc3164,
            None,
            "",
            "<133>BSD localhost haproxy[42]: hello",
        );
        check(
            F::Rfc3164,
            Some("lb"),
            "[x]",
            "<133>BSD lb haproxy[42]: hello",
        );
        check(F::Rfc5424, None, "", "<133>1 ISO - haproxy 42 - - hello");
        check(
            F::Rfc5424,
            Some("lb"),
            "[x]",
            "<133>1 ISO lb haproxy 42 - [x] hello",
        );
    }

    #[test]
    fn a_long_line_is_cut_to_the_length_of_its_target() {
        let origin = Origin {
            tag: "t".into(),
            host: None,
            pid: 1,
        };
        let mut line = b"before".to_vec();
        let target = target(LogLineFormat::Raw, 80);
        let message = Message::from(&[b'x'; 500][..]);
        write(
            &target,
            &origin,
            Level::Info,
            Duration::ZERO,
            message,
            &mut line,
        );
        assert_eq!(line.len(), 6 + 80 + 1);
        assert_eq!(line.last(), Some(&b'\n'));
    }
}
