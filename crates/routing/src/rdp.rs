//! The server that a Remote Desktop client names: `persist rdp-cookie` (manual 4.2).
//!
//! A terminal server in "token redirection mode" hands out `msts=ADDRESS.PORT.RESERVED`, address and
//! port as numbers whose bytes stand the other way round ([MS-RDPBCGR] 3.2.5.3.1).

use std::net::{Ipv4Addr, SocketAddrV4};

use wire::rdp;
use wire::tls_hello::Seen;

/// The address in the cookie of this name, where the first bytes of a client hold one.
pub fn server_address(name: &str, request: &[u8]) -> Option<SocketAddrV4> {
    let Seen::Is(cookie) = rdp::cookie(request) else {
        return None;
    };
    if !cookie.name.eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    let mut parts = cookie.value.splitn(3, |byte| *byte == b'.');
    let (address, port) = (number::<u32>(parts.next()?)?, number::<u16>(parts.next()?)?);
    parts.next()?;
    let address = Ipv4Addr::from(address.swap_bytes());
    Some(SocketAddrV4::new(address, port.swap_bytes()))
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    let digits = std::str::from_utf8(digits).ok()?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_backwards() {
        for (cookie, expected) in [
            ("msts=3640205228.15629.0000", Some("172.31.249.216:3389")),
            ("MSTS=16777343.20480.", Some("127.0.0.1:80")),
            ("mstshash=16777343.20480.0000", None),
            ("msts=16777343.20480", None),
            ("msts=16777343", None),
            ("msts=+16777343.20480.0000", None),
            ("msts=4294967296.20480.0000", None),
            ("msts=16777343.65536.0000", None),
            ("msts=ann", None),
            ("msts=", None),
        ] {
            let hello = format!("01234567890Cookie: {cookie}\r\n");
            let seen = server_address("msts", hello.as_bytes());
            assert_eq!(
                seen.map(|it| it.to_string()).as_deref(),
                expected,
                "{cookie}"
            );
        }
        assert_eq!(server_address("msts", b"too short"), None);
    }
}
