//! The rows of new tasks, written by one statement however many they are.

use std::collections::HashMap;

use tokio_postgres::Row;
use uuid::Uuid;
use wasmill_model::{NewTask, ScheduleName, Tag, TaskId};
use wasmill_store::rules::submit::files_bytes;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::queue::floors::lowering_floors;
use crate::read::rows::{get, group_text, millis, nanos, size, task_id, uuid};

/// Stores nothing of a task whose id exists. Tags are separated by a control character, which none has: `unnest` takes
/// no arrays of different lengths.
const TASKS: &str = lowering_floors!(
    "
    WITH new AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
        $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::float8[], $13::bigint[],
        $14::float8[], $15::bigint[], $16::text[], $17::text[], $18::text[], $19::text[], $20::uuid[], $21::bigint[],
        $22::bigint[], $23::text[], $24::text[], $25::text[], $26::text[], $27::bigint[], $28::bytea[]) AS new (id, plugin, state,
        created_at, ready_at, sort_key, wait_ns, attempts_max, timeout_ms, input_bytes, backoff_first_ms, backoff_factor,
        backoff_max_ms, backoff_jitter, priority, task_group, unique_key, tags, schedule, retry_of, pending_dependencies,
        webhook_on, trace, submitted_by, key_space, limit_key, files_in, input)),
    moved AS (INSERT INTO task (id, plugin, state, created_at, ready_at, sort_key, wait_ns, attempts_max, timeout_ms,
        input_bytes, backoff_first_ms, backoff_factor, backoff_max_ms, backoff_jitter, priority, task_group,
        unique_key, tags, schedule, retry_of, pending_dependencies, webhook_on, trace,
        submitted_by, key_space, limit_key, files_in)
    SELECT id, plugin, state, created_at, ready_at, sort_key, wait_ns, attempts_max, timeout_ms,
        input_bytes, backoff_first_ms, backoff_factor, backoff_max_ms, backoff_jitter, priority, task_group,
        unique_key, string_to_array(tags, E'\\x1f'), schedule, retry_of, pending_dependencies, webhook_on, trace,
        submitted_by, key_space, limit_key, files_in
    FROM new ON CONFLICT (id) DO NOTHING
    RETURNING id, seq, plugin, task_group, state, sort_key),
    inputs AS (INSERT INTO input (seq, body) SELECT seq, input FROM moved JOIN new USING (id) WHERE input IS NOT NULL)",
    "SELECT id, seq FROM moved"
);
#[cfg(test)]
pub(crate) const EXPANDED: [&str; 1] = [TASKS];
const TAGS: &str = "
    INSERT INTO tag (name, seq) SELECT DISTINCT * FROM unnest($1::text[], $2::bigint[])";

/// Tasks to store: the columns of their rows.
#[derive(Debug, Default)]
pub(crate) struct NewRows<'a> {
    tasks: Vec<NewRow<'a>>,
}

/// A task, and what its row has beside it.
#[derive(Debug)]
struct NewRow<'a> {
    task: &'a NewTask,
    pending_dependencies: Option<i64>,
    webhook_on: Option<i64>,
}

