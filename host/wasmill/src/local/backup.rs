//! `wasmill backup`: copies the database, even while a server uses it.

use anyhow::{Result, ensure};
use bytesize::ByteSize;
use wasmill_store::StoreError;
use wasmill_store_sqlite::Backup;

use crate::cli::BackupArgs;
use crate::exit::{Exit, cli_error};
use crate::output::out;
use crate::settings::Settings;

/// Writes the copy and prints what it contains.
pub(crate) fn backup(args: BackupArgs) -> Result<()> {
    let BackupArgs { file, given, force } = args;
    let settings = Settings::load(given)?;
    ensure!(
        settings.database.is_none(),
        cli_error(
            Exit::Usage,
            "the tasks are in PostgreSQL, which `wasmill backup` does not copy; use its own tools, such as pg_dump \
             --format custom --schema wasmill"
        )
    );
    let backup = wasmill_store_sqlite::backup(&settings.data, &file, force).map_err(|error| match error {
        StoreError::NotFound { message } => cli_error(Exit::NotFound, message),
        StoreError::NoBackup { message } => cli_error(Exit::Usage, message),
        error => error.into(),
    });
    let Backup { tasks, bytes } = backup?;
    let size = ByteSize(bytes).display().iec();
    out!("{} contains {tasks} tasks, {size}", file.display());
    Ok(())
}
