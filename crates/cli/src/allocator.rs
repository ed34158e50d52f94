//! Who gives out memory, and how soon it goes back to the system: one of the three places with `unsafe`
//! in this program.
//!
//! jemalloc is the one of those measured that gives back most after a storm of connections. By itself it
//! gives back while it is asked for memory; a worker whose tunnels have all closed asks for none, and of
//! 4,000 tunnels (420 bytes each) 330 bytes each stayed for good. With a thread of its own and a second
//! of patience in place of ten, nothing is left after two seconds, and an open tunnel takes 356 bytes,
//! since what opening them left behind is given back as well. Without any patience every release would be
//! a system call on the path of a message.
#![allow(
    unsafe_code,
    reason = "jemalloc reads its settings before main from a symbol of this name: no safe call is as early"
)]

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

// SAFETY: jemalloc declares this symbol for programs to define, as a pointer to text that ends with a
// zero byte, which a reference to an array is. It reads it only. The environment's MALLOC_CONF wins.
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 43] = b"background_thread:true,dirty_decay_ms:1000\0";
