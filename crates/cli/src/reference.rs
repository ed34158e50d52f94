//! `tidegate generate reference FOLDER`: the reference pages, Markdown, one for each family of keywords,
//! made of the registry. A test compares them with what lies in `docs/reference/`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use config::registry::{FAMILIES, Fate, Known, known};

/// A page: its file, its title, and the families on it.
struct Page {
    file: &'static str,
    title: &'static str,
    holds: fn(&str) -> bool,
}

const PAGES: &[Page] = &[
    Page {
        file: "sections.md",
        title: "Sections",
        holds: |family| family.starts_with("section") || family == "crt-store load",
    },
    Page {
        file: "global.md",
        title: "Section `global`",
        holds: |family| family == "global",
    },
    Page {
        file: "proxies.md",
        title: "Frontends, backends and what they inherit",
        holds: |family| matches!(family, "proxy" | "filter"),
    },
    Page {
        file: "bind.md",
        title: "Parameters of `bind`",
        holds: |family| family == "bind",
    },
    Page {
        file: "server.md",
        title: "Parameters of `server`",
        holds: |family| family == "server",
    },
    Page {
        file: "actions.md",
        title: "Actions of rules",
        holds: |family| {
            matches!(
                family,
                "http-request"
                    | "http-response"
                    | "http-after-response"
                    | "tcp-request connection"
                    | "tcp-request session"
                    | "tcp-request content"
                    | "tcp-response content"
                    | "quic-initial"
                    | "service"
            )
        },
    },
    Page {
        file: "fetches.md",
        title: "Sample fetches",
        holds: |family| family == "fetch",
    },
    Page {
        file: "converters.md",
        title: "Converters",
        holds: |family| family == "converter",
    },
];

const MADE: &str = "<!-- Made by `./run reference`. Do not edit: the tables it is made of are in the program. -->\n";

/// All pages, by the names of their files.
fn pages() -> BTreeMap<&'static str, String> {
    let keywords = known();
    let mut pages: BTreeMap<&'static str, String> = PAGES
        .iter()
        .map(|page| (page.file, text(page, &keywords)))
        .collect();
    pages.insert("commands.md", commands());
    pages.insert("README.md", overview(&keywords));
    pages
}

/// The page of the Runtime API.
fn commands() -> String {
    let mut out = format!(
        "{MADE}\n# Commands of the Runtime API\n\nThey are answered on a `stats socket`; the second column says which \
         level one needs there. The answers are HAProxy's.\n\n| command | needs | what it does, or why it is not had |\n\
         |---|---|---|\n"
    );
    for command in control::runtime_api::index::commands() {
        let usage = format!("{} {}", command.words, command.arguments);
        let needs = command.needs.unwrap_or("not had");
        let (usage, help) = (cell(usage.trim_end()), cell(command.help));
        let _ = writeln!(out, "| `{usage}` | {needs} | {help} |");
    }
    out
}

/// Writes them into a folder.
pub(crate) fn write(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (file, text) in pages() {
        std::fs::write(folder.join(file), text)?;
    }
    Ok(())
}

/// What the words of the tables mean, and how many keywords each page has.
fn overview(keywords: &[Known]) -> String {
    let mut out = format!(
        "{MADE}\n# Keywords\n\nEvery keyword of HAProxy 2.6 to 3.5, and what becomes of it here. What it does is said in \
         HAProxy's own manual; where tidegate means to differ is said in \
         [differences-from-haproxy.md](../differences-from-haproxy.md).\n\n\
         | status | what it means |\n|---|---|\n"
    );
    for fate in Fate::ALL {
        let _ = writeln!(out, "| {} | {} |", fate.word(), meaning(fate));
    }
    out.push_str("\n| page |");
    Fate::ALL
        .iter()
        .for_each(|fate| out.push_str(&format!(" {} |", fate.word())));
    out.push_str("\n|---|");
    Fate::ALL.iter().for_each(|_| out.push_str("--:|"));
    out.push('\n');
    for page in PAGES {
        let _ = write!(out, "| [{}]({}) |", page.title, page.file);
        for fate in Fate::ALL {
            let of_page = keywords.iter().filter(|it| (page.holds)(&it.family));
            let count = of_page.filter(|it| it.fate == fate).count();
            let _ = write!(out, " {count} |");
        }
        out.push('\n');
    }
    out.push_str("\nThe Runtime API has a page of its own: [commands.md](commands.md).\n");
    out
}

fn meaning(fate: Fate) -> &'static str {
    match fate {
        Fate::Implemented => "it does what the manual says",
        Fate::Translated => {
            "HAProxy has removed it; it does what it did, and a warning shows the modern line"
        }
        Fate::Accepted => "it is read and has no effect, which harms nobody (a notice, with `-V`)",
        Fate::NotInForce => "it is read and has no effect that somebody may miss: `-c` says so",
        Fate::Refused => "the configuration is refused, with the reason and what to do instead",
        Fate::Missing => "the configuration is refused: it is not implemented yet",
    }
}

fn text(page: &Page, keywords: &[Known]) -> String {
    let mut out = format!(
        "{MADE}\n# {}\n\nThe words of the second column are explained in [README.md](README.md).\n",
        page.title
    );
    let mut family = None;
    let has_place = |family: &str| family == "proxy";
    for keyword in keywords.iter().filter(|it| (page.holds)(&it.family)) {
        if family != Some(&keyword.family) {
            family = Some(&keyword.family);
            let _ = write!(out, "\n## {}\n\n", heading(&keyword.family));
            out.push_str(match has_place(&keyword.family) {
                true => "| keyword | status | where | note |\n|---|---|---|---|\n",
                false => "| keyword | status | note |\n|---|---|---|\n",
            });
        }
        let (name, fate) = (cell(&keyword.name), keyword.fate.word());
        let note = cell(&keyword.note);
        let _ = match has_place(&keyword.family) {
            true => writeln!(out, "| `{name}` | {fate} | {} | {note} |", keyword.place),
            false => writeln!(out, "| `{name}` | {fate} | {note} |"),
        };
    }
    out
}

fn heading(family: &str) -> String {
    if let Some((_, title)) = FAMILIES.iter().find(|(name, _)| *name == family) {
        return (*title).to_owned();
    }
    match family.strip_prefix("section ") {
        Some(section) => format!("Section `{section}`"),
        None => format!(
            "Parameters of `load` in `{}`",
            family.trim_end_matches(" load")
        ),
    }
}

/// Text as it stands in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
