//! Health checks: rise and fall, HAProxy's words in the log, and no traffic to a server that is DOWN.

use std::time::{Duration, Instant};

use testkit::{Balancer, Client, Health, LogSink, Node, PATIENCE, wait_until};

use crate::support::{one_backend, setup};

const SETTINGS: &str = "    option httpchk GET /health
    timeout check 3s
    default-server inter 150ms fall 3 rise 2";

struct Lab {
    log: LogSink,
    one: Node,
    two: Node,
    balancer: Balancer,
}

impl Lab {
    async fn new(settings: &str) -> Self {
        let log = LogSink::start().await;
        let (one, two) = (Node::start("one").await, Node::start("two").await);
        let servers = ["one <one> check", "two <two> check"];
        let balancer = setup(&log, &one_backend(settings, &servers))
            .set("one", one.address())
            .set("two", two.address())
            .start()
            .await;
        Self {
            log,
            one,
            two,
            balancer,
        }
    }

    async fn ask(&self, times: usize) {
        let mut client = Client::plain(self.balancer.address("http")).await;
        for _ in 0..times {
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
    }
}

#[tokio::test]
async fn a_failing_server_goes_down_after_fall_and_up_after_rise() {
    let lab = Lab::new(SETTINGS).await;
    lab.ask(4).await;
    assert_eq!(lab.one.requests().len(), 2);
    lab.one.set_health(Health::Status(503));
    let down = lab
        .log
        .wait_for(&["Server be/one is DOWN, reason: Layer7 wrong status, code: 503"])
        .await;
    let rest =
        "1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.";
    assert!(down.trim_end().ends_with(rest), "{down}");
    let before = lab.one.requests().len();
    lab.ask(10).await;
    assert_eq!(lab.one.requests().len(), before, "traffic to a DOWN server");
    assert!(lab.two.requests().len() >= 10);

    lab.one.set_health(Health::Status(200));
    let up = lab
        .log
        .wait_for(&["Server be/one is UP, reason: Layer7 check passed, code: 200"])
        .await;
    let rest = "2 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.";
    assert!(up.trim_end().ends_with(rest), "{up}");
    lab.ask(10).await;
    assert!(lab.one.requests().len() > before);
}

#[tokio::test]
async fn a_refused_connection_fails_the_check_in_haproxys_words() {
    let mut lab =
        Lab::new("    timeout check 3s\n    default-server inter 150ms fall 2 rise 1").await;
    lab.one.stop().await;
    let down = lab
        .log
        .wait_for(&["Server be/one is DOWN, reason: Layer4 connection problem"])
        .await;
    let info = "info: \"ECONNREFUSED returned by OS (Connection refused)\"";
    assert!(down.contains(info), "{down}");
    lab.one.restart().await;
    lab.log
        .wait_for(&["Server be/one is UP, reason: Layer4 check passed"])
        .await;
}

#[tokio::test]
async fn a_silent_server_fails_its_check_by_time() {
    let settings = "    option httpchk GET /health\n    timeout check 200ms
    default-server inter 100ms fall 2 rise 1";
    let lab = Lab::new(settings).await;
    lab.one.set_health(Health::Hang);
    lab.log
        .wait_for(&["Server be/one is DOWN, reason: Layer7 timeout"])
        .await;
}

#[tokio::test]
async fn a_backend_without_servers_left_says_so() {
    let mut lab =
        Lab::new("    timeout check 3s\n    default-server inter 150ms fall 1 rise 1").await;
    lab.one.stop().await;
    lab.two.stop().await;
    lab.log
        .wait_for(&["backend be has no server available!"])
        .await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    assert_eq!(client.get("/").await.unwrap().status, 503);
    lab.two.restart().await;
    wait_until("service again", PATIENCE, async || {
        let status = client.get("/").await.map(|response| response.status);
        match status {
            Ok(200) => Ok(()),
            other => {
                client = Client::plain(lab.balancer.address("http")).await;
                Err(format!("{other:?}"))
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_check_may_expect_and_send() {
    let settings = "    option httpchk
    http-check send meth GET uri /health hdr X-Probe yes
    http-check expect status 204
    timeout check 3s
    default-server inter 150ms fall 1 rise 1";
    let lab = Lab::new(settings).await;
    lab.log
        .wait_for(&["Server be/one is DOWN, reason: Layer7 wrong status, code: 200"])
        .await;
    lab.one.set_health(Health::Status(204));
    lab.log.wait_for(&["Server be/one is UP"]).await;
}

#[tokio::test]
async fn checks_come_at_their_interval_whatever_the_number_of_workers() {
    let start = Instant::now();
    let lab = Lab::new("    option httpchk GET /health\n    default-server inter 200ms").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let checks = lab.one.health_checks();
    let most = start.elapsed().as_millis() / 200 + 2;
    // Far fewer would be a machine that stands still; two workers that each check would be double.
    assert!(
        (6..=most).contains(&(checks as u128)),
        "{checks} checks, at most {most} expected"
    );
}

#[tokio::test]
async fn backups_serve_when_nobody_else_can() {
    let log = LogSink::start().await;
    let (mut one, two) = (Node::start("one").await, Node::start("two").await);
    let servers = ["one <one> check", "two <two> check backup"];
    let settings = "    timeout check 3s\n    default-server inter 150ms fall 1 rise 1";
    let balancer = setup(&log, &one_backend(settings, &servers))
        .set("one", one.address())
        .set("two", two.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    assert_eq!(client.get("/").await.unwrap().text(), "one GET /\n");
    one.stop().await;
    log.wait_for(&["Server be/one is DOWN", "Running on backup."])
        .await;
    assert_eq!(client.get("/").await.unwrap().text(), "two GET /\n");
}

#[tokio::test]
async fn a_text_is_found_though_the_node_keeps_the_connection_open() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    node.set_health(Health::HoldOpen);
    let settings = "    option httpchk GET /health
    http-check expect string nodeId
    timeout check 2s
    default-server inter 500ms fall 1 rise 1
    stats uri /stats";
    let balancer = setup(&log, &one_backend(settings, &["n1 <n1> check"]))
        .set("n1", node.address())
        .start()
        .await;
    wait_until("a check that passes", PATIENCE, async || {
        let table = balancer.stats("http").await;
        let seen = table.get("be", "n1", "check_status").to_owned();
        // HAProxy marks a check that is under way with a star.
        testkit::wait::or_seen(seen.ends_with("L7OK"), seen)
    })
    .await;
}
