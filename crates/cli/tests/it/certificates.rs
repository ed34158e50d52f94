//! Certificates of the balancer: lists, kinds of keys, protocols, sessions, and new ones on disk while
//! connections go on.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::sys::signal::Signal;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{CipherSuite, ClientConfig, HandshakeKind, SupportedCipherSuite};
use testkit::stream::Stream;
use testkit::websocket::Target;
use testkit::{Authority, Balancer, Client, Leaf, LogSink, Node, PATIENCE, wait_until};

use crate::support::{is_haproxy, setup};

/// A frontend with these `bind` parameters before one node, in `folder`.
struct Lab {
    log: LogSink,
    authority: Authority,
    _node: Node,
    balancer: Balancer,
}

impl Lab {
    /// `files` are made of the authority and written before the start; `<dir>` in a text file is the
    /// folder.
    async fn new(bind: &str, files: &dyn Fn(&Authority) -> Vec<(&'static str, String)>) -> Self {
        let log = LogSink::start().await;
        let authority = Authority::new();
        let node = Node::start("n1").await;
        let config = format!(
            "frontend fe\n    bind 127.0.0.1:<port:https> ssl {bind}\n    \
             http-request set-header X-Alpn %[ssl_fc_alpn]\n    default_backend be\n\
             backend be\n    server n1 <n1>\n"
        );
        let mut making = setup(&log, &config).set("n1", node.address());
        let folder = making.folder().display().to_string();
        for (name, content) in files(&authority) {
            if let Some(parent) = Path::new(name).parent() {
                std::fs::create_dir_all(making.folder().join(parent)).unwrap();
            }
            making = making.file(name, &content.replace("<dir>", &folder));
        }
        Self {
            balancer: making.start().await,
            log,
            authority,
            _node: node,
        }
    }

    async fn connect_as(&self, settings: Arc<ClientConfig>, name: &str) -> io::Result<Stream> {
        Stream::tls_with(self.balancer.address("https"), settings, name).await
    }

    async fn connect(&self, name: &str) -> io::Result<Stream> {
        self.connect_as(self.authority.client_config(), name).await
    }

    /// The certificate shown for a name.
    async fn shown(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(shown(&self.connect(name).await?))
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.balancer.folder().join(name), content).unwrap();
    }
}

