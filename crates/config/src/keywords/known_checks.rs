//! Checks of protocols that we know: `option smtpchk`, `option mysql-check` and their like (manual 4.2).
//! Each is what somebody could write with `tcp-check` lines, but for what the answers mean.

use super::Scope;
use super::check_draft::{CheckDraft, CheckKind};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::model::sequence::{Action, CheckStatus, Connect, Expect, Expected, Pattern, Reply};

fn set(draft: &mut CheckDraft, args: &Args<'_>, steps: Vec<Action>) -> Result<(), Diagnostic> {
    args.end()?;
    draft.known = steps.into();
    draft.kind = Some(CheckKind::Known);
    Ok(())
}

fn say(bytes: impl AsRef<[u8]>) -> Action {
    Action::Send(bytes.as_ref().into())
}

fn hear(reply: Reply) -> Action {
    Action::Expect(Box::new(Expect::new(Expected::Reply(reply))))
}

pub(crate) fn redis(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let steps = vec![say("*1\r\n$4\r\nPING\r\n"), hear(Reply::Redis)];
    set(draft, args, steps)
}

/// `[HELO|EHLO DOMAIN]`.
pub(crate) fn smtp(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let hello = match (args.next(), args.next()) {
        // Another word is no reason not to greet, as in HAProxy.
        (Some(word), Some(domain)) if matches!(word.text.as_str(), "HELO" | "EHLO") => {
            let domain = crate::values::header_text(domain)?;
            format!("{} {domain}\r\n", word.text)
        }
        _ => "HELO localhost\r\n".to_owned(),
    };
    let steps = vec![
        hear(Reply::Smtp),
        say(hello),
        hear(Reply::Smtp),
        say("QUIT\r\n"),
        hear(Reply::Smtp),
    ];
    set(draft, args, steps)
}

/// `[user NAME [pre-41|post-41|post-80]]`.
pub(crate) fn mysql(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    // The connect counts as a step in HAProxy's messages.
    let mut steps = vec![Action::Connect(Connect {
        inherits: true,
        ..Connect::default()
    })];
    let mut login = None;
    if let Some(word) = args.next() {
        if !word.is("user") {
            return Err(Diagnostic::alert(
                word.span,
                format!("'{}' does not know '{}'", args.keyword, word.text),
            )
            .label("expected user NAME"));
        }
        let user = args.required("a user's name")?.text.clone();
        let since = match args.next() {
            None => "post-41",
            Some(word) if ["pre-41", "post-41", "post-80"].contains(&word.text.as_str()) => {
                &word.text
            }
            Some(word) => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'{}' does not know '{}'", args.keyword, word.text),
                )
                .label("expected pre-41, post-41 or post-80"));
            }
        };
        // Before the greeting has come: a relay in between may want to see it first.
        steps.push(say(mysql_login(&user, since)));
        login = Some(hear(Reply::MysqlLogin));
    }
    steps.push(hear(Reply::MysqlGreeting));
    steps.extend(login);
    set(draft, args, steps)
}

/// A login without a password, and a goodbye behind it: the packets of MySQL's client protocol, each
/// with its length in three bytes and its number.
fn mysql_login(user: &str, since: &str) -> Vec<u8> {
    let mut login = Vec::new();
    match since {
        // Flags in two bytes (the secure login alone), the largest packet in three.
        "pre-41" => login.extend([0, 0x80, 0, 0, 1]),
        // Flags in four (transactions and the secure login; authentication plugins since 8.0), the
        // largest packet in four, character set 33, and what is reserved.
        _ => {
            let plugins = if since == "post-80" { 8 } else { 0 };
            login.extend([0, 0x82, plugins, 0, 0, 0x80, 0, 1, 33]);
            login.extend([0; 23]);
        }
    }
    login.extend(user.as_bytes());
    // The end of the name, and a password of no length.
    login.extend([0, 0]);
    if since == "post-80" {
        login.extend(b"mysql_native_password\0");
    }
    let length = u32::try_from(login.len()).unwrap_or_default().to_le_bytes();
    let mut packets = vec![length[0], length[1], length[2], 1];
    packets.extend(login);
    // COM_QUIT.
    packets.extend([1, 0, 0, 0, 1]);
    packets
}

