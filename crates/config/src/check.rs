//! Sections to a model: reads each line with its keyword's parse function, hands settings down from
//! `defaults`, and lets `resolve` tie the names together.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::args::Args;
use crate::ast::{Line, Modifier, Section};
use crate::diagnostics::{Diagnostic, Severity};
use crate::draft::Draft;
use crate::environment::Environment;
use crate::expr::{self, Asked, AuthUse, Reference, Stage, TableUse};
use crate::keywords::check_draft::CheckDraft;
use crate::keywords::checks;
use crate::keywords::crt_store::{self, CrtStoreDraft};
use crate::keywords::errors::{self, ErrorSection};
use crate::keywords::global::GlobalDraft;
use crate::keywords::legacy;
use crate::keywords::own::{self, DiscoveryDraft, RegistryDraft};
use crate::keywords::resolvers::{self, ResolversDraft};
use crate::keywords::sections;
use crate::keywords::server_origin::OriginsByBackend;
use crate::keywords::userlist::{self, UserlistDraft};
use crate::keywords::{
    self, Bases, Defaults, GLOBAL_TABLES, Keyword, PROXY_TABLES, ProxyKeyword, Scope, SectionKind,
    Status,
};
use crate::lexer::Word;
use crate::lists::{List, Lists};
use crate::model::{Config, Global, Proxy, Resolvers, Runtime};
use crate::nearest::did_you_mean_among_many;
use crate::source::Span;
use crate::values;

/// Everything read, nothing tied together yet.
pub(crate) struct Drafts {
    pub(crate) global: GlobalDraft,
    /// Frontends, backends and listens, in file order.
    pub(crate) proxies: Vec<Draft>,
    pub(crate) discovery: Option<DiscoveryDraft>,
    pub(crate) registry: Option<RegistryDraft>,
    pub(crate) runtime: Runtime,
    /// Sections and servers named in expressions.
    pub(crate) references: Vec<Reference>,
    pub(crate) userlists: Vec<UserlistDraft>,
    /// Sections `healthcheck`, by name.
    pub(crate) healthchecks: BTreeMap<Arc<str>, CheckDraft>,
    /// Sections `resolvers`, in file order.
    pub(crate) resolvers: Vec<Arc<Resolvers>>,
    /// `default-server` lines of each backend.
    pub(crate) origins: OriginsByBackend,
    /// Userlists named in expressions.
    pub(crate) auth_uses: Vec<AuthUse>,
    /// Stick tables that are named anywhere.
    pub(crate) table_uses: Vec<TableUse>,
    /// Pattern files, in the order they are named.
    pub(crate) lists: Vec<Arc<List>>,
}

/// Builds the model from what was written. The model is only whole when no alert was reported.
pub(crate) fn check(
    sections: &[Section],
    environment: &Environment<'_>,
    report: &mut Vec<Diagnostic>,
) -> Config {
    let shared = RefCell::new(std::mem::take(report));
    let references = RefCell::new(Vec::new());
    let uses = RefCell::new(Vec::new());
    let tables = RefCell::new(Vec::new());
    let lists = RefCell::new(Lists::default());
    let asked = Cell::default();
    let mut checker = Checker {
        environment,
        report: &shared,
        references: &references,
        uses: &uses,
        tables: &tables,
        lists: &lists,
        asked: &asked,
        acls: RefCell::default(),
        told: &RefCell::default(),
        global: GlobalDraft {
            global: Global::default(),
            bases: Bases::default(),
            zero_warning: false,
        },
        anonymous: Draft::new(SectionKind::Defaults, "".into(), Span::default()),
        defaults: BTreeMap::new(),
        users: BTreeMap::new(),
        proxies: Vec::new(),
        discovery: None,
        registry: None,
        runtime: Runtime::default(),
        userlists: Vec::new(),
        healthchecks: BTreeMap::new(),
        resolvers: Vec::new(),
        origins: OriginsByBackend::new(),
    };
    let mut error_sections_read = false;
    for section in sections {
        if section.kind != SectionKind::Global && !error_sections_read {
            // Proxies may name those that come later.
            error_sections_read = true;
            let named = sections.iter();
            named
                .filter(|section| section.kind == SectionKind::HttpErrors)
                .for_each(|section| checker.http_errors(section));
        }
        checker.section(section);
    }
    let mut global = checker.global;
    global.global.environment = environment.variables();
    let drafts = Drafts {
        global,
        proxies: checker.proxies,
        discovery: checker.discovery,
        registry: checker.registry,
        runtime: checker.runtime,
        references: references.take(),
        userlists: checker.userlists,
        healthchecks: checker.healthchecks,
        resolvers: checker.resolvers,
        origins: checker.origins,
        auth_uses: uses.take(),
        table_uses: tables.take(),
        lists: lists.take().into_vec(),
    };
    let zero_warning = drafts.global.zero_warning;
    *report = shared.into_inner();
    let mut config = crate::resolve::resolve(drafts, environment, report);
    for frontend in &mut config.frontends {
        frontend.asked = asked.get();
    }
    if zero_warning {
        refuse_warnings(report);
    }
    config
}

