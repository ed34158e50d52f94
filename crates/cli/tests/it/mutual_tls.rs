//! Certificates of clients: who gets in, what rules and logs see of them, and that no earlier session
//! is a way around.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use testkit::stream::Stream;
use testkit::{Authority, Balancer, Client, Leaf, LogSink, Response};

use crate::support::{is_haproxy, setup};

/// What rules see, as the answer.
const SHOW: &str = "    http-request return status 200 content-type text/plain lf-string \"used=%[ssl_c_used] \
    crt=%[ssl_fc_has_crt] verify=%[ssl_c_verify] err=%[ssl_c_err] cn=%[ssl_c_s_dn(CN)] \
    serial=%[ssl_c_serial,hex]\"";

struct Lab {
    log: LogSink,
    authority: Authority,
    balancer: Balancer,
}

impl Lab {
    /// A frontend with these `bind` parameters, and files by name and content.
    async fn new(bind: &str, files: &[(&str, &str)]) -> Self {
        Self::with(Authority::new(), bind, files).await
    }

    async fn with(authority: Authority, bind: &str, files: &[(&str, &str)]) -> Self {
        let log = LogSink::start().await;
        let config = format!(
            "frontend fe\n    bind 127.0.0.1:<port:https> ssl crt <dir>/server.pem {bind}\n{SHOW}\n"
        );
        let mut making = setup(&log, &config)
            .file("server.pem", &authority.server_pem(&["localhost"]))
            .file("ca.pem", &authority.pem());
        for (name, content) in files {
            making = making.file(name, content);
        }
        Self {
            balancer: making.start().await,
            authority,
            log,
        }
    }

    /// The answer to a client with this certificate of that authority.
    async fn ask(&self, signer: &Authority, leaf: &Leaf) -> io::Result<Response> {
        let pem = signer.pem_of(leaf);
        self.ask_as(self.authority.client_config_showing(&pem))
            .await
    }

    async fn ask_as(&self, settings: Arc<ClientConfig>) -> io::Result<Response> {
        let address = self.balancer.address("https");
        let stream = Stream::tls_with(address, settings, "localhost").await?;
        // In TLS 1.3 a refusal comes after the client believes it is in.
        Client::over(stream)
            .get("/")
            .await
            .map_err(io::Error::other)
    }
}

fn client(serial: u64) -> Leaf {
    Leaf {
        serial: Some(serial),
        ..Leaf::client("client one")
    }
}

#[tokio::test]
async fn required_lets_in_whom_the_authority_has_signed_and_nobody_else() {
    let lab = Lab::new("ca-file <dir>/ca.pem verify required", &[]).await;
    let answer = lab
        .ask(&lab.authority, &client(0x1234))
        .await
        .unwrap()
        .text();
    assert_eq!(
        answer,
        "used=1 crt=1 verify=0 err=0 cn=client one serial=1234"
    );
    lab.ask_as(lab.authority.client_config()).await.unwrap_err();
    lab.log.wait_for(&["fe/1: SSL handshake failure"]).await;
    lab.ask(&Authority::new(), &client(1)).await.unwrap_err();
    lab.log
        .wait_for(&["SSL client certificate not trusted"])
        .await;
    let late = Leaf {
        expired: true,
        ..client(2)
    };
    lab.ask(&lab.authority, &late).await.unwrap_err();
}

#[tokio::test]
async fn optional_lets_in_clients_without_a_certificate_but_none_with_a_bad_one() {
    let lab = Lab::new("ca-file <dir>/ca.pem verify optional", &[]).await;
    let answer = lab.ask_as(lab.authority.client_config()).await.unwrap();
    assert_eq!(answer.text(), "used=0 crt=0 verify=0 err=0 cn= serial=");
    let answer = lab.ask(&lab.authority, &client(7)).await.unwrap().text();
    assert_eq!(
        answer,
        "used=1 crt=1 verify=0 err=0 cn=client one serial=07"
    );
    lab.ask(&Authority::new(), &client(1)).await.unwrap_err();
}

#[tokio::test]
async fn a_certificate_that_was_taken_back_is_refused() {
    let authority = Authority::new();
    let crl = authority.revocation_list(&[66]);
    let bind = "ca-file <dir>/ca.pem crl-file <dir>/crl.pem verify required";
    let lab = Lab::with(authority, bind, &[("crl.pem", &crl)]).await;
    assert!(lab.ask(&lab.authority, &client(65)).await.is_ok());
    lab.ask(&lab.authority, &client(66)).await.unwrap_err();
}

