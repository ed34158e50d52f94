//! A request means the same however it was cut, and what is sent on of it means the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::h1::{self, Framing, Limits, Parsed, parse_request};
use wire::ws::{self, Upgrade};

const LIMITS: Limits = Limits {
    head_bytes_max: 1024,
    fields_max: 16,
    lenient: false,
};

fuzz_target!(|data: &[u8]| {
    let whole = parse_request(data, &LIMITS);
    for cut in 0..data.len().min(2 * LIMITS.head_bytes_max) {
        match parse_request(&data[..cut], &LIMITS) {
            Ok(Parsed::Partial) => {}
            early => assert_eq!(early, whole, "cut at {cut}"),
        }
    }
    let Ok(Parsed::Complete { head, .. }) = whole else {
        return;
    };
    let body = h1::request_body(&head).expect("a parsed head has one framing");
    if let Upgrade::WebSocket(key) = ws::upgrade_request(&head) {
        let _ = key.accept();
    }
    let mut out = Vec::new();
    h1::write_request(&head, Framing::from(body), None, &mut out);
    let Ok(Parsed::Complete {
        head: again,
        consumed,
    }) = parse_request(&out, &Limits::default())
    else {
        panic!("{} cannot be read", out.escape_ascii());
    };
    assert_eq!(consumed, out.len());
    assert_eq!(h1::request_body(&again), Ok(body));
    assert_eq!(again.method, head.method);
    assert_eq!(again.path_and_query(), head.path_and_query());
});
