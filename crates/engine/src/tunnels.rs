//! A worker's open tunnels: an event loop of their own, and one timer for all.
//!
//! One task of the worker serves its reactor: it passes events on to the tasks that wait for sockets, and runs
//! the tunnels concerned itself, each for a bounded turn. It lets the other tasks run when nothing is left to
//! do, when a batch of bytes was moved, and while more waits for it: further events, another turn, or ends,
//! which come a few at a time. So a message wakes no task, and a tunnel that waits has none.
//!
//! A message touches no timer: it only stores the time. Each tunnel stands once in a list ordered by
//! deadline; when a deadline comes, a tunnel that was active meanwhile is put back further on. So an
//! hour of `timeout tunnel` costs one look an hour, however many messages pass.

mod deadlines;
mod moving;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use routing::balance::ServerKey;
use rustix::event::epoll::EventFlags;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::log::Level;
use crate::panics::guarded;
use crate::reactor::{Events, Reactor};
use crate::session::Session;
use crate::sessions::LOOKED_AT;
use crate::site::{BackendKey, Heirs};
use crate::slab::{Slab, Token};
use crate::stream::Stream;
use crate::tunnel::{Carries, Then, Tunnel, Wire};
use crate::worker::Worker;

use deadlines::{Deadlines, NEVER};
pub(crate) use moving::{Adopted, Offered};

/// Bytes that tunnels may move before events are looked at anew and the runtime's other tasks get their
/// turn: one or two tenths of a millisecond of work.
const BYTES_PER_BATCH: usize = 256 * 1024;

/// Tunnels that are ended before others get their turn: an end writes a log line and closes two sockets,
/// so this is about a millisecond of work.
const ENDS_PER_BATCH: usize = 32;

/// All tunnels of a worker. Their number is bounded by the process's `maxconn`.
pub(crate) struct Tunnels {
    clock: Clock,
    reactor: Rc<Reactor>,
    open: RefCell<Slab<Box<Open>>>,
    /// Those that may be silent for ever have none.
    deadlines: RefCell<Deadlines>,
    sooner: Notify,
    /// Tunnels whose turn was over before they were done. Each stands here once at most.
    again: RefCell<VecDeque<Token>>,
    /// Tunnels that are to end. Each stands here once at most.
    ending: RefCell<VecDeque<Token>>,
    /// Who serves them.
    waker: RefCell<Option<Waker>>,
}

/// A tunnel at its place.
struct Open {
    tunnel: Tunnel,
    /// The deadline it stands under; it may have moved on since.
    listed: u64,
    /// Whether it waits for another turn.
    waits: bool,
    /// Who ends it, where it waits for its end. It moves nothing more.
    ended_by: Option<Side>,
    /// Whether another process is asked to take it. It moves nothing until that has answered.
    offered: bool,
}

impl Open {
    fn new(tunnel: Tunnel) -> Box<Self> {
        Box::new(Self {
            tunnel,
            listed: NEVER,
            waits: false,
            ended_by: None,
            offered: false,
        })
    }

    /// Whether it goes on here.
    fn lives(&self) -> bool {
        self.ended_by.is_none() && !self.offered
    }
}

/// A stream with what has arrived by it already.
pub(crate) struct Arrived {
    /// The stream.
    pub(crate) stream: Stream,
    /// What goes first.
    pub(crate) early: Vec<u8>,
}

impl Tunnels {
    /// None yet. Fails where the system has no descriptor left for this thread's reactor.
    pub(crate) fn new(clock: Clock) -> io::Result<Self> {
        Ok(Self {
            clock,
            reactor: Reactor::start()?,
            open: RefCell::default(),
            deadlines: RefCell::default(),
            sooner: Notify::new(),
            again: RefCell::default(),
            ending: RefCell::default(),
            waker: RefCell::default(),
        })
    }

