//! How servers are chosen: `balance`, `hash-type` and what belongs to them (manual 4.2).

use std::sync::Arc;

use super::{BACK, ProxyKeyword, Scope, implemented, invertible};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::expr::{self, Stage};
use crate::keywords::options::switched_on;
use crate::lexer::Word;
use crate::model::{Affinity, Balance, HashFunction, HashKey, Hashing, HttpReuse, UriKey};
use crate::nearest::did_you_mean;
use crate::values::next_number;

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("balance", BACK, balance),
    implemented("fullconn", BACK, |draft, args, _| {
        let value = next_number(args, 0..=i32::MAX as u64)?;
        draft.back.fullconn = (value > 0).then_some(value);
        args.end()
    }),
    implemented("hash-balance-factor", BACK, balance_factor),
    implemented("hash-preserve-affinity", BACK, affinity),
    implemented("hash-type", BACK, hash_type),
    implemented("http-reuse", BACK, http_reuse),
    implemented("max-keep-alive-queue", BACK, keep_alive_queue),
    invertible("option allbackups", BACK, |draft, args, _| {
        args.end()?;
        draft.back.balancing.allbackups = switched_on(args);
        Ok(())
    }),
    invertible("option prefer-last-server", BACK, |draft, args, _| {
        args.end()?;
        draft.back.balancing.prefer_last_server = switched_on(args);
        Ok(())
    }),
];

const BALANCE: &[&str] = &[
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "random",
    "source",
    "uri",
    "url_param",
    "hdr",
    "rdp-cookie",
    "hash",
];

/// HAProxy knows these algorithms as well.
const OTHER_BALANCE: &[&str] = &["log-hash", "sticky"];

fn balance(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let Some(word) = args.next() else {
        draft.back.balancing.algorithm = Balance::default();
        return Ok(());
    };
    let (name, argument) = match word.text.split_once('(') {
        Some((name, rest)) => (name, Some(rest)),
        None => (word.text.as_str(), None),
    };
    let algorithm = match (name, argument) {
        ("roundrobin", None) => Balance::RoundRobin,
        ("static-rr", None) => Balance::StaticRr,
        ("leastconn", None) => Balance::LeastConn,
        ("first", None) => Balance::First,
        ("source", None) => Balance::Hash(HashKey::Source),
        ("random", argument) => Balance::Random(draws(word, argument)?),
        ("uri", None) => Balance::Hash(HashKey::Uri(uri(args)?)),
        ("url_param", None) => Balance::Hash(url_param(args)?),
        ("hdr", Some(argument)) => Balance::Hash(header(word, argument, args)?),
        ("rdp-cookie", argument) => Balance::Hash(rdp_cookie(word, argument, scope)?),
        ("hash", None) => Balance::Hash(sample(args, scope)?),
        _ => return Err(unknown_balance(word, name)),
    };
    let by_head = matches!(
        algorithm,
        Balance::Hash(HashKey::Uri(_) | HashKey::UrlParam { .. } | HashKey::Header { .. })
    );
    draft.back.balance_by_head = by_head.then(|| args.place());
    draft.back.balancing.algorithm = algorithm;
    args.ignore_rest(scope);
    Ok(())
}

/// The number in `random(N)`. Two draws are the default (manual 4.2, "balance").
fn draws(word: &Word, argument: Option<&str>) -> Result<u32, Diagnostic> {
    const DRAWS_DEFAULT: u32 = 2;
    let Some(argument) = argument.filter(|argument| *argument != ")") else {
        return Ok(DRAWS_DEFAULT);
    };
    let digits = argument.strip_suffix(')');
    digits
        .and_then(|digits| digits.parse::<u32>().ok())
        .filter(|draws| *draws > 0)
        .ok_or_else(|| {
            Diagnostic::alert(
                word.span,
                format!("'balance' does not accept '{}'", word.text),
            )
            .label("expected random or random(N) with N from 1 on")
        })
}

