//! What the crate promises at its boundary: tables of messages with what they mean or why they are
//! refused, and properties of all of them. The cases are our own; the families of attacks are those
//! that RFC 9112 §11 and the advisories of other proxies describe.

#[cfg(test)]
mod bodies;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod hellos;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod proxy_header;
mod proxy_protocol;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod responses;
#[cfg(test)]
mod writing;
