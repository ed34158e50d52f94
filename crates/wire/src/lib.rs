//! Bytes to messages and back: HTTP/1, WebSocket, PROXY protocol; no tokio, no clock.
//!
//! Everything here is pure: it gets bytes that somebody else has read and gives back what they
//! mean, or writes what is meant as bytes. Clients and nodes are both taken for hostile. A message
//! has one meaning or is refused; nothing ambiguous is ever handed on (RFC 9112 §11.1, §11.2).
//!
//! - [`head`]: what the head of a request or response holds. Routing looks at nothing else.
//! - [`h1`]: HTTP/1.0 and 1.1 (RFC 9112).
//! - [`ws`]: the WebSocket handshake and frame headers (RFC 6455).
//! - [`proxy_protocol`]: the PROXY protocol, versions 1 and 2, as received.
//! - [`tls_hello`], [`rdp`]: the first words of protocols that are passed through.

#![forbid(unsafe_code)]

pub mod h1;
pub mod head;
pub mod proxy_header;
pub mod proxy_protocol;
pub mod rdp;
pub mod tls_hello;
pub mod ws;

mod fields;
mod method;
mod syntax;
