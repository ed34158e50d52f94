//! Section `userlist` (manual 12.2): users, their passwords, their groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::own::OwnParse;
use super::{Keyword, Scope, implemented};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::expr::AuthUse;
use crate::lexer::Word;
use crate::model::{Password, Scheme, Secret, User, Userlist};
use crate::nearest::did_you_mean;
use crate::source::Span;

/// A name and where it was written.
type Spanned = (Arc<str>, Span);

/// A section under way.
#[derive(Debug, Default)]
pub(crate) struct UserlistDraft {
    pub(crate) name: Arc<str>,
    users: Vec<UserDraft>,
    groups: Vec<GroupDraft>,
    /// The names of both, to look them up.
    user_names: BTreeSet<Arc<str>>,
    group_names: BTreeSet<Arc<str>>,
    /// Whether it was said what is better than a plain password.
    told: bool,
}

#[derive(Debug)]
struct UserDraft {
    name: Arc<str>,
    password: Password,
    groups: Vec<Spanned>,
}

#[derive(Debug)]
struct GroupDraft {
    name: Arc<str>,
    users: Vec<Spanned>,
}

pub(crate) const KEYWORDS: &[Keyword<OwnParse<UserlistDraft>, ()>] = &[
    implemented("group", (), group),
    implemented("user", (), user),
];

/// `group NAME [users U,…]`.
fn group(
    draft: &mut UserlistDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let name = args.required("the name of a group")?;
    let mut users = Vec::new();
    while let Some(word) = args.next() {
        if !word.is("users") {
            return Err(Diagnostic::alert(
                word.span,
                format!(
                    "'group' only supports the option 'users', not '{}'",
                    word.text
                ),
            )
            .help("names are joined with commas: 'users joe,ann'"));
        }
        users.extend(args.next().into_iter().flat_map(names));
    }
    if !draft.group_names.insert(name.text.as_str().into()) {
        scope.report(ignored("group", name, &draft.name));
        return Ok(());
    }
    draft.groups.push(GroupDraft {
        name: name.text.as_str().into(),
        users,
    });
    Ok(())
}

/// `user NAME [password HASH|insecure-password TEXT] [groups G,…]`.
fn user(
    draft: &mut UserlistDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let name = args.required("the name of a user")?;
    let mut password = Password::None;
    let mut groups = Vec::new();
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "password" => {
                if let Some(hash) = args.next() {
                    password = Password::Hash(scheme(hash)?, Secret(hash.text.as_str().into()));
                }
            }
            "insecure-password" => {
                if let Some(text) = args.next() {
                    draft.hint(word.span, scope);
                    password = Password::Plain(Secret(text.text.as_str().into()));
                }
            }
            "groups" => groups.extend(args.next().into_iter().flat_map(names)),
            // Not quoted: it may be the rest of a password.
            _ => {
                return Err(Diagnostic::alert(
                    word.span,
                    "'user' only supports the options 'password', 'insecure-password' and 'groups'",
                )
                .help("quote a password that has spaces"));
            }
        }
    }
    if matches!(password, Password::None) {
        scope.report(
            Diagnostic::warning(
                name.span,
                format!(
                    "user '{}' has no password: nobody can log in as it",
                    name.text
                ),
            )
            .help("write 'password' with a hash of 'mkpasswd' behind it"),
        );
    }
    if !draft.user_names.insert(name.text.as_str().into()) {
        scope.report(ignored("user", name, &draft.name));
        return Ok(());
    }
    draft.users.push(UserDraft {
        name: name.text.as_str().into(),
        password,
        groups,
    });
    Ok(())
}

fn ignored(what: &str, name: &Word, list: &str) -> Diagnostic {
    let message = format!(
        "ignoring duplicated {what} '{}' in userlist '{list}'",
        name.text
    );
    Diagnostic::warning(name.span, message)
}

fn names(word: &Word) -> Vec<Spanned> {
    let names = word.text.split(',').filter(|name| !name.is_empty());
    names.map(|name| (name.into(), word.span)).collect()
}

