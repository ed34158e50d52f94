//! `http_auth_group(userlist) GROUP …` in an ACL: the patterns are groups of that userlist (manual
//! 7.3.6), each of which must exist.

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::{AclEntry, AuthUse, Context, Patterns, Sample, TextSet};
use crate::lexer::Word;

/// Reads the groups. Names count as written: `-i` has no effect, as in HAProxy.
pub(super) fn read(
    list: &Arc<str>,
    sample: &Sample,
    criterion: &Word,
    words: &[Word],
    context: &Context<'_>,
) -> Result<AclEntry, Diagnostic> {
    let mut groups = Vec::new();
    let mut flags = true;
    for word in words {
        match word.text.as_str() {
            "--" if flags => flags = false,
            "-i" | "-n" if flags => {}
            flag if flags && flag.starts_with('-') => {
                let message = format!("'{flag}' cannot be used with '{}'", sample.text);
                return Err(Diagnostic::alert(word.span, message)
                    .label("expected the names of groups")
                    .help(format!("to test the user alone, write 'http_auth({list})'")));
            }
            name => {
                flags = false;
                groups.push((Arc::from(name), word.span));
            }
        }
    }
    if groups.is_empty() {
        let message = format!("'{}' names no group", sample.text);
        return Err(Diagnostic::alert(criterion.span, message)
            .label("expected the names of groups after this")
            .help(format!("to test the user alone, write 'http_auth({list})'")));
    }
    let names = groups.iter().map(|(name, _)| Arc::clone(name)).collect();
    context.userlists.borrow_mut().push(AuthUse {
        list: Arc::clone(list),
        span: criterion.span,
        groups,
    });
    Ok(AclEntry {
        sample: sample.clone(),
        patterns: Patterns::Equal(TextSet::new(names, false)),
    })
}
