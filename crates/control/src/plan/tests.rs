use super::*;
use crate::discovery::tests::{fleet, nodes};

pub(crate) fn intent() -> Intent {
    Intent {
        backend: "ws_backend".into(),
        configured: vec![(
            "wsnode1".into(),
            ServerAddress::Inet(([127, 0, 0, 1], 8081).into()),
        )],
        default_server: Server::default(),
        server_tls: ServerTls::default(),
        drain: None,
        servers_max: 8,
    }
}

/// `name=url state sessions [since]` lines; the name is the node's id up to a `/`, which is then
/// followed by the server's name. A line without url is a configured server; `since` is when it
/// began to drain, or to join. A `spare` server is up and stands in for nobody.
pub(crate) fn observed(text: &str) -> Observed {
    let servers = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let servers = servers.map(|line| {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap();
        let (who, url) = first.split_once('=').unwrap_or((first, ""));
        let (id, name) = who.split_once('/').unwrap_or((who, who));
        let state = words.next().unwrap();
        let (admin, health) = match state {
            "up" | "spare" => (Admin::Ready, Health::Up),
            "down" => (Admin::Ready, Health::Down),
            "new" => (Admin::Ready, Health::Unknown),
            "drain" | "drained-by-hand" => (Admin::Drain, Health::Down),
            "maint" => (Admin::Maint, Health::Down),
            other => panic!("no state is called {other}"),
        };
        let mut number = || words.next().map(|word| word.parse::<u64>().unwrap());
        let (sessions, since) = (number().unwrap_or(0), number().map(Duration::from_secs));
        Seen {
            name: name.into(),
            node: (!url.is_empty()).then(|| nodes(&format!("{id}={url}")).remove(0)),
            admin,
            drain_is_ours: state == "drain",
            health,
            sessions,
            stands_in: state != "spare",
            joining_since: since.filter(|_| admin == Admin::Ready),
            draining_since: since.filter(|_| admin != Admin::Ready),
        }
    });
    Observed {
        servers: servers.collect(),
    }
}

/// Fleet, what is there, and the printed plan, at second 100.
#[track_caller]
fn check_with(intent: &Intent, listed: &str, there: &str, expected: &str) {
    let now = Duration::from_secs(100);
    let plan = plan(intent, &fleet(listed), &observed(there), now).to_string();
    let expected = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let expected = expected.map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(plan, expected);
}

#[track_caller]
fn check(listed: &str, there: &str, expected: &str) {
    check_with(&intent(), listed, there, expected);
}

#[test]
fn no_change_no_work() {
    check("", "", "");
    check("", "wsnode1 up", "");
    check(
        "a=h1:1 b=h2:1",
        "wsnode1 up 4 \n a=h1:1 up 9 \n b=h2:1 down",
        "",
    );
    let not_ours = "which is not our doing: it stays so until somebody says otherwise";
    let maint = format!("wait a: is in the list and is in maintenance, {not_ours}");
    check("a=h1:1", "a=h1:1 maint", &maint);
}

#[test]
fn a_new_node_gets_a_server() {
    check("a=h1:1", "wsnode1 up", "add a http://h1:1");
    check("a=https://h1", "", "add a https://h1:443");
    let both = "add a http://h1:1 \n add b http://h2:1";
    check("b=h2:1 a=h1:1", "", &both.replace(" \n ", "\n"));
}

#[test]
fn a_node_at_the_place_of_a_configured_server_is_that_server() {
    check("node1=http://localhost:8081", "wsnode1 up", "");
    check("node1=https://127.0.0.1:8081", "wsnode1 down", "");
    // The list is no reason to touch a server that somebody wrote down.
    check("", "wsnode1 up 3", "");
    check("", "wsnode1 drain 3", "");
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    check("wsnode1=h1:1", "wsnode1 up", "add wsnode1-2 http://h1:1");
    check(
        "a=h1:1 a-2=h2:1 a-3=h3:1",
        "a=h9:1 drain 1\na-2=h2:1 up",
        "add a-3 http://h1:1\nadd a-3-2 http://h3:1\nwait a: drain has 1 session left",
    );
}

