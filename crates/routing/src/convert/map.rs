//! Looking a value up in a map (manual 7.3.1, "map").

use config::expr::{Map, MapOutput};

use super::expand;
use crate::pattern;
use crate::sample::value_of;
use crate::value::Value;

/// What the map has for a value; `None`: nothing, and no default.
pub(super) fn look<'a>(map: &'a Map, value: &Value<'_>) -> Option<Value<'a>> {
    let found = pattern::look(&map.index, value, |hit| {
        let text = hit.value.map_or("", |value| &**value);
        match map.output {
            MapOutput::Str => Some(Value::made(text.as_bytes().to_vec())),
            MapOutput::Int => text.parse().ok().map(Value::Int),
            MapOutput::Addr => text.parse().ok().map(Value::Addr),
            MapOutput::Key => Some(Value::made(hit.key.as_bytes().to_vec())),
            MapOutput::Expanded => {
                let subject = value.to_text();
                let captures = hit.regex?.captures(&subject)?;
                let mut made = Vec::new();
                expand(text.as_bytes(), &captures, &mut made);
                Some(Value::made(made))
            }
        }
    });
    match found {
        Some(value) => value,
        None => map.default.as_ref().and_then(value_of),
    }
}
