//! The keywords that open a section (manual 2.1), at any place of a file.

use super::Status;
use super::filters::{FCGI, FCGI_INSTEAD};
use crate::registry::Known;

/// Which section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionKind {
    Global,
    Defaults,
    Frontend,
    Backend,
    Listen,
    /// Our own: where the node list comes from.
    Discovery,
    /// Our own: the embedded node registry.
    Registry,
    /// Pages for errors, to be named by proxies.
    HttpErrors,
    /// Changes at run time, and what of them is kept.
    Runtime,
    /// Checks that servers name.
    Healthcheck,
    /// Users and groups.
    Userlist,
    /// Certificates and their files.
    CrtStore,
    /// Nameservers that servers name.
    Resolvers,
    /// Known to HAProxy, and not read: see [`Unread`].
    Other(&'static str),
}

impl SectionKind {
    /// The keyword that opens it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Defaults => "defaults",
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Listen => "listen",
            Self::Discovery => "discovery",
            Self::Registry => "registry",
            Self::Runtime => "runtime",
            Self::HttpErrors => "http-errors",
            Self::Healthcheck => "healthcheck",
            Self::Userlist => "userlist",
            Self::CrtStore => "crt-store",
            Self::Resolvers => "resolvers",
            Self::Other(name) => name,
        }
    }
}

const KINDS: &[SectionKind] = &[
    SectionKind::Global,
    SectionKind::Defaults,
    SectionKind::Frontend,
    SectionKind::Backend,
    SectionKind::Listen,
    SectionKind::Discovery,
    SectionKind::Registry,
    SectionKind::Runtime,
    SectionKind::Userlist,
    SectionKind::Healthcheck,
    SectionKind::CrtStore,
    SectionKind::HttpErrors,
    SectionKind::Resolvers,
];

/// A section whose lines are not looked at.
pub(crate) struct Unread {
    pub(crate) name: &'static str,
    pub(crate) status: Status<()>,
    /// Its keywords.
    words: &'static [&'static str],
}

const fn unread(name: &'static str, status: Status<()>, words: &'static [&'static str]) -> Unread {
    Unread {
        name,
        status,
        words,
    }
}

/// Sections of HAProxy that are not had here, or not yet.
pub(crate) const UNREAD: &[Unread] = &[
    unread(
        "acme",
        Status::Refused(
            "certificates are not ordered here",
            "let certbot or another ACME client write them, and send SIGHUP: they are read again",
        ),
        &[
            "account-key",
            "acme-vars",
            "bits",
            "challenge",
            "challenge-ready",
            "contact",
            "curves",
            "directory",
            "dns-delay",
            "dns-timeout",
            "eab-key-id",
            "eab-mac-alg",
            "eab-mac-key",
            "keytype",
            "map",
            "profile",
            "provider-name",
            "reuse-key",
        ],
    ),
    unread(
        "cache",
        Status::NotInForce(super::filters::CACHE),
        &[
            "early-hints",
            "max-age",
            "max-object-size",
            "max-secondary-entries",
            "process-vary",
            "total-max-size",
        ],
    ),
    unread(
        "fcgi-app",
        Status::Refused(FCGI, FCGI_INSTEAD),
        &[
            "acl",
            "docroot",
            "index",
            "log-stderr",
            "option",
            "pass-header",
            "path-info",
            "set-param",
        ],
    ),
    unread(
        "log-forward",
        Status::Refused(
            "log lines of others are not relayed",
            "let rsyslog, syslog-ng or vector do it",
        ),
        &[
            "backlog",
            "bind",
            "dgram-bind",
            "log",
            "maxconn",
            "option",
            "timeout",
        ],
    ),
    unread(
        "log-profile",
        Status::Refused(
            "a session has one line, written at its end",
            "say what it looks like with 'log-format'",
        ),
        &["log-tag", "on"],
    ),
    unread(
        "mailers",
        Status::NotInForce("no mail is sent: watch the log or the metrics instead"),
        &["mailer", "timeout"],
    ),
    unread(
        "peers",
        Status::NotInForce("stick tables are not shared with other machines, each counts alone"),
        &[
            "bind",
            "default-bind",
            "default-server",
            "disabled",
            "enabled",
            "log",
            "peer",
            "server",
            "shards",
            "table",
        ],
    ),
    unread(
        "program",
        Status::Refused(
            "no other programs are started or watched",
            "give each a service of its own (systemd, a container)",
        ),
        &["command", "group", "option", "user"],
    ),
    unread(
        "ring",
        Status::Refused(
            "log lines are not kept in memory",
            "send them by UDP or to a Unix socket: 'log ADDRESS FACILITY'",
        ),
        &[
            "backing-file",
            "description",
            "format",
            "maxlen",
            "server",
            "size",
            "timeout",
        ],
    ),
    unread(
        "traces",
        Status::Accepted("it serves HAProxy's own developers"),
        &["trace"],
    ),
];

/// The section this word opens.
pub(crate) fn find(word: &str) -> Option<SectionKind> {
    let read = KINDS.iter().copied().find(|kind| kind.name() == word);
    read.or_else(|| unread_section(word).map(|section| SectionKind::Other(section.name)))
}

/// What becomes of a section that is not read.
pub(crate) fn unread_section(name: &str) -> Option<&'static Unread> {
    UNREAD.iter().find(|section| section.name == name)
}

/// All of them.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let unread = UNREAD.iter().map(|section| section.name);
    KINDS.iter().map(|kind| kind.name()).chain(unread)
}

/// All of them and the keywords of those that are not read, for the reference.
pub(crate) fn known() -> impl Iterator<Item = Known> {
    let read = KINDS
        .iter()
        .map(|kind| Known::new("section", kind.name(), &Status::Implemented(())));
    let unread = UNREAD.iter().flat_map(|section| {
        let family = format!("section {}", section.name);
        let itself = Known::new("section", section.name, &section.status);
        let word = move |word: &&str| Known::new(&family, word, &section.status);
        std::iter::once(itself).chain(section.words.iter().map(word))
    });
    read.chain(unread)
}
