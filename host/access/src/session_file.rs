//! Follows the file of the signing secret: another one ends all sessions.

use std::io;
use std::path::PathBuf;

use crate::session::{SessionSecret, session_file};
use crate::stamp::FileStamp;

/// The file as it was last read.
#[derive(Debug)]
pub(crate) struct SessionFile {
    data: PathBuf,
    /// `None` before the first look.
    seen: Option<Option<FileStamp>>,
}

impl SessionFile {
    pub(crate) fn new(data: PathBuf) -> Self {
        Self { data, seen: None }
    }

    /// Returns the secret if it is another one than at the last look; makes one if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or made, once for each state of the file.
    pub(crate) fn changed(&mut self) -> io::Result<Option<SessionSecret>> {
        let path = session_file(&self.data);
        let stamp = FileStamp::of(&path);
        if self.seen == Some(stamp) {
            return Ok(None);
        }
        // A file that cannot be read is tried again when it changes.
        self.seen = Some(stamp);
        let secret = SessionSecret::load(&self.data).inspect_err(|error| {
            // The data folder is made later in a first start.
            if error.kind() == io::ErrorKind::NotFound {
                self.seen = None;
            }
        })?;
        self.seen = Some(FileStamp::of(&path));
        Ok(Some(secret))
    }
}