    /// Opens a tunnel between two streams.
    pub(crate) fn open(
        &self,
        client: Arrived,
        server: Arrived,
        carries: Carries,
        mut session: Box<Session>,
        worker: &Rc<Worker>,
    ) {
        session.forget_credentials();
        session.tunnel_opened();
        session.count_in(client.early.len());
        session.count_out(server.early.len());
        let failed = End::by(Side::Internal, Stage::Data);
        let (client_wire, server_wire) =
            match (client.stream.into_wire(), server.stream.into_wire()) {
                (Ok(client), Ok(server)) => (client, server),
                (client, server) => {
                    for wire in client.into_iter().chain(server) {
                        self.close(wire);
                    }
                    return close(session, failed);
                }
            };
        let session = match session.rest() {
            Ok(session) => session,
            Err(session) => {
                self.close(client_wire);
                self.close(server_wire);
                debug_assert!(
                    false,
                    "somebody else still has a connection that becomes a tunnel"
                );
                let message = "A fault of ours has ended a session that became a tunnel.";
                worker.shared.say(Level::Alert, message);
                return close(session, failed);
            }
        };
        let (client, server) = ((client_wire, client.early), (server_wire, server.early));
        let tunnel = Tunnel::new(client, server, carries, session, self.clock.millis());
        self.insert(tunnel, worker);
    }

    /// It has its place and its deadline from now on, and its first turn at once.
    fn insert(&self, tunnel: Tunnel, worker: &Rc<Worker>) {
        let token = self.open.borrow_mut().insert(Open::new(tunnel));
        self.listen(token);
        self.place(token);
        // What arrived early, and what TLS has decrypted already, is told by no event.
        self.run(token, self.clock.millis(), worker);
    }

    /// Hears of both its sockets from now on.
    fn listen(&self, token: Token) {
        let mut open = self.open.borrow_mut();
        let Some(it) = open.get_mut(token) else {
            return;
        };
        for side in [Side::Client, Side::Server] {
            let place = it.tunnel.wire(side).socket_mut().place();
            self.reactor.belongs_to(place, token.place(), side);
        }
    }

    /// Something happened to an end of the tunnel at a place. Returns how many bytes that moved.
    fn happened(
        &self,
        (place, side): (u32, Side),
        event: EventFlags,
        now: u64,
        worker: &Rc<Worker>,
    ) -> usize {
        let mut open = self.open.borrow_mut();
        let Some((token, _)) = open.at(place) else {
            return 0;
        };
        if let Some(it) = open.get_mut(token) {
            it.tunnel.wire(side).socket_mut().note(event);
        }
        drop(open);
        self.run(token, now, worker)
    }

    /// Gives a tunnel its turn. Returns how many bytes it moved.
    fn run(&self, token: Token, now: u64, worker: &Rc<Worker>) -> usize {
        let moved = guarded(|| self.take_turn(token, now, worker));
        moved.unwrap_or_else(|| {
            self.fail(token, worker);
            0
        })
    }

    /// Ends a tunnel that a fault of ours has hit; all others live on.
    fn fail(&self, token: Token, worker: &Rc<Worker>) {
        let say = |message| worker.shared.say(Level::Alert, message);
        say("A fault of ours has ended a tunnel; all others live on.");
        if let Some(it) = self.open.borrow_mut().get_mut(token) {
            let session = it.tunnel.session();
            session.count_everywhere(Count::InternalErrors, worker.index);
        }
        self.end(token, End::by(Side::Internal, Stage::Data), worker);
    }

    fn take_turn(&self, token: Token, now: u64, worker: &Rc<Worker>) -> usize {
        let mut open = self.open.borrow_mut();
        // It may have ended since this was asked for, or is about to, or to go elsewhere.
        let Some(it) = open.get_mut(token).filter(|it| it.lives()) else {
            return 0;
        };
        let turn = it
            .tunnel
            .run(&mut worker.scratch.borrow_mut(), now, worker.index);
        #[cfg(test)]
        tests::meet_a_fault(&worker.scratch.borrow()[..turn.moved.min(64)]);
        let mut then = turn.then;
        if let Then::Wait | Then::Again = then
            && self.heed(&mut it.tunnel).is_err()
        {
            then = Then::Over(End::by(Side::Internal, Stage::Data));
        }
        if let Then::Again = then
            && !std::mem::replace(&mut it.waits, true)
        {
            self.again.borrow_mut().push_back(token);
            self.wake();
        }
        drop(open);
        match then {
            Then::Over(end) => self.end(token, end, worker),
            _ if turn.half_closed => self.place(token),
            _ => {}
        }
        turn.moved
    }

