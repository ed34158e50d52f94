//! The driver with a real HAProxy (`HAPROXY`, else Debian's), and with one that answers oddly.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::discovery::tests::{fleet, nodes};
use crate::driver::contract;

/// A HAProxy of its own with one backend `b`; ends with the value.
struct Running {
    folder: TempDir,
    process: Child,
}

fn program() -> PathBuf {
    std::env::var_os("HAPROXY").map_or("/usr/sbin/haproxy".into(), PathBuf::from)
}

impl Running {
    async fn start(backend: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let text = format!(
            "global\n  stats socket {path}/s level admin\n  maxconn 100\ndefaults\n  mode http\n  \
             timeout client 1s\n  timeout connect 1s\n  timeout server 1s\n\
             frontend f\n  bind unix@{path}/f\n  default_backend b\nbackend b\n{backend}"
        );
        std::fs::write(folder.path().join("haproxy.cfg"), text).unwrap();
        let process = Self::spawn(folder.path());
        let running = Self { folder, process };
        running.wait().await;
        running
    }

    fn spawn(folder: &Path) -> Child {
        let mut command = Command::new(program());
        command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().expect("HAProxy runs")
    }

    /// Until it answers.
    async fn wait(&self) {
        let place = self.place();
        while ask(&place, "show info").await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn place(&self) -> Place {
        Place::Unix(self.folder.path().join("s"))
    }

    async fn ask(&self, line: &str) -> String {
        ask(&self.place(), line).await.unwrap()
    }

    fn driver(&self, slots: &[&str]) -> HaProxy {
        let mut driver = driver(self.place());
        driver.slots = slots.iter().map(|slot| Arc::from(*slot)).collect();
        driver
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn driver(place: Place) -> HaProxy {
    let tally = Arc::new(Tally::new(place.to_string()));
    HaProxy::new(place, "b".into(), None, &[], tally)
}

fn add(name: &str, node: &str) -> Step {
    let node = nodes(&format!("{name}={node}")).remove(0);
    let server = config::model::Server {
        name: name.into(),
        address: node.address.server_address(),
        ..config::model::Server::default()
    };
    Step::Add {
        server: Box::new(server),
        node,
    }
}

async fn seen(driver: &mut HaProxy) -> Vec<String> {
    let observation = driver.observe().await.unwrap();
    let mut seen: Vec<String> = observation
        .backend
        .servers
        .iter()
        .map(|it| {
            let node = it
                .node
                .as_ref()
                .map_or("-".to_owned(), |node| node.to_string());
            format!("{}: {node} {:?} {:?}", it.name, it.admin, it.health)
        })
        .collect();
    seen.sort();
    seen
}

#[tokio::test]
async fn servers_that_are_added_keep_the_contract() {
    let haproxy = Running::start("  balance leastconn\n").await;
    contract::holds(&mut haproxy.driver(&[])).await;
    assert!(
        !haproxy
            .ask("show servers state b")
            .await
            .contains("192.0.2.")
    );
}

#[tokio::test]
async fn servers_in_slots_keep_the_contract() {
    let backend = "  balance source\n  server-template s 3 192.0.2.9:9 check disabled\n";
    let haproxy = Running::start(backend).await;
    contract::holds_beside(
        &mut haproxy.driver(&["s1", "s2", "s3"]),
        &["s1", "s2", "s3"],
    )
    .await;
}

#[tokio::test]
async fn another_updater_finds_everything_as_it_is() {
    let haproxy = Running::start("  server hand 192.0.2.7:1 check\n").await;
    let mut first = haproxy.driver(&[]);
    first.observe().await.unwrap();
    first.apply(&add("a", "192.0.2.1:81")).await.unwrap();
    first
        .apply(&add("c", "https://192.0.2.3:83"))
        .await
        .unwrap();
    first.apply(&add("d", "192.0.2.4:84")).await.unwrap();
    first.observe().await.unwrap();
    first.apply(&Step::Drain("d".into())).await.unwrap();
    drop(first);

    let mut second = haproxy.driver(&[]);
    second.expect(&fleet("a=192.0.2.1:81 c=https://192.0.2.3:83"));
    let expected = [
        "a: a (http://192.0.2.1:81) Ready Unknown",
        "c: c (https://192.0.2.3:83) Ready Unknown",
        "d: d (http://192.0.2.4:84) Drain Unknown",
    ];
    // Their first checks may have ended.
    let found = seen(&mut second).await;
    let begins = |(found, expected): (&String, &str)| {
        assert!(
            found.starts_with(expected.trim_end_matches("Unknown")),
            "{found}"
        );
    };
    found.iter().zip(expected).for_each(begins);
    assert!(found[3].starts_with("hand: - Ready"), "{found:?}");
    second.apply(&Step::Remove("d".into())).await.unwrap();
    assert!(!haproxy.ask("show servers state b").await.contains(" d "));
}

#[tokio::test]
async fn what_an_updater_did_not_end_is_ended() {
    let haproxy = Running::start("").await;
    let id = words::id_for("a", &HashSet::new());
    haproxy
        .ask(&format!("add server b/a 192.0.2.1:81 id {id} check"))
        .await;
    let mut driver = haproxy.driver(&[]);
    driver.expect(&fleet("a=192.0.2.1:81"));
    assert_eq!(
        seen(&mut driver).await,
        ["a: a (http://192.0.2.1:81) Drain Down"]
    );
    driver.apply(&Step::Ready("a".into())).await.unwrap();
    assert!(seen(&mut driver).await[0].starts_with("a: a (http://192.0.2.1:81) Ready"));

    // Taking it away was begun in this process, and it is to stay after all.
    driver.begun.insert("a".into());
    haproxy.ask("set server b/a state maint").await;
    assert!(seen(&mut driver).await[0].contains("Drain"));
    driver.apply(&Step::Ready("a".into())).await.unwrap();
    assert!(seen(&mut driver).await[0].contains("Ready"));

    // An operator's maintenance is respected.
    haproxy.ask("disable server b/a").await;
    assert!(seen(&mut driver).await[0].contains("Maint"));
    // So is one without weight.
    haproxy.ask("set server b/a weight 0").await;
    assert!(seen(&mut driver).await[0].contains("Maint"));
}

#[tokio::test]
async fn names_that_somebody_has_written_by_hand_are_not_taken() {
    let haproxy = Running::start("  server a 192.0.2.7:1 check\n").await;
    let before = haproxy.ask("show servers state b").await;
    let mut driver = haproxy.driver(&[]);
    driver.observe().await.unwrap();
    let refused = driver.apply(&add("a", "192.0.2.1:81")).await;
    let why = "Already exists a server with the same name in backend.";
    assert_eq!(refused, Err(DriverError::Refused(why.to_owned())));
    for step in [Step::Drain, Step::Ready, Step::Remove, Step::Shutdown] {
        let step: fn(Arc<str>) -> Step = step;
        assert!(driver.apply(&step("a".into())).await.is_err());
    }
    let columns = |text: &str| -> Vec<String> {
        let line = text.lines().nth(2).unwrap_or_default();
        line.split(' ').take(9).map(str::to_owned).collect()
    };
    let after = haproxy.ask("show servers state b").await;
    assert_eq!(columns(&before)[..5], columns(&after)[..5]);
    assert_eq!(columns(&after)[6], "0", "its state is what it was");
}

#[tokio::test]
async fn slots_run_out() {
    let backend = "  balance source\n  server-template s 1 192.0.2.9:9 check disabled\n";
    let haproxy = Running::start(backend).await;
    let mut driver = haproxy.driver(&["s1"]);
    driver.observe().await.unwrap();
    driver.apply(&add("a", "192.0.2.1:81")).await.unwrap();
    for _ in 0..2 {
        let refused = driver.apply(&add("c", "192.0.2.2:82")).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("no slot of a server-template is free"),
            "{refused}"
        );
        driver.observe().await.unwrap();
    }
    let refused = haproxy
        .driver(&[])
        .apply(&add("c", "192.0.2.2:82"))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("it has no server-template"),
        "{refused}"
    );
}

#[tokio::test]
async fn without_haproxy_nothing_is_seen_and_nothing_done() {
    let haproxy = Running::start("").await;
    let mut driver = haproxy.driver(&[]);
    driver.observe().await.unwrap();
    assert!(driver.tally.status().reachable);
    drop(haproxy);
    assert!(matches!(
        driver.observe().await,
        Err(DriverError::Unreachable(_))
    ));
    let step = add("a", "192.0.2.1:81");
    assert!(matches!(
        driver.apply(&step).await,
        Err(DriverError::Unreachable(_))
    ));
    let status = driver.tally.status();
    assert!(!status.reachable && status.failures_total == 2 && status.trouble.is_some());
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_told() {
    let haproxy = Running::start("").await;
    let mut driver = haproxy.driver(&[]);
    driver.backend = "nobody".into();
    let told = driver.observe().await.unwrap_err();
    assert_eq!(told.to_string(), "there is no backend nobody");
}

/// What one question of a driver becomes when this is all that is answered.
async fn observed_from(said: &'static str) -> Result<Observation, DriverError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::Tcp(listener.local_addr().unwrap().to_string());
    let other = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 256];
        let _ = stream.read(&mut asked).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
    };
    let mut driver = driver(place);
    let (observed, ()) = tokio::join!(driver.observe(), other);
    observed
}

