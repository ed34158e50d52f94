//! The fleet: what should be, what is, the next step; sees the engine only as a Handle.
//!
//! A list comes in by `discovery`, `admit` decides what of it is believed, `plan` what to do about
//! it, a `driver` does it; `reconcile` turns the circle and [`lifecycle`] tells where the program
//! stands. Pure are `admit`, `plan`, `node`, `lifecycle` and `schedule`. From outside, a
//! [`Control`] is made of configuration and [`Environment`], opened, and run.

mod admin_page;
mod admit;
mod discovery;
mod driver;
mod environment;
mod hearing;
mod http;
mod intake;
pub mod lifecycle;
mod news;
mod node;
mod pace;
mod plan;
mod reconcile;
mod registry;
pub mod reload;
mod renew;
mod report;
pub mod runtime_api;
mod schedule;
mod setup;
mod state_file;
pub mod updater;

use std::sync::Arc;

use config::model::{Bind, BindAddress, Config};
use engine::command::DrainOrder;
use engine::snapshot::Event;
use engine::{Handle, Inheritance, Level};
use tokio::sync::{broadcast, mpsc};

use crate::discovery::Fleet;
use crate::discovery::source::Source;
use crate::driver::Driver;
use crate::driver::embedded::Embedded;
use crate::hearing::{Ear, Hearing};
use crate::intake::Intake;
use crate::lifecycle::Lifecycle;
use crate::news::{Desk, Message};
use crate::reconcile::{Discovery, Reconciler};
use crate::report::{Outlet, Report};
use crate::schedule::Schedule;
use crate::setup::{DiscoverySetup, Setup};
use crate::state_file::StateFile;
use crate::updater::Say;

pub use discovery::event_stream;
pub use environment::{ApiKey, Environment};
pub use registry::Registry;
pub use setup::SetupError;

/// The control plane of one program: discovery, the embedded registry, the lifecycle.
pub struct Control {
    setup: Setup,
    seed: u64,
    opened: Option<Opened>,
    door: ControlDoor,
    news: mpsc::UnboundedReceiver<ReloadNews>,
}

/// By what the running loop hears of reloads. Cheap to clone. Nobody but the operator sends anything in, one
/// reload after the other.
#[derive(Clone)]
pub struct ControlDoor(mpsc::UnboundedSender<ReloadNews>);

/// What the loop hears of reloads.
pub(crate) enum ReloadNews {
    /// One begins.
    Begun,
    /// It cannot be done; why.
    Refused(String),
    /// It was done; what is wanted from now on, and what has changed, for people.
    Applied(Box<Setup>, String),
}

/// What another configuration wants of the control plane, checked.
pub struct Renewal(Setup);

impl Renewal {
    /// Checks configuration and environment. Fails with all that is wrong.
    pub fn new(config: &Config, environment: Environment) -> Result<Self, Vec<SetupError>> {
        setup::set_up(config, environment).map(Self)
    }
}

impl ControlDoor {
    /// A reload begins.
    pub fn reload_begins(&self) {
        self.tell(ReloadNews::Begun);
    }

    /// It cannot be done, and everything is as before; why.
    pub fn reload_refused(&self, why: &str) {
        self.tell(ReloadNews::Refused(why.to_owned()));
    }

    /// It was done; what has changed, for people.
    pub fn reload_applied(&self, renewal: Renewal, changes: &str) {
        let setup = Box::new(renewal.0);
        self.tell(ReloadNews::Applied(setup, changes.to_owned()));
    }

    fn tell(&self, news: ReloadNews) {
        // A loop that has ended needs no telling: the program stops.
        let _ = self.0.send(news);
    }
}

/// What hears, and where it tells the loop.
type Heard = (Hearing, mpsc::Receiver<Message>);

/// What was opened before the program gave up its rights.
#[derive(Default)]
struct Opened {
    registry: Option<Registry>,
    state_file: Option<Arc<StateFile>>,
    restored: Fleet,
    trouble: Option<String>,
}

