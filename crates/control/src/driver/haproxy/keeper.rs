//! Keeps the fleet in HAProxy's configuration file, so that a restart of HAProxy begins with it, and
//! reloads HAProxy where nodes cannot get in otherwise.
//!
//! Works beside the loop: a check of a large configuration takes seconds, a reload too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::Surroundings;
use config::source::Source;
use engine::Level;
use engine::command::Admin;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::block::{self, Reading, rewrite, server_of};
use super::file::{ConfigFiles, Original, Stamp};
use super::master;
use super::reloads::{Reloads, Verdict};
use super::socket::Place;
use super::tally::Tally;
use super::view::{Ours, View};
use super::words::{Parameters, id_for};
use crate::discovery::address::Host;
use crate::discovery::{Fleet, Node};
use crate::updater::Say;
use config::model::ServerAddress;

/// Least time from one failed write of the same text to the next try: each is a run of `haproxy -c`.
const RETRY: Duration = Duration::from_secs(30);

/// Where and with what the fleet is kept.
pub(crate) struct Keeping {
    /// The files of HAProxy's `-f`, in order.
    pub(crate) paths: Vec<PathBuf>,
    /// `haproxy`, which checks them.
    pub(crate) program: PathBuf,
    /// The socket of its master; `None`: nobody reloads it.
    pub(crate) master: Option<Place>,
    /// Variables of the configuration.
    pub(crate) surroundings: Arc<dyn Surroundings + Send + Sync>,
    /// Parameters beside those of `default-server`.
    pub(crate) parameters: Vec<String>,
    /// Told what happens to the file.
    pub(crate) say: Say,
}

/// It, at work.
pub(super) struct Keeper {
    keeping: Keeping,
    files: ConfigFiles,
    backend: Arc<str>,
    tally: Arc<Tally>,
    stamp: Option<Vec<Option<Stamp>>>,
    understood: Option<Understood>,
    said: Option<String>,
    writing: Option<JoinHandle<Result<(), String>>>,
    /// The text that could not be written last, and when.
    failed: Option<(String, Instant)>,
    reloading: Option<JoinHandle<Result<(), String>>>,
    reloads: Reloads,
    /// Whether the last reload did not help those who wait.
    in_vain: bool,
    /// When all began: the clock of reloads.
    begun: Instant,
    wanted: BTreeMap<Arc<str>, (Node, SocketAddr)>,
}

/// The configuration as read last.
struct Understood {
    original: Original,
    reading: Reading,
    parameters: Parameters,
}

impl Keeper {
    pub(super) fn new(keeping: Keeping, backend: Arc<str>, tally: Arc<Tally>) -> Self {
        let files = ConfigFiles {
            paths: keeping.paths.clone(),
            program: keeping.program.clone(),
        };
        files.tidy();
        Self {
            keeping,
            files,
            backend,
            tally,
            stamp: None,
            understood: None,
            said: None,
            writing: None,
            failed: None,
            reloading: None,
            reloads: Reloads::default(),
            in_vain: false,
            begun: Instant::now(),
            wanted: BTreeMap::new(),
        }
    }

    /// Reads the configuration when it is another one than before.
    pub(super) fn look(&mut self) {
        let stamp = self.files.stamp();
        if self.stamp.as_ref() == Some(&stamp) {
            return;
        }
        self.stamp = Some(stamp);
        let read = self.read();
        self.tally
            .file_unreadable(read.as_ref().err().map(String::as_str));
        let why = read.as_ref().err().cloned();
        if let Some(why) = &why
            && self.said.as_ref() != Some(why)
        {
            (self.keeping.say)(Level::Warning, &format!("File: {why}"));
        }
        self.said = why;
        self.understood = read.ok();
    }

