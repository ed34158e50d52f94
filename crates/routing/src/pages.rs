//! The pages shown for answers of our own: the shape is HAProxy's, the words are ours.

use wire::head::{Fields, ResponseHead};

/// An answer made here, ready to be sent. Its length and connection headers are the writer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers, without `content-length` and `connection`.
    pub fields: Fields,
    /// The body; not sent to HEAD, but its length is.
    pub body: Vec<u8>,
}

impl Answer {
    /// Without headers and body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            fields: Fields::new(),
            body: Vec::new(),
        }
    }

    /// The head, with the usual reason phrase.
    pub fn head(&self) -> ResponseHead {
        let mut head = ResponseHead::new(self.status);
        head.fields = self.fields.clone();
        head
    }
}

/// What each page says, by status.
const PAGES: [(u16, &str); 21] = [
    (200, "All is well here."),
    (400, "The request that was sent is not valid."),
    (401, "A user name and a password are needed to see this."),
    (403, "The rules of this site forbid this request."),
    (404, "There is nothing here by that name."),
    (405, "This cannot be asked for with that method."),
    (407, "A user name and a password are needed to pass."),
    (408, "The request did not arrive in time."),
    (410, "What was here is gone for good."),
    (413, "The request is larger than is allowed."),
    (421, "This request belongs to another server."),
    (422, "The request is well formed but cannot be carried out."),
    (
        425,
        "It is too early for this request: please send it again.",
    ),
    (426, "This is only served over another protocol."),
    (429, "Too many requests were sent: please wait a little."),
    (
        431,
        "The headers of the request are larger than is allowed.",
    ),
    (500, "Something went wrong here."),
    (501, "This is not something that can be done here."),
    (502, "The server behind gave an answer that is not valid."),
    (503, "There is no server to handle this request."),
    (504, "The server behind did not answer in time."),
];

/// The page for a status, or `None` where there is none.
pub fn page(status: u16) -> Option<Vec<u8>> {
    let at = PAGES
        .binary_search_by_key(&status, |(known, _)| *known)
        .ok()?;
    let head = ResponseHead::new(status);
    let phrase = String::from_utf8_lossy(head.reason());
    let sentence = PAGES[at].1;
    let page = format!("<html><body><h1>{status} {phrase}</h1>\n{sentence}\n</body></html>\n");
    Some(page.into_bytes())
}

/// The answer for a status with its page; without a body where there is none.
pub fn answer(status: u16) -> Answer {
    let mut answer = Answer::empty(status);
    answer.fields.append("cache-control", b"no-cache");
    if let Some(page) = page(status) {
        answer.fields.append("content-type", b"text/html");
        answer.body = page;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_table_is_found() {
        for (status, sentence) in PAGES {
            let page = String::from_utf8(page(status).expect("it is in the table"));
            let page = page.expect("it is text");
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
