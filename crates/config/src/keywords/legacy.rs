//! Keywords that HAProxy has removed and that do here what they did: each is read as the modern line
//! that means the same, which the warning shows for copying.
//!
//! Manual 1.8 (sections 4.2 and 6) is what they meant. Lines over whole header lines by regular
//! expression (`reqrep` …) are read where the expression says which header it is about; any other is
//! refused, because a guess would let through what it was meant to keep out.

use super::{PROXY_TABLES, Scope, SectionKind, Status, find};
use crate::args::Args;
use crate::ast::{Line, Modifier};
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::lexer::Word;
use crate::model::{Mode, RequestAction, RequestRule, ResponseAction, ResponseRule};
use crate::source::Span;

/// What the modern lines are made of: a word of the old line, or one of our own.
enum Piece<'a> {
    Old(&'a Word),
    New(String),
}

fn new<'a>(text: impl Into<String>) -> Piece<'a> {
    Piece::New(text.into())
}

/// Reads the modern line in the old one's place.
fn read_as(
    draft: &mut Draft,
    args: &Args<'_>,
    scope: &Scope<'_>,
    pieces: Vec<Piece<'_>>,
) -> Result<(), Diagnostic> {
    let (line, shown) = translation(args.place(), pieces);
    scope.report(gone(args.keyword, args.place()).help(format!("write: {shown}")));
    carry_out(draft, &line, scope)
}

/// The modern line, and how it could stand in a file.
fn translation(place: Span, pieces: Vec<Piece<'_>>) -> (Line, String) {
    let words: Vec<Word> = pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Old(word) => word.clone(),
            Piece::New(text) => Word {
                text,
                span: place,
                quoted: false,
            },
        })
        .collect();
    let shown: Vec<String> = words.iter().map(written).collect();
    let line = Line {
        span: place,
        words,
        modifier: Modifier::None,
    };
    (line, shown.join(" "))
}

/// Has a line read with its keyword's parse function.
fn carry_out(draft: &mut Draft, line: &Line, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let Some((keyword, taken)) = find(PROXY_TABLES.iter().copied(), &line.words) else {
        return Ok(());
    };
    match keyword.status {
        Status::Implemented(parse) => {
            parse(draft, &mut Args::new(line, keyword.name, taken), scope)
        }
        ref status => super::verdict(keyword.name, status, line.span).map_or(Ok(()), Err),
    }
}

fn gone(keyword: &str, place: Span) -> Diagnostic {
    let message = format!("the '{keyword}' directive is not supported anymore by HAProxy");
    Diagnostic::warning(place, message).label("read as what it meant")
}

/// A word as it could stand in a file.
fn written(word: &Word) -> String {
    let text = &word.text;
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\' | '#' | '$');
    if !text.is_empty() && text.chars().all(plain) {
        return text.clone();
    }
    match text.contains('\'') {
        false => format!("'{text}'"),
        true => {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{}\"", escaped.replace('$', "\\$"))
        }
    }
}

/// `listen NAME ADDRESS [parameters]`: the address belongs to a `bind` line.
pub(crate) fn address(
    draft: &mut Draft,
    words: &[Word],
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let Some(first) = words.first() else {
        return Ok(());
    };
    let line = Line {
        span: first.span,
        words: words.to_vec(),
        modifier: Modifier::None,
    };
    let mut pieces = vec![new("bind")];
    pieces.extend(words.iter().map(Piece::Old));
    let args = Args::new(&line, "address in the section's first line", 1);
    read_as(draft, &args, scope, pieces)
}

/// Refused, because no modern line surely means the same.
fn unclear(word: &Word, keyword: &str, write: &str) -> Diagnostic {
    Diagnostic::alert(
        word.span,
        format!("the '{keyword}' directive is not supported anymore by HAProxy"),
    )
    .label("this one cannot be read as a modern rule for sure")
    .help(format!("write {write}"))
}

/// The old line has a modern name and the same arguments.
macro_rules! renamed {
    ($name:ident, $($word:literal)+) => {
        pub(super) fn $name(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
            let mut pieces = vec![$(new($word)),+];
            pieces.extend(args.rest().iter().map(Piece::Old));
            read_as(draft, args, scope, pieces)
        }
    };
}

