//! `crt-list` files (manual 5.1, "crt-list"): one certificate a line, with settings of its own
//! between brackets and the server names it answers to.
//!
//! Read again whenever the file changes, so it is apart from the configuration and needs nothing of
//! it but the `bind` line's settings.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::Surroundings;
use crate::diagnostics::{Diagnostic, Severity};
use crate::environment::Environment;
use crate::keywords::bind::{BindDraft, based};
use crate::keywords::tls::policy;
use crate::keywords::{Bases, Scope, tls};
use crate::lexer::Word;
use crate::model::{BindTls, ClientVerify, TlsPolicy};
use crate::source::{SourceId, Span};

/// Most lines of a list: the largest hosters have tens of thousands of certificates a machine.
pub const LINES_MAX: usize = 200_000;

/// A line of a list.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The certificate, with `crt-base` applied.
    pub crt: PathBuf,
    /// What its connections get; `None`: what the `bind` line says.
    pub policy: Option<Arc<TlsPolicy>>,
    /// Names it answers to, in lower case; none: those in the certificate.
    pub filters: Vec<Filter>,
    /// `ocsp-update`; `None`: what `global` says.
    pub ocsp_update: Option<bool>,
    /// Which line, from 1.
    pub line: u32,
}

/// One server name of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// `!`: not this one, though a wildcard of the line matches.
    pub negated: bool,
    /// `www.example.com`, `*.example.com`, or `*` for clients without a known name.
    pub name: String,
}

/// A list, and what else there is to say about it.
#[derive(Debug, Default)]
pub struct CrtList {
    /// Its lines, in order.
    pub entries: Vec<Entry>,
    /// What was accepted without effect, each with its line.
    pub notices: Vec<String>,
}

/// Reads a list for this `bind` line. The errors are sentences that begin with the line's number.
pub fn parse(text: &str, bind: &BindTls) -> Result<CrtList, Vec<String>> {
    let mut list = CrtList::default();
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index as u32 + 1;
        if index >= LINES_MAX {
            problems.push(format!(
                "line {number}: a list has at most {LINES_MAX} lines"
            ));
            break;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match entry(line, number, bind) {
            Ok((entry, notices)) => {
                list.entries.push(entry);
                list.notices.extend(notices);
            }
            Err(wrong) => problems.extend(wrong),
        }
    }
    match problems.is_empty() {
        true => Ok(list),
        false => Err(problems),
    }
}

fn entry(line: &str, number: u32, bind: &BindTls) -> Result<(Entry, Vec<String>), Vec<String>> {
    let wrong = |what: &str| vec![format!("line {number}: {what}")];
    let (crt, rest) = line
        .split_once(|c: char| c.is_whitespace() || c == '[')
        .map_or((line, ""), |(crt, _)| (crt, &line[crt.len()..]));
    if crt.is_empty() {
        return Err(wrong("the certificate's path is missing before '['"));
    }
    if crt.starts_with('@') {
        return Err(wrong(
            "'crt-store' is not implemented yet: write the path of the file",
        ));
    }
    let rest = rest.trim_start();
    let (options, names) = match rest.strip_prefix('[') {
        Some(inner) => {
            let Some((options, names)) = inner.split_once(']') else {
                return Err(wrong("the bracket '[' is not closed by ']' on this line"));
            };
            (Some(options), names)
        }
        None => (None, rest),
    };
    if names.contains(['[', ']']) {
        return Err(wrong(
            "one pair of brackets stands behind the certificate, before the names",
        ));
    }
    let filters = filters(names).map_err(|what| wrong(&what))?;
    let (policy, ocsp_update, notices) = match options {
        Some(options) => {
            let (policy, ocsp_update, notices) = own_policy(options, number, bind)?;
            (Some(Arc::new(policy)), ocsp_update, notices)
        }
        None => (None, None, Vec::new()),
    };
    let crt = based(crt, bind.crt_base.as_ref());
    let entry = Entry {
        crt,
        policy,
        filters,
        ocsp_update,
        line: number,
    };
    Ok((entry, notices))
}

fn filters(names: &str) -> Result<Vec<Filter>, String> {
    let mut filters = Vec::new();
    for word in names.split_whitespace() {
        let (negated, name) = match word.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word),
        };
        let domain = name.strip_prefix("*.").unwrap_or(name);
        if name != "*" && (domain.is_empty() || domain.contains(['*', '!'])) {
            return Err(format!(
                "'{word}' is no name: expected www.example.com, *.example.com, * or !www.example.com"
            ));
        }
        // A '!' in front of a wildcard is ignored, says the manual: it excludes nothing.
        if !(negated && name.starts_with('*')) {
            filters.push(Filter {
                negated,
                name: name.to_ascii_lowercase(),
            });
        }
    }
    Ok(filters)
}

/// What a list may look at: nothing but itself.
struct Nothing;

impl Surroundings for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn read(&self, _: &str) -> Result<String, String> {
        Err("a crt-list reads no other files".into())
    }
}

