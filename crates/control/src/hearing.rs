//! By what discovery hears of nodes beside its fetches, over reloads: one desk for the life of the process,
//! and whoever follows the service's events, for as long as it is the same service.

use std::sync::Arc;
use std::time::Duration;

use engine::Level;
use engine::snapshot::{ControlStatus, StreamStatus};
use tokio::task::JoinSet;

use crate::discovery::HostTemplate;
use crate::discovery::stream::{Follower, Pauses, Watched};
use crate::environment::ApiKey;
use crate::intake::{Intake, RefusedPushes};
use crate::news::Desk;
use crate::report::Outlet;
use crate::setup::DiscoverySetup;
use crate::updater::Say;

/// What stays. Tests of the loop alone have none.
#[derive(Default)]
pub(crate) struct Hearing(Option<Parts>);

struct Parts {
    desk: Desk,
    intake: Arc<Intake>,
    say: Say,
    seed: u64,
}

/// Where who follows events says what people should know.
struct Voice(Say);

impl Outlet for Voice {
    fn log(&self, level: Level, line: &str) {
        (self.0)(level, line);
    }

    /// The loop shows where the stream stands.
    fn show(&self, _: ControlStatus) {}
}

impl Hearing {
    pub(crate) fn new(desk: Desk, intake: Arc<Intake>, say: Say, seed: u64) -> Self {
        Self(Some(Parts {
            desk,
            intake,
            say,
            seed,
        }))
    }

    /// Who may push from now on.
    pub(crate) fn set_key(&self, key: Option<ApiKey>) {
        if let Some(parts) = &self.0 {
            parts.intake.set_key(key);
        }
    }

    /// What is heard from now on; a stream that was open stays so where nothing about it has changed.
    /// Needs a tokio runtime.
    pub(crate) fn ear(&self, setup: &DiscoverySetup, before: Option<Ear>) -> Ear {
        let Some(parts) = &self.0 else {
            return Ear::default();
        };
        Ear {
            rewrite: setup.rewrite.clone(),
            stream: parts.stream(setup, before.and_then(|ear| ear.stream)),
            refused: setup.takes_pushes.then(|| parts.intake.refused()),
        }
    }
}

impl Parts {
    fn stream(&self, setup: &DiscoverySetup, before: Option<Stream>) -> Option<Stream> {
        let client = setup.client.as_ref().filter(|_| setup.stream)?;
        let wanted = Wanted {
            service: client.to_string(),
            key: setup.key.clone(),
            silence: setup.silence,
        };
        if let Some(same) = before.filter(|before| before.wanted == wanted) {
            return Some(same);
        }
        let watched = Arc::<Watched>::default();
        let follower = Follower {
            client: Arc::clone(client),
            desk: self.desk.clone(),
            watched: Arc::clone(&watched),
            outlet: Voice(Arc::clone(&self.say)),
            silence: setup.silence,
            pauses: Pauses::new(self.seed),
        };
        let mut following = JoinSet::new();
        following.spawn(follower.run());
        Some(Stream {
            wanted,
            watched,
            _following: following,
        })
    }
}

/// What is heard now.
#[derive(Default)]
pub(crate) struct Ear {
    rewrite: Option<HostTemplate>,
    stream: Option<Stream>,
    refused: Option<Arc<RefusedPushes>>,
}

/// A stream that is followed until this is dropped.
struct Stream {
    wanted: Wanted,
    watched: Arc<Watched>,
    _following: JoinSet<()>,
}

/// What makes it another one.
#[derive(PartialEq, Eq)]
struct Wanted {
    service: String,
    key: Option<ApiKey>,
    silence: Duration,
}

impl Ear {
    /// For nodes that call themselves `localhost`.
    pub(crate) fn rewrite(&self) -> Option<&HostTemplate> {
        self.rewrite.as_ref()
    }

    /// A good list has come: the service works, and may be asked for its events.
    pub(crate) fn begin_stream(&self) {
        if let Some(stream) = &self.stream {
            stream.watched.begin();
        }
    }

    /// For page and metrics.
    pub(crate) fn stream_status(&self) -> Option<StreamStatus> {
        self.stream.as_ref().map(|stream| stream.watched.status())
    }

    /// The same of pushes that were not let in; none where none can come.
    pub(crate) fn pushes_refused(&self) -> Vec<(&'static str, u64)> {
        self.refused.iter().flat_map(|it| it.counts()).collect()
    }
}
