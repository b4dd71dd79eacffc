//! `POST /task/retry`: does all ended tasks that fit a filter once more.
//!
//! It makes a new task of each, a few in each write; the old ones stay as they are. Where it cannot go on it says
//! so beside what it has done. Under an `Idempotency-Key` each write is kept as a step, with the place up to which
//! everything was looked at, so that the same request goes on from there and does nothing twice.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tokio::sync::Mutex;
use wasmill_model::{NewTask, OnConflict, TaskId, TaskState, TraceContext};
use wasmill_store::{Cursor, Filter, IdempotencyKey, StoreError, StoredSteps};

use crate::app::Api;
use crate::cancel_many::flag;
use crate::field_errors::{Fault, Faults};
use crate::filter;
use crate::idempotency_key;
use crate::openapi::{Answer as Answers, Operation};
use crate::params::Params;
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::retry::again;
use crate::trace::{self, Caller};

/// Tasks that are read and stored at a time: they are held in memory with their inputs.
const STEP: usize = 50;

/// One request with a key at a time: two of the same key would take the same step.
static KEYED: Mutex<()> = Mutex::const_new(());

/// What a retry of many has done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Retried")]
struct Answer {
    #[serde(flatten)]
    counts: Counts,
    dry_run: bool,
    /// Why it went no further; `null` if everything that fits was looked at. The same request under the same
    /// `Idempotency-Key` goes on from there; without a key it would do again what is done.
    stopped_by: Option<Stopped>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
struct Counts {
    /// How many new tasks there are; of a dry run, how many tasks fit.
    retried: u64,
    /// How many were left out, since another task holds their unique key, or what they waited for is gone.
    held: u64,
    /// How many were left out, since their plugin is gone or does not take their input any more.
    refused: u64,
}

/// Why a retry of many went no further.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RetryStopped")]
struct Stopped {
    /// The code of the problem.
    code: &'static str,
    /// What is wrong, and what to do.
    detail: String,
}

pub(crate) async fn retry_many(
    State(api): State<Api>,
    Caller(caller): Caller,
    params: Params,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let (filter, dry_run) = check(&params)?;
    let request = idempotency_key::read(&headers, "retry of many", filter::parameters(&filter).as_bytes())?;
    let request = request.filter(|_| !dry_run);
    let _turn = if request.is_some() { Some(KEYED.lock().await) } else { None };
    let mut work =
        Work { api: &api, filter, dry_run, caller, request, counts: Counts::default(), before: None };
    let is_done_before = work.take_up().await?;
    let stopped = if is_done_before { None } else { work.run().await.err() };
    let counts = work.counts;
    match stopped {
        Some(problem) if counts == Counts::default() => Err(problem),
        stopped => {
            let stopped_by =
                stopped.map(|problem| Stopped { code: problem.code(), detail: problem.detail().to_owned() });
            Ok((idempotency_key::mark(is_done_before), Json(Answer { counts, dry_run, stopped_by })))
        }
    }
}

/// A retry of many under way.
struct Work<'a> {
    api: &'a Api,
    filter: Filter,
    dry_run: bool,
    caller: Option<TraceContext>,
    request: Option<IdempotencyKey>,
    counts: Counts,
    /// Everything from here on was looked at. What is stored meanwhile stands behind, so nothing is done twice.
    before: Option<Cursor>,
}

