//! Converters that look a sample up in a map (manual 7.3.1, "map").

use std::net::IpAddr;
use std::sync::Arc;

use super::Build::Look;
use super::{Row, row};
use crate::diagnostics::Diagnostic;
use crate::expr::Kind::{Addr, Bin, Int, Str};
use crate::expr::arguments::Arguments;
use crate::expr::{Constant, Context, Converter, Map};
use crate::lists::{Index, Matching};

/// What a map's value is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapOutput {
    /// A text.
    Str,
    /// A number.
    Int,
    /// An address.
    Addr,
    /// The key that matched, in place of its value.
    Key,
    /// A text in which `\1` is a group of the expression that matched.
    Expanded,
}

use MapOutput as O;
use Matching as M;

#[rustfmt::skip] // a table reads best as one line a row
pub(super) static ROWS: &[Row] = &[
    row("map", Str, Str, Look(M::Equal, O::Str)),
    row("map_str", Str, Str, Look(M::Equal, O::Str)),
    row("map_str_str", Str, Str, Look(M::Equal, O::Str)),
    row("map_str_int", Str, Int, Look(M::Equal, O::Int)),
    row("map_str_ip", Str, Addr, Look(M::Equal, O::Addr)),
    row("map_str_key", Str, Str, Look(M::Equal, O::Key)),
    row("map_beg", Str, Str, Look(M::Prefix, O::Str)),
    row("map_beg_str", Str, Str, Look(M::Prefix, O::Str)),
    row("map_beg_int", Str, Int, Look(M::Prefix, O::Int)),
    row("map_beg_ip", Str, Addr, Look(M::Prefix, O::Addr)),
    row("map_beg_key", Str, Str, Look(M::Prefix, O::Key)),
    row("map_sub", Str, Str, Look(M::Contains, O::Str)),
    row("map_sub_str", Str, Str, Look(M::Contains, O::Str)),
    row("map_sub_int", Str, Int, Look(M::Contains, O::Int)),
    row("map_sub_ip", Str, Addr, Look(M::Contains, O::Addr)),
    row("map_sub_key", Str, Str, Look(M::Contains, O::Key)),
    row("map_dir", Str, Str, Look(M::Directory, O::Str)),
    row("map_dir_str", Str, Str, Look(M::Directory, O::Str)),
    row("map_dir_int", Str, Int, Look(M::Directory, O::Int)),
    row("map_dir_ip", Str, Addr, Look(M::Directory, O::Addr)),
    row("map_dir_key", Str, Str, Look(M::Directory, O::Key)),
    row("map_dom", Str, Str, Look(M::Domain, O::Str)),
    row("map_dom_str", Str, Str, Look(M::Domain, O::Str)),
    row("map_dom_int", Str, Int, Look(M::Domain, O::Int)),
    row("map_dom_ip", Str, Addr, Look(M::Domain, O::Addr)),
    row("map_dom_key", Str, Str, Look(M::Domain, O::Key)),
    row("map_end", Str, Str, Look(M::Suffix, O::Str)),
    row("map_end_str", Str, Str, Look(M::Suffix, O::Str)),
    row("map_end_int", Str, Int, Look(M::Suffix, O::Int)),
    row("map_end_ip", Str, Addr, Look(M::Suffix, O::Addr)),
    row("map_end_key", Str, Str, Look(M::Suffix, O::Key)),
    row("map_len", Str, Str, Look(M::Length, O::Str)),
    row("map_len_str", Str, Str, Look(M::Length, O::Str)),
    row("map_len_int", Str, Int, Look(M::Length, O::Int)),
    row("map_len_ip", Str, Addr, Look(M::Length, O::Addr)),
    row("map_len_key", Str, Str, Look(M::Length, O::Key)),
    row("map_reg", Str, Str, Look(M::Regex, O::Str)),
    row("map_reg_str", Str, Str, Look(M::Regex, O::Str)),
    row("map_reg_int", Str, Int, Look(M::Regex, O::Int)),
    row("map_reg_ip", Str, Addr, Look(M::Regex, O::Addr)),
    row("map_reg_key", Str, Str, Look(M::Regex, O::Key)),
    row("map_regm", Str, Str, Look(M::Regex, O::Expanded)),
    row("map_regm_str", Str, Str, Look(M::Regex, O::Expanded)),
    row("map_bin", Bin, Str, Look(M::Bin, O::Str)),
    row("map_bin_str", Bin, Str, Look(M::Bin, O::Str)),
    row("map_bin_int", Bin, Int, Look(M::Bin, O::Int)),
    row("map_bin_ip", Bin, Addr, Look(M::Bin, O::Addr)),
    row("map_bin_key", Bin, Str, Look(M::Bin, O::Key)),
    row("map_int", Int, Str, Look(M::Int, O::Str)),
    row("map_int_str", Int, Str, Look(M::Int, O::Str)),
    row("map_int_int", Int, Int, Look(M::Int, O::Int)),
    row("map_int_ip", Int, Addr, Look(M::Int, O::Addr)),
    row("map_int_key", Int, Str, Look(M::Int, O::Key)),
    row("map_ip", Addr, Str, Look(M::Ip, O::Str)),
    row("map_ip_str", Addr, Str, Look(M::Ip, O::Str)),
    row("map_ip_int", Addr, Int, Look(M::Ip, O::Int)),
    row("map_ip_ip", Addr, Addr, Look(M::Ip, O::Addr)),
    row("map_ip_key", Addr, Str, Look(M::Ip, O::Key)),
];

/// `(file[,default])`.
pub(super) fn read(
    matching: Matching,
    output: MapOutput,
    arguments: &mut Arguments,
    context: &Context<'_>,
) -> Result<Converter, Diagnostic> {
    let (written, span) = arguments.text("the name of a map")?;
    let mut lists = context.lists.borrow_mut();
    let list = lists.open(written, true, context.surroundings, span)?;
    drop(lists);
    let index: Arc<Index> = list.index(matching, false, span)?;
    list.note_use("map", span);
    for entry in list.entries(None) {
        let value = entry.value.as_deref().unwrap_or_default();
        if constant(output, value).is_none() {
            let message = format!("'{}': the value of '{}', '{value}'", list.name, entry.key);
            return Err(
                Diagnostic::alert(span, format!("{message}, is none")).label(wanted(output))
            );
        }
    }
    let default = match arguments.optional() {
        Some((_, span)) if output == MapOutput::Key => {
            let message = "a map that tells its keys has no default value";
            return Err(Diagnostic::alert(span, message));
        }
        Some((text, span)) => Some(constant(output, text).ok_or_else(|| {
            Diagnostic::alert(span, format!("the default '{text}' is none")).label(wanted(output))
        })?),
        None => None,
    };
    Ok(Converter::Map(Box::new(Map {
        index,
        output,
        default,
    })))
}

fn wanted(output: MapOutput) -> &'static str {
    match output {
        MapOutput::Int => "expected whole numbers as its values",
        _ => "expected addresses as its values",
    }
}

/// A value of a map as what it is taken for; `None`: it is none of these.
fn constant(output: MapOutput, text: &str) -> Option<Constant> {
    match output {
        MapOutput::Int => text.parse().ok().map(Constant::Int),
        MapOutput::Addr => text.parse::<IpAddr>().ok().map(Constant::Addr),
        _ => Some(Constant::Str(text.into())),
    }
}
