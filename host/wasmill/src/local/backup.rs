//! `wasmill backup`: copies the database, even while a server uses it.

use anyhow::{Result, ensure};
use bytesize::ByteSize;
use wasmill_store::StoreError;
use wasmill_store_sqlite::{Backup, CopiedFiles};

use crate::cli::BackupArgs;
use crate::exit::{Exit, cli_error};
use crate::output::{note, out};
use crate::settings::Settings;

/// Writes the copy and prints what it contains.
pub(crate) fn backup(args: BackupArgs) -> Result<()> {
    let BackupArgs { file, files, given, force } = args;
    let settings = Settings::load(given)?;
    ensure!(
        settings.database.is_none(),
        cli_error(
            Exit::Usage,
            "the tasks are in PostgreSQL, which `wasmill backup` does not copy; use its own tools, such as pg_dump \
             --format custom --schema wasmill"
        )
    );
    let backup = wasmill_store_sqlite::backup(&settings.data, &file, files.as_deref(), force);
    let backup = backup.map_err(|error| match error {
        StoreError::NotFound { message } => cli_error(Exit::NotFound, message),
        StoreError::NoBackup { message } => cli_error(Exit::Usage, message),
        error => error.into(),
    });
    let Backup { tasks, bytes, files: copied } = backup?;
    let size = ByteSize(bytes).display().iec();
    out!("{} contains {tasks} tasks, {size}", file.display());
    if let (Some(folder), Some(CopiedFiles { files, bytes, missing })) = (files, copied) {
        let size = ByteSize(bytes).display().iec();
        out!("{} contains their {files} files, {size}", folder.display());
        if missing > 0 {
            note!("{missing} of these files do not exist; tasks that were deleted meanwhile need none");
        }
    }
    Ok(())
}