/// `zero-warning`: a configuration that gives a warning is not used (manual 3.3).
fn refuse_warnings(report: &mut Vec<Diagnostic>) {
    let warned = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Warning;
    if report.iter().any(warned) {
        report.push(
            Diagnostic::new(
                Severity::Alert,
                None,
                "some warnings were found and 'zero-warning' is set",
            )
            .help("mend what was warned of, or remove 'zero-warning' from 'global'"),
        );
    }
}

struct Checker<'a> {
    environment: &'a Environment<'a>,
    report: &'a RefCell<Vec<Diagnostic>>,
    references: &'a RefCell<Vec<Reference>>,
    uses: &'a RefCell<Vec<AuthUse>>,
    tables: &'a RefCell<Vec<TableUse>>,
    lists: &'a RefCell<Lists>,
    asked: &'a Cell<Asked>,
    /// ACLs of the section that is read.
    acls: RefCell<expr::acl::AclTable>,
    told: &'a RefCell<BTreeSet<String>>,
    global: GlobalDraft,
    /// The last `defaults` section, named or not: what a section without `from` inherits.
    anonymous: Draft,
    /// By name; a name may be given twice as long as nobody says `from` it.
    defaults: BTreeMap<Arc<str>, Vec<Draft>>,
    /// Who uses a `defaults` section that has rules, by its place.
    users: BTreeMap<Span, SectionKind>,
    proxies: Vec<Draft>,
    discovery: Option<DiscoveryDraft>,
    registry: Option<RegistryDraft>,
    runtime: Runtime,
    userlists: Vec<UserlistDraft>,
    healthchecks: BTreeMap<Arc<str>, CheckDraft>,
    resolvers: Vec<Arc<Resolvers>>,
    /// What servers of later sections may begin with.
    origins: OriginsByBackend,
}

