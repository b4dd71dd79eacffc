//! `wasmill backup`: copies the database, also while a server uses it.

use anyhow::Result;
use bytesize::ByteSize;
use wasmill_store::{Backup, Store};

use crate::cli::{BackupArgs, ServeArgs};
use crate::output::out;
use crate::settings::{Config, Settings};

/// Makes the copy and says what is in it.
pub(crate) fn backup(args: BackupArgs) -> Result<()> {
    let BackupArgs { file, data, config, force } = args;
    let settings = Settings { data, ..Settings::default() };
    let config = Config::load(ServeArgs { config, settings })?;
    let Backup { tasks, bytes } = Store::backup(&config.data, &file, force)?;
    let size = ByteSize(bytes).display().iec();
    out!("{} holds {tasks} tasks, {size}", file.display());
    Ok(())
}
