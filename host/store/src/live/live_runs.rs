//! Live runs: progress, plugin digest, log and usage of running tasks. In memory only.
//!
//! Every claim has its own live run and reports into it without a lookup. `LiveRuns` holds those of current
//! claims, so a late report of an earlier claim is never visible.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wasmill_model::{Meter, Progress, RunTrace, TaskFile, TaskId, Timestamp, Tracer, Usage};

use crate::live::event_bus::EventBus;
use crate::live::log::{LogBudget, RunLog};
use crate::live::run_ref::RunRef;
use crate::{EventKind, EventPayload, LogPart, StopRequest};

/// Maximum progress events per pulse, so they cannot flood the ring.
const PUBLISHED_MAX: usize = 1_000;

/// What the guest has reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunReport {
    /// Latest progress.
    pub progress: Option<Progress>,
    /// Digest of the running plugin.
    pub digest: Option<Arc<str>>,
}

/// The live state of one claim.
#[derive(Clone, Debug)]
pub struct LiveRun(Arc<LiveRunState>);

#[derive(Debug)]
struct LiveRunState {
    run_ref: RunRef,
    state: Mutex<LiveState>,
    meter: Meter,
    /// `None` for a claim of an earlier host, which knows nothing of its start.
    start: Option<RunStart>,
    log: RunLog,
    trace: Option<RunTrace>,
    unpublished: Arc<UnpublishedProgress>,
    /// Number of the newest posted event that the run has taken.
    events_taken: AtomicU64,
}

/// How a run started.
#[derive(Clone, Copy, Debug)]
pub struct RunStart {
    /// When the run started.
    pub at: Timestamp,
    /// How long the task had been available.
    pub queue: Duration,
    /// When the attempt started: before the run if it was suspended in between.
    pub since: Timestamp,
    /// Usage of earlier runs of a suspended attempt.
    pub earlier: Option<Usage>,
    /// Number of log lines of earlier runs.
    pub lines: u64,
}

#[derive(Debug, Default)]
struct LiveState {
    state: RunReport,
    /// Key in the queue of unpublished progress.
    unpublished: Option<u64>,
    /// Whether the claim has ended.
    has_ended: bool,
    /// The files that the run leaves.
    outputs: Vec<TaskFile>,
}

/// Runs with unpublished progress, in the order in which they reported it.
///
/// A run is queued at most once and leaves when its claim ends, so there are never more entries than running
/// tasks. Weak references would not do: each keeps the allocation of its run.
#[derive(Debug, Default)]
struct UnpublishedProgress {
    runs: Mutex<ProgressQueue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct ProgressQueue {
    next: u64,
    runs: BTreeMap<u64, LiveRun>,
}

impl ProgressQueue {
    /// Appends a run and returns its key.
    fn add(&mut self, run: LiveRun) -> u64 {
        self.next += 1;
        self.runs.insert(self.next, run);
        self.next
    }

    /// Removes and returns the first runs, at most `count_max`.
    fn pop_first(&mut self, count_max: usize) -> Vec<LiveRun> {
        let count = self.runs.len().min(count_max);
        (0..count).filter_map(|_| self.runs.pop_first()).map(|(_, run)| run).collect()
    }
}

impl LiveRun {
    /// Stores the latest progress. Takes two short locks at most: until the next pulse publishes it, a queued
    /// run stays queued.
    pub fn set_progress(&self, progress: Progress) {
        let mut current = locked(&self.0.state);
        current.state.progress = Some(progress);
        if current.unpublished.is_some() || current.has_ended {
            return;
        }
        // Under the lock of the run, as in `end`: a run whose claim has ended must not be queued.
        current.unpublished = Some(locked(&self.0.unpublished.runs).add(self.clone()));
        drop(current);
        self.0.unpublished.wake.notify_one();
    }

    /// Marks the claim as ended and drops its unpublished progress.
    fn end(&self) {
        let mut current = locked(&self.0.state);
        current.has_ended = true;
        if let Some(number) = current.unpublished.take() {
            locked(&self.0.unpublished.runs).runs.remove(&number);
        }
    }

