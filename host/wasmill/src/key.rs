//! `wasmill key create`, `list`, `rotate` and `revoke`: the keys of a server. It edits a file, and needs no server.

mod create;
mod list;
mod made;
mod revoke;
mod rotate;

use anyhow::Result;

use crate::cli::key::KeyCommand;

/// Runs one of the subcommands.
pub(crate) fn key(command: KeyCommand) -> Result<()> {
    match command {
        KeyCommand::Create(args) => create::create(args),
        KeyCommand::List(args) => list::list(args),
        KeyCommand::Rotate(args) => rotate::rotate(args),
        KeyCommand::Revoke(args) => revoke::revoke(args),
    }
}
