//! The configuration most users have, end to end.

use testkit::websocket::Target;
use testkit::{Authority, Balancer, Client, Node, WebSocket};

use crate::support;

/// As written by users, ports, certificate path and folder aside.
const REFERENCE: &str = "
global
    log stdout format raw local0
    daemon
    stats socket <dir>/admin.sock mode 660 level admin expose-fd listeners
    stats timeout 30s
    maxconn 4096
<privileged>

defaults
    log     global
    mode    http
    option  httplog
    option  dontlognull
    timeout connect 5000
    timeout client  50000
    timeout server  50000

frontend http-in
    bind *:<port:http>
    bind *:<port:https> ssl crt <dir>/cert.pem
    acl is_websocket hdr(Upgrade) -i WebSocket
    use_backend ws_backend if is_websocket
    default_backend http_backend

backend ws_backend
    balance roundrobin
    option http-server-close
    option forwardfor
    option httpchk GET /health
    server wsnode1 <ws> check

backend http_backend
    balance roundrobin
    option forwardfor
    server api1 <api> check
";

/// Settings that only root may carry out; users have them in their files.
fn privileged() -> &'static str {
    if nix::unistd::geteuid().is_root() {
        "    user nobody\n    group nogroup\n    chroot <dir>"
    } else {
        ""
    }
}

struct Running {
    authority: Authority,
    ws: Node,
    api: Node,
    balancer: Balancer,
}

async fn start() -> Running {
    let authority = Authority::new();
    let (ws, api) = (Node::start("wsnode1").await, Node::start("api1").await);
    let config = REFERENCE.replace("<privileged>", privileged());
    let setup = Balancer::setup(support::program(), &config);
    let pem = authority.server_pem(&["localhost", "127.0.0.1"]);
    let balancer = setup
        .file("cert.pem", &pem)
        .set("ws", ws.address())
        .set("api", api.address())
        .start()
        .await;
    Running {
        authority,
        ws,
        api,
        balancer,
    }
}

#[tokio::test]
async fn plain_requests_go_to_the_http_backend() {
    let running = start().await;
    let mut client = Client::plain(running.balancer.address("http")).await;
    let response = client.get("/some/path?q=1").await.unwrap();
    assert_eq!(response.text(), "api1 GET /some/path?q=1\n");
    let requests = running.api.requests();
    assert_eq!(requests[0].get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(requests[0].get("host"), Some("localhost"));
    assert!(running.ws.requests().is_empty());
}

#[tokio::test]
async fn requests_through_tls_too() {
    let running = start().await;
    let https = running.balancer.address("https");
    let mut client = Client::tls(https, &running.authority, "localhost").await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.unwrap().text(), "api1 GET /\n");
    }
}

#[tokio::test]
async fn websockets_go_to_the_ws_backend_plain_and_through_tls() {
    let running = start().await;
    for target in [
        Target::plain(running.balancer.address("http")),
        Target::tls(running.balancer.address("https"), &running.authority),
    ] {
        let (mut socket, node) = WebSocket::open_greeted(&target).await.unwrap();
        assert_eq!(node, "wsnode1");
        socket.echo("hello").await.unwrap();
        socket
            .echo_bytes(testkit::node::pattern(300_000))
            .await
            .unwrap();
        socket.ping(b"still there?").await.unwrap();
        assert_eq!(socket.close().await.unwrap(), Some(1000));
    }
    let requests = running.ws.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].get("x-forwarded-for"), Some("127.0.0.1"));
    assert!(running.api.requests().is_empty());
}

#[tokio::test]
async fn a_websocket_is_logged_when_it_ends() {
    let running = start().await;
    let target = Target::plain(running.balancer.address("http"));
    let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
    socket.echo("hello").await.unwrap();
    assert_eq!(running.balancer.count_lines("ws_backend/wsnode1"), 0);
    socket.close().await.unwrap();
    let line = running
        .balancer
        .wait_for_line(&["http-in ws_backend/wsnode1", " 101 "])
        .await;
    assert_eq!(support::termination(&line), "----", "{line}");
    assert!(line.ends_with("\"GET / HTTP/1.1\""), "{line}");
}

#[tokio::test]
async fn the_stats_page_answers_to_this_machine_where_none_is_configured() {
    if support::is_haproxy() {
        return;
    }
    let running = start().await;
    let mut client = Client::plain(running.balancer.address("http")).await;
    let page = client.get("/stats").await.unwrap();
    assert_eq!(page.status, 200);
    let kind = page.head.get("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/html"), "{kind}");
    for name in ["http-in", "ws_backend", "wsnode1", "http_backend", "api1"] {
        assert!(page.text().contains(name), "{name} is missing");
    }
    assert!(running.api.requests().is_empty());
}

/// Order and names of the columns scripts rely on (management.txt 9.1).
const COLUMNS: &str = "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,\
    eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,\
    throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,\
    hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,\
    req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,\
    ctime,rtime,ttime";

#[tokio::test]
async fn statistics_count_requests_and_open_websockets() {
    if support::is_haproxy() {
        return;
    }
    let running = start().await;
    let balancer = &running.balancer;
    let target = Target::plain(balancer.address("http"));
    let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
    socket.echo("hello").await.unwrap();
    for _ in 0..3 {
        testkit::http::get(balancer.address("http"), "/")
            .await
            .unwrap();
    }
    balancer
        .wait_status("http", "ws_backend", "wsnode1", "UP")
        .await;
    let table = balancer.stats("http").await;
    let columns = table.columns.join(",");
    assert!(columns.starts_with(COLUMNS), "{columns}");
    assert_eq!(table.number("ws_backend", "wsnode1", "scur"), 1);
    assert_eq!(table.number("ws_backend", "wsnode1", "stot"), 1);
    assert_eq!(table.number("http_backend", "api1", "stot"), 3);
    assert_eq!(table.number("http_backend", "api1", "hrsp_2xx"), 3);
    assert!(table.number("ws_backend", "wsnode1", "bin") > 0);
    assert!(table.number("ws_backend", "wsnode1", "bout") > 0);
    assert_eq!(table.get("http-in", "FRONTEND", "status"), "OPEN");
    socket.close().await.unwrap();
    testkit::wait_until(
        "the socket to be counted out",
        testkit::PATIENCE,
        async || {
            let now = balancer.stats("http").await;
            let now = now.number("ws_backend", "wsnode1", "scur");
            testkit::wait::or_seen(now == 0, now)
        },
    )
    .await;
}
