//! The loop against a fake driver and a scripted service, with the clock paused.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::discovery::source::Script;
use crate::discovery::tests::fleet;
use crate::driver::fake::Fake;
use crate::news::{Desk, News, Origin};
use crate::plan::Health;
use crate::plan::tests::{intent, observed};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(30);

/// What the loop said.
#[derive(Clone, Default)]
struct Recorder {
    state: Rc<RefCell<Recorded>>,
}

#[derive(Default)]
struct Recorded {
    lines: Vec<String>,
    status: ControlStatus,
}

impl Outlet for Recorder {
    fn log(&self, level: Level, line: &str) {
        self.state
            .borrow_mut()
            .lines
            .push(format!("{level:?} {line}"));
    }

    fn show(&self, status: ControlStatus) {
        self.state.borrow_mut().status = status;
    }
}

/// A loop under test, and everything around it.
struct World {
    script: Script,
    driver: Fake,
    recorder: Recorder,
    events: broadcast::Sender<Event>,
    state_file: Option<Arc<StateFile>>,
    restored: Fleet,
    desk: RefCell<Option<Desk>>,
}

impl World {
    /// One configured server that is up, and a service that answers so.
    fn new(answer: &str) -> Self {
        let script = Script::default();
        script.answer(answer);
        Self {
            script,
            driver: Fake::with(observed("wsnode1 up")),
            recorder: Recorder::default(),
            events: broadcast::channel(16).0,
            state_file: None,
            restored: Fleet::default(),
            desk: RefCell::default(),
        }
    }

    /// Pushes a list or a change; the outcome in a line, or why there is none.
    async fn push(&self, text: &str) -> String {
        self.tell(Origin::Push, text).await
    }

    async fn tell(&self, origin: Origin, text: &str) -> String {
        let news = |reply| {
            let mut news = News::new(origin, text.as_bytes().to_vec(), None);
            news.reply = Some(reply);
            Message::News(news)
        };
        self.ask(news).await
    }

    async fn ask(&self, message: impl FnOnce(crate::news::Reply) -> Message) -> String {
        let desk = self.desk.borrow().clone().unwrap();
        match desk.ask(message).await.unwrap() {
            Ok(outcome) => outcome.to_string(),
            Err(refusal) => format!("{} {}", refusal.status, refusal.why),
        }
    }

    fn start(&self) {
        self.start_with(intent());
    }

    fn start_with(&self, intent: Intent) {
        let discovery = Discovery {
            ear: Ear::default(),
            source: Source::Scripted(self.script.clone()),
            schedule: Schedule::new(INTERVAL, 7),
            intent,
            nodes_max: 1_000,
            state_file: self.state_file.clone(),
            restored: self.restored.clone(),
        };
        self.spawn(Some(discovery));
    }

    fn spawn(&self, discovery: Option<Discovery>) {
        let mut report = Report::default();
        report.from_state_file = !self.restored.is_empty();
        let (lifecycle, _) = Lifecycle::begin();
        let (driver, recorder) = (self.driver.clone(), self.recorder.clone());
        let remembered = (Hearing::default(), report);
        let reconciler = Reconciler::new(driver, recorder, discovery, lifecycle, remembered);
        let (desk, messages) = Desk::new();
        *self.desk.borrow_mut() = Some(desk);
        spawn_local(reconciler.run(self.events.subscribe(), no_reloads(), messages, 0));
    }

    fn status(&self) -> ControlStatus {
        self.recorder.state.borrow().status.clone()
    }

    fn lifecycle(&self) -> &'static str {
        self.recorder.state.borrow().status.lifecycle
    }

    fn discovery(&self) -> engine::snapshot::DiscoveryStatus {
        self.status().discovery.unwrap()
    }

    /// Lines since the last call.
    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.recorder.state.borrow_mut().lines)
    }

    fn failures(&self, cause: &str) -> u64 {
        let failures = self.discovery().failures_total;
        failures.iter().find(|(name, _)| *name == cause).unwrap().1
    }

    fn server_down(&self) {
        let (backend, server) = ("ws_backend".into(), "a".into());
        self.events
            .send(Event::ServerDown { backend, server })
            .unwrap();
    }
}

/// Lets the loop do what it does in that time.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

