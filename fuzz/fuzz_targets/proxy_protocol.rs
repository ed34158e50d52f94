//! A PROXY header means the same however it was cut, and never takes more than its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::h1::Parsed;
use wire::proxy_protocol::{V2_LEN_MAX, parse};

fuzz_target!(|data: &[u8]| {
    let whole = parse(data);
    if let Ok(Parsed::Complete { consumed, .. }) = whole {
        assert!(consumed <= data.len() && consumed <= V2_LEN_MAX + 16);
    }
    for cut in 0..data.len().min(600) {
        match parse(&data[..cut]) {
            Ok(Parsed::Partial) => {}
            early => assert_eq!(early, whole, "cut at {cut}"),
        }
    }
});
