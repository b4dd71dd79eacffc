//! Claims available tasks: fairly over plugins and groups, and within each by time and priority.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use wasmill_model::{Group, PluginName, TaskState, Timestamp};
use wasmill_store::commit::{AbandonedClaims, UndeliveredClaims};
use wasmill_store::live::{LiveChange, RunRef, RunStart};
use wasmill_store::rules::group_limits::{self, GroupLimits};
use wasmill_store::rules::submit::Room;
use wasmill_store::{Checkpoint, Claim, ClaimQuota, Claimed, Claims, EventKind};

use crate::connection::database::{Connection, Params};
use crate::connection::fault::Result;
use crate::delivery::deliveries;
use crate::queue::promote::{self, Promoted};
use crate::queue::{pause, starts};
use crate::read::rows::{
    backoff, claim_ref, duration, get, limit_key, nanos, number, optional, optional_time, parsed, size,
    task_id, text, time, traced, used,
};
use crate::writer::batch::{Batch, Operation};
use crate::writer::clock_skew::{self, JUMP_NANOS};
use crate::writer::quarantine;

/// Claims tasks in turns: all groups of all plugins are one circle, a plugin's own tasks its first group, and the claim
/// continues behind where the last one stopped.
///
/// $1 to $3: plugins, their maximum number of tasks, and the memory of one run. $4: tasks in all. $5: memory in all.
/// $6 and $7: plugin and group at which the last claim stopped, or the plugin at which the first one starts, which $10
/// tells apart. $8: the time. $9: the host. $11: groups of which no more may run. $12 and $13: groups of which so many more
/// may, over all plugins. $14: of how many claimed tasks one raises the floor of its queue; NULL for none.
///
/// In the order of turns. The last row has no task, and tells whether a task did not fit into the memory, and whether
/// there may be more: a group had more tasks than its part, or a plugin more groups than its quota, which may have been
/// looked at in place of those of other plugins.
pub(crate) const CLAIM: &str = "
    WITH RECURSIVE quota AS MATERIALIZED (
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS q (plugin, tasks_max, memory)),
    -- Queues that begin behind a floor, and the plugin's own; up to the next one of them there are queues without.
    known AS MATERIALIZED (
        SELECT q.*, f.task_group, f.sort_key, f.seq,
            lead(q.plugin, 1, q.plugin || '!') OVER w AS next_plugin, lead(f.task_group, 1, '') OVER w AS next_group
        FROM quota q CROSS JOIN LATERAL (
            SELECT task_group, sort_key, seq FROM queue_floor WHERE plugin = q.plugin
            UNION ALL
            SELECT '', -9223372036854775808, 0
            WHERE NOT EXISTS (SELECT FROM queue_floor WHERE plugin = q.plugin AND task_group = '')) AS f
        WINDOW w AS (PARTITION BY q.plugin ORDER BY f.task_group)),
    -- One step in the index for each group, however many tasks it has.
    step (plugin, tasks_max, memory, next_plugin, next_group, task_group) AS (
        SELECT k.plugin, tasks_max, memory, next_plugin, next_group, (SELECT task_group FROM task t
            WHERE t.state = 'available' AND t.plugin = k.plugin AND t.task_group > k.task_group
                AND (t.plugin, t.task_group) < (k.next_plugin, k.next_group)
            ORDER BY task_group LIMIT 1)
        FROM known k
        UNION ALL
        SELECT s.plugin, tasks_max, memory, next_plugin, next_group, (SELECT task_group FROM task t
            WHERE t.state = 'available' AND t.plugin = s.plugin AND t.task_group > s.task_group
                AND (t.plugin, t.task_group) < (s.next_plugin, s.next_group)
            ORDER BY task_group LIMIT 1)
        FROM step s WHERE s.task_group IS NOT NULL),
    queue AS MATERIALIZED (
        SELECT *, greatest(2, ceil($4::bigint / count(*) OVER ()::numeric))::bigint AS part FROM (
            SELECT *, CASE WHEN $10 THEN plugin < $6::text COLLATE \"C\"
                ELSE (plugin, task_group) <= ($6::text COLLATE \"C\", $7::text COLLATE \"C\") END AS wrapped
            FROM (
                SELECT plugin, tasks_max, memory, task_group, sort_key, seq FROM known k
                WHERE (SELECT true FROM task t
                    WHERE t.state = 'available' AND t.plugin = k.plugin AND t.task_group = k.task_group
                        AND (t.sort_key, t.seq) >= (k.sort_key, k.seq)
                    ORDER BY t.sort_key, t.seq LIMIT 1)
                UNION ALL
                SELECT plugin, tasks_max, memory, task_group, -9223372036854775808, 0 FROM step
                WHERE task_group IS NOT NULL) AS found
            WHERE task_group <> ALL ($11::text[])
            ORDER BY wrapped, plugin, task_group LIMIT $4) AS first),
    candidate AS MATERIALIZED (
        SELECT q.plugin, q.tasks_max, q.memory, q.task_group, q.wrapped, q.part, t.seq,
            row_number() OVER (PARTITION BY q.plugin, q.task_group ORDER BY t.sort_key, t.seq) AS lap
        FROM queue q CROSS JOIN LATERAL (
            SELECT seq, sort_key FROM task
            WHERE state = 'available' AND plugin = q.plugin AND task_group = q.task_group
                AND (sort_key, seq) >= (q.sort_key, q.seq)
            ORDER BY sort_key, seq LIMIT least(q.part, q.tasks_max)) t),
    within AS (
        SELECT * FROM candidate WHERE task_group <> ALL ($12::text[])
        UNION ALL
        SELECT plugin, tasks_max, memory, task_group, wrapped, part, seq, lap FROM (
            SELECT c.*, left_of.most, row_number() OVER (PARTITION BY c.task_group ORDER BY lap, wrapped, plugin) AS nth
            FROM candidate c
                JOIN unnest($12::text[], $13::bigint[]) AS left_of (name, most) ON left_of.name = c.task_group) AS limited
        WHERE nth <= most),
    of_plugin AS (
        SELECT *, row_number() OVER (PARTITION BY plugin ORDER BY lap, wrapped, task_group) AS nth FROM within),
    in_order AS MATERIALIZED (
        SELECT seq, plugin, task_group, row_number() OVER w AS nth, sum(memory) OVER w AS used
        FROM of_plugin WHERE nth <= tasks_max
        WINDOW w AS (ORDER BY lap, wrapped, plugin, task_group ROWS UNBOUNDED PRECEDING)),
    picked AS MATERIALIZED (SELECT * FROM in_order WHERE nth <= $4 AND used <= $5::bigint),
    claimed AS (
        UPDATE task SET state = 'running', host = $9, claim_token = claim_token + 1,
            attempt = attempt + CASE WHEN suspensions = 0 THEN 1 ELSE 0 END,
            started_at = CASE WHEN suspensions = 0 THEN $8 ELSE started_at END, children_seen = children_ended
        -- The state is compared so that its index is no way in: all that wait would be read.
        WHERE seq = ANY (ARRAY(SELECT seq FROM picked)) AND state || '' = 'available'
        RETURNING task.*),
    -- Now and then: each floor that is raised leaves something behind as well.
    raised AS (
        INSERT INTO queue_floor AS f (plugin, task_group, sort_key, seq)
        SELECT DISTINCT ON (plugin, task_group) plugin, task_group, sort_key, seq FROM claimed
        WHERE (plugin, task_group) IN (
            SELECT plugin, task_group FROM claimed WHERE hashint8(seq) % $14::bigint = 0)
        ORDER BY plugin, task_group, sort_key DESC, seq DESC
        ON CONFLICT (plugin, task_group) DO UPDATE SET sort_key = excluded.sort_key, seq = excluded.seq)
    SELECT c.seq, c.id, c.plugin, c.claim_token, c.attempt, c.attempts_max, c.host_crashes, c.timeout_ms,
        c.backoff_first_ms, c.backoff_factor, c.backoff_max_ms, c.backoff_jitter, c.ready_at, c.started_at,
        CASE WHEN c.suspensions > 0 THEN c.usage END, coalesce(d.pass_results, false), c.webhook_on IS NOT NULL,
        c.trace, c.created_at, $8::bigint, c.suspensions > 0, c.log_lines, i.body, k.body, c.task_group,
        false, false, p.nth, c.limit_key, c.files_in IS NOT NULL,
        d.files_from
    FROM claimed c JOIN picked p ON p.seq = c.seq
        LEFT JOIN input i ON c.input_bytes IS NOT NULL AND i.seq = c.seq
        LEFT JOIN dependent d ON c.pending_dependencies IS NOT NULL AND d.seq = c.seq
        LEFT JOIN checkpoint k ON c.suspensions > 0 AND k.seq = c.seq AND length(k.body) <= 65536
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        EXISTS (SELECT FROM in_order WHERE nth <= $4 AND used > $5::bigint),
        EXISTS (SELECT FROM candidate WHERE lap = part AND part < tasks_max)
            OR EXISTS (SELECT FROM of_plugin WHERE nth > tasks_max), NULL, NULL, NULL, NULL
    ORDER BY 28";

/// Counts the running tasks of each group, on all hosts: they are as many as there are slots.
const RUNNING: &str = "
    SELECT task_group, count(*) FROM task WHERE state = 'running' AND task_group <> '' GROUP BY task_group";

/// Finds the plugin of which a task has waited longest: the first claim of a host starts there. It continues in the order
/// of the circle, since any other one would give a group a second turn before others have their first.
const LONGEST_WAITING: &str = "
    WITH RECURSIVE step (plugin, task_group) AS (
        SELECT plugin, (SELECT task_group FROM task t WHERE t.state = 'available' AND t.plugin = q.plugin
            ORDER BY task_group LIMIT 1) FROM unnest($1::text[]) AS q (plugin)
        UNION ALL
        SELECT s.plugin, (SELECT task_group FROM task t
            WHERE t.state = 'available' AND t.plugin = s.plugin AND t.task_group > s.task_group
            ORDER BY task_group LIMIT 1)
        FROM step s WHERE s.task_group IS NOT NULL)
    SELECT s.plugin FROM step s CROSS JOIN LATERAL (
        SELECT sort_key FROM task
        WHERE state = 'available' AND plugin = s.plugin AND task_group = s.task_group
        ORDER BY sort_key, seq LIMIT 1) t
    WHERE s.task_group IS NOT NULL ORDER BY t.sort_key, s.plugin COLLATE \"C\" LIMIT 1";

#[derive(Debug)]
pub(crate) struct ClaimReady {
    pub(crate) quotas: Vec<ClaimQuota>,
    pub(crate) tasks_max: usize,
    /// Limit of the expected memory of all claimed tasks together.
    pub(crate) available_memory: u64,
    pub(crate) now: Timestamp,
    pub(crate) abandoned: Arc<AbandonedClaims>,
    /// How many tasks of limited groups may run at once.
    pub(crate) group_limits: Arc<GroupLimits>,
}

#[async_trait]
impl Operation for ClaimReady {
    type Answer = UndeliveredClaims;
    // A crash of the server does not end this host: it would claim a forgotten task again beside the run of the first
    // claim, and under the same token.
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<UndeliveredClaims> {
        self.check_clock(batch).await?;
        let (mut left, next_due) = self.left(batch).await?;
        let mut claims = Claims::default();
        while claims.claimed.len() < self.tasks_max && !left.plugins.is_empty() {
            let before = claims.claimed.len();
            let has_more = self.claim(batch, &mut left, &mut claims).await?;
            if claims.lacked_memory || !has_more || claims.claimed.len() == before {
                break;
            }
        }
        if claims.claimed.len() < self.tasks_max {
            claims.next_ready_at = next_due;
        }
        if !claims.claimed.is_empty() {
            batch.writer_state.observe_time(nanos(self.now));
        }
        starts::note(batch, &self.quotas, &claims.claimed, self.now).await?;
        Ok(UndeliveredClaims::new(claims, self.now, self.abandoned.clone()))
    }
}

/// How much more may be claimed.
#[derive(Default)]
struct Left<'a> {
    /// How many tasks of each plugin.
    plugins: HashMap<&'a PluginName, (&'a ClaimQuota, usize)>,
    /// How many tasks of each limited group, over all plugins.
    groups: HashMap<&'a Group, usize>,
    /// How much memory.
    memory: u64,
}

