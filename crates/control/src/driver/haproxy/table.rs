//! HAProxy's answers read: `show servers state`, `show stat`, `show info` (management.txt 9.1, 9.3).
//!
//! Columns are found by their names, since versions add some. An answer that ends early, has a row of
//! another width or begins with anything else is no answer: nothing is concluded from a part of one.

use std::collections::HashMap;

/// Rows under named columns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    columns: HashMap<String, usize>,
    rows: Vec<Vec<String>>,
}

/// A row of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    columns: &'a HashMap<String, usize>,
    cells: &'a [String],
}

/// Where it says what it is.
const NOT_UNDERSTOOD: &str = "its answer is not understood";
const CUT_OFF: &str = "its answer is cut off";

impl Table {
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row {
            columns: &self.columns,
            cells,
        })
    }

    /// Takes the answer to `show servers state` off the front: the number of its format, a header,
    /// words between single spaces, and an empty line.
    pub(super) fn server_states(answer: &str) -> Result<(Self, &str), &'static str> {
        let rest = answer.strip_prefix("1\n# ").ok_or(NOT_UNDERSTOOD)?;
        let (text, rest) = rest.split_once("\n\n").ok_or(CUT_OFF)?;
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let rows = lines.filter(|line| !line.starts_with('#'));
        let rows = rows.map(|line| line.split(' ').map(str::to_owned).collect());
        Ok((Self::new(&header, rows.collect())?, rest))
    }

    /// Reads the answer to `show stat`: CSV with quotes where a cell needs them, and an empty line.
    pub(super) fn stat(answer: &str) -> Result<Self, &'static str> {
        let text = answer.strip_prefix("# ").ok_or(NOT_UNDERSTOOD)?;
        let text = text.strip_suffix("\n\n").ok_or(CUT_OFF)?;
        let (header, rest) = text.split_once('\n').unwrap_or((text, ""));
        let header: Vec<&str> = header.split(',').collect();
        Self::new(&header, csv(rest)?)
    }

    fn new(header: &[&str], rows: Vec<Vec<String>>) -> Result<Self, &'static str> {
        if rows.iter().any(|row| row.len() != header.len()) {
            return Err(CUT_OFF);
        }
        let names = header.iter().enumerate();
        Ok(Self {
            columns: names.map(|(at, name)| ((*name).to_owned(), at)).collect(),
            rows,
        })
    }
}

/// Rows of cells, where `"` puts one around what has a comma, a quote (doubled) or a line end.
fn csv(text: &str) -> Result<Vec<Vec<String>>, &'static str> {
    let mut rows = Vec::new();
    let (mut row, mut cell) = (Vec::new(), String::new());
    let mut rest = text.chars().peekable();
    let mut quoted = false;
    while let Some(next) = rest.next() {
        match next {
            '"' if quoted && rest.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            other => cell.push(other),
        }
    }
    if quoted {
        return Err(CUT_OFF);
    }
    if !row.is_empty() || !cell.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    Ok(rows)
}

impl<'a> Row<'a> {
    /// A cell; empty where this version has no such column.
    pub(super) fn text(&self, column: &str) -> &'a str {
        let at = self.columns.get(column);
        at.and_then(|at| self.cells.get(*at))
            .map_or("", |cell| cell)
    }

    /// A cell that is a number; `None`: it is empty, or something else.
    pub(super) fn optional(&self, column: &str) -> Option<u64> {
        self.text(column).parse().ok()
    }

    /// A number, 0 where there is none.
    pub(super) fn number(&self, column: &str) -> u64 {
        self.optional(column).unwrap_or(0)
    }

    /// A number without which nothing can be said.
    pub(super) fn required(&self, column: &str) -> Result<u64, &'static str> {
        self.optional(column).ok_or(NOT_UNDERSTOOD)
    }
}

/// The answer to `show info`: `Name: value` a line, and an empty one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Info(HashMap<String, String>);

