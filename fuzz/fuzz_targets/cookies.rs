//! Reading the cookies of a request ends, whatever is in them; with `indirect` none of ours is left, and
//! what is left is no longer than what came.
#![no_main]

use config::model::{Cookie, CookieMode};
use libfuzzer_sys::fuzz_target;
use routing::cookie::{Found, Given, Persistence, read};
use wire::head::Fields;

fuzz_target!(|data: &[u8]| {
    let cookie = Cookie {
        name: "S".into(),
        mode: CookieMode::Insert,
        indirect: true,
        maxidle: Some(std::time::Duration::from_secs(60)),
        ..Cookie::default()
    };
    let mut fields = Fields::new();
    for line in data.split(|byte| *byte == b'\n') {
        fields.append("cookie", line);
    }
    let length = |fields: &Fields| fields.get_all("cookie").map(<[u8]>::len).sum::<usize>();
    let before = length(&fields);
    let mut find = |_: &[u8]| Found::Unknown;
    read(&cookie, Persistence::Usual, false, &mut fields, 0, &mut find);
    assert!(length(&fields) <= before * 2, "spaces may follow separators, nothing else is new");
    let again = read(&cookie, Persistence::Usual, false, &mut fields, 0, &mut find);
    assert_eq!(again.given, Given::None);
});
