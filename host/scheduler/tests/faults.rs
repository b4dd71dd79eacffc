//! What a crash leaves behind at each fault point, reached one by one.
//!
//! A host lives through a story. At one passage of one fault point its data folder is copied, which is
//! what `kill -9` leaves, and that host is over; another opens the copy. What the first had promised by
//! then is compared with what the second finds, and with what it makes of it.
#![allow(missing_docs, reason = "a test binary")]

mod bed;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use bed::{Bed, TokioClock};
use tempfile::TempDir;
use tokio::sync::Notify;
use wasmill_model::fault_point::{arm, disarm};
use wasmill_model::{
    Backoff, Cause, HOST_CRASHES_MAX, Missed, Runner, SystemClock, Task, TaskId, TaskState, Timing,
};
use wasmill_scheduler::{Prepare, Scheduler, SchedulerConfig, Schedules};
use wasmill_store::{Filter, ListQuery, NewSchedule, Store, StoreConfig};

const DAY: Duration = Duration::from_secs(86_400);

/// Fault points that a story passes; the others belong to the opening.
const POINTS: [&str; 8] = [
    "all written, not committed",
    "committed, nobody answered",
    "claim stored, nothing runs",
    "guest done, not stored",
    "outcome stored, slot taken",
    "cancel stored, guest alive",
    "removal stored, guest alive",
    "guest stopped, not stored",
];

/// The fault points are those of the whole process: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a client knows of a task.
#[derive(Clone, Debug)]
enum Known {
    /// Accepted, and to be completed; `None` if it tells its attempt.
    Accepted {
        result: Option<&'static str>,
        attempts_max: u32,
    },
    /// Accepted; it runs until it is stopped.
    Endless,
    Ended(Box<Task>),
    /// A cancel or a removal is under way, so either is right.
    Stopping,
    Cancelled,
    Removed,
}

/// What is known of a task whose guest was told that its checkpoint is durable.
const SAVED: Known = Known::Accepted { result: Some("here"), attempts_max: 1 };

/// The folder that a crash left, and what was known by then.
type Crash = (TempDir, Vec<(TaskId, Known)>);

type Ledger = Arc<Mutex<Vec<(TaskId, Known)>>>;

fn config() -> SchedulerConfig {
    let wait = Duration::from_millis(40);
    let backoff = Backoff::of(Some(wait), Some(1.0), Some(wait), None).expect("valid");
    SchedulerConfig { slots: 2, backoff, ..SchedulerConfig::default() }
}

/// Lives through all that can happen to a task, and notes what was promised as soon as it is.
async fn story(bed: &Bed, ledger: &Ledger) {
    let know = |id, known| ledger.lock().expect("no panic").push((id, known));
    let ended = async |id, state| know(id, Known::Ended(Box::new(bed.until(id, state).await)));

    let ok = bed.submit("ok").await;
    know(ok, Known::Accepted { result: Some("ok"), attempts_max: 1 });
    ended(ok, TaskState::Completed).await;

    let retried = bed.submit_with("fail-until 2", 2, DAY).await;
    know(retried, Known::Accepted { result: None, attempts_max: 2 });
    ended(retried, TaskState::Completed).await;

    let saved = bed.submit("save here").await;
    know(saved, Known::Endless);
    let endless = bed.submit("forever").await;
    know(endless, Known::Endless);
    bed.until(saved, TaskState::Running).await;
    bed.until(endless, TaskState::Running).await;

    let waiting = bed.submit("forever").await;
    know(waiting, Known::Endless);
    know(waiting, Known::Stopping);
    bed.scheduler.cancel(waiting).await.expect("a store");
    know(waiting, Known::Cancelled);

    know(endless, Known::Stopping);
    bed.scheduler.cancel(endless).await.expect("a store");
    know(endless, Known::Cancelled);

    let removed = bed.submit("spin").await;
    know(removed, Known::Endless);
    bed.until(removed, TaskState::Running).await;
    know(removed, Known::Stopping);
    bed.scheduler.remove(removed).await.expect("a store");
    know(removed, Known::Removed);

    bed.scheduler.drain(std::future::ready(())).await;
}