impl Work<'_> {
    /// Takes up what the same request has done before, if it has a key; true if that was all of it.
    async fn take_up(&mut self) -> Result<bool, Problem> {
        let Some(request) = &self.request else { return Ok(false) };
        let now = self.api.clock.now();
        let begun = self.api.store.submit(Vec::new(), Some((request.clone(), now))).await?;
        if !begun.replayed {
            return Ok(false);
        }
        let StoredSteps { names, stored, held } = self.api.store.steps(request.clone(), now).await?;
        self.counts = Counts { retried: stored, held, refused: 0 };
        for name in &names {
            let mut numbers = name.split(' ').skip(1).map(|number| number.parse::<u64>().unwrap_or_default());
            self.counts.held += numbers.next().unwrap_or_default();
            self.counts.refused += numbers.next().unwrap_or_default();
        }
        // Sorted by their places, so the first is the last that was done.
        let place = names.first().and_then(|name| name.split(' ').next());
        self.before = place.and_then(|place| place.parse().ok());
        Ok(place.is_some_and(|place| place == step_name(None)))
    }

    /// Goes on until everything that fits was looked at.
    async fn run(&mut self) -> Result<(), Problem> {
        loop {
            if self.api.scheduler.is_draining() {
                return Err(Problem::draining());
            }
            let most = if self.dry_run { 10 * STEP } else { STEP };
            let (ids, next) = self.api.store.find(self.filter.clone(), self.before, most).await?;
            if self.dry_run {
                self.counts.retried += ids.len() as u64;
            } else {
                self.store(ids, next).await?;
            }
            self.before = next;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Stores a new task for each of these, all at once.
    async fn store(&mut self, mut ids: Vec<TaskId>, next: Option<Cursor>) -> Result<(), Problem> {
        let mut gone = 0;
        loop {
            let (tasks, refused) = self.read(&ids).await?;
            let skipped = Counts { retried: 0, held: gone, refused };
            let now = self.api.clock.now();
            let step = self.request.as_ref().map(|request| (step(request, next, skipped), now));
            if tasks.is_empty() && (step.is_none() || (skipped == Counts::default() && next.is_some())) {
                self.add(skipped);
                return Ok(());
            }
            let old: Vec<_> = tasks.iter().map(|task| task.retry_of).collect();
            match self.api.store.submit(tasks, step).await {
                // The others must not be refused for it.
                Err(StoreError::UnknownDependency { index, .. }) => {
                    gone += 1;
                    let without = old.get(index).copied().flatten();
                    ids.retain(|id| Some(*id) != without);
                }
                submitted => {
                    let submitted = submitted?;
                    let held = submitted.tasks.iter().filter(|task| task.holder.is_some()).count() as u64;
                    let retried = submitted.tasks.len() as u64 - held;
                    self.add(Counts { retried, held: held + gone, refused });
                    self.api.scheduler.wake();
                    return Ok(());
                }
            }
        }
    }

    /// Reads what these were asked to do; returns how many of them would be refused today, too.
    async fn read(&self, ids: &[TaskId]) -> Result<(Vec<NewTask>, u64), Problem> {
        let now = self.api.clock.now();
        let (mut tasks, mut refused) = (Vec::with_capacity(ids.len()), 0);
        for id in ids {
            // It may be gone by now.
            let Some((_, again)) = again(self.api, *id, now).await? else { continue };
            match again {
                Ok(mut task) => {
                    if let Some(unique) = &mut task.unique {
                        unique.on_conflict = OnConflict::Return;
                    }
                    tasks.push(NewTask { trace: self.caller.clone(), ..task });
                }
                Err(refusal) if refusal.later.is_some() => return Err(refusal.into_problem()),
                Err(_) => refused += 1,
            }
        }
        Ok((tasks, refused))
    }

    fn add(&mut self, counts: Counts) {
        self.counts.retried += counts.retried;
        self.counts.held += counts.held;
        self.counts.refused += counts.refused;
    }
}

/// Returns the key of one step: it says up to where everything was looked at, and what of it was left out.
fn step(request: &IdempotencyKey, next: Option<Cursor>, skipped: Counts) -> IdempotencyKey {
    let Counts { held, refused, .. } = skipped;
    let key = format!("{}\n{} {held} {refused}", request.key, step_name(next));
    IdempotencyKey { key, digest: request.digest }
}

/// Writes a place so that those that come later sort first; the end is 0.
fn step_name(next: Option<Cursor>) -> String {
    let next = next.map_or_else(|| "0".to_owned(), |next| next.to_string());
    format!("{next:0>16}")
}

fn check(params: &Params) -> Result<(Filter, bool), Problem> {
    let (mut filter, mut all, mut dry_run) = (Filter::default(), false, false);
    let mut faults = Faults::default();
    for (name, value) in params.iter() {
        match name {
            "all" => flag(&mut all, name, value, &mut faults),
            "dry_run" => flag(&mut dry_run, name, value, &mut faults),
            name => filter::take(&mut filter, name, value, &mut faults),
        }
    }
    if let Some(open) = filter.states.iter().find(|state| !state.is_final()) {
        let detail =
            format!("state must be failed, cancelled or completed; a task that is {open} has not ended");
        faults.push(Fault::parameter("state", detail));
    }
    if faults.is_empty() && filter.is_empty() != all {
        let detail = "name which tasks, or all=true for every task that failed, and not both";
        faults.push(Fault::parameter("all", detail));
    }
    if filter.states.is_empty() {
        filter.states.push(TaskState::Failed);
    }
    Problem::unless(faults, (filter, dry_run))
}

pub(crate) fn about() -> Operation {
    let flag = json!({"type": "boolean", "default": false});
    let answer = Answers::json::<Answer>(
        "What was done, and if something was in the way, what.",
        json!({"retried": 12, "held": 0, "refused": 0, "dry_run": false, "stopped_by": null}),
    );
    let operation = Operation::post("/task/retry", "retryTasks", "Retry all finished tasks that match");
    let operation = trace::about(idempotency_key::about(operation))
        .detail(
            "Means tasks that failed unless `state` says otherwise. Which ones takes at least one filter, or \
             `all=true`, and not both. It stores a few at a time. If it cannot go on, such as when too many tasks \
             wait, `stopped_by` says why; if nothing was done by then, the answer is that problem. The same request \
             under the same `Idempotency-Key` goes on where it stopped, and is answered with the sum of all.",
        )
        .query("all", "Every task that failed.", &flag)
        .query("dry_run", "Only count them.", &flag);
    let ended: Vec<_> = TaskState::ALL.into_iter().filter(|state| state.is_final()).collect();
    filter::about(operation, &ended)
        .answers(200, idempotency_key::marked(answer))
        .problems(&[kind::PLUGIN_COMPILING, kind::WAITING_LINE_FULL, kind::PLUGIN_LINE_FULL])
        .problems(&kind::OF_STORE)
}
