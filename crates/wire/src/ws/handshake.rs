//! The opening handshake: RFC 6455 §4, RFC 9110 §7.8.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::h1::{self, BodyLength};
use crate::head::{Fields, Method, RequestHead, ResponseHead, Version};
use crate::syntax;

/// The only version there is: RFC 6455.
const VERSION: &[u8] = b"13";

/// What is hashed behind the key (RFC 6455 §1.3).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request says about changing the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing.
    No,
    /// A valid WebSocket handshake.
    WebSocket(ClientKey),
    /// Another protocol (h2c …), or an offer that does not count: without `Connection: upgrade`, or
    /// in HTTP/1.0. The request is served as if it were not there, and the Upgrade field goes.
    Other,
    /// Meant to be a WebSocket handshake, but broken: not to be forwarded.
    Invalid(UpgradeError),
}

/// A client's Sec-WebSocket-Key: 16 bytes, canonically in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientKey([u8; 24]);

impl ClientKey {
    /// A key of our own, for health checks; `nonce` should be random.
    pub fn new(nonce: [u8; 16]) -> ClientKey {
        let mut key = [0; 24];
        let written = STANDARD.encode_slice(nonce, &mut key);
        debug_assert_eq!(written, Ok(24));
        ClientKey(key)
    }

    /// Reads the value of a field: base64 of 16 bytes, padded, no stray bits.
    fn read(value: &[u8]) -> Option<ClientKey> {
        let key: [u8; 24] = value.try_into().ok()?;
        let mut nonce = [0; 18];
        let len = STANDARD.decode_slice(key, &mut nonce).ok()?;
        (len == 16).then_some(ClientKey(key))
    }

    /// As sent in Sec-WebSocket-Key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The Sec-WebSocket-Accept that proves that a server has read this key.
    pub fn accept(&self) -> [u8; 28] {
        let digest = Sha1::new()
            .chain_update(self.0)
            .chain_update(ACCEPT_SUFFIX)
            .finalize();
        let mut accept = [0; 28];
        let written = STANDARD.encode_slice(digest, &mut accept);
        debug_assert_eq!(written, Ok(28));
        accept
    }
}

/// Says whether a request asks for a WebSocket, and whether it does so correctly.
pub fn upgrade_request(head: &RequestHead) -> Upgrade {
    let fields = &head.fields;
    if !fields.contains("upgrade") {
        return Upgrade::No;
    }
    let counts = head.version == Version::Http11 && fields.has_token("connection", "upgrade");
    if !counts || !fields.has_token("upgrade", "websocket") {
        return Upgrade::Other;
    }
    match client_key(head) {
        Ok(key) => Upgrade::WebSocket(key),
        Err(error) => Upgrade::Invalid(error),
    }
}

/// The rest of RFC 6455 §4.2.1.
fn client_key(head: &RequestHead) -> Result<ClientKey, UpgradeError> {
    if head.method != Method::GET {
        return Err(UpgradeError::Method);
    }
    if !matches!(
        h1::request_body(head),
        Ok(BodyLength::Empty | BodyLength::Length(0))
    ) {
        return Err(UpgradeError::Body);
    }
    if only(&head.fields, "sec-websocket-version") != Some(VERSION) {
        return Err(UpgradeError::Version);
    }
    let offered = "sec-websocket-protocol";
    if head
        .fields
        .tokens(offered)
        .any(|protocol| !syntax::is_token(protocol))
    {
        return Err(UpgradeError::Protocol);
    }
    only(&head.fields, "sec-websocket-key")
        .and_then(ClientKey::read)
        .ok_or(UpgradeError::Key)
}

