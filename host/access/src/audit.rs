//! Who did what: one JSON line for each request that changes something, submits aside, which name their key in the task.
//!
//! A thread of its own writes the lines. A request passes its line on and continues: a full disk or a slow one costs lines,
//! which are counted, and never a request, unless the settings ask for a line before each change.

mod file;
mod keys;
mod line;
mod read;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use self::file::AuditFile;
pub use self::keys::audit_keys;
pub use self::line::{AuditDetails, AuditLine, Who};
pub use self::read::read_audit;

/// Lines that wait to be written.
const QUEUE_MAX: usize = 4_096;

/// Lines of one write.
const BATCH_MAX: usize = 512;

/// How long a server that stops waits for its last lines.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request waits for a line that has to be written before it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// To a file, which is rotated.
    File(PathBuf),
    /// To the log of the server.
    Log,
}

/// Takes the lines. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(AuditLine),
    /// A line whose sender waits until it is written; the channel is dropped if it cannot be.
    Awaited(AuditLine, oneshot::Sender<()>),
    /// Everything before it has been written once this is dropped.
    Flush(oneshot::Sender<()>),
}

impl Audit {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened for writing.
    pub fn start(target: AuditTarget) -> io::Result<Self> {
        let file = match target {
            AuditTarget::File(path) => Some(AuditFile::open(path)?),
            AuditTarget::Log => None,
        };
        let (queue, lines) = sync_channel(QUEUE_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&lost);
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || write(&lines, file, &count))?;
        Ok(Self { queue, lost })
    }

    /// Hands a line over, without waiting. It is counted as lost if too many wait already.
    pub fn tell(&self, line: AuditLine) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands a line over, and returns true once it is written; false if it cannot be, or not within two seconds.
    pub async fn write(&self, line: AuditLine) -> bool {
        let (done, written) = oneshot::channel();
        if self.queue.try_send(Message::Awaited(line, done)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        matches!(tokio::time::timeout(WRITE_TIMEOUT, written).await, Ok(Ok(())))
    }

    /// Returns how many lines could not be written since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until the lines so far are written, for two seconds at most.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // It ends with an error, since the sender is dropped, or with the time.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, written).await;
        }
    }
}

/// Writes lines until every sender is gone.
fn write(lines: &Receiver<Message>, mut file: Option<AuditFile>, lost: &AtomicU64) {
    while let Ok(first) = lines.recv() {
        let (mut batch, mut awaited, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
        for message in std::iter::once(first).chain(lines.try_iter().take(BATCH_MAX)) {
            match message {
                Message::Line(line) => batch.push(line),
                Message::Awaited(line, done) => {
                    batch.push(line);
                    awaited.push(done);
                }
                Message::Flush(done) => flushes.push(done),
            }
        }
        let written = match &mut file {
            Some(file) => file.append(&batch).inspect_err(|error| file.warn(error)),
            None => {
                batch.iter().for_each(log);
                Ok(())
            }
        };
        match written {
            Ok(()) => awaited.into_iter().for_each(|done| {
                // Fails if the request is gone.
                let _ = done.send(());
            }),
            Err(_) => {
                lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
        }
        drop(flushes);
    }
}

fn log(line: &AuditLine) {
    let who = line.who.as_ref().map(|who| who.name.as_str());
    let from = line.from.map(tracing::field::display);
    tracing::info!(target: "audit", who, from, did = line.did, path = line.path, outcome = line.outcome, count = line.details.count, digest_before = line.details.digest_before,
        digest_after = line.details.digest_after, "audit");
}

#[cfg(test)]
mod tests;