fn own_policy(
    options: &str,
    number: u32,
    bind: &BindTls,
) -> Result<(TlsPolicy, Option<bool>, Vec<String>), Vec<String>> {
    let words: Vec<Word> = options
        .split_whitespace()
        .map(|text| Word {
            text: text.to_owned(),
            span: Span {
                source: SourceId(0),
                line: number,
                start: 0,
                end: 0,
            },
            quoted: false,
        })
        .collect();
    let environment = Environment::new(&Nothing);
    let report = RefCell::new(Vec::new());
    let bases = Bases {
        crt: bind.crt_base.clone(),
        ca: bind.ca_base.clone(),
        ..Bases::default()
    };
    let scope = Scope {
        environment: &environment,
        report: &report,
        references: &RefCell::default(),
        bases: &bases,
        origins: &BTreeMap::new(),
        userlists: &RefCell::default(),
        asked: &Cell::default(),
        acls: &RefCell::default(),
        tables: &RefCell::default(),
        lists: &RefCell::default(),
        told: &RefCell::<BTreeSet<String>>::default(),
    };
    let mut draft = BindDraft::of_tls(bind.clone());
    policy::of_a_list(&mut draft, &words, &scope);
    let ocsp_update = draft.ocsp_update;
    let policy = draft.into_tls().policy;
    let place = Span {
        line: number,
        ..Span::default()
    };
    let mut told = report.into_inner();
    if let Err(problem) = tls::any_left(&policy.choice, place, "crt-list") {
        told.push(problem);
    }
    if policy.verify != ClientVerify::None
        && policy.ca_file.is_none()
        && policy.ca_verify_file.is_none()
    {
        told.push(Diagnostic::alert(
            place,
            "verify is enabled but no CA file specified",
        ));
    }
    let (alerts, notices): (Vec<Diagnostic>, Vec<Diagnostic>) = told
        .into_iter()
        .partition(|told| told.severity == Severity::Alert);
    match alerts.is_empty() {
        true => Ok((policy, ocsp_update, sentences(number, &notices))),
        false => Err(sentences(number, &alerts)),
    }
}

fn sentences(number: u32, told: &[Diagnostic]) -> Vec<String> {
    let sentence = |diagnostic: &Diagnostic| {
        let mut text = format!("line {number}: {}", diagnostic.message);
        for more in [&diagnostic.label, &diagnostic.help].into_iter().flatten() {
            text.push_str("; ");
            text.push_str(more);
        }
        text
    };
    told.iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Suite;

    fn bind() -> BindTls {
        BindTls {
            crt_base: Some("/certs".into()),
            ca_base: Some("/ca".into()),
            ..BindTls::default()
        }
    }

    #[test]
    fn lines_have_a_certificate_settings_and_names() {
        let text = "# comment\n\n  default.pem *\n\
            cert2.pem [alpn h2,http/1.1]\n\
            certW.pem   *.Domain.tld !secure.domain.tld !*.x\n\
            /abs/s.pem[curves X25519:P-256 ciphers ECDHE-ECDSA-AES256-GCM-SHA384] secure.domain.tld\n\
            m.pem [ca-file ca.pem verify required ssl-min-ver TLSv1.3]\n";
        let list = parse(text, &bind()).expect("a list");
        let lines: Vec<_> = list
            .entries
            .iter()
            .map(|entry| {
                (
                    entry.line,
                    entry.crt.to_str().expect("UTF-8"),
                    entry.filters.len(),
                )
            })
            .collect();
        assert_eq!(
            lines,
            [
                (3, "/certs/default.pem", 1),
                (4, "/certs/cert2.pem", 0),
                (5, "/certs/certW.pem", 2),
                (6, "/abs/s.pem", 1),
                (7, "/certs/m.pem", 0),
            ]
        );
        let [default, second, wild, own, mutual] = &list.entries[..] else {
            panic!("five entries");
        };
        assert!(default.policy.is_none());
        assert_eq!(second.policy.as_ref().expect("its own").alpn.len(), 2);
        let filter = |negated, name: &str| Filter {
            negated,
            name: name.into(),
        };
        let expected = [
            filter(false, "*.domain.tld"),
            filter(true, "secure.domain.tld"),
        ];
        assert_eq!(wild.filters, expected);
        let choice = &own.policy.as_ref().expect("its own").choice;
        assert_eq!(choice.ciphers, Some(vec![Suite::EcdheEcdsaAes256GcmSha384]));
        let mutual = mutual.policy.as_ref().expect("its own");
        assert_eq!(mutual.verify, ClientVerify::Required);
        assert_eq!(
            mutual.ca_file.as_deref(),
            Some(std::path::Path::new("/ca/ca.pem"))
        );
        assert!(!mutual.choice.versions.tls12);
        assert_eq!(list.notices.len(), 1, "{:?}", list.notices);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("a.pem [alpn h2", "line 1: the bracket '['"),
            (
                "\na.pem [nosuch 1]",
                "line 2: 'crt-list' : unknown keyword 'nosuch'",
            ),
            (
                "a.pem [verify required]",
                "line 1: verify is enabled but no CA file",
            ),
            ("a.pem a.*.b", "line 1: 'a.*.b' is no name"),
            (
                "a.pem [alpn h2] x [verify none]",
                "line 1: one pair of brackets",
            ),
            ("@store/a", "line 1: 'crt-store' is not implemented yet"),
            (
                "a.pem [ocsp-update maybe]",
                "line 1: 'ocsp-update' does not know 'maybe'",
            ),
            ("[alpn h2]", "line 1: the certificate's path is missing"),
        ] {
            let problems = parse(text, &bind()).expect_err(text);
            assert!(problems[0].starts_with(expected), "{text}: {problems:?}");
        }
    }
}