/// Lets a host crash at the passage of this number, the first is 0. `None` if it never comes to that.
fn crash_at(point: &'static str, passage: usize) -> Option<Crash> {
    let runtime = paused();
    runtime.block_on(async {
        let bed = Bed::with(config());
        let ledger = Ledger::default();
        let over = Arc::new(Notify::new());
        let left = Arc::<Mutex<Option<Crash>>>::default();
        let passages = Mutex::new(0);
        arm({
            let runner = Arc::clone(&bed.runner);
            let (data, ledger, over, left) =
                (bed.folder().to_owned(), Arc::clone(&ledger), Arc::clone(&over), Arc::clone(&left));
            move |reached| {
                let mut passages = passages.lock().expect("no panic");
                if reached != point {
                    return;
                }
                *passages += 1;
                if *passages == passage + 1 {
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
            () = story(&bed, &ledger) => {}
        }
        disarm();
        let mut left = left.lock().expect("no panic");
        left.take()
    })
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

/// Returns a runtime on which a fault point may hold up one thread while others go on.
fn threaded() -> tokio::runtime::Runtime {
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

/// Opens what a crash left, and holds it to everything that was promised before.
async fn check(data: TempDir, known: &[(TaskId, Known)]) {
    let bed = Bed::on(Arc::new(data), Arc::new(TokioClock::new()), config());
    let mut latest = std::collections::BTreeMap::new();
    latest.extend(known.iter().cloned());
    let mut over = BTreeSet::new();
    for (&id, known) in &latest {
        match known {
            Known::Accepted { result, attempts_max } => {
                let task = bed.until(id, TaskState::Completed).await;
                let told = format!("attempt {}", task.attempt);
                assert_eq!(task.result.as_deref(), Some(result.unwrap_or(&told)));
                assert!(task.attempt <= attempts_max + task.host_crashes, "{task:?}");
                assert!(task.host_crashes <= 1, "one host died: {task:?}");
            }
            Known::Endless => {
                let task = bed.task(id).await;
                assert!(!task.state.is_final() && task.host_crashes <= 1, "{task:?}");
                assert!(bed.scheduler.remove(id).await.expect("a store").is_some());
            }
            Known::Ended(task) => {
                assert_eq!(bed.task(id).await, **task, "what was seen to have ended stays as it is");
                over.insert(id);
            }
            Known::Stopping => {
                bed.scheduler.remove(id).await.expect("a store");
            }
            Known::Cancelled => {
                assert_eq!(bed.task(id).await.state, TaskState::Cancelled);
                over.insert(id);
            }
            Known::Removed => {
                assert_eq!(bed.store.get(id).await.expect("a store"), None);
                over.insert(id);
            }
        }
    }
    bed.pass(Duration::from_secs(3)).await;
    let ran = bed.runner.tasks.lock().expect("no panic").clone();
    assert!(ran.iter().all(|id| !over.contains(id)), "what is over never runs again");
}

#[test]
fn whatever_was_promised_holds_wherever_the_host_dies() {
    let _turn = turn();
    for point in POINTS {
        let mut passages = 0;
        while let Some((data, known)) = crash_at(point, passages) {
            println!("{point}, passage {passages}: {} things known", known.len());
            paused().block_on(check(data, &known));
            passages += 1;
        }
        assert!(passages > 0, "the story never passes '{point}'");
    }
}

#[test]
fn a_host_that_dies_while_it_recovers_has_counted_nothing_or_all() {
    let _turn = turn();
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
        drop(Store::open(StoreConfig::new(data.path()), now()).expect("opened"));
        disarm();
        let data = left.lock().expect("no panic").take().expect("reached");
        paused().block_on(async {
            let bed = Bed::on(Arc::new(data), Arc::new(TokioClock::new()), config());
            let task = bed.until(id, TaskState::Completed).await;
            assert_eq!((task.attempt, task.host_crashes), (2, crashes), "{point}");
        });
    }
}

#[test]
fn a_task_whose_claim_kills_each_host_is_given_up_and_never_runs() {
    let _turn = turn();
    let (mut data, known) = crash_at("claim stored, nothing runs", 0).expect("a claim");
    let (id, _) = known[0].clone();
    for _ in 1..HOST_CRASHES_MAX {
        data = paused().block_on(async {
            let left = Arc::new(Mutex::new(None));
            let over = Arc::new(Notify::new());
            let (taken, folder, told) = (Arc::clone(&left), data.path().to_owned(), Arc::clone(&over));
            arm(move |reached| {
                if reached == "claim stored, nothing runs" {
                    let copied = taken.lock().expect("no panic").replace(copy(&folder));
                    // The poll claims nothing a second time, so the first copy is the only one.
                    assert!(copied.is_none());
                    disarm();
                    told.notify_one();
                }
            });
            let bed = Bed::on(Arc::new(data), Arc::new(TokioClock::new()), config());
            over.notified().await;
            drop(bed);
            left.lock().expect("no panic").take().expect("copied")
        });
    }
    paused().block_on(async {
        let bed = Bed::on(Arc::new(data), Arc::new(TokioClock::new()), config());
        let task = bed.until(id, TaskState::Failed).await;
        assert_eq!(task.host_crashes, HOST_CRASHES_MAX);
        assert_eq!(task.failure.expect("a failure").cause, Cause::HostCrash);
        bed.pass(Duration::from_secs(3)).await;
        assert!(bed.runner.tasks.lock().expect("no panic").is_empty());
    });
}

/// A run that is just about to store its result, and a cancel at that very moment.
#[test]
fn a_result_that_comes_after_the_cancel_is_refused() {
    let _turn = turn();
    threaded().block_on(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (store, _) = Store::open(StoreConfig::new(dir.path()), now()).expect("a store");
        let (arrived, mut arrival) = tokio::sync::mpsc::unbounded_channel();
        let (leave, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        arm(move |reached| match reached {
            "guest done, not stored" => {
                arrived.send(()).expect("the test listens");
                wait.lock().expect("no panic").recv().expect("the test speaks");
            }
            "cancel stored, guest alive" => leave.send(()).expect("the run listens"),
            _ => {}
        });
        let runner: Arc<dyn Runner> = Arc::new(bed::Scripted::default());
        let handle = tokio::runtime::Handle::current();
        let scheduler = Scheduler::new(config(), store.clone(), runner, Arc::new(SystemClock), handle);
        tokio::spawn(bed::run(scheduler.clone()));
        let id = TaskId::new();
        store.insert(vec![bed::new_task(id, "ok", now())]).await.expect("accepted");
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

/// The store takes the wish to cancel, and refuses the end of the run until its folder is back.
#[test]
fn a_cancel_whose_end_cannot_be_stored_says_so_at_once_and_is_carried_out_later() {
    let _turn = turn();
    threaded().block_on(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (data, away) = (dir.path().join("data"), dir.path().join("away"));
        let (store, _) = Store::open(StoreConfig::new(&data), now()).expect("a store");
        let runner: Arc<dyn Runner> = Arc::new(bed::Scripted::default());
        let handle = tokio::runtime::Handle::current();
        let scheduler = Scheduler::new(config(), store.clone(), runner, Arc::new(SystemClock), handle);
        tokio::spawn(bed::run(scheduler.clone()));
        let id = TaskId::new();
        store.insert(vec![bed::new_task(id, "forever", now())]).await.expect("accepted");
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
                    // The store looks once a second whether its folder is there.
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

/// More readers than there are connections wait for a commit that has not come to its end, and others read.
#[test]
fn reads_that_need_no_commit_wait_for_none() {
    let _turn = turn();
    threaded().block_on(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (store, _) = Store::open(StoreConfig::new(dir.path()), now()).expect("a store");
        let stored = TaskId::new();
        store.insert(vec![bed::new_task(stored, "ok", now())]).await.expect("accepted");
        let (arrived, mut arrival) = tokio::sync::mpsc::unbounded_channel();
        let (leave, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        arm(move |reached| {
            if reached == "committed, nobody answered" {
                arrived.send(()).expect("the test listens");
                wait.lock().expect("no panic").recv().expect("the test speaks");
            }
        });
        let writing = tokio::spawn({
            let store = store.clone();
            async move { store.insert(vec![bed::new_task(TaskId::new(), "ok", now())]).await }
        });
        arrival.recv().await.expect("the commit arrives");
        let mut following = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let store = store.clone();
            following.spawn(async move { store.get_settled(stored).await });
        }
        // Each reads before it waits, so that once the pool serves them no more, they all wait.
        for _ in 0..100 {
            let read = tokio::time::timeout(Duration::from_secs(60), store.get(stored));
            assert!(read.await.expect("nothing to wait for").expect("readable").is_some());
        }
        assert!(following.try_join_next().is_none(), "events are not out yet");
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

/// The seconds for which a schedule goes on before its host dies at the latest.
const SCHEDULED_SECONDS: u64 = 3;

/// Lets a host with a schedule, which is due every second, crash at the passage of this number.
fn crash_with_schedule(point: &'static str, passage: usize) -> Option<TempDir> {
    paused().block_on(async {
        let bed = Bed::with(config());
        let left = Arc::<Mutex<Option<TempDir>>>::default();
        let passages = Mutex::new(0);
        let (taken, data) = (Arc::clone(&left), bed.folder().to_owned());
        arm(move |reached| {
            let mut passages = passages.lock().expect("no panic");
            if reached == point {
                if *passages == passage {
                    *taken.lock().expect("no panic") = Some(copy(&data));
                }
                *passages += 1;
            }
        });
        keep_schedule(&bed).await;
        bed.pass(Duration::from_secs(SCHEDULED_SECONDS)).await;
        while bed
            .store
            .schedule("often".parse().expect("valid"))
            .await
            .expect("read")
            .is_none_or(|often| often.runs == 0)
        {
            bed.pass(Duration::from_millis(1)).await;
        }
        disarm();
        bed.scheduler.drain(std::future::ready(())).await;
        left.lock().expect("no panic").take()
    })
}

/// Makes the schedule, unless it is there, and starts what is due of it.
async fn keep_schedule(bed: &Bed) {
    let new = NewSchedule {
        name: "often".parse().expect("valid"),
        from_manifest: false,
        timing: Timing::of("* * * * * *", "UTC").expect("valid"),
        missed: Missed::All,
        overlap: true,
        task: "ok".to_owned(),
        plugin: bed::plugin(),
    };
    bed.store.put_schedule(new, 9, "2026-01-01T00:00:00Z".parse().expect("a time")).await.expect("written");
    let schedules = Schedules::new(bed.store.clone(), Arc::clone(&bed.clock));
    let prepare: Prepare = Arc::new(|script, now| Ok(bed::new_task(TaskId::new(), script, now)));
    tokio::spawn(schedules.keep(bed.scheduler.clone(), prepare));
}

#[test]
fn a_run_of_a_schedule_is_neither_lost_nor_doubled_wherever_the_host_dies() {
    let _turn = turn();
    for point in ["all written, not committed", "committed, nobody answered"] {
        let mut passage = 0;
        while let Some(data) = crash_with_schedule(point, passage) {
            paused().block_on(async {
                // Its clock begins anew, where the first one began.
                let bed = Bed::on(Arc::new(data), Arc::new(TokioClock::new()), config());
                keep_schedule(&bed).await;
                bed.pass(Duration::from_millis(1_000 * SCHEDULED_SECONDS + 2_500)).await;
                // Until nothing is due, though hardly any time passes.
                while !bed.store.due_schedules(bed.clock.now(), 1).await.expect("read").0.is_empty() {
                    bed.pass(Duration::from_micros(10)).await;
                }
                let often =
                    bed.store.schedule("often".parse().expect("valid")).await.expect("read").expect("there");
                let tasks =
                    bed.store.list(ListQuery { limit: 99, before: None, filter: Filter::default() }).await;
                let tasks = tasks.expect("read").tasks.len() as u64;
                assert_eq!(
                    (tasks, often.runs),
                    (SCHEDULED_SECONDS + 2, SCHEDULED_SECONDS + 2),
                    "{point}, {passage}"
                );
                assert_eq!(often.skipped, 0);
            });
            passage += 1;
        }
        assert!(passage >= 3, "the schedule passes '{point}' {passage} times");
    }
}

/// Where a host stands still until the test lets it go on.
struct Gate {
    arrived: tokio::sync::mpsc::UnboundedReceiver<()>,
    leave: mpsc::Sender<()>,
}

impl Gate {
    fn new() -> (Self, impl Fn() + Send) {
        let (arrived, arrival) = tokio::sync::mpsc::unbounded_channel();
        let (leave, left) = mpsc::channel();
        let pass = move || {
            // A test that has failed listens no more.
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

/// Waits until something is so, on a clock that runs.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(tokio::time::Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime")
}

/// A host on a clock that runs, whose runner does what the tasks say. Guests have threads of their own: what is
/// woken by one that stands still must not wait for it.
fn host(dir: &TempDir, guests: &tokio::runtime::Runtime) -> (Store, Arc<bed::Scripted>, Scheduler) {
    let (store, _) = Store::open(StoreConfig::new(dir.path()), now()).expect("a store");
    let runner = Arc::new(bed::Scripted::default());
    let scheduler = Scheduler::new(
        config(),
        store.clone(),
        Arc::clone(&runner) as Arc<dyn Runner>,
        Arc::new(SystemClock),
        guests.handle().clone(),
    );
    tokio::spawn(bed::run(scheduler.clone()));
    (store, runner, scheduler)
}

async fn submit(store: &Store, scheduler: &Scheduler, script: &str) -> TaskId {
    let id = TaskId::new();
    store.insert(vec![bed::new_task(id, script, now())]).await.expect("accepted");
    scheduler.wake();
    id
}

fn running(runner: &bed::Scripted) -> usize {
    runner.running.load(std::sync::atomic::Ordering::SeqCst)
}

fn started(runner: &bed::Scripted) -> usize {
    runner.started.load(std::sync::atomic::Ordering::SeqCst)
}

/// The earlier run gives its slot back when the later one is under way already.
#[test]
fn a_run_that_ends_leaves_a_later_run_of_its_task_in_reach() {
    let _turn = turn();
    let guests = threads();
    threads().block_on(async {
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
        let (store, runner, scheduler) = host(&dir, &guests);
        let id = submit(&store, &scheduler, "give-way-then-stay").await;
        stored.reached().await;
        eventually("it runs again", || started(&runner) == 2).await;
        let other = submit(&store, &scheduler, "forever").await;
        stored.open();
        // There are two slots: this one is that of the earlier run.
        eventually("the other one runs", || started(&runner) == 3).await;
        assert_eq!(scheduler.slots().used, 2);
        scheduler.remove(id).await.expect("a store");
        assert_eq!((running(&runner), scheduler.slots().used), (1, 1), "of the task nothing runs");
        scheduler.cancel(other).await.expect("a store");
        disarm();
        let drained = scheduler.drain(std::future::ready(())).await;
        assert_eq!((running(&runner), drained.put_back), (0, 0));
        store.close().await;
    });
}

/// A cancel finds the earlier run, while the later one is claimed and not started.
#[test]
fn a_cancel_waits_for_a_later_run_of_its_task_that_was_claimed_before() {
    let _turn = turn();
    let guests = threads();
    threads().block_on(async {
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
        let (store, runner, scheduler) = host(&dir, &guests);
        let id = submit(&store, &scheduler, "give-way-then-stay").await;
        stored.reached().await;
        claimed.reached().await;
        let cancel = tokio::spawn({
            let scheduler = scheduler.clone();
            async move { scheduler.cancel(id).await }
        });
        cancelled.reached().await;
        cancelled.open();
        stored.open();
        eventually("the earlier run is over", || scheduler.slots().used == 0).await;
        claimed.open();
        cancel.await.expect("no panic").expect("a store");
        disarm();
        // Whatever was claimed has started by the end of this.
        let drained = scheduler.drain(std::future::pending()).await;
        assert_eq!((running(&runner), drained.ended), (0, 0));
        let task = store.get(id).await.expect("a store").expect("kept");
        assert_eq!(task.state, TaskState::Cancelled);
        store.close().await;
    });
}