    /// Where a socket has no more room, the queue is to tell when it has.
    fn heed(&self, tunnel: &mut Tunnel) -> io::Result<()> {
        for side in [Side::Client, Side::Server] {
            let socket = tunnel.wire(side).socket_mut();
            if let Some(heard) = socket.more_to_hear() {
                self.reactor.change(&*socket, socket.place(), heard)?;
            }
        }
        Ok(())
    }

    /// Closes one end. The queue forgets a socket that is closed.
    fn close(&self, mut wire: Wire) {
        self.reactor.forget(wire.socket_mut().place());
    }

    /// Puts it under its deadline.
    fn place(&self, token: Token) {
        let mut open = self.open.borrow_mut();
        let Some(it) = open.get_mut(token) else {
            return;
        };
        let deadline = it.tunnel.deadline();
        let mut deadlines = self.deadlines.borrow_mut();
        if deadlines.put(token.place(), &mut it.listed, deadline) {
            self.sooner.notify_one();
        }
    }

    /// It has ended.
    fn end(&self, token: Token, end: End, worker: &Rc<Worker>) {
        self.end_after(|_| {}, token, end, worker);
    }

    /// It is to end once its peers are told.
    fn end_after(&self, tell: fn(&mut Tunnel), token: Token, end: End, worker: &Rc<Worker>) {
        let Some(mut it) = self.open.borrow_mut().remove(token) else {
            return;
        };
        let mut deadlines = self.deadlines.borrow_mut();
        deadlines.put(token.place(), &mut it.listed, NEVER);
        drop(deadlines);
        let told = guarded(|| tell(&mut it.tunnel));
        let (wires, session) = it.tunnel.into_parts();
        let closed = guarded(|| close(session.wake(worker), end));
        if told.and(closed).is_none() {
            let message = "A fault of ours has hit a tunnel that has ended; all others live on.";
            worker.shared.say(Level::Alert, message);
        }
        wires.into_iter().for_each(|wire| self.close(wire));
    }

    /// Ends all tunnels of a server: backend (by position), server. They move nothing from now on, and
    /// end one after the other while others go on.
    pub(crate) fn close_server(&self, server: (BackendKey, ServerKey), by: Side) {
        let mut open = self.open.borrow_mut();
        let concerned = open
            .iter_mut()
            .filter(|(_, it)| it.lives() && it.tunnel.session().is_on(server));
        let mut ending = self.ending.borrow_mut();
        for (token, it) in concerned {
            it.ended_by = Some(by);
            ending.push_back(token);
        }
        drop(ending);
        self.wake();
    }

    /// Has those at some places from one on go over to what is in force now. Says where to go on.
    pub(crate) fn renew(&self, from: u32, heirs: &Heirs) -> Option<u32> {
        let mut open = self.open.borrow_mut();
        let to = from.saturating_add(LOOKED_AT);
        for place in from..to.min(open.len()) {
            if let Some(it) = open.at_mut(place) {
                it.tunnel.renew(heirs);
            }
        }
        (to < open.len()).then_some(to)
    }

    /// Names those of a server (`None`: all) that stand at some places from one on. Says where to go on.
    pub(crate) fn names(
        &self,
        from: u32,
        server: Option<(BackendKey, ServerKey)>,
        names: &mut Vec<Token>,
    ) -> Option<u32> {
        let open = self.open.borrow();
        let to = from.saturating_add(LOOKED_AT);
        for place in from..to.min(open.len()) {
            let found = open.at(place).filter(|(_, it)| it.ended_by.is_none());
            let concerns = |it: &Open| server.is_none_or(|key| it.tunnel.session().is_on(key));
            if let Some((token, _)) = found.filter(|(_, it)| concerns(it)) {
                names.push(token);
            }
        }
        (to < open.len()).then_some(to)
    }

