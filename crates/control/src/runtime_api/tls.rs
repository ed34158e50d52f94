//! Certificates, CA files and revocation lists, shown and changed by hand (management.txt 9.3,
//! `show|set|new|commit|abort|del ssl cert|ca-file|crl-file`).
//!
//! A change is a transaction: `set` keeps new content aside, `commit` has it checked and taken over by
//! all who use the file, or by nobody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::crt_list;
use config::model::{BindTls, CertificateSource, Config};
use engine::export::described;
use engine::{FileKind, has_key, pem_parts};

use super::answer::{Answer, Call};
use super::table::{Row, changes, shows};

pub(super) const ROWS: &[Row] = &[
    shows(
        "show ssl cert",
        "[<certfile>]",
        "display the SSL certificates used in memory, or the details of a file",
        show_certificates,
    ),
    changes(
        "set ssl cert",
        "<certfile> <payload>",
        "replace a certificate file",
        set_certificate,
    ),
    changes(
        "new ssl cert",
        "<certfile>",
        "create a new certificate file to be used in a crt-list or a directory",
        |call| new(call, Kind::Certificate),
    ),
    changes(
        "commit ssl cert",
        "<certfile>",
        "commit a certificate file",
        |call| commit(call, Kind::Certificate),
    ),
    changes(
        "abort ssl cert",
        "<certfile>",
        "abort a transaction for a certificate file",
        |call| abort(call, Kind::Certificate),
    ),
    changes(
        "del ssl cert",
        "<certfile>",
        "delete an unused certificate file",
        |call| delete(call, Kind::Certificate),
    ),
    shows(
        "show ssl ca-file",
        "[<cafile>[:<index>]]",
        "display the SSL CA files used in memory, or the details of a <cafile>",
        |call| show_list(call, Kind::Authorities),
    ),
    changes(
        "set ssl ca-file",
        "<cafile> <payload>",
        "replace a CA file",
        |call| set_list(call, Kind::Authorities, false),
    ),
    changes(
        "add ssl ca-file",
        "<cafile> <payload>",
        "add a certificate into the CA file",
        |call| set_list(call, Kind::Authorities, true),
    ),
    changes(
        "new ssl ca-file",
        "<cafile>",
        "create a new CA file to be used in a crt-list",
        |call| new(call, Kind::Authorities),
    ),
    changes(
        "commit ssl ca-file",
        "<cafile>",
        "commit a CA file",
        |call| commit(call, Kind::Authorities),
    ),
    changes(
        "abort ssl ca-file",
        "<cafile>",
        "abort a transaction for a CA file",
        |call| abort(call, Kind::Authorities),
    ),
    changes(
        "del ssl ca-file",
        "<cafile>",
        "delete an unused CA file",
        |call| delete(call, Kind::Authorities),
    ),
    shows(
        "show ssl crl-file",
        "[<crlfile[:<index>>]]",
        "display the SSL CRL files used in memory, or the details of a <crlfile>",
        |call| show_list(call, Kind::Revocations),
    ),
    changes(
        "set ssl crl-file",
        "<crlfile> <payload>",
        "replace a CRL file",
        |call| set_list(call, Kind::Revocations, false),
    ),
    changes(
        "new ssl crl-file",
        "<crlfile>",
        "create a new CRL file to be used in a crt-list",
        |call| new(call, Kind::Revocations),
    ),
    changes(
        "commit ssl crl-file",
        "<crlfile>",
        "commit a CRL file",
        |call| commit(call, Kind::Revocations),
    ),
    changes(
        "abort ssl crl-file",
        "<crlfile>",
        "abort a transaction for a CRL file",
        |call| abort(call, Kind::Revocations),
    ),
    changes(
        "del ssl crl-file",
        "<crlfile>",
        "delete an unused CRL file",
        |call| delete(call, Kind::Revocations),
    ),
];

/// Files made by hand at most, and files of a transaction.
const CREATED_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Certificate,
    Authorities,
    Revocations,
}

