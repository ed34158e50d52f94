//! Reading the files again while the program runs, and applying what has changed (SIGUSR2, `reload`).
//!
//! One after the other, on a thread that nobody else waits for. Where anything is wrong nothing changes,
//! and whoever asked is told all of it.

use std::time::Instant;

use control::reload::{Asked, Outcome, Reloads};
use control::{ControlDoor, Environment, Renewal};
use engine::{Handle, Level, Reloaded};
use tokio::sync::mpsc;

use crate::flags::Options;
use crate::run::{self, Failed, Speaker};

/// What a reload needs.
#[derive(Clone)]
pub(crate) struct Reloader {
    /// As the program was started.
    pub(crate) options: Options,
    /// The engine that runs.
    pub(crate) handle: Handle,
    /// Where the control loop hears of it.
    pub(crate) door: ControlDoor,
    /// Whether the terminal is told as well.
    pub(crate) speaks: bool,
    /// Who asks.
    pub(crate) reloads: Reloads,
}

impl Reloader {
    /// Carries out reloads as they are asked for, until nobody can ask any more.
    pub(crate) async fn run(self, mut wanted: mpsc::Receiver<Asked>) {
        while let Some(asked) = wanted.recv().await {
            let line = format!("Reloading the configuration, asked by {}.", asked.by);
            self.handle.log(Level::Notice, &line);
            let once = self.clone();
            let done = tokio::task::spawn_blocking(move || once.reload());
            // A fault of ours in it was told; nothing is half done that was not checked before.
            let lost = || Outcome::failed("a fault of ours has ended the reload: see the log");
            let outcome = done.await.unwrap_or_else(|_| lost());
            self.handle.count_reload(outcome.success);
            asked.settle(outcome);
        }
    }

    fn reload(&self) -> Outcome {
        let began = Instant::now();
        self.door.reload_begins();
        let speaker = Speaker::new(!self.speaks, self.options.verbose);
        let result = self.apply(&speaker);
        let took = began.elapsed().as_millis();
        match result {
            Ok(reloaded) => {
                self.tell(&reloaded, took, &speaker);
                Outcome {
                    success: true,
                    said: speaker.into_said(),
                }
            }
            Err(Failed) => {
                speaker.keep_notice("Nothing has changed: what was in force before goes on.");
                let said = speaker.into_said();
                self.refuse(&said);
                Outcome {
                    success: false,
                    said,
                }
            }
        }
    }

    /// Reads, checks and applies. What is wrong has been said where it fails, and nothing has changed.
    fn apply(&self, speaker: &Speaker) -> Result<Reloaded, Failed> {
        let (config, texts) = run::read(&self.options, speaker)?;
        if !run::listens(&config) {
            return Err(speaker.alert("No enabled listener found (check for 'bind' directives) !"));
        }
        let environment = Environment::read(|name| run::variable(&config, name));
        let renewal = Renewal::new(&config, environment).map_err(|errors| {
            for error in &errors {
                speaker.alert(&error.to_string());
            }
            Failed
        })?;
        let prepared = self.handle.prepare_reload(config).map_err(|problems| {
            speaker.diagnostics(&problems, &texts, true);
            speaker.alert(run::FATAL)
        })?;
        speaker.diagnostics(prepared.warnings(), &texts, true);
        let reloaded = self.handle.reload(prepared).map_err(|problems| {
            for problem in &problems {
                speaker.alert(problem);
            }
            Failed
        })?;
        let count = reloaded.changes.len();
        let changes = format!("the configuration was taken over, changes: {count}");
        self.door.reload_applied(renewal, &changes);
        Ok(reloaded)
    }

    /// Says what is another way now, in the log and to who asked.
    fn tell(&self, reloaded: &Reloaded, took: u128, speaker: &Speaker) {
        for note in &reloaded.notes {
            let line = format!("Reload: {note}.");
            self.handle.log(Level::Warning, &line);
            speaker.keep_warning(note);
        }
        for change in &reloaded.changes {
            self.handle
                .log(Level::Notice, &format!("Reload: {change}."));
        }
        let count = reloaded.changes.len();
        let mut summary =
            format!("Reloaded in {took} ms, changes: {count}; nothing else was touched.");
        if reloaded.earlier > 0 {
            let earlier = reloaded.earlier;
            summary += &format!(" Sessions go on under {earlier} earlier configurations.");
        }
        self.handle.log(Level::Notice, &summary);
        speaker.keep_notice(&summary);
    }

    /// Says in the log why nothing has changed; the first reason is the one that is shown.
    fn refuse(&self, said: &str) {
        let alerts = said.lines().filter(|line| line.starts_with("[ALERT]"));
        // Whoever reads the log has the faults themselves.
        let alerts = alerts.filter(|line| !line.ends_with(run::FATAL));
        let why = |line: &str| {
            line.split_once(" : ")
                .map_or(line, |(_, why)| why)
                .to_owned()
        };
        let mut first = None;
        for line in alerts {
            let why = why(line);
            let line = format!("Reload refused, everything is as before: {why}");
            self.handle
                .log(Level::Alert, &line.replace(char::is_control, "?"));
            first.get_or_insert(why);
        }
        let first = first.unwrap_or_else(|| "see the log".to_owned());
        let why = format!("the configuration cannot be used: {first}");
        self.door.reload_refused(&why);
    }
}