/// `uri [len N] [depth N] [whole] [path-only]`, in any order.
fn uri(args: &mut Args<'_>) -> Result<UriKey, Diagnostic> {
    let mut key = UriKey::default();
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "len" => key.len_max = Some(next_number(args, 1..=i32::MAX as u64)?),
            "depth" => key.depth_max = Some(next_number(args, 1..=i32::MAX as u64)?),
            "whole" => key.whole = true,
            "path-only" => key.path_only = true,
            other => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'balance uri' does not know '{other}'"),
                )
                .label("expected len, depth, whole or path-only"));
            }
        }
    }
    Ok(key)
}

/// `url_param NAME [check_post [MAX]]`; the number is not looked at any more.
fn url_param(args: &mut Args<'_>) -> Result<HashKey, Diagnostic> {
    let name: std::sync::Arc<str> = args
        .required("the name of a parameter behind url_param")?
        .text
        .as_str()
        .into();
    let in_body = args.take("check_post");
    let is_number = |word: &&Word| word.text.bytes().all(|byte| byte.is_ascii_digit());
    if in_body && args.peek().filter(is_number).is_some() {
        args.next();
    }
    match args.peek() {
        None => Ok(HashKey::UrlParam { name, in_body }),
        Some(word) => Err(Diagnostic::alert(
            word.span,
            format!("'balance url_param' does not know '{}'", word.text),
        )
        .label("expected check_post, or nothing")),
    }
}

/// `hdr(NAME) [use_domain_only]`.
fn header(word: &Word, argument: &str, args: &mut Args<'_>) -> Result<HashKey, Diagnostic> {
    let name = argument.strip_suffix(')').filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Err(Diagnostic::alert(
            word.span,
            format!("'balance' does not accept '{}'", word.text),
        )
        .label("expected the name of a header: hdr(NAME)"));
    };
    let domain_only = args.take("use_domain_only");
    match args.peek() {
        Some(word) if !domain_only => Err(Diagnostic::alert(
            word.span,
            format!("'balance hdr' does not know '{}'", word.text),
        )
        .label("expected use_domain_only, or nothing")),
        _ => Ok(HashKey::Header {
            name: name.to_ascii_lowercase().into(),
            domain_only,
        }),
    }
}

/// `rdp-cookie[(NAME)]`.
fn rdp_cookie(
    word: &Word,
    argument: Option<&str>,
    scope: &Scope<'_>,
) -> Result<HashKey, Diagnostic> {
    let name = match argument {
        None => Some("mstshash"),
        Some(argument) => argument.strip_suffix(')').filter(|name| !name.is_empty()),
    };
    let Some(name) = name else {
        return Err(Diagnostic::alert(
            word.span,
            format!("'balance' does not accept '{}'", word.text),
        )
        .label("expected the name of a cookie: rdp-cookie(NAME)"));
    };
    let fetch = Word {
        text: format!("req.rdp_cookie({name})"),
        ..word.clone()
    };
    let sample = expr::sample::parse(&fetch, &scope.expressions(Stage::Request))?;
    Ok(HashKey::RdpCookie(Arc::new(sample)))
}

