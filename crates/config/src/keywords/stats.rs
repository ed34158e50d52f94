//! `stats …` of proxies (manual 4.2): the page and who may see it.

use std::sync::Arc;

use super::proxy::condition;
use super::{ALL, PROXIES, ProxyKeyword, Scope, actions, implemented};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::expr::Stage;
use crate::model::{Reply, ReplyBody, RequestAction, RequestRule, RuleList, Secret, StatsPage};
use crate::values::{Unit, limit, next_duration};

/// HAProxy's own defaults, so that bookmarks and scripts stay valid.
const URI_DEFAULT: &str = "/haproxy?stats";
const REALM_DEFAULT: &str = "HAProxy Statistics";

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("stats enable", ALL, |draft, args, scope| {
        args.ignore_rest(scope);
        page(draft, args);
        Ok(())
    }),
    implemented("stats uri", ALL, uri),
    implemented("stats auth", ALL, auth),
    implemented("stats refresh", ALL, refresh),
    implemented("stats realm", ALL, |draft, args, _| {
        let realm: Arc<str> = args.required("a realm")?.text.as_str().into();
        page(draft, args).realm = realm;
        draft.stats.basic = Some(args.place());
        Ok(())
    }),
    implemented("stats hide-version", ALL, |draft, args, _| {
        page(draft, args).hide_version = true;
        Ok(())
    }),
    implemented("stats show-version", ALL, |draft, args, _| {
        page(draft, args).hide_version = false;
        Ok(())
    }),
    implemented("stats show-legends", ALL, |draft, args, _| {
        page(draft, args).show_legends = true;
        Ok(())
    }),
    implemented("stats show-desc", ALL, |draft, args, _| {
        let text = joined(args);
        page(draft, args).description = Some(text);
        Ok(())
    }),
    implemented("stats show-node", ALL, |draft, args, _| {
        let text = joined(args);
        page(draft, args).node = Some(text);
        Ok(())
    }),
    implemented("stats admin", PROXIES, admin),
    implemented("stats http-request", PROXIES, http_request),
    implemented("stats scope", ALL, |draft, args, _| {
        let name = args.required("the name of a proxy, or a dot for this one")?;
        let name: Arc<str> = name.text.as_str().into();
        page(draft, args).scope.push(name);
        Ok(())
    }),
    implemented("stats show-modules", ALL, |draft, args, _| {
        page(draft, args).show_modules = true;
        Ok(())
    }),
];

/// The page of this proxy; any `stats` line brings it about.
fn page<'d>(draft: &'d mut Draft, args: &Args<'_>) -> &'d mut StatsPage {
    draft.stats.span = Some(args.place());
    draft.stats.page.get_or_insert_with(|| StatsPage {
        uri: URI_DEFAULT.into(),
        realm: REALM_DEFAULT.into(),
        auth: Vec::new(),
        http_request: RuleList::default(),
        admin: Vec::new(),
        scope: Vec::new(),
        show_modules: false,
        refresh: None,
        hide_version: false,
        show_legends: false,
        description: None,
        node: None,
    })
}

/// The words that follow, as one text; empty when there are none: then `global` has it.
fn joined(args: &mut Args<'_>) -> Arc<str> {
    let words: Vec<&str> = args.rest().iter().map(|word| word.text.as_str()).collect();
    words.join(" ").into()
}

fn uri(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("the path of the page, such as /stats")?;
    let uri: Arc<str> = crate::values::header_text(word)?;
    if !uri.starts_with('/') {
        scope.report(
            Diagnostic::warning(word.span, format!("'stats uri {uri}' matches no request"))
                .label("expected a path that starts with /"),
        );
    }
    page(draft, args).uri = uri;
    Ok(())
}

/// The password stays out of every message: snippets mask these lines, too.
fn auth(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("user:password")?;
    if let Some(more) = args.peek() {
        // Not quoted in the message: it may be the rest of the password.
        return Err(
            Diagnostic::alert(more.span, "'stats auth' expects one word, user:password")
                .help("quote it when it has spaces"),
        );
    }
    let (user, password) = word.text.split_once(':').ok_or_else(|| {
        Diagnostic::alert(word.span, "'stats auth' expects user:password")
            .label("there is no colon in it")
    })?;
    let secret = Secret(password.into());
    page(draft, args).auth.push((user.into(), secret));
    draft.stats.basic = Some(args.place());
    Ok(())
}

fn refresh(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let interval = next_duration(args, Unit::Seconds)?;
    page(draft, args).refresh = limit(interval);
    Ok(())
}

fn admin(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    if !args.at_condition() {
        let place = args.peek().map_or(args.missing_place(), |word| word.span);
        return Err(
            Diagnostic::alert(place, "'stats admin' expects a condition")
                .label("expected if or unless"),
        );
    }
    if let Some(condition) = condition(draft, args, scope, Stage::Request)? {
        page(draft, args).admin.push(condition);
    }
    Ok(())
}

/// `stats http-request allow|deny|auth [realm R] [if …]`.
fn http_request(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let span = args.place();
    let word = args.required("allow, deny or auth")?;
    let action = match word.text.as_str() {
        "allow" => RequestAction::Allow,
        "deny" => RequestAction::Deny(Box::new(Reply {
            status: 403,
            content_type: None,
            headers: Vec::new(),
            body: ReplyBody::Default,
        })),
        "auth" => actions::auth(args)?,
        other => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'stats http-request' does not know '{other}'"),
            )
            .label("expected allow, deny or auth"));
        }
    };
    let condition = condition(draft, args, scope, Stage::Request)?;
    page(draft, args).http_request.push(RequestRule {
        action,
        condition,
        span,
    });
    Ok(())
}
