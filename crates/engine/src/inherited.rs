//! Descriptors handed to us by number (`bind fd@N`): one of the three places with `unsafe` in
//! this program, beside `listen::options` and the allocator's settings.
//!
//! Only whoever started the process knows what descriptor N is. A number can be turned into an
//! owned descriptor by no safe call of the standard library, so it is borrowed for the length of
//! one `dup`, after the caller has seen in `/proc/self/fd` that it is open, and while no other
//! thread runs that could close it: listeners are opened before any thread starts.
#![allow(
    unsafe_code,
    reason = "see above: a descriptor known only by its number"
)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A duplicate of the open descriptor `number`, closed on exec. Fails for a number that is not open.
pub(crate) fn duplicate(number: i32) -> io::Result<OwnedFd> {
    if number < 0 || !std::fs::exists(format!("/proc/self/fd/{number}"))? {
        return Err(io::Error::other(format!("descriptor {number} is not open")));
    }
    // SAFETY: the descriptor is open (checked above), is not -1, and stays open during this call:
    // it belongs to the process from its start and nothing here ever closes it.
    unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()
}