/// The most work a hash may ask for: about a second on a slow machine. More would let anybody who
/// knows a user's name keep the machine busy.
const BCRYPT_COST_MAX: u32 = 15;
/// Memory that checking a yescrypt hash may take: four times what mkpasswd's hashes take, and two are
/// checked at once.
const YESCRYPT_MEMORY_MAX: u64 = 64 << 20;

/// See [`BCRYPT_COST_MAX`].
const SHA_ROUNDS_MAX: u32 = 1_000_000;

/// Which hash it is, by its prefix (crypt(5)).
fn scheme(word: &Word) -> Result<Scheme, Diagnostic> {
    let mut parts = word.text.split('$');
    let (before, prefix) = (parts.next(), parts.next());
    let parts: Vec<&str> = parts.collect();
    let scheme = match (before, prefix) {
        (Some(""), Some("1")) => Scheme::Md5,
        (Some(""), Some("2a" | "2b" | "2y")) => Scheme::Bcrypt,
        (Some(""), Some("5")) => Scheme::Sha256,
        (Some(""), Some("6")) => Scheme::Sha512,
        (Some(""), Some("y")) => Scheme::Yescrypt,
        _ => {
            return Err(Diagnostic::alert(
                word.span,
                "'password' expects a hash that begins with $1$, $2a$, $2b$, $2y$, $5$, $6$ or $y$",
            )
            .label("this is none of them; DES hashes are not supported")
            .help("make one with 'mkpasswd -m sha512crypt', or write 'insecure-password' before a plain text"));
        }
    };
    let digest_length =
        |index: usize, length: usize| parts.len() == index + 1 && parts[index].len() == length;
    let (rounds, whole) = match scheme {
        Scheme::Md5 => (None, digest_length(1, 22)),
        Scheme::Bcrypt => (parts.first().copied(), digest_length(1, 53)),
        Scheme::Sha256 | Scheme::Sha512 => {
            let rounds = parts.first().and_then(|part| part.strip_prefix("rounds="));
            let length = if scheme == Scheme::Sha256 { 43 } else { 86 };
            (
                rounds,
                digest_length(1 + usize::from(rounds.is_some()), length),
            )
        }
        Scheme::Yescrypt => (None, digest_length(2, 43)),
    };
    if !whole {
        return Err(Diagnostic::alert(word.span, "this hash is not whole")
            .label("nobody could log in with it")
            .help("put it between single quotes, so that no $ is taken for a variable"));
    }
    let most = match scheme {
        Scheme::Bcrypt => BCRYPT_COST_MAX,
        _ => SHA_ROUNDS_MAX,
    };
    let costly = || {
        let limit = match scheme {
            Scheme::Bcrypt => format!("its cost may be {most} at most"),
            Scheme::Yescrypt => format!("it may take {YESCRYPT_MEMORY_MAX} bytes at most"),
            _ => format!("it may have {most} rounds at most"),
        };
        Diagnostic::alert(
            word.span,
            format!("this hash is too costly to check: {limit}"),
        )
        .label("anybody could keep this machine busy with it")
    };
    match rounds.map(str::parse::<u32>) {
        Some(Ok(rounds)) if rounds > most => return Err(costly()),
        Some(Err(_)) => {
            return Err(
                Diagnostic::alert(word.span, "this hash does not say how costly it is")
                    .label("nobody could log in with it"),
            );
        }
        _ => {}
    }
    if scheme == Scheme::Yescrypt {
        match parts.first().and_then(|word| yescrypt_memory(word)) {
            Some(bytes) if bytes <= YESCRYPT_MEMORY_MAX => {}
            _ => return Err(costly()),
        }
    }
    Ok(scheme)
}

/// Bytes of memory that checking a yescrypt hash takes, from its parameters: flavour, log2 of the
/// blocks, size of a block, in the digits of crypt(5). `None`: parameters that mkpasswd does not make.
fn yescrypt_memory(parameters: &str) -> Option<u64> {
    const DIGITS: &[u8] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digit = |byte: u8| DIGITS.iter().position(|known| *known == byte);
    let &[_flavour, blocks, size] = parameters.as_bytes() else {
        return None;
    };
    // Both are counted from 1, and one digit holds all that anybody uses (up to 47).
    let (blocks, size) = (digit(blocks)? + 1, digit(size)? + 1);
    if blocks >= 48 || size >= 48 {
        return None;
    }
    Some((128 * size as u64) << blocks)
}

