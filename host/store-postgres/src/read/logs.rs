//! Reads logs: the stored log of ended runs and the live log of the current one.

use wasmill_model::{TaskId, TaskState};
use wasmill_store::live::{Body, LiveRun, LiveRuns, RunRef};
use wasmill_store::{LiveLog, LogLines};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{damaged, get, number, parsed, state, uuid};

/// Attempts to read a consistent log of a task that starts or ends a run.
pub(crate) const LOOKS: usize = 3;

const LOG: &str = "
    SELECT claim_token, state, body, task.host, plugin, attempt FROM task LEFT JOIN log USING (seq) WHERE task.id = $1";

/// The parts of a log at one moment.
pub(crate) struct LogSource {
    state: TaskState,
    body: Vec<u8>,
    live: Option<LiveRun>,
    run: RunRef,
    /// The host of the newest claim, if it is another one.
    other: Option<i64>,
}

impl LogSource {
    /// Returns true if the task is running but its live run is unknown, as between a commit and the update of
    /// the live runs.
    pub(crate) fn is_between(&self) -> bool {
        self.state == TaskState::Running && self.other.is_none() && self.live.is_none()
    }

    /// Returns the run and its host if it is another one.
    pub(crate) fn elsewhere(&self) -> Option<(RunRef, i64)> {
        let other = self.other.filter(|_| self.state == TaskState::Running && self.live.is_none());
        other.map(|host| (self.run.clone(), host))
    }

    /// Reads up to `lines_max` lines after line `after`.
    pub(crate) fn lines(self, after: u64, lines_max: usize) -> Result<LogLines> {
        let mut lines = Vec::new();
        Body(&self.body).read(after, lines_max, &mut lines).map_err(damaged)?;
        let live = self.live.map(LiveLog::new);
        if let Some(live) = &live
            && lines.len() < lines_max
        {
            let after = lines.last().map_or(after, |line| line.seq);
            lines.extend(live.read(after, lines_max - lines.len(), usize::MAX));
        }
        Ok(LogLines { lines, state: self.state, live })
    }

    /// Reads the log of the newest run that wrote one, as text.
    pub(crate) fn text(self) -> Result<Option<String>> {
        let live = self.live.and_then(|live| live.log().part()?.text());
        live.map_or_else(|| Body(&self.body).text().map_err(damaged), |text| Ok(Some(text)))
    }
}

/// Reads the parts of the log of a task, of which another host may have given the live run.
pub(crate) async fn find(
    connection: &Connection,
    id: TaskId,
    live_runs: &LiveRuns,
    given: Option<&LiveRun>,
    own: i64,
) -> Result<Option<LogSource>> {
    let Some(row) = connection.optional(LOG, &[&uuid(id)]).await? else { return Ok(None) };
    let state = state(&row, 1)?;
    let body = get::<Option<Vec<u8>>>(&row, 2)?.unwrap_or_default();
    let (token, attempt) = (get(&row, 0)?, number(&row, 5)?);
    let run = RunRef { task: id, plugin: parsed(&row, 4)?, limit_key: None, attempt, token, trace: None };
    let given = || given.filter(|given| given.run_ref().token == token).cloned();
    let live = live_runs.live(id, token).or_else(given).filter(|_| state == TaskState::Running);
    let other = get::<Option<i64>>(&row, 3)?.filter(|host| *host != own);
    Ok(Some(LogSource { state, body, live, run, other }))
}
