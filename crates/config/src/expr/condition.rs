//! Conditions after `if` and `unless` (manual 7.2).

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::acl::{self, AclTable};
use crate::expr::{Acl, Condition, Context, Term, sample};
use crate::lexer::Word;
use crate::nearest::did_you_mean_among_many;
use crate::source::Span;

/// Reads a condition to the end of the line; the first of `words` is `if` or `unless`. Fails on the
/// first word that cannot be understood; warns of tests that can never match at this stage.
pub fn parse(
    words: &[Word],
    acls: &AclTable,
    context: &Context<'_>,
) -> Result<Condition, Diagnostic> {
    let Some((keyword, mut rest)) = words.split_first() else {
        return Ok(Condition {
            unless: false,
            any_of: Vec::new(),
        });
    };
    let mut condition = Condition {
        unless: keyword.text == "unless",
        any_of: Vec::new(),
    };
    let mut all_of: Vec<Term> = Vec::new();
    let mut negated = false;
    while let Some((word, behind)) = rest.split_first() {
        if word.text == "or" || word.text == "||" {
            close(&mut condition, &mut all_of, word, context);
            rest = behind;
            continue;
        }
        let name = word.text.trim_start_matches('!');
        negated ^= (word.text.len() - name.len()) % 2 == 1;
        rest = behind;
        if name.is_empty() {
            continue; // as HAProxy, `! name` with a space is fine
        }
        let acl = if name == "{" {
            let (acl, behind) = anonymous(word, behind, context)?;
            rest = behind;
            acl
        } else {
            named(name, word, acls, context)?
        };
        warn_if_unmet(&acl, word.span, context);
        all_of.push(Term { negated, acl });
        negated = false;
    }
    close(&mut condition, &mut all_of, keyword, context);
    Ok(condition)
}

/// Ends one alternative. An empty one counts for nothing, as in HAProxy.
fn close(condition: &mut Condition, all_of: &mut Vec<Term>, at: &Word, context: &Context<'_>) {
    if !all_of.is_empty() {
        condition.any_of.push(std::mem::take(all_of));
        return;
    }
    let message = match at.text.as_str() {
        keyword @ ("if" | "unless") if condition.any_of.is_empty() => {
            format!("nothing is tested behind '{keyword}'")
        }
        "if" | "unless" => "nothing is tested behind the last 'or'".to_owned(),
        word => format!("nothing is tested before this '{word}'"),
    };
    let warning = Diagnostic::warning(at.span, message);
    context.notices.borrow_mut().push(warning);
}

/// Reads `{ criterion … }`; returns what stands behind it.
fn anonymous<'a>(
    brace: &Word,
    words: &'a [Word],
    context: &Context<'_>,
) -> Result<(Arc<Acl>, &'a [Word]), Diagnostic> {
    let Some(end) = words.iter().position(|word| word.text == "}") else {
        let problem = Diagnostic::alert(brace.span, "this brace is never closed");
        let glued = words.iter().find(|word| word.text.ends_with('}'));
        return Err(match glued {
            Some(word) => Diagnostic::alert(word.span, "this brace does not close the test")
                .label("expected a space before '}'"),
            None => problem.label("expected a '}' as a word of its own"),
        });
    };
    if end == 0 {
        return Err(
            Diagnostic::alert(brace.span, "there is nothing between these braces")
                .label("expected a criterion such as 'path_beg /api'"),
        );
    }
    let acl = Acl {
        name: "".into(),
        span: Some(brace.span),
        entries: acl::read_entries(&words[..end], context)?,
    };
    Ok((Arc::new(acl), &words[end + 1..]))
}

/// Finds a declared or predefined ACL.
fn named(
    name: &str,
    word: &Word,
    acls: &AclTable,
    context: &Context<'_>,
) -> Result<Arc<Acl>, Diagnostic> {
    if let Some(acl) = acls.find(name) {
        return Ok(Arc::clone(acl));
    }
    if let Some(acl) = acl::predefined(name, word.span, context) {
        return acl;
    }
    let problem = Diagnostic::alert(word.span, format!("no ACL is called '{name}'"));
    let mut known: Vec<&str> = acl::predefined_names().collect();
    known.extend(acls.names());
    let hint = did_you_mean_among_many(name, known, &context.notices.borrow());
    Err(match (name, hint) {
        ("and" | "&&", _) => problem.help("tests that must all hold follow one another: 'if a b'"),
        (_, Some(help)) => problem.help(help),
        _ if name.starts_with('{') => problem.help("write a space after '{'"),
        _ => problem.help(format!("declare it: 'acl {name} …'")),
    })
}

fn warn_if_unmet(acl: &Acl, span: Span, context: &Context<'_>) {
    for entry in &acl.entries {
        let Some(what) = sample::unmet(entry.sample.needs, context) else {
            continue;
        };
        let message = format!("'{}' never matches here: {what}", entry.sample.text);
        context
            .notices
            .borrow_mut()
            .push(Diagnostic::warning(span, message));
    }
}
