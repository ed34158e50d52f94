//! A session at rest that goes to another process, and one that comes from there. What it counts for stays behind:
//! the new process takes it into its own books.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::expr::VarName;
use config::model::{LogLevel, Timeouts};
use config::source::Span as Place;
use routing::sample::ConnectionError;
use routing::variables::Store;

use super::{Address, Rare, Resting, Span};
use crate::handover::state::{NotesState, SessionState, TrackedState, VariableState};
use crate::listener::ListenerPlace;
use crate::places::Places;
use crate::server::ServerState;
use crate::session::captures::Notes;
use crate::shared::Shared;
use crate::site::{BackendState, FrontendState};
use crate::stick::{StickTables, Tracking};
use crate::worker::{RestingRoom, Worker};

/// What stands for no line at all among the severities.
const SILENT: u8 = u8::MAX;

/// Whom a session from another process is counted for here, and its places below limits.
pub(crate) struct Known {
    frontend: Arc<FrontendState>,
    bind: usize,
    backend: Option<Arc<BackendState>>,
    server: Option<Arc<ServerState>>,
    places: Places,
}

impl Known {
    /// `None`: something of it is not here (any more, or not yet), or there is no room.
    pub(crate) fn find(state: &SessionState, shared: &Shared) -> Option<Self> {
        let site = shared.site.load();
        let frontends = site.frontends.iter();
        let frontend = frontends
            .clone()
            .find(|it| **it.name() == *state.frontend)?;
        let binds = &frontend.conf().binds;
        let bind = binds.iter().position(|bind| *bind.text == *state.bind)?;
        let backend = match &state.backend {
            Some(name) => Some(
                site.backends
                    .iter()
                    .find(|it| **it.name() == **name)?
                    .clone(),
            ),
            None => None,
        };
        let server = match (&state.server, &backend) {
            (Some(name), Some(backend)) => Some(backend.pool().server(name)?.clone()),
            (Some(_), None) => return None,
            (None, _) => None,
        };
        Some(Self {
            places: Places::find_now(shared, frontend, bind)?,
            frontend: frontend.clone(),
            bind,
            backend,
            server,
        })
    }
}

impl Resting {
    /// What another process needs to know of it; `None`: it must stay, since its connections are TLS, or are
    /// not as they should be.
    pub(crate) fn state(&self) -> Option<SessionState> {
        let rare = self.rare.as_deref();
        let stays = |rare: &Rare| {
            let tls = rare.tls.is_some() || rare.server_tls.is_some();
            tls || rare.error != ConnectionError::None || rare.slot.is_some()
        };
        if self.room.tls || rare.is_some_and(stays) {
            return None;
        }
        let name = |name: &Arc<str>| name.to_string();
        let bind = self
            .frontend
            .conf()
            .binds
            .get(usize::from(self.room.bind))?;
        let spans = [
            self.handshake,
            self.idle,
            self.request,
            self.queue,
            self.connect,
            self.response,
        ];
        Some(SessionState {
            frontend: name(self.frontend.name()),
            bind: name(&bind.text),
            backend: self.backend.as_ref().map(|it| name(it.name())),
            server: self.server.as_ref().map(|it| name(&it.conf.name)),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            date: self.date,
            age: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            request_line: self.request_line.to_vec(),
            src: self.src.wake(),
            dst: self.dst.wake(),
            peer: rare.and_then(|rare| rare.peer),
            times: spans.map(Span::wake),
            retries: self.retries,
            status: self.status,
            cookies: self.cookies,
            flags: [
                self.has_peer,
                self.entered,
                self.placed,
                self.logged,
                self.heard,
                self.is_first,
                self.received_proxy,
                self.redispatched,
                self.sent_once,
            ],
            server_queue: rare.map_or(0, |rare| rare.server_queue),
            backend_queue: rare.map_or(0, |rare| rare.backend_queue),
            timeouts: rare.and_then(|rare| rare.timeouts.as_ref()).map(|both| {
                let of = |it: &Timeouts| {
                    [
                        it.client,
                        it.client_fin,
                        it.server,
                        it.server_fin,
                        it.tunnel,
                    ]
                };
                [of(&both.0), of(&both.1)]
            }),
            variables: rare
                .and_then(|rare| rare.variables.as_deref())
                .map_or_else(Vec::new, variables),
            tracking: rare.map_or_else(Vec::new, |rare| tracked(&rare.tracking)),
            notes: rare.and_then(|rare| rare.notes.as_deref()).map(notes),
        })
    }

