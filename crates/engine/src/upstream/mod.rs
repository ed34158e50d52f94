//! Towards servers: opening connections, keeping idle ones.

pub(crate) mod connect;
pub(crate) mod former;
pub(crate) mod lend;
pub(crate) mod own;
pub(crate) mod pool;
pub(crate) mod proxy_header;
mod socks;
pub(crate) mod source;
