//! Fetches of TLS that few ask for: groups, chains, and what else certificates hold (manual 7.3.4). What
//! only they need is kept only where one of them is asked for.

use super::Build::{Plain, With};
use super::{Row, row};
use crate::diagnostics::Diagnostic;
use crate::expr::Kind::{Bin, Str};
use crate::expr::Needs::{ResponseStatus, Session};
use crate::expr::arguments::Arguments;
use crate::expr::tls::{CertificatePart, TlsFetch, Whose, name_part, plain};
use crate::expr::{Context, Fetch};

#[rustfmt::skip] // a table reads best as one line a row
pub(super) static ROWS: &[Row] = &[
    row(&["ssl_fc_curve"], Str, Session, Plain(Fetch::Tls(TlsFetch::Curve))),
    row(&["ssl_bc_curve"], Str, ResponseStatus, Plain(Fetch::Tls(TlsFetch::ServerCurve))),
    row(&["ssl_bc_alpn"], Str, ResponseStatus, With(|_, context| Ok(kept(TlsFetch::ServerAlpn, context)))),
    row(&["ssl_c_chain_der"], Bin, Session, With(|_, context| Ok(kept(TlsFetch::Chain(Whose::Client), context)))),
    row(&["ssl_s_chain_der"], Bin, ResponseStatus, With(|_, context| Ok(kept(TlsFetch::Chain(Whose::Servers), context)))),
    row(&["ssl_c_r_dn"], Str, Session, With(|it, context| Ok(kept(TlsFetch::Root(name_part(it)?), context)))),
    row(&["ssl_c_policies"], Str, Session, With(policies)),
    row(&["ssl_c_san"], Str, Session, Plain(plain(Whose::Client, CertificatePart::AlternativeNames))),
];

fn kept(fetch: TlsFetch, context: &Context<'_>) -> Fetch {
    let mut asked = context.asked.get();
    asked.chains = true;
    context.asked.set(asked);
    Fetch::Tls(fetch)
}

/// `([<oid>])`.
fn policies(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    let wanted = match arguments.optional() {
        None | Some(("", _)) => None,
        Some((text, span)) => {
            let is_number = |part: &str| part.parse::<u64>().is_ok();
            if !text.contains('.') || !text.split('.').all(is_number) {
                let problem = Diagnostic::alert(span, format!("'{text}' is no object identifier"));
                return Err(problem.label("expected numbers with dots, such as 2.23.140.1.2.1"));
            }
            Some(text.into())
        }
    };
    Ok(plain(Whose::Client, CertificatePart::Policies(wanted)))
}