    fn read(&self) -> Result<Understood, String> {
        let texts = self.files.read()?;
        let sources = self.files.paths.iter().zip(&texts);
        let sources =
            sources.map(|(path, text)| Source::new(path.display().to_string(), text.as_str()));
        let sources: Vec<Source> = sources.collect();
        let reading = block::read(&sources, &self.backend, &*self.keeping.surroundings);
        let names = || {
            let names = self
                .files
                .paths
                .iter()
                .map(|path| path.display().to_string());
            names.collect::<Vec<_>>().join(", ")
        };
        let reading = reading.map_err(|why| format!("{}: {why}", names()))?;
        let parameters = Parameters::new(&reading.default_server, &self.keeping.parameters);
        let at = reading.source;
        let text = texts.into_iter().nth(at).unwrap_or_default();
        Ok(Understood {
            original: Original { at, text },
            reading,
            parameters,
        })
    }

    pub(super) fn reading(&self) -> Option<&Reading> {
        self.understood.as_ref().map(|it| &it.reading)
    }

    /// Parameters of servers, as the configuration has them.
    pub(super) fn parameters(&self) -> &Parameters {
        static NONE: std::sync::LazyLock<Parameters> =
            std::sync::LazyLock::new(Parameters::default);
        self.understood.as_ref().map_or(&NONE, |it| &it.parameters)
    }

