//! `tcp-request` and `tcp-response` rules (manual 4.2, their actions 4.3 and 4.4).

use super::absent;
use super::common::{self, RuleSet};
use super::proxy::condition;
use super::{BACK_RULES, ProxyKeyword, RULES, Scope, Status, capture, implemented};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::expr::Stage;
use crate::lexer::Word;
use crate::model::{Mode, TcpAction, TcpRule, TcpRules};
use crate::nearest::did_you_mean;
use crate::registry::Known;
use crate::source::Span;
use crate::values::{Unit, limit, next_duration, number};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("tcp-request connection", RULES, |draft, args, scope| {
        rule(draft, args, scope, &CONNECTION)
    }),
    implemented("tcp-request session", RULES, |draft, args, scope| {
        rule(draft, args, scope, &SESSION)
    }),
    implemented("tcp-request content", RULES, |draft, args, scope| {
        rule(draft, args, scope, &REQUEST)
    }),
    implemented("tcp-request inspect-delay", RULES, |draft, args, scope| {
        draft.proxy.tcp.request_delay = limit(next_duration(args, Unit::Milliseconds)?);
        args.ignore_rest(scope);
        Ok(())
    }),
    implemented("tcp-response content", RULES, |draft, args, scope| {
        rule(draft, args, scope, &RESPONSE)
    }),
    implemented(
        "tcp-response inspect-delay",
        BACK_RULES,
        |draft, args, scope| {
            draft.proxy.tcp.response_delay = limit(next_duration(args, Unit::Milliseconds)?);
            args.ignore_rest(scope);
            Ok(())
        },
    ),
];

/// One of the four sets of rules.
struct Set {
    set: RuleSet,
    /// Its actions.
    actions: &'static [(&'static str, Parse)],
    /// Actions of HAProxy that are not there yet; a star stands for any ending.
    others: &'static [&'static str],
    /// Whether a section may have them. Elsewhere they would be missed.
    allowed: fn(&Draft) -> bool,
    /// Where its rules are kept.
    rules: fn(&mut TcpRules) -> &mut Vec<TcpRule>,
}

/// Reads the arguments of an action.
type Parse = fn(&mut Draft, &mut Args<'_>, &Scope<'_>) -> Result<TcpAction, Diagnostic>;

const ACCEPT: (&str, Parse) = ("accept", |_, _, _| Ok(TcpAction::Accept));
const REJECT: (&str, Parse) = ("reject", |_, _, _| Ok(TcpAction::Reject));
const SILENT_DROP: (&str, Parse) = ("silent-drop", |_, args, _| {
    silent_drop(args).map(|()| TcpAction::SilentDrop)
});

const CONNECTION: Set = Set {
    set: common::TCP_CONNECTION,
    actions: &[ACCEPT, REJECT, SILENT_DROP, ("expect-proxy", expect_proxy)],
    others: &["do-log", "expect-netscaler-cip"],
    allowed: Draft::is_front,
    rules: |tcp| &mut tcp.connection,
};

const SESSION: Set = Set {
    set: common::TCP_SESSION,
    actions: &[ACCEPT, REJECT, SILENT_DROP],
    others: &["attach-srv", "do-log"],
    allowed: Draft::is_front,
    rules: |tcp| &mut tcp.session,
};

const REQUEST: Set = Set {
    set: common::TCP_REQUEST,
    actions: &[
        ACCEPT,
        REJECT,
        SILENT_DROP,
        ("capture", keep),
        ("switch-mode", switch_mode),
    ],
    others: &[
        "do-log",
        "do-resolve",
        "ot-group",
        "send-spoe-group",
        "use-service",
    ],
    allowed: |_| true,
    rules: |tcp| &mut tcp.request,
};

