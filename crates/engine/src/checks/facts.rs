//! What expressions of checks see: the answer, the server, and variables of the check.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use config::expr::{Flags, Format, Recalled, Sample, VarName, Variable};
use routing::content::Content;
use routing::format::Variables;
use routing::sample::{self, ConnectionFacts, Facts, Memory, Value};
use routing::variables::{Held, Store};
use wire::head::ResponseHead;

use super::expect;
use crate::clock;
use crate::figures::BackendAsker;
use crate::server::ServerState;
use crate::shared::Shared;
use crate::site::BackendState;
use crate::variables;

/// Who is checked, and what the check remembers.
pub(super) struct Context<'a> {
    pub(super) shared: &'a Shared,
    pub(super) backend: &'a Arc<BackendState>,
    pub(super) server: &'a ServerState,
    connection: ConnectionFacts,
    store: RefCell<Store>,
    /// While the unique id is made.
    in_unique_id: Cell<bool>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        backend: &'a Arc<BackendState>,
        server: &'a ServerState,
    ) -> Self {
        Self {
            shared,
            backend,
            server,
            connection: ConnectionFacts::default(),
            store: RefCell::default(),
            in_unique_id: Cell::default(),
        }
    }

    /// Looks with what is known now.
    pub(super) fn with<T>(
        &self,
        head: Option<&ResponseHead>,
        received: &[u8],
        look: impl FnOnce(&Facts<'_>, &dyn Variables) -> T,
    ) -> T {
        let process = BackendAsker {
            shared: self.shared,
            backend: self.backend,
            server: self.server,
        };
        let facts = Facts {
            request: None,
            response: head,
            content: Content {
                response: Some(received),
                ..Content::default()
            },
            connection: &self.connection,
            frontend: self.backend.name(),
            backend: Some(self.backend.name()),
            server_tls: None,
            memory: self,
            process: &process,
            now: clock::wall(),
            random: fastrand::u64(..),
            logins: None,
        };
        look(&facts, self)
    }

    /// A text, before anything was received.
    pub(super) fn text(&self, format: &Format) -> Vec<u8> {
        self.with(None, &[], |facts, variables| {
            expect::render(format, facts, variables)
        })
    }

    /// A number, before anything was received.
    pub(super) fn number(&self, sample: &Sample) -> Option<i64> {
        self.with(None, &[], |facts, _| as_number(sample::eval(sample, facts)))
    }
}

/// A value as a number.
pub(super) fn as_number(value: Option<Value<'_>>) -> Option<i64> {
    match value? {
        Value::Int(number) => Some(number),
        Value::Str(text) | Value::Bin(text) => std::str::from_utf8(&text).ok()?.trim().parse().ok(),
        _ => None,
    }
}

impl Memory for Context<'_> {
    fn recall(&self, wanted: Recalled) -> Option<Value<'static>> {
        let format = match wanted {
            Recalled::UniqueId => self.backend.conf().unique_id.as_ref()?,
            _ => return None,
        };
        // One that tells itself would never end.
        let outer = self.in_unique_id.replace(true);
        let made = (!outer).then(|| self.text(format));
        self.in_unique_id.set(outer);
        made.map(Value::made)
    }

    fn variable(&self, name: &VarName) -> Held {
        let store = self.store.borrow();
        variables::get(name, Some(&store), &self.connection, self.shared)
    }

    fn set_variable(&self, name: &VarName, value: Option<Value<'static>>) -> bool {
        let mut store = self.store.borrow_mut();
        variables::set(name, value, Some(&mut store), &self.connection, self.shared)
    }
}

impl Variables for Context<'_> {
    fn write(&self, variable: Variable, _: Flags, out: &mut Vec<u8>) -> bool {
        let text: &str = match variable {
            Variable::b | Variable::f => self.backend.name(),
            Variable::s => &self.server.conf.name,
            Variable::H => &self.shared.hostname,
            _ => return false,
        };
        out.extend_from_slice(text.as_bytes());
        true
    }
}