impl Left<'_> {
    /// Returns the limited groups of which no more may run, and those of which some may, with their number.
    fn groups(&self) -> (Vec<&str>, Vec<&str>, Vec<i64>) {
        let (mut full, mut limited, mut most) = (Vec::new(), Vec::new(), Vec::new());
        for (group, left) in &self.groups {
            if *left == 0 {
                full.push(group.as_str());
            } else {
                limited.push(group.as_str());
                most.push(size(*left));
            }
        }
        (full, limited, most)
    }

    /// Counts a task that is claimed.
    fn take(&mut self, plugin: &PluginName, group: &str) {
        if let Some((quota, tasks)) = self.plugins.get_mut(plugin) {
            *tasks -= 1;
            self.memory = self.memory.saturating_sub(quota.memory_bytes);
        }
        if let Some((_, left)) = self.groups.iter_mut().find(|(limited, _)| limited.as_str() == group) {
            *left = left.saturating_sub(1);
        }
    }
}

impl ClaimReady {
    /// Checks whether the clock went back since the last claim.
    async fn check_clock(&self, batch: &mut Batch<'_>) -> Result<()> {
        let (before, now) = (batch.writer_state.claimed_at, nanos(self.now));
        batch.writer_state.claimed_at = now;
        if now < before.saturating_sub(JUMP_NANOS) {
            let shortened = clock_skew::shorten_waits(batch.connection, now).await?;
            deliveries::shorten_waits(batch.connection, now).await?;
            let seconds = before.saturating_sub(now) / JUMP_NANOS;
            tracing::warn!(seconds, shortened, "the system clock went back");
        }
        Ok(())
    }

