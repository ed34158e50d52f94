//! Bytes to messages and back: HTTP/1, WebSocket, PROXY protocol; no tokio, no clock.
