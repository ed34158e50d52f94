//! Every command of the Runtime API, once: help, levels and what is run are read from here. A family
//! of commands has a file of its own, with its rows.

use config::model::CliLevel;

use super::answer::{Answer, Call};
use super::journal::{Change, Changed};
use super::session::Session;
use super::{
    backends, crt_lists, default_servers, drains, fleet, frontends, handing_over, journal_commands,
    limits, lists, live_sessions, ocsp, process, server_checks, servers, session_commands, stat,
    tables, tls, variables,
};

/// What a command needs beyond a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// `expert-mode on`: it can do harm.
    Expert,
    /// `experimental-mode on`: it may change.
    Experimental,
}

/// One command.
pub(super) struct Row {
    /// Its own words: `show stat`.
    pub(super) words: &'static str,
    /// What follows them, for the help.
    pub(super) arguments: &'static str,
    /// What it does, for the help.
    pub(super) help: &'static str,
    /// Who may use it.
    pub(super) level: CliLevel,
    /// See [`Needs`].
    pub(super) needs: Needs,
    /// Whether it changes anything but the connection itself: then the log tells who asked.
    pub(super) changes: bool,
    /// How many words behind its own the log tells then: names and states, never a value, which may be a
    /// secret.
    pub(super) told: usize,
    /// What of it is kept in the journal.
    pub(super) changed: Option<Changed>,
    /// What it does.
    pub(super) run: fn(&mut Call<'_>) -> Answer,
}

/// A command that only looks.
pub(super) const fn shows(
    words: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Call<'_>) -> Answer,
) -> Row {
    Row {
        words,
        arguments,
        help,
        level: CliLevel::User,
        needs: Needs::Nothing,
        changes: false,
        told: 0,
        changed: None,
        run,
    }
}

/// A command that changes something.
pub(super) const fn changes(
    words: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Call<'_>) -> Answer,
) -> Row {
    Row {
        level: CliLevel::Admin,
        changes: true,
        // What it is about: a server, a file, a variable.
        told: 1,
        ..shows(words, arguments, help, run)
    }
}

impl Row {
    /// The same for operators and above.
    pub(super) const fn operator(mut self) -> Self {
        self.level = CliLevel::Operator;
        self
    }

    /// The same with so many words told in the log.
    pub(super) const fn telling(mut self, words: usize) -> Self {
        self.told = words;
        self
    }

    /// The same, kept in the journal.
    pub(super) const fn kept(mut self, changed: Changed) -> Self {
        self.changed = Some(changed);
        self
    }

    /// What the log tells of a call.
    pub(super) fn told(&self, args: &[String]) -> String {
        let mut told = self.words.to_owned();
        for word in args.iter().take(self.told) {
            told.push(' ');
            told.extend(word.chars().map(|c| if c.is_control() { '?' } else { c }));
        }
        if args.len() > self.told {
            told.push_str(" …");
        }
        told
    }

    /// The same in expert mode alone.
    pub(super) const fn expert(mut self) -> Self {
        self.needs = Needs::Expert;
        self.level = CliLevel::Admin;
        self
    }

    /// The same in experimental mode alone.
    pub(super) const fn experimental(mut self) -> Self {
        self.needs = Needs::Experimental;
        self
    }

    /// The words behind its own, when a command is this one.
    fn args<'a>(&self, words: &'a [String]) -> Option<&'a [String]> {
        let mut rest = words;
        for own in self.words.split(' ') {
            let (first, others) = rest.split_first()?;
            if first != own {
                return None;
            }
            rest = others;
        }
        Some(rest)
    }

    fn is_shown_to(&self, session: &Session) -> bool {
        session.level >= self.level
            && match self.needs {
                Needs::Nothing => true,
                Needs::Expert => session.expert,
                Needs::Experimental => session.experimental,
            }
    }

    fn help_line(&self) -> String {
        let gap = if self.arguments.is_empty() { "" } else { " " };
        let usage = format!("{}{gap}{}", self.words, self.arguments);
        format!("  {usage:<40}: {}\n", self.help)
    }
}

/// All families.
const FAMILIES: &[&[Row]] = &[
    process::ROWS,
    handing_over::ROWS,
    stat::ROWS,
    servers::ROWS,
    drains::ROWS,
    journal_commands::ROWS,
    backends::ROWS,
    frontends::ROWS,
    limits::ROWS,
    live_sessions::ROWS,
    server_checks::ROWS,
    fleet::ROWS,
    session_commands::ROWS,
    tables::ROWS,
    lists::ROWS,
    variables::ROWS,
    tls::ROWS,
    crt_lists::ROWS,
    ocsp::ROWS,
    default_servers::ROWS,
];

pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().copied().flatten()
}

/// What a command turned out to be.
pub(super) enum Found<'a> {
    /// This one, with these words behind it.
    Row(&'static Row, &'a [String]),
    /// None that may be run.
    Refused(Answer),
}

/// Looks a command up. Of two rows that fit the longer one is meant.
pub(super) fn find<'a>(words: &'a [String], session: &Session) -> Found<'a> {
    let Some((row, args)) = row_of(words) else {
        return Found::Refused(unknown(words, session));
    };
    if session.level < row.level {
        return Found::Refused(Answer::error("Permission denied"));
    }
    let refuse = |mode| {
        let text = format!("This command is restricted to {mode} mode only.");
        Found::Refused(Answer::error(text))
    };
    match row.needs {
        Needs::Expert if !session.expert => refuse("expert"),
        Needs::Experimental if !session.experimental => refuse("experimental"),
        _ => Found::Row(row, args),
    }
}

/// Which row a command is, whoever may use it, and the words behind its own.
fn row_of(words: &[String]) -> Option<(&'static Row, &[String])> {
    let fits = |row: &'static Row| Some((row, row.args(words)?));
    rows()
        .filter_map(fits)
        .max_by_key(|(row, _)| row.words.len())
}

/// What a command changes that is kept in the journal.
pub(super) fn change_of(words: &[String]) -> Option<Change> {
    let (row, args) = row_of(words)?;
    (row.changed?)(args)
}

/// What the log tells of a command.
pub(super) fn told_of(words: &[String]) -> String {
    row_of(words).map_or_else(String::new, |(row, args)| row.told(args))
}

/// `help`, whole or of what begins with these words.
pub(super) fn help(words: &[String], session: &Session) -> String {
    let mut text = String::from("The following commands are valid at this level:\n");
    list(&mut text, session, |row| {
        let own: Vec<&str> = row.words.split(' ').collect();
        own.iter().zip(words).all(|(own, word)| own == word)
    });
    text
}

fn list(text: &mut String, session: &Session, shown: impl Fn(&Row) -> bool) {
    let mut lines: Vec<String> = rows()
        .filter(|row| !row.words.is_empty() && !is_footer(row))
        .filter(|row| row.is_shown_to(session) && shown(row))
        .map(Row::help_line)
        .collect();
    lines.sort();
    text.extend(lines);
    for footer in rows().filter(|row| is_footer(row)) {
        *text += &footer.help_line();
    }
}

/// Those that stand below every list.
fn is_footer(row: &Row) -> bool {
    ["help", "prompt", "quit"].contains(&row.words)
}

/// An unknown command: those whose first word it has, else all of them.
fn unknown(words: &[String], session: &Session) -> Answer {
    let first = words.first().map_or("", String::as_str);
    let begins = |row: &Row| row.words.split(' ').next() == Some(first);
    let some = rows().any(|row| row.is_shown_to(session) && begins(row));
    let mut text = match some {
        true => format!(
            "Unknown command: '{first}', but maybe one of the following ones is a better match:\n"
        ),
        false => format!(
            "Unknown command: '{first}'. Please enter one of the following commands only:\n"
        ),
    };
    list(&mut text, session, |row| !some || begins(row));
    Answer::error(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_log_tells_names_and_states_and_no_value() {
        let told = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            told_of(&words)
        };
        assert_eq!(told("add acl tokens.lst s3cr3t"), "add acl tokens.lst …");
        assert_eq!(told("set map #1 key value"), "set map #1 …");
        assert_eq!(told("set var proc.key str(s3cr3t)"), "set var proc.key …");
        assert_eq!(
            told("set server be/s1 state drain"),
            "set server be/s1 state drain"
        );
        assert_eq!(told("del acl a\x1b[2J"), "del acl a?[2J");
    }

    #[test]
    fn each_command_is_there_once_and_says_what_it_does() {
        let mut seen = BTreeSet::new();
        for row in rows() {
            assert!(seen.insert(row.words), "'{}' has two rows", row.words);
            assert!(!row.help.is_empty(), "'{}' has no help", row.words);
        }
    }
}
