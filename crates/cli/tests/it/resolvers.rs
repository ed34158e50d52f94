//! Names of servers: `resolvers`, SRV records, `init-addr`; nameservers that change their mind, fail or lie.

use testkit::{Balancer, Client, LogSink, Nameserver, Node, PATIENCE, Says, wait_until};

use crate::support::{one_backend, setup};

const NAME: &str = "app.test";
const LABEL: &str = "_http._tcp.app.test";

struct Lab {
    log: LogSink,
    nameserver: Nameserver,
    nodes: Vec<Node>,
    balancer: Balancer,
}

impl Lab {
    /// `hold` are lines of the section; `server` has `<port>`, the first node's.
    async fn new(hold: &str, server: &str, says: impl FnOnce(&[Node], &Nameserver)) -> Self {
        let log = LogSink::start().await;
        let nameserver = Nameserver::start().await;
        let nodes = Node::start_many(3).await;
        says(&nodes, &nameserver);
        let section = format!(
            "resolvers dns\n    nameserver ns <ns>\n    timeout resolve 20ms\n    timeout retry 50ms\n{hold}\n"
        );
        let config = one_backend("", &[]) + server + "\n" + &section;
        let balancer = setup(&log, &config)
            .set("ns", nameserver.address())
            .set("port", nodes[0].address().port())
            .start()
            .await;
        Self {
            log,
            nameserver,
            nodes,
            balancer,
        }
    }

    async fn status(&self) -> u16 {
        let mut client = Client::plain(self.balancer.address("http")).await;
        client.get("/").await.unwrap().status
    }

