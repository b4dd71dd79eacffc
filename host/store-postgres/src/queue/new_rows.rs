//! The rows of new tasks, written by one statement however many they are.

use std::collections::HashMap;

use tokio_postgres::Row;
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
        $22::bigint[], $23::text[], $24::text[], $25::text[], $26::text[], $27::bigint[], $28::bytea[],
        $29::uuid[], $30::text[], $31::bigint[]) AS new (id, plugin, state,
        created_at, ready_at, sort_key, wait_ns, attempts_max, timeout_ms, input_bytes, backoff_first_ms, backoff_factor,
        backoff_max_ms, backoff_jitter, priority, task_group, unique_key, tags, schedule, retry_of, pending_dependencies,
        webhook_on, trace, submitted_by, key_space, limit_key, files_in, input, parent, child_name,
        depth)),
    moved AS (INSERT INTO task (id, plugin, state, created_at, ready_at, sort_key, wait_ns, attempts_max, timeout_ms,
        input_bytes, backoff_first_ms, backoff_factor, backoff_max_ms, backoff_jitter, priority, task_group,
        unique_key, tags, schedule, retry_of, pending_dependencies, webhook_on, trace,
        submitted_by, key_space, limit_key, files_in, parent, child_name, depth)
    SELECT id, plugin, state, created_at, ready_at, sort_key, wait_ns, attempts_max, timeout_ms,
        input_bytes, backoff_first_ms, backoff_factor, backoff_max_ms, backoff_jitter, priority, task_group,
        unique_key, string_to_array(tags, E'\\x1f'), schedule, retry_of, pending_dependencies, webhook_on, trace,
        submitted_by, key_space, limit_key, files_in, parent, child_name, depth
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

    /// Returns the values of a column, one for each task.
    fn column<T>(&self, value: impl Fn(&'a NewTask) -> T) -> Vec<T> {
        self.tasks.iter().map(|row| value(row.task)).collect()
    }

    async fn insert_tasks(&self, connection: &Connection) -> Result<Vec<Row>> {
        let ready_at = |task: &NewTask| nanos(task.ready_at());
        let wait = |task: &NewTask| {
            let wait = ready_at(task) - nanos(task.created_at);
            (task.is_delayed && wait > 0).then_some(wait)
        };
        let tags = |task: &NewTask| {
            let tags: Vec<_> = task.tags.iter().map(Tag::as_str).collect();
            (!tags.is_empty()).then(|| tags.join("\u{1f}"))
        };
        let files_in =
            |task: &NewTask| (!task.files.is_empty()).then(|| files_bytes(&task.files).cast_signed());
        connection
            .query(
                TASKS,
                &[
                    &self.column(|task| uuid(task.id)),
                    &self.column(|task| task.plugin.as_str()),
                    &self.column(|task| task.first_state().as_str()),
                    &self.column(|task| nanos(task.created_at)),
                    &self.column(ready_at),
                    &self.column(|task| ready_at(task).saturating_sub(task.priority.head_start_nanos())),
                    &self.column(wait),
                    &self.column(|task| i64::from(task.attempts_max)),
                    &self.column(|task| millis(task.timeout)),
                    &self.column(|task| task.input.as_ref().map(|input| size(input.len()))),
                    &self.column(|task| task.backoff.map(|backoff| millis(backoff.first))),
                    &self.column(|task| task.backoff.map(|backoff| backoff.factor)),
                    &self.column(|task| task.backoff.map(|backoff| millis(backoff.max))),
                    &self.column(|task| task.backoff.map(|backoff| backoff.jitter)),
                    &self.column(|task| i64::from(task.priority.get())),
                    &self.column(|task| group_text(task.group.as_ref())),
                    &self.column(|task| task.unique.as_ref().map(|unique| unique.key.as_str())),
                    &self.column(tags),
                    &self.column(|task| task.schedule.as_ref().map(ScheduleName::as_str)),
                    &self.column(|task| task.retry_of.map(uuid)),
                    &self.tasks.iter().map(|row| row.pending_dependencies).collect::<Vec<_>>(),
                    &self.tasks.iter().map(|row| row.webhook_on).collect::<Vec<_>>(),
                    &self.column(|task| task.trace.as_ref().map(ToString::to_string)),
                    &self.column(|task| task.submitted_by.as_deref()),
                    &self.column(|task| task.unique.as_ref().map_or("", |unique| unique.space.as_str())),
                    &self.column(|task| task.limited_by.as_ref().map(|key| &*key.name)),
                    &self.column(files_in),
                    &self.column(|task| task.input.as_ref().map(String::as_bytes)),
                    &self.column(|task| task.child_of.as_ref().map(|of| uuid(of.parent))),
                    &self.column(|task| task.child_of.as_ref().map(|of| of.name.as_str())),
                    &self.column(|task| task.child_of.as_ref().map_or(0, |of| i64::from(of.depth))),
                ],
            )
            .await
    }
}