fn shown(stream: &Stream) -> Vec<u8> {
    let state = stream.tls_state().unwrap();
    state.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_list_says_which_names_a_certificate_answers_to() {
    let lab = Lab::new("crt-list <dir>/list", &|authority| {
        vec![
            ("d.pem", authority.server_pem(&["default.example", "w.example"])),
            ("wild.pem", authority.server_pem(&["*.w.example", "other.example"])),
            ("one.pem", authority.server_pem(&["one.w.example", "secure.w.example"])),
            (
                "list",
                "# names\n\n<dir>/d.pem\n<dir>/wild.pem [alpn http/1.1] *.w.example !secure.w.example\n\
                 <dir>/one.pem one.w.example\n"
                    .into(),
            ),
        ]
    })
    .await;
    for name in ["default.example", "x.w.example", "one.w.example"] {
        lab.connect(name)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    // Not a name of a filter, or one that is left out: the default one, which is not for it.
    for name in ["other.example", "secure.w.example"] {
        let error = lab.connect(name).await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }
}

#[tokio::test]
async fn the_kind_of_key_is_what_the_client_can_deal_with() {
    let lab = Lab::new("crt <dir>/site.pem", &|authority| {
        let rsa = Leaf {
            rsa: true,
            ..Leaf::server(&["localhost"])
        };
        vec![
            ("site.pem.rsa", authority.pem_of(&rsa)),
            ("site.pem.ecdsa", authority.server_pem(&["localhost"])),
        ]
    })
    .await;
    let with = |suite: SupportedCipherSuite| {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![suite];
        let mut roots = rustls::RootCertStore::empty();
        let pem = lab.authority.pem();
        let der = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
        roots.add(der).unwrap();
        let settings = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(settings)
    };
    for (suite, expected) in [
        (
            aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ),
        (
            aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ),
    ] {
        let stream = lab.connect_as(with(suite), "localhost").await.unwrap();
        let state = stream.tls_state().unwrap();
        assert_eq!(state.negotiated_cipher_suite().unwrap().suite(), expected);
    }
}

fn one(authority: &Authority) -> Vec<(&'static str, String)> {
    vec![("cert.pem", authority.server_pem(&["localhost"]))]
}

#[tokio::test]
async fn protocols_are_agreed_on_or_left_out() {
    let lab = Lab::new("crt <dir>/cert.pem alpn h2,http/1.1", &one).await;
    for (offered, agreed) in [
        (&["http/1.1"][..], Some("http/1.1")),
        (&["spdy/3", "http/1.1"], Some("http/1.1")),
        (&["spdy/3"], None),
        (&[], None),
    ] {
        let mut settings = ClientConfig::clone(&lab.authority.client_config());
        settings.alpn_protocols = offered.iter().map(|it| it.as_bytes().to_vec()).collect();
        let stream = lab
            .connect_as(Arc::new(settings), "localhost")
            .await
            .unwrap();
        let found = stream
            .tls_state()
            .unwrap()
            .alpn_protocol()
            .map(<[u8]>::to_vec);
        assert_eq!(found.as_deref(), agreed.map(str::as_bytes), "{offered:?}");
        assert_eq!(Client::over(stream).get("/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn lists_of_suites_and_curves_decide_what_is_used() {
    let bind = "crt <dir>/cert.pem ciphersuites TLS_CHACHA20_POLY1305_SHA256 \
                ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384 curves P-384";
    let lab = Lab::new(bind, &one).await;
    for (versions, expected) in [
        (
            &rustls::version::TLS13,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        ),
        (
            &rustls::version::TLS12,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ),
    ] {
        let settings = lab.authority.client_config_for(&[versions]);
        let stream = lab.connect_as(settings, "localhost").await.unwrap();
        let state = stream.tls_state().unwrap();
        assert_eq!(state.negotiated_cipher_suite().unwrap().suite(), expected);
        let group = state.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::secp384r1);
    }
}

/// A client's settings that keep sessions.
fn remembering(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut settings = ClientConfig::clone(&authority.client_config_for(versions));
    settings.resumption = Resumption::in_memory_sessions(8);
    Arc::new(settings)
}

#[tokio::test]
async fn sessions_are_resumed_by_ticket_or_from_the_cache() {
    for bind in ["crt <dir>/cert.pem", "crt <dir>/cert.pem no-tls-tickets"] {
        let lab = Lab::new(bind, &one).await;
        for versions in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let settings = remembering(&lab.authority, &[versions]);
            for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let stream = lab.connect_as(settings.clone(), "localhost").await.unwrap();
                let kind = stream.tls_state().unwrap().handshake_kind();
                assert_eq!(kind, Some(expected), "{bind} {versions:?}");
                Client::over(stream).get("/").await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn machines_that_share_ticket_keys_resume_each_others_sessions() {
    let keys = |letters: [&str; 3]| letters.map(|letter| letter.repeat(64) + "\n").concat();
    let make = async |authority: &Authority, keys: &str| {
        let log = LogSink::start().await;
        let config = "frontend fe\n    bind 127.0.0.1:<port:https> ssl crt <dir>/cert.pem \
                      tls-ticket-keys <dir>/keys\n    http-request return status 200\n";
        setup(&log, config)
            .file("cert.pem", &authority.server_pem(&["localhost"]))
            .file("keys", keys)
            .start()
            .await
    };
    let authority = Authority::new();
    let first = make(&authority, &keys(["A", "B", "C"])).await;
    let second = make(&authority, &keys(["B", "C", "D"])).await;
    let settings = remembering(&authority, &[&rustls::version::TLS13]);
    let mut kinds = Vec::new();
    for balancer in [&first, &second, &first] {
        let address = balancer.address("https");
        let stream = Stream::tls_with(address, settings.clone(), "localhost")
            .await
            .unwrap();
        kinds.push(stream.tls_state().unwrap().handshake_kind().unwrap());
        Client::over(stream).get("/").await.unwrap();
    }
    use HandshakeKind::{Full, Resumed};
    assert_eq!(kinds, [Full, Resumed, Resumed]);
}

/// HAProxy needs a reload or its socket for what follows.
#[tokio::test]
async fn a_renewed_certificate_is_taken_over_and_no_connection_ends_for_it() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new("crt <dir>/cert.pem", &one).await;
    let target = Target::tls(lab.balancer.address("https"), &lab.authority);
    let (mut socket, _) = testkit::WebSocket::open_greeted(&target).await.unwrap();
    let old = lab.shown("localhost").await.unwrap();
    let renewed = lab.authority.server_pem(&["localhost"]);
    // Half-written first, as careless tools do: the old one stays.
    lab.write("cert.pem", &renewed[..renewed.len() / 2]);
    lab.balancer.signal(Signal::SIGHUP);
    lab.log.wait_for(&["cert.pem", "the old one stays"]).await;
    assert_eq!(lab.shown("localhost").await.unwrap(), old);
    // A key that belongs to another certificate, likewise.
    let other = Authority::new().server_pem(&["localhost"]);
    let key = &other[other.find("-----BEGIN PRIVATE").unwrap()..];
    let certificate = &renewed[..renewed.find("-----BEGIN PRIVATE").unwrap()];
    lab.write("cert.pem", &format!("{certificate}{key}"));
    lab.log
        .wait_for(&["does not belong", "the old one stays"])
        .await;
    assert_eq!(lab.shown("localhost").await.unwrap(), old);
    // Whole: in force without a signal.
    lab.write("cert.pem", &renewed);
    wait_until("the new certificate", PATIENCE, async || {
        let now = lab.shown("localhost").await.map_err(|it| it.to_string())?;
        testkit::wait::or_seen(now != old, "the old one".to_owned())
    })
    .await;
    socket.echo("still here").await.unwrap();
    let told = |words: &str| {
        lab.log
            .lines()
            .iter()
            .filter(|it| it.contains(words))
            .count()
    };
    assert_eq!(told("the old one stays"), 2);
}

#[tokio::test]
async fn folders_and_lists_gain_and_lose_certificates() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(
        "crt <dir>/certs strict-sni crt-list <dir>/list",
        &|authority| {
            vec![
                ("certs/a.pem", authority.server_pem(&["a.example"])),
                ("l.pem", authority.server_pem(&["l.example"])),
                ("list", "# nothing yet\n".into()),
            ]
        },
    )
    .await;
    lab.connect("a.example").await.unwrap();
    lab.connect("b.example").await.unwrap_err();
    lab.write("certs/b.pem", &lab.authority.server_pem(&["b.example"]));
    lab.write("certs/broken.pem", "not yet whole");
    let folder = lab.balancer.folder().display().to_string();
    lab.write("list", &format!("{folder}/l.pem\n"));
    std::fs::remove_file(lab.balancer.folder().join("certs/a.pem")).unwrap();
    lab.balancer.signal(Signal::SIGHUP);
    wait_until("the changes", PATIENCE, async || {
        let mut seen = Vec::new();
        for name in ["a.example", "b.example", "l.example"] {
            seen.push(lab.connect(name).await.is_ok());
        }
        testkit::wait::or_seen(seen == [false, true, true], format!("{seen:?}"))
    })
    .await;
    lab.log.wait_for(&["broken.pem", "it is left out"]).await;
}

/// A renewal in the middle of traffic: every handshake gets the old one or the new one.
#[tokio::test]
async fn no_handshake_fails_while_certificates_are_renewed() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new("crt <dir>/cert.pem", &one).await;
    let address = lab.balancer.address("https");
    let settings = lab.authority.client_config();
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (settings, stop) = (settings.clone(), stop.clone());
        clients.push(tokio::spawn(async move {
            let mut shown_so_far = BTreeSet::new();
            while !stop.load(Relaxed) {
                let stream = Stream::tls_with(address, settings.clone(), "localhost");
                shown_so_far.insert(shown(&stream.await.unwrap()));
            }
            shown_so_far.len()
        }));
    }
    const RENEWALS: usize = 3;
    for _ in 0..RENEWALS {
        let before = lab.shown("localhost").await.unwrap();
        // As tools do that are careful: beside it, then renamed over it.
        lab.write("cert.pem.new", &lab.authority.server_pem(&["localhost"]));
        let folder = lab.balancer.folder();
        std::fs::rename(folder.join("cert.pem.new"), folder.join("cert.pem")).unwrap();
        lab.balancer.signal(Signal::SIGHUP);
        wait_until("the new certificate", PATIENCE, async || {
            let now = lab.shown("localhost").await.map_err(|it| it.to_string())?;
            testkit::wait::or_seen(now != before, "the old one".to_owned())
        })
        .await;
    }
    stop.store(true, Relaxed);
    for client in clients {
        let certificates = client.await.unwrap();
        assert!((1..=RENEWALS + 1).contains(&certificates), "{certificates}");
    }
}
