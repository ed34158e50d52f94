//! Metrics in Prometheus's text format 0.0.4. Names and labels are those of HAProxy's exporter where
//! it has the same thing (`families`), so that dashboards and alerts go on working; what only we have
//! begins with `tidegate_` (`own`). What there is stands in these tables.

mod absent;
mod families;
mod listeners;
mod own;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use super::{Condition, Report, condition};
use crate::snapshot::{
    BackendStats, FrontendStats, Histogram, ListenerStats, ServerStats, Snapshot,
};

/// The type under which the text is sent.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Which metrics are asked for, as HAProxy's exporter understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    scopes: Vec<Scope>,
    /// `no-maint`: no servers in maintenance.
    no_maint: bool,
    /// `metrics=`: only these, if any.
    wanted: Vec<String>,
    /// `metrics=-…`: not these.
    unwanted: Vec<String>,
}

/// What metrics are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Global,
    Frontend,
    Listener,
    Backend,
    Server,
    Sticktable,
}

const SCOPES: [(&str, Scope); 6] = [
    ("global", Scope::Global),
    ("frontend", Scope::Frontend),
    ("listener", Scope::Listener),
    ("backend", Scope::Backend),
    ("server", Scope::Server),
    ("sticktable", Scope::Sticktable),
];

impl Query {
    /// Reads what stands behind the question mark: `scope=…`, any number of times (`*` is all, nothing
    /// takes back those before), `no-maint`, `metrics=…`. `None`: there is no such scope.
    pub fn new(query: &str) -> Option<Self> {
        let all = || SCOPES.iter().map(|(_, scope)| *scope).collect();
        let mut read = Self {
            scopes: all(),
            no_maint: false,
            wanted: Vec::new(),
            unwanted: Vec::new(),
        };
        let mut chosen = false;
        for word in query.split('&') {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "scope" => {
                    if !chosen || value.is_empty() {
                        read.scopes.clear();
                    }
                    chosen = true;
                    match value {
                        "" => {}
                        "*" => read.scopes = all(),
                        // There are none of these.
                        "resolver" => {}
                        name => {
                            let scope = SCOPES.iter().find(|(known, _)| *known == name);
                            read.scopes.push(scope?.1);
                        }
                    }
                }
                "no-maint" => read.no_maint = true,
                "metrics" => {
                    for name in value.split([',', '+']).filter(|name| !name.is_empty()) {
                        match name.strip_prefix('-') {
                            Some(name) => read.unwanted.push(name.to_owned()),
                            None => read.wanted.push(name.to_owned()),
                        }
                    }
                }
                _ => {}
            }
        }
        Some(read)
    }

    fn wants(&self, family: &Family) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == family.name);
        self.scopes.contains(&family.scope())
            && (self.wanted.is_empty() || named(&self.wanted))
            && !named(&self.unwanted)
    }
}

/// Servers written in one step.
const SERVERS_A_STEP: usize = 32;

/// All metrics of a snapshot that are asked for. A family without a sample is left out.
pub struct Metrics {
    snapshot: Snapshot,
    query: Query,
    /// Servers that are shown, by their positions.
    servers: Vec<(usize, usize)>,
    families: std::iter::Peekable<Box<dyn Iterator<Item = &'static Family>>>,
    /// Servers of the family at hand that were written already.
    written: usize,
    /// Whether its head was written.
    headed: bool,
}

impl Metrics {
    /// Of a snapshot.
    pub fn new(snapshot: Snapshot, query: Query) -> Self {
        let mut servers = Vec::new();
        for (at, backend) in snapshot.backends.iter().enumerate() {
            let shown =
                |server: &ServerStats| !query.no_maint || condition(server) != Condition::Maint;
            let all = backend.servers.iter().enumerate();
            let shown = all.filter(|(_, server)| shown(server));
            servers.extend(shown.map(|(inner, _)| (at, inner)));
        }
        let families: Box<dyn Iterator<Item = &'static Family>> = Box::new(families::all());
        Self {
            snapshot,
            query,
            servers,
            families: families.peekable(),
            written: 0,
            headed: false,
        }
    }
}