impl Kind {
    /// What messages call it where something is done to it.
    fn word(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Authorities => "CA file",
            Self::Revocations => "CRL file",
        }
    }

    fn of_engine(self) -> FileKind {
        match self {
            Self::Certificate => FileKind::Certificate,
            Self::Authorities => FileKind::Authorities,
            Self::Revocations => FileKind::Revocations,
        }
    }
}

/// What is under way, for the whole process: one transaction a kind, as in HAProxy.
#[derive(Default)]
pub(super) struct Edits {
    under_way: BTreeMap<Kind, Transaction>,
    /// Files that were made by hand (`new ssl …`).
    created: BTreeMap<PathBuf, Kind>,
}

struct Transaction {
    file: PathBuf,
    /// New contents; a certificate's key may be in a file of its own.
    contents: BTreeMap<PathBuf, Vec<u8>>,
}

impl Edits {
    fn has_created(&self, file: &Path, kind: Kind) -> bool {
        self.created.get(file) == Some(&kind)
    }
}

/// Files of one kind that the configuration names, with lists as they are now.
pub(super) fn configured(call: &Call<'_>, kind: Kind) -> Vec<PathBuf> {
    let config = call.config;
    let mut files = Vec::new();
    let mut add = |file: &Option<PathBuf>| files.extend(file.clone());
    for bind in binds(config) {
        let lists = bind.certificates.iter().filter_map(|source| match source {
            CertificateSource::List(path) => Some(path),
            _ => None,
        });
        let entries = lists.flat_map(|path| {
            let text = call.handle.tls_file(path).unwrap_or_default();
            let list = crt_list::parse(&String::from_utf8_lossy(&text), bind);
            list.map(|list| list.entries).unwrap_or_default()
        });
        let policies: Vec<_> = entries.filter_map(|entry| entry.policy).collect();
        let all = policies.iter().map(|it| &**it).chain([&bind.policy]);
        for policy in all {
            match kind {
                Kind::Certificate => {}
                Kind::Authorities => {
                    add(&policy.ca_file);
                    add(&policy.ca_verify_file);
                }
                Kind::Revocations => add(&policy.crl_file),
            }
        }
    }
    let servers = config.backends.iter().flat_map(|it| &it.servers);
    for tls in servers.filter_map(|it| it.tls.as_ref()) {
        match kind {
            Kind::Certificate => {}
            Kind::Authorities => add(&tls.ca_file),
            Kind::Revocations => add(&tls.crl_file),
        }
    }
    files.sort();
    files.dedup();
    files
}

/// What all `bind` lines say of TLS.
pub(super) fn binds(config: &Config) -> impl Iterator<Item = &BindTls> {
    let binds = config.frontends.iter().flat_map(|it| &it.binds);
    binds.filter_map(|bind| bind.tls.as_ref())
}

fn is_used(call: &Call<'_>, file: &Path, kind: Kind) -> bool {
    match kind {
        Kind::Certificate => call.handle.is_certificate_used(file),
        kind => configured(call, kind).iter().any(|it| it == file),
    }
}

fn is_known(call: &Call<'_>, file: &Path, kind: Kind) -> bool {
    let loaded =
        kind == Kind::Certificate && call.handle.certificates().iter().any(|it| it == file);
    loaded || is_used(call, file, kind) || call.api.tls.borrow().has_created(file, kind)
}

/// The file of the certificate that a file belongs to: itself, or the one whose key it is.
fn owner(call: &Call<'_>, file: &Path) -> Option<PathBuf> {
    if is_known(call, file, Kind::Certificate) {
        return Some(file.to_owned());
    }
    const BESIDE: [&str; 4] = ["key", "issuer", "ocsp", "sctl"];
    let extension = file.extension()?.to_str()?;
    if !BESIDE.contains(&extension) {
        return None;
    }
    let candidates = [file.with_extension(""), file.with_extension("crt")];
    candidates
        .into_iter()
        .find(|it| is_known(call, it, Kind::Certificate))
}

