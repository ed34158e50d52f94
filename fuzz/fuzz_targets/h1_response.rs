//! A response means the same however it was cut, and what is sent on of it means the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::h1::{self, Framing, Limits, Parsed, parse_response};
use wire::head::Method;

const LIMITS: Limits = Limits {
    head_bytes_max: 1024,
    fields_max: 16,
    lenient: false,
};

fuzz_target!(|data: &[u8]| {
    let whole = parse_response(data, &LIMITS);
    for cut in 0..data.len().min(2 * LIMITS.head_bytes_max) {
        match parse_response(&data[..cut], &LIMITS) {
            Ok(Parsed::Partial) => {}
            early => assert_eq!(early, whole, "cut at {cut}"),
        }
    }
    let Ok(Parsed::Complete { head, .. }) = whole else {
        return;
    };
    let Ok(body) = h1::response_body(&head, &Method::GET) else {
        return;
    };
    let mut out = Vec::new();
    h1::write_response(&head, Framing::from(body), None, &mut out);
    let Ok(Parsed::Complete {
        head: again,
        consumed,
    }) = parse_response(&out, &Limits::default())
    else {
        panic!("{} cannot be read", out.escape_ascii());
    };
    assert_eq!((consumed, again.status), (out.len(), head.status));
    assert_eq!(h1::response_body(&again, &Method::GET), Ok(body));
});
