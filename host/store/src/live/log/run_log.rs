//! The log of a run while it runs: its newest lines, in memory, within two limits.
//!
//! The claim holds it and the guest writes to it; readers find it through the live runs. Writing never waits
//! and costs nothing extra without followers.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wasmill_model::{LogLine, LogStream, Timestamp};

use super::body::{Body, Damaged, LogPart, Part, numbered};
use super::packed::{Ending, HEAD_BYTES, Packed, Record, take};

/// Maximum bytes of a line; longer ones are cut and continue in the next.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Bytes that a run may hold, and the maximum line length, once the budget of all logs is used up.
const SCARCE_BYTES: usize = 2 << 10;
const SCARCE_LINE_BYTES: usize = 512;

/// The memory budget of all run logs.
#[derive(Debug)]
pub(crate) struct LogBudget {
    held: AtomicUsize,
    bytes_max: usize,
}

impl LogBudget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { held: AtomicUsize::new(0), bytes_max }
    }

    fn is_used_up(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= self.bytes_max
    }

    fn record_move(&self, from: usize, to: usize) {
        // Wraps around when the log shrinks, which subtracts.
        self.held.fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
    }
}

/// The log of one run. When it is full, the oldest lines are dropped.
#[derive(Debug)]
pub struct RunLog {
    lines: Mutex<RunLines>,
    pub(super) changed: Notify,
    pub(super) followers: AtomicU32,
    budget: Arc<LogBudget>,
    attempt: u32,
}

impl RunLog {
    pub(crate) fn new(earlier: u64, attempt: u32, budget: Arc<LogBudget>) -> Self {
        let lines = Mutex::new(RunLines::new(earlier, 0));
        Self { lines, changed: Notify::new(), followers: AtomicU32::new(0), budget, attempt }
    }

    /// Sets the limit in bytes, including a few per line. Nothing is kept before this is called.
    pub fn keep(&self, bytes_max: usize) {
        self.lines().bytes_max = bytes_max;
    }

    /// Appends guest output. A line is visible once it is complete.
    pub fn write(&self, stream: LogStream, written: &[u8], now: Timestamp) {
        let mut lines = self.lines();
        let before = lines.held();
        lines.write(stream, written, now.timestamp_nanos_opt().unwrap_or_default(), self.budget.is_used_up());
        self.budget.record_move(before, lines.held());
        drop(lines);
        // A follower registers before it reads, so none is missed here.
        if self.is_followed() {
            self.changed.notify_waiters();
        }
    }

    /// Returns true if somebody reads it while it grows.
    pub fn is_followed(&self) -> bool {
        self.followers.load(Ordering::SeqCst) > 0
    }

    /// Returns how often it was written to: two logs of a run with the same number are the same.
    pub fn writes(&self) -> u64 {
        self.lines().writes
    }

    /// Returns what [`RunLog::restore`] takes at another host: the limit and the kept lines, complete or not.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut lines = self.lines().clone();
        let limit = lines.bytes_max as u64;
        // The end of a run drops the oldest lines in favour of those that are not complete.
        lines.bytes_max = usize::MAX;
        let part = lines.into_part(self.attempt).unwrap_or_else(|| self.silent_part());
        [&limit.to_le_bytes()[..], &Body(&[]).with(&part)].concat()
    }

    /// Replaces the log by that of the same run at another host.
    ///
    /// # Errors
    ///
    /// Fails if the snapshot cannot be decoded; then nothing is changed.
    pub fn restore(&self, mut snapshot: &[u8]) -> Result<(), Damaged> {
        let limit = u64::from_le_bytes(take(&mut snapshot).ok_or(Damaged)?);
        let bytes_max = usize::try_from(limit).unwrap_or(usize::MAX);
        let restored = RunLines::of(Body(snapshot).newest()?, bytes_max)?;
        let mut lines = self.lines();
        self.budget.record_move(lines.held(), restored.held());
        *lines = restored;
        drop(lines);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Returns the part of a run that wrote nothing.
    pub fn silent_part(&self) -> LogPart {
        LogPart::silent(self.lines().earlier, self.attempt)
    }

    /// Returns the log to store when the run ends; `None` if nothing was written.
    pub fn part(&self) -> Option<LogPart> {
        self.lines().clone().into_part(self.attempt)
    }

    /// Returns lines after line `after`, oldest first, up to `lines_max` lines or `bytes_max` bytes of text.
    pub(super) fn read(&self, after: u64, lines_max: usize, bytes_max: usize) -> Vec<LogLine> {
        let lines = self.lines();
        let (mut nth, mut bytes) = (LogLine::nth_after(lines.earlier, after).max(lines.first), 0);
        let mut read = Vec::new();
        while read.len() < lines_max
            && bytes < bytes_max
            && let Ok(place) = usize::try_from(nth - lines.first)
            && let Some(record) = lines.kept.get(place)
            && let Some(line) = numbered(record, lines.earlier, self.attempt, nth)
        {
            bytes += line.text.len();
            read.push(line);
            nth += 1;
        }
        read
    }

    fn lines(&self) -> MutexGuard<'_, RunLines> {
        // Lines are added or dropped as a whole, so they are consistent after a panic.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunLog {
    fn drop(&mut self) {
        let held = self.lines().held();
        self.budget.record_move(held, 0);
    }
}

