//! The reference configuration, as people write it around: what every user starts with must load
//! without an alert and mean what HAProxy means.

use std::net::SocketAddr;
use std::time::Duration;

use config::diagnostics::Severity;
use config::model::{
    Balance, BindAddress, Config, ConnectionMode, LogFormat, LogSink, Mode, ServerAddress,
};
use config::source::Source;

struct Nothing;

impl config::Surroundings for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn read(&self, path: &str) -> Result<String, String> {
        Err(format!("{path}: no such file"))
    }
}

fn load(text: &str) -> Config {
    let outcome = config::load(&[Source::new("haproxy.cfg", text)], &Nothing);
    let alerts: Vec<_> = outcome
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Alert)
        .collect();
    assert!(alerts.is_empty(), "{alerts:#?}");
    outcome.config.expect("no alert, so there is a model")
}

const REFERENCE: &str = include_str!("cfg/reference.cfg");

#[test]
fn the_reference_configuration_means_what_it_says() {
    let config = load(REFERENCE);
    let [frontend] = &config.frontends[..] else {
        panic!("one frontend expected");
    };
    assert_eq!(&*frontend.proxy.name, "http-in");
    assert_eq!(frontend.proxy.mode, Mode::Http);
    let any: SocketAddr = "0.0.0.0:8080".parse().unwrap();
    assert_eq!(frontend.binds[0].address, BindAddress::Inet(any));
    assert!(frontend.binds[0].tls.is_none());
    let tls = frontend.binds[1].tls.as_ref().expect("8443 is TLS");
    assert_eq!(tls.crt, [std::path::Path::new("/certs/cert.pem")]);
    assert_eq!(frontend.use_backend.len(), 1);
    let to = |id: config::model::BackendId| &*config.backends[id.0].proxy.name;
    assert_eq!(to(frontend.use_backend[0].backend), "ws_backend");
    assert_eq!(frontend.default_backend.map(to), Some("http_backend"));
    assert!(matches!(frontend.proxy.log.format, LogFormat::Custom(_)));
    assert_eq!(frontend.proxy.log.targets[0].sink, LogSink::Stdout);
    assert!(frontend.proxy.log.dontlognull);

    let ws = &config.backends[0];
    assert_eq!(ws.balance, Balance::RoundRobin);
    assert_eq!(ws.proxy.connection, ConnectionMode::ServerClose);
    assert!(ws.proxy.forwardfor.is_some());
    let check = ws.httpchk.as_ref().expect("option httpchk");
    assert_eq!((&*check.method, &*check.uri), ("GET", "/health"));
    assert_eq!(&*check.version, "HTTP/1.0");
    assert_eq!(&*ws.servers[0].name, "wsnode1");
    let node: SocketAddr = "127.0.0.1:8081".parse().unwrap();
    assert_eq!(ws.servers[0].address, ServerAddress::Inet(node));
    let check = ws.servers[0].check.as_ref().expect("it is checked");
    assert_eq!(
        (check.inter, check.rise, check.fall),
        (Duration::from_secs(2), 2, 3)
    );

    let http = &config.backends[1];
    assert!(http.httpchk.is_none());
    assert_eq!(http.proxy.connection, ConnectionMode::KeepAlive);
    assert_eq!(http.proxy.timeouts.connect, Some(Duration::from_secs(5)));
}