    /// Has a tunnel take its leave, WebSockets with this status; `false`: it has ended, or does so already.
    pub(crate) fn part(&self, token: Token, code: u16, worker: &Rc<Worker>) -> bool {
        let now = self.clock.millis();
        let mut open = self.open.borrow_mut();
        let found = open.get_mut(token).filter(|it| it.ended_by.is_none());
        if !found.is_some_and(|it| it.tunnel.part(code, now)) {
            return false;
        }
        drop(open);
        self.place(token);
        self.run(token, now, worker);
        true
    }

    /// Shows who stands at some places from one on: how it is called, and how long it may still be silent.
    /// Says where to go on.
    pub(crate) fn look(
        &self,
        from: u32,
        mut see: impl FnMut((u32, u32), &Tunnel, Option<Duration>),
    ) -> Option<u32> {
        let open = self.open.borrow();
        let (now, to) = (self.clock.millis(), from.saturating_add(LOOKED_AT));
        for place in from..to.min(open.len()) {
            let found = open.at(place).filter(|(_, it)| it.ended_by.is_none());
            if let Some((token, it)) = found {
                let deadline = Some(it.tunnel.deadline()).filter(|it| *it != NEVER);
                let left = deadline.map(|it| Duration::from_millis(it.saturating_sub(now)));
                see((place, token.generation()), &it.tunnel, left);
            }
        }
        (to < open.len()).then_some(to)
    }

    /// How who stands at a place is called.
    pub(crate) fn name_at(&self, place: u32) -> Option<(u32, u32)> {
        let open = self.open.borrow();
        let found = open.at(place).filter(|(_, it)| it.ended_by.is_none());
        found.map(|(token, _)| (place, token.generation()))
    }

    /// Ends who stands at a place, for an operator.
    pub(crate) fn close_at(&self, place: u32) {
        let mut open = self.open.borrow_mut();
        let Some(token) = open.at(place).map(|(token, _)| token) else {
            return;
        };
        if let Some(it) = open.get_mut(token).filter(|it| it.lives()) {
            it.ended_by = Some(Side::Killed);
            self.ending.borrow_mut().push_back(token);
        }
        self.wake();
    }

    /// Ends some of those that are to end.
    fn end_some(&self, worker: &Rc<Worker>) {
        for _ in 0..ENDS_PER_BATCH {
            let Some(token) = self.next_ending() else {
                break;
            };
            let by = self
                .open
                .borrow_mut()
                .get_mut(token)
                .and_then(|it| it.ended_by);
            let end = End::by(by.unwrap_or(Side::Killed), Stage::Data);
            self.end_after(Tunnel::shut_down, token, end, worker);
        }
    }

    fn next_ending(&self) -> Option<Token> {
        let mut ending = self.ending.borrow_mut();
        let next = ending.pop_front();
        if ending.is_empty() {
            // It is as long as a server had tunnels, and seldom needed.
            *ending = VecDeque::new();
        }
        next
    }

    /// Ends all tunnels: a hard stop.
    pub(crate) fn end_all(&self, worker: &Rc<Worker>) {
        let open = self.open.borrow();
        let by = |it: &Open| it.ended_by.unwrap_or(Side::Killed);
        let all: Vec<(Token, Side)> = open.iter().map(|(token, it)| (token, by(it))).collect();
        drop(open);
        for (token, by) in all {
            self.end(token, End::by(by, Stage::Data), worker);
        }
    }