impl Control {
    /// Checks configuration and environment; opens nothing but the system's certificates, for an
    /// `https://` service. Fails with all that is wrong.
    pub fn new(config: &Config, environment: Environment) -> Result<Self, Vec<SetupError>> {
        let (door, news) = mpsc::unbounded_channel();
        Ok(Self {
            setup: setup::set_up(config, environment)?,
            seed: fastrand::u64(..),
            opened: None,
            door: ControlDoor(door),
            news,
        })
    }

    /// By what the loop hears of reloads.
    pub fn door(&self) -> ControlDoor {
        self.door.clone()
    }

    /// The same with a fixed seed for the jitter of fetches; without it each run has its own.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Opens what may be out of reach after `chroot` and a change of user: the registry's socket,
    /// the state file's folder. Fails when the registry cannot listen; trouble with the state file
    /// is a warning that [`Control::run`] logs.
    pub fn open(&mut self) -> Result<(), SetupError> {
        self.open_after(&Inheritance::default())
    }

    /// The same for a process that takes the place of others, which listen there for a while still.
    pub fn open_after(&mut self, before: &Inheritance) -> Result<(), SetupError> {
        let mut opened = Opened::default();
        if let Some(registry) = &self.setup.registry {
            let at = Bind {
                text: registry.bind.to_string().into(),
                ..Bind::at(BindAddress::Inet(registry.bind))
            };
            let bound = engine::open_socket(&at, before).and_then(|socket| {
                let bound = Registry::on(socket.into(), registry.key.clone(), registry.expire);
                bound.map_err(|error| error.to_string())
            });
            let bound = bound.map_err(|error| SetupError::Bind(registry.bind, error));
            opened.registry = Some(bound?);
        }
        if let Some(discovery) = &self.setup.discovery {
            opened.restore(discovery);
        }
        self.opened = Some(opened);
        Ok(())
    }

    /// Where the embedded registry listens, once opened; `None`: there is none.
    pub fn registry_addr(&self) -> Option<std::net::SocketAddr> {
        let registry = self.opened.as_ref()?.registry.as_ref()?;
        Some(registry.local_addr())
    }

    /// Keeps the engine's servers in step with the fleet until the engine is gone or stopping, or the
    /// future is dropped; then the registry's port is free, and nothing is fetched or saved. Never touches sessions of nodes that stay. Opens what [`Control::open`] would, if
    /// that was not called. Needs a tokio runtime with I/O and time; `lifecycle` comes from
    /// [`Lifecycle::begin`].
    pub async fn run(self, handle: Handle, lifecycle: Lifecycle) {
        let discovery = self.setup.discovery.as_ref();
        let drain = DrainOrder {
            over: discovery.and_then(|it| it.intent.drain),
            ..self.setup.drain
        };
        let driver = Embedded::new(handle.clone(), self.backend(), drain);
        let events = handle.events();
        let outlet = handle.clone();
        let say: Say = Arc::new(move |level, line| outlet.log(level, line));
        let (intake, heard) = self.hear(say);
        handle.set_news_desk(intake);
        self.drive(driver, handle, events, heard, lifecycle).await;
    }

    /// What hears of nodes beside the fetches; who follows events speaks by `say`.
    fn hear(&self, say: Say) -> (Arc<Intake>, Heard) {
        let (desk, messages) = Desk::new();
        let intake = Arc::new(Intake::new(desk.clone(), self.setup.key.clone()));
        let hearing = Hearing::new(desk, Arc::clone(&intake), say, self.seed);
        (intake, (hearing, messages))
    }

    /// The backend that nodes fill.
    fn backend(&self) -> Option<Arc<str>> {
        let discovery = self.setup.discovery.as_ref();
        discovery.map(|discovery| Arc::clone(&discovery.intent.backend))
    }

