//! `option forwarded`: what servers are told of a request by RFC 7239.

use crate::expr::Sample;

/// Which parts of the header are written, in this order.
#[derive(Debug, Clone, Default)]
pub struct ForwardedHeader {
    /// `proto`: `http` or `https`.
    pub proto: bool,
    /// `host`, `host-expr`.
    pub host: Option<ForwardedValue>,
    /// `by`, `by-expr` and their ports.
    pub by: ForwardedNode,
    /// `for`, `for-expr` and their ports.
    pub client: ForwardedNode,
}

/// One end of the client's connection.
#[derive(Debug, Clone, Default)]
pub struct ForwardedNode {
    /// Its name; `None`: it is not written at all.
    pub name: Option<ForwardedValue>,
    /// Its port.
    pub port: Option<ForwardedValue>,
}

/// Where a part comes from.
#[derive(Debug, Clone)]
pub enum ForwardedValue {
    /// The connection, or the request.
    Usual,
    /// `…-expr`.
    Sample(Box<Sample>),
}
