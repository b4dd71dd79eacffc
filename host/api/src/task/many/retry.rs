//! `POST /task/retry`: retries all finished tasks that match a filter.
//!
//! It creates a new task for each, a chunk per write; the old ones are unchanged. If it has to stop, the
//! response says why beside the counts. With an `Idempotency-Key`, each write is stored as a step together
//! with the cursor it reached, so the same request resumes there and repeats nothing.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tokio::sync::Mutex;
use wasmill_access::{AuditDetails, Identity};
use wasmill_model::{NewTask, OnConflict, TaskId, TaskState, TraceContext};
use wasmill_store::{Cursor, Filter, IdempotencyKey, StoreError, StoredSteps};

use crate::http::authorize::Sender;
use crate::http::idempotency_key;
use crate::http::params::Params;
use crate::http::trace::{self, Caller};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::task::many::selection::{BulkParams, Selection, StopReasonView};
use crate::task::request::filter;
use crate::task::retry::prepare_retry;

/// Tasks per write: they are held in memory with their inputs.
const STEP_TASKS: usize = 50;

const SELECTION: Selection = Selection { states: &[TaskState::Failed], words: "failed" };

/// Serializes requests with the same key, which would take the same steps. Others rarely wait for each other.
static KEYED_RETRIES: [Mutex<()>; 256] = [const { Mutex::const_new(()) }; 256];

/// Outcome of the request.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Retried")]
struct RetriedView {
    #[serde(flatten)]
    counts: RetryCounts,
    dry_run: bool,
    /// Cursor with which another request continues; `null` if all matching tasks were handled.
    next: Option<String>,
    /// Why it stopped; `null` if it handled as many as it was to. The same request with the same
    /// `Idempotency-Key` resumes there; without a key it would retry tasks twice.
    stopped_by: Option<StopReasonView>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
struct RetryCounts {
    /// Number of new tasks; in a dry run, number of matching tasks.
    retried: u64,
    /// Number of tasks skipped because another task holds their unique key, or a dependency is gone.
    held: u64,
    /// Number of tasks skipped because their plugin is gone or no longer accepts their input.
    refused: u64,
}

impl RetryCounts {
    fn handled(self) -> u64 {
        self.retried + self.held + self.refused
    }
}

pub(crate) async fn retry_many(
    State(api): State<Api>,
    Sender(sender): Sender,
    Caller(caller): Caller,
    params: Params,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let BulkParams { mut filter, dry_run, limit, before } = SELECTION.check(&params)?;
    filter::within(&mut filter, &sender);
    let part = before.map_or_else(String::new, |before| before.to_string());
    let text = format!("{} {limit:?} {part}", filter::parameters(&filter));
    let request = idempotency_key::read(&headers, &sender, "retry of many", text.as_bytes())?;
    let request = request.filter(|_| !dry_run);
    let _turn = match &request {
        Some(request) => Some(KEYED_RETRIES[usize::from(place(&request.key))].lock().await),
        None => None,
    };
    let mut retry_run = RetryRun {
        api: &api,
        filter,
        dry_run,
        caller,
        sender,
        request,
        counts: RetryCounts::default(),
        limit,
        before,
        is_done: false,
    };
    let is_replayed = retry_run.resume().await?;
    let stopped = if is_replayed { None } else { retry_run.run().await.err() };
    let counts = retry_run.counts;
    match stopped {
        Some(problem) if counts == RetryCounts::default() => Err(problem),
        stopped => {
            let next = retry_run.before.filter(|_| !retry_run.is_done).map(|next| next.to_string());
            let stopped_by = stopped.map(StopReasonView::from);
            Ok((
                Extension(AuditDetails::count(counts.retried)),
                idempotency_key::replayed_header(is_replayed),
                Json(RetriedView { counts, dry_run, next, stopped_by }),
            ))
        }
    }
}

/// A request in progress.
struct RetryRun<'a> {
    api: &'a Api,
    filter: Filter,
    dry_run: bool,
    caller: Option<TraceContext>,
    sender: Identity,
    request: Option<IdempotencyKey>,
    counts: RetryCounts,
    /// Tasks to handle at most.
    limit: Option<u64>,
    /// Everything newer than this was handled. Tasks stored meanwhile are newer, so none is retried twice.
    before: Option<Cursor>,
    /// Whether all matching tasks were handled.
    is_done: bool,
}