async fn run(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

const A: &str = r#"[{"id":"a","url":"h1:1"}]"#;
const AB: &str = r#"[{"id":"a","url":"h1:1"},{"id":"b","url":"h2:1"}]"#;
const ABCD: &str = r#"[{"id":"a","url":"h1:1"},{"id":"b","url":"h2:1"},{"id":"c","url":"h3:1"},{"id":"d","url":"h4:1"}]"#;

#[tokio::test(start_paused = true)]
async fn from_the_start_to_routing() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND).await;
        assert_eq!(
            world.driver.steps(),
            ["add a http://h1:1", "add b http://h2:1"]
        );
        assert_eq!(world.lifecycle(), "HealthChecks");
        assert_eq!(world.status().waiting, ["2 servers have had no check yet"]);
        world.driver.set_health("a", Health::Up);
        world.driver.set_health("b", Health::Down);
        pass(SECOND).await;
        assert_eq!(world.lifecycle(), "Ready");
        world.driver.set_routed();
        world.events.send(Event::FirstRouted).unwrap();
        pass(SECOND / 100).await;
        assert_eq!(world.lifecycle(), "Routing");
        assert_eq!(
            world.lines(),
            [
                "Notice Lifecycle: LoadingConfig -> FetchingNodes",
                "Notice Lifecycle: FetchingNodes -> HealthChecks",
                "Notice Fleet: add a http://h1:1",
                "Notice Fleet: add b http://h2:1",
                "Notice Node a: Joining -> Ready",
                "Notice Lifecycle: HealthChecks -> Ready",
                "Notice Lifecycle: Ready -> Routing",
            ]
        );
        let status = world.discovery();
        assert_eq!(
            (status.nodes, status.fetches_total, status.changes_total),
            (2, 1, 2)
        );
    })
    .await;
}

