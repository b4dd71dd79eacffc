//! What a crash leaves behind at each fault point, tested one by one.
//!
//! A host runs a scenario. At one visit of one fault point its data folder is copied, which is what `kill -9` leaves,
//! and that host is gone; another opens the copy. What the first had promised by then is compared with what the second
//! finds and does with it.
#![allow(missing_docs, reason = "a test binary")]

mod testbed;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tempfile::TempDir;
use testbed::{Testbed, TokioClock};
use tokio::sync::Notify;
use wasmill_model::fault_point::{arm, disarm};
use wasmill_model::{
    Backoff, Cause, HOST_CRASHES_MAX, MissedPolicy, Runner, SystemClock, Task, TaskId, TaskState, Timing,
};
use wasmill_scheduler::{Prepare, Scheduler, SchedulerConfig, Schedules};
use wasmill_store::{Filter, ListQuery, NewSchedule, Store};
use wasmill_store_sqlite::{Database, SqliteConfig};

const DAY: Duration = Duration::from_secs(86_400);

/// The fault points that the scenario visits; the others belong to opening a store.
const POINTS: [&str; 8] = [
    "all written, not committed",
    "committed, not answered",
    "claim stored, nothing runs",
    "guest done, not stored",
    "outcome stored, slot taken",
    "cancel stored, guest alive",
    "removal stored, guest alive",
    "guest stopped, not stored",
];

/// Fault points are global to the process, so tests run one at a time.
static EXCLUSIVE: Mutex<()> = Mutex::new(());

fn exclusive() -> MutexGuard<'static, ()> {
    EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a client knows of a task.
#[derive(Clone, Debug)]
enum Known {
    /// Accepted and expected to complete; without a result it returns its attempt.
    Accepted {
        result: Option<&'static str>,
        attempts_max: u32,
    },
    /// Accepted; it runs until it is stopped.
    Endless,
    /// Accepted; it runs until it is stopped, or completes once a later run finds its checkpoint, which may be stored
    /// before its guest knows.
    Saving,
    Ended(Box<Task>),
    /// A cancel or removal is in progress, so either state is right.
    Stopping,
    Cancelled,
    Removed,
}

/// What is known of a task whose guest saw its checkpoint confirmed.
const SAVED: Known = Known::Accepted { result: Some("here"), attempts_max: 1 };

/// The folder that a crash left, and what was known by then.
type Crash = (TempDir, Vec<(TaskId, Known)>);

type Ledger = Arc<Mutex<Vec<(TaskId, Known)>>>;

fn config() -> SchedulerConfig {
    let wait = Duration::from_millis(40);
    let backoff = Backoff::of(Some(wait), Some(1.0), Some(wait), None).expect("valid");
    SchedulerConfig { slots: 2, backoff, ..SchedulerConfig::default() }
}

/// Runs through everything that can happen to a task, and records each promise as soon as it is made.
async fn run_scenario(testbed: &Testbed, ledger: &Ledger) {
    let know = |id, known| ledger.lock().expect("no panic").push((id, known));
    let ended = async |id, state| know(id, Known::Ended(Box::new(testbed.wait_for(id, state).await)));

    let ok = testbed.submit("ok").await;
    know(ok, Known::Accepted { result: Some("ok"), attempts_max: 1 });
    ended(ok, TaskState::Completed).await;

    let retried = testbed.submit_with("fail-until 2", 2, DAY).await;
    know(retried, Known::Accepted { result: None, attempts_max: 2 });
    ended(retried, TaskState::Completed).await;

    let saved = testbed.submit("save here").await;
    know(saved, Known::Saving);
    let endless = testbed.submit("forever").await;
    know(endless, Known::Endless);
    testbed.wait_for(saved, TaskState::Running).await;
    testbed.wait_for(endless, TaskState::Running).await;

    let waiting = testbed.submit("forever").await;
    know(waiting, Known::Endless);
    know(waiting, Known::Stopping);
    testbed.scheduler.cancel(waiting).await.expect("a store");
    know(waiting, Known::Cancelled);

    know(endless, Known::Stopping);
    testbed.scheduler.cancel(endless).await.expect("a store");
    know(endless, Known::Cancelled);

    let removed = testbed.submit("spin").await;
    know(removed, Known::Endless);
    testbed.wait_for(removed, TaskState::Running).await;
    know(removed, Known::Stopping);
    testbed.scheduler.remove(removed).await.expect("a store");
    know(removed, Known::Removed);

    testbed.scheduler.drain(std::future::ready(())).await;
}