impl RetryRun<'_> {
    /// Restores the progress of an earlier request with the same key; returns true if it was complete.
    async fn resume(&mut self) -> Result<bool, Problem> {
        let Some(request) = &self.request else { return Ok(false) };
        let now = self.api.clock.now();
        let begun = self.api.store.submit(Vec::new(), Some((request.clone(), now))).await?;
        if !begun.replayed {
            return Ok(false);
        }
        let StoredSteps { names, stored, held } = self.api.store.steps(request.clone(), now).await?;
        self.counts = RetryCounts { retried: stored, held, refused: 0 };
        for name in &names {
            let mut numbers = name.split(' ').skip(1).map(|number| number.parse::<u64>().unwrap_or_default());
            self.counts.held += numbers.next().unwrap_or_default();
            self.counts.refused += numbers.next().unwrap_or_default();
        }
        // Names sort by descending progress, so the first is the latest step.
        if let Some(cursor) = names.first().and_then(|name| name.split(' ').next()) {
            self.is_done = cursor == step_name(None);
            self.before = cursor.parse().ok();
        }
        Ok(self.is_done || self.left() == 0)
    }

    /// Returns how many tasks are still to be handled, at most.
    fn left(&self) -> usize {
        let left = self.limit.map(|limit| limit.saturating_sub(self.counts.handled()));
        left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX)
    }

    /// Runs until all matching tasks are handled, or as many as the request asked for.
    async fn run(&mut self) -> Result<(), Problem> {
        while self.left() > 0 {
            if self.api.scheduler.is_draining() {
                return Err(Problem::draining());
            }
            let step = if self.dry_run { 10 * STEP_TASKS } else { STEP_TASKS };
            let step = step.min(self.left());
            let (ids, next) = self.api.store.find(self.filter.clone(), self.before, step).await?;
            if self.dry_run {
                self.counts.retried += ids.len() as u64;
            } else {
                self.store(ids, next).await?;
            }
            if next.is_none() {
                self.is_done = true;
                break;
            }
            self.before = next;
        }
        Ok(())
    }

    /// Stores a new task for each of these in one write.
    async fn store(&mut self, mut ids: Vec<TaskId>, next: Option<Cursor>) -> Result<(), Problem> {
        let mut gone = 0;
        loop {
            let (tasks, refused) = self.read(&ids).await?;
            let skipped = RetryCounts { retried: 0, held: gone, refused };
            let now = self.api.clock.now();
            let step = self.request.as_ref().map(|request| (step(request, next, skipped), now));
            if tasks.is_empty() && (step.is_none() || (skipped == RetryCounts::default() && next.is_some())) {
                self.add(skipped);
                return Ok(());
            }
            let old: Vec<_> = tasks.iter().map(|task| task.retry_of).collect();
            match self.api.store.submit(tasks, step).await {
                // The other tasks must not fail because of it.
                Err(StoreError::UnknownDependency { index, .. }) => {
                    gone += 1;
                    let without = old.get(index).copied().flatten();
                    ids.retain(|id| Some(*id) != without);
                }
                submitted => {
                    let submitted = submitted?;
                    let held = submitted.tasks.iter().filter(|task| task.holder.is_some()).count() as u64;
                    let retried = submitted.tasks.len() as u64 - held;
                    self.add(RetryCounts { retried, held: held + gone, refused });
                    self.api.scheduler.wake();
                    return Ok(());
                }
            }
        }
    }

    /// Prepares the retries of these tasks; also returns how many would be refused now.
    async fn read(&self, ids: &[TaskId]) -> Result<(Vec<NewTask>, u64), Problem> {
        let now = self.api.clock.now();
        let (mut tasks, mut refused) = (Vec::with_capacity(ids.len()), 0);
        for id in ids {
            // It may have been deleted meanwhile.
            let Some((_, prepared)) = prepare_retry(self.api, &self.sender, *id, now).await? else {
                continue;
            };
            match prepared {
                Ok(mut task) => {
                    if let Some(unique) = &mut task.unique {
                        unique.on_conflict = OnConflict::Return;
                    }
                    tasks.push(NewTask { trace: self.caller.clone(), ..task });
                }
                Err(refusal) if refusal.not_ready.is_some() => return Err(refusal.into_problem()),
                Err(_) => refused += 1,
            }
        }
        Ok((tasks, refused))
    }

    fn add(&mut self, counts: RetryCounts) {
        self.counts.retried += counts.retried;
        self.counts.held += counts.held;
        self.counts.refused += counts.refused;
    }
}

/// Returns where requests with this key take turns.
fn place(key: &str) -> u8 {
    let mut hash = DefaultHasher::new();
    key.hash(&mut hash);
    hash.finish().to_le_bytes()[0]
}

/// Returns the key of one step, which encodes the cursor and the numbers of skipped tasks.
fn step(request: &IdempotencyKey, next: Option<Cursor>, skipped: RetryCounts) -> IdempotencyKey {
    let RetryCounts { held, refused, .. } = skipped;
    let key = format!("{}\n{} {held} {refused}", request.key, step_name(next));
    IdempotencyKey { key, digest: request.digest }
}

/// Encodes a cursor so that later steps sort first: the cursor decreases towards 0, which is the end, and is
/// padded to the 16 hexadecimal digits of a 64-bit value.
fn step_name(next: Option<Cursor>) -> String {
    let next = next.map_or_else(|| "0".to_owned(), |next| next.to_string());
    format!("{next:0>16}")
}

pub(crate) fn spec() -> Operation {
    let answer = ResponseSpec::json::<RetriedView>(
        "The numbers of retried and skipped tasks, and why the request stopped early, if it did.",
        json!({"retried": 12, "held": 0, "refused": 0, "dry_run": false, "next": null, "stopped_by": null}),
    );
    let operation = Operation::post("/task/retry", "retryTasks", "Retry all finished tasks that match");
    let operation = trace::add_headers(idempotency_key::add_header(operation)).detail(
        "Selects failed tasks unless `state` is given. Requires either a filter or `all=true`. It stores \
             new tasks in chunks. If it has to stop, for example because the queue is full, `stopped_by` \
             says why; if nothing was stored by then, the response is that problem. The same request with \
             the same `Idempotency-Key` resumes where it stopped, and returns the total counts. With `limit` \
             it retries a part, the newest first, and `next` is the `cursor` of the next request.",
    );
    SELECTION
        .add_parameters(operation)
        .responds(200, idempotency_key::add_replayed_header(answer))
        .problems(&[kind::PLUGIN_COMPILING])
        .problems(&kind::QUEUE_LIMITS)
        .problems(&kind::STORE_ACCESS)
}