impl Checker<'_> {
    fn report(&self, diagnostic: Diagnostic) {
        self.report.borrow_mut().push(diagnostic);
    }

    fn section(&mut self, section: &Section) {
        match section.kind {
            SectionKind::Global => self.global(section),
            SectionKind::Defaults => self.defaults(section),
            SectionKind::Frontend | SectionKind::Backend | SectionKind::Listen => {
                self.proxy(section);
            }
            SectionKind::Discovery => {
                let mut draft = self.discovery.take().unwrap_or_default();
                self.own(section, own::DISCOVERY, &mut draft);
                self.discovery = Some(draft);
            }
            SectionKind::Registry => {
                let mut draft = self.registry.take().unwrap_or_default();
                draft.span = section.span;
                self.own(section, own::REGISTRY, &mut draft);
                self.registry = Some(draft);
            }
            SectionKind::Runtime => {
                let mut draft = std::mem::take(&mut self.runtime);
                self.own(section, own::RUNTIME, &mut draft);
                self.runtime = draft;
            }
            SectionKind::Healthcheck => self.healthcheck(section),
            SectionKind::Userlist => self.userlist(section),
            SectionKind::CrtStore => self.crt_store(section),
            SectionKind::Resolvers => self.resolvers(section),
            // Read before all others.
            SectionKind::HttpErrors => {}
            SectionKind::Other(name) => self.unread(name, section),
        }
    }

    /// A section of HAProxy's whose lines are not looked at.
    fn unread(&self, name: &str, section: &Section) {
        let Some(unread) = sections::unread_section(name) else {
            return;
        };
        let title = format!("section {name}");
        if let Some(told) = keywords::verdict(&title, &unread.status, section.span) {
            let told = match told.severity {
                Severity::Alert => told.label("its lines were not looked at"),
                _ => told,
            };
            self.report(told);
        }
    }

    fn global(&mut self, section: &Section) {
        self.no_arguments(section);
        for line in &section.lines {
            // A copy, because a line changes what later lines see and is itself read with it.
            let bases = self.global.bases.clone();
            let scope = Scope {
                environment: self.environment,
                report: self.report,
                references: self.references,
                userlists: self.uses,
                acls: &self.acls,
                tables: self.tables,
                lists: self.lists,
                asked: self.asked,
                told: self.told,
                bases: &bases,
                origins: &self.origins,
            };
            let outcome = apply(GLOBAL_TABLES, line, "global", &scope, |parse, args| {
                parse(&mut self.global, args, &scope)
            });
            if let Err(problem) = outcome {
                scope.report(problem);
            }
        }
    }

    fn userlist(&mut self, section: &Section) {
        let name = match section.arguments.first() {
            Some(word) => values::name(word, "userlist"),
            None => Err(
                Diagnostic::alert(section.span.after(), "'userlist' expects a name")
                    .label("nothing follows"),
            ),
        };
        let name = name.unwrap_or_else(|problem| {
            self.report(problem);
            "".into()
        });
        if let Some(word) = section.arguments.get(1) {
            self.report(Diagnostic::alert(
                word.span,
                format!(
                    "'userlist' cannot handle unexpected argument '{}'",
                    word.text
                ),
            ));
        }
        let mut draft = UserlistDraft::named(name);
        self.words_of(section, userlist::KEYWORDS, &mut draft);
        if self.userlists.iter().any(|known| known.name == draft.name) {
            self.report(Diagnostic::warning(
                section.span,
                format!("ignoring duplicated userlist '{}'", draft.name),
            ));
            return;
        }
        self.userlists.push(draft);
    }

    /// `healthcheck NAME` (manual 3.14).
    fn healthcheck(&mut self, section: &Section) {
        let Some(word) = section.arguments.first() else {
            let place = section.span.after();
            let alert = Diagnostic::alert(place, "'healthcheck' expects a name");
            self.report(alert.label("nothing follows"));
            return;
        };
        let mut draft = CheckDraft::default();
        self.words_of(section, checks::SECTION, &mut draft);
        if draft.kind.is_none() {
            let message = format!("healthcheck section '{}' has no 'type'", word.text);
            self.report(
                Diagnostic::alert(section.span, message).help("write 'type httpchk' in it"),
            );
        }
        let name: Arc<str> = word.text.as_str().into();
        if self.healthchecks.insert(name, draft).is_some() {
            let message = format!("healthcheck section '{}' already exists", word.text);
            self.report(Diagnostic::alert(word.span, message));
        }
    }

    /// `resolvers NAME`.
    fn resolvers(&mut self, section: &Section) {
        let Some(word) = section.arguments.first() else {
            let place = section.span.after();
            let alert = Diagnostic::alert(place, "missing name for resolvers section");
            self.report(alert.label("nothing follows"));
            return;
        };
        let name = values::name(word, "resolvers").unwrap_or_else(|problem| {
            self.report(problem);
            "".into()
        });
        let mut draft = ResolversDraft::named(name);
        self.words_of(section, resolvers::KEYWORDS, &mut draft);
        let settled = draft.settle(section.span, &mut self.report.borrow_mut());
        if self.resolvers.iter().any(|it| it.name == settled.name) {
            let message = format!("resolvers '{}' has same name as another one", settled.name);
            self.report(Diagnostic::alert(word.span, message));
        }
        self.resolvers.push(Arc::new(settled));
    }

    /// `crt-store [NAME]`.
    fn crt_store(&mut self, section: &Section) {
        let name = section.arguments.first();
        let mut draft = CrtStoreDraft::named(name.map_or("", |word| &word.text));
        self.words_of(section, crt_store::KEYWORDS, &mut draft);
        for (name, (stored, place)) in draft.certificates {
            let used = self.proxies.iter().flat_map(|it| &it.front.binds);
            let used = used.filter_map(|bind| bind.tls.as_ref().zip(Some(bind.span)));
            let mut used = used.filter(|(tls, _)| tls.names_certificate(&name));
            if let Some((_, used)) = used.next() {
                let message = format!("'{}' is in use already", name.display());
                let label = format!("line {} has read it without these files", used.line);
                let alert = Diagnostic::alert(place, message).label(label);
                self.report(alert.help("move the 'crt-store' above the section that uses it"));
                continue;
            }
            if self
                .global
                .bases
                .stored
                .insert(name.clone(), place)
                .is_some()
            {
                let message = format!("'{}' is loaded twice", name.display());
                self.report(Diagnostic::alert(place, message));
            }
            self.global.global.tls.stored.insert(name, stored);
        }
    }

    /// `http-errors NAME`.
    fn http_errors(&mut self, section: &Section) {
        let Some(name) = section.arguments.first() else {
            let place = section.span.after();
            let alert = Diagnostic::alert(place, "missing name for http-errors section");
            self.report(alert.label("nothing follows"));
            return;
        };
        let mut draft = ErrorSection {
            span: section.span,
            ..ErrorSection::default()
        };
        self.words_of(section, errors::SECTION, &mut draft.pages);
        let sections = &mut self.global.bases.error_sections;
        let Some(known) = sections.get(name.text.as_str()).cloned() else {
            sections.insert(name.text.as_str().into(), draft);
            return;
        };
        {
            self.report(Diagnostic::alert(
                name.span,
                format!(
                    "http-errors section '{}' already exists (declared on line {})",
                    name.text, known.span.line
                ),
            ));
        }
    }

    fn own<T>(
        &mut self,
        section: &Section,
        table: &'static [Keyword<own::OwnParse<T>, ()>],
        draft: &mut T,
    ) {
        self.no_arguments(section);
        self.words_of(section, table, draft);
    }

    /// The lines of a section that has a table of its own.
    fn words_of<T>(
        &self,
        section: &Section,
        table: &'static [Keyword<own::OwnParse<T>, ()>],
        draft: &mut T,
    ) {
        let scope = self.scope();
        for line in &section.lines {
            let name = section.kind.name();
            let outcome = apply(&[table], line, name, &scope, |parse, args| {
                parse(draft, args, &scope)
            });
            if let Err(problem) = outcome {
                scope.report(problem);
            }
        }
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            environment: self.environment,
            report: self.report,
            references: self.references,
            userlists: self.uses,
            acls: &self.acls,
            tables: self.tables,
            lists: self.lists,
            asked: self.asked,
            told: self.told,
            bases: &self.global.bases,
            origins: &self.origins,
        }
    }

    fn no_arguments(&self, section: &Section) {
        if let Some(word) = section.arguments.first() {
            self.report(Diagnostic::alert(
                word.span,
                format!(
                    "'{}' cannot handle unexpected argument '{}'",
                    section.kind.name(),
                    word.text
                ),
            ));
        }
    }

    fn defaults(&mut self, section: &Section) {
        let header = self.header(section);
        if let Some(from) = header.from {
            let parent = self.parent(from);
            if has_rules(&parent.proxy) {
                let message = format!(
                    "a defaults section cannot inherit from a defaults section defining TCP/HTTP rules (line {})",
                    parent.proxy.span.line
                );
                let alert = Diagnostic::alert(from.span, message);
                self.report(
                    alert.help("say 'from' in the frontends or backends that need the rules"),
                );
            }
        }
        let mut draft = match &header.from {
            // A `defaults` section starts from HAProxy's own defaults unless it says `from`.
            Some(from) => self
                .parent(from)
                .heir(section.kind, header.name.clone(), section.span),
            None => Draft::new(section.kind, header.name.clone(), section.span),
        };
        draft.anonymous = header.name.is_empty();
        self.lines(section, &mut draft);
        if !draft.anonymous {
            let named = self.defaults.entry(draft.proxy.name.clone()).or_default();
            named.push(draft.clone());
        }
        self.anonymous = draft;
    }

    fn proxy(&mut self, section: &Section) {
        let header = self.header(section);
        if header.name.is_empty() {
            self.report(
                Diagnostic::alert(
                    section.span.after(),
                    format!("'{}' expects a name", section.kind.name()),
                )
                .label("nothing follows"),
            );
        }
        let parent = match &header.from {
            Some(from) => self.parent(from),
            None => &self.anonymous,
        };
        let from = parent.proxy.span;
        let rules = has_rules(&parent.proxy);
        let mut draft = parent.heir(section.kind, header.name, section.span);
        if rules {
            self.one_side(from, section);
        }
        if !header.address.is_empty() {
            let scope = self.scope();
            let read = legacy::address(&mut draft, header.address, &scope);
            read.unwrap_or_else(|problem| scope.report(problem));
        }
        self.lines(section, &mut draft);
        if matches!(section.kind, SectionKind::Backend | SectionKind::Listen) {
            let name = draft.proxy.name.clone();
            self.origins.insert(name, draft.back.origins.kept());
        }
        self.proxies.push(draft);
    }

    /// Rules handed down to both sides of a connection would be carried out twice.
    fn one_side(&mut self, defaults: Span, section: &Section) {
        let before = *self.users.entry(defaults).or_insert(section.kind);
        let mixed = matches!(
            (before, section.kind),
            (SectionKind::Frontend, SectionKind::Backend)
                | (SectionKind::Backend, SectionKind::Frontend)
        );
        if mixed {
            self.report(
                Diagnostic::alert(
                    section.span,
                    format!(
                        "frontends and backends cannot inherit from the same 'defaults' section (line {}) if it has rules",
                        defaults.line
                    ),
                )
                .help("give each side a 'defaults NAME' section of its own and say 'from NAME'"),
            );
        }
    }

    fn parent(&self, from: &Word) -> &Draft {
        let named = self.defaults.get(from.text.as_str());
        match named.map(Vec::as_slice) {
            Some([parent]) => return parent,
            Some([first, .., last]) => {
                let (one, other) = (first.proxy.span.line, last.proxy.span.line);
                self.report(
                    Diagnostic::alert(
                        from.span,
                        format!("ambiguous 'defaults' name '{}'", from.text),
                    )
                    .label(format!("declared on lines {one} and {other}")),
                );
                return last;
            }
            _ => {}
        }
        let alert = Diagnostic::alert(
            from.span,
            format!("no 'defaults' section is called '{}'", from.text),
        );
        let names = self.defaults.keys().map(|name| &**name);
        let hint = did_you_mean_among_many(&from.text, names, &self.report.borrow());
        self.report(match hint {
            Some(hint) => alert.help(hint),
            None => alert.help("a 'defaults NAME' section must come before it is used"),
        });
        &self.anonymous
    }

    /// `[NAME] [from NAME]`.
    fn header<'s>(&self, section: &'s Section) -> Header<'s> {
        let mut words = section.arguments.iter();
        let accepts = matches!(section.kind, SectionKind::Frontend | SectionKind::Listen);
        let mut header = Header {
            name: "".into(),
            from: None,
            address: &[],
        };
        let mut next = words.next();
        if let Some(word) = next.filter(|word| !word.is("from")) {
            match values::name(word, section.kind.name()) {
                Ok(name) => header.name = name,
                Err(problem) => {
                    self.report(problem);
                    header.name = word.text.as_str().into();
                }
            }
            next = words.next();
        }
        if let Some(word) = next.filter(|word| word.is("from")) {
            header.from = words.next();
            if header.from.is_none() {
                let place = word.span.after();
                let message = "'from' expects the name of a 'defaults' section";
                self.report(Diagnostic::alert(place, message).label("nothing follows"));
            }
            next = words.next();
        }
        let is_address = |word: &&Word| word.text.contains([':', '/', '@']);
        if accepts && next.is_some_and(|word| is_address(&word)) && header.from.is_none() {
            header.address = section.arguments.get(1..).unwrap_or_default();
            return header;
        }
        if let Some(word) = next {
            let mut alert = Diagnostic::alert(
                word.span,
                format!(
                    "'{}' cannot handle unexpected argument '{}'",
                    section.kind.name(),
                    word.text
                ),
            );
            if section.kind != SectionKind::Defaults {
                alert = alert.help("give the address to listen on in a 'bind' line");
            }
            self.report(alert);
        }
        header
    }

    fn lines(&self, section: &Section, draft: &mut Draft) {
        let scope = self.scope();
        let uses_before = self.uses.borrow().len();
        self.acls.replace(draft.acls.clone());
        declare_acls(section, draft, &scope);
        let name = section.kind.name();
        for line in &section.lines {
            let outcome =
                allowed(PROXY_TABLES, line, draft).and_then(|is_allowed| match is_allowed {
                    true => apply(PROXY_TABLES, line, name, &scope, |parse, args| {
                        parse(draft, args, &scope)
                    }),
                    false => Ok(()),
                });
            if let Err(problem) = outcome {
                scope.report(problem);
            }
        }
        legacy::settle(draft, &scope);
        keywords::options::settle_names(draft, &scope);
        let uses = self.uses.borrow();
        let lists = uses.iter().skip(uses_before).map(|used| used.list.clone());
        draft.auth_lists.extend(lists);
        // Who says no name means the proxy's own table.
        let mut tables = self.tables.borrow_mut();
        let own = tables.extract_if(.., |used| used.name.is_none());
        draft.stick.own_uses.extend(own);
    }
}