/// Crashes a host at this visit of the fault point, counted from 0. `None` if the scenario never gets there.
fn crash_at(point: &'static str, visit: usize) -> Option<Crash> {
    let runtime = paused_runtime();
    runtime.block_on(async {
        let testbed = Testbed::with(config());
        let ledger = Ledger::default();
        let over = Arc::new(Notify::new());
        let left = Arc::<Mutex<Option<Crash>>>::default();
        let visits = Mutex::new(0);
        arm({
            let runner = Arc::clone(&testbed.runner);
            let (data, ledger, over, left) =
                (testbed.folder().to_owned(), Arc::clone(&ledger), Arc::clone(&over), Arc::clone(&left));
            move |reached| {
                let mut visits = visits.lock().expect("no panic");
                if reached != point {
                    return;
                }
                *visits += 1;
                if *visits == visit + 1 {
                    let mut known = ledger.lock().expect("no panic").clone();
                    let saved = runner.saved.lock().expect("no panic").clone();
                    known.extend(saved.into_iter().map(|id| (id, SAVED)));
                    *left.lock().expect("no panic") = Some((copy(&data), known));
                    over.notify_one();
                }
            }
        });
        tokio::select! {
            biased;
            () = over.notified() => {}
            () = run_scenario(&testbed, &ledger) => {}
        }
        disarm();
        let mut left = left.lock().expect("no panic");
        left.take()
    })
}

fn paused_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

/// Returns a runtime in which a fault point may block one thread while the others continue.
fn threaded_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().expect("a runtime")
}

fn copy(data: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for file in data.read_dir().expect("a folder") {
        let file = file.expect("a file").path();
        std::fs::copy(&file, copy.path().join(file.file_name().expect("a name"))).expect("copied");
    }
    copy
}

/// Opens what a crash left, and checks every earlier promise.
async fn check(data: TempDir, known: &[(TaskId, Known)]) {
    let testbed = Testbed::on(Arc::new(data), Arc::new(TokioClock::new()), config());
    let mut latest = std::collections::BTreeMap::new();
    latest.extend(known.iter().cloned());
    let mut over = BTreeSet::new();
    for (&id, known) in &latest {
        match known {
            Known::Accepted { result, attempts_max } => {
                let task = testbed.wait_for(id, TaskState::Completed).await;
                let attempt = format!("attempt {}", task.attempt);
                assert_eq!(task.result.as_deref(), Some(result.unwrap_or(&attempt)));
                assert!(task.attempt <= attempts_max + task.host_crashes, "{task:?}");
                assert!(task.host_crashes <= 1, "one host died: {task:?}");
            }
            Known::Endless => {
                let task = testbed.task(id).await;
                assert!(!task.state.is_final() && task.host_crashes <= 1, "{task:?}");
                assert!(testbed.scheduler.remove(id).await.expect("a store").is_some());
            }
            Known::Saving => {
                let task = testbed.task(id).await;
                assert!(task.host_crashes <= 1, "{task:?}");
                if task.state.is_final() {
                    assert_eq!(task.result.as_deref(), Some("here"), "{task:?}");
                } else {
                    assert!(testbed.scheduler.remove(id).await.expect("a store").is_some());
                }
            }
            Known::Ended(task) => {
                assert_eq!(testbed.task(id).await, **task, "a finished task never changes");
                over.insert(id);
            }
            Known::Stopping => {
                testbed.scheduler.remove(id).await.expect("a store");
            }
            Known::Cancelled => {
                assert_eq!(testbed.task(id).await.state, TaskState::Cancelled);
                over.insert(id);
            }
            Known::Removed => {
                assert_eq!(testbed.store.get(id).await.expect("a store"), None);
                over.insert(id);
            }
        }
    }
    testbed.advance(Duration::from_secs(3)).await;
    let ran = testbed.runner.tasks.lock().expect("no panic").clone();
    assert!(ran.iter().all(|id| !over.contains(id)), "a finished task never runs again");
}

#[test]
fn every_promise_holds_wherever_the_host_dies() {
    let _exclusive = exclusive();
    for point in POINTS {
        let mut visits = 0;
        while let Some((data, known)) = crash_at(point, visits) {
            println!("{point}, passage {visits}: {} promises", known.len());
            paused_runtime().block_on(check(data, &known));
            visits += 1;
        }
        assert!(visits > 0, "the scenario never visits '{point}'");
    }
}

