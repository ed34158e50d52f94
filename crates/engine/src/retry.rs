//! Sending a request again (manual 4.2, "retry-on"): what must be kept of it for that, and whether
//! a failure is one to do it for.

use config::model::RetryOn;
use wire::h1::BodyReader;

use crate::client::Request;
use crate::site::BackendState;
use crate::worker::Worker;

/// What `retry-on` calls a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The connection ended and nothing had come.
    Empty,
    /// The connection ended in the middle of a head.
    Partial,
    /// What came is no response.
    Junk,
    /// Nothing came in time.
    Timeout,
    /// This status came.
    Status(u16),
}

/// Whether a request is to be sent again after `cause`. Half a head counts as an empty response, as
/// HAProxy 2.6 has it, and as junk, as its manual has it.
pub(crate) fn covers(retry_on: &RetryOn, cause: Cause) -> bool {
    match cause {
        Cause::Empty => retry_on.empty,
        Cause::Partial => retry_on.empty || retry_on.junk,
        Cause::Junk => retry_on.junk,
        Cause::Timeout => retry_on.timeout,
        Cause::Status(status) => retry_on.statuses.contains(&status),
    }
}

/// Whether the retry with which `left` of `retries` are left goes elsewhere by `option redispatch
/// interval`: every so many of them, and for a negative one counted from the last (-1) backwards.
pub(crate) fn is_due(interval: i32, retries: u32, left: u32) -> bool {
    let done = i64::from(retries) - i64::from(left);
    match i64::from(interval) {
        0 => false,
        every @ 1.. => done % every == 0,
        // Further back than the first retry is the first one.
        from_last => done % (i64::from(retries) + 1 + from_last).max(1) == 0,
    }
}

/// The part of a request's body that was sent already, to be sent once more. It is bounded by one
/// buffer (`tune.bufsize`), the head included: a longer request is not sent again.
pub(crate) struct Kept {
    /// As it was sent, chunk heads included; the head is written anew each time.
    sent: Vec<u8>,
    /// Where reading of the client's body goes on.
    reader: Option<BodyReader>,
    room: usize,
    fits: bool,
}

impl Kept {
    /// `None` where the request is never sent again anyway.
    pub(crate) fn of(request: &Request, backend: &BackendState, worker: &Worker) -> Option<Self> {
        let conf = backend.conf();
        let wanted =
            conf.retries > 0 && conf.retry_on.repeats() && !request.session.record.sent_once.get();
        wanted.then(|| Self {
            sent: Vec::new(),
            reader: None,
            room: worker.shared.site.load().config.global.tune.bufsize,
            fits: true,
        })
    }

    /// Writes what was sent before behind the head in `out`, and sets `reader` to where it was.
    pub(crate) fn resume(&self, reader: &mut BodyReader, out: &mut Vec<u8>) {
        if let Some(known) = &self.reader {
            *reader = known.clone();
        }
        out.extend_from_slice(&self.sent);
    }

    /// Keeps what was written to `out` behind `before`. Whether everything so far fits.
    pub(crate) fn add(&mut self, out: &[u8], before: usize, reader: &BodyReader) -> bool {
        if self.reader.is_none() {
            // The first piece stands behind the head.
            self.room = self.room.saturating_sub(before);
        }
        self.fits &= self.sent.len() + (out.len() - before) <= self.room;
        match self.fits {
            true => {
                self.sent.extend_from_slice(&out[before..]);
                self.reader = Some(reader.clone());
            }
            false => self.sent = Vec::new(),
        }
        self.fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::h1::BodyLength;

    fn kept(room: usize) -> Kept {
        Kept {
            sent: Vec::new(),
            reader: None,
            room,
            fits: true,
        }
    }

    #[test]
    fn what_fits_in_a_buffer_with_its_head_is_sent_again() {
        let mut kept = kept(10);
        let mut reader = BodyReader::new(BodyLength::Length(8));
        assert!(kept.add(b"HEADabc", 4, &reader));
        assert!(kept.add(b"def", 0, &reader));
        let mut again = b"HEAD".to_vec();
        kept.resume(&mut reader, &mut again);
        assert_eq!(again, b"HEADabcdef");
        assert!(!kept.add(b"g", 0, &reader));
        assert!(!kept.add(b"", 0, &reader), "once lost, always lost");
    }

    /// Which of four retries go elsewhere; seen of HAProxy 2.6, which does not survive -5.
    #[test]
    fn every_nth_retry_goes_elsewhere_from_either_end() {
        let due = |interval| [3, 2, 1, 0].map(|left| is_due(interval, 4, left));
        assert_eq!(due(0), [false; 4]);
        assert_eq!(due(1), [true; 4]);
        assert_eq!(due(2), [false, true, false, true]);
        assert_eq!(due(3), [false, false, true, false]);
        assert_eq!(due(-1), [false, false, false, true]);
        assert_eq!(due(-2), [false, false, true, false]);
        assert_eq!(due(-3), [false, true, false, true]);
        assert_eq!(due(-4), [true; 4]);
        assert_eq!(due(-5), [true; 4]);
        assert_eq!(due(i32::MIN), [true; 4]);
    }

    #[test]
    fn a_failure_is_retried_where_retry_on_names_it() {
        let named = |retry_on: RetryOn| {
            let all = [
                Cause::Empty,
                Cause::Partial,
                Cause::Junk,
                Cause::Timeout,
                Cause::Status(503),
            ];
            all.map(|cause| covers(&retry_on, cause))
        };
        assert_eq!(named(RetryOn::default()), [false; 5]);
        let empty = RetryOn {
            empty: true,
            ..RetryOn::NONE
        };
        assert_eq!(named(empty), [true, true, false, false, false]);
        let status = RetryOn {
            statuses: vec![503],
            timeout: true,
            ..RetryOn::NONE
        };
        assert_eq!(named(status), [false, false, false, true, true]);
    }
}
