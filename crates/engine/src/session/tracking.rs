//! What a session tracks in stick tables, and what is counted there of it (manual 11.1).

use config::expr::{TableAsk, TableRef};
use config::model::{GeneralSlot, TableId};
use routing::sample::Value;
use routing::stick::{Counted, Tables};

use super::Session;
use crate::stick::{Both, StickTables, Tracking};

impl Session {
    fn stick(&self) -> &StickTables {
        &self.frontend().generation.stick
    }

    /// Does something with what is tracked of the connection and of this session.
    fn with_tracked<T>(&self, look: impl FnOnce(Both<'_>) -> T) -> T {
        let notes = self.notes.borrow();
        look(Both {
            connection: &self.connection.tracking(),
            request: notes.as_deref().map(|notes| &notes.tracking),
        })
    }

    /// Counts something of whoever is tracked.
    pub(crate) fn count_tracked(&self, what: Counted, count: u64) {
        if !self.stick().is_empty() {
            self.with_tracked(|tracked| tracked.count(what, count));
        }
    }

    /// The status of a server's answer, as far as it is held against somebody.
    pub(crate) fn blame(&self, status: u16) {
        let stick = self.stick();
        if stick.is_empty() {
            return;
        }
        if stick.blamed.errors.contains(status) {
            self.count_tracked(Counted::Errors, 1);
        }
        if stick.blamed.failures.contains(status) {
            self.count_tracked(Counted::Failures, 1);
        }
    }

    /// The table of the proxy whose rules are carried out, as far as that can be told: rules of a `defaults`
    /// section are for frontends or for backends.
    fn own_table(&self) -> Option<TableId> {
        let backend = self.backend().and_then(|it| it.conf().proxy.stick_table);
        backend.or(self.frontend().conf().proxy.stick_table)
    }
}

impl Tables for Session {
    fn ask_tracked(
        &self,
        counter: u8,
        elsewhere: Option<&TableRef>,
        ask: TableAsk,
    ) -> Option<Value<'static>> {
        let elsewhere = match elsewhere {
            Some(table) => Some(self.stick().meant(table, || self.own_table())?),
            None => None,
        };
        self.with_tracked(|tracked| tracked.ask(counter, elsewhere, ask))
    }

    fn ask_key(
        &self,
        table: &TableRef,
        key: &Value<'_>,
        ask: TableAsk,
    ) -> Option<Option<Value<'static>>> {
        let table = self.stick().meant(table, || self.own_table())?;
        table.ask(key, ask)
    }

    fn count(&self, table: &TableRef) -> Option<(usize, usize)> {
        let table = self.stick().meant(table, || self.own_table())?;
        Some((table.used(), table.table.size()))
    }

    fn track(&self, counter: u8, table: &TableRef, key: &Value<'_>, status: Option<u16>) {
        let stick = self.stick();
        let table = stick.meant(table, || self.own_table());
        let Some(tracked) = table.and_then(|table| table.track(key)) else {
            return;
        };
        if !self.record.request_line.is_empty() {
            tracked.count_request(status, &stick.blamed);
        }
        tracked.count_bytes(self.bytes_in.get(), self.bytes_out.get());
        self.note(|notes| notes.tracking.add(counter, tracked));
    }

    fn change(&self, counter: u8, slot: GeneralSlot, by: u32) {
        self.with_tracked(|tracked| tracked.change(counter, slot, by));
    }

    fn is_tracking(&self, counter: u8) -> bool {
        self.with_tracked(|tracked| tracked.get(counter).is_some())
    }
}

/// What a connection tracks before there is a session, and what it asks of tables.
pub(crate) struct Early<'a> {
    pub(crate) stick: &'a StickTables,
    pub(crate) tracking: &'a std::cell::RefCell<Tracking>,
    /// The table of the frontend.
    pub(crate) own: Option<TableId>,
}

impl Early<'_> {
    fn with_tracked<T>(&self, look: impl FnOnce(Both<'_>) -> T) -> T {
        look(Both {
            connection: &self.tracking.borrow(),
            request: None,
        })
    }
}

impl Tables for Early<'_> {
    fn ask_tracked(
        &self,
        counter: u8,
        elsewhere: Option<&TableRef>,
        ask: TableAsk,
    ) -> Option<Value<'static>> {
        let elsewhere = match elsewhere {
            Some(table) => Some(self.stick.meant(table, || self.own)?),
            None => None,
        };
        self.with_tracked(|tracked| tracked.ask(counter, elsewhere, ask))
    }

    fn ask_key(
        &self,
        table: &TableRef,
        key: &Value<'_>,
        ask: TableAsk,
    ) -> Option<Option<Value<'static>>> {
        self.stick.meant(table, || self.own)?.ask(key, ask)
    }

    fn count(&self, table: &TableRef) -> Option<(usize, usize)> {
        let table = self.stick.meant(table, || self.own)?;
        Some((table.used(), table.table.size()))
    }

    fn track(&self, counter: u8, table: &TableRef, key: &Value<'_>, _: Option<u16>) {
        let table = self.stick.meant(table, || self.own);
        if let Some(tracked) = table.and_then(|table| table.track(key)) {
            self.tracking.borrow_mut().add(counter, tracked);
        }
    }

    fn change(&self, counter: u8, slot: GeneralSlot, by: u32) {
        self.with_tracked(|tracked| tracked.change(counter, slot, by));
    }

    fn is_tracking(&self, counter: u8) -> bool {
        self.tracking.borrow().has(counter)
    }
}
