//! Basic authentication (RFC 7617).
