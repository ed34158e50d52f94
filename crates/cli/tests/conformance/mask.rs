//! What may differ between two runs: ports, dates, process ids, durations.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Names for the ports of one side.
pub(crate) struct Mask {
    ports: Vec<(u16, String)>,
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(\d+\.\d+\.\d+\.\d+|\[?::1\]?|localhost):(\d{4,5})\b"));
static PORT_FIELD: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)\b(\w*port[:=] ?)(\d{4,5})\b"));
static HEADER: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(<\d+>)\w{3} [ \d]\d \d\d:\d\d:\d\d (\S+)\[\d+\]: "));
static DATE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d(\.\d{3}| [+-]\d{4})"));
static ISO_DATE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"));
static TIMERS: LazyLock<Regex> = LazyLock::new(|| regex(r" (\+?-?\d+(?:/\+?-?\d+){2,4}) "));
/// `option httplog clf`: port and milliseconds, five times, and counts as words of their own.
static CLF: LazyLock<Regex> = LazyLock::new(|| {
    regex(r#" \d{4,5} \d{3} ("\S+" "\S+" "\S+") (-?\d+) (-?\d+) (-?\d+) (-?\d+) (-?\d+) "#)
});
static NAMED_TIMER: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(T[a-zR])=(\+?)(-?\d+)"));

impl Mask {
    /// With these names for ports.
    pub(crate) fn new(ports: Vec<(u16, String)>) -> Self {
        Self { ports }
    }

    fn name(&self, port: &str) -> String {
        let number: Option<u16> = port.parse().ok();
        let known = self.ports.iter().find(|(known, _)| Some(*known) == number);
        match known {
            Some((_, name)) => format!("<{name}>"),
            None => "<port>".into(),
        }
    }

    /// Ports by their names.
    pub(crate) fn ports(&self, text: &str) -> String {
        let named = |found: &Captures<'_>| format!("{}:{}", &found[1], self.name(&found[2]));
        let text = ADDRESS.replace_all(text, named);
        let named = |found: &Captures<'_>| format!("{}{}", &found[1], self.name(&found[2]));
        PORT_FIELD.replace_all(&text, named).into_owned()
    }

    /// A log line.
    pub(crate) fn log(&self, line: &str) -> String {
        let line = HEADER.replace(line, "${1}DATE ${2}[PID]: ");
        let line = DATE.replace_all(&line, "DATE");
        let line = ISO_DATE.replace_all(&line, "DATE");
        let line = TIMERS.replace(&line, |found: &Captures<'_>| {
            let timers: Vec<String> = found[1].split('/').map(timer).collect();
            format!(" {} ", timers.join("/"))
        });
        let line = CLF.replace(&line, |found: &Captures<'_>| {
            let timers: Vec<String> = (2..=6).map(|at| timer(&found[at])).collect();
            format!(" PORT MS {} {} ", &found[1], timers.join(" "))
        });
        let line = NAMED_TIMER.replace_all(&line, |found: &Captures<'_>| {
            format!("{}={}{}", &found[1], &found[2], timer(&found[3]))
        });
        self.ports(line.trim_end_matches(['\n', '\0']))
    }
}

/// Whether a time was reached is compared, how long it took is not.
fn timer(text: &str) -> String {
    match text.strip_prefix('+') {
        Some(_) => "+t".into(),
        None if text.starts_with('-') => text.into(),
        None => "t".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_decided_and_masks_what_happened_to_be() {
        let mask = Mask::new(vec![(13_000, "fe".into())]);
        let line = "<134>Nov  2 11:08:53 lb[12]: 127.0.0.1:54321 [22/Nov/2026:11:08:53.123] fe \
                    be/n1 0/0/-1/+1/12 200 80 - - ---- 2/1/0/0/0 0/0 \"GET / HTTP/1.1\"\n";
        assert_eq!(
            mask.log(line),
            "<134>DATE lb[PID]: 127.0.0.1:<port> [DATE] fe be/n1 t/t/-1/+t/t 200 80 - - ---- \
             2/1/0/0/0 0/0 \"GET / HTTP/1.1\""
        );
        assert_eq!(mask.ports("via 127.0.0.1:13000"), "via 127.0.0.1:<fe>");
    }
}
