//! `show default-server`: what a server that is added may begin with (management.txt 9.3).

use super::answer::{Answer, Call};
use super::table::{Row, shows};

pub(super) const ROWS: &[Row] = &[shows(
    "show default-server",
    "[<backend>]",
    "list the default-server instances that 'add server … from' may name",
    show,
)];

fn show(call: &mut Call<'_>) -> Answer {
    let wanted = Some(call.arg(0)).filter(|name| !name.is_empty());
    let mut backends = call.config.backends.iter();
    if wanted.is_some_and(|wanted| !backends.any(|it| *it.proxy.name == *wanted)) {
        return Answer::error("Can't find backend.");
    }
    let mut text = String::new();
    let mut last = "";
    let all = config::default_servers(call.config);
    for (backend, name) in all.filter(|(backend, _)| wanted.is_none_or(|it| it == *backend)) {
        // The first of each backend is marked.
        let mark = if backend == last { ' ' } else { '*' };
        let name = name.map_or_else(String::new, |name| format!("/{name}"));
        text += &format!("{mark} {backend}{name}\n");
        last = backend;
    }
    Answer::Text(text)
}
