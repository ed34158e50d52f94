//! Converters that join or compare a sample with a variable (manual 7.3.1).

use std::borrow::Cow;
use std::cmp::Ordering;

use config::expr::{IntOperand, TextOperand, VarName, WithVariable};

use super::bounded;
use crate::sample::Facts;
use crate::value::Value;

/// What the variable has; `None`: nothing.
fn value(name: &VarName, facts: &Facts<'_>) -> Option<Value<'static>> {
    facts.memory.variable(name).value()
}

/// A text that is written down or that a variable has.
pub(super) fn text<'a>(operand: &'a TextOperand, facts: &Facts<'_>) -> Option<Cow<'a, [u8]>> {
    match operand {
        TextOperand::Text(text) => Some(Cow::Borrowed(text.as_bytes())),
        TextOperand::Variable(name) => Some(value(name, facts)?.into_bytes()),
    }
}

/// The same of a number.
pub(super) fn int(operand: &IntOperand, facts: &Facts<'_>) -> Option<i64> {
    match operand {
        IntOperand::Int(number) => Some(*number),
        IntOperand::Variable(name) => value(name, facts)?.to_int(),
    }
}

/// Joins or compares.
pub(super) fn apply<'a>(
    converter: &WithVariable,
    input: Value<'a>,
    facts: &Facts<'_>,
) -> Option<Value<'a>> {
    match converter {
        WithVariable::Append {
            before,
            name,
            behind,
            item,
        } => {
            let mut made = input.into_text().into_owned();
            let held = name.as_ref().and_then(|name| value(name, facts));
            let held = held.map(Value::into_text).unwrap_or_default();
            let added = !*item || (!made.is_empty() && (!held.is_empty() || !behind.is_empty()));
            if added {
                made.extend_from_slice(before.as_bytes());
            }
            made.extend_from_slice(&held);
            made.extend_from_slice(behind.as_bytes());
            bounded(made)
        }
        WithVariable::Compare(name) => {
            let held = value(name, facts)?.into_text();
            let input = input.into_text();
            Some(Value::Int(match input[..].cmp(&held[..]) {
                Ordering::Less => difference(&input, &held).min(-1),
                Ordering::Equal => 0,
                Ordering::Greater => difference(&input, &held).max(1),
            }))
        }
        WithVariable::SameBytes(name) => {
            let held = value(name, facts)?.into_bytes();
            let input = input.into_bytes();
            let same = aws_lc_rs::constant_time::verify_slices_are_equal(&input, &held).is_ok();
            Some(Value::Bool(same))
        }
    }
}

/// How far apart the first bytes are that differ, else how much longer the first text is.
fn difference(left: &[u8], right: &[u8]) -> i64 {
    let pair = left.iter().zip(right).find(|(left, right)| left != right);
    pair.map_or(left.len() as i64 - right.len() as i64, |(left, right)| {
        i64::from(*left) - i64::from(*right)
    })
}