    /// One that another process has had, on this worker from now on.
    pub(crate) fn adopt(state: SessionState, known: Known, worker: &Rc<Worker>) -> Self {
        let shared = &worker.shared;
        let site = shared.site.load();
        let Known {
            frontend,
            bind,
            backend,
            server,
            places,
        } = known;
        let [
            has_peer,
            entered,
            placed,
            logged,
            heard,
            is_first,
            received_proxy,
            redispatched,
            sent_once,
        ] = state.flags;
        shared.spread.enter(worker.index);
        shared.connections.enter();
        frontend.sessions.enter();
        let listener = frontend.listeners.get(bind).map(ListenerPlace::adopt);
        let (entered, placed) = (entered && backend.is_some(), placed && server.is_some());
        if let Some(backend) = &backend {
            if entered {
                backend.sessions.enter();
            }
            if placed && let Some(server) = &server {
                backend.place_anyway(server).rest();
            }
        }
        let own = state.timeouts.map(|[front, back]| {
            let with = |times: [Option<Duration>; 5], others: &Timeouts| {
                let [client, client_fin, server, server_fin, tunnel] = times;
                Timeouts {
                    client,
                    client_fin,
                    server,
                    server_fin,
                    tunnel,
                    ..*others
                }
            };
            let configured = &frontend.conf().proxy.timeouts;
            Box::new((with(front, configured), with(back, configured)))
        });
        let rare = Rare {
            peer: state.peer,
            variables: store(state.variables).map(Box::new),
            timeouts: own,
            notes: state.notes.map(|it| Box::new(own_notes(it, &site.stick))),
            tracking: tracking(state.tracking, &site.stick),
            server_queue: state.server_queue,
            backend_queue: state.backend_queue,
            ..Rare::default()
        };
        let age = Duration::from_micros(state.age);
        let now = Instant::now();
        let [handshake, idle, request, queue, connect, response] = state.times.map(Span::new);
        let it = Self {
            room: RestingRoom {
                listener,
                owed: places.owe(),
                tls: false,
                bind: u16::try_from(bind).unwrap_or(u16::MAX),
            },
            frontend,
            backend,
            server,
            rare: rare.boxed(),
            bytes_in: state.bytes_in,
            bytes_out: state.bytes_out,
            date: state.date,
            started: now.checked_sub(age).unwrap_or(now),
            request_line: state.request_line.into(),
            src: Address::new(state.src),
            dst: Address::new(state.dst),
            handshake,
            idle,
            request,
            queue,
            connect,
            response,
            retries: state.retries,
            status: state.status,
            cookies: state.cookies,
            has_peer,
            entered,
            placed,
            logged,
            heard,
            is_first,
            received_proxy,
            redispatched,
            sent_once,
        };
        shared.tunnels.enter();
        it.frontend.tunnels.enter();
        if let Some(backend) = &it.backend {
            backend.tunnels.enter();
        }
        if let Some(server) = &it.server {
            server.tunnels.enter();
        }
        it
    }
}

fn variables(store: &Store) -> Vec<VariableState> {
    let all = store.iter().map(|(name, value)| VariableState {
        name: name.to_string(),
        value: value.clone(),
    });
    all.collect()
}

/// What is no variable's name here is left out.
fn store(states: Vec<VariableState>) -> Option<Store> {
    let mut store = Store::default();
    for state in &states {
        if let Ok(name) = VarName::parse(&state.name, Place::default()) {
            store.set(&name, Some(state.value.clone()));
        }
    }
    (!states.is_empty()).then_some(store)
}

fn tracked(tracking: &Tracking) -> Vec<TrackedState> {
    let all = tracking
        .entries()
        .map(|(counter, table, key)| TrackedState {
            counter,
            table: table.to_string(),
            key,
        });
    all.collect()
}

/// What is in no table here is not tracked.
fn tracking(states: Vec<TrackedState>, tables: &StickTables) -> Tracking {
    let mut tracking = Tracking::default();
    for state in states {
        let table = tables.all().iter().find(|it| *it.name == *state.table);
        if let Some(tracked) = table.and_then(|table| table.track_again(&state.key)) {
            tracking.add(state.counter, tracked);
        }
    }
    tracking
}

fn notes(notes: &Notes) -> NotesState {
    let texts = |texts: &[Option<Box<[u8]>>]| {
        let texts = texts.iter().map(|it| it.as_deref().map(<[u8]>::to_vec));
        texts.collect()
    };
    let text = |text: &Option<Box<[u8]>>| text.as_deref().map(<[u8]>::to_vec);
    NotesState {
        request: texts(&notes.request),
        response: texts(&notes.response),
        request_cookie: text(&notes.request_cookie),
        response_cookie: text(&notes.response_cookie),
        unique_id: text(&notes.unique_id),
        number: notes.number,
        level: notes.level.map(|level| match level {
            LogLevel::Silent => SILENT,
            LogLevel::Severity(severity) => severity,
        }),
        source: notes.source,
        variables: variables(&notes.variables),
        tracking: tracked(&notes.tracking),
    }
}

fn own_notes(state: NotesState, tables: &StickTables) -> Notes {
    let texts = |texts: Vec<Option<Vec<u8>>>| {
        let texts = texts.into_iter().map(|it| it.map(Vec::into_boxed_slice));
        texts.collect()
    };
    Notes {
        request: texts(state.request),
        response: texts(state.response),
        request_cookie: state.request_cookie.map(Vec::into_boxed_slice),
        response_cookie: state.response_cookie.map(Vec::into_boxed_slice),
        unique_id: state.unique_id.map(Vec::into_boxed_slice),
        number: state.number,
        level: state.level.map(|level| match level {
            SILENT => LogLevel::Silent,
            severity => LogLevel::Severity(severity.min(7)),
        }),
        source: state.source,
        variables: store(state.variables).unwrap_or_default(),
        tracking: tracking(state.tracking, tables),
        ..Notes::default()
    }
}