renamed!(timeout_client, "timeout" "client");
renamed!(timeout_connect, "timeout" "connect");
renamed!(timeout_server, "timeout" "server");
renamed!(redispatch, "option" "redispatch");
renamed!(close, "option" "httpclose");
renamed!(splice, "option" "splice-auto");
renamed!(independent, "option" "independent-streams");
renamed!(dispatch, "server" "dispatch");

/// It had an effect once, and leaving it out has none now.
pub(super) fn nothing(
    _: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    args.rest();
    let alert = gone(args.keyword, args.place()).label("it is left out");
    scope.report(alert.help("remove the line"));
    Ok(())
}

/// `transparent`: on to where the client meant to go.
pub(super) fn transparent(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    args.end()?;
    let pieces = ["server", "transparent", "0.0.0.0"].map(new);
    read_as(draft, args, scope, pieces.into())
}

/// `block`: such rules came before all `http-request` rules.
pub(super) fn block(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    if !args.at_condition() {
        let place = args.missing_place();
        let alert = Diagnostic::alert(place, "'block' expects 'if' or 'unless' and a condition");
        return Err(alert.label("nothing follows"));
    }
    let mut pieces = vec![new("http-request"), new("deny")];
    pieces.extend(args.rest().iter().map(Piece::Old));
    first(draft, |draft| read_as(draft, args, scope, pieces))
}

/// Reads a rule of our own making, for what is an option and comes to a rule.
pub(super) fn rule(
    draft: &mut Draft,
    text: &str,
    place: Span,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = |text: &str| Word {
        text: text.to_owned(),
        span: place,
        quoted: false,
    };
    let line = Line {
        span: place,
        words: text.split(' ').map(word).collect(),
        modifier: Modifier::None,
    };
    carry_out(draft, &line, scope)
}

/// Puts the rule that `read` adds before all others but those put there before.
pub(super) fn first(
    draft: &mut Draft,
    read: impl FnOnce(&mut Draft) -> Result<(), Diagnostic>,
) -> Result<(), Diagnostic> {
    let mut later = Vec::new();
    let place = draft.rules_first.min(draft.proxy.http_request.len());
    later.extend(draft.proxy.http_request.drain(place..));
    let outcome = read(draft);
    draft.rules_first = draft.proxy.http_request.len();
    later
        .into_iter()
        .for_each(|rule| draft.proxy.http_request.push(rule));
    outcome
}

/// `monitor-net NETWORK`: its requests are answered at once. It answered connections once, before
/// anything was sent; the warning says what of this is lost.
pub(super) fn monitor_net(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let network = args.required("a network such as 10.0.0.0/8")?;
    args.end()?;
    if draft.proxy.mode == Mode::Tcp {
        let write = "'tcp-request connection reject if { src … }'";
        return Err(unclear(network, args.keyword, write));
    }
    if draft.kind == SectionKind::Defaults {
        let write =
            "'monitor-uri', or the rule 'http-request return status 200 if { src … }' in frontends";
        return Err(unclear(network, args.keyword, write));
    }
    let mut pieces: Vec<Piece<'_>> = ["http-request", "return", "status", "200", "if", "{", "src"]
        .map(new)
        .into();
    pieces.extend([Piece::Old(network), new("}")]);
    let (line, shown) = translation(args.place(), pieces);
    let warning = gone(args.keyword, args.place()).label(
        "read as a rule: 'tcp-request' rules come before it, it answers whole requests only, and they are logged",
    );
    scope.report(warning.help(format!("write: {shown}")));
    first(draft, |draft| carry_out(draft, &line, scope))
}

