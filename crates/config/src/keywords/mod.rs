//! The registry: every keyword of HAProxy 2.6 to 3.x, where it is allowed, and what becomes of it
//! here. Parser, messages and reference pages read these tables; a keyword exists nowhere else.
//!
//! One file per family. To add a keyword, write its entry in the family's table and its parse
//! function beside it.

pub(crate) mod absent;
pub(crate) mod actions;
mod balance;
pub(crate) mod bind;
pub(crate) mod capture;
pub(crate) mod check_draft;
mod check_expect;
mod check_steps;
pub(crate) mod checks;
pub(crate) mod common;
pub(crate) mod conduct;
pub(crate) mod cookie;
pub(crate) mod crt_store;
mod edits;
pub(crate) mod errors;
pub(crate) mod external_checks;
pub(crate) mod filters;
mod forwarded;
pub(crate) mod global;
mod known_checks;
pub(crate) mod legacy;
pub(crate) mod log;
pub(crate) mod options;
pub(crate) mod outgoing;
pub(crate) mod own;
pub(crate) mod params;
pub(crate) mod proxy;
pub(crate) mod removed;
pub(crate) mod reply;
pub(crate) mod resolvers;
pub(crate) mod retries;
pub(crate) mod rules;
pub(crate) mod sections;
pub(crate) mod server;
pub(crate) mod server_agent;
pub(crate) mod server_health;
pub(crate) mod server_load;
pub(crate) mod server_origin;
pub(crate) mod sockets;
pub(crate) mod stats;
pub(crate) mod stats_socket;
pub(crate) mod stick;
pub(crate) mod tcp_rules;
pub(crate) mod timeouts;
pub(crate) mod tls;
pub(crate) mod userlist;
mod waits;

pub(crate) use sections::SectionKind;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::args::Args;
use crate::ast::{Line, Modifier};
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::environment::Environment;
use crate::expr::acl::AclTable;
use crate::expr::{Asked, AuthUse, Context, Reference, Stage, TableUse};
use crate::lexer::Word;
use crate::lists::Lists;
use crate::nearest::did_you_mean_among_many;
use crate::source::Span;

