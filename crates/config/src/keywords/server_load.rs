//! Parameters of `server` about how much of the load it takes: limits, `slowstart`, idle connections
//! (manual 5.2).

use super::Scope;
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::ServerDraft;
use crate::lexer::Word;
use crate::model::{IdleMax, RingKey};
use crate::values::{Unit, next_duration, next_number};

/// A limit where 0 is none.
fn limit(args: &mut Args<'_>) -> Result<Option<u32>, Diagnostic> {
    let value = next_number(args, 0..=i32::MAX as u64)?;
    Ok((value > 0).then_some(value))
}

pub(crate) fn maxconn(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.maxconn = limit(args)?;
    Ok(())
}

pub(crate) fn minconn(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.minconn = limit(args)?;
    Ok(())
}

pub(crate) fn maxqueue(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.maxqueue = limit(args)?;
    Ok(())
}

/// Without a `maxconn` above it, `minconn` is the limit itself.
pub(crate) fn settle_limits(server: &mut crate::model::Server) {
    if let Some(minconn) = server.minconn
        && server.maxconn.is_none_or(|maxconn| maxconn <= minconn)
    {
        server.maxconn = Some(minconn);
        server.minconn = None;
    }
}

pub(crate) fn slowstart(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let time = next_duration(args, Unit::Milliseconds)?;
    draft.server.slowstart = (!time.is_zero()).then_some(time);
    Ok(())
}

pub(crate) fn hash_key(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("id, id32, addr, addr-port or guid")?;
    draft.server.ring_key = match word.text.as_str() {
        "id" => RingKey::Id,
        "id32" => RingKey::Id32,
        "addr" => RingKey::Addr,
        "addr-port" => RingKey::AddrPort,
        "guid" => RingKey::Guid,
        other => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'hash-key' does not know '{other}'"),
            )
            .label("expected id, id32, addr, addr-port or guid"));
        }
    };
    Ok(())
}

/// A number where -1 is without bound.
fn bound<'a>(args: &mut Args<'a>) -> Result<Option<u32>, Diagnostic> {
    let word: &'a Word = args.required("a number, or -1")?;
    match word.text.parse::<i32>() {
        Ok(-1) => Ok(None),
        Ok(count @ 0..) => Ok(Some(count.unsigned_abs())),
        _ => Err(Diagnostic::alert(
            word.span,
            format!("'{}' does not accept '{}'", args.keyword, word.text),
        )
        .label("expected a number, or -1")),
    }
}

pub(crate) fn pool_max_conn(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.pooling.idle_max = bound(args)?.map_or(IdleMax::Unlimited, IdleMax::Count);
    Ok(())
}

pub(crate) fn max_reuse(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.pooling.reuse_max = bound(args)?;
    Ok(())
}

pub(crate) fn pool_purge_delay(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.server.pooling.purge_delay = next_duration(args, Unit::Milliseconds)?;
    Ok(())
}
