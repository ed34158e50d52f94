//! `option forwarded` (manual 4.2; RFC 7239).

use super::{BACK, ProxyKeyword, Scope, invertible};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::expr::{self, Stage};
use crate::model::{ForwardedHeader, ForwardedValue};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[invertible("option forwarded", BACK, forwarded)];

const WORDS: &str = "proto, host, by, by_port, for, for_port, or one of them with '-expr'";

fn forwarded(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let conduct = &mut draft.proxy.conduct;
    if args.negated() || args.restores_default() {
        conduct.forwarded = None;
        return args.end();
    }
    let mut header = ForwardedHeader::default();
    if args.peek().is_none() {
        header.proto = true;
        header.client.name = Some(ForwardedValue::Usual);
    }
    while let Some(word) = args.next() {
        if word.is("proto") {
            header.proto = true;
            continue;
        }
        let (part, is_sample) = match word.text.strip_suffix("-expr") {
            Some(part) => (part, true),
            None => (word.text.as_str(), false),
        };
        let field = match part {
            "host" => &mut header.host,
            "by" => &mut header.by.name,
            "by_port" => &mut header.by.port,
            "for" => &mut header.client.name,
            "for_port" => &mut header.client.port,
            _ => {
                let message = format!("'option forwarded' does not know '{}'", word.text);
                return Err(
                    Diagnostic::alert(word.span, message).label(format!("expected {WORDS}"))
                );
            }
        };
        *field = Some(match is_sample {
            false => ForwardedValue::Usual,
            true => {
                let sample = args.required("a sample such as src")?;
                let sample = expr::sample::parse(sample, &scope.expressions(Stage::Request))?;
                ForwardedValue::Sample(Box::new(sample))
            }
        });
    }
    conduct.forwarded = Some(Box::new(header));
    draft.http_only.insert(args.keyword, args.place());
    Ok(())
}
