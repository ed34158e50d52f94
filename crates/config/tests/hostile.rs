//! Configurations nobody meant to write: whatever the text is, it is read to its end, in bounded
//! time, and gives a model exactly when there is no alert.

use config::diagnostics::{Severity, Style};
use config::source::Source;
use proptest::prelude::*;

struct Nothing;

impl config::Surroundings for Nothing {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "A").then(|| "a b".to_owned())
    }
    fn read(&self, path: &str) -> Result<String, String> {
        match path {
            "f" => Ok("x\ny # z\n".to_owned()),
            _ => Err("no such file".to_owned()),
        }
    }
}

fn check(text: &str) {
    let sources = [Source::new("hostile", text)];
    let outcome = config::load(&sources, &Nothing);
    let alert = |it: &config::diagnostics::Diagnostic| it.severity == Severity::Alert;
    assert_eq!(
        outcome.config.is_none(),
        outcome.diagnostics.iter().any(alert)
    );
    let style = Style {
        notices: true,
        ..Style::default()
    };
    config::diagnostics::render(&outcome.diagnostics, &sources, style);
}

/// All cases of `tests/cfg`, as one list of lines to be shuffled.
fn lines() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cfg");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let texts = paths
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("text"));
    texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| !line.trim_start().starts_with("#~"))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_is_read(text in "\\PC*|[ -~\n\t\r\\x00\"'\\\\$#{}%()\\[\\]]*") {
        check(&text);
    }

    #[test]
    fn shuffled_and_broken_lines_are_read(
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0usize..80, "[ -~]{0,4}|\\PC"), 1..40)
    ) {
        let all = lines();
        let mut text = String::from("listen l\n");
        for (index, at, insert) in picks {
            let mut line = index.get(&all).clone();
            let mut at = at.min(line.len());
            while !line.is_char_boundary(at) {
                at -= 1;
            }
            line.insert_str(at, &insert);
            text.push_str(&line);
            text.push('\n');
        }
        check(&text);
    }
}

#[test]
fn large_texts_are_read_in_time() {
    check(&"listen l\n bind :1\n".repeat(20_000));
    check(&format!(
        "listen l\n acl a src {}\n",
        "10.0.0.1 ".repeat(3_000)
    ));
    check(&format!("frontend {}\n", "x".repeat(1_000_000)));
    check(&".if 1\n".repeat(5_000));
    check(&format!(".if {}1\n.endif\n", "(".repeat(30_000)));
    check(&format!("listen l\n bind {}\n", ":1-65535,".repeat(100)));
}

/// What is not shown is not compared either: thousands of unknown names among thousands of known
/// ones took half a minute.
#[test]
fn many_unknown_names_are_told_in_time() {
    let lines = |line: fn(usize) -> String| (0..2_000).map(line).collect::<String>();
    let backends = lines(|at| format!("backend backend_number_{at}\n"));
    let uses = lines(|at| format!(" use_backend backend_nunber_{at}\n"));
    check(&format!("{backends}frontend f\n{uses}"));
    let acls = lines(|at| format!(" acl acl_number_{at} always_true\n"));
    let uses = lines(|at| format!(" http-request deny if acl_nunber_{at}\n"));
    check(&format!("frontend f\n mode http\n{acls}{uses}"));
    check(&format!("global\n{}", lines(|at| format!(" dae{at}mon\n"))));
    let word = "x".repeat(60_000);
    check(&format!(
        "global\n{}",
        format!(" {word} {word}\n").repeat(200)
    ));
}
