//! Whatever a `crt-list` says, it is read to its end, and each of its lines is an entry or a sentence
//! that begins with the line's number.
#![no_main]

use config::model::BindTls;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match config::crt_list::parse(text, &BindTls::default()) {
        Ok(list) => {
            assert!(list.entries.len() <= text.lines().count());
            assert!(list.notices.iter().all(|notice| notice.starts_with("line ")));
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|problem| problem.starts_with("line ")));
        }
    }
});
