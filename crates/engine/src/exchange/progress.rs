//! How far an exchange has come: what its two directions tell each other.
//!
//! ```text
//!  up    Going ─┬─ Abandoned ─┬─ Refused
//!               └─────────────┴─ Sent
//!  down  Silent ─ Heard ─┬─ Interim ⇄ Between ─┐
//!                        └─────────────────────┴─ Begun
//! ```
//!
//! Nothing leads back to the left: once the client has a byte of an answer, no other server is asked
//! for one; and only a request that was sent whole leaves a connection behind that is worth keeping.

use std::cell::Cell;

use super::{Failure, Outcome};
use crate::body_read::BodyRead;
use crate::client::{After, Announced};
use crate::end::{End, Stage};
use crate::retry::Cause;

/// The request on its way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Up {
    /// There is more to send.
    Going,
    /// The rest will not come: the client was to wait for a go-ahead.
    Abandoned,
    /// The server takes no more.
    Refused,
    /// Sent to its end.
    Sent,
}

/// The answer on its way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Down {
    /// Nothing has come.
    Silent,
    /// Bytes have come, and the client has none of them.
    Heard,
    /// An interim response is being written to the client.
    Interim,
    /// The client has an interim response, and waits for the final one.
    Between,
    /// The client has something of the final head.
    Begun(Marked),
}

/// What tells the client where the answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marked {
    /// Its head, or its chunks.
    ByItself,
    /// Nothing but the end of the connection.
    ByTheEnd,
}

/// Whether what was sent of the request is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    /// All of it.
    Whole,
    /// It was too much, or is never wanted.
    Lost,
}

/// What was relayed to its end, as far as the answer alone tells.
pub(super) struct Relayed {
    /// What the client was told of its connection.
    pub(super) client: Announced,
    /// Whether the server would take another request.
    pub(super) server_keeps: bool,
    /// Whether it knows the connection as one user's.
    pub(super) is_private: bool,
}

/// See the module.
pub(super) struct Progress {
    body: Cell<BodyRead>,
    up: Cell<Up>,
    down: Cell<Down>,
    copied: Cell<Copied>,
    cause: Cell<Option<Cause>>,
}

impl Progress {
    /// At the beginning of a try. `body`: what earlier ones have read.
    pub(super) fn new(body: BodyRead, is_copied: bool) -> Self {
        let copied = match is_copied {
            true => Copied::Whole,
            false => Copied::Lost,
        };
        Self {
            body: Cell::new(body),
            up: Cell::new(Up::Going),
            down: Cell::new(Down::Silent),
            copied: Cell::new(copied),
            cause: Cell::default(),
        }
    }

    /// That much of the body was read; less than before means nothing.
    pub(super) fn read(&self, body: BodyRead) {
        self.body.set(self.body.get().max(body));
    }

    /// How much of the body was read.
    pub(super) fn body(&self) -> BodyRead {
        self.body.get()
    }

    fn advance(&self, up: Up) {
        self.up.set(self.up.get().max(up));
    }

    /// The request was sent to its end.
    pub(super) fn sent(&self) {
        self.advance(Up::Sent);
    }

    /// The server takes no more of the request.
    pub(super) fn refused(&self) {
        self.advance(Up::Refused);
    }

    /// The rest of the request is not waited for, unless it was sent already.
    pub(super) fn abandon(&self) {
        self.advance(Up::Abandoned);
    }

    /// Whether the rest of the request is to be sent before the exchange is over.
    pub(super) fn has_more_to_send(&self) -> bool {
        self.up.get() == Up::Going
    }

    /// Whether it is the server's turn.
    pub(super) fn is_servers_turn(&self) -> bool {
        matches!(self.up.get(), Up::Refused | Up::Sent)
    }

    /// Whether the client will see the end of its request, as far as is known now.
    pub(super) fn may_end_well(&self) -> bool {
        match self.up.get() {
            Up::Going | Up::Sent => true,
            Up::Refused => self.body.get().end().is_some(),
            Up::Abandoned => false,
        }
    }

    /// What was sent is not kept any longer.
    pub(super) fn lose_copy(&self) {
        self.copied.set(Copied::Lost);
    }

    /// The server has sent something.
    pub(super) fn heard(&self) {
        if self.down.get() == Down::Silent {
            self.down.set(Down::Heard);
        }
    }

    /// Whether the server has sent something.
    pub(super) fn has_heard(&self) -> bool {
        self.down.get() != Down::Silent
    }

    /// An interim response is about to be written.
    pub(super) fn interim_begins(&self) {
        self.down.set(Down::Interim);
    }

    /// It was written.
    pub(super) fn interim_ends(&self) {
        self.down.set(Down::Between);
    }

    /// The final head is about to be written.
    pub(super) fn begin(&self, marked: Marked) {
        self.down.set(Down::Begun(marked));
    }

