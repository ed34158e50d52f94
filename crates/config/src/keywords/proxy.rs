//! What a proxy is and where its traffic goes: `mode`, `maxconn`, `balance`, `use_backend` …
//! (manual 4.2).

use super::{
    ALL, BACK, BACK_ONLY, FRONT, FRONT_ONLY, FRONT_RULES, PROXIES, ProxyKeyword, Scope, accepted,
    filters, implemented, not_in_force, refused,
};
use super::{bind, server};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::{Draft, Named, StateFrom, UseBackendDraft};
use crate::expr::{self, Stage};
use crate::lexer::Word;
use crate::model::{Mode, ServerName, UseServer};
use crate::values::next_number;

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("backlog", FRONT, |draft, args, _| {
        draft.front.backlog = Some(next_number(args, 0..=i32::MAX as u64)?);
        args.end()
    }),
    implemented("bind", FRONT_ONLY, bind::bind),
    implemented("default-server", BACK, server::default_server),
    implemented("default_backend", FRONT, default_backend),
    implemented("description", PROXIES, |draft, args, _| {
        if args.peek().is_none_or(|word| word.text.is_empty()) {
            args.required("a text")?;
        }
        let words: Vec<&str> = args.rest().iter().map(|word| word.text.as_str()).collect();
        draft.proxy.description = Some(words.join(" ").into());
        Ok(())
    }),
    implemented("disabled", ALL, |draft, args, _| {
        args.end()?;
        draft.proxy.disabled = true;
        Ok(())
    }),
    implemented("enabled", ALL, |draft, args, _| {
        args.end()?;
        draft.proxy.disabled = false;
        Ok(())
    }),
    implemented("id", PROXIES, |draft, args, _| {
        draft.proxy.id = Some(next_number(args, 1..=i32::MAX as u64)?);
        args.end()
    }),
    implemented("load-server-state-from-file", BACK, server_state),
    implemented("server-state-file-name", BACK, |draft, args, _| {
        let word = args.required("use-backend-name, or the path of a file")?;
        draft.back.state_file_name = match word.is("use-backend-name") {
            true => None,
            false => Some(word.text.as_str().into()),
        };
        args.end()
    }),
    implemented("rate-limit sessions", FRONT, |draft, args, _| {
        let value = next_number(args, 0..=u64::from(u32::MAX))?;
        draft.front.session_rate_max = (value > 0).then_some(value);
        args.end()
    }),
    implemented("maxconn", FRONT, |draft, args, _| {
        let value = next_number(args, 0..=i32::MAX as u64)?;
        draft.front.maxconn = (value > 0).then_some(value);
        args.end()
    }),
    implemented("mode", ALL, mode),
    implemented("server", BACK_ONLY, server::server),
    implemented("server-template", BACK_ONLY, server::template),
    implemented("use_backend", FRONT_ONLY, use_backend),
    not_in_force("compression", ALL, filters::COMPRESSION),
    not_in_force("email-alert from", ALL, NO_MAIL),
    not_in_force("email-alert level", ALL, NO_MAIL),
    not_in_force("email-alert mailers", ALL, NO_MAIL),
    not_in_force("email-alert myhostname", ALL, NO_MAIL),
    not_in_force("email-alert to", ALL, NO_MAIL),
    refused(
        "use-fcgi-app",
        BACK_ONLY,
        filters::FCGI,
        filters::FCGI_INSTEAD,
    ),
    refused(
        "dgram-bind",
        FRONT_ONLY,
        "datagrams are not relayed",
        "let a syslog daemon or a UDP proxy do it",
    ),
    accepted(
        "quic-initial",
        FRONT_RULES,
        "HTTP/3 is not served: there is no first packet to judge",
    ),
    refused("crt", FRONT_ONLY, NO_SHARED, NO_SHARED_INSTEAD),
    refused("ssl-f-use", FRONT_ONLY, NO_SHARED, NO_SHARED_INSTEAD),
    accepted("guid", PROXIES, "nothing refers to it"),
    accepted(
        "max-session-srv-conns",
        FRONT,
        "connections are pooled, not kept by clients",
    ),
    implemented("be-unpublished", BACK_ONLY, |draft, args, _| {
        args.end()?;
        draft.back.unpublished = true;
        Ok(())
    }),
    implemented("force-be-switch", FRONT_ONLY, |draft, args, scope| {
        if !args.at_condition() {
            let place = args.peek().map_or(args.missing_place(), |word| word.span);
            let message =
                "'force-be-switch' requires either 'if' or 'unless' followed by a condition";
            return Err(Diagnostic::alert(place, message));
        }
        let condition = condition(draft, args, scope, Stage::Request)?;
        draft.front.force_switch.extend(condition);
        Ok(())
    }),
    implemented("use-server", BACK_ONLY, use_server),
];

const NO_SHARED: &str = "certificates belong to 'bind' lines";
const NO_SHARED_INSTEAD: &str =
    "write 'crt FILE' on each 'bind' line, or name one 'crt-list' there";
