//! The host functions of a local run: the log goes to stderr, progress to the status line, checkpoints to memory,
//! where the next attempt finds them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use wasmill_model::{BoxFuture, LogStream, Meter, PostedEvent, Progress, RunHost, Usage};

use crate::terminal::status_line::SharedStatusLine;

/// Maximum bytes of a log line shown as one; the rest is shown on the next.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Maximum bytes of a log that is kept.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// The host of all attempts of one run.
pub(crate) struct LocalHost {
    /// Where the log goes; `None` keeps its end.
    status_line: Option<SharedStatusLine>,
    state: Mutex<HostState>,
    meter: Meter,
    stop: CancellationToken,
}

#[derive(Default)]
struct HostState {
    progress: Option<Progress>,
    checkpoint: Option<Vec<u8>>,
    /// Payloads of all events, and how many of them the newest run and those whose state is saved have taken.
    events: Vec<String>,
    taken: usize,
    saved: usize,
    /// The incomplete line of each stream.
    lines: [Vec<u8>; 2],
    /// The end of a log that is kept.
    kept: String,
    /// The meter reading at the start of the newest attempt.
    before: Usage,
}

impl LocalHost {
    /// Creates a host that shows the log, of a task with these payloads of events.
    pub(super) fn new(status_line: SharedStatusLine, events: Vec<String>) -> Self {
        let state = Mutex::new(HostState { events, ..HostState::default() });
        Self { status_line: Some(status_line), state, ..Self::keeping_log() }
    }

    /// Creates a host that shows no log, but keeps the end of it.
    pub(crate) fn keeping_log() -> Self {
        Self {
            status_line: None,
            state: Mutex::default(),
            meter: Meter::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Returns the end of the log, if it is kept.
    pub(crate) fn kept_log(&self) -> String {
        self.state().kept.clone()
    }

    /// Asks the guest to stop; it may ignore that.
    pub(super) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stores the state for the next step of a suspended task.
    pub(super) fn set_checkpoint(&self, checkpoint: Vec<u8>) {
        let mut state = self.state();
        state.checkpoint = Some(checkpoint);
        state.saved = state.taken;
    }

    /// Returns true if there is an event that no saved state knows of.
    pub(super) fn has_event(&self) -> bool {
        let state = self.state();
        state.saved < state.events.len()
    }

    /// Returns the latest progress that the guest reported.
    pub(super) fn latest_progress(&self) -> Option<Progress> {
        self.state().progress.clone()
    }

    /// Starts an attempt; its usage is counted from here.
    pub(super) fn start_attempt(&self) {
        let mut state = self.state();
        state.before = self.meter.read();
        state.taken = state.saved;
    }

    /// Returns the usage of the newest attempt without its duration. There is no queue time.
    pub(super) fn usage(&self) -> Usage {
        let before = self.state().before;
        let all = self.meter.read();
        // Each attempt resets the others.
        Usage {
            log_bytes: all.log_bytes - before.log_bytes,
            http_requests: all.http_requests - before.http_requests,
            http_sent_bytes: all.http_sent_bytes - before.http_sent_bytes,
            http_received_bytes: all.http_received_bytes - before.http_received_bytes,
            checkpoints: all.checkpoints - before.checkpoints,
            disk_written_bytes: all.disk_written_bytes - before.disk_written_bytes,
            files_created: all.files_created - before.files_created,
            tcp_connections: all.tcp_connections - before.tcp_connections,
            tcp_sent_bytes: all.tcp_sent_bytes - before.tcp_sent_bytes,
            tcp_received_bytes: all.tcp_received_bytes - before.tcp_received_bytes,
            ..all
        }
    }

    /// Ends an attempt and shows its incomplete last lines.
    pub(super) fn end_attempt(&self) {
        let mut state = self.state();
        state.progress = None;
        let lines = std::mem::take(&mut state.lines);
        drop(state);
        lines.iter().filter(|line| !line.is_empty()).for_each(|line| self.show(line));
    }

    fn show(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        match &self.status_line {
            Some(status_line) => status_line.lock().log(&line),
            None => self.keep(&line),
        }
    }

    /// Says what happens to the task, above the status line or in the log that is kept.
    pub(super) fn announce(&self, line: &str) {
        match &self.status_line {
            Some(status_line) => status_line.lock().line(line),
            None => self.keep(line),
        }
    }

    fn keep(&self, line: &str) {
        let kept = &mut self.state().kept;
        kept.push_str(line);
        kept.push('\n');
        if kept.len() > KEPT_BYTES_MAX {
            let mut cut = kept.len() - KEPT_BYTES_MAX / 2;
            while !kept.is_char_boundary(cut) {
                cut += 1;
            }
            kept.drain(..cut);
        }
    }

    fn state(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunHost for LocalHost {
    fn is_asked_to_stop(&self) -> bool {
        self.stop.is_cancelled()
    }

    fn asked_to_stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.stop.cancelled())
    }

    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    fn next_event(&self) -> BoxFuture<'_, Result<Option<PostedEvent>, String>> {
        Box::pin(async {
            let mut state = self.state();
            let Some(payload) = state.events.get(state.taken).cloned() else { return Ok(None) };
            state.taken += 1;
            Ok(Some(PostedEvent { number: state.taken as u64, name: None, payload }))
        })
    }

    fn progress(&self, progress: Progress) {
        self.state().progress = Some(progress);
    }

    fn log(&self, stream: LogStream, written: &[u8]) {
        self.meter.add_log_bytes(written.len() as u64);
        let mut lines = Vec::new();
        let mut state = self.state();
        for piece in written.split_inclusive(|&b| b == b'\n') {
            let line = &mut state.lines[stream as usize];
            line.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if piece.ends_with(b"\n") || line.len() >= LINE_BYTES_MAX {
                lines.push(std::mem::take(line));
            }
        }
        drop(state);
        // A slow reader of stderr slows the guest down, so nothing is buffered.
        lines.iter().for_each(|line| self.show(line));
    }

    fn save(&self, state: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            self.set_checkpoint(state);
            self.meter.add_checkpoint();
            Ok(())
        })
    }

    fn restore(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async { Ok(self.state().checkpoint.clone()) })
    }
}
