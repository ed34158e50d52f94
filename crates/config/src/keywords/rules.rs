//! Rule lines: `acl`, `http-request`, `http-response`, `redirect` and their like (manual 4.2).

use super::absent;
use super::actions::{self, AFTER, Action, REQUEST, RESPONSE, ResponseParse};
use super::common::{self, HTTP_AFTER, HTTP_REQUEST, HTTP_RESPONSE, RuleSet};
use super::proxy::condition;
use super::{PROXIES, ProxyKeyword, RULES, Scope, Status, capture, implemented};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::expr::Stage;
use crate::lexer::Word;
use crate::model::{RequestAction, RequestRule, ResponseAction, ResponseRule};
use crate::nearest::did_you_mean;
use crate::registry::Known;
use crate::source::Span;

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    // Declared before all other lines of the section are read; see `check`.
    implemented("acl", RULES, |_, args, _| {
        args.rest();
        Ok(())
    }),
    implemented("http-request", RULES, http_request),
    implemented("http-response", RULES, http_response),
    implemented("redirect", PROXIES, redirect),
    implemented("http-after-response", RULES, http_after_response),
];

fn http_request(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    if let Some(outcome) = absent::action(args, scope) {
        return outcome;
    }
    let span = args.place();
    let word = args.required("an action such as deny or set-header")?;
    let mut action = match common::find(base(word), HTTP_REQUEST) {
        Some(row) => {
            common::read(row, word, HTTP_REQUEST, args, scope).map(RequestAction::Common)?
        }
        None => {
            let known = (REQUEST, actions::OTHER_REQUEST);
            let parse = look_up(word, "http-request", HTTP_REQUEST, known)?;
            args.keyword = actions::title(REQUEST, word).unwrap_or("http-request");
            parse(args, scope)?
        }
    };
    let condition = condition(draft, args, scope, Stage::Request)?;
    capture::settle_rule(draft, &mut action, span)?;
    warn_unreachable(draft, span, scope);
    if let Some(redirect) = draft.redirects.first() {
        let line = redirect.span.line;
        scope.report(
            Diagnostic::warning(
                span,
                "a 'http-request' rule placed after a 'redirect' rule will still be processed before",
            )
            .help(format!("move it above line {line}, or write 'http-request redirect' there")),
        );
    }
    draft.proxy.http_request.push(RequestRule {
        action,
        condition,
        span,
    });
    draft.http_only.entry("http-request").or_insert(span);
    Ok(())
}

fn http_response(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    if let Some(outcome) = absent::action(args, scope) {
        return outcome;
    }
    let known = (RESPONSE, actions::OTHER_RESPONSE);
    let rule = response_rule(("http-response", HTTP_RESPONSE), known, draft, args, scope)?;
    if let Some(last) = draft.proxy.http_response.last()
        && last.condition.is_none()
        && is_final_response(&last.action)
    {
        warn_after_final(draft, "http-response", last.span, rule.span, scope);
    }
    draft.proxy.http_response.push(rule);
    Ok(())
}

fn http_after_response(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    if let Some(outcome) = absent::action(args, scope) {
        return outcome;
    }
    let known = (AFTER, actions::OTHER_AFTER);
    let rule = response_rule(
        ("http-after-response", HTTP_AFTER),
        known,
        draft,
        args,
        scope,
    )?;
    draft.proxy.http_after_response.push(rule);
    Ok(())
}