/// What a transaction is called: `*FILE`, and `\*FILE` by who guards the star from a shell.
fn unescaped(name: &str) -> &str {
    match name.strip_prefix('\\') {
        Some(rest) if rest.starts_with('*') => rest,
        _ => name,
    }
}

fn show_certificates(call: &mut Call<'_>) -> Answer {
    let edits = call.api.tls.borrow();
    let transaction = edits.under_way.get(&Kind::Certificate);
    let Some(wanted) = call.args.first().map(|it| unescaped(it)) else {
        let mut text = String::new();
        if let Some(transaction) = transaction {
            text += &format!("# transaction\n*{}\n", transaction.file.display());
        }
        let mut files = call.handle.certificates();
        let created = edits.created.iter().filter(|it| *it.1 == Kind::Certificate);
        files.extend(created.map(|(file, _)| file.clone()));
        files.sort();
        files.dedup();
        if !files.is_empty() {
            text += "# filename\n";
        }
        for file in files {
            text += &format!("{}\n", file.display());
        }
        return Answer::Text(text);
    };
    if let Some(response) = response_of(call, &edits, wanted) {
        return Answer::Text(response);
    }
    const NOT_FOUND: &str =
        "Can't display the certificate: Not found or the certificate is a bundle!";
    let (shown, chain, status) = match wanted.strip_prefix('*') {
        Some(file) => {
            let Some(transaction) = transaction.filter(|it| it.file == Path::new(file)) else {
                return Answer::error(NOT_FOUND);
            };
            let pem = transaction.contents.get(Path::new(file));
            let chain = pem.map(|pem| pem_parts(pem, false)).unwrap_or_default();
            (file, chain, "Uncommitted")
        }
        None => {
            let file = Path::new(wanted);
            let used = is_used(call, file, Kind::Certificate);
            let loaded = call.handle.certificates().iter().any(|it| it == file);
            if !loaded && !used && !edits.has_created(file, Kind::Certificate) {
                return Answer::error(NOT_FOUND);
            }
            let chain = call.handle.certificate(file).unwrap_or_default();
            let status = match (used, chain.is_empty()) {
                (_, true) => "Empty",
                (true, false) => "Used",
                (false, false) => "Unused",
            };
            (wanted, chain, status)
        }
    };
    let mut text = format!("Filename: {wanted}\n");
    if !chain.is_empty() {
        text += &format!("Crt filename: {shown}\n");
    }
    text += &format!("Status: {status}\n");
    // What lies in a folder of issuers is told by where it came from, as HAProxy does.
    if let Some(folder) = &call.config.global.tls.issuers_chain_path
        && chain.len() > 1
        && call
            .handle
            .tls_file(Path::new(shown))
            .is_some_and(|pem| pem_parts(&pem, false).len() == 1)
    {
        text += &described::certificate(&chain[..1]);
        text += &format!("Chain Filename: {}\n", folder.display());
        text += &described::chain(&chain[1..]);
    } else {
        text += &described::certificate(&chain);
    }
    if status != "Uncommitted" {
        text += &super::ocsp::key_line(call.handle, Path::new(shown));
    }
    Answer::Text(text)
}

/// `show ssl cert FILE.ocsp`: the response in force, or with a `*` the one of the transaction.
fn response_of(call: &Call<'_>, edits: &Edits, wanted: &str) -> Option<String> {
    let file = wanted.strip_prefix('*');
    let path = Path::new(file.unwrap_or(wanted));
    if path.extension().is_none_or(|it| it != "ocsp") {
        return None;
    }
    let der = match file {
        Some(_) => {
            let transaction = edits.under_way.get(&Kind::Certificate)?;
            transaction.contents.get(path).cloned()?
        }
        None => {
            // Of a certificate that is in use, and nothing else.
            let owner = path.with_extension("");
            let staple = call.handle.staple(&owner).filter(|it| it.file == path)?;
            call.handle.tls_file(&staple.file)?
        }
    };
    Some(super::ocsp::in_words(&der))
}