#[test]
fn a_crash_during_recovery_counts_all_crashes_or_none() {
    let _exclusive = exclusive();
    for (point, crashes) in [("recovered, not committed", 1), ("recovery committed, nothing serves", 1)] {
        let (data, known) = crash_at("claim stored, nothing runs", 0).expect("a claim");
        let (id, _) = known[0].clone();
        let left = Arc::new(Mutex::new(None));
        let (taken, folder) = (Arc::clone(&left), data.path().to_owned());
        arm(move |reached| {
            if reached == point {
                taken.lock().expect("no panic").get_or_insert_with(|| copy(&folder));
            }
        });
        drop(
            Database::open(SqliteConfig::new(data.path()))
                .and_then(|database| database.start(now()))
                .expect("opened"),
        );
        disarm();
        let data = left.lock().expect("no panic").take().expect("reached");
        paused_runtime().block_on(async {
            let testbed = Testbed::on(Arc::new(data), Arc::new(TokioClock::new()), config());
            let task = testbed.wait_for(id, TaskState::Completed).await;
            assert_eq!((task.attempt, task.host_crashes), (2, crashes), "{point}");
        });
    }
}

#[test]
fn a_task_whose_claim_crashes_every_host_fails_and_never_runs() {
    let _exclusive = exclusive();
    let (mut data, known) = crash_at("claim stored, nothing runs", 0).expect("a claim");
    let (id, _) = known[0].clone();
    for _ in 1..HOST_CRASHES_MAX {
        data = paused_runtime().block_on(async {
            let left = Arc::new(Mutex::new(None));
            let over = Arc::new(Notify::new());
            let (snapshot, folder, crashed) = (Arc::clone(&left), data.path().to_owned(), Arc::clone(&over));
            arm(move |reached| {
                if reached == "claim stored, nothing runs" {
                    let copied = snapshot.lock().expect("no panic").replace(copy(&folder));
                    // The poll claims nothing a second time, so there is only one copy.
                    assert!(copied.is_none());
                    disarm();
                    crashed.notify_one();
                }
            });
            let testbed = Testbed::on(Arc::new(data), Arc::new(TokioClock::new()), config());
            over.notified().await;
            drop(testbed);
            left.lock().expect("no panic").take().expect("copied")
        });
    }
    paused_runtime().block_on(async {
        let testbed = Testbed::on(Arc::new(data), Arc::new(TokioClock::new()), config());
        let task = testbed.wait_for(id, TaskState::Failed).await;
        assert_eq!(task.host_crashes, HOST_CRASHES_MAX);
        assert_eq!(task.failure.expect("a failure").cause, Cause::HostCrash);
        testbed.advance(Duration::from_secs(3)).await;
        assert!(testbed.runner.tasks.lock().expect("no panic").is_empty());
    });
}

/// A run that is about to store its result when a cancel arrives.
#[test]
fn a_result_after_a_cancel_is_discarded() {
    let _exclusive = exclusive();
    threaded_runtime().block_on(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (store, _) = Database::open(SqliteConfig::new(dir.path()))
            .and_then(|database| database.start(now()))
            .expect("a store");
        let (arrived, mut arrival) = tokio::sync::mpsc::unbounded_channel();
        let (leave, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        arm(move |reached| match reached {
            "guest done, not stored" => {
                arrived.send(()).expect("the test listens");
                wait.lock().expect("no panic").recv().expect("the test sends");
            }
            "cancel stored, guest alive" => leave.send(()).expect("the run listens"),
            _ => {}
        });
        let runner: Arc<dyn Runner> = Arc::new(testbed::ScriptedRunner::default());
        let handle = tokio::runtime::Handle::current();
        let scheduler = Scheduler::new(config(), store.clone(), runner, Arc::new(SystemClock), handle);
        tokio::spawn(testbed::run(scheduler.clone()));
        let id = TaskId::new();
        store.submit(vec![testbed::new_task(id, "ok", now())], None).await.expect("accepted");
        scheduler.wake();
        arrival.recv().await.expect("the run arrives");
        scheduler.cancel(id).await.expect("a store");
        assert_eq!(scheduler.slots().used, 0);
        let task = store.get(id).await.expect("a store").expect("kept");
        assert_eq!((task.state, task.result), (TaskState::Cancelled, None));
        disarm();
        scheduler.drain(std::future::ready(())).await;
        store.close().await;
    });
}