/// Checks that a response with status 101 really opens the WebSocket that was asked for.
///
/// `request` is the head as it was sent to the node. On an error the node cannot be trusted with a
/// tunnel: 502, and the connection is closed.
pub fn check_switching(
    response: &ResponseHead,
    request: &RequestHead,
    key: &ClientKey,
) -> Result<(), UpgradeError> {
    let fields = &response.fields;
    if response.status != 101 || response.version != Version::Http11 {
        return Err(UpgradeError::Status);
    }
    if !matches!(
        h1::response_body(response, &request.method),
        Ok(BodyLength::Empty)
    ) {
        return Err(UpgradeError::Body);
    }
    let websocket = only(fields, "upgrade").is_some_and(|it| it.eq_ignore_ascii_case(b"websocket"));
    if !websocket || !fields.has_token("connection", "upgrade") {
        return Err(UpgradeError::NotWebSocket);
    }
    if only(fields, "sec-websocket-accept") != Some(&key.accept()[..]) {
        return Err(UpgradeError::Accept);
    }
    check_protocol(fields, &request.fields)?;
    check_extensions(fields, &request.fields)
}

/// At most one subprotocol is chosen, out of those offered (RFC 6455 §4.1).
fn check_protocol(response: &Fields, request: &Fields) -> Result<(), UpgradeError> {
    let name = "sec-websocket-protocol";
    if !response.contains(name) {
        return Ok(());
    }
    let chosen = only(response, name).ok_or(UpgradeError::Protocol)?;
    let offered = request.tokens(name).any(|protocol| protocol == chosen);
    if offered {
        Ok(())
    } else {
        Err(UpgradeError::Protocol)
    }
}

/// Every extension chosen was offered (RFC 6455 §9.1). Parameters are between the two ends.
fn check_extensions(response: &Fields, request: &Fields) -> Result<(), UpgradeError> {
    let name = "sec-websocket-extensions";
    let offered: Vec<&[u8]> = request.tokens(name).map(extension_name).collect();
    let known = |chosen: &[u8]| offered.iter().any(|it| it.eq_ignore_ascii_case(chosen));
    if response.tokens(name).map(extension_name).all(known) {
        Ok(())
    } else {
        Err(UpgradeError::Extension)
    }
}

/// An extension without its parameters.
fn extension_name(element: &[u8]) -> &[u8] {
    syntax::trim(
        element
            .split(|&byte| byte == b';')
            .next()
            .unwrap_or_default(),
    )
}

/// The value of a field that must stand there exactly once.
fn only<'a>(fields: &'a Fields, name: &'a str) -> Option<&'a [u8]> {
    let mut values = fields.get_all(name);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// What is wrong with a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpgradeError {
    /// Request: the method is not GET.
    Method,
    /// There is a body.
    Body,
    /// Request: Sec-WebSocket-Version is not exactly `13`.
    Version,
    /// Request: Sec-WebSocket-Key is missing, repeated, or not base64 of 16 bytes.
    Key,
    /// Request: a subprotocol is not a token. Response: one was chosen that was not offered.
    Protocol,
    /// Response: an extension was chosen that was not offered.
    Extension,
    /// Response: the status is not 101, or the version not HTTP/1.1.
    Status,
    /// Response: Upgrade or Connection do not say that this is a WebSocket now.
    NotWebSocket,
    /// Response: Sec-WebSocket-Accept does not fit the key.
    Accept,
}

impl UpgradeError {
    /// The status that a client gets for its own broken handshake. With 426 goes
    /// `Sec-WebSocket-Version: 13` (RFC 6455 §4.4). What a node got wrong is answered with 502.
    pub fn status(self) -> u16 {
        match self {
            UpgradeError::Version => 426,
            _ => 400,
        }
    }
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UpgradeError::Method => "the method of a WebSocket handshake is not GET",
            UpgradeError::Body => "a WebSocket handshake has a body",
            UpgradeError::Version => "Sec-WebSocket-Version is not 13",
            UpgradeError::Key => "Sec-WebSocket-Key is not 16 bytes in base64",
            UpgradeError::Protocol => "the WebSocket subprotocol is malformed or was not offered",
            UpgradeError::Extension => "a WebSocket extension was chosen that was not offered",
            UpgradeError::Status => "the answer to a WebSocket handshake is not 101",
            UpgradeError::NotWebSocket => "a 101 does not say that it switches to WebSocket",
            UpgradeError::Accept => "Sec-WebSocket-Accept does not fit the key",
        })
    }
}

impl std::error::Error for UpgradeError {}
