//! TCP rules, and what they look at: the first bytes of either side (manual 4.2, "tcp-request
//! content"; 7.3.5).
//!
//! As long as more bytes may come, a test that does not hold is not false yet but open: an answer is
//! given only when no byte to come can change it. Pure: the caller reads, waits, and asks again.

use std::borrow::Cow;

use config::expr::{
    AclEntry, BlockStart, Condition, ContentFetch, Converter, Fetch, Message, Needs, Sample, Side,
};
use config::model::{Action, RuleCapture, TcpAction, TcpRule};
use config::source::Span;
use wire::rdp::{self, Cookie};
use wire::tls_hello::{self, ClientHello, Seen};

use crate::actions;
use crate::body::Body;
use crate::format::Variables;
use crate::pattern;
use crate::sample::{self, Facts};
use crate::value::Value;

/// What was received and not passed on yet, where bytes are looked at at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Content<'a> {
    /// Of the client; `None` where it is understood as HTTP.
    pub request: Option<&'a [u8]>,
    /// How many bytes that is; where it is understood as HTTP, of the request at hand.
    pub request_len: usize,
    /// Of the server.
    pub response: Option<&'a [u8]>,
    /// The body behind the request's head, where that is understood as HTTP.
    pub request_body: Option<Body<'a>>,
    /// The body behind the response's head.
    pub response_body: Option<Body<'a>>,
    /// Whether more may come before a decision must be made.
    pub growing: bool,
    /// Whether what the client sent may still turn out to be an HTTP request.
    pub http_pending: bool,
}

/// What rules say of a connection.
#[derive(Debug, Clone, Copy)]
pub enum Ruling<'r> {
    /// Nothing: it passes.
    Pass,
    /// Nothing yet: the rule at this position depends on what is to come. Those before it have done their work.
    Wait(usize),
    /// This is to be done.
    Act(&'r TcpAction),
}

/// The first rule from this position on whose condition holds; rules behind one that is open are not looked at.
pub fn rule<'r>(
    rules: &'r [TcpRule],
    from: usize,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> Ruling<'r> {
    let (ruling, decided) = find(rules, from, facts, variables);
    facts.memory.waits(match ruling {
        Ruling::Wait(position) => rules.get(position).map(|rule| rule.span),
        _ => None,
    });
    if let Some(place) = decided {
        facts.memory.decided(place);
    }
    ruling
}

fn find<'r>(
    rules: &'r [TcpRule],
    from: usize,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> (Ruling<'r>, Option<Span>) {
    for (position, rule) in rules.iter().enumerate().skip(from) {
        match test(rule.condition.as_ref(), facts) {
            Answer::Yes => match &rule.action {
                TcpAction::Capture(capture) if !keep(capture, facts) => {
                    return (Ruling::Wait(position), None);
                }
                TcpAction::Capture(_) => {}
                TcpAction::Common(action) if !may_act(action, facts) => {
                    return (Ruling::Wait(position), None);
                }
                TcpAction::Common(action) => actions::carry_out(action, facts, variables),
                action => return (Ruling::Act(action), Some(rule.span)),
            },
            Answer::Open => return (Ruling::Wait(position), None),
            Answer::No => {}
        }
    }
    (Ruling::Pass, None)
}

/// Keeps a sample for the log line. `false`: it has no value yet, and may get one.
fn keep(capture: &RuleCapture, facts: &Facts<'_>) -> bool {
    match sample::eval(&capture.sample, facts) {
        Some(value) => {
            let memory = facts.memory;
            memory.keep_of_request(capture.slot, &value.into_text());
            true
        }
        None => !(facts.content.growing && may_change(&capture.sample, &facts.content)),
    }
}

/// Whether the sample that an action keeps is there, or will never be. HAProxy waits for it as for that of a
/// condition.
fn may_act(action: &Action, facts: &Facts<'_>) -> bool {
    let Some(sample) = action.sample().filter(|_| facts.content.growing) else {
        return true;
    };
    !may_change(sample, &facts.content) || sample::eval(sample, facts).is_some()
}

