//! Every keyword there is in one list, with what becomes of it here: what the tables of `keywords`
//! and `expr` say. The reference pages are written from it, and a test compares it with the index of
//! HAProxy's manual.

use crate::expr;
use crate::keywords::{
    self, Defaults, GLOBAL_TABLES, Keyword, PROXY_TABLES, Sides, Status, absent, bind, checks,
    crt_store, errors, own, params::Parameter, resolvers, rules, sections, server, tcp_rules,
    userlist,
};

/// What becomes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It does what the manual says.
    Implemented,
    /// HAProxy has removed it; it does what it did.
    Translated,
    /// It is read and has no effect, which is harmless.
    Accepted,
    /// It is read and has no effect, which is told.
    NotInForce,
    /// It is refused, with a reason and something else to do.
    Refused,
    /// It is known, and refused until it works.
    Missing,
}

impl Fate {
    /// All of them, in the order of the reference pages.
    pub const ALL: [Self; 6] = [
        Self::Implemented,
        Self::Translated,
        Self::Accepted,
        Self::NotInForce,
        Self::Refused,
        Self::Missing,
    ];

    /// One or two words for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Implemented => "implemented",
            Self::Translated => "translated",
            Self::Accepted => "accepted",
            Self::NotInForce => "not in force",
            Self::Missing => "not yet",
            Self::Refused => "refused",
        }
    }
}

/// One keyword.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its family: "global", "bind", "http-request", "fetch" … as in [`FAMILIES`].
    pub family: String,
    /// How it is written.
    pub name: String,
    /// Where it may stand, for proxy keywords; else empty.
    pub place: String,
    /// What becomes of it.
    pub fate: Fate,
    /// Why, and what to do instead; empty where there is nothing to say.
    pub note: String,
}

/// The families whose names do not begin with "section": what they are called, and what they are.
pub const FAMILIES: &[(&str, &str)] = &[
    ("section", "Sections"),
    ("global", "Section `global`"),
    (
        "proxy",
        "Sections `defaults`, `frontend`, `listen`, `backend`",
    ),
    ("bind", "Parameters of `bind`"),
    ("server", "Parameters of `server` and `default-server`"),
    ("quic-initial", "Actions of `quic-initial`"),
    (
        "tcp-request connection",
        "Actions of `tcp-request connection`",
    ),
    ("tcp-request session", "Actions of `tcp-request session`"),
    ("tcp-request content", "Actions of `tcp-request content`"),
    ("tcp-response content", "Actions of `tcp-response content`"),
    ("http-request", "Actions of `http-request`"),
    ("http-response", "Actions of `http-response`"),
    ("http-after-response", "Actions of `http-after-response`"),
    ("filter", "Filters"),
    ("service", "Services (`use-service`)"),
    ("fetch", "Sample fetches"),
    ("converter", "Converters"),
];

/// All keywords, family by family; within one by name.
pub fn known() -> Vec<Known> {
    let mut all = Vec::new();
    for table in GLOBAL_TABLES {
        words(&mut all, "global", table, |()| String::new());
    }
    for table in PROXY_TABLES {
        words(&mut all, "proxy", table, |sides| places(*sides));
    }
    parameters(&mut all, "bind", bind::PARAMETERS);
    parameters(&mut all, "server", server::PARAMETERS);
    words(&mut all, "section userlist", userlist::KEYWORDS, |()| {
        String::new()
    });
    words(&mut all, "section healthcheck", checks::SECTION, |()| {
        String::new()
    });
    words(&mut all, "section resolvers", resolvers::KEYWORDS, |()| {
        String::new()
    });
    words(&mut all, "section http-errors", errors::SECTION, |()| {
        String::new()
    });
    words(&mut all, "section crt-store", crt_store::KEYWORDS, |()| {
        String::new()
    });
    parameters(&mut all, "crt-store load", crt_store::PARAMETERS);
    words(&mut all, "section discovery", own::DISCOVERY, |()| {
        String::new()
    });
    words(&mut all, "section registry", own::REGISTRY, |()| {
        String::new()
    });
    words(&mut all, "section runtime", own::RUNTIME, |()| {
        String::new()
    });
    let service = Status::Implemented(());
    for name in ["prometheus-exporter", "node-push"] {
        all.push(Known::new("service", name, &service));
    }
    all.extend(sections::known());
    all.extend(absent::known());
    all.extend(rules::known());
    all.extend(tcp_rules::known());
    all.extend(keywords::filters::known());
    all.extend(expr::known());
    let rank = |family: &str| {
        let known = FAMILIES.iter().position(|(name, _)| *name == family);
        known.unwrap_or(FAMILIES.len())
    };
    all.sort_by_cached_key(|it| {
        (
            rank(&it.family),
            it.family.clone(),
            it.name.clone(),
            it.fate,
        )
    });
    // A list of what is missing may name what a table has meanwhile.
    all.dedup_by(|later, first| later.family == first.family && later.name == first.name);
    all
}

impl Known {
    /// One with the status a table gives it.
    pub(crate) fn new<P>(family: &str, name: &str, status: &Status<P>) -> Self {
        let (fate, note) = match status {
            Status::Implemented(_) => (Fate::Implemented, String::new()),
            Status::Accepted(why) => (Fate::Accepted, (*why).to_owned()),
            Status::NotInForce(instead) => (Fate::NotInForce, (*instead).to_owned()),
            Status::NotYet => (Fate::Missing, String::new()),
            Status::Translated(write, _) => (Fate::Translated, format!("write {write}")),
            Status::Removed(write) => {
                let note = format!("HAProxy has removed it; write {write}");
                (Fate::Refused, note)
            }
            Status::Refused(why, instead) => (Fate::Refused, format!("{why}; {instead}")),
        };
        Self {
            family: family.to_owned(),
            name: name.to_owned(),
            place: String::new(),
            fate,
            note,
        }
    }
}

fn words<P, S>(
    all: &mut Vec<Known>,
    family: &str,
    table: &[Keyword<P, S>],
    place: impl Fn(&S) -> String,
) {
    all.extend(table.iter().map(|keyword| Known {
        place: place(&keyword.sections),
        ..Known::new(family, keyword.name, &keyword.status)
    }));
}

fn parameters<P>(all: &mut Vec<Known>, family: &str, table: &[Parameter<P>]) {
    let known = |parameter: &Parameter<P>| Known::new(family, parameter.name, &parameter.status);
    all.extend(table.iter().map(known));
}

/// The columns of the matrix in manual 4.1, as words.
fn places(sides: Sides) -> String {
    let defaults = match sides.defaults {
        Defaults::No => None,
        Defaults::Named => Some("defaults NAME"),
        Defaults::Yes => Some("defaults"),
    };
    let places = [
        defaults,
        sides.front.then_some("frontend"),
        Some("listen"),
        sides.back.then_some("backend"),
    ];
    places.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
