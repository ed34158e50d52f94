//! Lists of certificates and the names they answer to (management.txt 9.3, `show|add|del ssl crt-list`,
//! `show ssl sni`).

use std::path::{Path, PathBuf};

use config::crt_list;
use config::model::{BindTls, CertificateSource};
use engine::export::described;

use super::answer::{Answer, Call};
use super::table::{Row, changes, shows};
use super::tls::{Kind, binds, configured};

pub(super) const ROWS: &[Row] = &[
    shows(
        "show ssl crt-list",
        "[-n] [<list>]",
        "show the list of crt-lists or the content of a crt-list file <list>",
        show,
    ),
    changes(
        "add ssl crt-list",
        "<list> <cert> [opts]*",
        "add to crt-list file <list> a line <cert> or a payload",
        add,
    ),
    changes(
        "del ssl crt-list",
        "<list> <cert[:line]>",
        "delete a line <cert> from crt-list file <list>",
        delete,
    ),
    shows(
        "show ssl sni",
        "[-f <frontend>] [-A]",
        "display the list of SNI and their corresponding filename",
        show_sni,
    ),
];

/// A path as it is written without the slashes behind it.
fn list_named(text: &str) -> PathBuf {
    let cut = text.trim_end_matches('/');
    PathBuf::from(if cut.is_empty() { text } else { cut })
}

/// The `bind` lines that use a list.
fn users<'a>(call: &'a Call<'_>, list: &'a Path) -> impl Iterator<Item = &'a BindTls> {
    binds(call.config).filter(move |bind| {
        let mut sources = bind.certificates.iter();
        sources.any(|it| matches!(it, CertificateSource::List(path) if path == list))
    })
}