/// Whether any of the rules looks at an HTTP request.
pub fn looks_at_request(rules: &[TcpRule]) -> bool {
    rules.iter().any(|rule| {
        let condition = rule.condition.as_ref();
        let kept = match &rule.action {
            TcpAction::Capture(capture) => capture.sample.needs.is_of_request(),
            TcpAction::Common(action) => {
                let sample = action.sample();
                sample.is_some_and(|sample| sample.needs.is_of_request())
            }
            _ => false,
        };
        kept || condition.is_some_and(Condition::looks_at_request)
    })
}

/// The answer to a test: ordered, so that "and" is the least and "or" the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    No,
    Open,
    Yes,
}

impl Answer {
    fn negated_if(self, negated: bool) -> Self {
        match self {
            Self::No if negated => Self::Yes,
            Self::Yes if negated => Self::No,
            other => other,
        }
    }
}

fn test(condition: Option<&Condition>, facts: &Facts<'_>) -> Answer {
    let Some(condition) = condition else {
        return Answer::Yes;
    };
    let mut any = Answer::No;
    for all_of in &condition.any_of {
        let mut all = Answer::Yes;
        for term in all_of {
            let holds = entries(&term.acl.entries, facts);
            all = all.min(holds.negated_if(term.negated));
            if all == Answer::No {
                break;
            }
        }
        any = any.max(all);
        if any == Answer::Yes {
            break;
        }
    }
    any.negated_if(condition.unless)
}

fn entries(entries: &[AclEntry], facts: &Facts<'_>) -> Answer {
    let mut answer = Answer::No;
    for entry in entries {
        let holds = sample::any(&entry.sample, facts, &mut |value| {
            pattern::matches(&entry.patterns, value)
        });
        if holds {
            return Answer::Yes;
        }
        let growing = facts.content.growing && may_change(&entry.sample, &facts.content);
        if growing && !is_decided(&entry.sample, facts) {
            answer = Answer::Open;
        }
    }
    answer
}

/// Whether the sample is a verdict over a message of its own protocol: once it has a value, no byte to
/// come changes it.
fn is_decided(sample: &Sample, facts: &Facts<'_>) -> bool {
    let judges = |converter: &Converter| {
        matches!(
            converter,
            Converter::Message(Message::FixIsValid | Message::MqttIsValid)
        )
    };
    sample.converters.iter().any(judges) && sample::eval(sample, facts).is_some()
}

/// Whether bytes to come could give it another value.
fn may_change(sample: &Sample, content: &Content<'_>) -> bool {
    if let Fetch::Content(fetch) = &sample.fetch {
        return is_open(fetch, content);
    }
    match sample.needs {
        needs if needs.is_of_request() => content.request.is_some() && content.http_pending,
        Needs::ResponseHead | Needs::ResponseStatus => content.response.is_some(),
        _ => false,
    }
}

fn is_open(fetch: &ContentFetch, content: &Content<'_>) -> bool {
    let request = content.request.unwrap_or_default();
    match fetch {
        ContentFetch::Len(_) | ContentFetch::WaitEnd => true,
        ContentFetch::Payload { length: 0, .. } => true,
        ContentFetch::Payload {
            side,
            offset,
            length,
        } => of(*side, content).is_some_and(|bytes| bytes.len() < offset + length),
        ContentFetch::CountedPayload { side, .. } => {
            of(*side, content).is_some_and(|bytes| counted(fetch, bytes).is_none())
        }
        ContentFetch::ServerHelloType => {
            let response = content.response.unwrap_or_default();
            tls_hello::server_hello(response) == Seen::NotYet
        }
        ContentFetch::Version => tls_hello::client_version(request) == Seen::NotYet,
        ContentFetch::RdpCookie(_) | ContentFetch::RdpCookieCount(_) => {
            rdp::cookie(request) == Seen::NotYet
        }
        _ => tls_hello::client_hello(request) == Seen::NotYet,
    }
}

fn of<'a>(side: Side, content: &Content<'a>) -> Option<&'a [u8]> {
    match side {
        Side::Request => content.request,
        Side::Response => content.response,
        Side::AtHand => content.response.or(content.request),
    }
}