    /// Promotes due tasks; returns what may be claimed, and when the next task is due. The caller knows the limits of this
    /// host; what other hosts run is counted here, while none of them can claim.
    async fn left(&self, batch: &mut Batch<'_>) -> Result<(Left<'_>, Option<Timestamp>)> {
        let (connection, has_others) = (batch.connection, batch.has_others);
        let (promoted, next_due, paused, running) = tokio::try_join!(
            biased;
            Promoted::write(connection, self.now, self.tasks_max),
            promote::next_due(connection),
            async { if has_others { pause::paused(connection).await } else { Ok(Vec::new()) } },
            async { if self.group_limits.is_empty() { Ok(HashMap::new()) } else { running(connection).await } },
        )?;
        promoted.record(batch, self.now).await?;
        let mut left = Left { memory: self.available_memory, ..Left::default() };
        if paused.contains(&None) {
            return Ok((left, next_due));
        }
        for quota in &self.quotas {
            let mut tasks_max = quota.tasks_max;
            if batch.has_others {
                if paused.iter().flatten().any(|plugin| *plugin == quota.plugin) {
                    continue;
                }
                if let Some(concurrency) = quota.concurrency {
                    tasks_max = tasks_max.min(concurrency.saturating_sub(batch.running(&quota.plugin)));
                }
                if let Some(rate) = quota.rate {
                    let started = starts::started(batch, &quota.plugin, rate.per, self.now).await?;
                    tasks_max = tasks_max.min((rate.starts as usize).saturating_sub(started));
                }
            }
            if tasks_max > 0 && batch.waiting(&quota.plugin) > 0 {
                left.plugins.insert(&quota.plugin, (quota, tasks_max));
            }
        }
        left.groups = group_limits::left(&self.group_limits, &running);
        Ok((left, next_due))
    }

