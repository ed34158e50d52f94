//! `acl` lines: a name, what is looked at, and what it is compared with (manual 7.1).

use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::{Acl, Context};
use crate::lexer::Word;

/// The ACLs of one section. Declare all `acl` lines of a section before parsing its conditions:
/// a later line of the same name counts for earlier rules too.
#[derive(Debug, Clone, Default)]
pub struct AclTable {
    acls: HashMap<Arc<str>, Arc<Acl>>,
}

impl AclTable {
    /// The ACL of that name, if it was declared.
    pub fn find(&self, name: &str) -> Option<&Arc<Acl>> {
        self.acls.get(name)
    }
}

/// Adds what one `acl` line says: `words` are its name, criterion, flags and patterns, without the
/// word `acl`.
pub fn declare(
    words: &[Word],
    acls: &mut AclTable,
    context: &Context<'_>,
) -> Result<(), Diagnostic> {
    let _ = (words, acls, context);
    Ok(())
}
