//! Facts and a clock in, a decision out: rules, samples, balancing, health; no tokio, no sockets.

pub mod access;
mod actions;
pub mod auth;
pub mod balance;
mod candidates;
mod certificate;
pub mod condition;
pub mod content;
mod convert;
pub mod cookie;
pub mod dates;
pub mod decide;
mod fields;
pub mod format;
pub mod health;
mod md5_crypt;
pub mod pages;
pub mod pattern;
pub mod process;
pub mod rates;
pub mod rdp;
pub mod rules;
pub mod sample;
pub mod stick;
mod tls;
mod value;
pub mod variables;