    /// Stores the digest of the plugin that runs.
    pub fn set_digest(&self, digest: Arc<str>) {
        locked(&self.0.state).state.digest = Some(digest);
    }

    /// Returns the digest of the plugin that runs, if it is known.
    pub fn digest(&self) -> Option<Arc<str>> {
        locked(&self.0.state).state.digest.clone()
    }

    /// Returns the number of the newest posted event that the run has taken; 0 for none.
    pub fn events_taken(&self) -> u64 {
        self.0.events_taken.load(Ordering::Acquire)
    }

    /// Records that the run has taken the posted events up to this number.
    pub fn take_events(&self, number: u64) {
        self.0.events_taken.fetch_max(number, Ordering::AcqRel);
    }

    /// Adds a file that the run leaves; it is stored if the run completes its task.
    pub fn add_output(&self, file: TaskFile) {
        locked(&self.0.state).outputs.push(file);
    }

    /// Returns the files that the run leaves.
    pub fn outputs(&self) -> Vec<TaskFile> {
        locked(&self.0.state).outputs.clone()
    }

    /// Returns the meter of the run.
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// Returns the usage of the attempt so far, without its wall-clock time.
    pub fn usage(&self) -> Option<Usage> {
        let start = self.0.start?;
        let used = Usage { queue: start.queue, ..self.0.meter.read() };
        Some(start.earlier.map_or(used, |earlier| used.plus(&earlier)))
    }

    /// Returns the usage of the attempt if it ended or were suspended at `now`.
    pub fn usage_at_end(&self, now: Timestamp) -> Option<Usage> {
        Some(Usage { wall: elapsed(self.0.start?.since, now), ..self.usage()? })
    }

    /// Returns the usage of this run alone if it ended at `now`.
    pub fn usage_of_run(&self, now: Timestamp) -> Option<Usage> {
        let start = self.0.start?;
        Some(Usage { wall: elapsed(start.at, now), queue: start.queue, ..self.0.meter.read() })
    }

    /// Returns true if the run resumes a suspended attempt.
    pub fn is_resumed(&self) -> bool {
        self.0.start.is_some_and(|start| start.earlier.is_some())
    }

    /// Returns the log of the run.
    pub fn log(&self) -> &RunLog {
        &self.0.log
    }

    /// Returns the trace that the run is part of.
    pub fn trace(&self) -> Option<&RunTrace> {
        self.0.trace.as_ref()
    }

    /// Returns what identifies the run.
    pub fn run_ref(&self) -> &RunRef {
        &self.0.run_ref
    }

    /// Returns the log part of a run that wrote nothing.
    pub fn empty_log(&self) -> LogPart {
        self.0.log.silent_part()
    }

    /// Builds an event of the running task.
    pub fn event(&self, kind: EventKind, time: Timestamp) -> EventPayload {
        self.0.run_ref.clone().event(kind, time)
    }

    /// Returns what the guest has reported.
    pub fn report(&self) -> RunReport {
        locked(&self.0.state).state.clone()
    }
}

/// The live runs of all current claims, and the event bus.
#[derive(Debug)]
pub struct LiveRuns {
    runs: Mutex<HashMap<TaskId, LiveRun>>,
    /// Publishes events.
    pub event_bus: Arc<EventBus>,
    /// Wakes the dispatcher when a dependency, a child or a posted event made tasks available.
    pub wait_for_ready: Notify,
    /// Receives the spans of committed changes.
    pub tracer: Tracer,
    unpublished: Arc<UnpublishedProgress>,
    log_budget: Arc<LogBudget>,
    stops: Mutex<Vec<StopRequest>>,
    stopping: Notify,
}

/// A change of the live runs that a committed command makes.
#[derive(Debug)]
pub enum LiveChange {
    /// A claim started.
    Began(LiveRun),
    /// The claim of this task ended, if it had one.
    Ended(TaskId),
}

impl LiveRuns {
    /// Creates the set; all logs together may hold `log_bytes_max`.
    pub fn new(log_bytes_max: usize, tracer: Tracer) -> Self {
        Self {
            runs: Mutex::default(),
            event_bus: Arc::default(),
            wait_for_ready: Notify::new(),
            tracer,
            unpublished: Arc::default(),
            log_budget: Arc::new(LogBudget::new(log_bytes_max)),
            stops: Mutex::default(),
            stopping: Notify::new(),
        }
    }

