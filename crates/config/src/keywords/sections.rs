//! The keywords that open a section (manual 2.1), at any place of a file.

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
    /// Users and groups.
    Userlist,
    /// Known to HAProxy, not implemented yet: its lines are not looked at.
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
            Self::HttpErrors => "http-errors",
            Self::Userlist => "userlist",
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
    SectionKind::Other("acme"),
    SectionKind::Other("cache"),
    SectionKind::Other("crt-list"),
    SectionKind::Other("crt-store"),
    SectionKind::Other("fcgi-app"),
    SectionKind::Other("healthcheck"),
    SectionKind::Other("log-forward"),
    SectionKind::Other("log-profile"),
    SectionKind::Other("mailers"),
    SectionKind::Other("peers"),
    SectionKind::Other("program"),
    SectionKind::Other("resolvers"),
    SectionKind::Other("ring"),
    SectionKind::Other("traces"),
    SectionKind::Userlist,
    SectionKind::HttpErrors,
];

/// The section this word opens.
pub(crate) fn find(word: &str) -> Option<SectionKind> {
    KINDS.iter().copied().find(|kind| kind.name() == word)
}

/// All of them.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name())
}
