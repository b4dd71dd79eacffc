//! A scheduler on a real store, with a runner that follows the script in each task's input.
//!
//! Time is paused and advances only in [`Testbed::advance`]. Otherwise tokio would jump to the next timer whenever all
//! tasks wait for the store's thread.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses a part of this")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;
use wasmill_model::{
    BoxFuture, Cause, Clock, DependencyResult, Failure, LogStream, NewTask, Pinned, PluginName, Rate,
    RetryOn, RunRequest, RunStep, Runner, Suspension, Task, TaskId, TaskState, Timestamp, WakeOn,
};
use wasmill_scheduler::{Scheduler, SchedulerConfig};
use wasmill_store::Store;
use wasmill_store_sqlite::{Database, SqliteConfig};

/// The digest of the plugin.
pub const DIGEST: &str = "d1";

/// The plugin of all tasks by default.
pub fn plugin() -> PluginName {
    "scripted".parse().expect("valid")
}

/// A task with one attempt and a long timeout.
pub fn new_task(id: TaskId, script: &str, created_at: Timestamp) -> NewTask {
    let day = Duration::from_secs(86_400);
    NewTask { id, input: Some(script.to_owned()), ..NewTask::new(plugin(), created_at, day) }
}

/// Wall-clock time that follows tokio's paused time.
pub struct TokioClock {
    epoch: Timestamp,
    start: Instant,
}

impl TokioClock {
    pub fn new() -> Self {
        Self { epoch: "2026-01-01T00:00:00Z".parse().expect("valid"), start: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.epoch + self.start.elapsed()
    }
}

/// Runs the script in a task's input.
///
/// `ok`, `fail`, `bad-input`, `panic`, `forever`, `spin`, `sleep SECONDS`, `fail-until ATTEMPT`, `suspend TIMES`,
/// `evict` (the first time), `evict-then-stay` (then runs for ever), `save TEXT` (then sleeps for ever), `save-often
/// COUNT BYTES` and `dependency-results`.
#[derive(Default)]
pub struct ScriptedRunner {
    pub running: Arc<AtomicUsize>,
    pub max_running: AtomicUsize,
    pub started: AtomicUsize,
    /// The tasks in the order in which their runs were created.
    pub tasks: std::sync::Mutex<Vec<TaskId>>,
    /// The tasks whose checkpoint was confirmed as durable.
    pub saved: Arc<std::sync::Mutex<Vec<TaskId>>>,
    pub unavailable: std::sync::atomic::AtomicBool,
    /// Maximum concurrent runs; 0 for no limit but the slots.
    pub concurrency: AtomicUsize,
    /// Maximum starts per second; 0 for no limit.
    pub rate: AtomicUsize,
    /// Which failures are retried.
    pub retry_on: std::sync::Mutex<RetryOn>,
    /// Maximum runs that fit into memory; 0 for no limit but the slots.
    pub memory_slots: AtomicUsize,
    /// Further plugins with the same behaviour.
    pub others: std::sync::Mutex<Vec<PluginName>>,
}

struct RunningGuard(Arc<AtomicUsize>);

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Runner for ScriptedRunner {
    fn run(&self, run: RunRequest) -> BoxFuture<'static, Result<RunStep, Failure>> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.max_running.fetch_max(running, Ordering::SeqCst);
        self.started.fetch_add(1, Ordering::SeqCst);
        self.tasks.lock().expect("no panic").push(run.task);
        let guard = RunningGuard(Arc::clone(&self.running));
        let saved = Arc::clone(&self.saved);
        Box::pin(async move {
            let _guard = guard;
            if run.input.as_deref().is_some_and(|script| script.starts_with("suspend ")) {
                return run_suspend_step(&run).await;
            }
            run_script(run, &saved).await.map(|text| RunStep::Done(text.into()))
        })
    }

    fn interrupt(&self) {}

    fn plugins(&self) -> Vec<PluginName> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let others = self.others.lock().expect("no panic");
        std::iter::once(plugin()).chain(others.iter().cloned()).collect()
    }

    fn concurrency(&self, _: &PluginName) -> Option<usize> {
        Some(self.concurrency.load(Ordering::SeqCst)).filter(|concurrency| *concurrency > 0)
    }

    fn rate(&self, _: &PluginName) -> Option<Rate> {
        let starts = u32::try_from(self.rate.load(Ordering::SeqCst)).expect("few");
        (starts > 0).then_some(Rate { starts, per: Duration::from_secs(1) })
    }

    fn retry_on(&self, _: &PluginName) -> RetryOn {
        *self.retry_on.lock().expect("no panic")
    }

    fn available_memory(&self) -> u64 {
        match self.memory_slots.load(Ordering::SeqCst) {
            0 => u64::MAX,
            slots => slots.saturating_sub(self.running.load(Ordering::SeqCst)) as u64,
        }
    }

    fn expected_memory(&self, _: &PluginName) -> u64 {
        1
    }
}