#[derive(Clone, Debug)]
struct RunLines {
    /// Number of lines of earlier runs.
    earlier: u64,
    /// How often it was written to.
    writes: u64,
    bytes_max: usize,
    kept: Packed,
    /// Index of the first kept line within the run, from 1.
    first: u64,
    /// Bytes of all dropped lines.
    dropped: u64,
    /// Unfinished lines of stdout and stderr.
    pending: [Vec<u8>; 2],
    /// Time of the last write.
    nanos: i64,
}

impl RunLines {
    fn new(earlier: u64, bytes_max: usize) -> Self {
        Self {
            earlier,
            writes: 0,
            bytes_max,
            kept: Packed::default(),
            first: 1,
            dropped: 0,
            pending: Default::default(),
            nanos: 0,
        }
    }

    /// Takes the lines of a part. Those that were not complete continue.
    fn of(part: Part<'_>, bytes_max: usize) -> Result<Self, Damaged> {
        let Part { earlier, first, dropped, mut records, .. } = part;
        let mut lines = Self { first, dropped, ..Self::new(earlier, bytes_max) };
        while !records.is_empty() {
            let record = Record::read(&mut records).ok_or(Damaged)?;
            if record.ending == Ending::Open {
                lines.pending[record.stream as usize] = record.text.into();
                lines.nanos = record.nanos;
            } else {
                lines.kept.push(record);
            }
        }
        Ok(lines)
    }

    /// Ends the run; `None` if nothing was written.
    fn into_part(mut self, attempt: u32) -> Option<LogPart> {
        self.end();
        let Self { earlier, bytes_max, kept, first, dropped, .. } = self;
        if kept.len() == 0 && dropped == 0 {
            return None;
        }
        let (count, records) = (kept.len() as u64, kept.as_bytes().to_vec());
        Some(LogPart { earlier, attempt, first, count, dropped, records, bytes_max })
    }

    /// Returns its approximate memory in bytes.
    fn held(&self) -> usize {
        self.kept.size() + self.pending[0].len() + self.pending[1].len()
    }

    fn write(&mut self, stream: LogStream, mut written: &[u8], nanos: i64, is_scarce: bool) {
        self.nanos = nanos;
        self.writes += 1;
        let most = |usual: usize, scarce: usize| if is_scarce { usual.min(scarce) } else { usual };
        let bytes_max = most(self.bytes_max, SCARCE_BYTES);
        let Some(room @ 1..) = bytes_max.checked_sub(HEAD_BYTES) else {
            self.dropped += written.len() as u64;
            return;
        };
        let line_max = room.min(most(LINE_BYTES_MAX, SCARCE_LINE_BYTES));
        while let Some(end) = written.iter().position(|&byte| byte == b'\n') {
            self.write_piece(stream, &written[..end], line_max, bytes_max);
            self.end_line(stream, Ending::Break, bytes_max, &[]);
            written = &written[end + 1..];
        }
        self.write_piece(stream, written, line_max, bytes_max);
    }

    /// Appends to the unfinished line and cuts it at the length limit.
    fn write_piece(&mut self, stream: LogStream, mut piece: &[u8], line_max: usize, bytes_max: usize) {
        loop {
            let pending = &mut self.pending[stream as usize];
            let room = line_max.saturating_sub(pending.len());
            if piece.len() <= room {
                pending.extend(piece);
                return;
            }
            pending.extend(&piece[..room]);
            piece = &piece[room..];
            let rest = pending.split_off(whole_characters(pending));
            self.end_line(stream, Ending::Cut, bytes_max, &rest);
        }
    }

    /// Completes the unfinished line and drops the oldest lines beyond the limit.
    fn end_line(&mut self, stream: LogStream, ending: Ending, bytes_max: usize, rest: &[u8]) {
        let mut pending = std::mem::take(&mut self.pending[stream as usize]);
        let text = String::from_utf8_lossy(&pending);
        // Replacing invalid UTF-8 can lengthen the text.
        let text = &text[..text.floor_char_boundary(bytes_max.saturating_sub(HEAD_BYTES))];
        self.kept.push(Record { nanos: self.nanos, stream, ending, text });
        while self.kept.size() > bytes_max
            && let Some(dropped) = self.kept.drop_first()
        {
            self.dropped += dropped as u64 + 1;
            self.first += 1;
        }
        // Keeps the buffer for reuse.
        pending.clear();
        pending.extend(rest);
        self.pending[stream as usize] = pending;
    }

    /// Completes the unfinished lines.
    fn end(&mut self) {
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            if !self.pending[stream as usize].is_empty() {
                self.end_line(stream, Ending::Open, self.bytes_max, &[]);
            }
        }
    }
}

/// Returns the length of the longest prefix without a truncated character.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let place = bytes.len() - back;
        let width = match bytes[place] {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            _ => 1,
        };
        // A line that is only part of a character is cut as it is.
        return if width > back && place > 0 { place } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests;
