//! Metrics in Prometheus's text format 0.0.4. Names and labels are those of HAProxy's exporter where
//! it has the same thing (`families`), so that dashboards and alerts go on working; what only we have
//! begins with `tidegate_` (`own`). What there is stands in these tables.

mod families;
mod own;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use crate::snapshot::{BackendStats, FrontendStats, Histogram, ServerStats, Snapshot};

/// The type under which the text is sent.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// All metrics of a snapshot. A family without a sample is left out.
pub fn render(snapshot: &Snapshot) -> String {
    let mut out = String::with_capacity(64 * 1024);
    for family in families::all() {
        let begin = out.len();
        let _ = writeln!(out, "# HELP {} {}", family.name, family.help);
        let _ = writeln!(out, "# TYPE {} {}", family.name, family.kind.name());
        let headed = out.len();
        family.write_samples(snapshot, &mut out);
        if out.len() == headed {
            out.truncate(begin);
        }
    }
    out
}

/// A family of metrics: one entry of the table.
struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// Where the samples of a family come from; it decides their labels.
enum Source {
    /// One sample, no label.
    Process(fn(&Snapshot) -> Value),
    /// A sample a frontend: `proxy`.
    Frontend(fn(&FrontendStats) -> Value),
    /// A sample a backend: `proxy`.
    Backend(fn(&BackendStats) -> Value),
    /// A sample a server: `proxy`, `server`.
    Server(fn(&ServerStats) -> Value),
    /// Samples with labels of their own.
    Labelled(fn(&Snapshot, &mut Samples)),
}

/// A value. Nothing is written for [`Value::None`].
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    None,
    Number(u64),
    Seconds(Duration),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Number(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Number(u64::from(value))
    }
}

impl From<Duration> for Value {
    fn from(value: Duration) -> Self {
        Self::Seconds(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Number(value) => write!(f, "{value}"),
            Self::Seconds(value) if value.subsec_nanos() == 0 => write!(f, "{}", value.as_secs()),
            Self::Seconds(value) => write!(f, "{}.{:06}", value.as_secs(), value.subsec_micros()),
        }
    }
}

type Label<'a> = (&'static str, &'a str);

/// Writes the samples of one family.
struct Samples<'o> {
    name: &'static str,
    out: &'o mut String,
}

impl Samples<'_> {
    fn add(&mut self, labels: &[Label<'_>], value: impl Into<Value>) {
        self.add_suffixed("", labels, value.into());
    }

    fn add_suffixed(&mut self, suffix: &str, labels: &[Label<'_>], value: Value) {
        if value == Value::None {
            return;
        }
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        for (index, (name, text)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape(text, self.out);
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// Buckets, the last one without bound, then sum and count.
    fn add_histogram(&mut self, labels: &[Label<'_>], histogram: &Histogram) {
        let Some((_, count)) = histogram.buckets.last() else {
            return;
        };
        let bounded = histogram
            .buckets
            .iter()
            .filter_map(|(bound, count)| Some(((*bound)?, *count)));
        for (bound, below) in bounded {
            let bound = Value::from(bound).to_string();
            let labels: Vec<Label<'_>> = labels.iter().copied().chain([("le", &*bound)]).collect();
            self.add_suffixed("_bucket", &labels, below.into());
        }
        let unbounded: Vec<Label<'_>> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        self.add_suffixed("_bucket", &unbounded, (*count).into());
        self.add_suffixed("_sum", labels, histogram.sum.into());
        self.add_suffixed("_count", labels, (*count).into());
    }
}

impl Family {
    fn write_samples(&self, snapshot: &Snapshot, out: &mut String) {
        let name = self.name;
        let mut samples = Samples { name, out };
        match self.source {
            Source::Process(value) => samples.add(&[], value(snapshot)),
            Source::Frontend(value) => {
                for frontend in &snapshot.frontends {
                    samples.add(&[("proxy", &frontend.name)], value(frontend));
                }
            }
            Source::Backend(value) => {
                for backend in &snapshot.backends {
                    samples.add(&[("proxy", &backend.name)], value(backend));
                }
            }
            Source::Server(value) => {
                for (backend, server) in servers(snapshot) {
                    samples.add(&server_labels(backend, server), value(server));
                }
            }
            Source::Labelled(write) => write(snapshot, &mut samples),
        }
    }
}

fn servers(snapshot: &Snapshot) -> impl Iterator<Item = (&BackendStats, &ServerStats)> {
    let backends = snapshot.backends.iter();
    backends.flat_map(|backend| backend.servers.iter().map(move |server| (backend, server)))
}

fn server_labels<'a>(backend: &'a BackendStats, server: &'a ServerStats) -> [Label<'a>; 2] {
    [("proxy", &backend.name), ("server", &server.name)]
}

/// Label values: backslash, quote and line feed are escaped (exposition format 0.0.4).
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}