/// A rule that old lines come to, the warning about the line, and its keyword.
type Late<R> = (R, Diagnostic, &'static str);

/// What `req…` and `rsp…` lines come to. Up to HAProxy 2.0 their turn was after all `http-request` and
/// `http-response` rules: first those that delete and replace, then those that add.
#[derive(Debug, Clone, Default)]
pub(crate) struct RulesLast {
    request_edits: Vec<Late<RequestRule>>,
    request_adds: Vec<Late<RequestRule>>,
    response_edits: Vec<Late<ResponseRule>>,
    response_adds: Vec<Late<ResponseRule>>,
}

/// Reads the modern rule, and puts it aside for the section's end.
fn last(
    (of, adds): (Of, bool),
    draft: &mut Draft,
    args: &Args<'_>,
    scope: &Scope<'_>,
    pieces: Vec<Piece<'_>>,
) -> Result<(), Diagnostic> {
    let (line, shown) = translation(args.place(), pieces);
    let rules = of.rules();
    let warning = gone(args.keyword, args.place())
        .label(format!("read as what it meant, after all '{rules}' rules"))
        .help(format!("write after the last '{rules}' rule: {shown}"));
    let requests = draft.proxy.http_request.len();
    let responses = draft.proxy.http_response.len();
    let outcome = carry_out(draft, &line, scope);
    let note = |rule| (rule, warning.clone(), args.keyword);
    let Draft {
        proxy, rules_last, ..
    } = draft;
    let (request, response) = match adds {
        true => (&mut rules_last.request_adds, &mut rules_last.response_adds),
        false => (
            &mut rules_last.request_edits,
            &mut rules_last.response_edits,
        ),
    };
    request.extend(proxy.http_request.drain(requests..).map(note));
    let note = |rule| (rule, warning.clone(), args.keyword);
    response.extend(proxy.http_response.drain(responses..).map(note));
    outcome
}

/// At a section's end: rules put aside take their place. They ran after `allow` too, which no rule does
/// now: next to one they are refused.
pub(crate) fn settle(draft: &mut Draft, scope: &Scope<'_>) {
    let aside = std::mem::take(&mut draft.rules_last);
    let rules = &mut draft.proxy.http_request;
    let allow = rules
        .iter()
        .find(|rule| matches!(rule.action, RequestAction::Allow));
    let allow = allow.map(|rule| rule.span);
    for (rule, warning, keyword) in aside.request_edits.into_iter().chain(aside.request_adds) {
        scope.report(judged(warning, keyword, rule.span, Of::Request, allow));
        rules.push(rule);
    }
    let rules = &mut draft.proxy.http_response;
    let allow = rules
        .iter()
        .find(|rule| matches!(rule.action, ResponseAction::Allow));
    let allow = allow.map(|rule| rule.span);
    for (rule, warning, keyword) in aside.response_edits.into_iter().chain(aside.response_adds) {
        scope.report(judged(warning, keyword, rule.span, Of::Response, allow));
        rules.push(rule);
    }
}

/// The warning about an old line, or an alert where an `allow` could end the rules before its turn.
fn judged(
    warning: Diagnostic,
    keyword: &str,
    place: Span,
    of: Of,
    allow: Option<Span>,
) -> Diagnostic {
    let Some(allow) = allow else {
        return warning;
    };
    let (rules, line) = (of.rules(), allow.line);
    Diagnostic::alert(
        place,
        format!("the '{keyword}' directive is not supported anymore by HAProxy"),
    )
    .label(format!(
        "it ran after '{rules} allow' too, which ends the rules now"
    ))
    .help(format!(
        "write it as '{rules}' rule above the 'allow' of line {line}"
    ))
}

/// Whose headers an old line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Request,
    Response,
}

impl Of {
    fn rules(self) -> &'static str {
        match self {
            Self::Request => "http-request",
            Self::Response => "http-response",
        }
    }
}

pub(super) fn add_request(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    add(Of::Request, draft, args, scope)
}

pub(super) fn add_response(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    add(Of::Response, draft, args, scope)
}

/// `reqadd LINE`, `rspadd LINE`.
fn add(
    of: Of,
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let line = args.required("a header line such as X-Name:\\ value")?;
    let Some((name, value)) = line.text.split_once(':') else {
        let alert = Diagnostic::alert(
            line.span,
            format!("'{}' expects a header line", args.keyword),
        );
        return Err(alert.label("there is no ':' in it"));
    };
    let (rules, value) = (of.rules(), literal(value.trim()));
    let mut pieces = vec![new(rules), new("add-header"), new(name.trim()), new(value)];
    pieces.extend(args.rest().iter().map(Piece::Old));
    last((of, true), draft, args, scope, pieces)
}

/// A text in which nothing is a variable of a log format.
fn literal(text: &str) -> String {
    text.replace('%', "%%")
}

pub(super) fn delete_request(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    delete(Of::Request, draft, args, scope)
}

pub(super) fn delete_response(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    delete(Of::Response, draft, args, scope)
}