fn new(call: &mut Call<'_>, kind: Kind) -> Answer {
    let Some(file) = call.args.first().map(PathBuf::from) else {
        let name = command_word(kind);
        return Answer::error(format!("'new ssl {name}' expects a filename"));
    };
    let shown = file.display().to_string();
    if is_known(call, &file, kind) {
        return Answer::error(match kind {
            Kind::Certificate => format!("Certificate '{shown}' already exists!"),
            Kind::Authorities => format!("CA file '{shown}' already exists!"),
            Kind::Revocations => format!("CRL file '{shown}' already exists!"),
        });
    }
    let mut edits = call.api.tls.borrow_mut();
    if edits.created.len() >= CREATED_MAX {
        return Answer::error(format!("More than {CREATED_MAX} files were created."));
    }
    edits.created.insert(file, kind);
    Answer::notice(match kind {
        Kind::Certificate => format!("New empty certificate store '{shown}'!"),
        Kind::Authorities => format!("New CA file created '{shown}'!"),
        Kind::Revocations => format!("New CRL file created '{shown}'!"),
    })
}

/// The kind as commands spell it.
fn command_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Certificate => "cert",
        Kind::Authorities => "ca-file",
        Kind::Revocations => "crl-file",
    }
}

fn set_certificate(call: &mut Call<'_>) -> Answer {
    let (Some(file), Some(payload)) = (call.args.first().map(PathBuf::from), call.payload) else {
        return Answer::error("'set ssl cert' expects a filename and a certificate as a payload");
    };
    let shown = file.display().to_string();
    let refuse = |why: &str| Answer::error(format!("{why}\nCan't update {shown}!"));
    let Some(owner) = owner(call, &file) else {
        return refuse("Can't replace a certificate which is not referenced by the configuration!");
    };
    let mut pem = payload.as_bytes().to_vec();
    if owner != file && file.extension().is_some_and(|it| it == "ocsp") {
        let Some(response) = super::ocsp::decoded(payload) else {
            return refuse("Can't load the payload: it is no OCSP response in base64.");
        };
        pem = response;
    }
    let pem = pem.as_slice();
    if owner == file && pem_parts(pem, false).is_empty() {
        let why = format!(
            "unable to load certificate from file '{shown}': no start line.\nCan't load the payload"
        );
        return refuse(&why);
    }
    let mut contents = BTreeMap::from([(file.clone(), pem.to_vec())]);
    // A key that came in a file of its own stays there, unless this text has one.
    let mut edits = call.api.tls.borrow_mut();
    if let Some(other) = edits.under_way.get(&Kind::Certificate) {
        if other.file != owner {
            let why = format!(
                "The ongoing transaction is about '{}' but you are trying to set '{shown}'",
                other.file.display()
            );
            return refuse(&why);
        }
        let mut both = other.contents.clone();
        both.append(&mut contents);
        contents = both;
    }
    if owner == file && has_key(pem) {
        contents.retain(|path, _| path.extension().is_none_or(|it| it != "key"));
    }
    let updated = edits.under_way.contains_key(&Kind::Certificate);
    let transaction = Transaction {
        file: owner,
        contents,
    };
    edits.under_way.insert(Kind::Certificate, transaction);
    let word = if updated { "updated" } else { "created" };
    Answer::notice(format!("Transaction {word} for certificate {shown}!"))
}