    /// Creates the live run of a claim; it is listed once its claim has committed.
    pub fn run(&self, run_ref: RunRef, start: Option<RunStart>) -> LiveRun {
        let earlier = start.map_or(0, |start| start.lines);
        let log = RunLog::new(earlier, run_ref.attempt, Arc::clone(&self.log_budget));
        let trace = run_ref.run_trace(&self.tracer);
        let unpublished = Arc::clone(&self.unpublished);
        LiveRun(Arc::new(LiveRunState {
            run_ref,
            state: Mutex::default(),
            meter: Meter::default(),
            start,
            log,
            trace,
            unpublished,
            events_taken: AtomicU64::new(0),
        }))
    }

    /// Applies changes in order.
    pub fn apply(&self, changes: impl IntoIterator<Item = LiveChange>) {
        let mut runs = locked(&self.runs);
        for change in changes {
            let ended = match change {
                LiveChange::Began(run) => runs.insert(run.run_ref().task, run),
                LiveChange::Ended(task) => runs.remove(&task),
            };
            if let Some(ended) = ended {
                ended.end();
            }
        }
    }

    /// Returns the live run of exactly this claim, if it is current.
    pub fn live(&self, task: TaskId, token: i64) -> Option<LiveRun> {
        let runs = locked(&self.runs);
        runs.get(&task).filter(|run| run.0.run_ref.token == token).cloned()
    }

    /// Returns the live runs of all current claims.
    pub fn all(&self) -> Vec<LiveRun> {
        locked(&self.runs).values().cloned().collect()
    }

    /// Resolves when there is unpublished progress.
    pub async fn wait_for_progress(&self) {
        loop {
            if !locked(&self.unpublished.runs).runs.is_empty() {
                return;
            }
            self.unpublished.wake.notified().await;
        }
    }

    /// Takes pending progress, at most 1,000 events per call.
    pub fn take_progress(&self, now: Timestamp) -> Vec<EventPayload> {
        // Popped before locking a run: a reporting run locks in the other order.
        let first = locked(&self.unpublished.runs).pop_first(PUBLISHED_MAX);
        let event = first.iter().filter_map(|run| {
            let mut current = locked(&run.0.state);
            current.unpublished = None;
            let progress = current.state.progress.clone().filter(|_| !current.has_ended)?;
            drop(current);
            Some(run.event(EventKind::Progress(progress), now))
        });
        event.collect()
    }

    /// Asks for the stop of runs of this host, if there are any.
    pub fn request_stops(&self, stops: Vec<StopRequest>) {
        if !stops.is_empty() {
            locked(&self.stops).extend(stops);
            self.stopping.notify_one();
        }
    }

    /// Returns the runs that are to stop, once there are any.
    pub async fn wait_for_stops(&self) -> Vec<StopRequest> {
        loop {
            let stops = std::mem::take(&mut *locked(&self.stops));
            if !stops.is_empty() {
                return stops;
            }
            self.stopping.notified().await;
        }
    }

    /// Returns how many claims of this host are current.
    pub fn len(&self) -> usize {
        locked(&self.runs).len()
    }

    /// Returns true if no claim of this host is current.
    pub fn is_empty(&self) -> bool {
        locked(&self.runs).is_empty()
    }

    /// Ends all claims: others have put the tasks back.
    pub fn revoke_all(&self) {
        locked(&self.runs).drain().for_each(|(_, run)| run.end());
    }
}

/// Returns the time since `since`; zero if the clock went back.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    (now - since).to_std().unwrap_or_default()
}

/// Locks even after a panic elsewhere: a report is replaced as a whole or not at all.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