/// Ties users to groups; names that are nobody's are told.
pub(crate) fn settle(draft: UserlistDraft, report: &mut Vec<Diagnostic>) -> Userlist {
    let list = draft.name;
    for (name, span) in draft.users.iter().flat_map(|user| &user.groups) {
        if !draft.group_names.contains(name) {
            let known: Vec<&str> = draft.groups.iter().map(|group| &*group.name).collect();
            report.push(nobody("group", name, *span, &list, &known));
        }
    }
    for (name, span) in draft.groups.iter().flat_map(|group| &group.users) {
        if !draft.user_names.contains(name) {
            let known: Vec<&str> = draft.users.iter().map(|user| &*user.name).collect();
            report.push(nobody("user", name, *span, &list, &known));
        }
    }
    let mut listed: BTreeMap<&str, Vec<Arc<str>>> = BTreeMap::new();
    for group in &draft.groups {
        for (user, _) in &group.users {
            listed.entry(user).or_default().push(group.name.clone());
        }
    }
    let users = draft.users.into_iter().map(|user| {
        let mut groups: Vec<Arc<str>> = user.groups.into_iter().map(|(name, _)| name).collect();
        groups.extend(listed.remove(&*user.name).into_iter().flatten());
        groups.sort();
        groups.dedup();
        User {
            name: user.name.clone(),
            password: user.password,
            groups,
        }
    });
    Userlist {
        users: users.collect(),
        name: list,
    }
}

fn nobody(what: &str, name: &str, span: Span, list: &str, known: &[&str]) -> Diagnostic {
    let alert = Diagnostic::alert(span, format!("userlist '{list}': no such {what} '{name}'"));
    match did_you_mean(name, known.iter().copied()) {
        Some(hint) => alert.help(hint),
        None => alert,
    }
}

/// Checks that what expressions name exists; the groups must be some user's or the section's own.
pub(crate) fn check_uses(
    uses: &[AuthUse],
    lists: &[Arc<Userlist>],
    groups: &[(Arc<str>, Arc<str>)],
    report: &mut Vec<Diagnostic>,
) {
    let known_lists: BTreeSet<&str> = lists.iter().map(|list| &*list.name).collect();
    let known_groups: BTreeSet<(&str, &str)> = groups
        .iter()
        .map(|(list, group)| (&**list, &**group))
        .collect();
    for used in uses {
        if !known_lists.contains(&*used.list) {
            let alert = Diagnostic::alert(
                used.span,
                format!("unable to find userlist '{}'", used.list),
            )
            .label("no 'userlist' section has this name");
            let names = lists.iter().map(|list| &*list.name);
            report.push(match did_you_mean(&used.list, names) {
                Some(hint) => alert.help(hint),
                None => alert,
            });
            continue;
        }
        for (group, span) in &used.groups {
            if !known_groups.contains(&(&*used.list, &**group)) {
                let message = format!("userlist '{}' has no group '{group}'", used.list);
                let names = groups.iter().filter(|(list, _)| *list == used.list);
                let alert = Diagnostic::alert(*span, message);
                report.push(match did_you_mean(group, names.map(|(_, name)| &**name)) {
                    Some(hint) => alert.help(hint),
                    None => alert,
                });
            }
        }
    }
}

impl UserlistDraft {
    /// Without users.
    pub(crate) fn named(name: Arc<str>) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Says once what is better than a plain password.
    fn hint(&mut self, place: Span, scope: &Scope<'_>) {
        if !std::mem::replace(&mut self.told, true) {
            let message = format!(
                "userlist '{}' has passwords that whoever reads this file can read",
                self.name
            );
            scope.report(
                Diagnostic::notice(place, message)
                    .help("write 'password' and a hash of 'mkpasswd -m sha512crypt' instead"),
            );
        }
    }

    /// Its groups, with or without users.
    pub(crate) fn group_names(&self) -> impl Iterator<Item = Arc<str>> {
        self.groups.iter().map(|group| group.name.clone())
    }
}
