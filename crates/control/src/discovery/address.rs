//! What the `url` of a node means: a host, a port, and whether it wants TLS.
//!
//! Not a general URL parser: it takes the forms nodes announce (RFC 3986 authority with `http`,
//! `https`, `ws`, `wss` or no scheme) and refuses the rest with a reason. A path, query or fragment
//! is read over: WebSocket nodes take the upgrade on any path, and requests bring their own.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use config::model::ServerAddress;
use config::node_address::never_a_node;

/// Longest `url`, bytes: a host name has 253 at most, and what follows it is not used.
const URL_LEN_MAX: usize = 2048;

/// Where a node is. Never a place that belongs to no node: unspecified, multicast, broadcast,
/// link-local and cloud metadata addresses are refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeAddress {
    host: Host,
    port: u16,
    tls: Tls,
}

/// A host, by number or by name. Names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Host {
    /// `10.0.0.5`, `[fd00::1]`.
    Ip(IpAddr),
    /// `n.example.com`, resolved by the engine.
    Name(Arc<str>),
}

/// What the scheme says of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tls {
    /// `http`, `ws` or no scheme: TLS only where `default-server` says so.
    Unsaid,
    /// `https` or `wss`.
    Wanted,
}

impl NodeAddress {
    /// Reads a `url` as announced. `localhost` is the IPv4 loopback address.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        Self::parse_for(url, "", None)
    }

    /// Reads the `url` of the node with that id. A host of `localhost` is replaced by what the
    /// template makes of the id: every node of some systems calls itself `localhost`.
    pub(crate) fn parse_for(
        url: &str,
        id: &str,
        rewrite: Option<&HostTemplate>,
    ) -> Result<Self, &'static str> {
        if url.len() > URL_LEN_MAX {
            return Err("the url is longer than 2048 bytes");
        }
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte);
        if !url.bytes().all(allowed) {
            return Err("the url has characters that no URL has");
        }
        let (tls, rest) = scheme(url)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = split_authority(authority)?;
        let port = match port {
            Some(port) => port,
            None if tls == Tls::Wanted => 443,
            None => 80,
        };
        let host = match (Host::parse(host)?, rewrite) {
            (Host::Name(name), Some(template)) if &*name == "localhost" => template.apply(id)?,
            (host, _) => host,
        };
        Ok(Self {
            host: host.reachable()?,
            port,
            tls,
        })
    }

    /// The host.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// Whether the node's scheme wants TLS.
    pub(crate) fn wants_tls(&self) -> bool {
        self.tls == Tls::Wanted
    }

    /// What two nodes cannot share, whatever they speak there.
    pub(crate) fn place(&self) -> (Host, u16) {
        (self.host.clone(), self.port)
    }

    /// The same for the engine.
    pub(crate) fn server_address(&self) -> ServerAddress {
        match &self.host {
            Host::Ip(ip) => ServerAddress::Inet(SocketAddr::new(*ip, self.port)),
            Host::Name(name) => ServerAddress::Name(Arc::clone(name), self.port),
        }
    }

    /// Whether a server of the configuration is at this place.
    pub(crate) fn is_at(&self, address: &ServerAddress) -> bool {
        let (host, port) = match address {
            ServerAddress::Inet(address) => (Host::Ip(address.ip().to_canonical()), address.port()),
            ServerAddress::Name(name, port) => match Host::parse(name).and_then(Host::reachable) {
                Ok(host) => (host, *port),
                Err(_) => return false,
            },
            ServerAddress::Mapped(..) | ServerAddress::Unix(_) | ServerAddress::Abstract(_) => {
                return false;
            }
        };
        self.port == port && self.host == host
    }
}

/// As a URL that [`NodeAddress::parse`] reads back to the same value.
impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.wants_tls() { "https" } else { "http" };
        match &self.host {
            Host::Ip(ip) => write!(f, "{scheme}://{}", SocketAddr::new(*ip, self.port)),
            Host::Name(name) => write!(f, "{scheme}://{name}:{}", self.port),
        }
    }
}

