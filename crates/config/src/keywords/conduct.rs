//! How requests and clients are treated: `monitor-uri`, `option abortonclose` and their like (manual
//! 4.2).

use std::time::Duration;

use super::proxy::condition;
use super::{
    ALL, BACK, FRONT, FRONT_ONLY, ProxyKeyword, Scope, implemented, invertible, not_in_force,
    refused,
};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::expr::Stage;
use crate::model::{Conduct, ForwardFor, MinRate};
use crate::values::{Unit, duration, header_name, network, size};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("client-min-rate", FRONT, client_min_rate),
    implemented("http-send-name-header", BACK, |draft, args, scope| {
        let word = args.required("the name of a header")?;
        let name = header_name(word)?;
        if FRAMING.contains(&&*name) {
            return Err(Diagnostic::alert(
                word.span,
                format!("'http-send-name-header' cannot use '{name}'"),
            )
            .label("requests would go wrong without its own value"));
        }
        draft.proxy.conduct.send_name_header = Some(name);
        args.ignore_rest(scope);
        Ok(())
    }),
    implemented("monitor fail", FRONT_ONLY, monitor_fail),
    implemented("monitor-uri", FRONT, |draft, args, _| {
        let word = args.required("a URI such as /alive")?;
        args.end()?;
        draft.proxy.conduct.monitor_uri = Some(word.text.as_str().into());
        draft.http_only.insert(args.keyword, args.place());
        Ok(())
    }),
    invertible("option accept-invalid-http-request", FRONT, lenient),
    invertible(
        "option accept-unsafe-violations-in-http-request",
        FRONT,
        lenient,
    ),
    not_in_force("option accept-invalid-http-response", BACK, STRICT),
    not_in_force(
        "option accept-unsafe-violations-in-http-response",
        BACK,
        STRICT,
    ),
    invertible("option abortonclose", ALL, |draft, args, _| {
        switch(draft, args, |conduct| &mut conduct.abort_on_close)
    }),
    invertible("option http-buffer-request", ALL, |draft, args, _| {
        switch(draft, args, |conduct| &mut conduct.buffer_request)
    }),
    invertible("option http-ignore-probes", FRONT, |draft, args, _| {
        switch(draft, args, |conduct| &mut conduct.ignore_probes)
    }),
    invertible("option http-pretend-keepalive", BACK, |draft, args, _| {
        switch(draft, args, |conduct| &mut conduct.pretend_keepalive)
    }),
    refused(
        "option http-use-proxy-header",
        FRONT,
        "requests are not forwarded to proxies: absolute targets reach servers as paths",
        "remove it: 'Connection' is understood everywhere, 'Proxy-Connection' nowhere",
    ),
    implemented("option originalto", ALL, originalto),
];

/// How long any pace will do where nothing is said: a new connection, or a phone between two cells, has slow moments.
const GRACE: Duration = Duration::from_secs(10);

/// `client-min-rate BYTES [after TIME]`, our own; 0 takes it back.
fn client_min_rate(
    draft: &mut Draft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("bytes a second")?;
    let rate = size(word, args.keyword, 0..=u32::MAX.into())?;
    let grace = match args.take("after") {
        true => duration(args.required("a time")?, args.keyword, Unit::Milliseconds)?,
        false => GRACE,
    };
    args.end()?;
    draft.proxy.conduct.client_min_rate = (rate > 0).then_some(MinRate { rate, grace });
    draft.http_only.insert(args.keyword, args.place());
    Ok(())
}

const STRICT: &str =
    "a response with two meanings is answered with 502 all the same; have the server fixed";

/// `option accept-unsafe-violations-in-http-request`, as far as nothing gets a second meaning by it.
fn lenient(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    switch(draft, args, |conduct| &mut conduct.lenient_requests)?;
    if draft.proxy.conduct.lenient_requests {
        let message = format!(
            "'{}' takes requests without a Host, and with '#' or bytes above 126 in their targets, and no others",
            args.keyword
        );
        let advice = Diagnostic::advice(args.place(), message);
        scope.report(advice.help("no server is sent a '#': write 'http-request normalize-uri fragment-strip' where they should be"));
    }
    Ok(())
}

/// What a request's frame, or the way to its host, is made of.
const FRAMING: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];

fn switch(
    draft: &mut Draft,
    args: &mut Args<'_>,
    field: impl FnOnce(&mut Conduct) -> &mut bool,
) -> Result<(), Diagnostic> {
    args.end()?;
    *field(&mut draft.proxy.conduct) = !args.negated() && !args.restores_default();
    Ok(())
}

fn monitor_fail(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    if !args.at_condition() {
        let place = args.peek().map_or(args.missing_place(), |word| word.span);
        return Err(Diagnostic::alert(
            place,
            "'monitor fail' requires either 'if' or 'unless' followed by a condition",
        ));
    }
    if let Some(condition) = condition(draft, args, scope, Stage::Request)? {
        draft.proxy.conduct.monitor_fail.push(condition);
    }
    Ok(())
}

/// `option originalto [except NETWORK] [header NAME]`.
fn originalto(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let mut originalto = ForwardFor {
        except: None,
        header: "x-original-to".into(),
        if_none: false,
    };
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "except" => {
                let mask = args.required("an address or network after 'except'")?;
                originalto.except = Some(network(mask)?);
            }
            "header" => {
                originalto.header = header_name(args.required("a header name after 'header'")?)?;
            }
            other => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'option originalto' does not know '{other}'"),
                )
                .label("expected except NETWORK or header NAME"));
            }
        }
    }
    draft.proxy.conduct.originalto = Some(originalto);
    draft.http_only.insert(args.keyword, args.place());
    Ok(())
}