/// The store accepts the stop request, then cannot store the end of the run until its folder is back.
#[test]
fn a_cancel_that_cannot_be_stored_fails_at_once_and_completes_later() {
    let _exclusive = exclusive();
    threaded_runtime().block_on(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (data, away) = (dir.path().join("data"), dir.path().join("away"));
        let (store, _) = Database::open(SqliteConfig::new(&data))
            .and_then(|database| database.start(now()))
            .expect("a store");
        let runner: Arc<dyn Runner> = Arc::new(testbed::ScriptedRunner::default());
        let handle = tokio::runtime::Handle::current();
        let scheduler = Scheduler::new(config(), store.clone(), runner, Arc::new(SystemClock), handle);
        tokio::spawn(testbed::run(scheduler.clone()));
        let id = TaskId::new();
        store.submit(vec![testbed::new_task(id, "forever", now())], None).await.expect("accepted");
        scheduler.wake();
        let state = async || store.get(id).await.expect("a store").expect("kept").state;
        while state().await != TaskState::Running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        arm({
            let (data, away) = (data.clone(), away.clone());
            move |reached| {
                if reached == "guest stopped, not stored" {
                    std::fs::rename(&data, &away).expect("renamed");
                    // The store checks once a second that its folder exists.
                    std::thread::sleep(Duration::from_millis(1_100));
                }
            }
        });
        let cancel = tokio::time::timeout(Duration::from_secs(60), scheduler.cancel(id));
        let error = cancel.await.expect("an answer").expect_err("not stored");
        disarm();
        assert!(matches!(error, wasmill_store::StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(scheduler.slots().used, 1, "its end is not stored");
        std::fs::rename(&away, &data).expect("renamed");
        while state().await != TaskState::Cancelled || scheduler.slots().used > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        scheduler.drain(std::future::ready(())).await;
        store.close().await;
    });
}

/// More readers than connections wait for a commit in progress, and other reads still work.
#[test]
fn plain_reads_wait_for_no_commit() {
    let _exclusive = exclusive();
    threaded_runtime().block_on(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (store, _) = Database::open(SqliteConfig::new(dir.path()))
            .and_then(|database| database.start(now()))
            .expect("a store");
        let stored = TaskId::new();
        store.submit(vec![testbed::new_task(stored, "ok", now())], None).await.expect("accepted");
        let (arrived, mut arrival) = tokio::sync::mpsc::unbounded_channel();
        let (leave, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        arm(move |reached| {
            if reached == "committed, not answered" {
                arrived.send(()).expect("the test listens");
                wait.lock().expect("no panic").recv().expect("the test sends");
            }
        });
        let writing = tokio::spawn({
            let store = store.clone();
            async move { store.submit(vec![testbed::new_task(TaskId::new(), "ok", now())], None).await }
        });
        arrival.recv().await.expect("the commit arrives");
        let mut following = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let store = store.clone();
            following.spawn(async move { store.get_after_events(stored).await });
        }
        // Each one reads before it waits, so once the pool is exhausted all of them wait.
        for _ in 0..100 {
            let read = tokio::time::timeout(Duration::from_secs(60), store.get(stored));
            assert!(read.await.expect("nothing to wait for").expect("readable").is_some());
        }
        assert!(following.try_join_next().is_none(), "the events are not published yet");
        assert!(!writing.is_finished());
        disarm();
        leave.send(()).expect("the writer listens");
        writing.await.expect("no panic").expect("accepted");
        while let Some(followed) = following.join_next().await {
            assert!(followed.expect("no panic").expect("readable").is_some());
        }
        store.close().await;
    });
}

fn now() -> wasmill_model::Timestamp {
    wasmill_model::Clock::now(&SystemClock)
}

/// How many seconds of a schedule a host runs before it crashes at the latest.
const SCHEDULED_SECONDS: u64 = 3;