impl Info {
    /// Takes it off the front of an answer.
    pub(super) fn read(answer: &str) -> Result<(Self, &str), &'static str> {
        let (text, rest) = answer.split_once("\n\n").ok_or(CUT_OFF)?;
        if !text.starts_with("Name: ") {
            return Err(NOT_UNDERSTOOD);
        }
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        let pairs = lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Ok((Self(pairs.collect()), rest))
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value)
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: &str = "1\n# be_id be_name srv_id srv_name\n3 b 1 n1\n# a comment\n3 b 2 n2\n\n";

    fn names(table: &Table, column: &str) -> Vec<String> {
        table
            .rows()
            .map(|row| row.text(column).to_owned())
            .collect()
    }

    #[test]
    fn states_are_read_by_the_names_of_their_columns() {
        let answer = format!("{STATES}# more");
        let (table, rest) = Table::server_states(&answer).unwrap();
        assert_eq!(names(&table, "srv_name"), ["n1", "n2"]);
        assert_eq!(names(&table, "srv_unknown"), ["", ""]);
        assert_eq!(rest, "# more");
        let row = table.rows().next().unwrap();
        assert_eq!(
            (row.required("srv_id"), row.optional("srv_name")),
            (Ok(1), None)
        );
        assert!(row.required("srv_name").is_err());
    }

    #[test]
    fn statistics_have_foreign_text_in_quotes() {
        let text = "# pxname,svname,last_chk,\nb,n1,\"a,\"\"b\"\"\nb,n2\",\nb,BACKEND,,\n\n";
        let table = Table::stat(text).unwrap();
        assert_eq!(names(&table, "svname"), ["n1", "BACKEND"]);
        assert_eq!(names(&table, "last_chk"), ["a,\"b\"\nb,n2", ""]);
        assert_eq!(Table::stat("# pxname,\n\n").unwrap().rows().count(), 0);
    }

    #[test]
    fn a_part_of_an_answer_is_none() {
        for end in 0..STATES.len() {
            assert!(Table::server_states(&STATES[..end]).is_err(), "{end}");
        }
        let stat = "# a,b,\n1,2,\n\"3,4\",5,\n\n";
        for end in 0..stat.len() {
            // A whole line more or less would go unnoticed but for the empty one.
            assert!(Table::stat(&stat[..end]).is_err(), "{end}");
        }
        for foreign in [
            "",
            "\n\n",
            "Unknown command\n\n",
            "<html>\n\n",
            "2\n# x\n\n",
        ] {
            assert!(Table::server_states(foreign).is_err());
            assert!(Table::stat(foreign).is_err());
            assert!(Info::read(foreign).is_err());
        }
        assert!(Table::stat("# a,b,\n1,\n\n").is_err());
        assert!(Table::stat("# a,b,\n\"1,\n\n").is_err());
    }

    #[test]
    fn info_is_pairs() {
        let (info, rest) = Info::read("Name: HAProxy\nVersion: 2.6.12\nMaxconn: 9\n\nx").unwrap();
        assert_eq!(
            (info.text("Version"), info.number("Maxconn")),
            ("2.6.12", 9)
        );
        assert_eq!(
            (info.number("Version"), info.text("Nobody"), rest),
            (0, "", "x")
        );
    }

    proptest::proptest! {
        #[test]
        fn no_answer_is_too_odd(
            text in r#"(1\n# |# |Name: |a|é|,|"|""| |:|\n|\n\n|\r|\x00|9){0,40}"#,
        ) {
            if let Ok((table, rest)) = Table::server_states(&text) {
                proptest::prop_assert!(text.ends_with(rest));
                let long = table.rows().filter(|row| row.text("a").len() > text.len());
                proptest::prop_assert_eq!(long.count(), 0);
            }
            if let Ok(table) = Table::stat(&text) {
                let long = table.rows().filter(|row| row.text("a").len() > text.len());
                proptest::prop_assert_eq!(long.count(), 0);
            }
            let _ = Info::read(&text);
        }
    }
}