/// `reqdel REGEX` and its like: header lines that match are removed.
fn delete(
    of: Of,
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let pattern = args.required("a regular expression")?;
    let matched = HeaderPattern::read(&pattern.text);
    let Some(matched) = matched.filter(|matched| matches!(matched.value, "" | ".*" | ".*$")) else {
        let write = format!("'{} del-header NAME'", of.rules());
        return Err(unclear(pattern, args.keyword, &write));
    };
    let mut pieces = vec![new(of.rules()), new("del-header"), new(matched.name)];
    if !matched.whole_name {
        pieces.extend(["-m", "beg"].map(new));
    }
    pieces.extend(args.rest().iter().map(Piece::Old));
    last((of, false), draft, args, scope, pieces)
}

macro_rules! replacing {
    ($($name:ident: $of:ident, $ignore_case:literal;)+) => {$(
        pub(super) fn $name(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
            replace(Of::$of, $ignore_case, draft, args, scope)
        }
    )+};
}

replacing! {
    replace_request: Request, false;
    replace_request_any_case: Request, true;
    replace_response: Response, false;
    replace_response_any_case: Response, true;
}

/// `reqrep REGEX LINE` and its like: a line that matches becomes the other.
fn replace(
    of: Of,
    ignore_case: bool,
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let pattern = args.required("a regular expression")?;
    let by = args.required("the line that replaces it")?;
    let case = if ignore_case { "(?i)" } else { "" };
    let modern = header_line(of, &pattern.text, &by.text, case)
        .or_else(|| request_line(of, &pattern.text, &by.text, case));
    let Some(modern) = modern else {
        let write = match of {
            Of::Request => "'http-request replace-path', 'replace-header' or 'set-header'",
            Of::Response => "'http-response replace-header' or 'set-header'",
        };
        return Err(unclear(pattern, args.keyword, write));
    };
    let mut pieces: Vec<Piece<'_>> = modern.into_iter().map(new).collect();
    pieces.extend(args.rest().iter().map(Piece::Old));
    last((of, false), draft, args, scope, pieces)
}

/// A header: `^Host:\ a(.*)` by `Host:\ b\1`.
fn header_line(of: Of, pattern: &str, by: &str, case: &str) -> Option<Vec<String>> {
    let matched = HeaderPattern::read(pattern).filter(|matched| matched.whole_name)?;
    let (name, value) = by.split_once(':')?;
    if !name.eq_ignore_ascii_case(matched.name) {
        return None;
    }
    let value = literal(value.trim_start_matches(' '));
    Some(vec![
        of.rules().to_owned(),
        "replace-header".to_owned(),
        matched.name.to_owned(),
        format!("{case}^{}", matched.value),
        value,
    ])
}

/// The request line: `^([^\ :]*)\ /static/(.*)` by `\1\ /\2`. What the expression leaves of the line, the
/// version included, must be carried over, or nothing of it was ever meant to work. (The lexer has
/// taken the backslashes before spaces already.)
fn request_line(of: Of, pattern: &str, by: &str, case: &str) -> Option<Vec<String>> {
    const METHODS: [&str; 5] = [
        "^([^ :]*) ",
        "^([^ ]*) ",
        "^([^ :]+) ",
        "^([^ ]+) ",
        "^([A-Z]*) ",
    ];
    let target = METHODS
        .iter()
        .find_map(|method| pattern.strip_prefix(method));
    let target = target.filter(|target| of == Of::Request && !branches(target))?;
    let target = target
        .strip_suffix('$')
        .unwrap_or(target)
        .strip_suffix("(.*)")?;
    let by = by.strip_prefix("\\1 ")?;
    // The last group, which reaches to the end of the line, comes last there as well.
    let groups = 2 + target.matches('(').count() - target.matches("\\(").count();
    let last = format!("\\{groups}");
    let by = by.strip_suffix(&last)?;
    // One group less: that of the method.
    let by = shifted(by)?;
    Some(vec![
        "http-request".to_owned(),
        "replace-pathq".to_owned(),
        format!("{case}^{target}(.*)"),
        format!("{}\\{}", literal(&by), groups - 1),
    ])
}

/// A replacement whose groups count one less; `None`: it names the method.
fn shifted(by: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = by.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            digit @ '0'..='9' => {
                let number = digit
                    .to_digit(10)?
                    .checked_sub(1)
                    .filter(|number| *number > 0)?;
                out.push_str(&format!("\\{number}"));
            }
            other => out.extend(['\\', other]),
        }
    }
    Some(out)
}

/// An expression over a header line that says which header it is: `^Name:\ value`, `^Name`.
struct HeaderPattern<'a> {
    name: &'a str,
    /// Whether the name ends there.
    whole_name: bool,
    /// What follows the colon and its spaces.
    value: &'a str,
}

