//! `wasmill backup`: copies the database, even while a server uses it.

use anyhow::Result;
use bytesize::ByteSize;
use wasmill_store::{Backup, Store};

use crate::cli::{BackupArgs, ServeArgs};
use crate::output::out;
use crate::settings::{Config, Settings};

/// Writes the copy and prints what it contains.
pub(crate) fn backup(args: BackupArgs) -> Result<()> {
    let BackupArgs { file, data, config, force } = args;
    let settings = Settings { data, ..Settings::default() };
    let config = Config::load(ServeArgs { config, settings })?;
    let Backup { tasks, bytes } = Store::backup(&config.data, &file, force)?;
    let size = ByteSize(bytes).display().iec();
    out!("{} contains {tasks} tasks, {size}", file.display());
    Ok(())
}
