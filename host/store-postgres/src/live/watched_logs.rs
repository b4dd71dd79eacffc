//! Logs of runs at other hosts: who reads one asks for it with a row, which the host that runs it fills while it is asked
//! for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use uuid::Uuid;
use wasmill_model::TaskId;
use wasmill_store::live::{LiveRun, LiveRuns, RunRef};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{damaged, get, task_id, uuid};

/// Logs that one host asks for, and that one fills, at once.
const LOGS_MAX: usize = 1_000;

/// Bytes of logs per second that one host writes.
const BYTES_PER_SECOND: f64 = (1 << 20) as f64;

/// How long a reader waits for the first answer.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// How long a log is asked for after somebody has read it, and how often that is renewed.
const LINGER: Duration = Duration::from_secs(5);
const RENEW_INTERVAL: Duration = Duration::from_secs(2);

/// Rows end by the clock of the database.
const ASK: &str = "
    INSERT INTO live_log (task, host, token, until)
    SELECT task, host, token, clock_timestamp() + interval '10 seconds'
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS given (task, host, token) ORDER BY task
    ON CONFLICT (task) DO UPDATE SET host = excluded.host, token = excluded.token, until = excluded.until,
        version = CASE WHEN live_log.token = excluded.token THEN live_log.version END,
        body = CASE WHEN live_log.token = excluded.token THEN live_log.body END
    WHERE live_log.token <= excluded.token";
const READ: &str = "
    SELECT live_log.task, live_log.token, live_log.version, body
    FROM unnest($1::uuid[], $2::bigint[]) AS known (task, version) JOIN live_log USING (task)
    WHERE body IS NOT NULL AND live_log.version <> known.version";
const ASKED: &str = "
    SELECT task, token, version FROM live_log WHERE host = $1 AND until > clock_timestamp() ORDER BY task LIMIT $2";
/// Locks rows in the order of those who ask.
const FILL: &str = "
    WITH locked AS (SELECT task FROM live_log WHERE task = ANY ($2) ORDER BY task FOR UPDATE)
    UPDATE live_log SET version = given.version, body = given.body
    FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bytea[]) AS given (task, token, version, body)
        JOIN locked USING (task)
    WHERE live_log.task = given.task AND live_log.host = $1 AND live_log.token = given.token";

/// Columns: tasks, the hosts that run them, and their claims.
type Asked = (Vec<Uuid>, Vec<i64>, Vec<i64>);

/// The logs that are read here and written elsewhere.
#[derive(Debug, Default)]
pub(crate) struct WatchedLogs {
    logs: Mutex<HashMap<TaskId, WatchedLog>>,
    added: Notify,
}

#[derive(Debug)]
struct WatchedLog {
    /// A copy of the run, of which only the log is filled.
    run: LiveRun,
    /// The host that runs it.
    host: i64,
    read_at: Instant,
    asked_at: Option<Instant>,
    /// The version of the log; 0 before the first answer.
    version: watch::Sender<i64>,
}

impl WatchedLogs {
    pub(crate) fn is_empty(&self) -> bool {
        self.logs().is_empty()
    }

    /// Resolves when a log is asked for that was not before.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    /// Returns a copy of a run at another host whose log is followed as long as somebody reads it. Waits a moment for its
    /// lines up to now; `None` if too many logs are read already.
    pub(crate) async fn run(&self, run_ref: RunRef, host: i64, live_runs: &LiveRuns) -> Option<LiveRun> {
        let (run, mut version) = self.add(run_ref, host, live_runs)?;
        // Without an answer the lines come later, or with the end of the run.
        let _ = timeout(ANSWER_WAIT, version.wait_for(|version| *version > 0)).await;
        Some(run)
    }

    fn add(
        &self,
        run_ref: RunRef,
        host: i64,
        live_runs: &LiveRuns,
    ) -> Option<(LiveRun, watch::Receiver<i64>)> {
        let (task, token) = (run_ref.task, run_ref.token);
        let mut logs = self.logs();
        let known = logs.get_mut(&task).filter(|log| (log.run.run_ref().token, log.host) == (token, host));
        if let Some(log) = known {
            log.read_at = Instant::now();
            return Some((log.run.clone(), log.version.subscribe()));
        }
        if logs.len() >= LOGS_MAX {
            return None;
        }
        let run = live_runs.run(run_ref, None);
        let version = watch::Sender::new(0);
        let answered = version.subscribe();
        let log = WatchedLog { run: run.clone(), host, read_at: Instant::now(), asked_at: None, version };
        logs.insert(task, log);
        drop(logs);
        self.added.notify_one();
        Some((run, answered))
    }

