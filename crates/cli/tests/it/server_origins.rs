//! `default-server name`, and servers that begin with what another one says (`from`), written down and
//! added while running.

use testkit::LogSink;

use crate::runtime_api::ask;
use crate::support::setup;

const CONFIG: &str = "
global
    stats socket <dir>/admin.sock level admin
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
backend first
    default-server name slow inter 30s weight 7
    server other 127.0.0.1:9
backend be
    default-server weight 10
    server inherits 127.0.0.1:9
    server bare 127.0.0.1:9 from none
    server like 127.0.0.1:9 from srv:first/slow
    server same 127.0.0.1:9 from srv:like weight 8
    default-server name small weight 2
    default-server name small maxconn 5
    server small1 127.0.0.1:9 from srv:small
    default-server from none
    server late 127.0.0.1:9
    default-server weight 11
";

#[tokio::test]
async fn servers_begin_with_what_they_name() {
    let log = LogSink::start().await;
    let balancer = setup(&log, CONFIG).start().await;
    let socket = balancer.folder().join("admin.sock");
    let weight = async |server: &str| {
        let answer = ask(&socket, &format!("get weight be/{server}\n")).await;
        answer.split(' ').next().unwrap_or_default().to_owned()
    };
    for (server, expected) in [
        ("inherits", "10"),
        ("bare", "1"),
        ("like", "7"),
        ("same", "8"),
        ("small1", "2"),
        ("late", "1"),
    ] {
        assert_eq!(weight(server).await, expected, "{server}");
    }
    for (words, expected) in [
        ("plain 127.0.0.1:9", "1"),
        ("of_own 127.0.0.1:9 from be:", "11"),
        ("of_other 127.0.0.1:9 from be:first", "1"),
        ("of_name 127.0.0.1:9 from srv:small weight 3", "3"),
    ] {
        let answer = ask(&socket, &format!("add server be/{words}\n")).await;
        assert!(answer.contains("New server registered."), "{answer}");
        let name = words.split(' ').next().unwrap_or_default();
        assert_eq!(weight(name).await, expected, "{words}");
    }
    let shown = ask(&socket, "show default-server\n").await;
    assert_eq!(shown, "* be\n  be/small\n* first/slow\n\n");
    let shown = ask(&socket, "show default-server none\n").await;
    assert_eq!(shown, "Can't find backend.\n\n");
}
