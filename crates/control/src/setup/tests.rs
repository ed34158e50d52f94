//! What configuration and environment make, or what is wrong with them.

use std::ffi::OsString;

use config::expr::{
    Acl, AclEntry, Condition, Fetch, Kind, Named, Needs, Patterns, Sample, Side, Term,
};
use config::model::{Frontend, Mode, Registry, Target, UseBackend};

use super::*;

/// Backends `name` or `name:tcp`, and the header each `use_backend` rule asks for.
fn config(backends: &[&str], rules: &[(&str, usize)]) -> Config {
    let mut config = Config::default();
    for text in backends {
        let (name, mode) = match text.strip_suffix(":tcp") {
            Some(name) => (name, Mode::Tcp),
            None => (*text, Mode::Http),
        };
        let mut backend = Backend::default();
        backend.proxy.name = name.into();
        backend.proxy.mode = mode;
        config.backends.push(backend);
    }
    let mut frontend = Frontend::default();
    for (header, backend) in rules {
        frontend.use_backend.push(UseBackend {
            target: Target::Known(BackendId(*backend)),
            condition: Some(asks_for(header)),
        });
    }
    config.frontends.push(frontend);
    config
}

fn asks_for(header: &str) -> Condition {
    let (negated, header) = match header.strip_prefix('!') {
        Some(header) => (true, header),
        None => (false, header),
    };
    let sample = Sample {
        fetch: Fetch::Hdr(Named {
            side: Side::Request,
            name: header.into(),
            occurrence: 0,
        }),
        converters: Vec::new(),
        kind: Kind::Str,
        needs: Needs::RequestHead,
        text: "".into(),
    };
    let entry = AclEntry {
        sample,
        patterns: Patterns::Found,
    };
    let acl = Arc::new(Acl {
        name: "".into(),
        span: None,
        entries: vec![entry],
    });
    Condition {
        unless: false,
        any_of: vec![vec![Term { negated, acl }]],
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::read(|asked| {
        let found = variables.iter().find(|(name, _)| *name == asked);
        found.map(|(_, value)| OsString::from(value))
    })
}

const URL: (&str, &str) = ("WS_UPDATES_URL", "http://service:8000");

#[test]
fn the_fleets_backend() {
    #[track_caller]
    fn check(backends: &[&str], rules: &[(&str, usize)], expected: &str) {
        let config = config(backends, rules);
        let got = match set_up(&config, environment(&[URL])) {
            Ok(setup) => setup.discovery.unwrap().intent.backend.to_string(),
            Err(errors) => {
                let text = errors[0].to_string();
                let (_, rest) = text
                    .split_once("has no place (")
                    .or(text.split_once("have no place ("))
                    .unwrap();
                rest.split_once(')').unwrap().0.to_owned()
            }
        };
        assert_eq!(got, expected);
    }
    check(&["api", "ws_backend"], &[("upgrade", 0)], "ws_backend");
    check(&["api", "chat"], &[("upgrade", 1)], "chat");
    check(&["api", "chat"], &[("upgrade", 1), ("upgrade", 1)], "chat");
    check(
        &["api", "chat"],
        &[("sec-websocket-key", 1), ("host", 0)],
        "chat",
    );
    check(&["api", "chat"], &[("!upgrade", 0), ("upgrade", 1)], "chat");
    check(&["only"], &[], "only");
    check(&["only", "mail:tcp"], &[], "only");
    check(&["api", "chat"], &[], "it could be api or chat");
    check(
        &["a", "b", "c"],
        &[("upgrade", 1), ("upgrade", 2)],
        "it could be b or c",
    );
    check(&["mail:tcp"], &[], "there is no backend in mode http");

    let mut named = config(&["ws_backend", "chat"], &[]);
    named.discovery = Some(Discovery {
        backend: Some(BackendId(1)),
        ..Discovery::default()
    });
    let setup = set_up(&named, environment(&[URL])).unwrap();
    assert_eq!(&*setup.discovery.unwrap().intent.backend, "chat");
}

#[test]
fn the_configuration_comes_before_the_environment() {
    let mut config = config(&["ws_backend"], &[]);
    let both = [URL, ("UPDATE_INTERVAL", "5")];
    let setup = set_up(&config, environment(&both))
        .unwrap()
        .discovery
        .unwrap();
    assert_eq!(setup.interval, Duration::from_secs(5));
    assert_eq!(setup.client.unwrap().to_string(), "http://service:8000");
    config.discovery = Some(Discovery {
        url: Some("http://other".into()),
        interval: Some(Duration::from_secs(7)),
        nodes_max: Some(9),
        ..Discovery::default()
    });
    let setup = set_up(&config, environment(&both))
        .unwrap()
        .discovery
        .unwrap();
    assert_eq!(setup.interval, Duration::from_secs(7));
    assert_eq!(setup.client.unwrap().to_string(), "http://other");
    assert_eq!((setup.nodes_max, setup.intent.servers_max), (9, 18));
}

#[test]
fn without_a_url_discovery_is_off() {
    let mut config = config(&["a", "b"], &[]);
    let setup = set_up(&config, environment(&[])).unwrap();
    assert!(setup.discovery.is_none() && setup.registry.is_none() && setup.notes.is_empty());
    config.discovery = Some(Discovery::default());
    let setup = set_up(&config, environment(&[])).unwrap();
    assert!(setup.discovery.is_none());
    assert!(setup.notes[0].starts_with("section discovery has no effect"));
}

#[test]
fn a_registry_is_discovery_too() {
    let mut config = config(&["ws_backend"], &[]);
    config.registry = Some(Registry {
        bind: ([127, 0, 0, 1], 0).into(),
        expire: Duration::from_secs(300),
    });
    let errors = set_up(&config, environment(&[])).err().unwrap();
    assert!(errors[0].to_string().starts_with("API_KEY is not set"));
    let key = ("API_KEY", "k");
    config.registry.as_mut().unwrap().expire = Duration::ZERO;
    let errors = set_up(&config, environment(&[key])).err().unwrap();
    assert_eq!(
        errors[0].to_string(),
        "section registry, expire: it is shorter than 1s"
    );
    config.registry.as_mut().unwrap().expire = Duration::from_secs(1);
    let setup = set_up(&config, environment(&[key])).unwrap();
    assert!(setup.registry.is_some());
    assert!(setup.discovery.unwrap().client.is_none());
    // Beside no backend it serves the balancers of other machines alone.
    config.backends.clear();
    let setup = set_up(&config, environment(&[key])).unwrap();
    assert!(setup.registry.is_some() && setup.discovery.is_none());
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let mut config = config(&["a", "b"], &[]);
    config.discovery = Some(Discovery {
        url: Some("gopher://x".into()),
        rewrite_localhost: Some("http://{id}".into()),
        interval: Some(Duration::ZERO),
        ..Discovery::default()
    });
    config.registry = Some(Registry {
        bind: ([127, 0, 0, 1], 0).into(),
        expire: Duration::from_secs(300),
    });
    let variables = [
        ("API_KEY", "se\ncret"),
        ("UPDATE_INTERVAL", "soon"),
        ("WS_UPDATES_URL", "x"),
    ];
    let errors = set_up(&config, environment(&variables)).err().unwrap();
    let errors = errors.iter().map(SetupError::to_string).collect::<Vec<_>>();
    let begins = errors
        .iter()
        .map(|error| error.split([':', ' ']).next().unwrap());
    let (section, no_backend) = ("section", "no");
    let mut expected = vec!["WS_UPDATES_URL", "API_KEY", "UPDATE_INTERVAL"];
    expected.extend([section, section, section, no_backend]);
    assert_eq!(begins.collect::<Vec<_>>(), expected);
    assert!(errors.iter().all(|error| !error.contains("cret")));

    let working = [URL, ("API_KEY", "k")];
    let errors = set_up(&config, environment(&working)).err().unwrap();
    let errors = errors.iter().map(SetupError::to_string).collect::<Vec<_>>();
    assert_eq!(
        errors[..3],
        [
            "section discovery, url: it begins with neither http:// nor https://",
            "section discovery, rewrite-localhost: it makes no host; write a host name with {id} in it, as in ws{id}",
            "section discovery, interval: it is shorter than 100ms",
        ]
    );
}