/// A rule over responses, of those that this keyword knows.
fn response_rule(
    (keyword, set): (&'static str, RuleSet),
    known: (&[Action<ResponseParse>], &[&'static str]),
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<ResponseRule, Diagnostic> {
    let span = args.place();
    let word = args.required("an action such as set-header")?;
    let action = match common::find(base(word), set) {
        Some(row) => common::read(row, word, set, args, scope).map(ResponseAction::Common)?,
        None => {
            let parse = look_up(word, keyword, set, known)?;
            args.keyword = actions::title(known.0, word).unwrap_or(keyword);
            parse(args, scope)?
        }
    };
    let condition = condition(draft, args, scope, Stage::Response)?;
    draft.http_only.entry(keyword).or_insert(span);
    Ok(ResponseRule {
        action,
        condition,
        span,
    })
}

fn redirect(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let span = args.place();
    let redirect = actions::redirect(args, scope, Stage::Request)?;
    let condition = condition(draft, args, scope, Stage::Request)?;
    draft.redirects.push(RequestRule {
        action: RequestAction::Redirect(Box::new(redirect)),
        condition,
        span,
    });
    draft.http_only.entry("redirect").or_insert(span);
    Ok(())
}

/// The name of an action, without what stands in parentheses.
fn base(word: &Word) -> &str {
    word.text.split('(').next().unwrap_or_default()
}

/// The parse function of an action, or why there is none.
fn look_up<A: Copy>(
    word: &Word,
    keyword: &str,
    set: RuleSet,
    (table, others): (&[Action<A>], &[&'static str]),
) -> Result<A, Diagnostic> {
    let base = base(word);
    let known = table.iter().find(|action| action.name() == base);
    if let Some(action) = known {
        return match &action.status {
            Status::Implemented(parse) => Ok(*parse),
            status => Err(super::verdict(action.title, status, word.span)
                .unwrap_or_else(|| Diagnostic::alert(word.span, "not implemented yet"))),
        };
    }
    if others.contains(&base) || base.starts_with("lua.") {
        let name = format!("{keyword} {base}");
        return Err(super::verdict(&name, &Status::<()>::NotYet, word.span)
            .unwrap_or_else(|| Diagnostic::alert(word.span, "not implemented yet")));
    }
    let names = table.iter().map(|action| action.name());
    let names = names.chain(common::names(set));
    let hint = did_you_mean(base, names.chain(others.iter().copied()));
    let alert = Diagnostic::alert(
        word.span,
        format!("'{keyword}' does not know the action '{}'", word.text),
    );
    Err(match hint {
        Some(hint) => alert.help(hint),
        None => alert,
    })
}

/// A final action without a condition hides what follows it.
fn warn_unreachable(draft: &Draft, span: Span, scope: &Scope<'_>) {
    if let Some(last) = draft.proxy.http_request.last()
        && last.condition.is_none()
        && is_final(&last.action)
    {
        warn_after_final(draft, "http-request", last.span, span, scope);
    }
}

fn warn_after_final(draft: &Draft, rules: &str, last: Span, span: Span, scope: &Scope<'_>) {
    let inherited = last.line < draft.proxy.span.line || last.source != span.source;
    if !inherited {
        scope.report(
            Diagnostic::warning(
                span,
                format!(
                    "previous '{rules}' action is final and has no condition attached, further entries are NOOP"
                ),
            )
            .help(format!("give line {} a condition, or move it down", last.line)),
        );
    }
}

/// Whether no response gets past this action.
fn is_final_response(action: &ResponseAction) -> bool {
    if let ResponseAction::Redirect(redirect) = action {
        return !redirect.ignore_empty;
    }
    matches!(
        action,
        ResponseAction::Allow
            | ResponseAction::Deny(_)
            | ResponseAction::Return(_)
            | ResponseAction::SilentDrop
    )
}

/// Whether nothing of the section is looked at after this action.
pub(crate) fn is_final(action: &RequestAction) -> bool {
    // A redirection to nowhere is none (`ignore-empty`).
    if let RequestAction::Redirect(redirect) = action {
        return !redirect.ignore_empty;
    }
    matches!(
        action,
        RequestAction::Allow
            | RequestAction::Deny(_)
            | RequestAction::Auth(_)
            | RequestAction::Tarpit(_)
            | RequestAction::Return(_)
            | RequestAction::PrometheusExporter
            | RequestAction::NodePush
            | RequestAction::Reject
            | RequestAction::SilentDrop
    )
}

/// All actions of HTTP rules, for the reference.
pub(crate) fn known() -> Vec<Known> {
    fn set<A>(
        all: &mut Vec<Known>,
        (rules, set): (&str, RuleSet),
        table: &[Action<A>],
        others: &[&str],
    ) {
        all.extend(common::known(rules, set));
        let here = table
            .iter()
            .map(|it| Known::new(rules, it.name(), &it.status));
        all.extend(here);
        let missing = others
            .iter()
            .map(|it| Known::new(rules, it, &Status::<()>::NotYet));
        all.extend(missing);
    }
    let mut all = Vec::new();
    set(
        &mut all,
        ("http-request", common::HTTP_REQUEST),
        REQUEST,
        actions::OTHER_REQUEST,
    );
    set(
        &mut all,
        ("http-response", common::HTTP_RESPONSE),
        RESPONSE,
        actions::OTHER_RESPONSE,
    );
    set(
        &mut all,
        ("http-after-response", common::HTTP_AFTER),
        AFTER,
        actions::OTHER_AFTER,
    );
    all
}
