//! Copies the contents of a data folder into another folder, for a backup.
//!
//! Contents never change, so one that is there is not copied again. Blocks.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use wasmill_model::ContentId;
use wasmill_store::StoreError;

use crate::config::CopiedFiles;
use crate::content::folder::ContentFolder;
use crate::file::fault::{fault, io_fault};

/// A copy that is being made.
pub(crate) struct FilesCopy {
    from: ContentFolder,
    to: PathBuf,
}

impl FilesCopy {
    /// Prepares a copy of the contents of a data folder; creates the folder for it.
    pub(crate) fn new(data: &Path, to: &Path) -> Result<Self, StoreError> {
        let refuse = |why: String| StoreError::NoBackup { message: format!("{} {why}", to.display()) };
        match DirBuilder::new().mode(0o700).create(to) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(refuse(format!("cannot be created: {error}"))),
        }
        let of = |path: &Path| path.canonicalize().map_err(|error| io_fault("read", path, &error));
        if of(to)?.starts_with(of(data)?) {
            return Err(refuse("is in the data folder of a server; choose another folder".to_owned()));
        }
        Ok(Self { from: ContentFolder::new(data), to: to.to_owned() })
    }

    /// Copies all contents that the tasks of a database have, and that are not there yet.
    pub(crate) fn add(&self, database: &Connection, path: &Path) -> Result<CopiedFiles, StoreError> {
        let faulty = |error: rusqlite::Error| fault(path, &error);
        // A content that several tasks share comes once.
        let sql = "SELECT content, bytes FROM task_file INDEXED BY task_file_content GROUP BY content";
        let mut statement = database.prepare(sql).map_err(faulty)?;
        let mut rows = statement.query([]).map_err(faulty)?;
        let mut copied = CopiedFiles::default();
        while let Some(row) = rows.next().map_err(faulty)? {
            let content = ContentId::from_bytes(row.get(0).map_err(faulty)?);
            let bytes = row.get::<_, i64>(1).map_err(faulty)?.cast_unsigned();
            copied.files += 1;
            copied.bytes += bytes;
            if !self.copy(content, bytes).map_err(|error| io_fault("write", &self.to, &error))? {
                copied.missing += 1;
            }
        }
        File::open(&self.to)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| io_fault("write", &self.to, &error))?;
        Ok(copied)
    }

    /// Copies one content; returns false if there is none.
    fn copy(&self, content: ContentId, bytes: u64) -> io::Result<bool> {
        let to = self.to.join(content.to_string());
        if to.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == bytes) {
            return Ok(true);
        }
        let partial = self.to.join(format!("{content}.part"));
        match fs::copy(self.from.sealed(content), &partial) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            copied => copied?,
        };
        File::open(&partial)?.sync_all()?;
        fs::rename(&partial, &to)?;
        Ok(true)
    }
}