const RESPONSE: Set = Set {
    set: common::TCP_RESPONSE,
    actions: &[
        ACCEPT,
        REJECT,
        SILENT_DROP,
        ("close", |_, _, _| Ok(TcpAction::Close)),
    ],
    others: &["do-log", "ot-group", "send-spoe-group"],
    allowed: Draft::is_back,
    rules: |tcp| &mut tcp.response,
};

fn rule(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    set: &Set,
) -> Result<(), Diagnostic> {
    let span = args.place();
    if !(set.allowed)(draft) {
        let message = format!("'{}' is not for {}", args.keyword, draft.title());
        return Err(Diagnostic::alert(span, message).label(match set.set.stage {
            Stage::Response => "only backends have a server that answers",
            _ => "only frontends accept connections",
        }));
    }
    if let Some(outcome) = absent::action(args, scope) {
        return outcome;
    }
    let word = args.required("an action such as accept or reject")?;
    let base = word.text.split('(').next().unwrap_or_default();
    let action = match common::find(base, set.set) {
        Some(row) => common::read(row, word, set.set, args, scope).map(TcpAction::Common)?,
        None => look_up(word, args.keyword, set)?(draft, args, scope)?,
    };
    let condition = condition(draft, args, scope, set.set.stage)?;
    warn_misplaced(draft, args.keyword, span, scope);
    let rules = (set.rules)(&mut draft.proxy.tcp);
    rules.push(TcpRule {
        action,
        condition,
        span,
    });
    Ok(())
}

fn look_up(word: &Word, keyword: &str, set: &Set) -> Result<Parse, Diagnostic> {
    let base = word.text.split('(').next().unwrap_or_default();
    let known = set.actions.iter().find(|(name, _)| *name == base);
    if let Some((_, parse)) = known {
        return Ok(*parse);
    }
    let is_other = |other: &&str| match other.strip_suffix('*') {
        Some(beginning) => base.starts_with(beginning),
        None => base == *other,
    };
    if set.others.iter().any(is_other) || base.starts_with("lua.") {
        let name = format!("{keyword} {base}");
        return Err(super::verdict(&name, &Status::<()>::NotYet, word.span)
            .unwrap_or_else(|| Diagnostic::alert(word.span, "not implemented yet")));
    }
    let names = set.actions.iter().map(|(name, _)| *name);
    let names: Vec<&str> = names.chain(common::names(set.set)).collect();
    let alert = Diagnostic::alert(
        word.span,
        format!("'{keyword}' does not know the action '{}'", word.text),
    );
    Err(match did_you_mean(base, names.iter().copied()) {
        Some(hint) => alert.help(hint),
        None => alert.help(format!("its actions are {}", crate::values::list(&names))),
    })
}

/// `silent-drop [rst-ttl TTL]`: where the socket cannot be forgotten, the reset is sent with so
/// short a life that it should not arrive; a TTL of one's own says how short.
pub(super) fn silent_drop(args: &mut Args<'_>) -> Result<(), Diagnostic> {
    if args.take("rst-ttl") {
        let word = args.required("a time to live")?;
        number(word, "silent-drop rst-ttl", 0..=255)?;
        return Err(
            Diagnostic::alert(word.span, "'silent-drop rst-ttl' is not implemented yet")
                .help("leave it out: the reset is sent with a time to live of 1 then"),
        );
    }
    Ok(())
}