/// `hash EXPR`.
fn sample(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<HashKey, Diagnostic> {
    let word = args.required("a sample expression such as hash path")?;
    let sample = expr::sample::parse(word, &scope.expressions(Stage::Request))?;
    match args.peek() {
        Some(word) => Err(Diagnostic::alert(
            word.span,
            format!("'balance hash' takes no other argument ('{}')", word.text),
        )),
        None => Ok(HashKey::Sample(Arc::new(sample))),
    }
}

fn unknown_balance(word: &Word, name: &str) -> Diagnostic {
    if OTHER_BALANCE.contains(&name) {
        return Diagnostic::alert(
            word.span,
            format!("'balance {name}' is not implemented yet"),
        )
        .help("use another algorithm: roundrobin, leastconn, source, hash …");
    }
    let alert = Diagnostic::alert(
        word.span,
        format!("'balance' does not know '{}'", word.text),
    )
    .label(
        "expected roundrobin, static-rr, leastconn, first, random, source, uri, url_param, \
         hdr(NAME), rdp-cookie or hash",
    );
    let known = BALANCE.iter().chain(OTHER_BALANCE).copied();
    match did_you_mean(name, known) {
        Some(hint) => alert.help(hint),
        None => alert,
    }
}

fn hash_type(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("map-based or consistent")?;
    let consistent = match word.text.as_str() {
        "map-based" => false,
        "consistent" => true,
        "avalanche" => {
            return Err(Diagnostic::alert(
                word.span,
                "'hash-type avalanche' is not supported anymore",
            )
            .help("write 'hash-type map-based sdbm avalanche'"));
        }
        other => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'hash-type' does not know '{other}'"),
            )
            .label("expected map-based or consistent"));
        }
    };
    let hashing = &mut draft.back.balancing.hashing;
    hashing.consistent = consistent;
    // Without a function `consistent` mixes (manual 4.2, "hash-type").
    (hashing.function, hashing.avalanche) = (HashFunction::default(), consistent);
    let Some(word) = args.next() else {
        return Ok(());
    };
    let functions = [
        ("sdbm", HashFunction::Sdbm),
        ("djb2", HashFunction::Djb2),
        ("wt6", HashFunction::Wt6),
        ("crc32", HashFunction::Crc32),
        ("none", HashFunction::None),
    ];
    let found = functions.iter().find(|(name, _)| word.is(name));
    let Some((_, function)) = found else {
        return Err(Diagnostic::alert(
            word.span,
            format!("'hash-type' does not know the function '{}'", word.text),
        )
        .label("expected sdbm, djb2, wt6, crc32 or none"));
    };
    hashing.function = *function;
    hashing.avalanche = args.take("avalanche");
    match args.peek() {
        Some(word) if !hashing.avalanche => Err(Diagnostic::alert(
            word.span,
            format!("'hash-type' does not know the modifier '{}'", word.text),
        )
        .label("expected avalanche, or nothing")),
        _ => {
            args.ignore_rest(scope);
            Ok(())
        }
    }
}

fn balance_factor(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let place = args.peek().map_or(args.missing_place(), |word| word.span);
    let factor: u32 = next_number(args, 0..=i32::MAX as u64)?;
    if (1..=100).contains(&factor) {
        return Err(Diagnostic::alert(
            place,
            "'hash-balance-factor' must be 0 or greater than 100",
        )
        .label("percent of the average load that a server may have"));
    }
    let hashing: &mut Hashing = &mut draft.back.balancing.hashing;
    hashing.balance_factor = (factor > 0).then_some(factor);
    args.ignore_rest(scope);
    Ok(())
}

fn affinity(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("always, maxconn or maxqueue")?;
    args.end()?;
    draft.back.balancing.hashing.affinity = match word.text.as_str() {
        "always" => Affinity::Always,
        "maxconn" => Affinity::Maxconn,
        "maxqueue" => Affinity::Maxqueue,
        other => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'hash-preserve-affinity' does not know '{other}'"),
            )
            .label("expected always, maxconn or maxqueue"));
        }
    };
    Ok(())
}

const REUSE: &str = "connections that were idle carry GET, HEAD and OPTIONS requests without a body \
     only, and one that turns out dead has its request sent once more";

fn http_reuse(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("never, safe, aggressive or always")?;
    args.end()?;
    let reuse = match word.text.as_str() {
        "never" => HttpReuse::Never,
        "safe" => HttpReuse::Safe,
        "aggressive" => HttpReuse::Aggressive,
        "always" => HttpReuse::Always,
        other => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'http-reuse' does not know '{other}'"),
            )
            .label("expected never, safe, aggressive or always"));
        }
    };
    if matches!(reuse, HttpReuse::Aggressive | HttpReuse::Always) {
        let message = format!("'http-reuse {}' : {REUSE}", word.text);
        scope.report(Diagnostic::notice(word.span, message));
    }
    draft.back.http_reuse = reuse;
    Ok(())
}

/// How many may wait for a server that a client's next request prefers; -1 is without bound.
fn keep_alive_queue(
    draft: &mut Draft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("a number, or -1")?;
    args.end()?;
    draft.back.balancing.keep_alive_queue_max = match word.text.parse::<i32>() {
        Ok(-1) => None,
        Ok(count @ 0..) => Some(count.unsigned_abs()),
        _ => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'max-keep-alive-queue' does not accept '{}'", word.text),
            )
            .label("expected a number, or -1"));
        }
    };
    Ok(())
}
