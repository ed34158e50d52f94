//! What a `server` or `default-server` line begins with: `[name NAME] [from ORIGIN]` (manual 4.2,
//! "default-server"; 5.2, "from").

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Scope;
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::{Draft, ServerDraft};
use crate::lexer::Word;
use crate::nearest::did_you_mean;

/// What later servers may begin with: the `default-server` lines of a section.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    /// Those without a name.
    pub(crate) unnamed: ServerDraft,
    /// `default-server name NAME`.
    pub(crate) named: BTreeMap<Arc<str>, ServerDraft>,
}

/// The origins of each backend; `None` where it says nothing, as most of many do.
pub(crate) type OriginsByBackend = BTreeMap<Arc<str>, Option<Box<Origins>>>;

impl Origins {
    /// To be kept for later.
    pub(crate) fn kept(&self) -> Option<Box<Self>> {
        let says = self.unnamed.server.has_defaults || !self.named.is_empty();
        says.then(|| Box::new(self.clone()))
    }

    /// As `show default-server` tells them: the unnamed one only where something was said.
    pub(crate) fn names(&self) -> impl Iterator<Item = Option<&str>> {
        let unnamed = self.unnamed.server.has_defaults.then_some(None);
        unnamed
            .into_iter()
            .chain(self.named.keys().map(|name| Some(&**name)))
    }
}

/// What a `server` line begins with: `from ORIGIN` in front of all other parameters, else the section's
/// `default-server`.
pub(crate) fn of_server(
    draft: &Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<ServerDraft, Diagnostic> {
    match from(draft, args, scope)? {
        Some(origin) => Ok(origin),
        None => Ok(draft.back.origins.unnamed.clone()),
    }
}

/// Which `default-server` a line is about, by name, and what it begins with.
pub(crate) fn of_default(
    draft: &Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(Option<Arc<str>>, ServerDraft), Diagnostic> {
    let mut name: Option<Arc<str>> = None;
    if args.peek().is_some_and(|word| word.is("name")) {
        args.next();
        let word = args.required("a name")?;
        let text = crate::values::name(word, "default-server")?;
        let taken = |server: &ServerDraft| server.server.name == text;
        if draft.back.servers.iter().any(taken) {
            let message = format!("a server named '{text}' was already defined");
            return Err(Diagnostic::alert(word.span, message));
        }
        name = Some(text);
    }
    let so_far = || match &name {
        None => draft.back.origins.unnamed.clone(),
        Some(name) => {
            let known = draft.back.origins.named.get(name);
            known.cloned().unwrap_or_default()
        }
    };
    let begun = from(draft, args, scope)?.unwrap_or_else(so_far);
    Ok((name, begun))
}

fn from(
    draft: &Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Option<ServerDraft>, Diagnostic> {
    if !args.peek().is_some_and(|word| word.is("from")) {
        return Ok(None);
    }
    args.next();
    let word = args.required("none, be:[BACKEND] or srv:[BACKEND/]SERVER")?;
    let mut origin = find(draft, word, scope)?;
    // These are one line's own.
    origin.server.id = None;
    origin.server.guid = None;
    origin.server.is_template = false;
    Ok(Some(origin))
}

fn find(draft: &Draft, word: &Word, scope: &Scope<'_>) -> Result<ServerDraft, Diagnostic> {
    let text = word.text.as_str();
    if text == "none" {
        return Ok(ServerDraft::default());
    }
    let unknown = |message: String| Diagnostic::alert(word.span, message);
    let of = |kept: &Option<Box<Origins>>| kept.as_deref().cloned().unwrap_or_default();
    let origins = |backend: &str| {
        let own = backend.is_empty() || *backend == *draft.proxy.name;
        // A server that is added while running finds its own backend among the others.
        let found = match own {
            true => scope
                .origins
                .get(&draft.proxy.name)
                .map_or(Some(draft.back.origins.clone()), |kept| Some(of(kept))),
            false => scope.origins.get(backend).map(of),
        };
        found.ok_or_else(|| {
            let alert = unknown(format!(
                "'from' : backend '{backend}' is not defined before this"
            ));
            match did_you_mean(backend, scope.origins.keys().map(|name| &**name)) {
                Some(hint) => alert.help(hint),
                None => alert,
            }
        })
    };
    if let Some(backend) = text.strip_prefix("be:") {
        return origins(backend).map(|found| found.unnamed);
    }
    let Some(path) = text.strip_prefix("srv:") else {
        return Err(unknown(format!("'from' does not know '{text}'"))
            .label("expected none, be:[BACKEND] or srv:[BACKEND/]SERVER"));
    };
    let (backend, server) = path.split_once('/').unwrap_or(("", path));
    let own = backend.is_empty() || *backend == *draft.proxy.name;
    let mut servers = draft.back.servers.iter().filter(|_| own);
    if let Some(found) = servers.find(|it| *it.server.name == *server) {
        return Ok(found.clone());
    }
    let found = origins(backend)?;
    found.named.get(server).cloned().ok_or_else(|| {
        let message = format!("'from' : there is no server or default-server named '{server}' before this");
        unknown(message)
            .help("servers of other sections cannot be named: give their settings a name with 'default-server name NAME'")
    })
}
