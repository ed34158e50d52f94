//! `tidegate updater`: the control plane alone, driving a HAProxy that runs beside it.
//!
//! Discovery, plan and rules are those of the embedded engine; only the driver is another one. What
//! section `discovery` of our own configuration says may stand in HAProxy's, between
//! `.if feature(TIDEGATE)` and `.endif`.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use config::Surroundings;
use config::diagnostics::Severity;
use config::source::Source;
use engine::Level;
use engine::snapshot::ControlStatus;

use crate::admin_page::AdminPage;
use crate::driver::haproxy::{self, Asker, HaProxy, Keeping, Place, Tally};
use crate::lifecycle::Lifecycle;
use crate::report::Outlet;
use crate::{Control, Environment, http};

/// Told each line for the log.
pub type Say = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// What an updater is told.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// HAProxy's Runtime API: `unix:/path` or `tcp:host:port`, level admin.
    pub socket: String,
    /// The backend that nodes fill; `None`: `fill-backend` of section `discovery`, else `ws_backend`.
    pub backend: Option<String>,
    /// Files of HAProxy's `-f`, in order; none: nothing is kept for its next start.
    pub config: Vec<PathBuf>,
    /// `haproxy`, to check the configuration with.
    pub program: PathBuf,
    /// The socket of HAProxy's master, to reload it; `None`: it is never reloaded.
    pub master: Option<String>,
    /// Where page and metrics are; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Parameters of servers beside those of `default-server`, as in a `server` line.
    pub parameters: String,
    /// Keywords of section `discovery` with their values; they count before the file's.
    pub settings: Vec<(&'static str, String)>,
}

/// An updater that is ready to run.
pub struct Updater {
    control: Control,
    driver: HaProxy,
    outlet: Voice,
    listener: Option<(TcpListener, Arc<AdminPage>)>,
}

/// Where the loop's words go.
#[derive(Clone)]
struct Voice {
    say: Say,
    status: Arc<Mutex<ControlStatus>>,
}

impl Outlet for Voice {
    fn log(&self, level: Level, line: &str) {
        (self.say)(level, line);
    }

