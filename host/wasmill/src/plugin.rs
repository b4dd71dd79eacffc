//! `wasmill plugin list`, `check` and `new`: one file each below this one.

mod check;
mod list;
mod new;

use anyhow::Result;

use crate::cli::PluginCommand;

/// Carries out one of them.
pub(crate) fn plugin(command: PluginCommand) -> Result<()> {
    match command {
        PluginCommand::List(args) => list::list(&args),
        PluginCommand::Check(args) => check::check(*args),
        PluginCommand::New(args) => new::new(&args),
    }
}