/// Whether there are rules to be handed down.
fn has_rules(proxy: &Proxy) -> bool {
    !proxy.http_request.is_empty()
        || !proxy.http_response.is_empty()
        || !proxy.http_after_response.is_empty()
        || proxy.tcp.has_any()
}

struct Header<'s> {
    name: Arc<str>,
    from: Option<&'s Word>,
    /// What stands where HAProxy 1.x had the address to listen on, and its parameters.
    address: &'s [Word],
}

/// Declares all ACLs of a section before its rules are read: a later `acl` line of the same name
/// counts for earlier rules too (manual 7).
fn declare_acls(section: &Section, draft: &mut Draft, scope: &Scope<'_>) {
    if draft.anonymous {
        return;
    }
    let acls = section.lines.iter().filter(|line| line.words[0].is("acl"));
    for line in acls {
        // What looks at other ACLs behind its name is rare; a copy for each line would be dear.
        if line.words.iter().skip(2).any(|it| it.text.contains("acl")) {
            scope.acls.replace(draft.acls.clone());
        }
        let context = scope.expressions(Stage::Declaration);
        let Some((name, _)) = line.words[1..].split_first() else {
            let place = line.words[0].span.after();
            scope.report(Diagnostic::alert(
                place,
                "'acl' expects a name and a criterion",
            ));
            continue;
        };
        if let Err(problem) = expr::acl::declare(&line.words[1..], &mut draft.acls, &context) {
            scope.report(problem);
            // The name exists all the same: its uses are not wrong as well.
            let never = Word {
                text: "always_false".to_owned(),
                ..name.clone()
            };
            let _ = expr::acl::declare(&[name.clone(), never], &mut draft.acls, &context);
        }
    }
    scope.acls.replace(draft.acls.clone());
}