    /// Claims as many tasks as one statement finds; returns whether there may be more.
    async fn claim(&self, batch: &mut Batch<'_>, left: &mut Left<'_>, claims: &mut Claims) -> Result<bool> {
        let (mut plugins, mut most, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (quota, tasks) in left.plugins.values() {
            plugins.push(quota.plugin.as_str());
            most.push(size(*tasks));
            weights.push(i64::try_from(quota.memory_bytes).unwrap_or(i64::MAX));
        }
        let tasks = size(self.tasks_max - claims.claimed.len());
        let room = i64::try_from(left.memory).unwrap_or(i64::MAX);
        let (mut plugin, group) = batch.turn.clone();
        let is_first = plugin.is_empty();
        if is_first {
            let found = batch.connection.optional(LONGEST_WAITING, &[&plugins]).await?;
            let Some(row) = found else { return Ok(false) };
            plugin = get(&row, 0)?;
        }
        let (now, host) = (nanos(self.now), batch.host);
        let (full, limited, groups_left) = left.groups();
        let values: Params<'_> = &[
            &plugins,
            &most,
            &weights,
            &tasks,
            &room,
            &plugin,
            &group,
            &now,
            &host,
            &is_first,
            &full,
            &limited,
            &groups_left,
            &batch.floor_every,
        ];
        let rows = batch.connection.query(CLAIM, values).await?;
        let Some((end, rows)) = rows.split_last() else { return Ok(false) };
        for row in rows {
            match self.claimed(batch, row) {
                Ok(claimed) => {
                    batch.turn = (claimed.plugin.to_string(), get::<&str>(row, 24)?.to_owned());
                    left.take(&claimed.plugin, get(row, 24)?);
                    claims.claimed.push(claimed);
                }
                // It would be the first candidate of every claim, and no task would ever start.
                Err(error) if error.is_of_value() => {
                    quarantine::fail(batch, get(row, 0)?, TaskState::Available, &error, self.now).await?;
                }
                Err(error) => return Err(error),
            }
        }
        left.plugins.retain(|_, (_, tasks)| *tasks > 0);
        claims.lacked_memory = get(end, 25)?;
        get(end, 26)
    }