fn expect_proxy(
    _: &mut Draft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<TcpAction, Diagnostic> {
    let word = args.required("layer4")?;
    match word.is("layer4") {
        true => Ok(TcpAction::ExpectProxy),
        false => Err(Diagnostic::alert(
            word.span,
            format!("'expect-proxy' does not know '{}'", word.text),
        )
        .label("expected layer4")),
    }
}

/// `switch-mode http [proto NAME]`.
fn switch_mode(
    draft: &mut Draft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<TcpAction, Diagnostic> {
    let word = args.required("http")?;
    if !word.is("http") {
        return Err(Diagnostic::alert(
            word.span,
            format!("'switch-mode' does not know '{}'", word.text),
        )
        .label("expected http"));
    }
    if !draft.is_front() {
        return Err(Diagnostic::alert(
            word.span,
            "'switch-mode' is for frontends: a backend is in the mode it says",
        ));
    }
    if args.take("proto") {
        super::params::proto("tcp-request content switch-mode http", args)?;
    }
    Ok(TcpAction::SwitchToHttp)
}

/// `capture SAMPLE len N`: the frontend's next slot.
fn keep(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<TcpAction, Diagnostic> {
    let span = args.place();
    let mut capture = capture::rule(args, scope, Stage::Request)?;
    if capture.declares.is_none() {
        return Err(Diagnostic::alert(
            span,
            "'tcp-request content capture' : a positive 'len' argument is mandatory",
        ));
    }
    capture::declare_slot(draft, &mut capture, span, "tcp-request content capture")?;
    Ok(TcpAction::Capture(Box::new(capture)))
}

/// Rules are carried out in the order of their sets, wherever they stand (manual 4.2).
fn warn_misplaced(draft: &Draft, keyword: &'static str, span: Span, scope: &Scope<'_>) {
    let tcp = &draft.proxy.tcp;
    // What is inherited has its turn before all of the section anyhow.
    let section = draft.proxy.span;
    let is_own = |span: Span| span.source == section.source && span.start > section.start;
    let any_own = |rules: &[TcpRule]| rules.iter().any(|rule| is_own(rule.span));
    let own_http = draft.proxy.http_request.iter().any(|it| is_own(it.span));
    let later: &[(bool, &str)] = &[
        (any_own(&tcp.session), "tcp-request session"),
        (any_own(&tcp.request), "tcp-request content"),
        (own_http, "http-request"),
        (!draft.redirects.is_empty(), "redirect"),
        (!draft.front.use_backend.is_empty(), "use_backend"),
    ];
    let skipped = match keyword {
        "tcp-request connection" => 0,
        "tcp-request session" => 1,
        "tcp-request content" => 2,
        _ => return,
    };
    let mut misplaced = later[skipped..].iter().filter(|(there, _)| *there);
    if let Some((_, other)) = misplaced.next() {
        scope.report(
            Diagnostic::warning(
                span,
                format!(
                    "a '{keyword}' rule placed after a '{other}' rule will still be processed before"
                ),
            )
            .help("move it up, so that the file reads as it works"),
        );
    }
}

/// What rules over a server's first bytes cannot do yet in `mode tcp`.
pub(crate) fn not_yet(draft: &Draft) -> Option<Diagnostic> {
    let rules = &draft.proxy.tcp.response;
    if draft.proxy.mode == Mode::Http {
        return None;
    }
    let mut conditions = rules
        .iter()
        .filter_map(|rule| Some((rule.condition.as_ref()?, rule.span)));
    let (_, span) = conditions.find(|(condition, _)| condition.looks_at_response())?;
    Some(
        Diagnostic::alert(span, "an HTTP response in mode tcp is not looked at yet")
            .help("look at its bytes, as in 'res.payload(0,12) -m str \"HTTP/1.1 200\"'"),
    )
}

/// All actions of TCP rules, for the reference.
pub(crate) fn known() -> Vec<Known> {
    let sets = [
        ("tcp-request connection", &CONNECTION),
        ("tcp-request session", &SESSION),
        ("tcp-request content", &REQUEST),
        ("tcp-response content", &RESPONSE),
    ];
    let mut all = Vec::new();
    for (rules, set) in sets {
        let here = set.actions.iter().map(|(name, _)| *name);
        all.extend(here.map(|name| Known::new(rules, name, &Status::Implemented(()))));
        all.extend(common::known(rules, set.set));
        let missing = set.others.iter();
        all.extend(missing.map(|name| Known::new(rules, name, &Status::<()>::NotYet)));
    }
    all
}
