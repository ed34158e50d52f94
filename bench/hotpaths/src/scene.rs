//! What a step needs around it: a configuration, a request as browsers send it, what is known of it.

use std::time::Duration;

use config::model::Config;
use config::source::Source;
use config::{Surroundings, diagnostics::Severity};
use routing::content::Content;
use routing::process::NoProcess;
use routing::sample::{ConnectionFacts, Facts, NoMemory};
use wire::h1::{Limits, Parsed, parse_request};
use wire::head::RequestHead;

/// A file by its name, and what it holds.
type File<'a> = (&'a str, String);

/// A world without environment, and with few files.
struct Files<'a>(&'a [File<'a>]);

impl Surroundings for Files<'_> {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, name: &str) -> Result<String, String> {
        let file = self.0.iter().find(|(known, _)| *known == name);
        file.map(|(_, text)| text.clone())
            .ok_or_else(|| "there is no such file here".to_owned())
    }
}

/// The configuration that this text is.
pub(crate) fn configuration(text: &str) -> Config {
    configuration_with(text, &[])
}

/// The same with files that it names.
pub(crate) fn configuration_with(text: &str, files: &[File<'_>]) -> Config {
    let outcome = config::load(&[Source::new("haproxy.cfg", text)], &Files(files));
    let alerts = outcome.diagnostics.iter();
    let alerts: Vec<_> = alerts
        .filter(|told| told.severity >= Severity::Alert)
        .map(|told| &told.message)
        .collect();
    assert!(alerts.is_empty(), "the configuration is wrong: {alerts:?}");
    outcome.config.expect("there is no alert")
}

/// What a browser sends to open a WebSocket: eleven fields.
pub(crate) const BROWSER: &str = "GET /socket?room=17&user=3f2a HTTP/1.1\r\n\
Host: chat.example.com\r\n\
Connection: Upgrade\r\n\
Pragma: no-cache\r\n\
Cache-Control: no-cache\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Upgrade: websocket\r\n\
Origin: https://chat.example.com\r\n\
Sec-WebSocket-Version: 13\r\n\
Accept-Encoding: gzip, deflate, br\r\n\
Cookie: session=5e1f0c7ab94d4c0f; theme=dark\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The same behind a few proxies that all had something to say: sixty fields.
pub(crate) fn talkative() -> String {
    let fields = BROWSER.strip_suffix("\r\n").expect("an empty line ends it");
    let further: String = (1..=49)
        .map(|n| format!("X-Trace-{n}: 4bf92f3577b34da6a3ce929d0e0e{n:04}\r\n"))
        .collect();
    format!("{fields}{further}\r\n")
}

/// The head that this text is.
pub(crate) fn parsed(text: &str) -> RequestHead {
    match parse_request(text.as_bytes(), &Limits::default()) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => unreachable!("the request is whole and right, not {other:?}"),
    }
}

/// A plain connection of a client.
pub(crate) fn connection() -> ConnectionFacts {
    ConnectionFacts {
        src: Some(([192, 0, 2, 33], 40_000).into()),
        dst: Some(([127, 0, 0, 1], 8080).into()),
        ..ConnectionFacts::default()
    }
}

/// What rules and log lines look at.
pub(crate) fn facts<'a>(
    connection: &'a ConnectionFacts,
    request: Option<&'a RequestHead>,
) -> Facts<'a> {
    Facts {
        request,
        response: None,
        content: Content::default(),
        connection,
        frontend: "www",
        backend: Some("nodes"),
        server_tls: None,
        memory: &NoMemory,
        process: &NoProcess,
        now: Duration::from_millis(1_795_337_577_123),
        random: 7,
        logins: None,
    }
}