/// What becomes of a keyword. `P` is the parse function of its family.
pub(crate) enum Status<P> {
    /// It does what the manual says.
    Implemented(P),
    /// It is read and has no effect; the text says why that is harmless here.
    Accepted(&'static str),
    /// It is read and restricts nothing; the text says what is in force instead. Worth a warning.
    NotInForce(&'static str),
    /// It has a meaning that would be missed: the configuration is refused.
    NotYet,
    /// HAProxy has removed it, and it does here what it did; what to write instead.
    Translated(&'static str, P),
    /// HAProxy has removed it; what to write instead.
    Removed(&'static str),
    /// It will not be had; why, and what to do instead.
    Refused(&'static str, &'static str),
}

/// One entry of a table. `S` says where it is allowed.
pub(crate) struct Keyword<P, S> {
    /// One or more words: "option httplog".
    pub(crate) name: &'static str,
    pub(crate) sections: S,
    pub(crate) status: Status<P>,
    /// Whether `no` and `default` may stand before it.
    pub(crate) inverts: bool,
}

/// Where a proxy keyword is allowed: the columns of the matrix in manual 4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sides {
    pub(crate) defaults: Defaults,
    pub(crate) front: bool,
    pub(crate) back: bool,
}

/// Whether a keyword may stand in a `defaults` section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defaults {
    No,
    /// "(!)": only in a named one.
    Named,
    Yes,
}

const fn sides(defaults: Defaults, front: bool, back: bool) -> Sides {
    Sides {
        defaults,
        front,
        back,
    }
}

/// Everywhere.
pub(crate) const ALL: Sides = sides(Defaults::Yes, true, true);
/// `frontend`, `listen`, `defaults`.
pub(crate) const FRONT: Sides = sides(Defaults::Yes, true, false);
/// `backend`, `listen`, `defaults`.
pub(crate) const BACK: Sides = sides(Defaults::Yes, false, true);
/// Rules: everywhere but in anonymous `defaults`.
pub(crate) const RULES: Sides = sides(Defaults::Named, true, true);
/// Rules of frontends.
pub(crate) const FRONT_RULES: Sides = sides(Defaults::Named, true, false);
/// Rules of backends.
pub(crate) const BACK_RULES: Sides = sides(Defaults::Named, false, true);
/// Everywhere but in `defaults`.
pub(crate) const PROXIES: Sides = sides(Defaults::No, true, true);
/// `frontend` and `listen` only.
pub(crate) const FRONT_ONLY: Sides = sides(Defaults::No, true, false);
/// `backend` and `listen` only.
pub(crate) const BACK_ONLY: Sides = sides(Defaults::No, false, true);

/// Parses one line of a proxy section into its draft.
pub(crate) type ProxyParse = fn(&mut Draft, &mut Args<'_>, &Scope<'_>) -> Result<(), Diagnostic>;
/// An entry of the proxy tables.
pub(crate) type ProxyKeyword = Keyword<ProxyParse, Sides>;

pub(crate) const fn implemented<P, S>(name: &'static str, sections: S, parse: P) -> Keyword<P, S> {
    entry(name, sections, Status::Implemented(parse), false)
}

/// Implemented, and `no …` and `default …` may be written.
pub(crate) const fn invertible<P, S>(name: &'static str, sections: S, parse: P) -> Keyword<P, S> {
    entry(name, sections, Status::Implemented(parse), true)
}

pub(crate) const fn accepted<P, S>(
    name: &'static str,
    sections: S,
    why: &'static str,
) -> Keyword<P, S> {
    entry(name, sections, Status::Accepted(why), is_option(name))
}

/// Accepted, and `no …` and `default …` may be written though it is no option.
pub(crate) const fn accepted_either_way<P, S>(
    name: &'static str,
    sections: S,
    why: &'static str,
) -> Keyword<P, S> {
    entry(name, sections, Status::Accepted(why), true)
}

/// `no` and `default` may stand before options (manual 4.1).
const fn is_option(name: &str) -> bool {
    let (name, prefix) = (name.as_bytes(), b"option ");
    if name.len() < prefix.len() {
        return false;
    }
    let mut at = 0;
    while at < prefix.len() {
        if name[at] != prefix[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Read without an effect that somebody may have counted on.
pub(crate) const fn not_in_force<P, S>(
    name: &'static str,
    sections: S,
    instead: &'static str,
) -> Keyword<P, S> {
    entry(name, sections, Status::NotInForce(instead), is_option(name))
}

pub(crate) const fn not_yet<P, S>(name: &'static str, sections: S) -> Keyword<P, S> {
    entry(name, sections, Status::NotYet, is_option(name))
}

pub(crate) const fn removed<P, S>(
    name: &'static str,
    sections: S,
    write: &'static str,
) -> Keyword<P, S> {
    entry(name, sections, Status::Removed(write), is_option(name))
}

/// Removed from HAProxy, and read as what it meant.
pub(crate) const fn translated<P, S>(
    name: &'static str,
    sections: S,
    write: &'static str,
    parse: P,
) -> Keyword<P, S> {
    entry(
        name,
        sections,
        Status::Translated(write, parse),
        is_option(name),
    )
}

pub(crate) const fn refused<P, S>(
    name: &'static str,
    sections: S,
    why: &'static str,
    instead: &'static str,
) -> Keyword<P, S> {
    entry(
        name,
        sections,
        Status::Refused(why, instead),
        is_option(name),
    )
}

const fn entry<P, S>(
    name: &'static str,
    sections: S,
    status: Status<P>,
    inverts: bool,
) -> Keyword<P, S> {
    Keyword {
        name,
        sections,
        status,
        inverts,
    }
}

/// What parse functions may look at beside their own section.
pub(crate) struct Scope<'a> {
    pub(crate) environment: &'a Environment<'a>,
    /// Warnings and notices, and alerts beyond the one a parse function returns.
    pub(crate) report: &'a RefCell<Vec<Diagnostic>>,
    /// Backends that expressions name.
    pub(crate) references: &'a RefCell<Vec<Reference>>,
    /// Userlists that expressions name.
    pub(crate) userlists: &'a RefCell<Vec<AuthUse>>,
    /// ACLs of the section at hand.
    pub(crate) acls: &'a RefCell<AclTable>,
    /// Stick tables that expressions and rules name.
    pub(crate) tables: &'a RefCell<Vec<TableUse>>,
    /// `crt-base`, `ca-base` and friends, as far as `global` has been read.
    pub(crate) bases: &'a Bases,
    /// `default-server` lines of the sections above.
    pub(crate) origins: &'a server_origin::OriginsByBackend,
    /// Pattern files that were named so far.
    pub(crate) lists: &'a RefCell<Lists>,
    /// What expressions ask for that is kept only then.
    pub(crate) asked: &'a Cell<Asked>,
    /// Keywords of which it was told already that they are not in force.
    pub(crate) told: &'a RefCell<BTreeSet<String>>,
}

/// Settings of `global` that change how later lines are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bases {
    pub(crate) crt: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    /// `key-base`.
    pub(crate) key: Option<PathBuf>,
    /// Certificates that `crt-store` sections have loaded so far, by their names.
    pub(crate) stored: BTreeMap<PathBuf, Span>,
    /// What `bind` lines start from: `ssl-default-bind-…`.
    pub(crate) bind_tls: crate::model::BindTls,
    /// What servers do not say themselves.
    pub(crate) server_tls: Arc<ServerTlsBase>,
    /// `external-check`.
    pub(crate) external_checks: bool,
    /// `insecure-fork-wanted`.
    pub(crate) fork_wanted: bool,
    /// `unix-bind`.
    pub(crate) unix: sockets::UnixBind,
    /// Sections `http-errors`, all of the file.
    pub(crate) error_sections: BTreeMap<Arc<str>, errors::ErrorSection>,
    /// `tune.stick-counters`.
    pub(crate) stick_counters: Option<u8>,
    /// `tune.bufsize`, bytes, when it was given: the longest error page.
    pub(crate) bufsize: Option<usize>,
}

/// What `global` says of TLS for the `server` lines below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerTlsBase {
    /// `ssl-default-server-…`.
    pub(crate) choice: crate::model::TlsChoice,
    /// `no-tls-tickets` in `ssl-default-server-options`.
    pub(crate) no_tickets: bool,
    /// `ssl-server-verify none`.
    pub(crate) verify_none: bool,
}

impl Bases {
    /// To be changed by a line of `global`.
    pub(crate) fn server_tls_mut(&mut self) -> &mut ServerTlsBase {
        Arc::make_mut(&mut self.server_tls)
    }

    /// Counters that may be tracked at once.
    pub(crate) fn stick_counters(&self) -> u8 {
        self.stick_counters.unwrap_or(crate::model::STICK_COUNTERS)
    }
}

impl Scope<'_> {
    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.report.borrow_mut().push(diagnostic);
    }

