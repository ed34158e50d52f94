//! Actions that change heads: fields of requests and responses, and what a request asks for (manual 4.4).

use std::sync::Arc;

use super::Scope;
use super::actions::{format, header};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::expr::{Stage, TextMethod, regex};
use crate::model::{FieldEdit, FieldName, Normalizer, Replacement, TargetEdit, TargetPart};
use crate::values::{choice, header_name};

pub(super) fn set(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<FieldEdit, Diagnostic> {
    header(args, scope, stage).map(|(name, format)| FieldEdit::Set(name, format))
}

pub(super) fn add(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<FieldEdit, Diagnostic> {
    header(args, scope, stage).map(|(name, format)| FieldEdit::Add(name, format))
}

/// `NAME [-m METHOD]`.
pub(super) fn delete(
    args: &mut Args<'_>,
    _: &Scope<'_>,
    _: Stage,
) -> Result<FieldEdit, Diagnostic> {
    let word = args.required("a header name")?;
    if !args.take("-m") {
        return header_name(word).map(|name| FieldEdit::Delete(FieldName::Is(name)));
    }
    const METHODS: &[(&str, Option<TextMethod>)] = &[
        ("str", None),
        ("beg", Some(TextMethod::Prefix)),
        ("end", Some(TextMethod::Suffix)),
        ("sub", Some(TextMethod::Contains)),
    ];
    let method = args.required("a matching method after '-m'")?;
    if method.is("reg") {
        // Names are in lower case, as HAProxy has them.
        let regex = regex(&word.text, false, word.span)?;
        return Ok(FieldEdit::Delete(FieldName::Regex(regex)));
    }
    let text: Arc<str> = word.text.to_ascii_lowercase().into();
    Ok(FieldEdit::Delete(
        match choice(method, args.keyword, METHODS)? {
            None => FieldName::Is(header_name(word)?),
            Some(method) => FieldName::Matches(method, text),
        },
    ))
}

pub(super) fn replace_header(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<FieldEdit, Diagnostic> {
    let name = header_name(args.required("a header name, a regex and a replacement")?)?;
    let replacement = replacement(name, args, scope, stage)?;
    Ok(FieldEdit::Replace(Box::new(replacement)))
}

pub(super) fn replace_value(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<FieldEdit, Diagnostic> {
    let name = header_name(args.required("a header name, a regex and a replacement")?)?;
    let replacement = replacement(name, args, scope, stage)?;
    Ok(FieldEdit::ReplaceValue(Box::new(replacement)))
}

/// `REGEX FORMAT`.
fn replacement(
    name: Arc<str>,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<Replacement, Diagnostic> {
    let word = args.required("a regex")?;
    let regex = regex(&word.text, false, word.span)?;
    let with = format(args.required_text("what to replace it with")?, scope, stage)?;
    Ok(Replacement { name, regex, with })
}

pub(super) fn set_target(
    part: TargetPart,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<TargetEdit, Diagnostic> {
    let text = args.required("a format")?;
    Ok(TargetEdit::Set(part, format(text, scope, Stage::Request)?))
}

pub(super) fn replace_target(
    part: TargetPart,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<TargetEdit, Diagnostic> {
    let replacement = replacement("".into(), args, scope, Stage::Request)?;
    Ok(TargetEdit::Replace(part, Box::new(replacement)))
}

pub(super) fn method(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<TargetEdit, Diagnostic> {
    let text = args.required("a method")?;
    format(text, scope, Stage::Request).map(TargetEdit::Method)
}

/// `normalize-uri NORMALIZER [full|strict]`.
pub(super) fn normalize(args: &mut Args<'_>) -> Result<TargetEdit, Diagnostic> {
    const NORMALIZERS: &[(&str, Normalizer)] = &[
        ("fragment-encode", Normalizer::FragmentEncode),
        ("fragment-strip", Normalizer::FragmentStrip),
        ("path-merge-slashes", Normalizer::MergeSlashes),
        ("path-strip-dot", Normalizer::StripDot),
        ("path-strip-dotdot", Normalizer::StripDotDot(false)),
        (
            "percent-decode-unreserved",
            Normalizer::DecodeUnreserved(false),
        ),
        ("percent-to-uppercase", Normalizer::Uppercase(false)),
        ("query-sort-by-name", Normalizer::SortQuery),
    ];
    let word = args.required("a normalizer such as path-merge-slashes")?;
    let normalizer = choice(word, args.keyword, NORMALIZERS)?;
    Ok(TargetEdit::Normalize(match normalizer {
        Normalizer::StripDotDot(_) => Normalizer::StripDotDot(args.take("full")),
        Normalizer::DecodeUnreserved(_) => Normalizer::DecodeUnreserved(args.take("strict")),
        Normalizer::Uppercase(_) => Normalizer::Uppercase(args.take("strict")),
        other => other,
    }))
}