#[test]
fn a_node_that_left_is_drained_then_removed() {
    check("b=h2:1", "a=h1:1 up 5\nb=h2:1 up", "drain a");
    check(
        "b=h2:1",
        "a=h1:1 drain 5 90\nb=h2:1 up",
        "wait a: drain has 5 sessions left",
    );
    check("b=h2:1", "a=h1:1 drain 0 90\nb=h2:1 up", "remove a");
    check("b=h2:1", "a=h1:1 down 5\nb=h2:1 up", "drain a");
    check("b=h2:1", "a=h1:1 maint 0\nb=h2:1 up", "remove a");
}

#[test]
fn the_drain_period_ends_in_closing_what_is_left() {
    let intent = Intent {
        drain: Some(Duration::from_secs(60)),
        ..intent()
    };
    let b = "\nb=h2:1 up";
    for (a, expected) in [
        (
            "a=h1:1 drain 12 80",
            "wait a: drain has 12 sessions left, 40 s of grace",
        ),
        (
            "a=h1:1 drain 12 41",
            "wait a: drain has 12 sessions left, 1 s of grace",
        ),
        (
            "a=h1:1 drain 12 40",
            "shutdown a\nwait a: drain has 12 sessions left, 0 s of grace",
        ),
        ("a=h1:1 drain 0 40", "remove a"),
        // First seen draining in this turn: its period begins now.
        (
            "a=h1:1 drain 12",
            "wait a: drain has 12 sessions left, 60 s of grace",
        ),
    ] {
        check_with(&intent, "b=h2:1", &format!("{a}{b}"), expected);
    }
}

#[test]
fn a_node_that_comes_back_while_draining_is_taken_back() {
    check("a=h1:1", "a=h1:1 drain 5 90", "ready a");
    check("a=h1:1", "a=h1:1 drain 0 90", "ready a");
}

#[test]
fn an_operators_drain_stays_while_the_node_is_listed() {
    let waits = "wait a: is in the list and drains, which is not our doing: it stays so until somebody \
                 says otherwise";
    check(
        "a=h1:1 b=h2:1",
        "a=h1:1 drained-by-hand 5 90\nb=h2:1 up",
        waits,
    );
    check(
        "a=h1:1 b=h2:1",
        "a=h1:1 drained-by-hand 0 90\nb=h2:1 up",
        waits,
    );
    // Once it has left the list it goes like any other.
    check(
        "b=h2:1",
        "a=h1:1 drained-by-hand 0 90\nb=h2:1 up",
        "remove a",
    );
}

#[test]
fn a_new_address_is_a_new_server_beside_the_draining_old_one() {
    check(
        "a=h2:1",
        "a=h1:1 up 5\nb up",
        "add a-2 http://h2:1\nwait a: left the list, but its successors are not up yet",
    );
    let both = "a=h1:1 drain 5\na/a-2=h2:1 up\nb up";
    check("a=h2:1", both, "wait a: drain has 5 sessions left");
    check("a=h1:1", both, "ready a\ndrain a-2");
    check(
        "a=https://h1:1",
        "a=h1:1 up\nb up",
        "add a-2 https://h1:1\nwait a: left the list, but its successors are not up yet",
    );
}

#[test]
fn the_last_server_that_is_up_waits_for_its_successor() {
    let waits = "wait a: left the list, but no other server is up";
    check(
        "b=h2:1",
        "a=h1:1 up 5",
        &format!("add b http://h2:1\n{waits}"),
    );
    check("b=h2:1", "a=h1:1 up 5\nb=h2:1 new", waits);
    check("b=h2:1", "a=h1:1 up 5\nb=h2:1 down\nwsnode1 down", waits);
    check("b=h2:1", "a=h1:1 up 5\nb=h2:1 up", "drain a");
    check("b=h2:1", "a=h1:1 up 5\nb=h2:1 down\nwsnode1 up", "drain a");
    check("b=h2:1", "a=h1:1 down 5\nb=h2:1 down", waits);
    check("b=h2:1", "a=h1:1 up 5\nb=h2:1 down\nwsnode1 spare", waits);
    check("b=h2:1", "a=h1:1 spare 5\nb=h2:1 down", "drain a");
    let crowd = Intent {
        servers_max: 2,
        ..intent()
    };
    check_with(&crowd, "b=h2:1", "a=h1:1 down 5\nb=h2:1 down", "drain a");
}

