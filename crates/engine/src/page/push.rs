//! News of the fleet, posted (`use-service node-push`): the body is read when the desk has seen the head, and
//! what the desk says is handed back.

use std::rc::Rc;
use std::time::Duration;

use routing::rules::Answer;
use wire::h1::BodyLength;

use super::post;
use crate::client::{After, Client, Request};
use crate::news_desk::{NotRead, PUSH_LEN_MAX, PUSH_TIME_MAX, PushAnswer, PushHead};
use crate::timing::within;
use crate::worker::Worker;

/// How long the desk may take: a list of ten thousand nodes is in force in a fraction of it.
const DESK_TIME_MAX: Duration = Duration::from_secs(10);

/// Answers one push.
pub(super) async fn serve(
    client: &mut Client,
    request: &mut Request,
    worker: &Rc<Worker>,
) -> After {
    let answer = ask(client, request, worker).await;
    client.reply(request, told(answer)).await
}

async fn ask(client: &mut Client, request: &mut Request, worker: &Rc<Worker>) -> PushAnswer {
    let Some(desk) = worker.shared.news_desk().clone() else {
        return nobody();
    };
    let head = PushHead {
        method: request.head.method.as_bytes(),
        keys: request.head.fields.get_all("x-api-key").collect(),
        length: match request.body {
            BodyLength::Length(length) => Some(length),
            BodyLength::Empty => Some(0),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        },
    };
    let push = match desk.admit(&head) {
        Ok(push) => push,
        Err(answer) => return answer,
    };
    let reading = post::read(client, request, PUSH_LEN_MAX);
    let taken = match within(Some(PUSH_TIME_MAX), reading).await {
        Ok(Ok(body)) => push.take(body),
        Ok(Err(_)) => return push.not_read(NotRead::TooLong),
        Err(_) => return push.not_read(NotRead::TooSlow),
    };
    let answer = within(Some(DESK_TIME_MAX), taken).await;
    answer.unwrap_or_else(|_| nobody())
}

/// There is no fleet, or its loop is not there yet, not any more, or hangs.
fn nobody() -> PushAnswer {
    PushAnswer {
        status: 503,
        body: r#"{"error":"there is no discovery here that takes news of nodes, or it is not running yet"}"#.to_owned(),
        retry_after: Some(Duration::from_secs(1)),
    }
}

fn told(answer: PushAnswer) -> Answer {
    let mut told = Answer::empty(answer.status);
    let fields = &mut told.fields;
    fields.append("content-type", b"application/json; charset=utf-8");
    fields.append("cache-control", b"no-store");
    fields.append("x-content-type-options", b"nosniff");
    if answer.status == 405 {
        fields.append("allow", b"POST");
    }
    if let Some(after) = answer.retry_after {
        let seconds = after.as_secs().max(1).to_string();
        fields.append("retry-after", seconds.as_bytes());
    }
    told.body = answer.body.into_bytes();
    told
}