    /// The same with whatever balances.
    async fn drive<D: Driver, O: Outlet + Clone>(
        mut self,
        driver: D,
        outlet: O,
        events: broadcast::Receiver<Event>,
        (hearing, messages): Heard,
        lifecycle: Lifecycle,
    ) {
        if self.opened.is_none()
            && let Err(error) = self.open()
        {
            outlet.log(Level::Alert, &error.to_string());
        }
        for note in &self.setup.notes {
            outlet.log(Level::Warning, note);
        }
        let mut opened = self.opened.take().unwrap_or_default();
        let mut report = Report::default();
        if let Some(trouble) = opened.trouble.take() {
            report.state_file(Some(trouble), &outlet);
        }
        report.from_state_file = !opened.restored.is_empty();
        let registry = opened.registry.take();
        let discovery = self.setup.discovery.take();
        let discovery = discovery.map(|setup| {
            let ear = hearing.ear(&setup, None);
            opened.discovery(setup, registry.as_ref(), ear, self.seed)
        });
        log_beginning(discovery.as_ref(), registry.as_ref(), &outlet);
        let remembered = (hearing, report);
        let reconciler = Reconciler::new(driver, outlet.clone(), discovery, lifecycle, remembered);
        // The loop itself keeps the door open.
        let _door = self.door;
        tokio::select! {
            () = reconciler.run(events, self.news, messages, self.seed) => {}
            () = serve(registry, &outlet) => {}
        }
    }
}

/// Runs the registry; never returns, whatever becomes of it.
async fn serve(registry: Option<Registry>, outlet: &impl Outlet) {
    if let Some(registry) = registry
        && let Err(error) = registry.run().await
    {
        outlet.log(Level::Alert, &format!("Registry: stopped: {error}"));
    }
    std::future::pending().await
}

fn log_beginning(discovery: Option<&Discovery>, registry: Option<&Registry>, outlet: &impl Outlet) {
    if let Some(registry) = registry {
        let line = format!(
            "Registry: nodes announce themselves at {}",
            registry.local_addr()
        );
        outlet.log(Level::Notice, &line);
    }
    if let Some(discovery) = discovery {
        let (source, backend) = (discovery.source.name(), &discovery.intent.backend);
        let line = format!("Discovery: {source} fills backend {backend}");
        outlet.log(Level::Notice, &line);
        if !discovery.restored.is_empty() {
            let nodes = discovery.restored.len();
            let line = format!("Discovery: {nodes} nodes from the state file until a list comes");
            outlet.log(Level::Notice, &line);
        }
    }
}

impl Opened {
    /// Opens and reads the state file.
    fn restore(&mut self, discovery: &DiscoverySetup) {
        let Some(path) = &discovery.state_file else {
            return;
        };
        let source = discovery.client.as_ref().map(ToString::to_string);
        let source = source.unwrap_or_else(|| Source::REGISTRY.to_owned());
        let shown = path.display();
        let file = match StateFile::open(path, &source, &discovery.intent.backend) {
            Ok(file) => file,
            Err(error) => {
                self.trouble = Some(format!("the folder of {shown} cannot be opened: {error}"));
                return;
            }
        };
        match file.load(discovery.nodes_max) {
            Ok(fleet) => self.restored = fleet.unwrap_or_default(),
            Err(why) => self.trouble = Some(format!("{shown} cannot be used: {why}")),
        }
        self.state_file = Some(Arc::new(file));
    }

    fn discovery(
        self,
        setup: DiscoverySetup,
        registry: Option<&Registry>,
        ear: Ear,
        seed: u64,
    ) -> Discovery {
        let mut schedule = Schedule::new(setup.interval, seed);
        if setup.client.is_none() {
            schedule = schedule.at_hand();
        }
        let source = match (setup.client, registry) {
            (Some(client), _) => Source::WsUpdates(client),
            (None, registry) => {
                let rewrite = setup.rewrite;
                let table = registry.map(Registry::table).unwrap_or_default();
                table.preload(&self.restored);
                Source::Registry { table, rewrite }
            }
        };
        Discovery {
            source,
            schedule,
            ear,
            intent: setup.intent,
            nodes_max: setup.nodes_max,
            state_file: self.state_file,
            restored: self.restored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_may_run_on_any_runtime() {
        fn check<F: Future + Send>(_run: fn(Control, Handle, Lifecycle) -> F) {}
        check(Control::run);
    }
}
