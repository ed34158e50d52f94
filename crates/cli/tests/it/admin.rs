//! Changing servers from the stats page: `stats admin`, its form, and whom it obeys.

use testkit::wait::or_seen;
use testkit::websocket::Target;
use testkit::{Client, PATIENCE, Swarm, wait_until};

use crate::support::{DEFAULTS, Lab, is_haproxy};

const CONFIG: &str = "
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    option httpchk
    server n1 <n1> check inter 200ms
    server n2 <n1>
backend other
    server n1 <n1>
listen stats
    bind 127.0.0.1:<port:stats>
    stats uri /stats
    stats refresh 10s
    stats admin if TRUE
listen reading
    bind 127.0.0.1:<port:reading>
    stats uri /stats
    stats admin if { src 192.0.2.1 }
listen scoped
    bind 127.0.0.1:<port:scoped>
    stats uri /stats
    stats scope be
    stats admin if { src 127.0.0.0/8 }
";

async fn lab() -> Lab {
    let lab = Lab::start(&format!("{DEFAULTS}{CONFIG}")).await;
    lab.balancer.wait_status("stats", "be", "n1", "UP").await;
    lab
}

impl Lab {
    /// Posts a form; where the answer leads to.
    async fn post(&self, port: &str, target: &str, fields: &str, form: &str) -> String {
        let mut client = Client::plain(self.balancer.address(port)).await;
        let length = form.len();
        client
            .send(format!(
                "POST {target} HTTP/1.1\r\nHost: lb.example:1\r\nContent-Length: {length}\r\n{fields}\r\n{form}"
            ))
            .await;
        let response = client.response().await.unwrap();
        assert_eq!(response.status, 303, "{target} {form}");
        response.head.get("location").unwrap_or_default().to_owned()
    }

    async fn status(&self, server: &str) -> String {
        let table = self.balancer.stats("stats").await;
        let status = table.get("be", server, "status");
        // It has just begun, or begun again.
        let settled = status.strip_suffix(" 1/3").unwrap_or(status);
        settled.to_owned()
    }
}

#[tokio::test]
async fn forms_change_servers_and_lead_back() {
    let lab = lab().await;
    for (target, form, location) in [
        ("/stats", "s=n1&s=n2&action=drain&b=be", "/stats;st=DONE"),
        ("/stats", "s=n1&action=ready&b=%233", "/stats;st=ERRP"),
        ("/stats", "s=nobody&action=maint&b=be", "/stats;st=ERRP"),
        (
            "/stats",
            "s=n2&s=nobody&action=maint&b=be",
            "/stats;st=PART",
        ),
        ("/stats", "s=n1&action=maint&b=nobody", "/stats;st=ERRP"),
        ("/stats", "s=n1&action=explode&b=be", "/stats;st=ERRP"),
        ("/stats", "action=maint&b=be", "/stats;st=NONE"),
        ("/stats", "s=n1&action=maint", "/stats;st=NONE"),
        ("/stats", "", "/stats;st=NONE"),
        ("/stats", "s=n2&action=dhlth&b=be", "/stats;st=NONE"),
        ("/stats", "s=n1&action=dagent&b=be", "/stats;st=NONE"),
        (
            "/stats;norefresh",
            "s=n2&action=ready&b=be",
            "/stats;st=DONE;norefresh",
        ),
        (
            "/stats;up;norefresh;scope=be",
            "s=n2&action=ready&b=be",
            "/stats;st=DONE;up;norefresh?scope=be",
        ),
        ("/stats;csv", "s=n2&action=shutdown&b=be", "/stats;st=DONE"),
    ] {
        let form = form.replace("%233", "%239");
        assert_eq!(
            lab.post("stats", target, "", &form).await,
            location,
            "{form}"
        );
    }
    assert_eq!(lab.status("n1").await, "DRAIN");
    assert_eq!(lab.status("n2").await, "no check");
    lab.log
        .wait_for(&[
            "Server be/n1 enters drain state. ",
            " active and 0 backup servers online.",
        ])
        .await;
}

#[tokio::test]
async fn states_of_health_can_be_forced_and_checks_stopped() {
    let lab = lab().await;
    let act = async |action: &str| {
        let form = format!("s=n1&action={action}&b=be");
        assert_eq!(
            lab.post("stats", "/stats", "", &form).await,
            "/stats;st=DONE"
        );
    };
    act("dhlth").await;
    assert_eq!(lab.status("n1").await, "no check");
    act("hdown").await;
    assert_eq!(lab.status("n1").await, "DOWN");
    act("hnolb").await;
    assert_eq!(lab.status("n1").await, "NOLB");
    act("hrunn").await;
    assert_eq!(lab.status("n1").await, "no check");
    for line in [
        "Server be/n1 is DOWN, changed from Web interface. 1 active and 0 backup servers left.",
        "Server be/n1 is stopping, changed from Web interface. 1 active and 0 backup servers online.",
        "Server be/n1 is UP, changed from Web interface. 2 active and 0 backup servers online.",
    ] {
        lab.log.wait_for(&[line]).await;
    }
    act("ehlth").await;
    lab.balancer.wait_status("stats", "be", "n1", "UP").await;
    act("maint").await;
    assert_eq!(lab.status("n1").await, "MAINT");
    act("hrunn").await;
    assert_eq!(lab.status("n1").await, "MAINT", "maintenance is stronger");
    lab.log
        .wait_for(&["Server be/n1 is going DOWN for maintenance."])
        .await;
    act("ready").await;
    lab.balancer.wait_status("stats", "be", "n1", "UP").await;
    lab.log
        .wait_for(&["Server be/n1 is UP/READY (leaving forced maintenance)."])
        .await;
}

