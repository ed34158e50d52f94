//! Answers of one's own as rules and `http-error` spell them: a status, a body, headers (manual 4.2,
//! "http-error"; 4.4, "return", "deny", "tarpit").

use std::sync::Arc;

use super::Scope;
use super::actions::{format, header};
use super::errors::{self, ErrorSection};
use crate::Surroundings as _;
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::expr::Stage;
use crate::lexer::Word;
use crate::model::{Reply, ReplyBody};
use crate::source::Span;
use crate::values::{header_text, number};

/// What those who answer differ in.
#[derive(Clone, Copy)]
pub(crate) struct Answering {
    /// The status where none is given; `None`: it must be.
    status: Option<u16>,
    /// Whether `deny_status` may be written too, and the page of the status is sent where nothing
    /// else is said.
    denies: bool,
    /// What its formats may look at.
    stage: Stage,
}

/// `http-request deny`.
pub(crate) const DENY: Answering = Answering::deny(403, Stage::Request);
/// `http-request tarpit`.
pub(crate) const TARPIT: Answering = Answering::deny(500, Stage::Request);
/// `http-response deny`.
pub(crate) const RESPONSE_DENY: Answering = Answering::deny(502, Stage::Response);
/// `http-request return`.
pub(crate) const RETURN: Answering = Answering::give(Some(200), Stage::Request);
/// `http-response return`.
pub(crate) const RESPONSE_RETURN: Answering = Answering::give(Some(200), Stage::Response);
/// `http-error`.
pub(crate) const HTTP_ERROR: Answering = Answering::give(None, Stage::Request);

impl Answering {
    const fn deny(status: u16, stage: Stage) -> Self {
        Self {
            status: Some(status),
            denies: true,
            stage,
        }
    }

    const fn give(status: Option<u16>, stage: Stage) -> Self {
        Self {
            status,
            denies: false,
            stage,
        }
    }
}

/// Largest `file` of a reply: it is kept in memory and sent from there.
const FILE_LEN_MAX: usize = 1 << 20;

/// What is known of a reply while its words are read.
#[derive(Default)]
struct Draft<'a> {
    status: Option<u16>,
    /// `status` was written, not `deny_status` or nothing.
    plain_status: bool,
    content_type: Option<(Arc<str>, Span)>,
    headers: Vec<(Arc<str>, crate::expr::Format)>,
    first_header: Option<Span>,
    body: Option<Body<'a>>,
    /// The word that gave the body.
    body_word: Option<&'a str>,
}

enum Body<'a> {
    Default,
    File(crate::model::ErrorPage),
    Section(&'a Word, ErrorSection),
    Bytes(Arc<[u8]>),
    Format(crate::expr::Format),
}

/// `[status N] [content-type T] [default-errorfiles|errorfile F|errorfiles N|string|lf-string|file|
/// lf-file …] [hdr N F]…`.
pub(crate) fn reply(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    answering: Answering,
) -> Result<Reply, Diagnostic> {
    let mut draft = Draft::default();
    while !args.at_condition() {
        let Some(word) = args.next() else { break };
        match word.text.as_str() {
            "status" => {
                draft.status = Some(status(args)?);
                draft.plain_status = true;
            }
            "deny_status" if answering.denies => draft.status = Some(status(args)?),
            "content-type" => {
                let text = header_text(args.required("a media type")?)?;
                draft.content_type = Some((text, word.span));
            }
            "hdr" => {
                draft.headers.push(header(args, scope, answering.stage)?);
                draft.first_header.get_or_insert(word.span);
            }
            _ => body(&mut draft, word, args, scope, answering)?,
        }
    }
    draft.finish(args, scope, answering)
}

fn body<'a>(
    draft: &mut Draft<'a>,
    word: &'a Word,
    args: &mut Args<'a>,
    scope: &Scope<'_>,
    answering: Answering,
) -> Result<(), Diagnostic> {
    let read = match word.text.as_str() {
        "default-errorfiles" => Body::Default,
        "errorfile" => {
            let path = args.required("the path of a file with a whole HTTP response")?;
            Body::File(errors::page(path, scope)?)
        }
        "errorfiles" => {
            let name = args.required("the name of an 'http-errors' section")?;
            Body::Section(name, errors::section(name, scope)?)
        }
        "string" => {
            let text = args.required("a text after 'string'")?;
            Body::Bytes(text.text.as_bytes().into())
        }
        "lf-string" => {
            let text = args.required("a format after 'lf-string'")?;
            Body::Format(format(text, scope, answering.stage)?)
        }
        "file" => Body::Bytes(file(args, scope)?.as_bytes().into()),
        "lf-file" => {
            let place = args.peek().map_or(word.span, |word| word.span);
            let text = Word {
                text: file(args, scope)?,
                span: place,
                quoted: true,
            };
            Body::Format(format(&text, scope, answering.stage)?)
        }
        _ => return Err(unknown(args, word, answering)),
    };
    if let Some(other) = draft.body_word {
        return Err(Diagnostic::alert(
            word.span,
            format!(
                "unexpected '{}' argument, '{other}' already defined",
                word.text
            ),
        ));
    }
    draft.body_word = Some(&word.text);
    draft.body = Some(read);
    Ok(())
}