    /// Whether the client has got a final head, or part of it.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.down.get(), Down::Begun(_))
    }

    /// What the client is waiting for.
    pub(super) fn stage(&self) -> Stage {
        match self.has_begun() {
            true => Stage::Data,
            false => Stage::Headers,
        }
    }

    /// Whether the request can be sent again: the client has nothing of an answer, and all that was
    /// sent is kept.
    pub(super) fn is_repeatable(&self) -> bool {
        let untold = matches!(self.down.get(), Down::Silent | Down::Heard);
        untold && self.copied.get() == Copied::Whole
    }

    /// Why it would be sent again.
    pub(super) fn blame(&self, cause: Cause) {
        self.cause.set(Some(cause));
    }

    /// It broke off like this; `status`: what a client that has got nothing is told.
    pub(super) fn fail(&self, end: End, status: Option<u16>) -> Outcome {
        let down = self.down.get();
        // Behind part of an interim head no other one can stand.
        let status = status.filter(|_| !matches!(down, Down::Interim | Down::Begun(_)));
        Outcome::Failed(Failure {
            end,
            answered: down != Down::Silent,
            cause: self.cause.get().filter(|_| self.is_repeatable()),
            status,
            unframed: down == Down::Begun(Marked::ByTheEnd),
            body: self.body.get(),
        })
    }

    /// The answer was relayed to its end. The client's connection goes on if its request was read to
    /// the end, the server's can if it was sent to the end.
    pub(super) fn done(&self, relayed: &Relayed) -> Outcome {
        let client = match (relayed.client, self.body.get()) {
            (Announced::KeepAlive, BodyRead::Whole(end)) => After::KeepAlive(end),
            _ => After::Close,
        };
        Outcome::Done {
            client,
            server_reusable: relayed.server_keeps && self.up.get() == Up::Sent,
            is_private: relayed.is_private,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::h1::{BodyLength, BodyReader};

    use crate::body_read::BodyEnd;
    use crate::end::Side;

    const BROKEN: End = End::by(Side::Server, Stage::Headers);

    fn whole() -> BodyRead {
        let reader = BodyReader::new(BodyLength::Empty);
        BodyRead::Whole(BodyEnd::of(&reader).expect("an empty body has ended"))
    }

    /// Whether the request may be sent again, and the status for the client, after these steps.
    fn check_failure(steps: &[&dyn Fn(&Progress)], repeated: bool, status: Option<u16>) {
        let progress = Progress::new(BodyRead::None, true);
        progress.blame(Cause::Empty);
        for step in steps {
            step(&progress);
        }
        let Outcome::Failed(failure) = progress.fail(BROKEN, Some(502)) else {
            panic!("it failed");
        };
        assert_eq!(
            (failure.cause.is_some(), failure.status),
            (repeated, status)
        );
    }

    #[test]
    fn a_request_is_never_repeated_once_the_client_has_a_byte() {
        let heard: &dyn Fn(&Progress) = &|it| it.heard();
        let part: &dyn Fn(&Progress) = &|it| it.interim_begins();
        let interim: &dyn Fn(&Progress) = &|it| it.interim_ends();
        let begun: &dyn Fn(&Progress) = &|it| it.begin(Marked::ByItself);
        let more: &dyn Fn(&Progress) = &|it| it.read(BodyRead::Part);
        let lost: &dyn Fn(&Progress) = &|it| it.lose_copy();
        check_failure(&[], true, Some(502));
        check_failure(&[heard, more], true, Some(502));
        check_failure(&[lost, more], false, Some(502));
        check_failure(&[heard, part, heard, more], false, None);
        check_failure(&[heard, part, interim, heard, more], false, Some(502));
        check_failure(&[heard, begun, heard, more], false, None);
    }

    /// Whether both connections go on, after these steps and an answer that allows both.
    fn check_done(steps: &[&dyn Fn(&Progress)], kept: [bool; 2]) {
        let progress = Progress::new(BodyRead::None, false);
        for step in steps {
            step(&progress);
        }
        let relayed = Relayed {
            client: Announced::KeepAlive,
            server_keeps: true,
            is_private: false,
        };
        let Outcome::Done {
            client,
            server_reusable,
            ..
        } = progress.done(&relayed)
        else {
            panic!("it was relayed");
        };
        assert_eq!([client != After::Close, server_reusable], kept);
    }

    #[test]
    fn a_connection_goes_on_behind_a_whole_request_alone() {
        let part: &dyn Fn(&Progress) = &|it| it.read(BodyRead::Part);
        let all: &dyn Fn(&Progress) = &|it| it.read(whole());
        let sent: &dyn Fn(&Progress) = &|it| it.sent();
        let refused: &dyn Fn(&Progress) = &|it| it.refused();
        let abandoned: &dyn Fn(&Progress) = &|it| it.abandon();
        check_done(&[], [false, false]);
        check_done(&[part], [false, false]);
        check_done(&[part, refused], [false, false]);
        check_done(&[all, refused], [true, false]);
        check_done(&[abandoned], [false, false]);
        check_done(&[all, sent], [true, true]);
        check_done(&[all, sent, abandoned, part], [true, true]);
    }
}