impl<'a> HeaderPattern<'a> {
    fn read(pattern: &'a str) -> Option<Self> {
        let rest = pattern.strip_prefix('^')?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
        let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
        if name.is_empty() {
            return None;
        }
        match rest.strip_prefix(':') {
            Some(value) => Some(Self {
                name,
                whole_name: true,
                value: after_spaces(value).filter(|value| !branches(value))?,
            }),
            None => Some(Self {
                name,
                whole_name: false,
                value: rest,
            }),
        }
    }
}

/// What an expression wants behind the colon of a header and the spaces that follow it, which values do
/// not have here. `None`: it wants something else there, or says in a way not known what may be there.
fn after_spaces(pattern: &str) -> Option<&str> {
    let mut value = pattern;
    while let Some(rest) = [" ", "\\s", "[ ]"]
        .iter()
        .find_map(|space| value.strip_prefix(space))
    {
        value = rest.strip_prefix(['*', '+', '?']).unwrap_or(rest);
    }
    let takes_spaces = value.len() < pattern.len()
        || value.is_empty()
        || [".*", "(.*)"].iter().any(|any| value.starts_with(any));
    (takes_spaces && !value.starts_with(['*', '+', '?', '{'])).then_some(value)
}

/// Whether a `|` outside of all groups divides an expression: what stands before the first branch would
/// not belong to the others.
fn branches(pattern: &str) -> bool {
    let (mut depth, mut class, mut chars) = (0_u32, false, pattern.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            ']' => class = false,
            _ if class => {}
            '[' => class = true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a replacement is read as.
    #[track_caller]
    fn check(pattern: &str, by: &str, expected: Option<&str>) {
        let header = header_line(Of::Request, pattern, by, "");
        let modern = header.or_else(|| request_line(Of::Request, pattern, by, ""));
        assert_eq!(
            modern.map(|words| words.join(" ")).as_deref(),
            expected,
            "{pattern} {by}"
        );
    }

    #[test]
    fn what_replaced_lines_is_read_as_modern_rules() {
        check(
            "^([^ :]*) /static/(.*)",
            "\\1 /\\2",
            Some("http-request replace-pathq ^/static/(.*) /\\1"),
        );
        check(
            "^([^ :]*) /a/([^/]*)/(.*)",
            "\\1 /\\2/b/\\3",
            Some("http-request replace-pathq ^/a/([^/]*)/(.*) /\\1/b/\\2"),
        );
        check(
            "^Host: www.(.*)$",
            "Host: \\1",
            Some("http-request replace-header Host ^www.(.*)$ \\1"),
        );
        // The version would be lost, the method is moved, the header changes its name.
        check("^([^ :]*) /a", "\\1 /b", None);
        check("^([^ :]*) /a/(.*)", "GET /b/\\2", None);
        check("^Host: (.*)", "X-Host: \\1", None);
        // A space goes with what says how many; what follows it begins the value.
        for spaces in [" *", " ?", " +", "\\s*", "[ ]*", " "] {
            check(
                &format!("^X-Role:{spaces}admin"),
                "X-Role: user",
                Some("http-request replace-header X-Role ^admin user"),
            );
        }
        check(
            "^X-Role: (admin|root)$",
            "X-Role: user",
            Some("http-request replace-header X-Role ^(admin|root)$ user"),
        );
        // The other branch looked at every line; what stands behind the colon is not understood.
        check("^X-Role: admin|root", "X-Role: user", None);
        check("^([^ :]*) /a|/b(.*)", "\\1 /\\2", None);
        check("^X-Role: {2}admin", "X-Role: user", None);
        check("^X-Role:.admin", "X-Role: user", None);
        check("^X-Role:admin", "X-Role: user", None);
        check("^X.*: (.*)", "X: \\1", None);
        check("^(GET|POST) /(.*)", "\\1 /\\2", None);
    }

    #[test]
    fn a_word_is_written_as_it_could_stand_in_a_file() {
        let word = |text: &str| {
            written(&Word {
                text: text.into(),
                span: Span::default(),
                quoted: false,
            })
        };
        assert_eq!(word("a"), "a");
        assert_eq!(word(""), "''");
        assert_eq!(word("a b\\1"), "'a b\\1'");
        assert_eq!(word("it's $1"), "\"it's \\$1\"");
    }
}