/// Crashes a host with a schedule that is due every second, at this visit of the fault point.
fn crash_with_schedule(point: &'static str, visit: usize) -> Option<TempDir> {
    paused_runtime().block_on(async {
        let testbed = Testbed::with(config());
        let left = Arc::<Mutex<Option<TempDir>>>::default();
        let visits = Mutex::new(0);
        let (taken, data) = (Arc::clone(&left), testbed.folder().to_owned());
        arm(move |reached| {
            let mut visits = visits.lock().expect("no panic");
            if reached == point {
                if *visits == visit {
                    *taken.lock().expect("no panic") = Some(copy(&data));
                }
                *visits += 1;
            }
        });
        run_schedule(&testbed).await;
        testbed.advance(Duration::from_secs(SCHEDULED_SECONDS)).await;
        while testbed
            .store
            .schedule("often".parse().expect("valid"))
            .await
            .expect("read")
            .is_none_or(|often| often.runs == 0)
        {
            testbed.advance(Duration::from_millis(1)).await;
        }
        disarm();
        testbed.scheduler.drain(std::future::ready(())).await;
        left.lock().expect("no panic").take()
    })
}

/// Creates the schedule if it does not exist, and runs it.
async fn run_schedule(testbed: &Testbed) {
    let new = NewSchedule {
        name: "often".parse().expect("valid"),
        from_manifest: false,
        timing: Timing::of("* * * * * *", "UTC").expect("valid"),
        missed: MissedPolicy::All,
        overlap: true,
        task: "ok".to_owned(),
        plugin: testbed::plugin(),
    };
    testbed
        .store
        .put_schedule(new, 9, "2026-01-01T00:00:00Z".parse().expect("a time"))
        .await
        .expect("written");
    let schedules = Schedules::new(testbed.store.clone(), Arc::clone(&testbed.clock));
    let prepare: Prepare = Arc::new(|_, script, now| Ok(testbed::new_task(TaskId::new(), script, now)));
    tokio::spawn(schedules.run(testbed.scheduler.clone(), prepare));
}

#[test]
fn a_scheduled_run_is_neither_lost_nor_duplicated_wherever_the_host_dies() {
    let _exclusive = exclusive();
    for point in ["all written, not committed", "committed, not answered"] {
        let mut visit = 0;
        while let Some(data) = crash_with_schedule(point, visit) {
            paused_runtime().block_on(async {
                // Its clock starts anew where the first one started.
                let testbed = Testbed::on(Arc::new(data), Arc::new(TokioClock::new()), config());
                run_schedule(&testbed).await;
                testbed.advance(Duration::from_millis(1_000 * SCHEDULED_SECONDS + 2_500)).await;
                // Until nothing is due, though hardly any time passes.
                while !testbed.store.due_schedules(testbed.clock.now(), 1).await.expect("read").0.is_empty() {
                    testbed.advance(Duration::from_micros(10)).await;
                }
                let often = testbed
                    .store
                    .schedule("often".parse().expect("valid"))
                    .await
                    .expect("read")
                    .expect("there");
                let tasks = testbed
                    .store
                    .list(ListQuery { limit: 99, before: None, filter: Filter::default() })
                    .await;
                let tasks = tasks.expect("read").tasks.len() as u64;
                assert_eq!(
                    (tasks, often.runs),
                    (SCHEDULED_SECONDS + 2, SCHEDULED_SECONDS + 2),
                    "{point}, {visit}"
                );
                assert_eq!(often.skipped, 0);
            });
            visit += 1;
        }
        assert!(visit >= 3, "the schedule visits '{point}' {visit} times");
    }
}

/// A point where a host blocks until the test opens it.
struct Gate {
    arrived: tokio::sync::mpsc::UnboundedReceiver<()>,
    leave: mpsc::Sender<()>,
}

impl Gate {
    fn new() -> (Self, impl Fn() + Send) {
        let (arrived, arrival) = tokio::sync::mpsc::unbounded_channel();
        let (leave, left) = mpsc::channel();
        let pass = move || {
            // A failed test no longer listens.
            let _ = arrived.send(());
            let _ = left.recv();
        };
        (Self { arrived: arrival, leave }, pass)
    }

    async fn reached(&mut self) {
        tokio::time::timeout(Duration::from_secs(60), self.arrived.recv()).await.expect("reached in time");
    }

    fn open(&self) {
        let _ = self.leave.send(());
    }
}

/// Waits for a condition on a running clock.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(tokio::time::Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime")
}

