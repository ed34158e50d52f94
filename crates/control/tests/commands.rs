//! Nothing that HAProxy answers on its Runtime API is unknown here.

#[test]
fn every_command_of_the_manuals_index_is_known() {
    let known = control::runtime_api::index::commands();
    let unknown: Vec<&str> = include_str!("commands.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter(|line| {
            let begins = |long: &str, short: &str| {
                let rest = long.strip_prefix(short);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            };
            let mut known = known.iter().map(|command| command.words);
            !known.any(|words| begins(line, words) || begins(words, line))
        })
        .collect();
    assert!(unknown.is_empty(), "unknown: {unknown:?}");
}
