//! The first bytes of a passed-through client mean the same however they were cut, and nothing in
//! them makes the parsers of hellos and cookies read past the end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::rdp;
use wire::tls_hello::{Seen, client_hello, client_version, server_hello};

fuzz_target!(|data: &[u8]| {
    let whole = client_hello(data);
    if let Seen::Is(hello) = &whole {
        let _ = (hello.server_name(), hello.first_protocol(), hello.ciphers());
        let _ = (hello.groups(), hello.signatures(), hello.ticket());
        let _ = (hello.key_share_groups(), hello.version());
    }
    let version = client_version(data);
    let server = server_hello(data);
    let cookie = rdp::cookie(data);
    for cut in 0..data.len().min(600) {
        let seen = &data[..cut];
        assert!(agrees(&client_hello(seen), &whole), "cut at {cut}");
        assert!(agrees(&client_version(seen), &version), "cut at {cut}");
        assert!(agrees(&server_hello(seen), &server), "cut at {cut}");
        assert!(agrees(&rdp::cookie(seen), &cookie), "cut at {cut}");
    }
});

fn agrees<T: PartialEq>(early: &Seen<T>, whole: &Seen<T>) -> bool {
    *early == Seen::NotYet || early == whole
}
