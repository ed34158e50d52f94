//! Fetches that look at nothing, and dice (manual 7.3.2).

use super::Build::{Plain, With};
use super::{Row, row};
use crate::diagnostics::Diagnostic;
use crate::expr::Kind::{Bool, Int, Str};
use crate::expr::Needs::{ResponseHead, ResponseStatus, Session};
use crate::expr::arguments::Arguments;
use crate::expr::{Constant, Context, Fetch};

#[rustfmt::skip] // a table reads best as one line a row
pub(super) static ROWS: &[Row] = &[
    row(&["date_us"], Int, Session, Plain(Fetch::DateMicros)),
    row(&["uuid"], Str, Session, With(uuid)),
    // HAProxy's number of the process, when there could be many.
    row(&["proc"], Int, Session, Plain(Fetch::Constant(Constant::Int(1)))),
    row(&["nbproc"], Int, Session, Plain(Fetch::Constant(Constant::Int(1)))),
    // Threads are in one group here.
    row(&["tgroup"], Int, Session, Plain(Fetch::Constant(Constant::Int(0)))),
    // No action gives a request another place in a queue, nothing is kept for later or compressed.
    row(&["prio_class", "prio_offset"], Int, Session, Plain(Fetch::Constant(Constant::Int(0)))),
    row(&["res.cache_hit", "res.comp"], Bool, ResponseHead, Plain(Fetch::Constant(Constant::Bool(false)))),
    row(&["res.cache_name", "res.comp_algo"], Str, ResponseHead, Plain(Fetch::Constant(Constant::Missing))),
    // Early data of TLS is not taken, and NPN has been given up by everybody.
    row(&["ssl_fc_has_early", "ssl_fc_early_rcvd"], Bool, Session, Plain(Fetch::Constant(Constant::Bool(false)))),
    row(&["ssl_fc_npn"], Str, Session, Plain(Fetch::Constant(Constant::Missing))),
    row(&["ssl_bc_npn"], Str, ResponseStatus, Plain(Fetch::Constant(Constant::Missing))),
    row(&["quic_enabled"], Bool, Session, Plain(Fetch::Constant(Constant::Bool(false)))),
];

fn uuid(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let span = arguments.span();
    let version = arguments.optional_int("a version")?.unwrap_or(4);
    let by_time = match version {
        4 => false,
        7 => true,
        _ => {
            return Err(Diagnostic::alert(
                span,
                format!("there are no UUIDs of version {version} here"),
            )
            .label("expected 4 or 7"));
        }
    };
    Ok(Fetch::Uuid {
        by_time,
        salt: span.start,
    })
}