/// More than end at once, on a server that has a namesake in another backend.
#[tokio::test]
async fn shutting_down_sessions_ends_those_of_one_server_alone() {
    let config = CONFIG.replace(
        "default_backend be",
        "use_backend other if { path /other }\n    default_backend be",
    );
    let lab = Lab::start(&format!("{DEFAULTS}{config}")).await;
    let target = Target::plain(lab.balancer.address("http"));
    let elsewhere = Target {
        path: "/other".into(),
        ..target.clone()
    };
    let mut spared = Swarm::open(&elsewhere, 1).await;
    let mut swarm = Swarm::open(&target, 200).await;
    swarm.echo_all().await;
    let table = lab.balancer.stats("stats").await;
    let ended: usize = table.get("be", "n1", "scur").parse().unwrap();
    assert!(ended > 0);
    let form = "s=n1&action=shutdown&b=be";
    assert_eq!(
        lab.post("stats", "/stats", "", form).await,
        "/stats;st=DONE"
    );
    wait_until("its tunnels to end", PATIENCE, async || {
        let table = lab.balancer.stats("stats").await;
        let open = table.get("be", "n1", "scur").to_owned();
        or_seen(open == "0", open)
    })
    .await;
    swarm.echo_all().await;
    assert_eq!(swarm.lost().len(), ended);
    lab.log.wait_for(&[" be/n1 ", " K"]).await;
    let table = lab.balancer.stats("stats").await;
    assert_eq!(table.get("other", "n1", "scur"), "1");
    spared.echo_all().await;
    spared.assert_whole();
}

#[tokio::test]
async fn only_who_may_changes_anything() {
    let lab = lab().await;
    let form = "s=n1&action=maint&b=be";
    assert_eq!(
        lab.post("reading", "/stats", "", form).await,
        "/stats;st=DENY"
    );
    let long = format!("{form}{}", "&x=y".repeat(5000));
    assert_eq!(
        lab.post("stats", "/stats", "", &long).await,
        "/stats;st=EXCD"
    );
    assert_eq!(lab.status("n1").await, "UP");
    if is_haproxy() {
        return; // 2.6 looks neither at the scope nor at where a form comes from.
    }
    let form = "s=n1&action=maint&b=other";
    assert_eq!(
        lab.post("scoped", "/stats", "", form).await,
        "/stats;st=DENY"
    );
    let form = "s=n1&action=ready&b=be";
    for (fields, outcome) in [
        ("Origin: http://evil.example\r\n", "DENY"),
        ("Origin: null\r\n", "DENY"),
        ("Origin: http://lb.example\r\n", "DENY"),
        ("Referer: http://evil.example/lb.example:1\r\n", "DENY"),
        ("Sec-Fetch-Site: cross-site\r\n", "DENY"),
        (
            "Sec-Fetch-Site: same-site\r\nOrigin: http://lb.example:1\r\n",
            "DENY",
        ),
        (
            "Origin: https://evil.example\r\nReferer: http://lb.example:1/\r\n",
            "DENY",
        ),
        ("Origin: http://lb.example:1\r\n", "DONE"),
        (
            "Origin: https://LB.example:1\r\nSec-Fetch-Site: same-origin\r\n",
            "DONE",
        ),
        ("Referer: http://lb.example:1/stats;norefresh\r\n", "DONE"),
        ("", "DONE"),
    ] {
        let expected = format!("/stats;st={outcome}");
        assert_eq!(
            lab.post("stats", "/stats", fields, form).await,
            expected,
            "{fields}"
        );
    }
}

#[tokio::test]
async fn the_page_has_buttons_for_who_may_press_them() {
    if is_haproxy() {
        return; // Its page is its own.
    }
    let lab = lab().await;
    let page = async |port| {
        let response = testkit::http::get(lab.balancer.address(port), "/stats;st=DONE").await;
        response.unwrap().text()
    };
    let mine = page("stats").await;
    assert!(mine.contains("<form method=\"post\" action=\"/stats\">"));
    assert!(mine.contains("name=\"s\" value=\"n1\"") && mine.contains("Done."));
    assert!(!page("reading").await.contains("method=\"post\""));
}

/// A body that comes late, in chunks, or only when asked for is read all the same.
#[tokio::test]
async fn forms_arrive_as_bodies_do() {
    let lab = lab().await;
    let mut client = Client::plain(lab.balancer.address("stats")).await;
    client
        .send("POST /stats HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ns=n1&b=be\r\n")
        .await;
    client.send("d\r\n&action=drain\r\n0\r\n\r\n").await;
    assert_eq!(client.response().await.unwrap().status, 303);
    assert_eq!(lab.status("n1").await, "DRAIN");
    let mut client = Client::plain(lab.balancer.address("stats")).await;
    client
        .send(
            "POST /stats HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 22\r\n\r\n",
        )
        .await;
    assert_eq!(client.message_to("POST").await.unwrap().status, 100);
    client.send("s=n1&b=be&action=ready").await;
    assert_eq!(client.response().await.unwrap().status, 303);
    lab.balancer.wait_status("stats", "be", "n1", "UP").await;
}