    fn show(&self, status: ControlStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

impl Updater {
    /// Checks everything, and opens what it listens on. HAProxy need not run. Fails with all that is
    /// wrong, a line each.
    pub fn open(
        options: &Options,
        environment: Environment,
        surroundings: Arc<dyn Surroundings + Send + Sync>,
        say: Say,
    ) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let mut place = |flag: &str, text: &str| {
            let place = Place::parse(text);
            place
                .map_err(|why| wrong.push(format!("{flag} {text}: {why}")))
                .ok()
        };
        let socket = place("--haproxy-socket", &options.socket);
        let master = options
            .master
            .as_ref()
            .map(|text| place("--master-socket", text));
        let control = control(options, environment, &*surroundings, &mut wrong);
        let parameters = words(&options.parameters, &*surroundings, &mut wrong);
        let listener = options.listen.map(|address| {
            let listener = TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok((listener.local_addr()?, listener))
            });
            listener
                .map_err(|error| wrong.push(format!("--listen {address}: {error}")))
                .ok()
        });
        if options.master.is_some() && options.config.is_empty() {
            wrong.push(
                "--master-socket without --haproxy-config: a reload brings in what is in the file"
                    .to_owned(),
            );
        }
        let (Some(socket), Some(mut control), true) = (socket, control, wrong.is_empty()) else {
            return Err(wrong);
        };
        control.open().map_err(|error| vec![error.to_string()])?;
        let outlet = Voice {
            say,
            status: Arc::default(),
        };
        let tally = Arc::new(Tally::new(socket.to_string()));
        let page = listener.flatten().map(|(address, listener)| {
            let (asker, tally) = (Asker(socket.clone()), Arc::clone(&tally));
            let page = AdminPage::new(asker, tally, Arc::clone(&outlet.status), address);
            (listener, Arc::new(page))
        });
        let keeping = (!options.config.is_empty()).then(|| Keeping {
            paths: options.config.clone(),
            program: options.program.clone(),
            master: master.flatten(),
            surroundings,
            parameters: parameters.clone(),
            say: Arc::clone(&outlet.say),
        });
        let backend = control
            .backend()
            .unwrap_or_else(|| config::FLEET_BACKEND_DEFAULT.into());
        let driver = HaProxy::new(socket, backend, keeping, &parameters, tally);
        Ok(Self {
            control,
            driver,
            outlet,
            listener: page,
        })
    }

    /// Where page and metrics are.
    pub fn listens_at(&self) -> Option<SocketAddr> {
        let (listener, _) = self.listener.as_ref()?;
        listener.local_addr().ok()
    }

    /// Keeps HAProxy in step until it is dropped, which changes nothing in HAProxy. Needs a tokio
    /// runtime with I/O and time.
    pub async fn run(self) {
        let (lifecycle, first_lines) = Lifecycle::begin();
        for line in first_lines {
            self.outlet.log(Level::Notice, &line);
        }
        let events = self.driver.events();
        let listener = self.listener;
        let outlet = self.outlet.clone();
        let (desk, heard) = self.control.hear(Arc::clone(&self.outlet.say));
        let shown = async {
            if let Some((listener, page)) = listener {
                let answered = http::serve(listener, move |request| {
                    let (page, desk) = (Arc::clone(&page), Arc::clone(&desk));
                    async move { page.answer(request, &*desk).await }
                });
                if let Err(error) = answered.await {
                    outlet.log(Level::Alert, &format!("The page is not served: {error}"));
                }
            }
            std::future::pending::<()>().await;
        };
        let (control, driver) = (self.control, self.driver);
        tokio::select! {
            () = control.drive(driver, self.outlet, events, heard, lifecycle) => {}
            () = shown => {}
        }
    }
}

/// The control plane that a configuration of ours with this backend and section `discovery` would have.
fn control(
    options: &Options,
    environment: Environment,
    surroundings: &dyn Surroundings,
    wrong: &mut Vec<String>,
) -> Option<Control> {
    let mut sources = Vec::new();
    for path in &options.config {
        let shown = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => sources.push(Source::new(shown, text)),
            Err(error) => wrong.push(format!("--haproxy-config {shown}: {error}")),
        }
    }
    let settings = haproxy::settings(&sources, surroundings);
    let named = haproxy::fill_backend(&settings);
    let backend = options.backend.clone().or(named);
    let backend = backend.unwrap_or_else(|| config::FLEET_BACKEND_DEFAULT.to_owned());
    let text = haproxy::configuration(&backend, &settings, &options.settings);
    let outcome = config::load(&[Source::new("section discovery", text)], surroundings);
    let alerts = outcome
        .diagnostics
        .iter()
        .filter(|it| it.severity == Severity::Alert);
    wrong.extend(alerts.map(|alert| alert.message.clone()));
    let config = outcome.config?;
    match Control::new(&config, environment) {
        Ok(control) if control.backend().is_none() => {
            wrong.push(
                "WS_UPDATES_URL is not set: nothing says which nodes there are; write \
                 http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]"
                    .to_owned(),
            );
            None
        }
        Ok(control) => Some(control),
        Err(errors) => {
            wrong.extend(errors.iter().map(ToString::to_string));
            None
        }
    }
}

/// Words of a `server` line.
fn words(text: &str, surroundings: &dyn Surroundings, wrong: &mut Vec<String>) -> Vec<String> {
    match config::lexer::split(text, config::source::Span::default(), surroundings) {
        Ok(words) => words.into_iter().map(|word| word.text).collect(),
        Err(problem) => {
            wrong.push(format!("--server-options: {}", problem.message));
            Vec::new()
        }
    }
}
