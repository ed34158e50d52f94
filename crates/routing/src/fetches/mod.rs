//! What sample fetches see, by family; the others are in `crate::sample` still.

pub(crate) mod connection;
pub(crate) mod dice;
pub(crate) mod http;