/// A host on a running clock with the scripted runner. Guests have their own threads: a task woken by a blocked guest
/// must not wait for it.
fn start_host(
    dir: &TempDir,
    guests: &tokio::runtime::Runtime,
) -> (Store, Arc<testbed::ScriptedRunner>, Scheduler) {
    let (store, _) = Database::open(SqliteConfig::new(dir.path()))
        .and_then(|database| database.start(now()))
        .expect("a store");
    let runner = Arc::new(testbed::ScriptedRunner::default());
    let scheduler = Scheduler::new(
        config(),
        store.clone(),
        Arc::clone(&runner) as Arc<dyn Runner>,
        Arc::new(SystemClock),
        guests.handle().clone(),
    );
    tokio::spawn(testbed::run(scheduler.clone()));
    (store, runner, scheduler)
}

async fn submit(store: &Store, scheduler: &Scheduler, script: &str) -> TaskId {
    let id = TaskId::new();
    store.submit(vec![testbed::new_task(id, script, now())], None).await.expect("accepted");
    scheduler.wake();
    id
}

fn running(runner: &testbed::ScriptedRunner) -> usize {
    runner.running.load(std::sync::atomic::Ordering::SeqCst)
}

fn started(runner: &testbed::ScriptedRunner) -> usize {
    runner.started.load(std::sync::atomic::Ordering::SeqCst)
}

/// The earlier run releases its slot while the later one already runs.
#[test]
fn a_run_that_ends_keeps_a_later_run_of_its_task_registered() {
    let _exclusive = exclusive();
    let guests = runtime();
    runtime().block_on(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut stored, pass) = Gate::new();
        let once = Mutex::new(Some(pass));
        arm(move |reached| {
            if reached == "outcome stored, slot taken"
                && let Some(pass) = once.lock().expect("no panic").take()
            {
                pass();
            }
        });
        let (store, runner, scheduler) = start_host(&dir, &guests);
        let id = submit(&store, &scheduler, "evict-then-stay").await;
        stored.reached().await;
        eventually("it runs again", || started(&runner) == 2).await;
        let other = submit(&store, &scheduler, "forever").await;
        stored.open();
        // There are two slots: this task gets the one of the earlier run.
        eventually("the other one runs", || started(&runner) == 3).await;
        assert_eq!(scheduler.slots().used, 2);
        scheduler.remove(id).await.expect("a store");
        assert_eq!((running(&runner), scheduler.slots().used), (1, 1), "no run of the task is left");
        scheduler.cancel(other).await.expect("a store");
        disarm();
        let drained = scheduler.drain(std::future::ready(())).await;
        assert_eq!((running(&runner), drained.requeued), (0, 0));
        store.close().await;
    });
}

/// A cancel finds the earlier run while the later one is claimed but not started.
#[test]
fn a_cancel_waits_for_a_later_run_that_was_already_claimed() {
    let _exclusive = exclusive();
    let guests = runtime();
    runtime().block_on(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut stored, pass_stored) = Gate::new();
        let (mut claimed, pass_claimed) = Gate::new();
        let (mut cancelled, pass_cancelled) = Gate::new();
        let (stored_once, claims) = (Mutex::new(Some(pass_stored)), Mutex::new((0, pass_claimed)));
        let pass_cancelled = Mutex::new(pass_cancelled);
        arm(move |reached| match reached {
            "outcome stored, slot taken" => {
                let pass = stored_once.lock().expect("no panic").take();
                if let Some(pass) = pass {
                    pass();
                }
            }
            "claim stored, nothing runs" => {
                let mut claims = claims.lock().expect("no panic");
                claims.0 += 1;
                if claims.0 == 2 {
                    (claims.1)();
                }
            }
            "cancel stored, guest alive" => (pass_cancelled.lock().expect("no panic"))(),
            _ => {}
        });
        let (store, runner, scheduler) = start_host(&dir, &guests);
        let id = submit(&store, &scheduler, "evict-then-stay").await;
        stored.reached().await;
        claimed.reached().await;
        let cancel = tokio::spawn({
            let scheduler = scheduler.clone();
            async move { scheduler.cancel(id).await }
        });
        cancelled.reached().await;
        cancelled.open();
        stored.open();
        eventually("the earlier run has ended", || scheduler.slots().used == 0).await;
        claimed.open();
        cancel.await.expect("no panic").expect("a store");
        disarm();
        // Every claimed task has started when this returns.
        let drained = scheduler.drain(std::future::pending()).await;
        assert_eq!((running(&runner), drained.ended), (0, 0));
        let task = store.get(id).await.expect("a store").expect("kept");
        assert_eq!(task.state, TaskState::Cancelled);
        store.close().await;
    });
}
