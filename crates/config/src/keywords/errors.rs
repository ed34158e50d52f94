//! Answers of one's own where the proxy itself has to say something: `errorfile`, `errorloc`,
//! `http-error` (manual 4.2), and the sections that hold some (12.4).

use std::sync::Arc;

use super::own::OwnParse;
use super::{ALL, Keyword, ProxyKeyword, Scope, implemented, reply};
use crate::Surroundings as _;
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::error_page;
use crate::lexer::Word;
use crate::model::{ErrorAnswer, ErrorPage, ErrorPages, ReplyBody, Tune};
use crate::source::Span;
use crate::values::header_text;

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("errorfile", ALL, errorfile),
    implemented("errorloc", ALL, |draft, args, scope| {
        errorloc(draft, args, scope, 302, "Found")
    }),
    implemented("errorloc302", ALL, |draft, args, scope| {
        errorloc(draft, args, scope, 302, "Found")
    }),
    implemented("errorloc303", ALL, |draft, args, scope| {
        errorloc(draft, args, scope, 303, "See Other")
    }),
    implemented("errorfiles", ALL, errorfiles),
    implemented("http-error", ALL, http_error),
];

/// Lines of a section `http-errors` (manual 12.4).
pub(crate) const SECTION: &[Keyword<OwnParse<ErrorPages>, ()>] =
    &[implemented("errorfile", (), |pages, args, scope| {
        let status = status(args)?;
        let word = args.required("the path of a file with a whole HTTP response")?;
        args.ignore_rest(scope);
        pages.insert(status, page(word, scope)?);
        Ok(())
    })];

/// What one section `http-errors` holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct ErrorSection {
    pub(crate) span: Span,
    pub(crate) pages: ErrorPages,
}

impl ErrorSection {
    /// The page for a status; `at` is where the section is named.
    pub(crate) fn page(&self, status: u16, at: &Word, scope: &Scope<'_>) -> Option<ErrorPage> {
        let found = self.pages.get(&status).cloned();
        if found.is_none() {
            scope.report(Diagnostic::warning(
                at.span,
                format!(
                    "status '{status}' not declared in http-errors section '{}'",
                    at.text
                ),
            ));
        }
        found
    }
}

/// The section `http-errors` of that name, wherever it stands in the file.
pub(crate) fn section(word: &Word, scope: &Scope<'_>) -> Result<ErrorSection, Diagnostic> {
    let sections = &scope.bases.error_sections;
    sections.get(word.text.as_str()).cloned().ok_or_else(|| {
        let alert = Diagnostic::alert(
            word.span,
            format!("unknown http-errors section '{}'", word.text),
        );
        let names = sections.keys().map(|name| &**name);
        match crate::nearest::did_you_mean(&word.text, names) {
            Some(hint) => alert.help(hint),
            None => alert,
        }
    })
}

/// `errorfiles NAME [CODE]…`.
fn errorfiles(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let name = args.required("the name of an 'http-errors' section")?;
    let section = section(name, scope)?;
    if args.peek().is_none() {
        draft.proxy.error_pages.extend(section.pages);
        return Ok(());
    }
    while args.peek().is_some() {
        let status = status(args)?;
        if let Some(page) = section.page(status, name, scope) {
            draft.proxy.error_pages.insert(status, page);
        }
    }
    Ok(())
}

/// `http-error status CODE …`.
fn http_error(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let place = args.place();
    let reply = reply::reply(args, scope, reply::HTTP_ERROR)?;
    args.end()?;
    if !is_known(reply.status) {
        return Err(Diagnostic::alert(
            place,
            format!("http-error : status code '{}' not handled", reply.status),
        )
        .help(known()));
    }
    let pages = &mut draft.proxy.error_pages;
    match reply.body {
        // Back to what others say: the frontend's page, or ours.
        ReplyBody::Default => {
            pages.remove(&reply.status);
        }
        ReplyBody::Page(page) => {
            pages.insert(reply.status, page);
        }
        _ => {
            pages.insert(reply.status, ErrorPage::Reply(Arc::new(reply)));
        }
    }
    Ok(())
}

/// Statuses an answer of one's own can be given for: those of HAProxy 2.6 and of 3.x.
const STATUSES: [u16; 21] = [
    200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 414, 421, 422, 425, 429, 431, 500, 501, 502,
    503, 504,
];

/// `errorfile CODE FILE`.
fn errorfile(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let status = status(args)?;
    let word = args.required("the path of a file with a whole HTTP response")?;
    args.ignore_rest(scope);
    draft.proxy.error_pages.insert(status, page(word, scope)?);
    Ok(())
}

/// The response in a file.
pub(crate) fn page(word: &Word, scope: &Scope<'_>) -> Result<ErrorPage, Diagnostic> {
    let bytes = scope.environment.read_bytes(&word.text).map_err(|error| {
        Diagnostic::alert(
            word.span,
            format!("errorfile : error opening file '{}'", word.text),
        )
        .label(error)
    })?;
    // HAProxy keeps pages in its buffers, which bounds what one answer costs here as well.
    let len_max = scope.bases.bufsize.unwrap_or(Tune::default().bufsize);
    let page = match bytes.len() > len_max {
        true => Err(format!("larger than {len_max} bytes ('tune.bufsize')")),
        false => error_page::parse(&bytes),
    };
    page.map_err(|why| {
        Diagnostic::alert(word.span, format!("errorfile : '{}': {why}", word.text))
            .help("the file holds a whole response: a status line, headers, an empty line, a body")
    })
}

/// `errorloc CODE URL`: the client is sent elsewhere.
fn errorloc(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    code: u16,
    reason: &str,
) -> Result<(), Diagnostic> {
    let status = status(args)?;
    let url = header_text(args.required("the URL to send clients to")?)?;
    args.ignore_rest(scope);
    let page = ErrorAnswer {
        status: code,
        reason: reason.as_bytes().into(),
        fields: vec![
            ("cache-control".into(), (*b"no-cache").into()),
            ("content-length".into(), (*b"0").into()),
            ("location".into(), url.as_bytes().into()),
        ],
        body: Arc::default(),
    };
    let page = ErrorPage::Answer(Arc::new(page));
    draft.proxy.error_pages.insert(status, page);
    Ok(())
}

fn status(args: &mut Args<'_>) -> Result<u16, Diagnostic> {
    let word = args.required("a status code such as 503")?;
    let known = word.text.parse().ok();
    known
        .filter(|status| STATUSES.contains(status))
        .ok_or_else(|| {
            Diagnostic::alert(
                word.span,
                format!("{} : status code '{}' not handled", args.keyword, word.text),
            )
            .help(self::known())
        })
}

/// Whether an answer of one's own can be given for this status.
pub(crate) fn is_known(status: u16) -> bool {
    STATUSES.contains(&status)
}

/// The statuses that have pages.
pub(crate) fn known() -> String {
    let all: Vec<String> = STATUSES.iter().map(u16::to_string).collect();
    format!("it can be one of {}", all.join(", "))
}
