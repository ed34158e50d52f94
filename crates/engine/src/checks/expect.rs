//! What `expect` compares, and what it says of what it found (manual 4.2, "tcp-check expect",
//! "http-check expect"). Pure: bytes and facts in, an answer out.

use std::borrow::Cow;

use config::model::sequence::{
    CheckProtocol, Expect, Expected, HeaderPattern, HeaderTest, Pattern, Step, TextMethod, unhex,
};
use routing::format::{self, Variables};
use routing::health::CheckCode;
use routing::hex;
use routing::sample::Facts;
use wire::head::ResponseHead;

/// Whether a status is one that was expected.
pub(super) fn is_status(expected: &Expected, status: u16) -> bool {
    match expected {
        Expected::Status(ranges) => {
            let mut ranges = ranges.iter();
            ranges.any(|(low, high)| (*low..=*high).contains(&status))
        }
        Expected::StatusRegex(regex) => regex.is_match(status.to_string().as_bytes()),
        _ => false,
    }
}

/// What a text with log-format fields comes to.
pub(super) fn render(
    format: &config::expr::Format,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> Vec<u8> {
    let mut text = Vec::new();
    format::render(format, facts, variables, &mut text);
    text
}

/// The bytes that are looked for; `None` where it is no plain text.
pub(super) fn wanted<'a>(
    pattern: &'a Pattern,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> Option<Cow<'a, [u8]>> {
    Some(match pattern {
        Pattern::Text(text) => Cow::Borrowed(text.as_bytes()),
        Pattern::Bytes(bytes) => Cow::Borrowed(bytes),
        Pattern::Format(format) => Cow::Owned(render(format, facts, variables)),
        // Digits that are none are found nowhere.
        Pattern::HexFormat(format) => Cow::Owned(unhex(&render(format, facts, variables))?),
        Pattern::Regex(_) | Pattern::HexRegex(_) => return None,
    })
}

/// Whether the pattern is in `content`; `text` is what [`wanted`] says.
pub(super) fn is_in(pattern: &Pattern, text: Option<&[u8]>, content: &[u8]) -> bool {
    match (pattern, text) {
        (Pattern::Regex(regex), _) => regex.is_match(content),
        (Pattern::HexRegex(regex), _) => regex.is_match(hex::upper(content).as_bytes()),
        (_, Some(text)) => contains(content, text),
        (_, None) => false,
    }
}

fn contains(content: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(content, text).is_some()
}

/// Whether some header of the response is as wanted.
pub(super) fn has_header(
    test: &HeaderTest,
    head: &ResponseHead,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> bool {
    let name = Prepared::new(&test.name, true, facts, variables);
    let value = test
        .value
        .as_ref()
        .map(|value| Prepared::new(value, false, facts, variables));
    let mut fields = head.fields.iter();
    fields.any(|(field, content)| {
        name.matches(field.to_ascii_lowercase().as_bytes())
            && match &value {
                None => true,
                Some(value) if test.whole => value.matches(content),
                Some(value) => {
                    let mut parts = content.split(|byte| *byte == b',');
                    parts.any(|part| value.matches(part.trim_ascii()))
                }
            }
    })
}

/// One side of a header test, with its fields filled in.
enum Prepared<'a> {
    Text(TextMethod, Cow<'a, [u8]>),
    /// A regular expression.
    AsItIs(&'a HeaderPattern),
}

impl<'a> Prepared<'a> {
    fn new(
        pattern: &'a HeaderPattern,
        lower: bool,
        facts: &Facts<'_>,
        variables: &dyn Variables,
    ) -> Self {
        match pattern {
            HeaderPattern::Text(method, text) => Self::Text(*method, text.as_bytes().into()),
            HeaderPattern::Regex(_) => Self::AsItIs(pattern),
            HeaderPattern::Format(method, format) => {
                let mut text = render(format, facts, variables);
                if lower {
                    text.make_ascii_lowercase();
                }
                Self::Text(*method, text.into())
            }
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::AsItIs(HeaderPattern::Regex(regex)) => regex.is_match(value),
            Self::AsItIs(_) => false,
            Self::Text(TextMethod::Whole, text) => value == &**text,
            Self::Text(TextMethod::Beginning, text) => value.starts_with(text),
            Self::Text(TextMethod::End, text) => value.ends_with(text),
            Self::Text(TextMethod::Within, text) => contains(value, text),
        }
    }
}

/// What is said of bytes that are not as expected.
pub(super) fn mismatch(expect: &Expect, step: &Step, protocol: CheckProtocol) -> String {
    let Expected::Content(pattern) = &expect.what else {
        let what = match expect.what {
            Expected::StatusRegex(_) => "status regex",
            Expected::Header(_) => "header pattern",
            _ => "status codes",
        };
        let found = if expect.negated {
            "matched unwanted"
        } else {
            "did not match"
        };
        return format!(
            "TCPCHK {found} content({what}) at step {}{}",
            step.number,
            comment(step)
        );
    };
    if protocol == CheckProtocol::Known {
        return String::new();
    }
    let found = if expect.negated {
        "matched unwanted"
    } else {
        "did not match"
    };
    let what = match pattern {
        Pattern::Text(text) => format!("'{text}'"),
        Pattern::Regex(_) => "(regex)".into(),
        Pattern::Bytes(_) => "(binary)".into(),
        Pattern::HexRegex(_) => "(binary regex)".into(),
        Pattern::Format(_) => "(log-format string)".into(),
        Pattern::HexFormat(_) => "(log-format binary)".into(),
    };
    format!(
        "TCPCHK {found} content {what} at step {}{}",
        step.number,
        comment(step)
    )
}

/// What is said when nothing came.
pub(super) fn nothing(step: &Step) -> String {
    format!(
        "TCPCHK got an empty response at step {}{}",
        step.number,
        comment(step)
    )
}

/// A step's comment, behind what went wrong in it.
pub(super) fn comment(step: &Step) -> String {
    let text = step.comment.as_ref();
    text.map_or(String::new(), |text| format!(" comment: {text}"))
}

/// Where in a `tcp-check` it went wrong: what follows a failed connect, or a time-out.
pub(super) fn whereabouts(step: &Step, port: Option<u16>) -> String {
    use config::model::sequence::Action;
    let comment = match &step.comment {
        Some(text) => format!(" comment: '{text}'"),
        None => String::new(),
    };
    if step.number == 0 {
        return format!(" at initial connection step of tcp-check{comment}");
    }
    let what = match &step.what {
        Action::Connect(_) => match port {
            Some(port) => format!("connect port {port}"),
            None => "connect".into(),
        },
        Action::Expect(expect) => match &expect.what {
            Expected::Content(Pattern::Text(text)) => format!("expect string '{text}'"),
            Expected::Content(Pattern::Bytes(bytes)) => {
                let digits = hex::upper(bytes).to_ascii_lowercase();
                format!("expect binary '{digits}'")
            }
            Expected::Content(Pattern::Regex(_)) => "expect regex".into(),
            Expected::Content(Pattern::HexRegex(_)) => "expect binary regex".into(),
            Expected::Content(Pattern::Format(_)) => "expect log-format string".into(),
            Expected::Content(Pattern::HexFormat(_)) => "expect log-format binary".into(),
            _ => "expect".into(),
        },
        _ => "send".into(),
    };
    format!(" at step {} of tcp-check ({what}){comment}", step.number)
}

/// HAProxy's code of a status that a step says.
pub(super) fn code(status: config::model::sequence::CheckStatus) -> CheckCode {
    use config::model::sequence::CheckStatus as S;
    match status {
        S::L4Ok => CheckCode::Layer4Ok,
        S::L6Ok => CheckCode::Layer6Ok,
        S::L7Ok => CheckCode::Layer7Ok,
        S::L7OkConditional => CheckCode::Layer7OkConditional,
        S::L4Con => CheckCode::Layer4Connection,
        S::L6Rsp => CheckCode::Layer6Response,
        S::L7Rsp => CheckCode::Layer7Response,
        S::L7Sts => CheckCode::Layer7Status,
        S::L4Timeout => CheckCode::Layer4Timeout,
        S::L6Timeout => CheckCode::Layer6Timeout,
        S::L7Timeout => CheckCode::Layer7Timeout,
    }
}
