//! The client against a service that lies in every way, over real sockets.

use std::sync::Mutex as StdMutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::super::{Fleet, tls};
use super::*;

/// A service that gives every connection the same bytes.
struct Service {
    address: SocketAddr,
    heard: Arc<StdMutex<Vec<String>>>,
    _task: JoinSet<()>,
}

/// What it does after its bytes.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Stall,
}

impl Service {
    async fn start(answer: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(StdMutex::new(Vec::new()));
        let (answer, heard_too) = (answer.into(), Arc::clone(&heard));
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let head = talk(stream, &answer, then).await;
                heard_too.lock().unwrap().push(head);
            }
        });
        Self {
            address,
            heard,
            _task: task,
        }
    }

    fn client(&self, path: &str) -> Arc<Client> {
        let base = BaseUrl::parse(&format!("http://{}{path}", self.address)).unwrap();
        Client::new(base, Some(ApiKey::parse("top secret").unwrap()), None, None)
    }

    async fn fetch(&self) -> String {
        printed(self.client("").fetch().await)
    }
}

/// Reads a request's head, sends the bytes, and closes or waits for the client to.
async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &[u8],
    then: Then,
) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    let _ = stream.write_all(answer).await;
    match then {
        Then::Close => drop(stream.shutdown().await),
        Then::Stall => drop(stream.read_u8().await),
    }
    String::from_utf8(head).unwrap()
}

/// The nodes, or the cause and the line of the error.
fn printed(fetched: Result<Listing, FetchError>) -> String {
    match fetched {
        Ok(listing) => {
            let settled = listing.settle(&Fleet::default(), 100);
            let nodes = settled.fleet.nodes().iter().map(ToString::to_string);
            nodes.collect::<Vec<_>>().join(" ")
        }
        Err(error) => {
            let line = error.line();
            assert!(!format!("{error:?} {line}").contains("secret"));
            assert!(
                line.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
                "{line}"
            );
            assert!(FetchError::CAUSES.contains(&error.cause()));
            format!("{}: {line}", error.cause())
        }
    }
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")
}

const LIST: &str = r#"[{"id":"node1","url":"http://10.0.0.5:8081","status":"active"}]"#;
const NODES: &str = "node1 (http://10.0.0.5:8081)";

#[tokio::test]
async fn a_good_service_is_asked_in_the_agreed_way() {
    let service = Service::start(http("200 OK", LIST), Then::Close).await;
    assert_eq!(service.fetch().await, NODES);
    assert_eq!(printed(service.client("/api/").fetch().await), NODES);
    let heard = service.heard.lock().unwrap().clone();
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "GET /nodes HTTP/1.1\r\nhost: {}\r\naccept: application/json\r\n\
         user-agent: tidegate/{version}\r\nconnection: close\r\nx-api-key: top secret\r\n\r\n",
        service.address
    );
    assert_eq!(heard[0], expected);
    assert!(
        heard[1].starts_with("GET /api/nodes HTTP/1.1\r\n"),
        "{}",
        heard[1]
    );
}

#[tokio::test]
async fn answers_without_a_length_and_with_interim_ones_are_read() {
    for answer in [
        format!("HTTP/1.1 200 OK\r\n\r\n{LIST}"),
        format!("HTTP/1.0 200 OK\r\nETag: W/\"1\"\r\n\r\n{LIST}"),
        format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", http("200 OK", LIST)),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{LIST}\r\n0\r\n\r\n",
            LIST.len()
        ),
    ] {
        let service = Service::start(answer, Then::Close).await;
        assert_eq!(service.fetch().await, NODES);
    }
}

#[tokio::test]
async fn answers_that_are_no_list_have_a_cause() {
    let nested = "[".repeat(1 << 20);
    let cut = "malformed: the answer is cut off or not JSON";
    let refused =
        |status| format!("unauthorized: the service refuses the API key (status {status})");
    let answers = |status| format!("status: the service answers status {status}");
    let page = "<!DOCTYPE html><script>alert(1)</script>";
    for (answer, expected) in [
        (
            http("401 Unauthorized", r#"{"error":"Invalid API key"}"#),
            refused(401),
        ),
        (http("403 Forbidden", ""), refused(403)),
        (
            http("500 Oops", r#"{"error":"Failed to fetch nodes"}"#),
            answers(500),
        ),
        (http("404 Not Found", page), answers(404)),
        (http("204 No Content", ""), answers(204)),
        (
            http("302 Found\r\nLocation: http://127.0.0.1:1/", ""),
            answers(302),
        ),
        (
            http("200 OK", page),
            "html: the service answers an HTML page".to_owned(),
        ),
        (
            http("200 OK", ""),
            "malformed: the answer is no JSON array".to_owned(),
        ),
        (
            http("200 OK", "{}"),
            "malformed: the answer is no JSON array".to_owned(),
        ),
        (http("200 OK", &LIST[..20]), cut.to_owned()),
        (http("200 OK", &nested), cut.to_owned()),
        (
            http("200 OK\r\nContent-Encoding: gzip", "\u{1f}x"),
            "malformed: the answer is no JSON array".to_owned(),
        ),
    ] {
        let service = Service::start(answer, Then::Close).await;
        assert_eq!(service.fetch().await, expected);
    }
}

#[tokio::test]
async fn answers_that_are_not_http_or_cut_off_are_broken() {
    let huge_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1000));
    for answer in [
        "",
        "\u{1b}]0;evil\u{7}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n[]",
        &huge_head,
        &many,
    ] {
        let service = Service::start(answer, Then::Close).await;
        let got = service.fetch().await;
        assert!(
            got.starts_with("protocol: the service's answer is broken: "),
            "{got}"
        );
    }
}

#[tokio::test]
async fn a_huge_answer_is_not_read_to_its_end() {
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n[{}", " ".repeat(BODY_MAX + 1));
    let service = Service::start(endless, Then::Stall).await;
    let expected = "too_large: the service's answer is larger than 4194304 bytes";
    assert_eq!(service.fetch().await, expected);
    // A length that is too large by itself is believed at once.
    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[";
    let service = Service::start(announced, Then::Stall).await;
    assert_eq!(service.fetch().await, expected);
}

/// With the clock paused, time passes as soon as nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn a_service_that_stalls_costs_five_seconds() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\n\r\n[{",
    ] {
        let service = Service::start(answer, Then::Stall).await;
        let begun = tokio::time::Instant::now();
        let expected = "timeout: the service did not answer within 5 s";
        assert_eq!(service.fetch().await, expected);
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}

#[tokio::test]
async fn a_service_that_is_not_there() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let base = BaseUrl::parse(&format!("http://{address}")).unwrap();
    let got = printed(Client::new(base, None, None, None).fetch().await);
    assert!(
        got.starts_with("connect: the service cannot be reached: "),
        "{got}"
    );
}

#[tokio::test]
async fn https_is_verified() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                talk(stream, http("200 OK", LIST).as_bytes(), Then::Close).await;
            }
        }
    });
    let fetch = async |host: &str, roots: rustls::RootCertStore| {
        let base = BaseUrl::parse(&format!("https://{host}:{port}")).unwrap();
        let connector = tls::trusting(roots).unwrap();
        printed(Client::new(base, None, Some(connector), None).fetch().await)
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    assert_eq!(fetch("localhost", roots.clone()).await, NODES);
    let got = fetch("127.0.0.1", roots).await;
    assert!(got.starts_with("tls: no TLS with the service: "), "{got}");
    let got = fetch("localhost", rustls::RootCertStore::empty()).await;
    assert!(got.starts_with("tls: no TLS with the service: "), "{got}");
}
