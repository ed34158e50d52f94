//! Answers of one's own where the proxy itself has to say something: `errorfile`, `errorloc` and
//! its kin (manual 4.2).

use std::sync::Arc;

use super::{ALL, ProxyKeyword, Scope, implemented, not_yet};
use crate::Surroundings as _;
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::error_page;
use crate::model::{ErrorAnswer, ErrorPage, Tune};
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
    not_yet("errorfiles", ALL),
    not_yet("http-error", ALL),
];

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
    let page = page.map_err(|why| {
        Diagnostic::alert(word.span, format!("errorfile : '{}': {why}", word.text))
            .help("the file holds a whole response: a status line, headers, an empty line, a body")
    })?;
    draft.proxy.error_pages.insert(status, page);
    Ok(())
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
            let all: Vec<String> = STATUSES.iter().map(u16::to_string).collect();
            Diagnostic::alert(
                word.span,
                format!("{} : status code '{}' not handled", args.keyword, word.text),
            )
            .help(format!("it can be one of {}", all.join(", ")))
        })
}
