//! Reads logs: the stored log of ended runs and the live log of the current one.

use wasmill_model::{TaskId, TaskState};
use wasmill_store::live::{Body, LiveRun, LiveRuns};
use wasmill_store::{LiveLog, LogLines};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{damaged, get, state, uuid};

/// Attempts to read a consistent log of a task that starts or ends a run.
pub(crate) const LOOKS: usize = 3;

const LOG: &str = "
    SELECT claim_token, state, body, task.host FROM task LEFT JOIN log USING (seq) WHERE task.id = $1";

/// The parts of a log at one moment.
pub(crate) struct LogSource {
    state: TaskState,
    body: Vec<u8>,
    live: Option<LiveRun>,
    /// Whether the host that was asked runs the task.
    is_here: bool,
}

impl LogSource {
    /// Returns true if the task is running but its live run is unknown, as between a commit and the update of
    /// the live runs.
    pub(crate) fn is_between(&self) -> bool {
        self.state == TaskState::Running && self.is_here && self.live.is_none()
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

/// Reads the parts of the log of a task.
pub(crate) async fn find(
    connection: &Connection,
    id: TaskId,
    live_runs: &LiveRuns,
    host: i64,
) -> Result<Option<LogSource>> {
    let Some(row) = connection.optional(LOG, &[&uuid(id)]).await? else { return Ok(None) };
    let state = state(&row, 1)?;
    let body = get::<Option<Vec<u8>>>(&row, 2)?.unwrap_or_default();
    let live = if state == TaskState::Running { live_runs.live(id, get(&row, 0)?) } else { None };
    let is_here = get::<Option<i64>>(&row, 3)? == Some(host);
    Ok(Some(LogSource { state, body, live, is_here }))
}