/// The value of a fetch; `None`: it has none, or not yet.
pub(crate) fn value<'a>(fetch: &ContentFetch, content: &Content<'a>) -> Option<Value<'a>> {
    match fetch {
        ContentFetch::WaitEnd => (!content.growing).then_some(Value::Bool(true)),
        ContentFetch::Len(Side::Request) => number(content.request_len),
        ContentFetch::Len(side) => number(of(*side, content)?.len()),
        ContentFetch::Payload {
            side,
            offset,
            length,
        } => {
            let rest = of(*side, content)?.get(*offset..)?;
            let block = match length {
                0 => rest,
                length => rest.get(..*length)?,
            };
            (!block.is_empty()).then_some(Value::Bin(Cow::Borrowed(block)))
        }
        ContentFetch::CountedPayload { side, .. } => {
            let block = counted(fetch, of(*side, content)?)?;
            Some(Value::Bin(Cow::Borrowed(block)))
        }
        ContentFetch::ServerHelloType => {
            let seen = tls_hello::server_hello(content.response?);
            (seen == Seen::Is(())).then_some(Value::Int(2))
        }
        ContentFetch::Version => match tls_hello::client_version(content.request?) {
            Seen::Is(version) => Some(Value::Int(version.into())),
            _ => None,
        },
        ContentFetch::RdpCookie(name) => {
            let cookie = cookie(name, content.request?)?;
            Some(Value::text(cookie.value))
        }
        ContentFetch::RdpCookieCount(name) => match rdp::cookie(content.request?) {
            Seen::NotYet => None,
            _ => number(usize::from(cookie(name, content.request?).is_some())),
        },
        _ => match tls_hello::client_hello(content.request?) {
            Seen::Is(hello) => of_hello(fetch, &hello),
            _ => None,
        },
    }
}

fn of_hello<'a>(fetch: &ContentFetch, hello: &ClientHello<'a>) -> Option<Value<'a>> {
    Some(match fetch {
        ContentFetch::ClientHelloType => Value::Int(1),
        ContentFetch::ServerName => Value::Str(hello.server_name()?),
        ContentFetch::Protocol => Value::Str(hello.first_protocol()?),
        ContentFetch::HasGroups => {
            hello.groups()?;
            Value::Bool(true)
        }
        ContentFetch::Ticket => Value::Int(match hello.ticket() {
            None => 0,
            Some(ticket) if ticket.is_empty() => 1,
            Some(_) => 2,
        }),
        ContentFetch::Ciphers => Value::Bin(hello.ciphers()),
        ContentFetch::Groups => Value::Bin(hello.groups()?),
        ContentFetch::Signatures => Value::Bin(hello.signatures()?),
        ContentFetch::KeyShareGroups => Value::Bin(hello.key_share_groups()?.into()),
        _ => return None,
    })
}

fn cookie<'a>(name: &str, bytes: &'a [u8]) -> Option<Cookie<'a>> {
    match rdp::cookie(bytes) {
        Seen::Is(cookie) => {
            let wanted = name.is_empty() || cookie.name.eq_ignore_ascii_case(name.as_bytes());
            wanted.then_some(cookie)
        }
        _ => None,
    }
}

/// The block behind its own length, when all of it is there.
fn counted<'a>(fetch: &ContentFetch, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let ContentFetch::CountedPayload {
        offset,
        width,
        start,
        ..
    } = fetch
    else {
        return None;
    };
    let behind = offset.checked_add(*width)?;
    let length = bytes.get(*offset..behind)?;
    let length = length
        .iter()
        .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let length = usize::try_from(length).ok()?;
    let start = match start {
        BlockStart::At(start) => *start,
        BlockStart::Behind(distance) => {
            usize::try_from(i64::try_from(behind).ok()? + distance).ok()?
        }
    };
    bytes.get(start..start.checked_add(length)?)
}

