//! What every driver does, as one suite: it is run against each of them.
//!
//! It needs a driver of a backend without servers and nobody who sends traffic; the nodes it adds
//! need not exist (addresses from TEST-NET-1, RFC 5737).

use std::sync::Arc;

use config::model::{Check, Server};
use engine::command::Admin;

use super::{Driver, DriverError};
use crate::discovery::Node;
use crate::discovery::tests::nodes;
use crate::plan::{Seen, Step};

/// Runs the whole suite; panics where the driver does something else.
pub(crate) async fn holds<D: Driver>(driver: &mut D) {
    holds_beside(driver, &[]).await;
}

/// The same with servers that are there for no node.
pub(crate) async fn holds_beside<D: Driver>(driver: &mut D, others: &[&str]) {
    let (a, b) = (node("a=192.0.2.1:81"), node("b=192.0.2.2:81"));
    assert_eq!(
        all(driver).await.len(),
        others.len(),
        "the suite begins without any node"
    );

    driver
        .apply(&add("a", &a))
        .await
        .expect("a new server is added");
    driver
        .apply(&add("b-2", &b))
        .await
        .expect("under any free name");
    let seen = only(driver, "a").await;
    assert_eq!(
        seen.node.as_ref(),
        Some(&a),
        "it knows the node behind a server"
    );
    assert_eq!(seen.admin, Admin::Ready);
    assert_ne!(
        seen.health,
        crate::plan::Health::Up,
        "nothing is up before a check"
    );
    assert_eq!(seen.sessions, 0);
    assert_eq!(only(driver, "b-2").await.node.as_ref(), Some(&b));

    let again = driver.apply(&add("a", &b)).await;
    assert!(
        matches!(again, Err(DriverError::Refused(_))),
        "a name is taken once"
    );
    assert_eq!(
        only(driver, "a").await.node.as_ref(),
        Some(&a),
        "a refusal changes nothing"
    );

    driver
        .apply(&Step::Drain("a".into()))
        .await
        .expect("it drains");
    assert_eq!(only(driver, "a").await.admin, Admin::Drain);
    driver
        .apply(&Step::Drain("a".into()))
        .await
        .expect("draining twice is no error");
    driver
        .apply(&Step::Ready("a".into()))
        .await
        .expect("it is taken back");
    assert_eq!(only(driver, "a").await.admin, Admin::Ready);
    driver
        .apply(&Step::Shutdown("a".into()))
        .await
        .expect("nothing to close is no error");

    for step in [Step::Drain, Step::Ready, Step::Remove, Step::Shutdown] {
        let step: fn(Arc<str>) -> Step = step;
        let missing = driver.apply(&step("nobody".into())).await;
        assert!(
            matches!(missing, Err(DriverError::Refused(_))),
            "nobody is there"
        );
    }

    for name in ["a", "b-2"] {
        driver
            .apply(&Step::Drain(name.into()))
            .await
            .expect("it drains");
        driver
            .apply(&Step::Remove(name.into()))
            .await
            .expect("it goes");
    }
    assert_eq!(all(driver).await.len(), others.len());
    driver
        .apply(&add("a", &b))
        .await
        .expect("a name is free again");
    assert_eq!(
        only(driver, "a").await.node.as_ref(),
        Some(&b),
        "and means the new node"
    );
    driver
        .apply(&Step::Remove("a".into()))
        .await
        .expect("it goes");
}

fn node(text: &str) -> Node {
    nodes(text).remove(0)
}

fn add(name: &str, node: &Node) -> Step {
    let server = Server {
        name: name.into(),
        address: node.address.server_address(),
        check: Some(Check::default()),
        ..Server::default()
    };
    Step::Add {
        server: Box::new(server),
        node: node.clone(),
    }
}

async fn all<D: Driver>(driver: &mut D) -> Vec<Seen> {
    driver
        .observe()
        .await
        .expect("it can be looked at")
        .backend
        .servers
}

async fn only<D: Driver>(driver: &mut D, name: &str) -> Seen {
    let mut found = all(driver).await;
    found.retain(|seen| &*seen.name == name);
    assert_eq!(found.len(), 1, "{name} is there once");
    found.remove(0)
}
