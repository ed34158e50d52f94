//! What was found, told in one go.

use crate::exceptions::Exceptions;
use crate::kept::Kept;

/// One case: its parts as both sides gave them.
pub(crate) struct Finding {
    case: String,
    parts: Vec<Part>,
}

struct Part {
    name: &'static str,
    theirs: Vec<String>,
    ours: Vec<String>,
}

impl Finding {
    /// Nothing yet.
    pub(crate) fn new(case: &str) -> Self {
        Self {
            case: case.to_owned(),
            parts: Vec::new(),
        }
    }

    /// A group that could not be run to its end; the panic has said why.
    pub(crate) fn failed(group: &str) -> Self {
        let mut finding = Self::new(group);
        let ended = "the group was not run to its end: see the panic above".to_owned();
        finding.add("run", Vec::new(), vec![ended]);
        finding
    }

    /// One part of it.
    pub(crate) fn add(&mut self, name: &'static str, theirs: Vec<String>, ours: Vec<String>) {
        self.parts.push(Part { name, theirs, ours });
    }
}

/// The findings, judged by the exceptions.
pub(crate) struct Report {
    texts: Vec<String>,
    cases: usize,
    excepted: usize,
    wrong: usize,
}

impl Report {
    /// Judges. `partial`: not all cases were run, so an exception may name one that was not.
    pub(crate) fn new(
        findings: &[Finding],
        exceptions: &Exceptions,
        kept: &mut Kept,
        all_cases: &[String],
        partial: bool,
    ) -> Self {
        let mut report = Self {
            texts: Vec::new(),
            cases: findings.len(),
            excepted: 0,
            wrong: 0,
        };
        for finding in findings {
            report.judge(finding, exceptions, kept, partial);
        }
        for (case, part) in exceptions.all() {
            if !all_cases.iter().any(|known| known == case) {
                report.fault(format!(
                    "{case} [{part}]: an exception, but there is no such case"
                ));
            }
        }
        report
    }

    fn fault(&mut self, text: String) {
        self.wrong += 1;
        self.texts.push(text);
    }

    fn judge(
        &mut self,
        finding: &Finding,
        exceptions: &Exceptions,
        kept: &mut Kept,
        show_all: bool,
    ) {
        let case = &finding.case;
        let mut excepted = false;
        for part in &finding.parts {
            let (agree, allowed) = (part.theirs == part.ours, exceptions.allows(case, part.name));
            let name = part.name;
            match (agree, allowed) {
                (true, true) => self.fault(format!(
                    "{case} [{name}]: an exception, but both agree now: take it out"
                )),
                (false, false) => {
                    self.fault(format!("{case} [{name}]\n{}", difference(part)));
                }
                (false, true) => {
                    excepted = true;
                    let difference = difference(part);
                    if !kept.is_known(case, name, &difference) {
                        self.fault(format!(
                            "{case} [{name}]: an exception, but not the difference that was kept \
                             (conformance/differences.txt)\n{difference}"
                        ));
                    }
                }
                (true, false) => {}
            }
            if show_all && (agree || allowed) {
                let text = format!("{case} [{name}] fine\n{}", difference(part));
                self.texts.push(text);
            }
        }
        for (known, part) in exceptions.all() {
            if known == case && !finding.parts.iter().any(|given| given.name == part) {
                self.fault(format!(
                    "{case} [{part}]: an exception, but there is no such part"
                ));
            }
        }
        self.excepted += usize::from(excepted);
    }

    /// Whether all is as it should be.
    pub(crate) fn is_clean(&self) -> bool {
        self.wrong == 0
    }

    /// In a line.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} cases, {} of them with differences that are meant, {} faults",
            self.cases, self.excepted, self.wrong
        )
    }

    /// Everything that is to be said.
    pub(crate) fn print(&self) {
        for text in &self.texts {
            println!("{text}\n");
        }
        println!("{}", self.summary());
    }
}

/// Both sides line by line: `H` HAProxy alone, `t` tidegate alone.
fn difference(part: &Part) -> String {
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    let common = longest_common(&part.theirs, &part.ours);
    for (a, b) in common
        .into_iter()
        .chain([(part.theirs.len(), part.ours.len())])
    {
        out.extend(part.theirs[i..a].iter().map(|line| format!("  H {line}")));
        out.extend(part.ours[j..b].iter().map(|line| format!("  t {line}")));
        if let Some(line) = part.theirs.get(a) {
            out.push(format!("    {line}"));
        }
        (i, j) = (a + 1, b + 1);
    }
    out.join("\n")
}

/// Index pairs of a longest common subsequence.
fn longest_common(a: &[String], b: &[String]) -> Vec<(usize, usize)> {
    let mut len = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            len[i][j] = if a[i] == b[j] {
                len[i + 1][j + 1] + 1
            } else {
                len[i + 1][j].max(len[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if len[i + 1][j] >= len[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}
