//! One event of a task as a server-sent event.

use serde::Serialize;
use wasmill_model::{PluginName, Progress, TaskId, TaskPhase};
use wasmill_store::{Event, EventKind, EventPayload};

use crate::http::sse;
use crate::view::task::ProgressView;
use crate::view::time::Rfc3339;

#[derive(Serialize)]
struct EventView<'a> {
    seq: u64,
    task: TaskId,
    plugin: &'a PluginName,
    time: Rfc3339,
    /// The state of the task after the event; `deleted` for a deleted task.
    state: &'static str,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressView>,
    /// Cause of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Earliest next start of a task that waits again.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_at: Option<Rfc3339>,
    /// Set if this describes the current state of the task rather than a new event.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    snapshot: bool,
}

/// Formats an event; without `has_notes` the client sees no text of the guest.
pub(super) fn write(event: &Event, progress: Option<&Progress>, snapshot: bool, has_notes: bool) -> String {
    let Event { seq, payload: EventPayload { task, plugin, attempt, time, kind } } = event;
    let progress = match kind {
        EventKind::Progress(progress) => Some(progress),
        _ => progress,
    };
    let shown = |progress: &Progress| Progress {
        note: if has_notes { progress.note.clone() } else { String::new() },
        ..*progress
    };
    let view = EventView {
        seq: *seq,
        task: *task,
        plugin,
        time: Rfc3339(*time),
        state: kind.phase().map_or("deleted", TaskPhase::as_str),
        attempt: *attempt,
        progress: progress.map(shown).map(ProgressView::from),
        cause: if let EventKind::Failed(cause) = kind { Some(cause.to_string()) } else { None },
        ready_at: match kind {
            EventKind::Suspended(at) | EventKind::Retrying(at) => Some(Rfc3339(*at)),
            _ => None,
        },
        snapshot,
    };
    sse::event(kind.as_str(), Some(*seq), &view)
}