#[test]
fn capacity_leaves_only_as_it_comes() {
    let old = "a=h1:1 up\nb=h2:1 up\n";
    let waits = "its successors are not up yet";
    let (a, b) = (
        format!("wait a: left the list, but {waits}\n"),
        format!("wait b: left the list, but {waits}\n"),
    );
    let new = "c=h3:1 d=h4:1";
    for (c, d, expected) in [
        ("up", "new 0 90", format!("drain a\n{b}")),
        ("up", "down 0 90", format!("drain a\n{b}")),
        ("up", "up", "drain a\ndrain b".to_owned()),
        // It has had its minute, or was up before: it is waited for no longer.
        ("up", "down 0 40", "drain a\ndrain b".to_owned()),
        ("up", "down", "drain a\ndrain b".to_owned()),
    ] {
        check(new, &format!("{old}c=h3:1 {c}\nd=h4:1 {d}"), &expected);
    }
    let there = format!("{old}wsnode1 up");
    let adds = "add c http://h3:1\nadd d http://h4:1\n";
    check(new, &there, &format!("{adds}{a}{b}"));
    check(
        "c=h3:1",
        &there,
        &format!("add c http://h3:1\ndrain a\n{b}"),
    );
    check("a=h1:1", &there, "drain b");
}

#[test]
fn plans_are_bounded() {
    let many = (0..1200)
        .map(|n| format!("n{n}=h{n}:1 "))
        .collect::<String>();
    let wide = Intent {
        servers_max: 2000,
        ..intent()
    };
    let plan = plan(&wide, &fleet(&many), &Observed::default(), Duration::ZERO);
    assert_eq!(plan.steps.len(), STEPS_MAX);
    check_with(
        &Intent {
            servers_max: 2,
            ..intent()
        },
        "a=h1:1 b=h2:1 c=h3:1",
        "x=h9:1 drain 1",
        "add a http://h1:1
         wait 2 nodes wait for a place: 2 servers, draining ones included, are the bound
         wait x: drain has 1 session left",
    );
}

#[test]
fn a_node_inherits_default_server_and_is_always_checked() {
    let mut intent = intent();
    intent.default_server.check_parameters.fall = 7;
    intent.default_server.maxconn = Some(9);
    let server = |intent: &Intent, url: &str| {
        intent.server("a".into(), &nodes(&format!("a={url}"))[0].address)
    };
    let plain = server(&intent, "10.0.0.1:1");
    assert_eq!(plain.maxconn, Some(9));
    let check = plain.check.unwrap();
    assert_eq!((check.fall, check.tls), (7, false));
    assert!(plain.tls.is_none());

    let named = server(&intent, "https://h:1");
    assert!(named.check.unwrap().tls);
    let tls = named.tls.unwrap();
    assert!(tls.verify);
    assert_eq!(
        tls.sni.unwrap().fetch,
        Fetch::Constant(Constant::Str("h".into()))
    );
    assert_eq!(tls.verifyhost.as_deref(), Some("h"));

    let numbered = server(&intent, "https://[fd00::1]:1").tls.unwrap();
    assert!(numbered.sni.is_none());
    assert_eq!(numbered.verifyhost.as_deref(), Some("fd00::1"));

    intent.default_server.tls = Some(ServerTls {
        verify: false,
        ..ServerTls::default()
    });
    let unverified = server(&intent, "http://h:1").tls.unwrap();
    assert!(!unverified.verify);
    assert!(unverified.verifyhost.is_none());
}