fn set_list(call: &mut Call<'_>, kind: Kind, adds: bool) -> Answer {
    let name = command_word(kind);
    let (Some(file), Some(payload)) = (call.args.first().map(PathBuf::from), call.payload) else {
        let what = if kind == Kind::Authorities {
            "CAs"
        } else {
            "CRLs"
        };
        let verb = if adds { "add" } else { "set" };
        return Answer::error(format!(
            "'{verb} ssl {name}' expects a filename and {what} as a payload"
        ));
    };
    let shown = file.display().to_string();
    let refuse = |why: String| Answer::error(format!("{why}\nCan't update {shown}!"));
    if !is_known(call, &file, kind) {
        return refuse(format!(
            "Can't replace a {} which is not referenced by the configuration!",
            kind.word()
        ));
    }
    if pem_parts(payload.as_bytes(), kind == Kind::Revocations).is_empty() {
        return refuse("Invalid payload".to_owned());
    }
    let mut edits = call.api.tls.borrow_mut();
    let other = edits.under_way.get(&kind);
    if let Some(other) = other.filter(|other| other.file != file) {
        return refuse(format!(
            "The ongoing transaction is about '{}' but you are trying to set '{shown}'",
            other.file.display()
        ));
    }
    let updated = other.is_some();
    let mut content = Vec::new();
    if adds {
        let before = other.and_then(|other| other.contents.get(&file).cloned());
        let is_empty = edits.has_created(&file, kind) && !call.handle.is_given(&file);
        let there = before.or_else(|| readable(call, &edits, &file, kind));
        // One that cannot be read is not empty: those in force would be replaced by the one that is added.
        let Some(there) = there.or_else(|| is_empty.then(Vec::new)) else {
            return refuse(format!(
                "the {} cannot be read (any more): give it as a whole with 'set ssl {name}'",
                kind.word()
            ));
        };
        content = there;
    }
    content.extend_from_slice(payload.as_bytes());
    let transaction = Transaction {
        contents: BTreeMap::from([(file.clone(), content)]),
        file,
    };
    edits.under_way.insert(kind, transaction);
    let word = if updated { "updated" } else { "created" };
    let what = if kind == Kind::Authorities {
        "CA"
    } else {
        "CRL"
    };
    Answer::notice(format!("transaction {word} for {what} {shown}!"))
}

/// A file's content, where it may be read: one that was made by hand is not on disk, whatever is there.
fn readable(call: &Call<'_>, edits: &Edits, file: &Path, kind: Kind) -> Option<Vec<u8>> {
    match edits.has_created(file, kind) && !call.handle.is_given(file) {
        true => None,
        false => call.handle.tls_file(file),
    }
}

fn commit(call: &mut Call<'_>, kind: Kind) -> Answer {
    let Some(file) = call.args.first().map(PathBuf::from) else {
        let name = command_word(kind);
        return Answer::error(format!("'commit ssl {name}' expects a filename"));
    };
    let shown = file.display().to_string();
    let mut edits = call.api.tls.borrow_mut();
    let refuse = |why: String| Answer::error(format!("{why}\nCan't commit {shown}!"));
    let transaction = match edits.under_way.remove(&kind) {
        None => return refuse("No ongoing transaction! !".to_owned()),
        Some(other) if other.file != file => {
            let why = format!(
                "The ongoing transaction is about '{}' but you are trying to set '{shown}'",
                other.file.display()
            );
            edits.under_way.insert(kind, other);
            return refuse(why);
        }
        Some(transaction) => transaction,
    };
    let files = transaction.contents.into_iter();
    let files = files.map(|(path, content)| (path, Some(content))).collect();
    let checked = Some((kind.of_engine(), file.as_path()));
    match call.handle.give_tls_files(files, checked) {
        Ok(()) => {
            let dots = if kind == Kind::Certificate { ".." } else { "" };
            Answer::notice(format!("Committing {shown}{dots}\nSuccess!"))
        }
        Err(why) => Answer::error(format!("Committing {shown}\n{}\nFailed!", one_line(&why))),
    }
}

fn one_line(why: &engine::command::Refused) -> String {
    why.to_string().replace(char::is_control, " ")
}

fn abort(call: &mut Call<'_>, kind: Kind) -> Answer {
    let file = PathBuf::from(call.arg(0));
    let mut edits = call.api.tls.borrow_mut();
    match edits.under_way.get(&kind) {
        None => Answer::error("No ongoing transaction!"),
        Some(other) if other.file != file => Answer::error(format!(
            "The ongoing transaction is about '{}' but you are trying to abort a transaction for '{}'",
            other.file.display(),
            file.display()
        )),
        Some(_) => {
            edits.under_way.remove(&kind);
            Answer::notice(format!(
                "Transaction aborted for certificate '{}'!",
                file.display()
            ))
        }
    }
}

