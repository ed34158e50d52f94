//! Conditions after `if` and `unless` (manual 7.2).

use crate::diagnostics::Diagnostic;
use crate::expr::acl::AclTable;
use crate::expr::{Condition, Context};
use crate::lexer::Word;

/// Reads a condition to the end of the line; the first of `words` is `if` or `unless`.
pub fn parse(
    words: &[Word],
    acls: &AclTable,
    context: &Context<'_>,
) -> Result<Condition, Diagnostic> {
    let _ = (acls, context);
    Ok(Condition {
        unless: words.first().is_some_and(|word| word.text == "unless"),
        any_of: Vec::new(),
    })
}
