//! Messages of a process that hands over: any bytes are read or refused, and none of them takes all memory.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    engine::is_handover(bytes);
});
