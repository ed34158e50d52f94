//! Certificates and revocation lists of version 1, as OpenSSL makes them where nobody asks for extensions,
//! shown by us and verified by us; and what rules see of a chain.

use testkit::{Authority, Client, LogSink};

use crate::support::setup;

const CA: &str = include_str!("../../../engine/src/tls/signed/ca.pem");
/// Version 1, serial number 7, with its key.
const LEAF: &str = include_str!("../../../engine/src/tls/signed/leaf.pem");
const EMPTY: &str = include_str!("../../../engine/src/tls/signed/empty.crl");
const REVOKED: &str = include_str!("../../../engine/src/tls/signed/revoked.crl");

/// What a place that asks for certificates tells of the old one, with this list and these versions.
async fn check(list: &str, bind: &str, server: &str, expected: &str) {
    let log = LogSink::start().await;
    let config = format!(
        "
frontend outer
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    server s 127.0.0.1:<port:https> ssl verify none crt <dir>/leaf.pem {server}
frontend inner
    bind 127.0.0.1:<port:https> ssl crt <dir>/server.pem ca-file <dir>/ca.pem crl-file <dir>/list.pem {bind}
    http-request return status 200 content-type text/plain lf-string \"verify=%[ssl_c_verify] version=%[ssl_c_version] root=%[ssl_c_r_dn(CN)] curve=%[ssl_fc_curve]\"
"
    );
    let balancer = setup(&log, &config)
        .file("server.pem", &Authority::new().server_pem(&["localhost"]))
        .file("ca.pem", CA)
        .file("list.pem", list)
        .file("leaf.pem", LEAF)
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    let answer = client.get("/").await.unwrap().text();
    assert!(answer.starts_with(expected), "{answer}");
}

#[tokio::test]
async fn certificates_of_version_1_come_in_below_their_authority_unless_a_list_names_them() {
    let strict = "verify required curves X25519";
    let lenient = "verify required crt-ignore-err all curves P-256";
    let good = "verify=0 version=1 root=old authority curve=";
    check(EMPTY, strict, "force-tlsv12", &format!("{good}X25519")).await;
    check(EMPTY, lenient, "force-tlsv13", &format!("{good}prime256v1")).await;
    // What is wrong leads to no root.
    check(REVOKED, lenient, "", "verify=23 version=1 root= curve=").await;
    check(REVOKED, strict, "", "<html><body><h1>50").await;
}

/// Who is to be verified as a server must have a name there, unless none is asked for.
#[tokio::test]
async fn a_server_of_version_1_is_believed_by_its_authority_and_by_no_name() {
    for (parameters, status) in [("", 200), ("verifyhost old", 503), ("sni str(old)", 503)] {
        let log = LogSink::start().await;
        let config = format!(
            "
frontend outer
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    retries 0
    server s 127.0.0.1:<port:https> ssl verify required ca-file <dir>/ca.pem {parameters}
frontend inner
    bind 127.0.0.1:<port:https> ssl crt <dir>/leaf.pem
    http-request return status 200
"
        );
        let making = setup(&log, &config)
            .file("ca.pem", CA)
            .file("leaf.pem", LEAF);
        let balancer = making.start().await;
        let mut client = Client::plain(balancer.address("http")).await;
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.status, status, "{parameters}");
    }
}
