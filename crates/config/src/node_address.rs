//! Addresses at which no node can be, whoever names them: a node list or a name server.
//!
//! Not a list of private or loopback addresses: nodes are there more often than not. Blocks are
//! those of RFC 6890, forms with an IPv4 address inside those of RFC 4291 section 2.5.5 and RFC 6052.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services of clouds outside the link-local block: Amazon (IPv6), Alibaba, Oracle.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Why no node can be at this address, or `None` where one can. Node lists and answers of name
/// servers are foreign input: they must not turn the balancer into a door to the cloud's metadata
/// service (169.254.169.254), however its address is written.
pub fn never_a_node(ip: IpAddr) -> Option<&'static str> {
    let ip = plain(ip);
    if METADATA.contains(&ip) {
        return Some("the address is a metadata service");
    }
    let (unspecified, link_local) = match ip {
        IpAddr::V4(ip) => (ip.octets()[0] == 0, ip.is_link_local()),
        IpAddr::V6(ip) => (ip.is_unspecified(), ip.is_unicast_link_local()),
    };
    match ip {
        _ if unspecified => Some("the address is unspecified"),
        _ if link_local => Some("the address is link-local"),
        _ if ip.is_multicast() => Some("the address is a multicast group"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some("the address is the broadcast address"),
        _ => None,
    }
}

/// The IPv4 address inside an IPv4-mapped, IPv4-compatible or NAT64 address; others as they are.
fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let inside = match v6.segments() {
        // `::` and `::1` have the form of IPv4-compatible addresses and are none.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return ip,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => (high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        _ => return ip,
    };
    let bits = u32::from(inside.0) << 16 | u32::from(inside.1);
    IpAddr::V4(Ipv4Addr::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_nodes_are_known_in_every_form() {
        let link_local = Some("the address is link-local");
        let metadata = Some("the address is a metadata service");
        let unspecified = Some("the address is unspecified");
        let multicast = Some("the address is a multicast group");
        let broadcast = Some("the address is the broadcast address");
        for (ip, expected) in [
            ("10.0.0.5", None),
            ("127.0.0.1", None),
            ("::1", None),
            ("fd00::1", None),
            ("2001:db8::a9fe:a9fe", None),
            ("64:ff9b::a00:5", None),
            ("::ffff:10.0.0.5", None),
            ("0.0.0.0", unspecified),
            ("0.1.2.3", unspecified),
            ("::", unspecified),
            ("::ffff:0.0.0.0", unspecified),
            ("64:ff9b::", unspecified),
            ("169.254.169.254", link_local),
            ("::ffff:169.254.169.254", link_local),
            ("::169.254.169.254", link_local),
            ("64:ff9b::169.254.169.254", link_local),
            ("fe80::1", link_local),
            ("100.100.100.200", metadata),
            ("192.0.0.192", metadata),
            ("64:ff9b::100.100.100.200", metadata),
            ("fd00:ec2::254", metadata),
            ("224.0.0.1", multicast),
            ("ff02::1", multicast),
            ("64:ff9b::224.0.0.1", multicast),
            ("255.255.255.255", broadcast),
            ("::ffff:255.255.255.255", broadcast),
        ] {
            assert_eq!(never_a_node(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
