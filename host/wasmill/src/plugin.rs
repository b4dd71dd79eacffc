//! `wasmill plugin list`, `check`, `new`, `schema`, `trust`, `put` and `delete`, `wasmill test` and `wasmill dev`, one
//! file each.

mod check;
mod delete;
mod dev;
mod list;
mod new;
mod put;
mod schema;
mod test;
mod trust;

use anyhow::Result;

pub(crate) use self::dev::dev;
use self::new::package_file;
pub(crate) use self::test::test;
use crate::cli::PluginCommand;

/// Runs one of the subcommands.
pub(crate) fn plugin(command: PluginCommand) -> Result<()> {
    match command {
        PluginCommand::List(args) => list::list(&args),
        PluginCommand::Check(args) => check::check(args),
        PluginCommand::New(args) => new::new(&args),
        PluginCommand::Schema(args) => schema::schema(&args),
        PluginCommand::Trust(args) => trust::trust(args),
        PluginCommand::Put(args) => put::put(&args),
        PluginCommand::Delete(args) => delete::delete(&args),
    }
}