    /// Asks for the logs that are read here, and reads what is new of them.
    pub(crate) async fn look(&self, connection: &Connection) -> Result<()> {
        let (tasks, hosts, tokens) = self.to_ask(Instant::now());
        if !tasks.is_empty() {
            connection.execute(ASK, &[&tasks, &hosts, &tokens]).await?;
        }
        let (tasks, versions) = self.known();
        if tasks.is_empty() {
            return Ok(());
        }
        for row in connection.query(READ, &[&tasks, &versions]).await? {
            let (task, token, version) = (task_id(&row, 0)?, get::<i64>(&row, 1)?, get::<i64>(&row, 2)?);
            let logs = self.logs();
            let Some(log) = logs.get(&task).filter(|log| log.run.run_ref().token == token) else { continue };
            log.run.log().restore(get(&row, 3)?).map_err(damaged)?;
            log.version.send_replace(version);
        }
        Ok(())
    }

    /// Forgets the logs that nobody reads any more, and returns those to ask for.
    fn to_ask(&self, now: Instant) -> Asked {
        let mut logs = self.logs();
        logs.retain(|_, log| log.run.log().is_followed() || now - log.read_at < LINGER);
        let mut asked = Asked::default();
        for (task, log) in logs.iter_mut() {
            if log.asked_at.is_none_or(|asked_at| now - asked_at > RENEW_INTERVAL) {
                log.asked_at = Some(now);
                asked.0.push(uuid(*task));
                asked.1.push(log.host);
                asked.2.push(log.run.run_ref().token);
            }
        }
        asked
    }

    /// Returns the tasks whose logs are read here, with the versions that are known.
    fn known(&self) -> (Vec<Uuid>, Vec<i64>) {
        self.logs().iter().map(|(task, log)| (uuid(*task), *log.version.borrow())).unzip()
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<TaskId, WatchedLog>> {
        // Entries are added, changed and removed as a whole.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes of logs this host may write now, and whose turn it is.
#[derive(Debug)]
pub(crate) struct LogAllowance {
    bytes: f64,
    since: Instant,
    turn: Option<TaskId>,
}

impl LogAllowance {
    pub(crate) fn new(now: Instant) -> Self {
        Self { bytes: BYTES_PER_SECOND, since: now, turn: None }
    }

    /// Adds what the time since the last call allows.
    fn refill(&mut self, now: Instant) {
        let added = (now - self.since).as_secs_f64() * BYTES_PER_SECOND;
        (self.bytes, self.since) = ((self.bytes + added).min(BYTES_PER_SECOND), now);
    }
}

/// Writes the logs of own runs that are asked for and have grown, in turns, as far as the allowance goes.
pub(crate) async fn write_asked(
    connection: &Connection,
    host: i64,
    live_runs: &LiveRuns,
    allowance: &mut LogAllowance,
) -> Result<()> {
    let logs_max = i64::try_from(LOGS_MAX).unwrap_or(i64::MAX);
    let mut asked = Vec::new();
    for row in connection.query(ASKED, &[&host, &logs_max]).await? {
        let (task, token, known) = (task_id(&row, 0)?, get::<i64>(&row, 1)?, get::<Option<i64>>(&row, 2)?);
        let Some(run) = live_runs.live(task, token) else { continue };
        let version = i64::try_from(run.log().writes()).unwrap_or(i64::MAX).saturating_add(1);
        if known != Some(version) {
            asked.push((task, token, version, run));
        }
    }
    asked.sort_unstable_by_key(|(task, ..)| *task);
    let first = allowance.turn.map_or(0, |turn| asked.partition_point(|(task, ..)| *task <= turn));
    asked.rotate_left(first);
    allowance.refill(Instant::now());
    let mut filled = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (task, token, version, run) in asked {
        if allowance.bytes <= 0.0 {
            break;
        }
        let body = run.log().snapshot();
        allowance.bytes -= body.len() as f64;
        allowance.turn = Some(task);
        filled.0.push(uuid(task));
        filled.1.push(token);
        filled.2.push(version);
        filled.3.push(body);
    }
    if !filled.0.is_empty() {
        connection.execute(FILL, &[&host, &filled.0, &filled.1, &filled.2, &filled.3]).await?;
    }
    Ok(())
}