fn delete(call: &mut Call<'_>, kind: Kind) -> Answer {
    let file = PathBuf::from(call.arg(0));
    let shown = file.display().to_string();
    let word = kind.word();
    let lead = format!("Can't remove the {word}: {word} '{shown}'");
    if is_used(call, &file, kind) {
        return Answer::error(format!("{lead} in use, can't be deleted!"));
    }
    let mut edits = call.api.tls.borrow_mut();
    if !edits.has_created(&file, kind) {
        return Answer::error(format!("{lead} doesn't exist!"));
    }
    edits.created.remove(&file);
    let gone = call.handle.give_tls_files(vec![(file, None)], None);
    match gone {
        Ok(()) => Answer::notice(match kind {
            Kind::Certificate => format!("Certificate '{shown}' deleted!"),
            _ => format!("{word} '{shown}' deleted!"),
        }),
        Err(refused) => Answer::refused(&refused),
    }
}

fn show_list(call: &mut Call<'_>, kind: Kind) -> Answer {
    let edits = call.api.tls.borrow();
    let revocations = kind == Kind::Revocations;
    let parts = |file: &Path| {
        let content = readable(call, &edits, file, kind).unwrap_or_default();
        pem_parts(&content, revocations)
    };
    let transaction = edits.under_way.get(&kind);
    let Some(wanted) = call.args.first().map(|it| unescaped(it)) else {
        let count = |parts: usize| match revocations {
            true => String::new(),
            false => format!(" - {parts} certificate(s)"),
        };
        let mut text = String::new();
        if let Some(transaction) = transaction {
            let content = transaction.contents.get(&transaction.file);
            let parts = content.map_or(0, |it| pem_parts(it, revocations).len());
            text += &format!(
                "# transaction\n*{}{}\n",
                transaction.file.display(),
                count(parts)
            );
        }
        text += "# filename\n";
        let mut files = configured(call, kind);
        let created = edits.created.iter().filter(|it| *it.1 == kind);
        files.extend(created.map(|(file, _)| file.clone()));
        files.sort();
        files.dedup();
        for file in files {
            text += &format!("{}{}\n", file.display(), count(parts(&file).len()));
        }
        return Answer::Text(text);
    };
    let (name, index) = match wanted.rsplit_once(':') {
        Some((name, index)) if index.parse::<usize>().is_ok() => {
            (name, index.parse::<usize>().ok())
        }
        _ => (wanted, None),
    };
    let not_found = || Answer::error(format!("Can't display the {} : Not found!", kind.word()));
    let (file, parts, status) = match name.strip_prefix('*') {
        Some(file) => {
            let found = transaction.filter(|it| it.file == Path::new(file));
            let Some(content) = found.and_then(|it| it.contents.get(Path::new(file))) else {
                return not_found();
            };
            (name, pem_parts(content, revocations), "Uncommitted")
        }
        None => {
            let file = Path::new(name);
            let used = configured(call, kind).iter().any(|it| it == file);
            if !used && !edits.has_created(file, kind) {
                return not_found();
            }
            (name, parts(file), if used { "Used" } else { "Unused" })
        }
    };
    let mut text = format!("Filename: {file}\nStatus: {status}\n");
    for (at, der) in parts.iter().enumerate() {
        if index.is_some_and(|index| index != at + 1) {
            continue;
        }
        match revocations {
            true => {
                text += &format!(" \nCertificate Revocation List #{}:\n", at + 1);
                text += &described::revocations(der);
            }
            false => {
                text += &format!(" \nCertificate #{}:\n", at + 1);
                text += &described::certificate(std::slice::from_ref(der));
            }
        }
    }
    Answer::Text(text)
}