    async fn wait_status(&self, status: u16) {
        wait_until(&format!("status {status}"), PATIENCE, async || {
            match self.status().await {
                is if is == status => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await;
    }

    /// Waits until it has been asked that often again.
    async fn wait_asked(&self, more: usize) {
        let before = self.nameserver.asked().len();
        wait_until("questions", PATIENCE, async || {
            match self.nameserver.asked().len() - before {
                asked if asked >= more => Ok(()),
                asked => Err(format!("{asked} of {more}")),
            }
        })
        .await;
    }
}

const PLAIN: &str = "    server s app.test:<port> resolvers dns init-addr none resolve-prefer ipv4";

#[tokio::test]
async fn an_address_changes_while_running() {
    let lab = Lab::new("", PLAIN, |_, dns| {
        dns.say(NAME, Says::address("127.0.0.1"))
    })
    .await;
    lab.wait_status(200).await;
    lab.nameserver.say(NAME, Says::address("127.0.0.9"));
    lab.log
        .wait_for(&["be/s changed its IP from 127.0.0.1 to 127.0.0.9 by dns/ns."])
        .await;
    lab.nameserver.say(NAME, Says::address("127.0.0.1"));
    lab.log
        .wait_for(&["be/s changed its IP from 127.0.0.9 to 127.0.0.1 by dns/ns."])
        .await;
    assert_eq!(lab.status().await, 200);
}

#[tokio::test]
async fn a_name_that_is_gone_takes_its_server_down_until_it_is_back() {
    let failures = [
        (Says::Code(3), "DNS NX status"),
        (Says::Code(5), "DNS refused status"),
        (Says::Code(2), "unspecified DNS error"),
        (Says::Silence, "DNS timeout status"),
    ];
    let hold = "    hold nx 0\n    hold refused 0\n    hold other 0\n    hold timeout 0\n    resolve_retries 1";
    let lab = Lab::new(hold, PLAIN, |_, dns| {
        dns.say(NAME, Says::address("127.0.0.1"))
    })
    .await;
    for (says, cause) in failures {
        lab.wait_status(200).await;
        lab.nameserver.say(NAME, says);
        let line = format!("Server be/s is going DOWN for maintenance ({cause}).");
        lab.log.wait_for(&[&line]).await;
        assert_eq!(lab.status().await, 503, "{cause}");
        lab.nameserver.say(NAME, Says::address("127.0.0.1"));
    }
    lab.wait_status(200).await;
    lab.log
        .wait_for(&["Server be/s ('app.test') is UP/READY (resolves again)."])
        .await;
}

#[tokio::test]
async fn what_is_held_outlives_failures_and_lies() {
    let hold = "    hold nx 1h\n    hold refused 1h\n    hold other 1h\n    hold timeout 1h\n    resolve_retries 1";
    let lab = Lab::new(hold, PLAIN, |_, dns| {
        dns.say(NAME, Says::address("127.0.0.1"))
    })
    .await;
    lab.wait_status(200).await;
    let elsewhere = || vec!["127.0.0.9".parse().unwrap()];
    let wrong = [
        Says::Code(3),
        Says::Code(5),
        Says::Noise,
        Says::WrongId(elsewhere()),
        Says::WrongName(elsewhere()),
        Says::WrongPort(elsewhere()),
        Says::Addresses(Vec::new()),
    ];
    for says in wrong {
        lab.nameserver.say(NAME, says.clone());
        lab.wait_asked(4).await;
        assert_eq!(lab.status().await, 200, "{says:?}");
    }
    assert!(
        !lab.log
            .lines()
            .iter()
            .any(|line| line.contains("127.0.0.9"))
    );
}

#[tokio::test]
async fn what_is_too_long_for_a_datagram_comes_by_tcp() {
    let there = || vec!["127.0.0.1".parse().unwrap()];
    let lab = Lab::new("", PLAIN, |_, dns| dns.say(NAME, Says::TooLong(there()))).await;
    lab.wait_status(200).await;
}

#[tokio::test]
async fn services_come_and_go() {
    let template = "    server-template s 2 _http._tcp.app.test resolvers dns init-addr none resolve-prefer ipv4";
    let lab = Lab::new("", template, |nodes, dns| {
        let port = nodes[0].address().port();
        dns.say(LABEL, Says::services(&[(0, port, "one.app.test")]));
        dns.say("one.app.test", Says::address("127.0.0.1"));
        dns.say("two.app.test", Says::address("127.0.0.1"));
    })
    .await;
    lab.wait_status(200).await;
    assert_eq!(lab.nodes[1].requests().len(), 0);
    let port = |at: usize| lab.nodes[at].address().port();
    // One more.
    let both = [(0, port(0), "one.app.test"), (0, port(1), "two.app.test")];
    lab.nameserver.say(LABEL, Says::services(&both));
    wait_until("requests to the second", PATIENCE, async || {
        assert_eq!(lab.status().await, 200);
        match lab.nodes[1].requests().len() {
            0 => Err("none"),
            _ => Ok(()),
        }
    })
    .await;
    // The first one leaves, and another takes its place.
    let others = [(0, port(1), "two.app.test"), (0, port(2), "one.app.test")];
    lab.nameserver.say(LABEL, Says::services(&others));
    wait_until("requests to the third", PATIENCE, async || {
        assert_eq!(lab.status().await, 200);
        match lab.nodes[2].requests().len() {
            0 => Err("none"),
            _ => Ok(()),
        }
    })
    .await;
    let before = lab.nodes[0].requests().len();
    for _ in 0..6 {
        assert_eq!(lab.status().await, 200);
    }
    assert_eq!(
        lab.nodes[0].requests().len(),
        before,
        "traffic to one that has left"
    );
    // Nothing is left.
    lab.nameserver.say(LABEL, Says::Code(3));
    lab.nameserver.say(LABEL, Says::services(&[]));
    lab.wait_asked(2).await;
    assert_eq!(lab.status().await, 200, "within 'hold other'");
}

#[tokio::test]
async fn first_addresses_come_from_where_init_addr_says() {
    for (init, status) in [
        ("127.0.0.1", 200),
        ("last,127.0.0.1", 200),
        ("last,none,127.0.0.1", 503),
        ("none", 503),
        ("none,libc", 503),
    ] {
        let server = format!("    server s nobody.invalid:<port> init-addr {init}");
        let lab = Lab::new("", &server, |_, _| {}).await;
        lab.wait_status(status).await;
    }
}
