//! The journal at work: changes are written before their command is answered, carried out again at the start
//! (after the configuration and the server state file: they are the newer word), shown and forgotten.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use config::model::{CliLevel, SeverityOutput, StatsSocketSettings};
use engine::snapshot::Event;
use engine::{KeptFile, Level};
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use super::answer::{Answer, Call, Gravity};
use super::journal::{ENTRIES_MAX, Entries, Entry, FILE_LEN_MAX};
use super::session::Session;
use super::table::{self, Found, Row, changes, shows};

pub(super) const ROWS: &[Row] = &[
    Row {
        // What was put into lists may be a secret.
        level: CliLevel::Admin,
        ..shows(
            "show journal",
            "",
            "tell the changes that are kept across restarts, and whether they are in force",
            show,
        )
    },
    changes(
        "clear journal",
        "[aside]",
        "forget what is kept (or what is kept aside); what is in force stays so until a restart",
        clear,
    ),
];

/// Superseded lines that the file may have, beyond as many as hold.
const SUPERSEDED_MAX: usize = 256;

/// The journal of one program.
#[derive(Default)]
pub(super) struct Journal {
    file: Option<Arc<KeptFile>>,
    state: RefCell<State>,
    /// One write at a time, in the order of the changes.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    entries: Entries,
    /// Lines in the file; `None`: it must be written anew.
    lines: Option<usize>,
    /// What is wrong with the file.
    trouble: Option<String>,
}