const NO_MAIL: &str = "no mail is sent: watch the log or the metrics instead";

fn mode(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("tcp or http")?;
    args.end()?;
    draft.proxy.mode = match word.text.as_str() {
        "tcp" => Mode::Tcp,
        "http" => Mode::Http,
        "health" => {
            return Err(
                Diagnostic::alert(word.span, "'mode health' is not supported anymore")
                    .help("write 'http-request return status 200' in 'mode http'"),
            );
        }
        "haterm" | "log" | "spop" => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'mode {}' is not implemented yet", word.text),
            ));
        }
        other => {
            return Err(
                Diagnostic::alert(word.span, format!("unknown proxy mode '{other}'"))
                    .label("expected tcp or http"),
            );
        }
    };
    Ok(())
}

fn server_state(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("global, local or none")?;
    draft.back.state_from = match word.text.as_str() {
        "none" => StateFrom::None,
        "global" => StateFrom::Global,
        "local" => StateFrom::Local,
        other => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'load-server-state-from-file' does not know '{other}'"),
            )
            .label("expected global, local or none"));
        }
    };
    args.end()
}

fn default_backend(
    draft: &mut Draft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("the name of a backend")?;
    args.end()?;
    draft.front.default_backend = Some(named(word));
    Ok(())
}

fn use_backend(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("the name of a backend")?;
    let computed = match word.text.contains('%') {
        true => {
            let context = scope.expressions(Stage::Request);
            Some(expr::format::parse(word, &context)?.into())
        }
        false => None,
    };
    let condition = condition(draft, args, scope, Stage::Request);
    // Also when the condition is wrong: whether the backend exists is told all the same.
    let rule = condition.as_ref().ok().cloned().flatten();
    draft.front.use_backend.push(UseBackendDraft {
        named: named(word),
        computed,
        condition: rule,
    });
    condition.map(|_| ())
}

/// `use-server NAME|FORMAT [if CONDITION]`.
fn use_server(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("the name of a server")?;
    let server = match word.text.contains('%') {
        true => {
            let context = scope.expressions(Stage::Request);
            ServerName::Computed(expr::format::parse(word, &context)?)
        }
        false => ServerName::Is(word.text.as_str().into()),
    };
    let condition = condition(draft, args, scope, Stage::Request)?;
    draft.use_server.push(UseServer {
        server,
        condition,
        span: word.span,
    });
    Ok(())
}

/// Tells of rules that name a server which their section does not have.
pub(crate) fn check_use_server(draft: &Draft, report: &mut Vec<Diagnostic>) {
    for rule in &draft.use_server {
        let ServerName::Is(name) = &rule.server else {
            continue;
        };
        let mut names = draft.back.servers.iter().map(|it| &*it.server.name);
        if names.any(|known| known == &**name) {
            continue;
        }
        let message = format!(
            "{}: unable to find server '{name}' referenced in a 'use-server' rule",
            draft.title()
        );
        let alert = Diagnostic::alert(rule.span, message);
        let names = draft.back.servers.iter().map(|it| &*it.server.name);
        report.push(match crate::nearest::did_you_mean(name, names) {
            Some(hint) => alert.help(hint),
            None => alert,
        });
    }
}

fn named(word: &Word) -> Named {
    Named {
        name: word.text.as_str().into(),
        span: word.span,
    }
}

/// The rest of the line: nothing, or `if`/`unless` and a condition.
pub(crate) fn condition(
    draft: &Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<Option<expr::Condition>, Diagnostic> {
    if !args.at_condition() {
        return match args.peek() {
            None => Ok(None),
            Some(word) => Err(Diagnostic::alert(
                word.span,
                format!(
                    "'{}' expects either 'if' or 'unless' followed by a condition but found '{}'",
                    args.keyword, word.text
                ),
            )),
        };
    }
    let words = args.rest();
    let condition = expr::condition::parse(words, &draft.acls, &scope.expressions(stage))?;
    for term in condition.any_of.iter().flatten() {
        declared_before(&term.acl, words)?;
    }
    Ok(Some(condition))
}

/// All `acl` lines of a section are declared before its rules are read, because a later line of
/// the same name counts for earlier rules; the first one must still come before its use.
fn declared_before(acl: &expr::Acl, words: &[Word]) -> Result<(), Diagnostic> {
    let Some(declared) = acl.span.filter(|_| !acl.name.is_empty()) else {
        return Ok(());
    };
    let later = |word: &&Word| {
        declared.source == word.span.source
            && declared.line > word.span.line
            && word.text.trim_start_matches('!') == &*acl.name
    };
    match words.iter().find(later) {
        Some(word) => Err(
            Diagnostic::alert(word.span, format!("no such ACL : '{}'", acl.name))
                .label(format!("it is declared only on line {}", declared.line))
                .help("move the 'acl' line above this one"),
        ),
        _ => Ok(()),
    }
}
