//! `wasmill backup`: copies the database, also while a server uses it.

use anyhow::Result;
use bytesize::ByteSize;
use wasmill_store::{Backup, Store, StoreError};

use crate::cli::{BackupArgs, ServeArgs};
use crate::exit::{Exit, told};
use crate::output::say;
use crate::settings::{Config, Settings};

/// Makes the copy and says what is in it.
pub(crate) fn backup(args: BackupArgs) -> Result<()> {
    let BackupArgs { file, data, config, force } = args;
    let settings = Settings { data, ..Settings::default() };
    let config = Config::load(ServeArgs { config, settings })?;
    let copy = Store::backup(&config.data, &file, force).map_err(|error| match error {
        StoreError::NotThere { message } => told(Exit::NotFound, message),
        StoreError::NoBackup { message } => told(Exit::Usage, message),
        error => error.into(),
    });
    let Backup { tasks, bytes } = copy?;
    let size = ByteSize(bytes).display().iec();
    say!("{} holds {tasks} tasks, {size}", file.display());
    Ok(())
}
