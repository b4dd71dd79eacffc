//! `POST /schedules/{name}/pause`, `/resume` and `/run`: holds a schedule back, lets it go on, runs it now.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use wasmill_model::{NewTask, ScheduleName, Timestamp};
use wasmill_runtime::InputBudget;
use wasmill_store::{RunNowOutcome, Submitted};

use super::{OF_SCHEDULE, WithTask, example, find};
use crate::app::Api;
use crate::check_pool::checked;
use crate::field_errors::Faults;
use crate::idempotency_key;
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::submit::{Refusal, answer, check_one, held, stored};

pub(crate) async fn pause(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    set(&api, &name, true).await
}

/// Lets it go on with the next moment from now; those meanwhile are over.
pub(crate) async fn resume(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    set(&api, &name, false).await
}

async fn set(api: &Api, name: &str, paused: bool) -> Result<impl IntoResponse + use<>, Problem> {
    let known: ScheduleName = name.parse().map_err(|_| Problem::unknown_schedule(name))?;
    let schedule = api.store.pause_schedule(known, paused, api.clock.now()).await?;
    let schedule = schedule.ok_or_else(|| Problem::unknown_schedule(name))?;
    api.schedules.wake();
    Ok(Json(WithTask::new(&schedule)))
}

/// Starts a run now, also of one that is paused; when it is due stays as it is.
pub(crate) async fn run(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let request = idempotency_key::read(&headers, "run", name.as_bytes())?;
    if let Some(request) = &request
        && let Some(submitted) = api.store.find_submitted(request.clone(), api.clock.now()).await?
    {
        return answer(&submitted);
    }
    let schedule = find(&api, &name).await?;
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    let (stored, now) = (schedule.task.clone().unwrap_or_else(|| "{}".to_owned()), api.clock.now());
    let task = checked(&api, move |api, budget| check(api, &stored, now, budget)).await??;
    match api.schedules.run_now(schedule.name.clone(), task, request).await? {
        RunNowOutcome::Started(task) => {
            api.scheduler.wake();
            answer(&Submitted { tasks: vec![task], replayed: false })
        }
        RunNowOutcome::Replayed(submitted) => answer(&submitted),
        RunNowOutcome::NotFound => Err(Problem::unknown_schedule(&name)),
        RunNowOutcome::Busy(holder) => Err(Problem::schedule_busy(&schedule.name, holder)),
    }
}

fn check(api: &Api, request: &str, now: Timestamp, budget: &mut InputBudget) -> Result<NewTask, Problem> {
    let request = serde_json::from_str(request);
    let request = request.map_err(|_| Problem::internal_fault("a stored task request is no JSON"))?;
    check_one(api, request, now, None, budget).map_err(|refusal| {
        let mut faults = Faults::default();
        faults.extend_under("/task", refusal.faults);
        Refusal { faults, later: refusal.later }.into_problem()
    })
}

pub(super) fn about() -> [Operation; 3] {
    let of = |path, id, summary, detail| {
        Operation::post(path, id, summary)
            .detail(detail)
            .answers(200, Answer::json::<WithTask>("It is so, and durable.", example(false)))
            .problems(&OF_SCHEDULE)
    };
    [
        of(
            "/schedules/{schedule}/pause",
            "pauseSchedule",
            "Hold a schedule back",
            "Until it is resumed, also after a restart. Tasks that it has started go on.",
        ),
        of(
            "/schedules/{schedule}/resume",
            "resumeSchedule",
            "Let a schedule go on",
            "It goes on with the next moment from now: what was due meanwhile is not missed but over.",
        ),
        idempotency_key::about(Operation::post(
            "/schedules/{schedule}/run",
            "runSchedule",
            "Run a schedule now",
        ))
        .detail("Also one that is paused. When it is due next stays as it is.")
        .answers(201, idempotency_key::marked(stored()))
        .answers(200, idempotency_key::marked(held()))
        .problems(&OF_SCHEDULE)
        .problems(&[kind::INVALID_REQUEST, kind::PLUGIN_COMPILING, kind::WAITING_LINE_FULL])
        .problems(&[kind::SCHEDULE_BUSY, kind::KEY_TAKEN]),
    ]
}
