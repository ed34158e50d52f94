//! Facts and a clock in, a decision out: rules, samples, balancing, health; no tokio, no sockets.

pub mod balance;
