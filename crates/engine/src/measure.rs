//! How many bytes a message counts, in logs and statistics.
//!
//! HAProxy counts a message as it keeps it in memory, not as it stands on the wire: names and values
//! without what separates them, payload without chunk lines, and a constant for the first line. Byte
//! counts that dashboards compare across a change of the program must not jump, so the same is
//! counted here. Found by comparing the logs of both (`conformance/`).

use wire::head::{Fields, RequestHead, ResponseHead};

/// What a first line counts beside its words, and the end of the head.
const HEAD: usize = 20 + 1;

/// The end of a chunked body.
const END: usize = 1;

/// The head of a request.
pub(crate) fn request(head: &RequestHead) -> usize {
    let words = head.method.as_bytes().len() + head.target().len() + head.version.as_str().len();
    HEAD + words + fields(&head.fields)
}

/// The head of a response.
pub(crate) fn response(head: &ResponseHead) -> usize {
    let words = head.version.as_str().len() + 3 + head.reason().len();
    HEAD + words + fields(&head.fields)
}

/// An answer of our own; `is_head`: without its body.
pub(crate) fn answer(head: &ResponseHead, body: &[u8], is_head: bool) -> usize {
    let length = "content-length".len() + itoa::Buffer::new().format(body.len()).len();
    let others = head
        .fields
        .iter()
        .filter(|(name, _)| *name != "content-length");
    let others: usize = others.map(|(name, value)| name.len() + value.len()).sum();
    let words = head.version.as_str().len() + 3 + head.reason().len();
    let payload = if is_head { 0 } else { body.len() };
    HEAD + words + others + length + payload
}

/// The end of a body, with its trailers; `framing`: bytes that marked it, none but for chunks.
pub(crate) fn end(framing: usize, trailers: Option<&Fields>) -> usize {
    let mark = if framing == 0 { 0 } else { END };
    mark + trailers.map_or(0, fields)
}

fn fields(fields: &Fields) -> usize {
    let name = "connection";
    let options = fields.get_all(name).filter(|value| is_option(value));
    let options: usize = options.map(|value| name.len() + value.len()).sum();
    fields.text_len() - options
}

/// HAProxy takes these off `Connection` before it counts.
fn is_option(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"close") || value.eq_ignore_ascii_case(b"keep-alive")
}