    fn claimed(&self, batch: &mut Batch<'_>, row: &Row) -> Result<Claimed> {
        let plugin: PluginName = parsed(row, 2)?;
        let (token, attempt) = (get(row, 3)?, number(row, 4)?);
        let ready_at = time(row, 12)?;
        // After the clock went back, `ready_at` may be in the future.
        let waited = nanos(self.now).saturating_sub(nanos(ready_at));
        let queue = Duration::from_nanos(u64::try_from(waited).unwrap_or(0));
        let since = optional_time(row, 13)?.unwrap_or(self.now);
        let earlier = used(row, 14)?;
        let of = RunRef {
            task: task_id(row, 1)?,
            plugin: plugin.clone(),
            limit_key: limit_key(row, 28)?,
            attempt,
            token,
            trace: traced(row, 17)?,
        };
        batch.effects.spans.extend(of.wait_span(&batch.live_runs.tracer, ready_at, self.now));
        let start = RunStart { at: self.now, queue, since, earlier, lines: number(row, 21)? };
        let run = batch.live_runs.run(of, Some(start));
        let checkpoint = match get::<Option<Vec<u8>>>(row, 23)? {
            Some(state) => Checkpoint::State(state),
            None if token == 1 => Checkpoint::None,
            None => Checkpoint::NotLoaded,
        };
        let claimed = Claimed {
            claim: Claim::new(claim_ref(get(row, 0)?, batch.host), run.clone(), get(row, 16)?),
            plugin,
            queue,
            attempt,
            attempts_max: number(row, 5)?,
            host_crashes: number(row, 6)?,
            timeout: duration(row, 7)?,
            backoff: backoff(row, 8)?,
            input: text(row, 22)?,
            has_files: get(row, 29)?,
            pass_results: get(row, 15)?,
            files_from: optional(row, 30)?,
            checkpoint,
        };
        let limit_key = run.run_ref().limit_key.as_ref();
        batch.record_move(&claimed.plugin, limit_key, Some(TaskState::Available), Some(TaskState::Running));
        batch.effects.live_changes.push(LiveChange::Began(run.clone()));
        batch.effects.events.push(run.event(EventKind::Started, self.now));
        Ok(claimed)
    }
}

async fn running(connection: &Connection) -> Result<HashMap<Group, usize>> {
    let mut running = HashMap::new();
    for row in connection.query(RUNNING, &[]).await? {
        // A damaged name is that of no limited group.
        if let Ok(group) = get::<&str>(&row, 0)?.parse() {
            running.insert(group, number(&row, 1)?);
        }
    }
    Ok(running)
}
