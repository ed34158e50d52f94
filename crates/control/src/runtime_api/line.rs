//! A line of the Runtime API, from bytes to commands and their words (management.txt 9.3). Pure.
//!
//! `;` separates commands, spaces separate words, a backslash takes either's meaning away; quotes mean
//! nothing. A last word that begins with `<<` announces a payload: lines up to one that holds what
//! follows the `<<`, or up to an empty one.

/// Most words of a command: more are ignored, as in HAProxy.
const WORDS_MAX: usize = 64;

/// Longest pattern that may end a payload, bytes.
const PATTERN_LEN_MAX: usize = 64;

/// A line that was understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// Its commands, each as words; one without words was written as nothing.
    pub commands: Vec<Vec<String>>,
    /// The line that ends the payload, where one follows; it goes to the last command.
    pub payload_end: Option<String>,
}

/// Takes a line apart; its end is not part of it. Bytes that are no UTF-8 are replaced.
pub fn parse(line: &[u8]) -> Line {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\r', '\n', '\0']);
    let (text, payload_end) = without_payload(text);
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    let push = |commands: &mut Vec<Vec<String>>, word: &mut Option<String>| {
        if let (Some(word), Some(words)) = (word.take(), commands.last_mut())
            && words.len() < WORDS_MAX
        {
            words.push(word);
        }
    };
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                let escaped = characters.next().unwrap_or('\\');
                let word = word.get_or_insert_default();
                // What is escaped without need keeps its backslash: patterns are full of them.
                if !matches!(escaped, ' ' | '\t' | ';' | '\\') {
                    word.push('\\');
                }
                word.push(escaped);
            }
            ' ' | '\t' => push(&mut commands, &mut word),
            ';' => {
                push(&mut commands, &mut word);
                commands.push(Vec::new());
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    push(&mut commands, &mut word);
    // `a;` is one command, as is `a`.
    if commands.len() > 1 && commands.last().is_some_and(Vec::is_empty) && payload_end.is_none() {
        commands.pop();
    }
    Line {
        commands,
        payload_end,
    }
}

/// Cuts `<<PATTERN` off the end of a line.
fn without_payload(text: &str) -> (&str, Option<String>) {
    let Some(at) = text.rfind("<<") else {
        return (text, None);
    };
    let pattern = &text[at + 2..];
    let stands_alone = at == 0 || text[..at].ends_with([' ', '\t']);
    let is_one_word = !pattern.contains([' ', '\t', ';']);
    if !stands_alone || !is_one_word || pattern.len() > PATTERN_LEN_MAX {
        return (text, None);
    }
    (&text[..at], Some(pattern.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands as `a|b` by words, ` ; ` between; ` <<X` when a payload follows.
    fn check(line: &str, expected: &str) {
        let parsed = parse(line.as_bytes());
        let commands: Vec<String> = parsed.commands.iter().map(|it| it.join("|")).collect();
        let mut shown = commands.join(" ; ");
        if let Some(end) = parsed.payload_end {
            shown += &format!(" <<{end}");
        }
        assert_eq!(shown, expected, "{line:?}");
    }

    #[test]
    fn lines_become_commands() {
        check("show info", "show|info");
        check("  show   info\r", "show|info");
        check("show info;show stat", "show|info ; show|stat");
        check("show info;", "show|info");
        check(";", "");
        check("", "");
        check(r"add map m a\ b c\;d", "add|map|m|a b|c;d");
        check(r"add acl a ^\d+\.\\", r"add|acl|a|^\d+\.\");
        check(r"a\", r"a\");
        check("agent-send 'hello' \"x", "agent-send|'hello'|\"x");
        check("set ssl cert x <<", "set|ssl|cert|x <<");
        check("set ssl cert x <<EOF", "set|ssl|cert|x <<EOF");
        check("set ssl cert x<<", "set|ssl|cert|x<<");
        check("a << b", "a|<<|b");
        check("a;b <<%E%", "a ; b <<%E%");
        let long = "x".repeat(65);
        check(&format!("a <<{long}"), &format!("a|<<{long}"));
        assert_eq!(
            parse("w ".repeat(100).as_bytes()).commands[0].len(),
            WORDS_MAX
        );
        assert_eq!(parse(b"\xff a").commands[0].len(), 2);
    }
}

#[cfg(test)]
mod properties {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_bytes_are_taken_apart(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let parsed = super::parse(&bytes);
            prop_assert!(!parsed.commands.is_empty());
            let escaped = bytes.contains(&b'\\');
            for word in parsed.commands.iter().flatten() {
                prop_assert!(escaped || !word.contains([' ', '\t', ';']));
            }
        }
    }
}