impl Draft<'_> {
    fn finish(
        self,
        args: &Args<'_>,
        scope: &Scope<'_>,
        answering: Answering,
    ) -> Result<Reply, Diagnostic> {
        let Some(status) = self.status.or(answering.status) else {
            return Err(Diagnostic::alert(
                args.missing_place(),
                format!("'{}' expects at least 'status CODE'", args.keyword),
            ));
        };
        // A denied request gets the page of its status, unless anything else is said of the answer.
        let bare = !self.plain_status && self.headers.is_empty() && self.content_type.is_none();
        let body = settled(self.body, bare, status, args, scope, answering)?;
        let empty = matches!(&body, ReplyBody::Bytes(bytes) if bytes.is_empty());
        let whole = matches!(body, ReplyBody::Default | ReplyBody::Page(_));
        let warn = |place: Option<Span>, message: &str| {
            if let Some(place) = place {
                let message = format!("'{}' : {message}", args.keyword);
                scope.report(Diagnostic::warning(place, message));
            }
        };
        if matches!(status, 204 | 304) && !empty && !whole {
            // A client would take it for the beginning of the next answer (RFC 9112 section 6.3).
            return Err(Diagnostic::alert(
                args.place(),
                format!("'{}' : an answer {status} has no body", args.keyword),
            )
            .help("leave the body out, or write 'status 200'"));
        }
        let place = self.content_type.as_ref().map(|(_, place)| *place);
        let content_type = self.content_type.map(|(text, _)| text);
        if empty || whole {
            warn(place, "'content-type' is ignored without a body");
        } else if content_type.is_none() {
            return Err(Diagnostic::alert(
                args.place(),
                format!(
                    "'{}' : a content type must be defined when there is a body",
                    args.keyword
                ),
            )
            .help("add 'content-type text/plain' before it"));
        }
        if matches!(body, ReplyBody::Page(_)) {
            warn(
                self.first_header,
                "'hdr' is ignored with a page that is whole",
            );
        }
        Ok(Reply {
            status,
            content_type: content_type.filter(|_| !empty && !whole),
            headers: self.headers,
            body,
        })
    }
}

/// The body that an answer of this status gets; `bare`: nothing else is said of it.
fn settled(
    read: Option<Body<'_>>,
    bare: bool,
    status: u16,
    args: &Args<'_>,
    scope: &Scope<'_>,
    answering: Answering,
) -> Result<ReplyBody, Diagnostic> {
    let body = match read {
        None if answering.denies && bare => Body::Default,
        None => Body::Bytes(Arc::default()),
        Some(body) => body,
    };
    let by_status = matches!(body, Body::Default | Body::Section(..));
    if by_status && !errors::is_known(status) {
        return Err(Diagnostic::alert(
            args.missing_place(),
            format!("status code '{status}' has no page of its own"),
        )
        .help(errors::known()));
    }
    Ok(match body {
        Body::Default => ReplyBody::Default,
        Body::File(page) => ReplyBody::Page(page),
        Body::Section(name, section) => match section.page(status, name, scope) {
            Some(page) => ReplyBody::Page(page),
            None if answering.status.is_none() => ReplyBody::Default,
            None => ReplyBody::Bytes(Arc::default()),
        },
        Body::Bytes(bytes) => ReplyBody::Bytes(bytes),
        Body::Format(format) => ReplyBody::Format(format),
    })
}

fn unknown(args: &Args<'_>, word: &Word, answering: Answering) -> Diagnostic {
    let mut known = vec![
        "status",
        "content-type",
        "default-errorfiles",
        "errorfile",
        "errorfiles",
        "string",
        "lf-string",
        "file",
        "lf-file",
        "hdr",
    ];
    if answering.denies {
        known.push("deny_status");
    }
    let other = &word.text;
    let message = match answering.status {
        None => format!("'{}' does not know '{other}'", args.keyword),
        Some(_) => format!(
            "'{}' expects either 'if' or 'unless' followed by a condition but found '{other}'",
            args.keyword
        ),
    };
    let alert = Diagnostic::alert(word.span, message);
    match crate::nearest::did_you_mean(other, known.iter().copied()) {
        Some(hint) => alert.help(hint),
        None => alert.label(format!("expected one of {}", crate::values::list(&known))),
    }
}

fn status(args: &mut Args<'_>) -> Result<u16, Diagnostic> {
    let word = args.required("a status code")?;
    Ok(number(word, args.keyword, 200..=599)? as u16)
}

fn file(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<String, Diagnostic> {
    let word = args.required("the path of a file")?;
    let text = scope.environment.read(&word.text).map_err(|why| {
        Diagnostic::alert(word.span, format!("cannot read '{}': {why}", word.text))
    })?;
    if text.len() > FILE_LEN_MAX {
        return Err(Diagnostic::alert(
            word.span,
            format!("'{}' is larger than {FILE_LEN_MAX} bytes", word.text),
        ));
    }
    Ok(text)
}
