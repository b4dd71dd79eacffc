//! Reads logs: the stored log of ended runs and the live log of the current one.

use rusqlite::{Connection, OptionalExtension};
use wasmill_model::{TaskId, TaskState};
use wasmill_store::live::{Body, LiveRun, LiveRuns};
use wasmill_store::{LiveLog, LogLines};

use crate::read::queries::LOG;
use crate::read::rows::{damaged, state};

/// Attempts to read a consistent log of a task that starts or ends a run.
pub(crate) const LOOKS: usize = 3;

/// The parts of a log at one moment.
pub(crate) struct LogSource {
    state: TaskState,
    body: Vec<u8>,
    live: Option<LiveRun>,
}

impl LogSource {
    /// Returns true if the task is running but its live run is unknown, as between a commit and the update of
    /// the live runs.
    pub(crate) fn is_between(&self) -> bool {
        self.state == TaskState::Running && self.live.is_none()
    }

    /// Reads up to `lines_max` lines after line `after`.
    pub(crate) fn lines(self, after: u64, lines_max: usize) -> rusqlite::Result<LogLines> {
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
    pub(crate) fn text(self) -> rusqlite::Result<Option<String>> {
        let live = self.live.and_then(|live| live.log().part()?.text());
        live.map_or_else(|| Body(&self.body).text().map_err(damaged), |text| Ok(Some(text)))
    }
}

/// Reads the parts of the log of a task.
pub(crate) fn find(
    connection: &Connection,
    id: TaskId,
    live_runs: &LiveRuns,
) -> rusqlite::Result<Option<LogSource>> {
    let mut statement = connection.prepare_cached(LOG)?;
    let found = statement.query_row([id.as_bytes()], |row| {
        let token = row.get(1)?;
        let state = state(row, 2)?;
        let body = row.get::<_, Option<Vec<u8>>>(3)?.unwrap_or_default();
        let live = if state == TaskState::Running { live_runs.live(id, token) } else { None };
        Ok(LogSource { state, body, live })
    });
    found.optional()
}
