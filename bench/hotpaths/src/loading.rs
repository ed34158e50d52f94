//! Reading a configuration: not on the way of a connection, but on that of a reload.

use std::fmt::Write as _;
use std::hint::black_box;

use crate::scene::configuration;
use crate::{HotPath, Step, path};

pub(crate) const PATHS: &[HotPath] = &[
    path("load-reference", 5, || load(|_| {})),
    path("load-3000-servers", 1, || {
        load(|text| {
            for n in 0..3000 {
                line(
                    text,
                    &format!(" server node-{n} 10.1.{}.{}:8080 check", n / 250, n % 250),
                );
            }
        })
    }),
    path("load-250-backends", 1, || load(|text| backends(text, 250))),
    path("load-1000-backends", 1, || {
        load(|text| backends(text, 1000))
    }),
    // The shortest are not done once: what the allocator owes from before (4 %) would tip them.
    path("load-250-acls", 3, || load(|text| acls(text, 250))),
    path("load-1000-acls", 1, || load(|text| acls(text, 1000))),
    path("load-250-followers", 3, || {
        load(|text| followers(text, 250))
    }),
    path("load-1000-followers", 1, || {
        load(|text| followers(text, 1000))
    }),
    path("load-250-users", 3, || load(|text| users(text, 250))),
    path("load-1000-users", 1, || load(|text| users(text, 1000))),
];

fn backends(text: &mut String, count: usize) {
    line(text, "frontend other\n bind *:8081");
    for n in 0..count {
        line(
            text,
            &format!(" use_backend nodes-{n} if {{ path_beg /{n}/ }}"),
        );
    }
    for n in 0..count {
        line(
            text,
            &format!("backend nodes-{n}\n server one 10.1.1.1:8080 check"),
        );
    }
}

fn acls(text: &mut String, count: usize) {
    line(text, "frontend other\n bind *:8081");
    for n in 0..count {
        line(text, &format!(" acl path-{n} path_beg /{n}/"));
        line(text, &format!(" http-request deny if path-{n}"));
    }
}

/// Each follows the one before it.
fn followers(text: &mut String, count: usize) {
    line(text, "backend other\n server node-0 10.1.1.1:8080 check");
    for n in 1..count {
        line(
            text,
            &format!(" server node-{n} 10.1.1.1:8080 track node-{}", n - 1),
        );
    }
}

fn users(text: &mut String, count: usize) {
    line(text, "userlist people");
    for n in 0..count {
        line(text, &format!(" group group-{n} users user-{n}"));
        line(text, &format!(" user user-{n} insecure-password secret"));
    }
}

/// The start of a configuration as they are, and what is appended to it.
fn load(append: impl Fn(&mut String)) -> Step {
    let mut text = "global\n maxconn 20000\ndefaults\n mode http\n option httplog\n timeout connect 5s\n \
                    timeout client 30s\n timeout server 30s\n timeout tunnel 1h\nfrontend www\n bind *:8080\n \
                    acl is_websocket hdr(Upgrade) -i WebSocket\n use_backend nodes if is_websocket\n \
                    default_backend nodes\nbackend nodes\n balance leastconn\n option httpchk GET /health\n"
        .to_owned();
    append(&mut text);
    Box::new(move || {
        black_box(configuration(black_box(&text)));
    })
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes all that is written");
}
