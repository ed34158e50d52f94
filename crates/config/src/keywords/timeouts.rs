//! `timeout …` (manual 4.2).

use std::time::Duration;

use super::{ALL, BACK, FRONT, ProxyKeyword, implemented};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::model::Timeouts;
use crate::values::{Unit, limit, next_duration};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("timeout check", BACK, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.check)
    }),
    implemented("timeout client", FRONT, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.client)
    }),
    implemented("timeout client-fin", FRONT, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.client_fin)
    }),
    implemented("timeout client-hs", FRONT, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.client_hs)
    }),
    implemented("timeout connect", BACK, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.connect)
    }),
    implemented("timeout http-keep-alive", ALL, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.http_keep_alive)
    }),
    implemented("timeout http-request", ALL, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.http_request)
    }),
    implemented("timeout queue", BACK, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.queue)
    }),
    implemented("timeout server", BACK, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.server)
    }),
    implemented("timeout server-fin", BACK, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.server_fin)
    }),
    implemented("timeout tarpit", ALL, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.tarpit)
    }),
    implemented("timeout tunnel", BACK, |draft, args, _| {
        set(draft, args, |timeouts| &mut timeouts.tunnel)
    }),
];

fn set(
    draft: &mut Draft,
    args: &mut Args<'_>,
    field: fn(&mut Timeouts) -> &mut Option<Duration>,
) -> Result<(), Diagnostic> {
    let value = next_duration(args, Unit::Milliseconds)?;
    args.end()?;
    *field(&mut draft.proxy.timeouts) = limit(value);
    Ok(())
}
