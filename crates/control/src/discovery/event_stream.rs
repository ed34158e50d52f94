//! Bytes of a `text/event-stream` to events, as the HTML standard reads them (WHATWG, "Server-sent
//! events", 9.2.6 "Interpreting an event stream"). Pure: no socket, no clock.
//!
//! The stream is foreign: lines, data, names and ids are bounded, and what is past a bound costs the event
//! or the stream, never memory.

use std::time::Duration;

/// Largest line, and largest data of one event, bytes: what a whole list may have.
pub const EVENT_LEN_MAX: usize = 4 << 20;

/// Longest id that is kept to be sent back, bytes: it goes into a header field.
pub const ID_LEN_MAX: usize = 256;

/// Longest name that is kept, bytes. No event that we know has a longer one.
const NAME_LEN_MAX: usize = 64;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` where the stream says none.
    pub name: String,
    /// Its data, lines joined by LF.
    pub data: Vec<u8>,
}

/// The stream has a line or an event larger than [`EVENT_LEN_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// A stream being read.
#[derive(Debug, Default)]
pub struct EventStream {
    line: Vec<u8>,
    /// A CR ended the last line: a LF right behind it belongs to it.
    after_cr: bool,
    /// The first line has been seen: no byte order mark is expected any more.
    begun: bool,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    id: Option<Vec<u8>>,
    last_id: Vec<u8>,
    retry: Option<Duration>,
}

impl EventStream {
    /// A stream that goes on after the event of that id.
    pub fn after(last_id: Vec<u8>) -> Self {
        Self {
            last_id,
            ..Self::default()
        }
    }

    /// The id of the last event that had one; empty: none had. Within [`ID_LEN_MAX`].
    pub fn last_id(&self) -> &[u8] {
        &self.last_id
    }

    /// How long the stream asks to wait before it is opened again.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Reads up to the end of the next event; `bytes` is left with what comes behind it. `None`: all was
    /// read, and no event has ended.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, TooLong> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                *bytes = rest;
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + part.len() > EVENT_LEN_MAX {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else {
                *bytes = &[];
                return Ok(None);
            };
            self.after_cr = bytes[end] == b'\r';
            *bytes = &bytes[end + 1..];
            if let Some(event) = self.end_line()? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn end_line(&mut self) -> Result<Option<Event>, TooLong> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            // A comment.
            Some(0) => return Ok(None),
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (&line[..], &b""[..]),
        };
        match name {
            b"event" if value.len() <= NAME_LEN_MAX => self.name = value.to_vec(),
            // A name that nobody knows is as good as this one, and an empty one means `message`.
            b"event" => self.name = value[..NAME_LEN_MAX].to_vec(),
            b"data" => {
                if self.data.len() + value.len() + 1 > EVENT_LEN_MAX {
                    return Err(TooLong);
                }
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"id" if !value.contains(&0) && value.len() <= ID_LEN_MAX => {
                self.id = Some(value.to_vec());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let number = str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok());
                self.retry = Some(Duration::from_millis(number.unwrap_or(u64::MAX)));
            }
            _ => {}
        }
        // The buffer goes on being used unless one huge line made it what it is.
        if line.capacity() <= LINE_KEPT_MAX {
            line.clear();
            self.line = line;
        }
        Ok(None)
    }

    /// A blank line: the event is whole. One without data is none, but its id counts.
    fn dispatch(&mut self) -> Option<Event> {
        if let Some(id) = self.id.take() {
            self.last_id = id;
        }
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        let name = match name.as_slice() {
            b"" => "message".to_owned(),
            name => String::from_utf8_lossy(name).into_owned(),
        };
        Some(Event { name, data })
    }
}

/// Bytes of a line's buffer that are kept for the next line.
const LINE_KEPT_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Events as `name=data`, then `#id` and `~retry` where there are any; the same however the bytes
    /// are cut.
    #[track_caller]
    fn check(stream: &str, expected: &[&str]) {
        for size in [1, 2, 3, stream.len().max(1)] {
            let mut reading = EventStream::default();
            let mut got = Vec::new();
            for mut piece in stream.as_bytes().chunks(size) {
                while let Some(event) = reading.next(&mut piece).unwrap() {
                    let data = String::from_utf8(event.data).unwrap();
                    got.push(format!("{}={data}", event.name));
                }
            }
            if !reading.last_id().is_empty() {
                got.push(format!("#{}", String::from_utf8_lossy(reading.last_id())));
            }
            got.extend(reading.retry().map(|retry| format!("~{retry:?}")));
            assert_eq!(got, expected, "{stream:?} in pieces of {size}");
        }
    }

    #[test]
    fn events_as_the_standard_reads_them() {
        check("", &[]);
        check("data: a\n\n", &["message=a"]);
        check("data:a\ndata\ndata:  b\n\n", &["message=a\n\n b"]);
        check("event: nodes\r\ndata: []\r\n\r\n", &["nodes=[]"]);
        check("event: nodes\rdata: []\r\r", &["nodes=[]"]);
        check("data: a\r\n\rdata: b\n\n", &["message=a", "message=b"]);
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["message=a"]);
        check(": still here\n\n:\ndata: a\n\n", &["message=a"]);
        check("data: not ended", &[]);
        check("data: not ended\n", &[]);
        check("event: x\n\ndata: a\n\n", &["message=a"]);
        check("data\n\ndata\ndata\n\ndata:", &["message=", "message=\n"]);
        check("Data: a\nother: b\n\n", &[]);
    }

    #[test]
    fn ids_and_pauses() {
        check("id: 7\ndata: a\n\n", &["message=a", "#7"]);
        check("id: 7\n\n", &["#7"]);
        check("id: 7\ndata: a\n", &[]);
        check("id: 7\n\nid\n\n", &[]);
        check("id: 7\n\nid: 8\0\n\n", &["#7"]);
        check("retry: 2500\n\n", &["~2.5s"]);
        check("retry: 2500\nretry: soon\nretry: -1\nretry:\n", &["~2.5s"]);
        let long = "9".repeat(ID_LEN_MAX + 1);
        check(&format!("id: 1\n\nid: {long}\n\n"), &["#1"]);
        let mut reading = EventStream::after(b"41".to_vec());
        assert_eq!(
            reading
                .next(&mut &b"data: a\n\n"[..])
                .unwrap()
                .unwrap()
                .name,
            "message"
        );
        assert_eq!(reading.last_id(), b"41");
    }

    #[test]
    fn no_line_and_no_event_is_larger_than_its_bound() {
        let endless = vec![b'x'; EVENT_LEN_MAX + 1];
        assert_eq!(EventStream::default().next(&mut &endless[..]), Err(TooLong));
        let mut reading = EventStream::default();
        let line = [b"data: ", &endless[..EVENT_LEN_MAX / 2], b"\n"].concat();
        assert_eq!(reading.next(&mut &line[..]), Ok(None));
        assert_eq!(reading.next(&mut &line[..]), Err(TooLong));
        let name = "n".repeat(10_000);
        let stream = format!("event: {name}\ndata: a\n\n");
        let event = EventStream::default().next(&mut stream.as_bytes());
        assert_eq!(event.unwrap().unwrap().name.len(), NAME_LEN_MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_stream_is_too_strange(text in r"[a-z:\r\n \x00é]{0,200}") {
            let mut reading = EventStream::default();
            let mut bytes = text.as_bytes();
            while reading.next(&mut bytes).unwrap().is_some() {}
            assert!(bytes.is_empty());
        }
    }
}
