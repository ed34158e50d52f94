//! Configurations that both programs are asked about with `-c`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::report::Finding;
use crate::table::Group;

/// Runs a group. What stands before its first case stands before each.
pub(crate) fn run(haproxy: &str, group: &Group) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("haproxy.cfg");
    for (name, content) in &group.settings.files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let mut findings = Vec::new();
    for case in &group.cases {
        std::fs::write(&path, format!("{}{}", group.config, case.text)).unwrap();
        let (theirs, ours) = (
            ask(haproxy, &path),
            ask(env!("CARGO_BIN_EXE_tidegate"), &path),
        );
        let mut finding = Finding::new(&case.id);
        if theirs.accepted != ours.accepted {
            finding.add("verdict", theirs.lines(), ours.lines());
        } else {
            finding.add("verdict", vec![theirs.word()], vec![ours.word()]);
        }
        findings.push(finding);
    }
    findings
}

struct Verdict {
    accepted: bool,
    output: String,
}

impl Verdict {
    fn word(&self) -> String {
        let word = if self.accepted { "accepted" } else { "refused" };
        word.into()
    }

    fn lines(&self) -> Vec<String> {
        let output = self.output.lines().map(str::to_owned);
        std::iter::once(self.word()).chain(output).collect()
    }
}

fn ask(program: &str, path: &Path) -> Verdict {
    let mut command = Command::new(program);
    command.arg("-c").arg("-f").arg(path);
    command.current_dir(path.parent().unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn();
    let child = child.unwrap_or_else(|error| panic!("run {program}: {error}"));
    let pid = format!("({})", child.id());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let folder = path.parent().unwrap().display().to_string();
    Verdict {
        accepted: output.status.success(),
        output: text.replace(&pid, "(PID)").replace(&folder, "<dir>"),
    }
}