/// What comes before `://`, and what comes after.
fn scheme(url: &str) -> Result<(Tls, &str), &'static str> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok((Tls::Unsaid, url));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => Ok((Tls::Unsaid, rest)),
        "https" | "wss" => Ok((Tls::Wanted, rest)),
        _ => Err("the url's scheme is none of http, https, ws and wss"),
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`: host without brackets and port (RFC 3986 section 3.2).
pub(crate) fn split_authority(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    if authority.contains('@') {
        return Err("the url carries a user name or password");
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("the url's [ is not closed")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err("what is between [ and ] is no IPv6 address");
        }
        match port.strip_prefix(':') {
            Some(port) => (host, port),
            None if port.is_empty() => (host, ""),
            None => return Err("the url has something other than a port behind ]"),
        }
    } else {
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        if port.contains(':') {
            return Err("an IPv6 address needs [ ] around it");
        }
        (host, port)
    };
    if host.is_empty() {
        return Err("the url names no host");
    }
    Ok((host, parse_port(port)?))
}

/// Digits only (`u16::from_str` would take a plus sign); empty is the scheme's own port.
fn parse_port(port: &str) -> Result<Option<u16>, &'static str> {
    const WRONG: &str = "the port is not a number from 1 to 65535";
    if port.is_empty() {
        return Ok(None);
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WRONG);
    }
    match port.parse::<u16>() {
        Ok(0) | Err(_) => Err(WRONG),
        Ok(port) => Ok(Some(port)),
    }
}

impl Host {
    /// Reads a host without brackets: an IP address, or a name of letters, digits, `-`, `_` and dots.
    pub(crate) fn parse(host: &str) -> Result<Self, &'static str> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Self::Ip(ip.to_canonical()));
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if host.len() > 253 || !host.split('.').all(is_label) {
            return Err("the host is neither an IP address nor a host name");
        }
        // `2852039166`, `0xa9fea9fe` and `127.1` are addresses to every resolver of C libraries:
        // what could be one and is not written as one hides where it leads.
        let last = host.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
            return Err("the host ends in a number but is no IP address");
        }
        Ok(Self::Name(host.into()))
    }

    /// The same, if a node can be there. The name `localhost` becomes the address it stands for
    /// (RFC 6761 section 6.3), so that it is recognised as the place of a configured server.
    fn reachable(self) -> Result<Self, &'static str> {
        match self {
            Self::Name(name) if &*name == "localhost" => Ok(Self::Ip(Ipv4Addr::LOCALHOST.into())),
            Self::Name(name) => Ok(Self::Name(name)),
            Self::Ip(ip) => match never_a_node(ip) {
                Some(why) => Err(why),
                None => Ok(Self::Ip(ip)),
            },
        }
    }

    /// As a certificate names it.
    pub(crate) fn to_text(&self) -> Arc<str> {
        match self {
            Self::Ip(ip) => ip.to_string().into(),
            Self::Name(name) => Arc::clone(name),
        }
    }
}

/// A part of a host name between dots; `_` is seen in container names.
fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// `rewrite-localhost`: the host of a node that calls itself `localhost`, with `{id}` for its id.
#[derive(Debug, Clone)]
pub(crate) struct HostTemplate(Arc<str>);

impl HostTemplate {
    /// Takes a template that makes a host of a plain id; else says why it cannot.
    pub(crate) fn parse(template: &str) -> Result<Self, &'static str> {
        let template = Self(template.into());
        match template.apply("node1") {
            Ok(_) => Ok(template),
            Err(_) => Err("it makes no host; write a host name with {id} in it, as in ws{id}"),
        }
    }

    /// The host of that node. The id is foreign: the result is read like any other host.
    fn apply(&self, id: &str) -> Result<Host, &'static str> {
        Host::parse(&self.0.replace("{id}", id))
            .map_err(|_| "rewrite-localhost does not make a host name of this id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        let got = match NodeAddress::parse(url) {
            Ok(address) => address.to_string(),
            Err(why) => why.to_owned(),
        };
        assert_eq!(got, expected, "{url}");
    }

    #[test]
    fn every_form_that_nodes_announce_is_read() {
        for (url, expected) in [
            ("http://10.0.0.5:8081", "http://10.0.0.5:8081"),
            ("10.0.0.6:8081", "http://10.0.0.6:8081"),
            ("10.0.0.6", "http://10.0.0.6:80"),
            ("https://host/path", "https://host:443"),
            ("http://[fd00::1]:8081", "http://[fd00::1]:8081"),
            ("[fd00::1]:8081", "http://[fd00::1]:8081"),
            ("http://[fd00::1]", "http://[fd00::1]:80"),
            ("http://n.example.com", "http://n.example.com:80"),
            ("HTTPS://N.Example.com.", "https://n.example.com:443"),
            ("n.example.com:8081/x", "http://n.example.com:8081"),
            ("http://localhost:8081", "http://127.0.0.1:8081"),
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://[::1]:8081", "http://[::1]:8081"),
            ("ws://10.0.0.5", "http://10.0.0.5:80"),
            ("wss://10.0.0.5", "https://10.0.0.5:443"),
            ("wss://ws_node-1:8443?x#y", "https://ws_node-1:8443"),
            ("http://host:/", "http://host:80"),
            ("http://[::ffff:10.0.0.5]:81", "http://10.0.0.5:81"),
        ] {
            check(url, expected);
            check(expected, expected);
        }
    }

    #[test]
    fn what_is_no_node_is_refused_with_the_reason() {
        let scheme = "the url's scheme is none of http, https, ws and wss";
        let port = "the port is not a number from 1 to 65535";
        let host = "the host is neither an IP address nor a host name";
        let number = "the host ends in a number but is no IP address";
        let bytes = "the url has characters that no URL has";
        for (url, expected) in [
            ("ftp://10.0.0.1", scheme),
            ("file:///etc/passwd", scheme),
            ("://host", scheme),
            ("javascript:alert(1)", port),
            ("http://10.0.0.5:0", port),
            ("http://10.0.0.5:65536", port),
            ("http://10.0.0.5:99999", port),
            ("http://10.0.0.5:+80", port),
            ("http://10.0.0.5:-1", port),
            (
                "http://u:p@10.0.0.5",
                "the url carries a user name or password",
            ),
            ("http://", "the url names no host"),
            ("", "the url names no host"),
            ("http://:8081", "the url names no host"),
            ("fd00::1", "an IPv6 address needs [ ] around it"),
            ("http://[fd00::1", "the url's [ is not closed"),
            (
                "http://[fd00::1]x",
                "the url has something other than a port behind ]",
            ),
            (
                "http://[host]:80",
                "what is between [ and ] is no IPv6 address",
            ),
            (
                "http://[fe80::1%25eth0]",
                "what is between [ and ] is no IPv6 address",
            ),
            ("http://a b", bytes),
            ("http://a\r\nserver x 1.2.3.4:1", bytes),
            ("http://a\\b", bytes),
            ("http://é", bytes),
            ("http://a..b", host),
            ("http://-a", host),
            ("http://a%00b", host),
            ("http://a,b", host),
            ("http://2852039166/", number),
            ("http://0xa9fea9fe/", number),
            ("http://127.1/", number),
            ("http://256.1.1.1/", number),
            ("http://0.0.0.0:80", "the address is unspecified"),
            ("http://[::]:80", "the address is unspecified"),
            ("http://169.254.169.254/latest", "the address is link-local"),
            (
                "http://[::ffff:169.254.169.254]",
                "the address is link-local",
            ),
            ("http://[fe80::1]", "the address is link-local"),
            ("http://[64:ff9b::a9fe:a9fe]", "the address is link-local"),
            ("http://[::a9fe:a9fe]", "the address is link-local"),
            (
                "http://[fd00:ec2::254]",
                "the address is a metadata service",
            ),
            ("http://224.0.0.1", "the address is a multicast group"),
            ("http://[ff02::1]", "the address is a multicast group"),
            (
                "http://255.255.255.255",
                "the address is the broadcast address",
            ),
        ] {
            check(url, expected);
        }
        check(&"x".repeat(2049), "the url is longer than 2048 bytes");
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_so_that_it_reads_the_same(
            text in r"((https?|wss?|ftp)://)?[\[\]a-f0-9xé@%_\.:\-]{0,40}(/[a-z:@]{0,9})?",
        ) {
            if let Ok(address) = NodeAddress::parse(&text) {
                let written = address.to_string();
                proptest::prop_assert_eq!(NodeAddress::parse(&written), Ok(address));
                proptest::prop_assert!(written.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }

    #[test]
    fn localhost_is_rewritten_by_the_template_and_nothing_else_is() {
        #[track_caller]
        fn check(template: &str, id: &str, url: &str, expected: &str) {
            let template = HostTemplate::parse(template).unwrap();
            let got = match NodeAddress::parse_for(url, id, Some(&template)) {
                Ok(address) => address.to_string(),
                Err(why) => why.to_owned(),
            };
            assert_eq!(got, expected);
        }
        check(
            "ws{id}",
            "node1",
            "http://localhost:8081",
            "http://wsnode1:8081",
        );
        check(
            "ws{id}",
            "node1",
            "https://LOCALHOST.",
            "https://wsnode1:443",
        );
        check(
            "ws{id}",
            "node1",
            "http://127.0.0.1:1",
            "http://127.0.0.1:1",
        );
        check(
            "10.0.0.9",
            "node1",
            "http://localhost:8081",
            "http://10.0.0.9:8081",
        );
        let refused = "rewrite-localhost does not make a host name of this id";
        check("ws{id}", "a:b", "http://localhost:8081", refused);
        assert!(HostTemplate::parse("http://{id}").is_err());
        assert!(HostTemplate::parse("").is_err());
    }

    #[test]
    fn a_configured_server_is_recognised_by_its_place() {
        let node = |url| NodeAddress::parse(url).unwrap();
        let inet = ServerAddress::Inet(SocketAddr::from(([127, 0, 0, 1], 8081)));
        assert!(node("http://127.0.0.1:8081").is_at(&inet));
        assert!(node("https://localhost:8081").is_at(&inet));
        assert!(!node("http://127.0.0.1:8082").is_at(&inet));
        let name = ServerAddress::Name("LocalHost".into(), 8081);
        assert!(node("http://127.0.0.1:8081").is_at(&name));
        assert!(!node("http://127.0.0.1:8081").is_at(&ServerAddress::Unix("/x".into())));
    }
}
