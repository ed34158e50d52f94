//! Users and passwords: `userlist`, `http-request auth`, `http_auth…`.

use testkit::{Client, LogSink, Node};

use crate::support::{is_haproxy, setup};

/// Passwords are "secret", and "elgato" for scott.
const CONFIG: &str = "
userlist people
    group admins users tiger,scott
    group others users hash
    user tiger password '$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1'
    user scott insecure-password elgato
    user hash password '$5$rounds=1000$abc$Mz4DiYKTnNKbZLo/mIp3d8Y4aQBhv3uhSwxLDy55/Y8'
    user blow password '$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW'
    user old password '$1$saltsalt$9xy1btjgzLYfb7hivXtC//'
    user yes password '$y$j9T$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0'
frontend fe
    bind 127.0.0.1:<port:http>
    acl known http_auth(people)
    acl admin http_auth_group(people) admins
    http-request allow if { path /open }
    http-request auth realm gate if { path /gate } !known
    http-request auth if !known
    http-request deny if { path /admin } !admin
    http-request set-header X-User %[http_auth_user]
    http-request set-header X-As %[http_auth_group(people)]
    http-request del-header Authorization
    default_backend be
backend be
    server n1 <n1>
";

/// Sends credentials, base64 of `user:password`.
async fn ask(client: &mut Client, path: &str, credentials: &str) -> testkit::Response {
    let field = match credentials {
        "" => String::new(),
        given => format!("Authorization: {given}\r\n"),
    };
    client
        .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n"))
        .await;
    client.response().await.unwrap()
}

#[tokio::test]
async fn only_users_get_in_and_only_as_far_as_their_groups_go() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, CONFIG).set("n1", node.address()).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    for (path, credentials, status) in [
        ("/open", "", 200),
        ("/", "", 401),
        ("/", "Basic dGlnZXI6c2VjcmV0", 200), // tiger:secret
        ("/admin", "basic dGlnZXI6c2VjcmV0", 200),
        ("/", "Basic dGlnZXI6U2VjcmV0", 401), // tiger:Secret
        ("/", "Basic dGlnZXI6c2VjcmV0", 200),
        ("/", "Basic c2NvdHQ6ZWxnYXRv", 200), // scott:elgato
        ("/", "Basic c2NvdHQ6ZWxnYXRvcw==", 401),
        ("/", "Basic aGFzaDpzZWNyZXQ=", 200), // hash:secret
        ("/admin", "Basic aGFzaDpzZWNyZXQ=", 403),
        ("/", "Basic Ymxvdzpz", 401),             // blow:s
        ("/", "Basic Ymxvdzp", 401),              // no base64
        ("/", "Basic bm9ib2R5OnNlY3JldA==", 401), // nobody:secret
        ("/", "Bearer dGlnZXI6c2VjcmV0", 401),
        ("/", "Basic b2xkOnNlY3JldA==", 200), // old:secret
        ("/", "Basic YmxvdzpzZWNyZXQ=", 200), // blow:secret
        ("/", "Basic eWVzOnNlY3JldA==", 200), // yes:secret
    ] {
        let response = ask(&mut client, path, credentials).await;
        assert_eq!(response.status, status, "{path} {credentials}");
    }
    let seen = node.requests();
    let tiger = seen.iter().find(|it| it.get("x-user") == Some("tiger"));
    let tiger = tiger.expect("the node saw tiger");
    assert_eq!(tiger.get("x-as"), Some("tiger"));
    assert_eq!(tiger.get("authorization"), None);
}

#[tokio::test]
async fn who_is_unknown_is_asked_and_logged() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, CONFIG).set("n1", node.address()).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    for (path, realm) in [("/", "fe"), ("/gate", "gate")] {
        let response = ask(&mut client, path, "").await;
        let expected = format!("Basic realm=\"{realm}\"");
        assert_eq!(response.head.get("www-authenticate"), Some(&*expected));
        assert_eq!(response.head.get("content-type"), Some("text/html"));
    }
    log.wait_for(&["fe/<NOSRV>", " 401 ", " LR-- ", "\"GET /gate HTTP/1.1\""])
        .await;
}

/// A rule that changes the credentials has changed what was proven by them.
#[tokio::test]
async fn credentials_that_a_rule_puts_in_prove_nothing() {
    if is_haproxy() {
        return; // It goes on believing what it read first.
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = CONFIG.replace(
        "    acl known",
        "    http-request set-header Authorization %[req.hdr(X-Other)]\n    acl known",
    );
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    let response = ask(&mut client, "/", "Basic dGlnZXI6c2VjcmV0").await;
    assert_eq!(response.status, 401);
}

/// A rule in front denies without a look at who it is: guesses there are no work, and take nobody's
/// place in the queue of those who are checked.
#[tokio::test]
async fn guesses_that_are_denied_anyway_keep_nobody_out() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = CONFIG.replace(
        "    http-request allow if { path /open }",
        "    http-request deny if { path /denied }",
    );
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let address = balancer.address("http");
    let mut guessing = Vec::new();
    for _ in 0..150 {
        let mut client = Client::plain(address).await;
        let guess =
            "GET /denied HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dGlnZXI6U2VjcmV0\r\n\r\n";
        client.send(guess).await;
        guessing.push(client);
    }
    let mut client = Client::plain(address).await;
    let response = ask(&mut client, "/", "Basic dGlnZXI6c2VjcmV0").await;
    assert_eq!(response.status, 200);
    for mut client in guessing {
        assert_eq!(client.response().await.unwrap().status, 403);
    }
}

/// Who asks first does not matter: a rule over the first bytes, a monitor or a capture gets the answer
/// that `http-request` rules get.
#[tokio::test]
async fn every_place_that_asks_gets_an_answer() {
    let lists = CONFIG.split("frontend fe").next().unwrap();
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let tail = "    default_backend be\nbackend be\n    server n1 <n1>\n";
    for (settings, path, known, stranger) in [
        (
            "tcp-request content reject unless { http_auth(people) }",
            "/",
            Some(200),
            None,
        ),
        (
            "monitor-uri /up\n    monitor fail unless { http_auth(people) }",
            "/up",
            Some(200),
            Some(503),
        ),
        (
            "use_backend none unless { http_auth(people) }",
            "/",
            Some(200),
            Some(503),
        ),
    ] {
        let config = format!(
            "{lists}frontend fe\n    bind 127.0.0.1:<port:http>\n    {settings}\n{tail}backend none\n"
        );
        let balancer = setup(&log, &config).set("n1", node.address()).start().await;
        for (credentials, expected) in [
            ("Basic dGlnZXI6c2VjcmV0", known), // tiger:secret
            ("Basic dGlnZXI6U2VjcmV0", stranger),
        ] {
            let mut client = Client::plain(balancer.address("http")).await;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\n\r\n");
            client.send(request).await;
            let status = client.response().await.ok().map(|response| response.status);
            assert_eq!(status, expected, "{settings} {credentials}");
        }
    }
    let config = format!(
        "{lists}frontend fe\n    bind 127.0.0.1:<port:http>\n    \
         http-request capture http_auth_group(people) len 20\n{tail}"
    );
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    let response = ask(&mut client, "/captured", "Basic dGlnZXI6c2VjcmV0").await;
    assert_eq!(response.status, 200);
    log.wait_for(&["{tiger}", "/captured"]).await;
}