/// Finds the keyword of a line and has it read, or says what is wrong with it.
fn apply<P: Copy, S>(
    tables: &[&'static [Keyword<P, S>]],
    line: &Line,
    section: &str,
    scope: &Scope<'_>,
    parse: impl FnOnce(P, &mut Args<'_>) -> Result<(), Diagnostic>,
) -> Result<(), Diagnostic> {
    let Some((keyword, taken)) = keywords::find(tables.iter().copied(), &line.words) else {
        let names: Vec<&'static str> = tables
            .iter()
            .flat_map(|table| table.iter().map(|keyword| keyword.name))
            .collect();
        return Err(keywords::unknown(
            &line.words,
            section,
            &names,
            &scope.report.borrow(),
        ));
    };
    keywords::check_modifier(keyword, line)?;
    let place = line.words[0].span.to(line.words[taken - 1].span);
    match &keyword.status {
        // What is not there is off already.
        Status::NotYet if line.modifier != Modifier::None => Ok(()),
        Status::Accepted(_) | Status::Translated(..)
            if line.modifier != Modifier::None && is_option(line) =>
        {
            Ok(())
        }
        Status::Implemented(function) | Status::Translated(_, function) => {
            parse(*function, &mut Args::new(line, keyword.name, taken))
        }
        status => {
            let said = keywords::verdict(keyword.name, status, place);
            if let Some(diagnostic) = said {
                scope.report_verdict(keyword.name, status, diagnostic);
            }
            Ok(())
        }
    }
}

fn is_option(line: &Line) -> bool {
    line.words[0].is("option")
}

/// Whether the keyword of the line is read in this kind of section. One that belongs to the other
/// side is ignored with a warning, as HAProxy does; in `defaults` it is an error.
fn allowed(
    tables: &[&'static [ProxyKeyword]],
    line: &Line,
    draft: &Draft,
) -> Result<bool, Diagnostic> {
    let Some((keyword, taken)) = keywords::find(tables.iter().copied(), &line.words) else {
        return Ok(true);
    };
    let place = line.words[0].span.to(line.words[taken - 1].span);
    let sides = keyword.sections;
    if draft.kind == SectionKind::Defaults {
        return match (sides.defaults, draft.anonymous) {
            (Defaults::Yes, _) | (Defaults::Named, false) => Ok(true),
            (Defaults::Named, true) => Err(Diagnostic::alert(
                place,
                format!(
                    "'{}' not allowed in anonymous 'defaults' section",
                    keyword.name
                ),
            )
            .help("give the section a name: 'defaults NAME'")),
            (Defaults::No, _) => Err(Diagnostic::alert(
                place,
                format!("'{}' not allowed in 'defaults' section", keyword.name),
            )),
        };
    }
    if (sides.front && draft.is_front()) || (sides.back && draft.is_back()) {
        return Ok(true);
    }
    let missing = if sides.front { "frontend" } else { "backend" };
    let message = format!(
        "'{}' ignored because {} has no {missing} capability",
        keyword.name,
        draft.title()
    );
    // A server that gets no traffic is more than a slip.
    if keyword.name == "server" || keyword.name == "server-template" {
        return Err(Diagnostic::alert(
            place,
            format!(
                "'{}' not allowed because {} has no backend capability",
                keyword.name,
                draft.title()
            ),
        )
        .help("put it into a 'backend' or 'listen' section"));
    }
    Err(Diagnostic::warning(place, message)
        .help(format!("move it to a '{missing}' or 'listen' section")))
}