impl<'a> NewRows<'a> {
    pub(crate) fn push(
        &mut self,
        task: &'a NewTask,
        pending_dependencies: Option<i64>,
        webhook_on: Option<i64>,
    ) {
        self.tasks.push(NewRow { task, pending_dependencies, webhook_on });
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Stores the tasks with their inputs and tags; returns where those are that were stored.
    pub(crate) async fn insert(&self, connection: &Connection) -> Result<HashMap<TaskId, i64>> {
        if self.tasks.is_empty() {
            return Ok(HashMap::new());
        }
        let mut stored = HashMap::with_capacity(self.tasks.len());
        for row in self.insert_tasks(connection).await? {
            stored.insert(task_id(&row, 0)?, get(&row, 1)?);
        }
        let (mut names, mut of_names) = (Vec::new(), Vec::new());
        for NewRow { task, .. } in &self.tasks {
            let Some(seq) = stored.get(&task.id) else { continue };
            for tag in &task.tags {
                names.push(tag.as_str());
                of_names.push(*seq);
            }
        }
        if !names.is_empty() {
            connection.execute(TAGS, &[&names, &of_names]).await?;
        }
        Ok(stored)
    }

    async fn insert_tasks(&self, connection: &Connection) -> Result<Vec<Row>> {
        let rows = || self.tasks.iter();
        let tasks = || self.tasks.iter().map(|row| row.task);
        let ready_at = |task: &NewTask| nanos(task.ready_at());
        let wait = |task: &NewTask| {
            let wait = ready_at(task) - nanos(task.created_at);
            (task.is_delayed && wait > 0).then_some(wait)
        };
        let tags = |task: &NewTask| {
            let tags: Vec<_> = task.tags.iter().map(Tag::as_str).collect();
            (!tags.is_empty()).then(|| tags.join("\u{1f}"))
        };
        connection
            .query(
                TASKS,
                &[
                    &tasks().map(|task| uuid(task.id)).collect::<Vec<Uuid>>(),
                    &tasks().map(|task| task.plugin.as_str()).collect::<Vec<_>>(),
                    &tasks().map(|task| task.first_state().as_str()).collect::<Vec<_>>(),
                    &tasks().map(|task| nanos(task.created_at)).collect::<Vec<_>>(),
                    &tasks().map(ready_at).collect::<Vec<_>>(),
                    &tasks()
                        .map(|task| ready_at(task).saturating_sub(task.priority.head_start_nanos()))
                        .collect::<Vec<_>>(),
                    &tasks().map(wait).collect::<Vec<_>>(),
                    &tasks().map(|task| i64::from(task.attempts_max)).collect::<Vec<_>>(),
                    &tasks().map(|task| millis(task.timeout)).collect::<Vec<_>>(),
                    &tasks()
                        .map(|task| task.input.as_ref().map(|input| size(input.len())))
                        .collect::<Vec<_>>(),
                    &tasks()
                        .map(|task| task.backoff.map(|backoff| millis(backoff.first)))
                        .collect::<Vec<_>>(),
                    &tasks().map(|task| task.backoff.map(|backoff| backoff.factor)).collect::<Vec<_>>(),
                    &tasks().map(|task| task.backoff.map(|backoff| millis(backoff.max))).collect::<Vec<_>>(),
                    &tasks().map(|task| task.backoff.map(|backoff| backoff.jitter)).collect::<Vec<_>>(),
                    &tasks().map(|task| i64::from(task.priority.get())).collect::<Vec<_>>(),
                    &tasks().map(|task| group_text(task.group.as_ref())).collect::<Vec<_>>(),
                    &tasks()
                        .map(|task| task.unique.as_ref().map(|unique| unique.key.as_str()))
                        .collect::<Vec<_>>(),
                    &tasks().map(tags).collect::<Vec<_>>(),
                    &tasks().map(|task| task.schedule.as_ref().map(ScheduleName::as_str)).collect::<Vec<_>>(),
                    &tasks().map(|task| task.retry_of.map(uuid)).collect::<Vec<_>>(),
                    &rows().map(|row| row.pending_dependencies).collect::<Vec<_>>(),
                    &rows().map(|row| row.webhook_on).collect::<Vec<_>>(),
                    &tasks().map(|task| task.trace.as_ref().map(ToString::to_string)).collect::<Vec<_>>(),
                    &tasks().map(|task| task.submitted_by.as_deref()).collect::<Vec<_>>(),
                    &tasks()
                        .map(|task| task.unique.as_ref().map_or("", |unique| unique.space.as_str()))
                        .collect::<Vec<_>>(),
                    &tasks().map(|task| task.limited_by.as_ref().map(|key| &*key.name)).collect::<Vec<_>>(),
                    &tasks()
                        .map(|task| (!task.files.is_empty()).then(|| files_bytes(&task.files).cast_signed()))
                        .collect::<Vec<_>>(),
                    &tasks()
                        .map(|task| task.input.as_ref().map(|input| input.as_bytes()))
                        .collect::<Vec<_>>(),
                ],
            )
            .await
    }
}