#[tokio::test]
async fn an_error_that_is_ignored_is_told_and_no_other_passes() {
    let expired = "ca-file <dir>/ca.pem verify required crt-ignore-err 10";
    let lab = Lab::new(expired, &[]).await;
    let late = Leaf {
        expired: true,
        ..client(5)
    };
    let answer = lab.ask(&lab.authority, &late).await.unwrap().text();
    assert_eq!(
        answer,
        "used=1 crt=1 verify=10 err=10 cn=client one serial=05"
    );
    lab.ask(&Authority::new(), &client(1)).await.unwrap_err();
    lab.ask(&Authority::new(), &late).await.unwrap_err();
    let all = "ca-file <dir>/ca.pem verify optional crt-ignore-err all ca-ignore-err all";
    let lab = Lab::new(all, &[]).await;
    let answer = lab.ask(&Authority::new(), &client(6)).await.unwrap().text();
    assert!(answer.starts_with("used=1 crt=1 verify="), "{answer}");
    assert!(!answer.contains("verify=0"), "{answer}");
}

/// CVE-2025-23419: places that share ticket keys, or a cache, must not share who gets in. HAProxy 2.6
/// resumes such a session.
#[tokio::test]
async fn a_session_of_an_open_place_does_not_lead_into_a_closed_one() {
    if is_haproxy() {
        return;
    }
    for extra in ["tls-ticket-keys <dir>/keys", "no-tls-tickets"] {
        let log = LogSink::start().await;
        let authority = Authority::new();
        let bind = "ssl crt <dir>/server.pem ca-file <dir>/ca.pem";
        let config = format!(
            "frontend fe\n    bind 127.0.0.1:<port:open> {bind} {extra}\n    \
             bind 127.0.0.1:<port:again> {bind} {extra}\n    \
             bind 127.0.0.1:<port:closed> {bind} verify required {extra}\n{SHOW}\n"
        );
        let keys: String = ["A", "B", "C"]
            .map(|letter| letter.repeat(64) + "\n")
            .concat();
        let balancer = setup(&log, &config)
            .file("server.pem", &authority.server_pem(&["localhost"]))
            .file("ca.pem", &authority.pem())
            .file("keys", &keys)
            .start()
            .await;
        let mut settings = ClientConfig::clone(&authority.client_config());
        settings.resumption = Resumption::in_memory_sessions(8);
        let settings = Arc::new(settings);
        let ask = async |port: &str| {
            let stream =
                Stream::tls_with(balancer.address(port), settings.clone(), "localhost").await?;
            let kind = stream.tls_state().and_then(|state| state.handshake_kind());
            let answer = Client::over(stream).get("/").await;
            answer.map(|_| kind).map_err(io::Error::other)
        };
        let full = ask("open").await.unwrap();
        assert_eq!(full, Some(rustls::HandshakeKind::Full), "{extra}");
        // The same proof is asked for there: the session is good.
        let resumed = ask("again").await.unwrap();
        assert_eq!(resumed, Some(rustls::HandshakeKind::Resumed), "{extra}");
        ask("closed").await.unwrap_err();
    }
}

#[tokio::test]
async fn a_line_of_a_list_may_ask_for_what_the_others_do_not() {
    let log = LogSink::start().await;
    let authority = Authority::new();
    let config =
        format!("frontend fe\n    bind 127.0.0.1:<port:https> ssl crt-list <dir>/list\n{SHOW}\n");
    let making = setup(&log, &config)
        .file("open.pem", &authority.server_pem(&["open.example"]))
        .file("closed.pem", &authority.server_pem(&["closed.example"]))
        .file("ca.pem", &authority.pem());
    let folder = making.folder().display().to_string();
    let list = format!(
        "{folder}/open.pem\n{folder}/closed.pem [ca-file {folder}/ca.pem verify required]\n"
    );
    let balancer = making.file("list", &list).start().await;
    let mut settings = ClientConfig::clone(&authority.client_config());
    settings.resumption = Resumption::in_memory_sessions(8);
    let settings = Arc::new(settings);
    let ask = async |name: &str, settings: &Arc<ClientConfig>| {
        let address = balancer.address("https");
        let stream = Stream::tls_with(address, settings.clone(), name).await?;
        Client::over(stream)
            .get("/")
            .await
            .map_err(io::Error::other)
    };
    ask("open.example", &settings).await.unwrap();
    ask("closed.example", &settings).await.unwrap_err();
    ask("open.example", &settings).await.unwrap();
    ask("closed.example", &settings).await.unwrap_err();
    let known = authority.client_config_showing(&authority.pem_of(&client(9)));
    let answer = ask("closed.example", &known).await.unwrap().text();
    assert!(answer.starts_with("used=1"), "{answer}");
}
