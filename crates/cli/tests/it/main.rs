//! The program as its users meet it: the real binary, real sockets, one module a subject.
//!
//! `TIDEGATE_IT_PROGRAM=/usr/sbin/haproxy` runs the same tests against HAProxy, to see whether an
//! expectation is HAProxy's or ours; what is ours alone asks [`support::is_haproxy`] and leaves.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test reports, in its helpers too"
)]

mod actions;
mod admin;
mod answers;
mod auth;
mod balance;
mod captures;
mod certificates;
mod check_steps;
mod checks;
mod cli;
mod content;
mod cookies;
mod demo;
mod deploy;
mod discovery;
mod drains;
mod endings;
mod examples;
mod exchanges;
mod external_checks;
mod faults;
mod given_files;
mod greedy;
mod handing_over;
mod http;
mod kept;
mod limits;
mod listeners;
mod logs;
mod many;
mod metrics;
mod moving;
mod mutual_tls;
mod observing;
mod old_certificates;
mod outgoing;
mod pages;
mod push;
mod queues;
mod reference;
mod reload;
mod reload_more;
mod reload_storm;
mod reports;
mod resolvers;
mod retries;
mod reuse;
mod rules;
mod runtime_api;
mod runtime_api_live;
mod secure;
mod server_origins;
mod smuggling;
mod sockets;
mod statistics;
mod strict;
mod support;
mod tcp;
mod terminals;
mod tls;
mod updater;
mod workers;