/// `user NAME`.
pub(crate) fn pgsql(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("'user' and a user's name")?;
    if !word.is("user") {
        return Err(Diagnostic::alert(
            word.span,
            format!("'{}' does not know '{}'", args.keyword, word.text),
        )
        .label("expected user NAME"));
    }
    let user = args.required("a user's name")?.text.clone();
    // The startup message of protocol 3.0: its length, the version, and pairs that end with a zero.
    let mut body = vec![0, 3, 0, 0];
    body.extend(b"user\0");
    body.extend(user.as_bytes());
    body.extend([0, 0]);
    let length = u32::try_from(body.len() + 4).unwrap_or_default();
    let mut message = length.to_be_bytes().to_vec();
    message.extend(body);
    set(draft, args, vec![say(message), hear(Reply::Pgsql)])
}

pub(crate) fn ldap(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    // An anonymous bind, version 3 (RFC 4511 section 4.2).
    const BIND: [u8; 14] = [0x30, 12, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0];
    set(draft, args, vec![say(BIND), hear(Reply::Ldap)])
}

pub(crate) fn spop(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    // The HELLO of who asks for the health of an agent: type 1, final, stream and frame 0, then pairs of
    // names and typed values. 8 is a text, 3 a number, 17 is true.
    let mut frame = vec![1, 0, 0, 0, 1, 0, 0];
    for (name, value) in [
        (&b"supported-versions"[..], &b"\x08\x032.0"[..]),
        (b"max-frame-size", b"\x03\xfc\xf0\x06"),
        (b"capabilities", b"\x08\0"),
        (b"healthcheck", b"\x11"),
    ] {
        frame.push(u8::try_from(name.len()).unwrap_or_default());
        frame.extend(name);
        frame.extend(value);
    }
    let length = u32::try_from(frame.len()).unwrap_or_default();
    let mut message = length.to_be_bytes().to_vec();
    message.extend(frame);
    set(draft, args, vec![say(message), hear(Reply::Spop)])
}

/// A ClientHello of SSL 3.0: a server that speaks TLS of any version answers with a handshake or an alert.
pub(crate) fn ssl_hello(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let mut expect = Expect::new(Expected::Content(Pattern::HexRegex(
        regex::bytes::Regex::new("^1[56]")
            .map_err(|why| Diagnostic::alert(args.place(), why.to_string()))?,
    )));
    expect.min_recv = Some(5);
    expect.ok = CheckStatus::L6Ok;
    expect.error = Some(CheckStatus::L6Rsp);
    expect.timeout = CheckStatus::L6Timeout;
    let steps = vec![say(hello()), Action::Expect(Box::new(expect))];
    set(draft, args, steps)
}

fn hello() -> Vec<u8> {
    // Suites of all ages (RFC 6101 appendix A.6, RFC 5246 appendix A.5).
    const SUITES: [u16; 12] = [
        0x0039, 0x0038, 0x0035, 0x0033, 0x0032, 0x002f, 0x0016, 0x0013, 0x000a, 0x0005, 0x0004,
        0x0009,
    ];
    // Version, what is random, no session.
    let mut hello = vec![3, 0];
    hello.extend((0..32).map(|byte: u8| byte.wrapping_mul(37).wrapping_add(11)));
    hello.push(0);
    hello.extend([0, SUITES.len() as u8 * 2]);
    hello.extend(SUITES.iter().flat_map(|suite| suite.to_be_bytes()));
    // No compression.
    hello.extend([1, 0]);
    let length = hello.len() as u8;
    let mut record = vec![0x16, 3, 0, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}