    /// What is said of a keyword that is not parsed: of one that is not in force only once, because
    /// a hundred `bind` lines tend to repeat it.
    pub(crate) fn report_verdict<P>(&self, name: &str, status: &Status<P>, diagnostic: Diagnostic) {
        let again = matches!(status, Status::NotInForce(_))
            && !self.told.borrow_mut().insert(name.to_owned());
        if !again {
            self.report(diagnostic);
        }
    }

    pub(crate) fn expressions(&self, stage: Stage) -> Context<'_> {
        Context {
            surroundings: self.environment,
            stage,
            notices: self.report,
            references: self.references,
            userlists: self.userlists,
            acls: self.acls,
            tables: self.tables,
            lists: self.lists,
            asked: self.asked,
        }
    }
}

/// The entry whose name's words the line begins with; the longest name wins.
pub(crate) fn find<'t, P, S>(
    tables: impl IntoIterator<Item = &'t [Keyword<P, S>]>,
    words: &[Word],
) -> Option<(&'t Keyword<P, S>, usize)>
where
    P: 'static,
    S: 'static,
{
    // Nearly all names begin otherwise, and there are hundreds for each line.
    let first = words.first()?.text.split('(').next().unwrap_or_default();
    let initial = first.as_bytes().first();
    let begins = |keyword: &&Keyword<P, S>| {
        if keyword.name.as_bytes().first() != initial {
            return false;
        }
        let rest = keyword.name.strip_prefix(first);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let mut best: Option<(&Keyword<P, S>, usize)> = None;
    for keyword in tables.into_iter().flatten().filter(begins) {
        let length = match_length(keyword.name, words);
        if length > best.map_or(0, |(_, length)| length) {
            best = Some((keyword, length));
        }
    }
    best
}

/// How many words the name has, when the line begins with all of them; else 0.
fn match_length(name: &str, words: &[Word]) -> usize {
    let mut length = 0;
    for part in name.split(' ') {
        match words.get(length) {
            // "set-var(txn.x)" is "set-var" with an argument.
            Some(word) if word.text.split('(').next() == Some(part) => length += 1,
            _ => return 0,
        }
    }
    length
}

/// What is said about a keyword whose status is not `Implemented`. `None`: it is.
pub(crate) fn verdict<P>(name: &str, status: &Status<P>, place: Span) -> Option<Diagnostic> {
    Some(match status {
        Status::Implemented(_) | Status::Translated(..) => return None,
        Status::Accepted(why) => Diagnostic::notice(
            place,
            format!("'{name}' is accepted and has no effect: {why}"),
        ),
        Status::NotInForce(instead) => {
            Diagnostic::advice(place, format!("'{name}' is not in force: {instead}"))
                .label("accepted, and restricts nothing")
        }
        Status::NotYet => Diagnostic::alert(place, format!("'{name}' is not implemented yet"))
            .label("known, but it would have no effect")
            .help("remove it, or guard it with .if !feature(TIDEGATE) … .endif"),
        Status::Removed(write) => Diagnostic::alert(
            place,
            format!("the '{name}' directive is not supported anymore"),
        )
        .help(format!("write {write}")),
        Status::Refused(why, instead) => {
            Diagnostic::alert(place, format!("'{name}' is refused: {why}")).help(*instead)
        }
    })
}

/// All tables of section `global`.
pub(crate) const GLOBAL_TABLES: &[&[global::Entry]] = &[
    global::KEYWORDS,
    tls::global::KEYWORDS,
    stats_socket::KEYWORDS,
    global::ACCEPTED,
    global::MISSING,
];

/// All tables of proxy sections.
pub(crate) const PROXY_TABLES: &[&[ProxyKeyword]] = &[
    proxy::KEYWORDS,
    balance::KEYWORDS,
    timeouts::KEYWORDS,
    options::KEYWORDS,
    outgoing::KEYWORDS,
    retries::KEYWORDS,
    rules::KEYWORDS,
    tcp_rules::KEYWORDS,
    capture::KEYWORDS,
    checks::KEYWORDS,
    external_checks::KEYWORDS,
    conduct::KEYWORDS,
    cookie::KEYWORDS,
    errors::KEYWORDS,
    filters::KEYWORDS,
    forwarded::KEYWORDS,
    stats::KEYWORDS,
    stick::KEYWORDS,
    log::KEYWORDS,
    removed::KEYWORDS,
];

/// Whether some keyword of that kind of section begins with this word.
pub(crate) fn is_first_word(kind: SectionKind, word: &str) -> bool {
    first_words(kind).any(|first| first == word)
}

fn first_words(kind: SectionKind) -> Box<dyn Iterator<Item = &'static str>> {
    fn firsts<P, S>(table: &'static [Keyword<P, S>]) -> impl Iterator<Item = &'static str> {
        table
            .iter()
            .map(|keyword| keyword.name.split(' ').next().unwrap_or(keyword.name))
    }
    match kind {
        SectionKind::Global => Box::new(GLOBAL_TABLES.iter().copied().flat_map(firsts)),
        SectionKind::Defaults
        | SectionKind::Frontend
        | SectionKind::Listen
        | SectionKind::Backend => Box::new(PROXY_TABLES.iter().copied().flat_map(firsts)),
        SectionKind::Discovery => Box::new(firsts(own::DISCOVERY)),
        SectionKind::Registry => Box::new(firsts(own::REGISTRY)),
        SectionKind::Runtime => Box::new(firsts(own::RUNTIME)),
        SectionKind::HttpErrors => Box::new(firsts(errors::SECTION)),
        SectionKind::Healthcheck => Box::new(firsts(checks::SECTION)),
        SectionKind::CrtStore => Box::new(firsts(crt_store::KEYWORDS)),
        SectionKind::Resolvers => Box::new(firsts(resolvers::KEYWORDS)),
        SectionKind::Userlist => Box::new(firsts(userlist::KEYWORDS)),
        SectionKind::Other(_) => Box::new(std::iter::empty()),
    }
}

/// What is said of a keyword that no table knows: the nearest one, of several words when the first
/// is right.
pub(crate) fn unknown(
    words: &[Word],
    section: &str,
    names: &[&'static str],
    reported: &[Diagnostic],
) -> Diagnostic {
    let Some(first) = words.first() else {
        return Diagnostic::alert(Span::default(), "empty line");
    };
    let same_first: Vec<&str> = names
        .iter()
        .filter_map(|name| name.split_once(' '))
        .filter(|(head, _)| first.is(head))
        .map(|(_, rest)| rest)
        .collect();
    if same_first.is_empty() {
        let alert = Diagnostic::alert(
            first.span,
            format!("unknown keyword '{}' in '{section}' section", first.text),
        );
        let singles = names
            .iter()
            .map(|name| name.split(' ').next().unwrap_or(name));
        return with_hint(
            alert,
            did_you_mean_among_many(&first.text, singles, reported),
        );
    }
    let Some(second) = words.get(1) else {
        return Diagnostic::alert(
            first.span.after(),
            format!("'{}' expects another word", first.text),
        )
        .label("nothing follows");
    };
    let alert = Diagnostic::alert(
        second.span,
        format!(
            "unknown keyword '{} {}' in '{section}' section",
            first.text, second.text
        ),
    );
    /// More names than this help nobody.
    const NAMES_SHOWN_MAX: usize = 15;
    let hint = did_you_mean_among_many(&second.text, same_first.iter().copied(), reported);
    match hint {
        Some(hint) => alert.help(hint),
        None if same_first.len() <= NAMES_SHOWN_MAX => alert.help(format!(
            "'{}' is followed by {}",
            first.text,
            crate::values::list(&same_first)
        )),
        None => alert,
    }
}

fn with_hint(diagnostic: Diagnostic, hint: Option<String>) -> Diagnostic {
    match hint {
        Some(hint) => diagnostic.help(hint),
        None => diagnostic,
    }
}

/// Checks `no` and `default` against an entry.
pub(crate) fn check_modifier<P, S>(keyword: &Keyword<P, S>, line: &Line) -> Result<(), Diagnostic> {
    if line.modifier == Modifier::None || keyword.inverts {
        return Ok(());
    }
    let word = match line.modifier {
        Modifier::No => "no",
        _ => "default",
    };
    Err(Diagnostic::alert(
        line.span,
        format!("'{word}' is not supported before '{}'", keyword.name),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name twice would hide one of its entries.
    #[test]
    fn each_keyword_has_one_entry() {
        fn check(names: impl Iterator<Item = &'static str>) {
            let mut seen = BTreeSet::new();
            for name in names {
                assert!(seen.insert(name), "'{name}' has two entries");
            }
        }
        check(PROXY_TABLES.iter().copied().flatten().map(|it| it.name));
        check(GLOBAL_TABLES.iter().copied().flatten().map(|it| it.name));
        check(bind::PARAMETERS.iter().map(|it| it.name));
        check(server::PARAMETERS.iter().map(|it| it.name));
        let request = actions::REQUEST.iter().map(|it| it.name());
        let request = request.chain(common::names(common::HTTP_REQUEST));
        check(request.chain(actions::OTHER_REQUEST.iter().copied()));
        let response = actions::RESPONSE.iter().map(|it| it.name());
        let response = response.chain(common::names(common::HTTP_RESPONSE));
        check(response.chain(actions::OTHER_RESPONSE.iter().copied()));
        check(sections::names());
    }
}