impl Journal {
    /// Opens and reads it, while it is in reach.
    pub(super) fn open(path: Option<&Path>) -> Self {
        let Some(path) = path else {
            return Self::default();
        };
        let mut state = State::default();
        let file = match KeptFile::open(path) {
            Ok(file) => Some(Arc::new(file)),
            Err(error) => {
                state.trouble = Some(format!("{}: {error}", path.display()));
                None
            }
        };
        let found = file
            .as_ref()
            .map_or(Ok(None), |file| file.read(FILE_LEN_MAX));
        let read = found.and_then(|text| match text {
            None => Ok(0),
            Some(text) => state.entries.read(&text, table::change_of),
        });
        state.trouble = match read {
            Ok(0) => state.trouble,
            Ok(damaged) => Some(format!("{}: {damaged} lines are damaged", path.display())),
            Err(why) => Some(format!("{} cannot be used: {why}", path.display())),
        };
        Self {
            file,
            state: RefCell::new(state),
            writing: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.file.is_some() || self.state.borrow().trouble.is_some()
    }
}

/// Keeps what a command has changed; done when this ends.
pub(super) async fn keep(api: &Api, words: &[String], payload: Option<&str>, by: &str) {
    let Some(file) = api.journal.file.clone() else {
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let at = now.map_or(0, |now| now.as_secs());
    let by: String = by
        .chars()
        .map(|it| if it.is_whitespace() { '_' } else { it })
        .collect();
    let commands = commands(api, words, payload);
    let mut lost = 0;
    let mut lines = String::new();
    for words in commands {
        let Some(change) = table::change_of(&words) else {
            continue;
        };
        let entry = Entry {
            at,
            by: if by.is_empty() {
                "-".to_owned()
            } else {
                by.clone()
            },
            words,
            change,
            aside: None,
        };
        let line = entry.line();
        let put = line.is_some() && api.journal.state.borrow_mut().entries.put(entry);
        match line.filter(|_| put) {
            Some(line) => lines += &line,
            None => lost += 1,
        }
    }
    if lost > 0 {
        let line = format!(
            "Journal: {lost} changes are not kept: it is full, or they are no single line."
        );
        api.handle.log(Level::Warning, &line);
    }
    if !lines.is_empty() {
        write(api, file, lines).await;
    }
}

/// A command as commands that stand alone: one for each line of a payload, lists by their names.
fn commands(api: &Api, words: &[String], payload: Option<&str>) -> Vec<Vec<String>> {
    let mut words = words.to_vec();
    let is_list = words
        .get(1)
        .is_some_and(|word| word == "map" || word == "acl");
    if is_list
        && let Some(name) = words.get_mut(2)
        && let Some(number) = name
            .strip_prefix('#')
            .and_then(|it| it.parse::<usize>().ok())
        && let Some(list) = api
            .handle
            .config()
            .lists
            .iter()
            .find(|list| list.id == number)
    {
        *name = list.name.to_string();
    }
    let Some(payload) = payload.filter(|_| is_list) else {
        return vec![words];
    };
    let has_values = words[1] == "map";
    let lines = payload.lines().filter(|line| !line.is_empty());
    let of_line = |line: &str| {
        let mut words = words.clone();
        match line.split_once([' ', '\t']).filter(|_| has_values) {
            Some((key, value)) => {
                words.extend([key.to_owned(), value.trim_matches([' ', '\t']).to_owned()]);
            }
            None => words.push(line.to_owned()),
        }
        words
    };
    lines.map(of_line).collect()
}

/// Adds lines to the file, or writes it anew where that is due.
async fn write(api: &Api, file: Arc<KeptFile>, new: String) {
    let _turn = api.journal.writing.lock().await;
    let added = new.matches('\n').count();
    let (whole, lines) = {
        let state = api.journal.state.borrow();
        let hold = state.entries.all.len();
        match state.lines.map(|lines| lines + added) {
            Some(lines) if lines <= 2 * hold + SUPERSEDED_MAX => (None, lines),
            _ => (Some(state.entries.text()), hold),
        }
    };
    let writing = tokio::task::spawn_blocking(move || match whole {
        Some(text) => file.replace(|file| file.write_all(text.as_bytes())),
        None => file.append(new.as_bytes()),
    });
    let written = writing.await.map_err(std::io::Error::other).flatten();
    let mut state = api.journal.state.borrow_mut();
    let trouble = written
        .err()
        .map(|error| format!("it cannot be written: {error}"));
    // What is in the file now is not known.
    state.lines = trouble.is_none().then_some(lines);
    if let Some(why) = trouble
        .as_ref()
        .filter(|why| state.trouble.as_ref() != Some(why))
    {
        let line = format!("Journal: {why}; changes are made and not kept.");
        api.handle.log(Level::Warning, &line);
    }
    state.trouble = trouble;
}

/// Carries out what is kept, in the order in which it was made; what cannot be is kept aside, and told.
pub(super) fn replay(api: &Api) {
    if let Some(trouble) = &api.journal.state.borrow().trouble {
        api.handle
            .log(Level::Warning, &format!("Journal: {trouble}"));
    }
    let all = std::mem::take(&mut api.journal.state.borrow_mut().entries.all);
    if all.is_empty() {
        return;
    }
    let mut session = Session::new(
        StatsSocketSettings {
            level: CliLevel::Admin,
            severity: SeverityOutput::None,
            ..StatsSocketSettings::default()
        },
        std::time::Duration::ZERO,
    );
    (session.expert, session.experimental) = (true, true);
    let mut aside = 0;
    let mut done = Vec::with_capacity(all.len());
    for mut entry in all {
        entry.aside = carry_out(api, &mut session, &entry.words);
        if let Some(why) = &entry.aside {
            aside += 1;
            let told = table::told_of(&entry.words);
            let line = format!("Journal: '{told}' is kept aside: {why}");
            api.handle.log(Level::Warning, &line);
        }
        done.push(entry);
    }
    let in_force = done.len() - aside;
    let line = format!(
        "Journal: {in_force} changes of the Runtime API are in force again, {aside} are kept aside."
    );
    api.handle.log(Level::Notice, &line);
    api.journal.state.borrow_mut().entries.all = done;
}

/// Runs for ever: what is kept holds against a file that is read anew, too, as after a restart.
pub(super) async fn follow_reloads(api: Rc<Api>) {
    let mut events = api.handle.events();
    loop {
        match events.recv().await {
            // One that was missed may have been it.
            Ok(Event::Reloaded) | Err(RecvError::Lagged(_)) => replay(&api),
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// One command; why it does not apply any more.
fn carry_out(api: &Api, session: &mut Session, words: &[String]) -> Option<String> {
    let as_str: Vec<&str> = words.iter().map(String::as_str).collect();
    match as_str[..] {
        // It may be there already: a list is not read anew when all others are.
        ["add", kind @ ("map" | "acl"), list, key, ..] => {
            let _ = run(api, session, &["del", kind, list, key].map(str::to_owned));
        }
        // One that is under way, or over, need not begin anew.
        ["drain", "server", name, ..]
            if name.split_once('/').is_some_and(|(backend, server)| {
                let found = api.handle.server(backend, server);
                found.is_ok_and(|it| it.drain.is_some())
            }) =>
        {
            return None;
        }
        // What is not there needs no deleting.
        ["del", "map" | "acl", ..] => {
            return run(api, session, words).filter(|why| why != "Key not found.");
        }
        // Whatever it is doing.
        ["del", "server", server, ..] => {
            let words = ["del", "server", server, "drain", "over", "0"].map(str::to_owned);
            return run(api, session, &words).filter(|why| !why.starts_with("No such"));
        }
        _ => {}
    }
    let is_new = as_str.first() == Some(&"add");
    run(api, session, words).filter(|why| !(is_new && why.starts_with("Already exists")))
}

fn run(api: &Api, session: &mut Session, words: &[String]) -> Option<String> {
    let config = api.handle.config();
    let answer = match table::find(words, session) {
        Found::Refused(answer) => answer,
        Found::Row(row, args) => (row.run)(&mut Call {
            config: &config,
            handle: &api.handle,
            api,
            session,
            args,
            payload: None,
        }),
    };
    match answer {
        Answer::Message(Gravity::Error, why) => Some(why.trim_end().to_owned()),
        _ => None,
    }
}

fn show(call: &mut Call<'_>) -> Answer {
    let journal = &call.api.journal;
    if !journal.is_on() {
        return Answer::info("The journal is off: section 'runtime' has no 'journal'.");
    }
    let state = journal.state.borrow();
    let path = journal
        .file
        .as_ref()
        .map(|file| file.path().display().to_string());
    let mut text = format!(
        "# journal {}: {} entries, {ENTRIES_MAX} at most\n",
        path.unwrap_or_default(),
        state.entries.all.len()
    );
    if let Some(trouble) = &state.trouble {
        text += &format!("# trouble: {trouble}\n");
    }
    text += "# time by state command\n";
    for entry in &state.entries.all {
        let time = i64::try_from(entry.at).ok();
        let time = time.and_then(|at| jiff::Timestamp::from_second(at).ok());
        let aside = entry.aside.as_ref().map(|why| format!("aside ({why})"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} {} {} {}",
            time.unwrap_or_default(),
            entry.by,
            aside.as_deref().unwrap_or("in-force"),
            super::journal::written(&entry.words).unwrap_or_default(),
        );
    }
    Answer::Text(text)
}

fn clear(call: &mut Call<'_>) -> Answer {
    let journal = &call.api.journal;
    let Some(file) = journal.file.clone() else {
        return Answer::error("The journal is off: section 'runtime' has no 'journal'.");
    };
    let mut state = journal.state.borrow_mut();
    match call.arg(0) {
        "" => state.entries.all.clear(),
        "aside" => state.entries.all.retain(|entry| entry.aside.is_none()),
        _ => return Answer::error("'clear journal' accepts 'aside' or nothing."),
    }
    let text = state.entries.text();
    // Rare, and short: the answer waits for it.
    match file.replace(|file| file.write_all(text.as_bytes())) {
        Ok(()) => {
            state.lines = Some(state.entries.all.len());
            Answer::Done
        }
        Err(error) => {
            state.lines = None;
            Answer::error(format!("The journal cannot be written: {error}"))
        }
    }
}
