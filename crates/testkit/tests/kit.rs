//! The kit's own parts against each other, without any balancer: what a test of the balancer
//! reports must not be the kit's fault.

use std::io::Write;
use std::process::Command;

use testkit::discovery::{API_KEY, Answer};
use testkit::http::get;
use testkit::node::pattern;
use testkit::websocket::Target;
use testkit::{
    Authority, Client, Discovery, Health, Node, Process, Swarm, Temper, WebSocket, wait_until,
};

#[tokio::test]
async fn a_node_answers_by_path_and_keeps_what_it_received() {
    let node = Node::start("n1").await;
    let mut client = Client::plain(node.address()).await;
    for (path, body) in [
        ("/", b"n1 GET /\n".to_vec()),
        ("/bytes/50", pattern(50)),
        ("/status/404", b"scripted".to_vec()),
        ("/status/204", Vec::new()),
        ("/interim", b"final".to_vec()),
        ("/until-close", b"to the end".to_vec()),
    ] {
        assert_eq!(client.get(path).await.unwrap().body, body, "{path}");
    }
    let received = node.received();
    assert!(received[0].starts_with(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /bytes/50"));
    assert_eq!(node.requests().len(), 6);
}

#[tokio::test]
async fn a_node_echoes_bodies_in_the_framing_they_came_in() {
    let node = Node::start("n1").await;
    let mut client = Client::plain(node.address()).await;
    client
        .send(
            "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n",
        )
        .await;
    let response = client.response().await.unwrap();
    assert_eq!(response.text(), "hi");
    assert_eq!(response.trailers, [("a".into(), "b".into())]);
    client
        .send("POST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    assert_eq!(client.response().await.unwrap().text(), "hi");
}

#[tokio::test]
async fn websockets_echo_plain_and_over_tls() {
    let authority = Authority::new();
    for (node, target) in [
        {
            let node = Node::start("n1").await;
            let target = Target::plain(node.address());
            (node, target)
        },
        {
            let node = Node::start_tls("n1", &authority).await;
            let target = Target::tls(node.address(), &authority);
            (node, target)
        },
    ] {
        let (mut socket, id) = WebSocket::open_greeted(&target).await.unwrap();
        assert_eq!((id.as_str(), node.websockets()), ("n1", 1));
        socket.echo("hello").await.unwrap();
        socket.echo_bytes(pattern(100_000)).await.unwrap();
        socket.ping(b"p").await.unwrap();
        assert_eq!(socket.close().await.unwrap(), Some(1000));
        wait_until("the node to see the end", testkit::PATIENCE, async || {
            testkit::wait::or_seen(node.websockets() == 0, node.websockets())
        })
        .await;
    }
}

#[tokio::test]
async fn a_swarm_tells_which_sockets_a_crash_took() {
    let mut node = Node::start("n1").await;
    let mut swarm = Swarm::open(&Target::plain(node.address()), 100).await;
    swarm.echo_all().await;
    swarm.assert_whole();
    assert_eq!(swarm.on("n1"), 100);
    node.crash().await;
    swarm.echo_all().await;
    assert_eq!(swarm.lost().len(), 100);
    assert!(swarm.lost_elsewhere("n1").is_empty());
    node.restart().await;
    assert_eq!(get(node.address(), "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn tempers_do_what_they_say() {
    let node = Node::start("n1").await;
    for (temper, expected) in [
        (Temper::ResetBeforeResponse, "reset"),
        (Temper::CloseBeforeResponse, "without a response"),
        (Temper::ResetMidMessage, "reset"),
        (Temper::garbage(), "not HTTP"),
    ] {
        node.set_temper(temper.clone());
        let error = get(node.address(), "/").await.unwrap_err();
        assert!(
            format!("{error:#}").contains(expected),
            "{temper:?}: {error:#}"
        );
    }
    node.set_temper(Temper::switches_with("wrong"));
    let error = WebSocket::open(&Target::plain(node.address())).await;
    assert!(error.unwrap_err().to_string().contains("wrong"));
    node.set_temper(Temper::EarlyBytes);
    let mut socket = WebSocket::open(&Target::plain(node.address()))
        .await
        .unwrap();
    assert_eq!(socket.text().await.unwrap(), "early");
    node.set_health(Health::Status(503));
    let health = get(node.address(), "/health").await.unwrap();
    assert_eq!((health.status, node.health_checks()), (503, 1));
}

#[tokio::test]
async fn a_hanging_node_goes_on_when_its_temper_changes() {
    let node = Node::start("n1").await;
    node.set_temper(Temper::Hang);
    let mut client = Client::plain(node.address()).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    wait_until("the request to arrive", testkit::PATIENCE, async || {
        testkit::wait::or_seen(node.requests().len() == 1, "none")
    })
    .await;
    node.set_temper(Temper::Normal);
    assert_eq!(client.response().await.unwrap().status, 200);
    assert_eq!(node.in_flight_max(), 1);
}

#[tokio::test]
async fn discovery_tells_the_truth_to_those_with_the_key() {
    let node = Node::start("n1").await;
    let discovery = Discovery::start(&[&node]).await;
    let mut client = Client::plain(discovery.address()).await;
    assert_eq!(client.get("/nodes").await.unwrap().status, 401);
    client
        .send(format!(
            "GET /nodes HTTP/1.1\r\nX-API-Key: {API_KEY}\r\n\r\n"
        ))
        .await;
    let list = client.response().await.unwrap().text();
    assert!(list.contains(&node.url()), "{list}");
    discovery.set_answer(Answer::Truncated);
    client
        .send(format!(
            "GET /nodes HTTP/1.1\r\nX-API-Key: {API_KEY}\r\n\r\n"
        ))
        .await;
    let error = client.response().await.unwrap_err();
    assert!(error.to_string().contains("in the middle"), "{error}");
    assert_eq!(discovery.fetches(), 3);
}

#[tokio::test]
async fn a_process_is_heard_and_ends_with_the_test() {
    let mut script = tempfile::NamedTempFile::new().unwrap();
    writeln!(script, "echo out; echo err >&2; sleep 1000 & sleep 1000").unwrap();
    let process = Process::start(Command::new("sh").arg(script.path()));
    process.wait_for_line(&["out"]).await;
    process.wait_for_line(&["err"]).await;
    let group = nix::unistd::Pid::from_raw(i32::try_from(process.pid()).unwrap());
    drop(process);
    wait_until(
        "the group to be gone",
        testkit::PATIENCE,
        async || match nix::sys::signal::killpg(group, None) {
            Err(nix::errno::Errno::ESRCH) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}
