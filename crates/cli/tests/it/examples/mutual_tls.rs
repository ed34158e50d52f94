//! `mutual-tls.cfg`.

use std::io;

use testkit::stream::Stream;
use testkit::{Authority, Balancer, Client, Leaf, Node, Response};

use super::{example, host};

struct Lab {
    authority: Authority,
    node: Node,
    balancer: Balancer,
}

async fn start() -> Lab {
    let (authority, node) = (Authority::new(), Node::start("n1").await);
    let setup = example(
        "mutual-tls.cfg",
        &[("bind :8443", "bind 127.0.0.1:<port:https>")],
    );
    authority.write_server_pem(setup.folder(), "cert.pem", &["localhost"]);
    let setup = setup
        .file("clients-ca.pem", &authority.pem())
        .file("clients.crl", &authority.revocation_list(&[66]));
    let setup = setup.set("n1", node.address()).set("n2", node.address());
    Lab {
        balancer: setup.start().await,
        authority,
        node,
    }
}

impl Lab {
    async fn client(&self, signer: &Authority, leaf: &Leaf) -> io::Result<Client> {
        let settings = self.authority.client_config_showing(&signer.pem_of(leaf));
        let address = self.balancer.address("https");
        Stream::tls_with(address, settings, "localhost")
            .await
            .map(Client::over)
    }

    async fn ask(&self, signer: &Authority, leaf: &Leaf, headers: &str) -> io::Result<Response> {
        let mut client = self.client(signer, leaf).await?;
        super::ask_over(&mut client, "/", headers)
            .await
            .map_err(io::Error::other)
    }
}

#[tokio::test]
async fn who_has_no_certificate_of_ours_is_nobody() {
    let lab = start().await;
    let good = Leaf::client("machine one");
    assert_eq!(
        lab.ask(&lab.authority, &good, "").await.unwrap().status,
        200
    );
    lab.ask(&Authority::new(), &good, "").await.unwrap_err();
    let revoked = Leaf {
        serial: Some(66),
        ..Leaf::client("machine one")
    };
    lab.ask(&lab.authority, &revoked, "").await.unwrap_err();
    let expired = Leaf {
        expired: true,
        ..Leaf::client("machine one")
    };
    lab.ask(&lab.authority, &expired, "").await.unwrap_err();
    let settings = lab.authority.client_config();
    let address = lab.balancer.address("https");
    if let Ok(stream) = Stream::tls_with(address, settings, "localhost").await {
        Client::over(stream).get("/").await.unwrap_err();
    }
    // What it says of itself is overwritten with what its certificate says.
    let forged = "X-Client-Name: root\r\nX-Client-Serial: 00\r\nX-Forwarded-For: 10.0.0.1\r\n";
    assert_eq!(
        lab.ask(&lab.authority, &good, forged).await.unwrap().status,
        200
    );
    let seen = lab.node.requests();
    let last = seen.last().unwrap();
    assert_eq!(last.get_all("x-client-name"), ["machine one"]);
    assert_eq!(last.get_all("x-forwarded-for"), ["127.0.0.1"]);
    assert_ne!(last.get("x-client-serial"), Some("00"));
    // Nor under a name that a node may take for the same.
    for forged in ["X_Client_Name: root\r\n", "X-Client_Serial: 00\r\n"] {
        let answer = lab.ask(&lab.authority, &good, forged).await.unwrap();
        assert_eq!(answer.status, 403, "{forged}");
    }
}

#[tokio::test]
async fn stalled_handshakes_are_let_go_of_and_the_good_served_meanwhile() {
    let lab = start().await;
    let address = lab.balancer.address("https");
    let mut stalled = Vec::new();
    for from in [9, 10, 11] {
        for _ in 0..30 {
            let mut client = Client::plain_from(host(from), address).await;
            // The beginning of a ClientHello, and never its end.
            client
                .send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                .await;
            stalled.push(client);
        }
    }
    let good = Leaf::client("machine one");
    assert_eq!(
        lab.ask(&lab.authority, &good, "").await.unwrap().status,
        200
    );
    for client in &mut stalled {
        // An alert may come first. It ends long before `timeout client`.
        let _ = client.until_closed().await;
    }
    assert_eq!(
        lab.ask(&lab.authority, &good, "").await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn a_machine_that_floods_is_limited_by_its_name() {
    let lab = start().await;
    let loud = Leaf::client("machine two");
    let mut last = 0;
    let mut client = lab.client(&lab.authority, &loud).await.unwrap();
    for _ in 0..105 {
        last = super::ask_over(&mut client, "/", "").await.unwrap().status;
    }
    assert_eq!(last, 429);
    // Another certificate of the same name is the same machine.
    assert_eq!(
        lab.ask(&lab.authority, &loud, "").await.unwrap().status,
        429
    );
    let good = Leaf::client("machine one");
    assert_eq!(
        lab.ask(&lab.authority, &good, "").await.unwrap().status,
        200
    );
}
