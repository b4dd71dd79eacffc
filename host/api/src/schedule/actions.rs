//! `POST /schedules/{name}/pause`, `/resume` and `/run`: pause, resume or run a schedule.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use wasmill_access::Identity;
use wasmill_model::{NewTask, ScheduleName, TaskId, Timestamp};
use wasmill_runtime::InputBudget;
use wasmill_store::{RunNowOutcome, Submitted};

use crate::http::authorize::Sender;
use crate::http::idempotency_key;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::FieldErrors;
use crate::problem::kind;
use crate::schedule::list::task_of;
use crate::schedule::lookup::{SCHEDULE_ACCESS, find, name_for, unknown_schedule};
use crate::state::Api;
use crate::task::submit::{Refusal, answer, held, run_check, stored};
use crate::view::schedule::{ScheduleDetailView, example};

pub(crate) async fn pause(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    set(&api, &sender, &name, true).await
}

/// Resumes with the next time from now; runs due while paused are not caught up.
pub(crate) async fn resume(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    set(&api, &sender, &name, false).await
}

async fn set(
    api: &Api,
    sender: &Identity,
    name: &str,
    paused: bool,
) -> Result<impl IntoResponse + use<>, Problem> {
    let known = name_for(sender, name)?;
    let schedule = api.store.pause_schedule(known, paused, api.clock.now()).await?;
    let schedule = schedule.ok_or_else(|| unknown_schedule(name))?;
    api.schedules.wake();
    Ok(Json(ScheduleDetailView::new(&schedule, sender).shown_to(sender)))
}

/// Starts a run now, even if the schedule is paused; its next due time is unchanged.
pub(crate) async fn run(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let request = idempotency_key::read(&headers, &sender, "run", name.as_bytes())?;
    if let Some(request) = &request
        && let Some(submitted) = api.store.find_submitted(request.clone(), api.clock.now()).await?
    {
        return answer(&submitted);
    }
    let schedule = find(&api, &sender, &name).await?;
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    let (stored, now) = (schedule.task.clone().unwrap_or_else(|| "{}".to_owned()), api.clock.now());
    let named = schedule.name.clone();
    let task = run_check(&api, move |api, budget| check(api, &named, &stored, now, budget)).await??;
    match api.schedules.run_now(schedule.name.clone(), task, request).await? {
        RunNowOutcome::Started(task) => {
            api.scheduler.wake();
            answer(&Submitted { tasks: vec![task], replayed: false })
        }
        RunNowOutcome::Replayed(submitted) => answer(&submitted),
        RunNowOutcome::NotFound => Err(unknown_schedule(&name)),
        RunNowOutcome::Busy(holder) => Err(schedule_busy(&name, holder)),
    }
}

fn check(
    api: &Api,
    name: &ScheduleName,
    request: &str,
    now: Timestamp,
    budget: &mut InputBudget,
) -> Result<NewTask, Problem> {
    let request = serde_json::from_str(request);
    let request = request.map_err(|_| Problem::internal_error("a stored task request is not valid JSON"))?;
    task_of(api, name, request, now, budget).map_err(|refusal| {
        let mut errors = FieldErrors::default();
        errors.extend_under("/task", refusal.errors);
        Refusal { errors, not_ready: refusal.not_ready }.into_problem()
    })
}

pub(crate) fn pause_spec() -> Operation {
    described(Operation::post("/schedules/{schedule}/pause", "pauseSchedule", "Pause a schedule"))
        .detail("The pause lasts until it is resumed, across restarts. Its tasks continue.")
}

pub(crate) fn resume_spec() -> Operation {
    described(Operation::post("/schedules/{schedule}/resume", "resumeSchedule", "Resume a schedule")).detail(
        "It continues with the next time from now; runs due while it was paused do not count as missed.",
    )
}

fn described(operation: Operation) -> Operation {
    let answer = ResponseSpec::json::<ScheduleDetailView>("The schedule, stored durably.", example(false));
    operation.responds(200, answer).problems(&SCHEDULE_ACCESS)
}

pub(crate) fn run_spec() -> Operation {
    let operation = Operation::post("/schedules/{schedule}/run", "runSchedule", "Run a schedule now");
    idempotency_key::add_header(operation)
        .detail("Works for a paused schedule too. Its next due time is unchanged.")
        .responds(201, idempotency_key::add_replayed_header(stored()))
        .responds(200, idempotency_key::add_replayed_header(held()))
        .problems(&SCHEDULE_ACCESS)
        .problems(&[kind::INVALID_REQUEST, kind::PLUGIN_COMPILING])
        .problems(&kind::QUEUE_LIMITS)
        .problems(&[kind::SCHEDULE_BUSY, kind::KEY_TAKEN])
}

/// The previous run is still active, and the schedule allows no overlap.
fn schedule_busy(name: &str, holder: TaskId) -> Problem {
    let detail = format!(
        "task {holder} of schedule '{name}' is still waiting or running, and the schedule does not allow \
         overlap"
    );
    Problem::of(kind::SCHEDULE_BUSY, detail).with_holder(holder)
}