/// Suspends for a second each, as often as the script says.
async fn run_suspend_step(run: &RunRequest) -> Result<RunStep, Failure> {
    run.host.pin(&Pinned { digest: DIGEST.into(), log_bytes: 1 << 10 });
    let times: u8 = run.input.as_deref().unwrap_or_default()[8..].parse().expect("a count");
    let suspends = run.host.restore().await.expect("readable").map_or(0, |state| state[0]);
    run.host.log(LogStream::Stdout, format!("step {suspends}\n").as_bytes());
    Ok(if suspends < times {
        let wake_on = WakeOn::default();
        RunStep::Suspended(Suspension { wait: Duration::from_secs(1), wake_on, state: vec![suspends + 1] })
    } else {
        RunStep::Done(format!("suspended {suspends} times, attempt {}", run.attempt).into())
    })
}

#[expect(clippy::too_many_lines, reason = "one arm for each word of the script")]
async fn run_script(run: RunRequest, saved: &std::sync::Mutex<Vec<TaskId>>) -> Result<String, Failure> {
    run.host.pin(&Pinned { digest: DIGEST.into(), log_bytes: 1 << 10 });
    let script = run.input.clone().unwrap_or_default();
    let (verb, rest) = script.split_once(' ').unwrap_or((&script, ""));
    match verb {
        "ok" => Ok("ok".to_owned()),
        "fail" => Err(Failure::new(Cause::Io, "scripted")),
        "bad-input" => Err(Failure::new(Cause::InvalidInput, "scripted")),
        "panic" => panic!("scripted"),
        "forever" => std::future::pending().await,
        "obey" => {
            run.host.asked_to_stop().await;
            Err(Failure::new(Cause::Plugin, "asked to stop"))
        }
        "spin" => loop {
            tokio::task::yield_now().await;
        },
        "sleep" => {
            tokio::time::sleep(Duration::from_secs(rest.parse().expect("seconds"))).await;
            Ok(format!("slept {rest}"))
        }
        "fail-until" => {
            run.host.log(LogStream::Stdout, format!("attempt {}\n", run.attempt).as_bytes());
            if run.attempt < rest.parse().expect("attempt") {
                Err(Failure::new(Cause::Io, "not yet"))
            } else {
                Ok(format!("attempt {}", run.attempt))
            }
        }
        "evict" => {
            if run.host.restore().await.expect("readable").is_some() {
                return Ok("memory was free".to_owned());
            }
            run.host.save(rest.into()).await.expect("saved");
            run.host.evicted();
            Err(Failure::new(Cause::HostFault, "out of memory"))
        }
        "evict-then-stay" => {
            if run.host.restore().await.expect("readable").is_none() {
                run.host.save(Vec::new()).await.expect("saved");
                run.host.evicted();
                return Err(Failure::new(Cause::HostFault, "out of memory"));
            }
            std::future::pending().await
        }
        "save" => {
            if let Some(state) = run.host.restore().await.expect("readable") {
                return Ok(String::from_utf8(state).expect("text"));
            }
            run.host.save(rest.into()).await.expect("saved");
            saved.lock().expect("no panic").push(run.task);
            std::future::pending().await
        }
        "dependency-results" => {
            let dependency_results = run.host.dependency_results().await?;
            let result = |dependency_results: DependencyResult| {
                dependency_results
                    .result
                    .map_or_else(|| dependency_results.outcome.to_string(), |result| result.text)
            };
            Ok(dependency_results.into_iter().map(result).collect::<Vec<_>>().join(", "))
        }
        "save-often" => {
            let (count, bytes) = rest.split_once(' ').expect("two numbers");
            let state = vec![b'x'; bytes.parse().expect("bytes")];
            for _ in 0..count.parse().expect("a count") {
                run.host.save(state.clone()).await.expect("saved");
            }
            Ok("ok".to_owned())
        }
        other => panic!("unknown script {other}"),
    }
}

/// Keeps paused time from jumping: tokio never auto-advances while a blocking task runs.
struct PauseGuard {
    _release: std::sync::mpsc::Sender<()>,
}

impl PauseGuard {
    fn new() -> Self {
        let (release, released) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || released.recv());
        Self { _release: release }
    }
}

/// Runs a scheduler as a host does.
pub async fn run(scheduler: Scheduler) {
    scheduler.load_paused().await.expect("readable");
    scheduler.run().await;
}