/// A list of so many nodes.
fn nodes(count: usize) -> String {
    let entries = (0..count).map(|n| format!(r#"{{"id":"n{n}","url":"h{n}:1"}}"#));
    format!("[{}]", entries.collect::<Vec<_>>().join(","))
}

#[tokio::test(start_paused = true)]
async fn a_large_list_was_looked_at_once_for_every_64_changes() {
    run(async {
        let world = World::new(&nodes(1_000));
        world.start_with(Intent {
            servers_max: 1_000,
            ..intent()
        });
        pass(SECOND / 20).await;
        assert_eq!(world.driver.steps().len(), 1_000);
        // At the start, then before and behind the changes.
        assert_eq!(world.driver.looks(), 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn checks_that_never_end_are_not_awaited_for_ever() {
    run(async {
        let world = World::new(A);
        world.start();
        pass(9 * SECOND).await;
        assert_eq!(world.lifecycle(), "HealthChecks");
        pass(2 * SECOND).await;
        assert_eq!(world.lifecycle(), "Ready");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_discovery_the_life_goes_on_to_routing() {
    run(async {
        let world = World::new("");
        world.spawn(None);
        pass(SECOND).await;
        assert_eq!(world.lifecycle(), "Ready");
        world.driver.set_routed();
        pass(2 * SECOND).await;
        assert_eq!(world.lifecycle(), "Routing");
        assert!(world.status().discovery.is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_were_there_before_us_stay_until_a_list_comes() {
    run(async {
        let mut world = World::new("<html>");
        let before = "wsnode1 up\na=h1:1 up 5\nb=h2:1 drain 3\nc=h3:1 up 1";
        world.driver = Fake::with(observed(before));
        world.start();
        pass(3 * SECOND).await;
        assert!(world.driver.steps().is_empty());
        assert_eq!(world.discovery().nodes, 2, "who drains leaves");
        world.script.answer(AB);
        pass(2 * INTERVAL).await;
        assert_eq!(world.driver.steps(), ["ready b", "drain c"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_seen_is_not_changed() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND).await;
        world.driver.steps();
        world.driver.hide(Some("nobody answers"));
        world.script.answer(A);
        pass(2 * INTERVAL).await;
        assert!(world.driver.steps().is_empty());
        let waiting = world.status().waiting;
        assert!(
            waiting.contains(&"nobody answers".to_owned()),
            "{waiting:?}"
        );
        let line = "Warning Fleet: nobody answers; nothing is changed meanwhile";
        let said = world.lines();
        assert_eq!(said.iter().filter(|it| **it == line).count(), 1, "{said:?}");
        world.driver.hide(None);
        pass(2 * SECOND).await;
        assert_eq!(world.driver.steps(), ["drain b", "remove b"]);
        let again = "Notice Fleet: its servers can be seen again".to_owned();
        assert!(world.lines().contains(&again));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_same_list_again_causes_nothing() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND).await;
        world.driver.set_health("a", Health::Up);
        world.driver.set_health("b", Health::Up);
        pass(SECOND).await;
        world.driver.steps();
        world.lines();
        let noise = r#"[{"id":"b","url":"http://h2:1/","status":"active","last_seen":"x"},{"id":"a","url":"h1:1","created_at":"y"}]"#;
        world.script.answer(noise);
        pass(INTERVAL * 3).await;
        assert_eq!(world.discovery().fetches_total, 4);
        assert_eq!(world.driver.steps(), [] as [&str; 0]);
        assert_eq!(world.lines(), [] as [&str; 0]);
        assert!(world.discovery().age.unwrap() <= INTERVAL + SECOND * 4);
    })
    .await;
}

/// Whatever the service does: no step, one warning, a counter, the lifecycle in Error; and after it
/// has recovered, the same as before.
#[tokio::test(start_paused = true)]
async fn a_service_that_fails_changes_no_server() {
    for (answer, cause, why) in [
        ("500", "status", "the service answers status 500"),
        ("[]", "empty", "the list names no usable node"),
        (
            r#"[{"id":"a b","url":"h"}]"#,
            "empty",
            "the list names no usable node",
        ),
        (
            r#"[{"id":"a","url":"h1:1"}"#,
            "malformed",
            "the answer is cut off or not JSON",
        ),
    ] {
        run(async {
            let world = World::new(AB);
            world.start();
            pass(SECOND).await;
            world.driver.set_health("a", Health::Up);
            world.driver.set_health("b", Health::Up);
            world.driver.set_routed();
            pass(SECOND).await;
            assert_eq!(world.lifecycle(), "Routing");
            world.driver.steps();
            world.lines();
            world.script.answer(answer);
            pass(10 * INTERVAL).await;
            assert_eq!(world.driver.steps(), [] as [&str; 0], "{answer}");
            assert_eq!(world.lifecycle(), "Error");
            assert!(world.failures(cause) >= 5, "{answer}");
            assert_eq!(world.discovery().last_error.as_deref(), Some(why));
            assert!(world.discovery().age.unwrap() > 9 * INTERVAL);
            let waiting = world.status().waiting;
            assert_eq!(waiting[0], why);
            assert!(
                waiting[1].starts_with("the list of 2 nodes from "),
                "{waiting:?}"
            );
            let lines = world.lines();
            let of_lifecycle = |line: &&String| line.contains("Lifecycle");
            assert_eq!(
                lines.iter().filter(of_lifecycle).collect::<Vec<_>>(),
                [
                    "Notice Lifecycle: Routing -> Reloading (the node list cannot be renewed)",
                    &format!("Warning Lifecycle: Reloading -> Error: {why}"),
                ]
            );
            world.script.answer(AB);
            pass(3 * INTERVAL).await;
            assert_eq!(world.lifecycle(), "Routing");
            assert_eq!(world.driver.steps(), [] as [&str; 0]);
            assert_eq!(world.discovery().last_error, None);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_fine_while_there_is_nothing_to_empty() {
    run(async {
        let world = World::new("[]");
        world.start();
        pass(2 * INTERVAL).await;
        assert_eq!(world.lifecycle(), "Ready");
        assert_eq!(world.failures("empty"), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_drained_and_removed_when_its_sessions_have_ended() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND).await;
        world.driver.set_health("a", Health::Up);
        world.driver.set_health("b", Health::Up);
        world.driver.set_sessions("b", 7);
        pass(SECOND).await;
        world.driver.steps();
        world.lines();
        world.script.answer(A);
        pass(INTERVAL * 11 / 10).await;
        assert_eq!(world.driver.steps(), ["drain b"]);
        assert_eq!(world.status().waiting, ["b: drain has 7 sessions left"]);
        assert_eq!(world.lifecycle(), "Ready");
        world.driver.set_sessions("b", 0);
        pass(2 * SECOND).await;
        assert_eq!(world.driver.steps(), ["remove b"]);
        assert_eq!(
            world.lines(),
            [
                "Notice Lifecycle: Ready -> Reloading (nodes leaving: 1)",
                "Notice Fleet: drain b",
                "Notice Node b: Ready -> Draining (7 sessions)",
                "Notice Lifecycle: Reloading -> Ready",
                "Notice Fleet: remove b",
                "Notice Node b: Draining -> Gone",
            ]
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_a_drain_of_ours_is_taken_back() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND).await;
        world.driver.set_health("a", Health::Up);
        world.driver.set_health("b", Health::Up);
        world.driver.set_sessions("b", 1);
        world.driver.steps();

        world.driver.set_admin("b", Admin::Drain);
        pass(2 * INTERVAL).await;
        assert_eq!(world.driver.steps(), [""; 0]);
        let waiting = world.status().waiting.join(" ");
        assert!(
            waiting.contains("b: is in the list and drains"),
            "{waiting}"
        );

        world.driver.set_admin("b", Admin::Ready);
        world.script.answer(A);
        pass(2 * INTERVAL).await;
        assert_eq!(world.driver.steps(), ["drain b"]);
        world.script.answer(AB);
        pass(2 * INTERVAL).await;
        assert_eq!(world.driver.steps(), ["ready b"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_drops_most_nodes_waits_for_a_second_one() {
    run(async {
        let world = World::new(ABCD);
        world.start();
        pass(SECOND).await;
        for name in ["a", "b", "c", "d"] {
            world.driver.set_health(name, Health::Up);
            world.driver.set_sessions(name, 1);
        }
        pass(SECOND).await;
        world.driver.steps();
        world.lines();
        world.script.answer(A);
        // The first list is held; a good one forgets it; then it takes two again, with time between.
        world.server_down();
        pass(SECOND / 2).await;
        let held =
            "the list misses 3 of 4 nodes (b, c, d): they stay until a later fetch confirms it";
        assert_eq!(world.lines(), [format!("Warning Node list: {held}")]);
        assert_eq!(world.status().waiting, [held]);
        assert_eq!(world.driver.steps(), [] as [&str; 0]);
        world.script.answer(ABCD);
        world.server_down();
        pass(SECOND * 3 / 2).await;
        assert_eq!(world.status().waiting, [] as [&str; 0]);
        world.script.answer(A);
        world.server_down();
        pass(SECOND).await;
        assert_eq!(world.driver.steps(), [] as [&str; 0]);
        world.server_down();
        pass(SECOND * 3 / 2).await;
        assert_eq!(world.driver.steps(), [] as [&str; 0], "too soon");
        pass(INTERVAL * 11 / 10).await;
        assert_eq!(world.driver.steps(), ["drain b", "drain c", "drain d"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_node_calls_for_the_list_once_a_second_at_most() {
    run(async {
        let world = World::new(A);
        world.start();
        pass(5 * SECOND).await;
        let before = world.script.fetched().len();
        let backend: Arc<str> = "other".into();
        let server: Arc<str> = "x".into();
        world
            .events
            .send(Event::ServerDown { backend, server })
            .unwrap();
        pass(SECOND).await;
        assert_eq!(
            world.script.fetched().len(),
            before,
            "another backend's servers"
        );
        let asked = Instant::now();
        world.server_down();
        pass(SECOND / 10).await;
        let fetched = world.script.fetched();
        assert_eq!(fetched.len(), before + 1);
        assert!(fetched[before] - asked < SECOND / 100, "at once");
        for _ in 0..100 {
            world.server_down();
            pass(SECOND / 20).await;
        }
        let more = world.script.fetched().len() - before - 1;
        assert!((4..=5).contains(&more), "{more} in five seconds");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn hostile_entries_are_named_once_and_counted_each_time() {
    run(async {
        let bad = r#"{"id":"x\nserver y 1.2.3.4:1","url":"h:9"}"#;
        let list = A.replace(']', &format!(",{}]", [bad; 8].join(",")));
        let world = World::new(&list);
        world.start();
        pass(SECOND).await;
        world.driver.set_health("a", Health::Up);
        let skipped = |lines: Vec<String>| {
            let lines = lines.into_iter().filter(|line| line.contains("Node list"));
            lines.collect::<Vec<_>>()
        };
        let lines = skipped(world.lines());
        assert_eq!(lines.len(), 6);
        assert!(lines.iter().all(|line| !line.contains('\n')));
        assert_eq!(lines[5], "Warning Node list: 3 more entries left out");
        pass(2 * INTERVAL + 10 * SECOND).await;
        assert_eq!(skipped(world.lines()), [] as [&str; 0]);
        assert_eq!(world.discovery().entries_skipped_total, 24);
        assert_eq!(world.driver.steps(), ["add a http://h1:1"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_a_list_that_changes_the_fleet_takes_time_to_apply() {
    for unchanged in ["500", AB] {
        run(async {
            let mut world = World::new(unchanged);
            world.restored = fleet("a=h1:1 b=h2:1");
            world.driver.refuse(Some("no CA file"));
            world.start();
            // The fetch takes ten milliseconds; what it finds behind it is the state file's doing.
            pass(SECOND / 200).await;
            world.driver.refuse(None);
            pass(SECOND / 100).await;
            assert_eq!(world.driver.steps().len(), 2);
            assert_eq!(world.discovery().apply_time, None, "{unchanged}");
            world.script.answer(ABCD);
            pass(3 * INTERVAL).await;
            assert_eq!(world.driver.steps().len(), 2);
            assert!(world.discovery().apply_time.is_some());
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn steps_that_are_refused_are_told_once_and_tried_again() {
    run(async {
        let world = World::new(A);
        world.driver.refuse(Some("no CA file"));
        world.start();
        pass(5 * SECOND).await;
        let refused = "add a http://h1:1: no CA file";
        let lines = world.lines();
        let told = lines
            .iter()
            .filter(|line| **line == format!("Warning Fleet: cannot {refused}"));
        assert_eq!(told.count(), 1);
        assert_eq!(world.status().waiting, [format!("cannot {refused}")]);
        world.driver.refuse(None);
        pass(2 * SECOND).await;
        assert_eq!(world.driver.steps(), ["add a http://h1:1"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_fleet_of_the_state_file_serves_until_a_list_comes() {
    run(async {
        let mut world = World::new("500");
        world.restored = fleet("a=h1:1 b=h2:1");
        world.start();
        pass(SECOND / 2).await;
        assert_eq!(
            world.driver.steps(),
            ["add a http://h1:1", "add b http://h2:1"]
        );
        assert_eq!(world.lifecycle(), "Error");
        let status = world.discovery();
        assert!(status.from_state_file && status.age.is_none() && status.nodes == 2);
        let waiting = world.status().waiting;
        assert!(
            waiting[1].starts_with("the list of 2 nodes from the state file"),
            "{waiting:?}"
        );
        world.script.answer(AB);
        pass(3 * INTERVAL).await;
        assert!(!world.discovery().from_state_file);
        assert_eq!(world.driver.steps(), [] as [&str; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_state_file_is_written_when_the_fleet_changes_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.json");
    let file = Arc::new(StateFile::open(&path, "script", "ws_backend").unwrap());
    run(async {
        let mut world = World::new(A);
        world.state_file = Some(Arc::clone(&file));
        world.start();
        pass(SECOND).await;
        assert_eq!(file.load(10), Ok(Some(fleet("a=h1:1"))));
        std::fs::remove_file(&path).unwrap();
        pass(2 * INTERVAL).await;
        assert_eq!(file.load(10), Ok(None), "no change, no write");
        world.script.answer(AB);
        pass(2 * INTERVAL).await;
        assert_eq!(file.load(10), Ok(Some(fleet("a=h1:1 b=h2:1"))));
        folder.close().unwrap();
        world.lines();
        world.script.answer(A);
        pass(5 * INTERVAL).await;
        let lines = world.lines();
        let warnings = lines.iter().filter(|line| line.contains("State file:"));
        assert_eq!(warnings.count(), 1, "{lines:?}");
        assert!(world.discovery().state_file_failures_total > 1);
        assert_eq!(world.discovery().nodes, 1, "everything else goes on");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_slow_to_end_are_said_and_counted_once() {
    run(async {
        let world = World::new(AB);
        world.driver.cling();
        world.start_with(Intent {
            drain: Some(SECOND),
            ..intent()
        });
        pass(SECOND).await;
        world.driver.set_health("a", Health::Up);
        world.driver.set_sessions("b", 7);
        world.script.answer(A);
        pass(INTERVAL + 10 * SECOND).await;
        assert!(world.driver.steps().len() > 5, "they are told again");
        let lines = world.lines();
        let said = lines.iter().filter(|line| line.contains("shutdown b"));
        assert_eq!(said.count(), 1, "{lines:?}");
        assert_eq!(world.discovery().changes_total, 4);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_when_the_engine_begins_to_stop() {
    run(async {
        let world = World::new(A);
        world.start();
        pass(SECOND).await;
        let before = world.script.fetched().len();
        world.events.send(Event::Stopping).unwrap();
        world.script.answer(AB);
        pass(3 * INTERVAL).await;
        assert_eq!(world.script.fetched().len(), before);
        assert_eq!(world.events.receiver_count(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_with_the_engine() {
    run(async {
        let World { events, driver, .. } = World::new("");
        let (lifecycle, _) = Lifecycle::begin();
        let recorder = Recorder::default();
        let remembered = (Hearing::default(), Report::default());
        let reconciler = Reconciler::new(driver, recorder, None, lifecycle, remembered);
        let receiver = events.subscribe();
        drop(events);
        reconciler
            .run(receiver, no_reloads(), Desk::new().1, 0)
            .await;
    })
    .await;
}

/// No reload ever comes.
fn no_reloads() -> mpsc::UnboundedReceiver<ReloadNews> {
    mpsc::unbounded_channel().1
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_is_in_force_before_the_next_fetch() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND).await;
        world.driver.steps();
        let add = r#"{"action":"add","id":"c","url":"h3:1"}"#;
        assert_eq!(world.push(add).await, "3 nodes; joined: c\n");
        // The answer comes when the steps have been carried out.
        assert_eq!(world.driver.steps(), ["add c http://h3:1"]);
        assert_eq!(world.push(add).await, "3 nodes; nothing changed\n");
        assert_eq!(world.push(ABCD).await, "4 nodes; joined: d\n");
        let status = world.discovery();
        let last = status.last_change.unwrap();
        assert_eq!(
            (last.source, status.nodes, status.fetches_total),
            ("push", 4, 1)
        );
        let pushed = |word| ("push", word, if word == "changed" { 2 } else { 1 });
        for row in [pushed("changed"), pushed("same"), ("poll", "changed", 1)] {
            assert!(status.news_total.contains(&row), "{:?}", status.news_total);
        }
        // Fetches go on, and have the last word.
        pass(INTERVAL * 2).await;
        assert_eq!(world.script.fetched().len(), 3);
        assert_eq!(world.discovery().nodes, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_no_good_says_why_and_changes_nothing() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND).await;
        world.driver.steps();
        for (text, expected) in [
            (
                "[]",
                "422 the list names no usable node, and there are nodes: nothing was changed",
            ),
            (
                r#"[{"id":"x y","url":"h"}]"#,
                "422 the list names no usable node, and there are nodes: nothing was changed",
            ),
            (
                "[{]",
                "400 the list is cut off or not JSON at line 1, column 3",
            ),
            ("<html>", "400 it is an HTML page, not JSON"),
            (
                "nodes",
                "400 it is neither a JSON array (the list of nodes) nor an object (one change)",
            ),
            (
                "{}",
                "400 \"action\" is missing: it is add, update or remove",
            ),
            (r#"{"action":"remove","id":"z"}"#, "404 no node is called z"),
            (
                r#"{"action":"add","id":"a","url":"h9:1"}"#,
                "409 a is known at http://h1:1: \"update\" moves it",
            ),
        ] {
            assert_eq!(world.push(text).await, expected, "{text}");
        }
        assert_eq!(world.driver.steps(), [""; 0]);
        assert_eq!(world.discovery().nodes, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pushes_that_take_away_most_are_held_until_a_list_confirms_it() {
    run(async {
        let world = World::new(ABCD);
        world.start();
        pass(SECOND).await;
        let held =
            "the list misses 3 of 4 nodes (b, c, d): they stay until a later fetch confirms it";
        let expected = format!("4 nodes; nothing changed\n{held}\n");
        assert_eq!(world.push(A).await, expected);
        assert_eq!(
            world.status().waiting.first().map(String::as_str),
            Some(held)
        );
        // The service still lists them: they stay.
        pass(INTERVAL + INTERVAL / 5).await;
        assert_eq!(world.discovery().nodes, 4);
        assert!(world.status().waiting.iter().all(|line| line != held));
        // One after the other is no way round it.
        let remove = |id: &str| format!(r#"{{"action":"remove","id":"{id}"}}"#);
        assert_eq!(world.push(&remove("a")).await, "3 nodes; left: a\n");
        assert_eq!(world.push(&remove("b")).await, "2 nodes; left: b\n");
        let third = world.push(&remove("c")).await;
        assert!(
            third.starts_with("2 nodes; nothing changed\nthe list misses 1 of 2"),
            "{third}"
        );
        assert_eq!(world.discovery().nodes, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_was_under_way_when_news_came_is_made_again() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND).await;
        // A fetch begins, and takes ten milliseconds.
        let fetches = world.script.fetched().len();
        world.server_down();
        while world.script.fetched().len() == fetches {
            pass(SECOND / 1000).await;
        }
        let joined = world
            .push(r#"{"action":"add","id":"c","url":"h3:1"}"#)
            .await;
        assert_eq!(joined, "3 nodes; joined: c\n");
        // The service knows by now, but what is under way does not.
        let abc = AB.replace(']', r#",{"id":"c","url":"h3:1"}]"#);
        world.script.answer(&abc);
        pass(SECOND / 10).await;
        assert_eq!(
            world.discovery().nodes,
            3,
            "nobody was taken away by an old list"
        );
        pass(SECOND).await;
        assert_eq!(world.script.fetched().len(), fetches + 2);
        assert_eq!(world.discovery().nodes, 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_fetch_now_and_hears_what_changed() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND * 5).await;
        assert_eq!(
            world.ask(Message::Fetch).await,
            "2 nodes; nothing changed\n"
        );
        world.script.answer(ABCD);
        assert_eq!(world.ask(Message::Fetch).await, "4 nodes; joined: c, d\n");
        assert_eq!(world.discovery().last_change.unwrap().source, "command");
        // Many at once cost one fetch.
        let fetches = world.script.fetched().len();
        let many = (0..10).map(|_| world.ask(Message::Fetch));
        for told in join_all(many).await {
            assert_eq!(told, "4 nodes; nothing changed\n");
        }
        assert!(world.script.fetched().len() <= fetches + 2);
        world.script.answer("no");
        let told = world.ask(Message::Fetch).await;
        assert_eq!(told, "502 the service answers status 500");
    })
    .await;
}

/// All of them side by side.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut done = Vec::new();
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(move |cx| {
        futures.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        match futures.is_empty() {
            true => std::task::Poll::Ready(std::mem::take(&mut done)),
            false => std::task::Poll::Pending,
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn news_that_never_end_do_not_keep_fetches_from_being_believed() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND).await;
        for turn in 0..1_200 {
            let action = if turn % 2 == 0 { "add" } else { "remove" };
            let url = r#""url":"h3:1""#;
            world
                .push(&format!(r#"{{"action":"{action}","id":"c",{url}}}"#))
                .await;
            world.server_down();
            pass(SECOND / 200).await;
        }
        let poll = world.discovery().news_total;
        let same = poll.iter().find(|row| (row.0, row.1) == ("poll", "same"));
        let changed = poll
            .iter()
            .find(|row| (row.0, row.1) == ("poll", "changed"));
        assert!(same.unwrap().2 + changed.unwrap().2 > 1, "{poll:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_taken_has_the_list_fetched() {
    run(async {
        let world = World::new(AB);
        world.start();
        pass(SECOND * 5).await;
        let fetches = world.script.fetched().len();
        let unknown = r#"{"action":"update","id":"z","url":"h9:1"}"#;
        assert_eq!(
            world.tell(Origin::Stream, unknown).await,
            "404 no node is called z"
        );
        pass(SECOND / 10).await;
        assert_eq!(world.script.fetched().len(), fetches + 1);
        let lines = world.lines();
        let line = "Warning Discovery: an event is of no use: no node is called z";
        assert!(lines.iter().any(|it| it == line), "{lines:?}");
    })
    .await;
}
