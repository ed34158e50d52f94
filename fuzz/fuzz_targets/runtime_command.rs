//! Whatever a line of the Runtime API holds, it is taken apart, and no word of it has what separates
//! words but where a backslash took that meaning away.
#![no_main]

use control::runtime_api::line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let parsed = line::parse(bytes);
    assert!(!parsed.commands.is_empty());
    let escaped = bytes.contains(&b'\\');
    for word in parsed.commands.iter().flatten() {
        assert!(!word.is_empty());
        assert!(escaped || !word.contains([' ', '\t', ';']));
    }
    if let Some(end) = parsed.payload_end {
        assert!(!end.contains([' ', '\t', ';']));
    }
});