fn number(number: usize) -> Option<Value<'static>> {
    Some(Value::Int(i64::try_from(number).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use config::source::Source;

    use super::*;
    use crate::process::NoProcess;
    use crate::sample::ConnectionFacts;

    struct Nothing;

    impl config::Surroundings for Nothing {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }

        fn read(&self, _: &str) -> Result<String, String> {
            Err("there are no files here".into())
        }
    }

    fn rules(lines: &[&str]) -> Vec<TcpRule> {
        let lines = lines.join("\n tcp-request content ");
        let text = format!("frontend f\n mode tcp\n bind :1\n tcp-request content {lines}\n");
        let outcome = config::load(&[Source::new("t.cfg", text)], &Nothing);
        let config = outcome.config.expect("the rules are right");
        config.frontends[0].proxy.tcp.request.clone()
    }

    /// What the rules say of these bytes, while more may come and when none do.
    fn check(lines: &[&str], bytes: &[u8], growing: &str, final_: &str) {
        let rules = rules(lines);
        for (more, expected) in [(true, growing), (false, final_)] {
            let facts = Facts {
                request: None,
                response: None,
                content: Content {
                    request: Some(bytes),
                    request_len: bytes.len(),
                    growing: more,
                    ..Content::default()
                },
                connection: &ConnectionFacts::default(),
                memory: &crate::sample::NoMemory,
                logins: None,
                frontend: "f",
                backend: None,
                server_tls: None,
                process: &NoProcess,
                now: std::time::Duration::ZERO,
                random: 0,
            };
            let said = match rule(&rules, 0, &facts, &crate::format::NoVariables) {
                Ruling::Pass => "pass",
                Ruling::Wait(_) => "wait",
                Ruling::Act(TcpAction::Accept) => "accept",
                Ruling::Act(_) => "reject",
            };
            assert_eq!(said, expected, "{lines:?} {bytes:?} growing: {more}");
        }
    }

    #[test]
    fn an_answer_is_given_when_nothing_to_come_can_change_it() {
        let longer = &["reject if { req.len gt 3 }"];
        check(longer, b"abc", "wait", "pass");
        check(longer, b"abcd", "reject", "reject");
        check(&["reject if !{ req.len gt 3 }"], b"abc", "wait", "reject");
        check(&["reject unless { req.len gt 3 }"], b"abcd", "pass", "pass");
        let begins = &["accept if { req.payload(0,2) -m str ab }", "reject"];
        check(begins, b"a", "wait", "reject");
        check(begins, b"ax", "reject", "reject");
        check(begins, b"ab", "accept", "accept");
        check(
            &["accept if { payload(0,1) -m bin 61 }"],
            b"a",
            "accept",
            "accept",
        );
        check(&["accept if WAIT_END", "reject"], b"", "wait", "accept");
    }

    #[test]
    fn what_is_false_anyway_is_not_waited_for() {
        let never = "{ always_false }";
        let both = format!("accept if {{ req.len gt 3 }} {never}");
        check(&[&both, "reject"], b"", "reject", "reject");
        let either = "accept if { req.len gt 3 } or { always_true }";
        check(&[either], b"", "accept", "accept");
    }

    #[test]
    fn other_protocols_are_told_from_tls_at_once() {
        let hello = &["accept if { req.ssl_hello_type 1 }", "reject"];
        check(hello, b"GET", "reject", "reject");
        check(hello, b"\x16\x03", "wait", "reject");
        check(
            &["accept if { req.ssl_ver 3.1 }"],
            b"\x80\x2e\x01\x03\x01",
            "accept",
            "accept",
        );
    }

    #[test]
    fn blocks_behind_their_length() {
        let block = |start: &str| format!("accept if {{ req.payload_lv(1,2{start}) -m str abc }}");
        let bytes = b"x\x00\x03abcd";
        check(&[&block("")], bytes, "accept", "accept");
        check(&[&block(",+0")], bytes, "accept", "accept");
        check(&[&block(",3")], bytes, "accept", "accept");
        check(&[&block(",+1")], bytes, "pass", "pass");
        check(&[&block("")], b"x\xff\xffabc", "wait", "pass");
    }
}
