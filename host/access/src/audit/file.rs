//! The file of the audit: appended to by one thread, rotated by its size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::line::AuditLine;
use crate::stamp::FileStamp;

/// Size at which a file is rotated, and how many older ones are kept.
const FILE_BYTES_MAX: u64 = 64 << 20;
pub(super) const KEPT: u32 = 5;

/// The interval between log messages.
const WARNING: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    warned_at: Option<Instant>,
}

impl AuditFile {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, bytes_max: FILE_BYTES_MAX, warned_at: None })
    }

    #[cfg(test)]
    pub(super) fn with_bytes_max(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
    }

    /// Writes lines, all or none.
    pub(super) fn append(&mut self, lines: &[AuditLine]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        // Somebody may have moved it away, as programs that rotate logs do.
        if FileStamp::of(&self.path).is_none() {
            self.reopen()?;
        }
        if self.bytes > 0 && self.bytes + text.len() as u64 > self.bytes_max {
            rotate(&self.path)?;
            self.reopen()?;
        }
        if let Err(error) = self.file.write_all(&text) {
            // A part of a line would spoil the next one. It fails on what is no file.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Warns that lines are lost, at most once a minute.
    pub(super) fn warn(&mut self, error: &io::Error) {
        if self.warned_at.is_none_or(|warned_at| warned_at.elapsed() >= WARNING) {
            let path = self.path.display();
            tracing::warn!(%error, %path, "failed to write the audit; requests are served all the same, unless --audit-required (logged at most once a minute)");
            self.warned_at = Some(Instant::now());
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        self.bytes = self.file.metadata()?.len();
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Returns the name of an older file; 1 is the newest of them.
pub(super) fn older(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Renames the file and the older ones; the oldest is dropped.
fn rotate(path: &Path) -> io::Result<()> {
    for number in (1..KEPT).rev() {
        match fs::rename(older(path, number), older(path, number + 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, older(path, 1))
}
