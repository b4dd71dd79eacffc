//! `wasmill backup`: copies the database, even while a server uses it.

use anyhow::Result;
use bytesize::ByteSize;
use wasmill_store::StoreError;
use wasmill_store_sqlite::Backup;

use crate::cli::{BackupArgs, ServeArgs};
use crate::config::Config;
use crate::exit::{Exit, cli_error};
use crate::output::out;
use crate::settings::Settings;

/// Writes the copy and prints what it contains.
pub(crate) fn backup(args: BackupArgs) -> Result<()> {
    let BackupArgs { file, data, config, force } = args;
    let settings = Settings { data, ..Settings::default() };
    let config = Config::load(ServeArgs { config, settings })?;
    let backup = wasmill_store_sqlite::backup(&config.data, &file, force).map_err(|error| match error {
        StoreError::NotFound { message } => cli_error(Exit::NotFound, message),
        StoreError::NoBackup { message } => cli_error(Exit::Usage, message),
        error => error.into(),
    });
    let Backup { tasks, bytes } = backup?;
    let size = ByteSize(bytes).display().iec();
    out!("{} contains {tasks} tasks, {size}", file.display());
    Ok(())
}
