//! Whatever a service sends as events, it is read to its end within its bounds, and however its bytes are cut it
//! says the same.
#![no_main]

use control::event_stream::{EVENT_LEN_MAX, EventStream, ID_LEN_MAX};
use libfuzzer_sys::fuzz_target;

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
    let mut stream = EventStream::default();
    let mut events = Vec::new();
    for mut piece in pieces {
        while let Ok(Some(event)) = stream.next(&mut piece) {
            assert!(event.data.len() <= EVENT_LEN_MAX);
            events.push((event.name, event.data));
        }
        assert!(piece.is_empty());
    }
    assert!(stream.last_id().len() <= ID_LEN_MAX);
    (events, stream.last_id().to_vec())
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(std::iter::once(bytes));
    assert_eq!(whole, read(bytes.chunks(1)));
    assert_eq!(whole, read(bytes.chunks(7)));
});
