//! What the balancer tells of itself, read back: the CSV table and the Prometheus text.

use std::collections::BTreeMap;

/// The table of `/stats;csv` (management.txt 9.1).
#[derive(Debug, Clone)]
pub struct Table {
    /// Column names, in order.
    pub columns: Vec<String>,
    rows: Vec<BTreeMap<String, String>>,
}

impl Table {
    /// Panics on what is not such a table.
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !line.is_empty());
        let header = lines.next().unwrap_or_default();
        let header = header
            .strip_prefix("# ")
            .unwrap_or_else(|| panic!("no CSV header: {header:?}"));
        let columns: Vec<String> = header.split(',').map(str::to_owned).collect();
        let rows = lines.map(|line| {
            let values = line.split(',').map(str::to_owned);
            columns.iter().cloned().zip(values).collect()
        });
        Self {
            rows: rows.collect(),
            columns: columns.clone(),
        }
    }

    /// One value, if the row and the column exist.
    pub fn try_get(&self, proxy: &str, server: &str, column: &str) -> Option<&str> {
        let row = self
            .rows
            .iter()
            .find(|row| row["pxname"] == proxy && row["svname"] == server)?;
        row.get(column).map(String::as_str)
    }

    /// One value. `server` may be `FRONTEND` or `BACKEND`.
    pub fn get(&self, proxy: &str, server: &str, column: &str) -> &str {
        self.try_get(proxy, server, column)
            .unwrap_or_else(|| panic!("no {column} of {proxy}/{server} in {:#?}", self.rows))
    }

    /// One value as a number; an empty one is 0.
    pub fn number(&self, proxy: &str, server: &str, column: &str) -> u64 {
        let value = self.get(proxy, server, column);
        if value.is_empty() {
            return 0;
        }
        value
            .parse()
            .unwrap_or_else(|_| panic!("{column} of {proxy}/{server} is {value:?}"))
    }

    /// All rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = &BTreeMap<String, String>> {
        self.rows.iter()
    }

    /// Names of the servers of a backend.
    pub fn servers(&self, backend: &str) -> Vec<&str> {
        let rows = self.rows.iter().filter(|row| row["pxname"] == backend);
        let names = rows.map(|row| row["svname"].as_str());
        names
            .filter(|name| !["FRONTEND", "BACKEND"].contains(name))
            .collect()
    }
}

/// The Prometheus text format.
#[derive(Debug, Clone)]
pub struct Metrics {
    samples: Vec<(String, f64)>,
    text: String,
}

impl Metrics {
    /// Panics on a line that is neither a comment nor a sample.
    pub fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (series, value) = line
                .rsplit_once(' ')
                .unwrap_or_else(|| panic!("no sample: {line:?}"));
            let value = value
                .parse()
                .unwrap_or_else(|_| panic!("no number in {line:?}"));
            (series.to_owned(), value)
        });
        Self {
            samples: samples.collect(),
            text: text.to_owned(),
        }
    }

    /// Sum over the series of that name that carry all of `labels` (each as `name="value"`).
    /// `None` when there is none.
    pub fn sum(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let wanted = |series: &str| {
            let (bare, rest) = series.split_once('{').unwrap_or((series, ""));
            bare == name && labels.iter().all(|label| rest.contains(label))
        };
        let mut found = self.samples.iter().filter(|(series, _)| wanted(series));
        let first = found.next()?.1;
        Some(found.fold(first, |sum, (_, value)| sum + value))
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }
}
