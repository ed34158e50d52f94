//! The log lines that have a name, read once, and which of them a section has (manual 8.2).

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::diagnostics::{Diagnostic, Severity};
use crate::draft::{Draft, FormatDraft};
use crate::environment::Environment;
use crate::expr::{self, Context, Format, Stage};
use crate::lexer::Word;
use crate::model::{LogFormat, Mode};
use crate::source::Span;

/// The formats of `option httplog` and its like.
pub(crate) struct Formats {
    httplog: Arc<Format>,
    httplog_clf: Arc<Format>,
    httpslog: Arc<Format>,
    tcplog: Arc<Format>,
    tcplog_clf: Arc<Format>,
}

impl Formats {
    pub(crate) fn new(environment: &Environment<'_>, report: &mut Vec<Diagnostic>) -> Self {
        let notices = RefCell::new(Vec::new());
        let references = RefCell::new(Vec::new());
        let userlists = RefCell::new(Vec::new());
        let context = Context {
            surroundings: environment,
            stage: Stage::Log,
            notices: &notices,
            references: &references,
            userlists: &userlists,
            acls: &RefCell::default(),
            tables: &RefCell::default(),
            lists: &RefCell::default(),
            asked: &Cell::default(),
        };
        let mut read = |text: &str| {
            let word = Word {
                text: text.to_owned(),
                span: Span::default(),
                quoted: true,
            };
            let format = expr::format::parse(&word, &context);
            format.map(Arc::new).unwrap_or_else(|problem| {
                // Ours, not the user's; a test reads them all.
                report.push(Diagnostic::new(Severity::Alert, None, problem.message));
                Arc::default()
            })
        };
        Self {
            httplog: read(expr::format::HTTPLOG),
            httplog_clf: read(expr::format::HTTPLOG_CLF),
            httpslog: read(expr::format::HTTPSLOG),
            tcplog: read(expr::format::TCPLOG),
            tcplog_clf: read(expr::format::TCPLOG_CLF),
        }
    }

    /// What the sessions of a section are logged as: lines of HTTP need `mode http`.
    pub(crate) fn of(&self, draft: &Draft, report: &mut Vec<Diagnostic>) -> LogFormat {
        let http = draft.proxy.mode == Mode::Http;
        let (format, option) = match &draft.log.format {
            FormatDraft::Default => return LogFormat::Default,
            FormatDraft::Custom(format) => {
                if let (false, true, Some(code)) =
                    (http, draft.is_front(), expr::format::of_http(format))
                {
                    let span = draft.log.format_span.unwrap_or(draft.proxy.span);
                    let message = format!("format variable '{code}' is reserved for HTTP mode");
                    report.push(
                        Diagnostic::alert(span, message)
                            .label(format!("{} is in mode tcp", draft.title()))
                            .help("write 'mode http', or leave it out"),
                    );
                }
                (format, None)
            }
            FormatDraft::Tcplog => (&self.tcplog, None),
            FormatDraft::TcplogClf => (&self.tcplog_clf, None),
            FormatDraft::Httplog => (&self.httplog, Some("httplog")),
            FormatDraft::HttplogClf => (&self.httplog_clf, Some("httplog")),
            FormatDraft::Httpslog => (&self.httpslog, Some("httpslog")),
        };
        let Some(option) = option.filter(|_| !http) else {
            return LogFormat::Custom(format.clone());
        };
        if let (true, Some(span)) = (draft.is_front(), draft.log.format_span) {
            report.push(Diagnostic::warning(
                span,
                format!(
                    "'option {option}' not usable with {} (needs 'mode http'). Falling back to 'option tcplog'",
                    draft.title()
                ),
            ));
        }
        LogFormat::Custom(self.tcplog.clone())
    }
}
