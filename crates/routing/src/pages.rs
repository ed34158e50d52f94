//! The pages shown for answers of our own: the shape is HAProxy's, the words are ours; `errorfile` and
//! its kin take their place.

use std::sync::Arc;

use config::model::ErrorAnswer;
use wire::head::{Fields, ResponseHead};

/// An answer made here, ready to be sent. Its length and connection headers are the writer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code: what is logged and, unless `line` says otherwise, sent.
    pub status: u16,
    /// How the client is told.
    pub line: StatusLine,
    /// Headers, without `content-length` and `connection`.
    pub fields: Fields,
    /// The body; not sent to HEAD, but its length is.
    pub body: Vec<u8>,
}

/// How the client is told of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusLine {
    /// With the usual reason phrase.
    Usual,
    /// With the title of its page, which is another one for a few.
    Titled(&'static str),
    /// As a page of the configuration says it, which may be another status.
    Own(u16, Arc<[u8]>),
    /// Not at all: the page is an empty file, and the connection ends.
    Silent,
}

impl Answer {
    /// Without headers and body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            line: StatusLine::Usual,
            fields: Fields::new(),
            body: Vec::new(),
        }
    }

    /// The head to send and the body; `None` when nothing is to be said.
    pub fn into_message(self) -> Option<(ResponseHead, Vec<u8>)> {
        let mut head = ResponseHead::new(self.status);
        match self.line {
            StatusLine::Usual => {}
            StatusLine::Titled(title) => head.set_status(self.status, Some(title.as_bytes())),
            StatusLine::Own(status, reason) => head.set_status(status, Some(&reason)),
            StatusLine::Silent => return None,
        }
        head.fields = self.fields;
        Some((head, self.body))
    }
}

/// Status, title and sentence of each page. The titles and the lengths are HAProxy's, so that byte
/// counts of logs compare; the sentences are ours.
const PAGES: [(u16, &str, &str); 21] = [
    (200, "OK", "All well here."),
    (400, "Bad request", "What was sent is not a valid request."),
    (
        401,
        "Unauthorized",
        "To see what is here, please give a user name and password.",
    ),
    (
        403,
        "Forbidden",
        "The rules of this site forbid the request.",
    ),
    (404, "Not Found", "Nothing is here under this name."),
    (
        405,
        "Method Not Allowed",
        "The method of this request is not one of those that can be used on what it asks about.",
    ),
    (
        407,
        "Unauthorized",
        "A user name and a password are needed to get through here.",
    ),
    (
        408,
        "Request Time-out",
        "The request was not here as a whole in the time set.",
    ),
    (
        410,
        "Gone",
        "What was here is gone for good and nothing will ever take its place.",
    ),
    (
        413,
        "Payload Too Large",
        "The request is larger than what is allowed here",
    ),
    (
        421,
        "Misdirected Request",
        "This request was for some different server.",
    ),
    (
        422,
        "Unprocessable Content",
        "The request is well formed but cannot be carried out.",
    ),
    (425, "Too Early", "It is too early to send this."),
    (
        426,
        "Upgrade Required",
        "This is only served over another protocol.",
    ),
    (
        429,
        "Too Many Requests",
        "Too many requests came in a short time: please wait a bit.",
    ),
    (
        431,
        "Request Header Fields Too Large",
        "The headers of the request are larger than is allowed.",
    ),
    (
        500,
        "Internal Server Error",
        "Something went wrong in this place",
    ),
    (
        501,
        "Not Implemented",
        "What the request asks for is not something that can be done by this server now.",
    ),
    (
        502,
        "Bad Gateway",
        "The answer that the server behind gave makes no sense.",
    ),
    (
        503,
        "Service Unavailable",
        "There is no server now to handle this request.",
    ),
    (
        504,
        "Gateway Time-out",
        "No answer came in the time it had.",
    ),
];

/// Title and body of the page for a status, or `None` where there is none.
pub fn page(status: u16) -> Option<(&'static str, Vec<u8>)> {
    let at = PAGES
        .binary_search_by_key(&status, |(known, _, _)| *known)
        .ok()?;
    let (_, title, sentence) = PAGES[at];
    let page = format!("<html><body><h1>{status} {title}</h1>\n{sentence}\n</body></html>\n");
    Some((title, page.into_bytes()))
}

/// The answer for a status with its page; without a body where there is none.
pub fn answer(status: u16) -> Answer {
    let mut answer = Answer::empty(status);
    // Its value is the writer's; here is its place.
    answer.fields.append("content-length", b"0");
    answer.fields.append("cache-control", b"no-cache");
    if let Some((title, page)) = page(status) {
        answer.line = StatusLine::Titled(title);
        answer.fields.append("content-type", b"text/html");
        if matches!(status, 400 | 408) {
            // Nobody knows where the next request would begin.
            answer.fields.append("connection", b"close");
        }
        answer.body = page;
    }
    answer
}

/// The answer that a file holds, in place of one with this status.
pub(crate) fn own(status: u16, own: &ErrorAnswer) -> Answer {
    let mut answer = Answer::empty(status);
    answer.line = StatusLine::Own(own.status, own.reason.clone());
    for (name, value) in &own.fields {
        answer.fields.append(name, value);
    }
    answer.body = own.body.to_vec();
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_table_is_found() {
        for (status, title, sentence) in PAGES {
            let (shown, page) = page(status).expect("it is in the table");
            assert_eq!(shown, title);
            let page = String::from_utf8(page).expect("it is text");
            assert!(
                page.starts_with(&format!("<html><body><h1>{status} ")),
                "{page}"
            );
            assert!(page.contains(sentence), "{page}");
        }
        assert_eq!(page(418), None);
        assert_eq!(answer(418).body, b"");
    }
}