    /// What a reload does for those who wait.
    pub(super) fn hope(&self) -> &'static str {
        match &self.keeping.master {
            None => "",
            Some(_) if self.in_vain => "; a reload did not bring it in and is not repeated",
            Some(_) => "; a reload brings it in",
        }
    }

    /// A node that only a reload can bring in.
    pub(super) fn want(&mut self, name: &Arc<str>, node: &Node, at: SocketAddr) {
        self.wanted.insert(Arc::clone(name), (node.clone(), at));
    }

    /// Works towards a file that has the fleet. Never waits for it.
    pub(super) async fn keep(&mut self, fleet: &Fleet, view: &View) {
        self.finish().await;
        let known: HashMap<&Node, (&Arc<str>, &Ours)> = view
            .ours
            .iter()
            .filter(|(_, ours)| !ours.unfinished)
            .map(|(name, ours)| (&ours.node, (name, ours)))
            .collect();
        self.wanted
            .retain(|_, (node, _)| fleet.contains(node) && !known.contains_key(node));
        self.reloads.helped(|node| known.contains_key(node));
        // No list has come: nobody knows who belongs in the file.
        if fleet.is_empty() || self.writing.is_some() {
            return;
        }
        let Some(understood) = &self.understood else {
            return;
        };
        let lines = self.lines(fleet, &known, &view.ids, understood);
        let is_kept = match &understood.reading.lines {
            Some(kept) => *kept == lines,
            None => lines.is_empty(),
        };
        if is_kept {
            return self.reload();
        }
        let text = rewrite(&understood.original.text, &understood.reading, &lines);
        let failed = self.failed.as_ref();
        if failed.is_some_and(|(failed, at)| *failed == text && at.elapsed() < RETRY) {
            return;
        }
        let (files, original) = (self.files.clone(), understood.original.clone());
        self.failed = Some((text.clone(), Instant::now()));
        self.writing = Some(tokio::task::spawn_blocking(move || {
            files.replace(&original, &text)
        }));
    }

    /// Takes over what has ended.
    async fn finish(&mut self) {
        if let Some(writing) = self.writing.take_if(|writing| writing.is_finished()) {
            let outcome = writing.await.unwrap_or_else(|lost| Err(lost.to_string()));
            // Read it anew, whoever changed it.
            self.stamp = None;
            self.look();
            self.tally.file(&outcome);
            let kept = "File: the fleet is kept in HAProxy's configuration";
            match &outcome {
                Ok(()) => {
                    self.failed = None;
                    (self.keeping.say)(Level::Notice, kept);
                }
                Err(why) => (self.keeping.say)(Level::Warning, &format!("File: {why}")),
            }
        }
        if let Some(reloading) = self.reloading.take_if(|reloading| reloading.is_finished()) {
            let outcome = reloading.await.unwrap_or_else(|lost| Err(lost.to_string()));
            self.tally.reload(&outcome);
            self.reloads.ended(outcome.is_ok(), self.begun.elapsed());
            let loaded = "Reload: HAProxy has loaded its configuration anew";
            match outcome {
                Ok(()) => (self.keeping.say)(Level::Notice, loaded),
                Err(why) => (self.keeping.say)(Level::Warning, &format!("Reload: {why}")),
            }
        }
    }

    /// The block's lines: nodes of the fleet, in its order, as HAProxy has them, then those that left it
    /// and serve on, because nobody else could. One that HAProxy does not have at the moment keeps its line.
    fn lines(
        &self,
        fleet: &Fleet,
        known: &HashMap<&Node, (&Arc<str>, &Ours)>,
        ids: &HashSet<u32>,
        understood: &Understood,
    ) -> Vec<String> {
        let kept = understood.reading.lines.as_deref().unwrap_or_default();
        let mut ids = ids.clone();
        let mut lines = Vec::new();
        for node in fleet.nodes() {
            let line = |name: &str, at, id| understood.parameters.line(name, node, at, id);
            let found = match known.get(node) {
                Some((name, ours)) if !ours.slot => {
                    lines.extend(line(name, ours.at, ours.id));
                    continue;
                }
                Some((name, ours)) => Some((*name, ours.at)),
                None => {
                    let mut wanted = self.wanted.iter();
                    let wanted = wanted.find(|(_, (wanted, _))| wanted == node);
                    wanted.map(|(name, (_, at))| (name, *at))
                }
            };
            match found {
                Some((name, at)) => {
                    let id = id_for(name, &ids);
                    ids.insert(id);
                    lines.extend(line(name, at, id));
                }
                None => lines.extend(kept.iter().find(|it| is_of(it, node)).cloned()),
            }
        }
        let stay = |(_, ours): &&(&Arc<str>, &Ours)| {
            ours.admin == Admin::Ready && !fleet.contains(&ours.node)
        };
        let mut staying: Vec<_> = known.values().filter(stay).collect();
        staying.sort_by_key(|(name, _)| *name);
        for (name, ours) in staying {
            let id = if ours.slot {
                id_for(name, &ids)
            } else {
                ours.id
            };
            ids.insert(id);
            lines.extend(understood.parameters.line(name, &ours.node, ours.at, id));
        }
        lines
    }

    /// Reloads if nodes wait for it, they are in the file, and it can be hoped to help.
    fn reload(&mut self) {
        let Some(master) = &self.keeping.master else {
            return;
        };
        if self.reloading.is_some() {
            return;
        }
        let nodes = self.wanted.len();
        if nodes == 0 && std::mem::take(&mut self.in_vain) {
            self.tally.reload_trouble_is_over();
        }
        let waiting = self.wanted.values().map(|(node, _)| node.clone());
        match self.reloads.decide(waiting.collect(), self.begun.elapsed()) {
            Verdict::Later => {}
            Verdict::InVain if self.in_vain => {}
            Verdict::InVain => {
                self.in_vain = true;
                let line = format!(
                    "a reload did not bring {nodes} nodes in, so it is not repeated for them: does HAProxy \
                     start with the files of --haproxy-config?"
                );
                (self.keeping.say)(Level::Warning, &format!("Reload: {line}"));
                self.tally.reload(&Err(line));
            }
            Verdict::Now => {
                self.in_vain = false;
                let line = format!("Reload: {nodes} nodes can get into HAProxy in no other way");
                (self.keeping.say)(Level::Notice, &line);
                let master = master.clone();
                self.reloading = Some(tokio::spawn(async move { master::reload(&master).await }));
            }
        }
    }
}

/// Whether a line of the block is this node's.
fn is_of(line: &str, node: &Node) -> bool {
    let Some((name, at)) = server_of(line) else {
        return false;
    };
    match node.address.host() {
        Host::Ip(_) => node.address.is_at(&ServerAddress::Inet(at)),
        Host::Name(_) => node.id.as_str() == name,
    }
}
