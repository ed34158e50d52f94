//! The pages shown for answers of our own: the shape is HAProxy's, the words are ours; `errorfile` and
//! its kin take their place.

use std::sync::Arc;

use config::model::{ErrorPage, ErrorPages};
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
            StatusLine::Own(status, reason) => head.set_status(status, Some(&reason)),
            StatusLine::Silent => return None,
        }
        head.fields = self.fields;
        Some((head, self.body))
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

/// The answer for a status on behalf of proxies: that of the first one that has a page of its own for
/// it, else ours. HAProxy asks the backend, then the frontend.
pub fn error(status: u16, proxies: &[&ErrorPages]) -> Answer {
    let mut answer = Answer::empty(status);
    match proxies.iter().find_map(|pages| pages.get(&status)) {
        None => return self::answer(status),
        Some(ErrorPage::Silent) => answer.line = StatusLine::Silent,
        Some(ErrorPage::Answer(own)) => {
            answer.line = StatusLine::Own(own.status, own.reason.clone());
            for (name, value) in &own.fields {
                answer.fields.append(name, value);
            }
            answer.body = own.body.to_vec();
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use config::model::ErrorAnswer;

    use super::*;

    /// What is sent for 503, as one line.
    fn check(proxies: &[&ErrorPages], expected: &str) {
        let answer = error(503, proxies);
        assert_eq!(answer.status, 503, "what is logged stays what happened");
        let sent = answer.into_message().map(|(head, body)| {
            let body = String::from_utf8_lossy(&body).into_owned();
            format!("{head:?} {body}")
        });
        assert!(
            sent.as_deref().unwrap_or("nothing").contains(expected),
            "{sent:?}"
        );
    }

    #[test]
    fn pages_of_ones_own_come_first_the_backends_before_the_frontends() {
        let page = |status, reason: &str| {
            ErrorPage::Answer(Arc::new(ErrorAnswer {
                status,
                reason: reason.as_bytes().into(),
                fields: vec![("x-page".into(), (*b"own").into())],
                body: (*b"gone").into(),
            }))
        };
        let none = ErrorPages::new();
        let front = ErrorPages::from([(503, page(503, "Front")), (500, ErrorPage::Silent)]);
        let back = ErrorPages::from([(503, page(404, "Back"))]);
        let silent = ErrorPages::from([(503, ErrorPage::Silent)]);
        check(&[], "503 Service Unavailable");
        check(&[&none, &none], "There is no server");
        check(&[&none, &front], "503 Front");
        check(&[&back, &front], "404 Back");
        check(&[&back, &front], "x-page");
        check(&[&back, &front], "gone");
        check(&[&silent, &front], "nothing");
    }

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
