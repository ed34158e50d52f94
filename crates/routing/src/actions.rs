//! Carrying out what rules of several sets have in common (manual 4.3): see [`Action`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use config::expr::Sample;
use config::model::{Action, AddressPart, Amount, ListEntry, NewTimeout, VarSource};

use crate::format::{self, Variables};
use crate::sample::{self, ConnectionFacts, Facts};
use crate::stick;
use crate::value::Value;
use crate::variables;

/// Does it. Nothing of the message changes, and the rules behind are looked at.
pub fn carry_out(action: &Action, facts: &Facts<'_>, variables: &dyn Variables) {
    match action {
        Action::SetVar(set) => {
            let value = match &set.value {
                VarSource::Sample(sample) => sample::eval(sample, facts),
                VarSource::Format(format) => {
                    let mut text = Vec::new();
                    format::render(format, facts, variables, &mut text);
                    Some(Value::made(text))
                }
            };
            if let Some(value) = value {
                variables::assign(facts.memory, &set.name, &set.when, value);
            }
        }
        Action::UnsetVar(name) => {
            facts.memory.set_variable(name, None);
        }
        Action::ChangeList(change) => {
            let text = |format| {
                let mut text = Vec::new();
                format::render(format, facts, variables, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            };
            let key = text(&change.key);
            // One that is full, or has no use for such a key, stays as it is, as in HAProxy.
            let _ = match &change.to {
                Some(ListEntry::Key) => change.list.put(&key, None),
                Some(ListEntry::Value(value)) => change.list.put(&key, Some(&text(value))),
                None => {
                    change.list.delete(&key);
                    Ok(())
                }
            };
        }
        Action::SetAddress(part, sample) => {
            if let Some(value) = sample::eval(sample, facts) {
                tell(*part, &value, facts.connection);
            }
        }
        Action::SetTimeout(which, to) => {
            if let Some(time) = time(to, facts) {
                facts.memory.set_timeout(*which, time);
            }
        }
        Action::SetRetries(count) => {
            let count = match count {
                Amount::Number(count) => Some(i64::from(*count)),
                Amount::Sample(sample) => sample::eval(sample, facts).and_then(|it| it.to_int()),
            };
            // What is no number from 0 to 100 changes nothing, as in HAProxy.
            if let Some(count @ 0..=100) = count {
                facts.memory.set_retries(count as u32);
            }
        }
        Action::SetMark(mark, value) => {
            let value = match value {
                Amount::Number(number) => Some(*number),
                Amount::Sample(sample) => sample::eval(sample, facts)
                    .and_then(|it| it.to_int())
                    .and_then(|number| u32::try_from(number).ok()),
            };
            if let Some(value) = value.filter(|value| *value <= mark.max()) {
                facts.memory.set_mark(*mark, value);
            }
        }
        Action::SetPriority(priority, sample) => {
            if let Some(number) = sample::eval(sample, facts).and_then(|it| it.to_int()) {
                let max = priority.max();
                facts
                    .memory
                    .set_priority(*priority, number.clamp(-max, max));
            }
        }
        Action::Nothing => {}
        Action::SetLogLevel(level) => facts.memory.set_log_level(*level),
        Action::Track(rule) => stick::track(rule, facts),
        Action::ChangeCounter(rule) => stick::change(rule, facts),
    }
}

/// What it comes to; `None`: it has no value.
pub(crate) fn time(time: &NewTimeout, facts: &Facts<'_>) -> Option<Duration> {
    match time {
        NewTimeout::Fixed(time) => Some(*time),
        NewTimeout::Sample(sample) => milliseconds(sample, facts),
    }
}

/// A time of at least one millisecond.
fn milliseconds(sample: &Sample, facts: &Facts<'_>) -> Option<Duration> {
    let number = sample::eval(sample, facts)?.to_int()?;
    let time = u64::try_from(number).ok().filter(|time| *time > 0)?;
    Some(Duration::from_millis(time))
}

/// Puts another address or port in the place of one of the client's (manual 4.4, "set-src"). A value that is
/// none changes nothing; where one half is missing, it is 0.
fn tell(part: AddressPart, value: &Value<'_>, connection: &ConnectionFacts) {
    const NONE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let is_port = matches!(part, AddressPart::SourcePort | AddressPart::DestinationPort);
    let address = value.to_addr();
    let port = value.to_int().and_then(|port| u16::try_from(port).ok());
    if (is_port && port.is_none()) || (!is_port && address.is_none()) {
        return;
    }
    connection.tell(|told| {
        let whole = match part {
            AddressPart::Source | AddressPart::SourcePort => &mut told.src,
            AddressPart::Destination | AddressPart::DestinationPort => &mut told.dst,
        };
        let whole = whole.get_or_insert(NONE);
        match (is_port, address, port) {
            (true, _, Some(port)) => whole.set_port(port),
            (false, Some(address), _) => whole.set_ip(address),
            _ => {}
        }
    });
}