/// The list as it is now; `None`: it cannot be read any more, and nothing may be put in its place.
fn text_of(call: &Call<'_>, list: &Path) -> Option<String> {
    let bytes = call.handle.tls_file(list)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Why a list that cannot be read is not changed: what is in force is not all in its text.
fn unreadable(list: &Path) -> String {
    format!(
        "crt-list '{}' cannot be read (any more): what is in force stays as it is",
        list.display()
    )
}

fn show(call: &mut Call<'_>) -> Answer {
    let numbered = call.arg(0) == "-n";
    let list = call.arg(usize::from(numbered));
    if list.is_empty() {
        let mut lists: Vec<&Path> = binds(call.config)
            .flat_map(|bind| &bind.certificates)
            .filter_map(|source| match source {
                CertificateSource::List(path) => Some(path.as_path()),
                _ => None,
            })
            .collect();
        lists.sort();
        lists.dedup();
        let lines = lists.iter().map(|list| format!("{}\n", list.display()));
        return Answer::Text(lines.collect());
    }
    let list = list_named(list);
    if users(call, &list).next().is_none() {
        return Answer::error("didn't find the specified filename");
    }
    let Some(lines) = text_of(call, &list) else {
        return Answer::error(unreadable(&list));
    };
    let mut text = format!("# {}\n", list.display());
    for (at, line) in lines.lines().enumerate() {
        if let Some((certificate, options, names)) = parts(line) {
            text += certificate;
            if numbered {
                text += &format!(":{}", at + 1);
            }
            if let Some(options) = options {
                let words: Vec<&str> = options.split_whitespace().collect();
                text += &format!(" [{} ]", words.join(" "));
            }
            for name in names.split_whitespace() {
                text += &format!(" {name}");
            }
            text.push('\n');
        }
    }
    Answer::Text(text)
}

/// Certificate, options and names of a line; `None`: it is none.
fn parts(line: &str) -> Option<(&str, Option<&str>, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '[');
    let (certificate, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    match rest
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
    {
        Some((options, names)) => Some((certificate, Some(options), names)),
        None => Some((certificate, None, rest)),
    }
}

fn add(call: &mut Call<'_>) -> Answer {
    let list = list_named(call.arg(0));
    let line = match call.payload {
        Some(payload) => payload.lines().next().unwrap_or_default().trim().to_owned(),
        None => call.args.get(1..).unwrap_or_default().join(" "),
    };
    if call.args.is_empty() || line.is_empty() {
        return Answer::error("'add ssl crtlist' expects a filename and a certificate name");
    }
    let refuse = |why: String| Answer::error(format!("Can't edit the crt-list: {why}"));
    let shown = list.display().to_string();
    let Some(bind) = users(call, &list).next() else {
        return refuse(format!("crt-list '{shown}' does not exist!"));
    };
    let entry = match crt_list::parse(&line, bind) {
        Ok(mut parsed) => match parsed.entries.pop() {
            Some(entry) => entry,
            None => return refuse("no certificate in this line".to_owned()),
        },
        Err(wrong) => return refuse(format!("parsing [CLI:1]: {}", wrong.join("; "))),
    };
    let certificate = entry.crt.display().to_string();
    if call.handle.certificate(&entry.crt).is_none() {
        return refuse(format!("certificate '{certificate}' does not exist!"));
    }
    // Nothing is read from disk for a line that comes by hand.
    if let Some(policy) = &entry.policy {
        let authorities = [
            ("ca-file", &policy.ca_file),
            ("ca-verify-file", &policy.ca_verify_file),
        ];
        let lists = [("crl-file", &policy.crl_file)];
        let named = authorities.map(|it| (it, Kind::Authorities));
        let named = named
            .into_iter()
            .chain(lists.map(|it| (it, Kind::Revocations)));
        for ((keyword, file), kind) in named {
            let Some(file) = file else { continue };
            let is_there = call.handle.is_given(file) || configured(call, kind).contains(file);
            if !is_there {
                return refuse(format!("'{keyword}' : unable to load {}", file.display()));
            }
        }
    }
    let Some(mut text) = text_of(call, &list) else {
        return refuse(unreadable(&list));
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &line;
    text.push('\n');
    let files = vec![(list, Some(text.into_bytes()))];
    match call.handle.give_tls_files(files, None) {
        Ok(()) => Answer::notice(format!(
            "Inserting certificate '{certificate}' in crt-list '{shown}'.\nSuccess!"
        )),
        Err(refused) => refuse(refused.to_string()),
    }
}

fn delete(call: &mut Call<'_>) -> Answer {
    let list = list_named(call.arg(0));
    let shown = list.display().to_string();
    let refuse = |why: String| Answer::error(format!("Can't delete the entry: {why}"));
    if call.args.len() < 2 {
        return Answer::error("'del ssl crtlist' expects a filename and a certificate name");
    }
    let Some(bind) = users(call, &list).next() else {
        return refuse(format!("crt-list '{shown}' does not exist!"));
    };
    let wanted = call.arg(1);
    let (certificate, number) = match wanted.rsplit_once(':') {
        Some((name, number)) if number.parse::<u32>().is_ok() => (name, number.parse::<u32>().ok()),
        _ => (wanted, None),
    };
    let Some(text) = text_of(call, &list) else {
        return refuse(unreadable(&list));
    };
    let entries = crt_list::parse(&text, bind).map(|list| list.entries);
    let entries = entries.unwrap_or_default();
    let is_meant = |entry: &&crt_list::Entry| {
        entry.crt == Path::new(certificate) && number.is_none_or(|it: u32| it == entry.line)
    };
    let found: Vec<u32> = entries.iter().filter(is_meant).map(|it| it.line).collect();
    let line = match found.as_slice() {
        [] => return refuse(format!("certificate '{certificate}' does not exist!")),
        [line] => *line,
        _ => {
            return refuse(format!(
                "certificate '{certificate}' was found more than once: add ':' and the line's number"
            ));
        }
    };
    let is_default = entries.first().is_some_and(|first| first.line == line);
    let defaults: Vec<&str> = if is_default {
        defaults(call, &list)
    } else {
        Vec::new()
    };
    if !defaults.is_empty() {
        let frontends: String = defaults
            .iter()
            .map(|name| format!("\n\t- {name}:"))
            .collect();
        return refuse(format!(
            "certificate '{certificate}' cannot be deleted, it is used as default certificate by \
             the following frontends:{frontends}"
        ));
    }
    // An empty line stays, so that the others keep their numbers.
    let kept = text
        .lines()
        .zip(1..)
        .map(|(text, number)| match number == line {
            true => "\n".to_owned(),
            false => format!("{text}\n"),
        });
    let kept: String = kept.collect();
    let files = vec![(list, Some(kept.into_bytes()))];
    match call.handle.give_tls_files(files, None) {
        Ok(()) => Answer::notice(format!(
            "Entry '{certificate}' deleted in crtlist '{shown}'!"
        )),
        Err(refused) => refuse(refused.to_string()),
    }
}

/// Frontends whose default certificate is the first one of this list.
fn defaults<'a>(call: &'a Call<'_>, list: &Path) -> Vec<&'a str> {
    let begins_with = |bind: &BindTls| {
        let first = bind.certificates.first();
        !bind.strict_sni && matches!(first, Some(CertificateSource::List(path)) if path == list)
    };
    let frontends = call.config.frontends.iter();
    let with = frontends.filter(|it| {
        let mut binds = it.binds.iter().filter_map(|bind| bind.tls.as_ref());
        binds.any(begins_with)
    });
    with.map(|it| &*it.proxy.name).collect()
}

fn show_sni(call: &mut Call<'_>) -> Answer {
    let after = call.args.iter().position(|word| word == "-f");
    let frontend = after.map(|at| call.arg(at + 1));
    let Some(names) = call.handle.server_names(frontend) else {
        return Answer::error("Couldn't find the specified frontend!");
    };
    let mut text = String::from(
        "# Frontend/Bind\tSNI\tNegative Filter\tType\tFilename\tNotAfter\tNotBefore\n",
    );
    for it in names {
        let (from, until) = described::validity(&it.der).unwrap_or_default();
        let denied = match it.denied.is_empty() {
            true => "-".to_owned(),
            false => it.denied.iter().map(|name| format!("!{name} ")).collect(),
        };
        text += &format!(
            "{}/line {}\t{}\t{denied}\t{}\t{}\t{until}\t{from}\n",
            it.frontend,
            it.line,
            it.name,
            it.kind,
            it.file.display(),
        );
    }
    Answer::Text(text)
}