    /// Runs for ever: ends tunnels whose time is up.
    pub(crate) async fn expire_all(&self, worker: &Rc<Worker>) {
        loop {
            let next = self.deadlines.borrow().first();
            match next {
                None => self.sooner.notified().await,
                Some(deadline) => {
                    let wait = deadline.saturating_sub(self.clock.millis());
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(wait)) => {}
                        () = self.sooner.notified() => {}
                    }
                }
            }
            while self.expire_some(self.clock.millis(), worker) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Ends some of those whose time is up; `false`: there are no more.
    fn expire_some(&self, now: u64, worker: &Rc<Worker>) -> bool {
        for _ in 0..ENDS_PER_BATCH {
            let Some(place) = self.due(now) else {
                return false;
            };
            let open = self.open.borrow();
            let waiting = open.at(place).filter(|(_, it)| it.lives());
            let found = waiting.map(|(token, it)| {
                let silent = (it.tunnel.deadline() <= now).then(|| it.tunnel.silent_side());
                (token, silent)
            });
            drop(open);
            match found {
                Some((token, None)) => self.place(token),
                Some((token, Some(side))) => {
                    let end = End::by(side, Stage::Data);
                    self.end_after(Tunnel::take_leave, token, end, worker);
                }
                // Who has ended is not on the list, and who is about to needs no deadline; who stays after all is
                // put there again.
                None => self.deadlines.borrow_mut().drop_first(),
            }
        }
        true
    }

    /// Who is due first. Nothing stays borrowed meanwhile.
    fn due(&self, now: u64) -> Option<u32> {
        self.deadlines.borrow().due(now)
    }

    /// Waits until there is something to do; takes what there is of events.
    async fn next(&self, events: &mut Events) -> io::Result<()> {
        poll_fn(|cx| {
            self.hear_from(cx.waker());
            self.reactor.poll_next(cx, events, self.has_left_over())
        })
        .await
    }

    fn hear_from(&self, server: &Waker) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|it| it.will_wake(server)) {
            *waker = Some(server.clone());
        }
    }

    /// Whoever serves the tunnels has something to do that no event tells.
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Whether there is something to do that no event tells.
    fn has_left_over(&self) -> bool {
        !self.again.borrow().is_empty() || !self.ending.borrow().is_empty()
    }

    /// The next one that waits for another turn.
    fn next_again(&self) -> Option<Token> {
        let token = self.again.borrow_mut().pop_front()?;
        if let Some(it) = self.open.borrow_mut().get_mut(token) {
            it.waits = false;
        }
        Some(token)
    }
}

/// Runs for ever: serves the sockets of a worker, those of its tunnels itself. Ends where the system tells
/// nothing of them any more.
pub(crate) async fn relay(worker: Rc<Worker>) {
    let tunnels = &worker.tunnels;
    let mut events = Box::new(Events::new());
    loop {
        if let Err(error) = tunnels.next(&mut events).await {
            let message = format!("Cannot hear of sockets any more: {error}");
            worker.shared.say(Level::Alert, &message);
            return;
        }
        let mut moved = 0;
        let mut now = tunnels.clock.millis();
        for (name, event) in events.iter() {
            let Some(tunnel) = tunnels.reactor.tell(name, event) else {
                continue;
            };
            moved += tunnels.happened(tunnel, event, now, &worker);
            if moved >= BYTES_PER_BATCH {
                moved = 0;
                tokio::task::yield_now().await;
                now = tunnels.clock.millis();
            }
        }
        // Those that come here anew meanwhile wait until events have been looked at, and so do those that
        // have not come to their turn when there was enough to do: somebody else may have little to send.
        let waiting = tunnels.again.borrow().len();
        for _ in 0..waiting {
            let Some(token) = tunnels.next_again() else {
                break;
            };
            moved += tunnels.run(token, now, &worker);
            if moved >= BYTES_PER_BATCH {
                break;
            }
        }
        tunnels.end_some(&worker);
        if events.is_full() || tunnels.has_left_over() {
            tokio::task::yield_now().await;
        }
    }
}

/// A session whose tunnel has ended, or never opened.
fn close(session: Box<Session>, end: End) {
    session.tunnel_closed();
    session.finish(end);
}

impl Session {
    /// Counts tunnels where they are shown: process, frontend, backend, server.
    fn tunnel_opened(&self) {
        self.each_tunnel_gauge(|gauge, counters, writer| {
            gauge.enter();
            counters.add(writer, Count::Tunnels, 1);
        });
    }

    pub(crate) fn tunnel_closed(&self) {
        self.each_tunnel_gauge(|gauge, _, _| {
            gauge.leave();
        });
    }
}