impl Report for Metrics {
    fn step(&mut self, out: &mut String) -> bool {
        let Some(family) = self.families.peek().copied() else {
            return false;
        };
        let mut left = 0;
        if self.query.wants(family) {
            let begin = out.len();
            if !self.headed {
                let _ = writeln!(out, "# HELP {} {}", family.name, family.help);
                let _ = writeln!(out, "# TYPE {} {}", family.name, family.kind.name());
            }
            let headed = out.len();
            let servers = &self.servers[self.written..];
            let batch = &servers[..servers.len().min(SERVERS_A_STEP)];
            left = servers.len() - batch.len();
            let of_servers = family.write_samples(&self.snapshot, batch, out);
            if !of_servers {
                left = 0;
            }
            if out.len() > headed {
                self.headed = true;
            } else {
                out.truncate(begin);
            }
        }
        if left > 0 {
            self.written += SERVERS_A_STEP;
        } else {
            (self.written, self.headed) = (0, false);
            self.families.next();
        }
        true
    }
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
    /// A sample a listener: `proxy`, `listener`.
    Listener(fn(&ListenerStats) -> Value),
    /// Samples with labels of their own.
    Labelled(fn(&Snapshot, &mut Samples)),
    /// The same, of one listener.
    EachListener(fn(&FrontendStats, &ListenerStats, &mut Samples)),
    /// The same, of one server: of those there may be many.
    EachServer(fn(&BackendStats, &ServerStats, &mut Samples)),
}

/// A value. Nothing is written for [`Value::None`].
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    None,
    Number(u64),
    Seconds(Duration),
    /// "Never", as HAProxy's exporter has it.
    MinusOne,
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
            Self::MinusOne => f.write_str("-1"),
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
    /// What it is about, by its name.
    fn scope(&self) -> Scope {
        let mut words = self.name.split('_');
        let word = words.nth(1).unwrap_or_default();
        let scope = SCOPES.iter().find(|(known, _)| *known == word);
        scope.map_or(Scope::Global, |(_, scope)| *scope)
    }

    /// Writes the samples, those of servers for a few of them; whether it is about servers.
    fn write_samples(
        &self,
        snapshot: &Snapshot,
        servers: &[(usize, usize)],
        out: &mut String,
    ) -> bool {
        let name = self.name;
        let mut samples = Samples { name, out };
        let servers = servers.iter().map(|(at, inner)| {
            let backend = &snapshot.backends[*at];
            (backend, &backend.servers[*inner])
        });
        let frontends = snapshot.frontends.iter();
        let listeners = || {
            let of = |it: &'_ FrontendStats| it.listeners.len();
            frontends.clone().flat_map(move |frontend| {
                (0..of(frontend)).map(move |at| (frontend, &frontend.listeners[at]))
            })
        };
        match self.source {
            Source::Process(value) => samples.add(&[], value(snapshot)),
            Source::Frontend(value) => {
                for frontend in frontends {
                    samples.add(&[("proxy", &frontend.name)], value(frontend));
                }
            }
            Source::Backend(value) => {
                for backend in &snapshot.backends {
                    samples.add(&[("proxy", &backend.name)], value(backend));
                }
            }
            Source::Listener(value) => {
                for (frontend, listener) in listeners() {
                    let labels = [("proxy", &*frontend.name), ("listener", &*listener.name)];
                    samples.add(&labels, value(listener));
                }
            }
            Source::EachListener(write) => {
                for (frontend, listener) in listeners() {
                    write(frontend, listener, &mut samples);
                }
            }
            Source::Labelled(write) => write(snapshot, &mut samples),
            Source::Server(value) => {
                for (backend, server) in servers {
                    samples.add(&server_labels(backend, server), value(server));
                }
                return true;
            }
            Source::EachServer(write) => {
                for (backend, server) in servers {
                    write(backend, server, &mut samples);
                }
                return true;
            }
        }
        false
    }
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
