//! The checks of a section while its lines are read.
//!
//! Each kind of check keeps what its lines said when another one takes its place: which one is in force is
//! the last `option`'s (manual 4.2).

use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::model::HttpSend;
use crate::model::sequence::{
    Action, CheckCommand, CheckProtocol, Connect, Expect, Expected, Sequence, Step,
};
use crate::source::Span;

/// What an HTTP check takes for well where nothing is said (manual 4.2, "option httpchk").
const WELL: (u16, u16) = (200, 399);

/// Checks under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct CheckDraft {
    /// The one in force; a plain connect without any.
    pub(crate) kind: Option<CheckKind>,
    /// What `option httpchk` and the first `http-check send` said.
    pub(crate) request: HttpSend,
    /// Whether this very section says what its checks send: that replaces what was inherited.
    pub(crate) own_request: bool,
    /// Whether it does so with `http-check send`, which a later `option httpchk` leaves in force.
    pub(crate) own_send: bool,
    /// `http-check` lines.
    pub(crate) http: Lines,
    /// `tcp-check` lines.
    pub(crate) tcp: Lines,
    /// The steps of a protocol that we know.
    pub(crate) known: Arc<[Action]>,
    /// `option external-check`, where it was written last.
    pub(crate) external: Option<Span>,
    /// `external-check command`, and where it was written.
    pub(crate) command: Option<(PathBuf, Span)>,
    /// `external-check path`.
    pub(crate) command_path: Option<Arc<str>>,
    pub(crate) disable_on_404: bool,
    pub(crate) send_state: bool,
    /// The last `http-check` line: without `option httpchk` it has no effect.
    pub(crate) span: Option<Span>,
}

/// Which check is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckKind {
    Http,
    Tcp,
    Known,
    External,
}

/// The lines of a sequence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    lines: Vec<CheckLine>,
    /// Whether this very section has some: they replace inherited ones.
    own: bool,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct CheckLine {
    pub(crate) span: Span,
    pub(crate) comment: Option<Arc<str>>,
    /// `None`: it is nothing but a comment.
    pub(crate) what: Option<Action>,
    /// Whether it sends the request of the section, which `option httpchk` may still change.
    pub(crate) sends_request: bool,
}

impl Lines {
    /// Adds a line of this very section.
    pub(crate) fn push(&mut self, line: CheckLine) {
        if !self.own {
            self.own = true;
            self.lines.clear();
        }
        self.lines.push(line);
    }

    /// Whether there is no line of this very section that sends the section's request.
    pub(crate) fn wants_request(&self) -> bool {
        !self.own || !self.lines.iter().any(|line| line.sends_request)
    }

    fn last_span(&self) -> Option<Span> {
        self.lines.last().map(|line| line.span)
    }
}

impl CheckDraft {
    /// What a section that inherits from this one has.
    pub(crate) fn inherit(&mut self) {
        self.own_request = false;
        self.own_send = false;
        self.http.own = false;
        self.tcp.own = false;
    }

    /// The checks that are in force.
    pub(crate) fn sequence(&self, report: &mut Vec<Diagnostic>) -> Sequence {
        let (protocol, lines) = match self.kind {
            None => return Sequence::default(),
            Some(CheckKind::Http) => (CheckProtocol::Http, self.http_lines()),
            Some(CheckKind::Tcp) => (CheckProtocol::Tcp, self.tcp.lines.clone()),
            Some(CheckKind::Known) => {
                let known = self.known.iter().cloned().map(|what| own_line(Some(what)));
                (CheckProtocol::Known, known.collect())
            }
            Some(CheckKind::External) => return self.external_sequence(report),
        };
        let http = protocol == CheckProtocol::Http;
        Sequence {
            protocol,
            steps: steps(lines, report),
            disable_on_404: http && self.disable_on_404,
            send_state: http && self.send_state,
        }
    }

    fn external_sequence(&self, report: &mut Vec<Diagnostic>) -> Sequence {
        let Some((program, _)) = &self.command else {
            let message = "'option external-check' has no program to run";
            let problem = Diagnostic::alert(self.external.unwrap_or_default(), message);
            report.push(problem.help("add a line such as 'external-check command /bin/true'"));
            return Sequence::default();
        };
        let command = CheckCommand {
            program: program.clone(),
            path: self.command_path.clone().unwrap_or_else(|| "".into()),
        };
        Sequence {
            protocol: CheckProtocol::External,
            steps: vec![Step {
                number: 0,
                comment: None,
                what: Action::Command(Arc::new(command)),
            }],
            disable_on_404: false,
            send_state: false,
        }
    }

    /// The lines of an HTTP check, with those that nobody wrote: a request and what is well.
    fn http_lines(&self) -> Vec<CheckLine> {
        let mut lines = self.http.lines.clone();
        let request = || Some(Action::Request(self.request.clone()));
        let given = lines.iter_mut().find(|line| line.sends_request);
        match given {
            Some(line) => line.what = request(),
            None => {
                let early = |line: &CheckLine| !matches!(line.what, Some(Action::Expect(_)));
                let at = lines.iter().take_while(|line| early(line)).count();
                lines.insert(at, own_line(request()));
            }
        }
        let last = lines.iter().rev().find_map(|line| match line.what {
            Some(Action::Request(_)) => Some(false),
            Some(Action::Expect(_)) => Some(true),
            _ => None,
        });
        if last == Some(false) {
            let well = Expect::new(Expected::Status(vec![WELL]));
            lines.push(own_line(Some(Action::Expect(Box::new(well)))));
        }
        lines
    }

    /// The place of the last line about these checks.
    pub(crate) fn place(&self) -> Option<Span> {
        self.http.last_span().or(self.span)
    }
}

fn own_line(what: Option<Action>) -> CheckLine {
    CheckLine {
        span: Span::default(),
        comment: None,
        what,
        sends_request: false,
    }
}

/// Numbers the lines, and gives comments to what they are about.
fn steps(lines: Vec<CheckLine>, report: &mut Vec<Diagnostic>) -> Vec<Step> {
    let connects = |line: &CheckLine| matches!(line.what, Some(Action::Connect(_)));
    let early = |line: &CheckLine| line.what.as_ref().is_none_or(Action::is_memory);
    let first = lines.iter().find(|line| !early(line));
    let starts = first.is_some_and(connects);
    let mut steps = Vec::with_capacity(lines.len() + 1);
    if !starts {
        if let Some(line) = lines.iter().find(|line| connects(line)) {
            let message = "the first step must be a 'connect' where there is one, after 'set-var', \
                'unset-var' and 'comment' lines at most";
            report.push(
                Diagnostic::alert(line.span, message)
                    .help("write a 'connect' before the first 'send' or 'expect'"),
            );
        }
        let what = Action::Connect(Connect {
            inherits: true,
            ..Connect::default()
        });
        steps.push(Step {
            number: 0,
            comment: None,
            what,
        });
    }
    let mut said = None;
    for (line, number) in lines.into_iter().zip(1..) {
        match line.what {
            None => said = line.comment,
            Some(what) => steps.push(Step {
                number,
                comment: line.comment.or(said.take()),
                what,
            }),
        }
    }
    steps
}