/// How far time advances between two checks.
const STEP: Duration = Duration::from_millis(20);

pub struct Testbed {
    _pause_guard: PauseGuard,
    pub store: Store,
    pub scheduler: Scheduler,
    pub runner: Arc<ScriptedRunner>,
    pub clock: Arc<dyn Clock>,
    dir: Arc<TempDir>,
    config: SchedulerConfig,
}

impl Testbed {
    pub fn new(slots: usize) -> Self {
        Self::with(SchedulerConfig { slots, ..SchedulerConfig::default() })
    }

    pub fn with(config: SchedulerConfig) -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a folder"));
        Self::on(dir, Arc::new(TokioClock::new()), config)
    }

    /// Starts a host on a folder, possibly one that another host left behind.
    pub fn on(dir: Arc<TempDir>, clock: Arc<dyn Clock>, config: SchedulerConfig) -> Self {
        let (store, _) = Database::open(SqliteConfig::new(dir.path()))
            .and_then(|database| database.start(clock.now()))
            .expect("a store");
        let runner = Arc::new(ScriptedRunner::default());
        let scheduler = Scheduler::new(
            config.clone(),
            store.clone(),
            Arc::clone(&runner) as Arc<dyn Runner>,
            Arc::clone(&clock),
            tokio::runtime::Handle::current(),
        );
        tokio::spawn(run(scheduler.clone()));
        Self { _pause_guard: PauseGuard::new(), store, scheduler, runner, clock, dir, config }
    }

    /// Ends the host like a crash: without a drain, the store just goes away.
    pub async fn crash(self) -> Self {
        self.store.close().await;
        let (dir, clock, config) = (Arc::clone(&self.dir), Arc::clone(&self.clock), self.config.clone());
        drop(self);
        Self::on(dir, clock, config)
    }

    /// Ends the host with a drain without grace period.
    pub async fn restart(self) -> Self {
        self.scheduler.drain(std::future::ready(())).await;
        self.crash().await
    }

    pub async fn submit(&self, script: &str) -> TaskId {
        self.submit_with(script, 1, Duration::from_secs(86_400)).await
    }

    pub async fn submit_with(&self, script: &str, attempts_max: u32, timeout: Duration) -> TaskId {
        let id = self.submit_without_wakeup(script, attempts_max, timeout).await;
        self.scheduler.wake();
        id
    }

    pub async fn submit_without_wakeup(&self, script: &str, attempts_max: u32, timeout: Duration) -> TaskId {
        let change = |task: &mut NewTask| (task.attempts_max, task.timeout) = (attempts_max, timeout);
        self.submit_new(change, script).await
    }

    /// Submits a modified task without a wake-up.
    pub async fn submit_new(&self, change: impl FnOnce(&mut NewTask), script: &str) -> TaskId {
        let id = TaskId::new();
        let mut task = new_task(id, script, self.clock.now());
        change(&mut task);
        self.store.submit(vec![task], None).await.expect("accepted");
        id
    }

    pub async fn task(&self, id: TaskId) -> Task {
        self.store.get(id).await.expect("readable").expect("there")
    }

    /// Advances time and lets the store keep up.
    pub async fn advance(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            tokio::time::advance(STEP.min(until - Instant::now())).await;
            for _ in 0..3 {
                self.store.claim(Vec::new(), 0, 0, self.clock.now()).await.expect("a store");
            }
        }
    }

    /// Returns the data folder.
    pub fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Waits until the task is in this state.
    pub async fn wait_for(&self, id: TaskId, state: TaskState) -> Task {
        for _ in 0..10_000 {
            let task = self.task(id).await;
            if task.state == state {
                return task;
            }
            assert!(!task.state.is_final(), "{task:?} will never be {state}");
            self.advance(STEP).await;
        }
        panic!("{:?} did not become {state}", self.task(id).await);
    }

    /// Waits until an attempt has failed and the task waits for a retry.
    pub async fn wait_for_failure(&self, id: TaskId) -> Task {
        for _ in 0..10_000 {
            let task = self.task(id).await;
            if task.failure.is_some() {
                return task;
            }
            self.advance(STEP).await;
        }
        panic!("{:?} did not fail", self.task(id).await);
    }

    /// Waits until all slots are free: a slot is released a moment after its outcome is stored.
    pub async fn wait_until_idle(&self) {
        for _ in 0..10_000 {
            if self.used() == 0 && self.runner.running.load(Ordering::SeqCst) == 0 {
                return;
            }
            self.advance(STEP).await;
        }
        panic!("{} slots stay taken", self.used());
    }

    pub fn used(&self) -> usize {
        self.scheduler.slots().used
    }
}