#[tokio::test]
async fn odd_answers_are_none() {
    let states = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n";
    for said in [
        "",
        "\n",
        "Permission denied\n\n",
        "HTTP/1.1 400 Bad request\r\n\r\n",
        "Unknown command: 'show servers'\n\n",
        "1\n# be_id be_name srv_id srv_name\n3 b 1 n1\n\n# pxname,svname,\n",
        "1\n# be_id be_name srv_id srv_name\n3 b 1 n1\n\n# pxname,svname,\nb,n1,\n\n",
        "2\n# be_id\n\n# pxname,\n\n",
    ] {
        let observed = observed_from(said).await;
        let why = observed.expect_err(said);
        assert!(
            matches!(why, DriverError::Unreachable(_)),
            "{said:?}: {why}"
        );
    }
    let empty: &'static str = Box::leak(format!("{states}\n# pxname,svname,\n\n").into_boxed_str());
    assert!(
        observed_from(empty)
            .await
            .unwrap()
            .backend
            .servers
            .is_empty()
    );
}

#[tokio::test]
async fn the_picture_of_a_real_haproxy_is_read() {
    let haproxy = Running::start("  server hand 192.0.2.7:1 check\n").await;
    let mut driver = haproxy.driver(&[]);
    driver.observe().await.unwrap();
    driver.apply(&add("a", "192.0.2.1:81")).await.unwrap();
    let snapshot = Asker(haproxy.place()).picture().await;
    assert_eq!(snapshot.frontends.len(), 1);
    let servers: Vec<(&str, bool)> = snapshot.backends[0]
        .servers
        .iter()
        .map(|it| (&*it.name, it.dynamic))
        .collect();
    assert_eq!(servers, [("hand", false), ("a", true)]);
    assert_eq!(snapshot.process.maxconn, 100);
}

#[tokio::test]
async fn agents_of_added_servers_are_asked() {
    let haproxy = Running::start("").await;
    let mut driver = haproxy.driver(&[]);
    let words = ["agent-check", "agent-port", "9"].map(str::to_owned);
    driver.parameters = Parameters::new(&words, &[]);
    driver.observe().await.unwrap();
    driver.apply(&add("a", "192.0.2.1:81")).await.unwrap();
    let states = haproxy.ask("show servers state b").await;
    let states = Table::server_states(&states).unwrap().0;
    // Configured, an agent, and enabled.
    let agent = states.rows().next().unwrap().number("srv_agent_state");
    assert_eq!(agent & 0x16, 0x16, "{agent}");
    driver.observe().await.unwrap();
    driver.apply(&Step::Remove("a".into())).await.unwrap();
    assert!(
        !haproxy
            .ask("show servers state b")
            .await
            .contains("192.0.2.")
    );
}
