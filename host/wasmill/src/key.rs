//! `wasmill key create`, `list`, `check`, `rotate` and `revoke`: the keys of a server. It reads and edits files, and needs
//! no server.

mod check;
mod create;
mod list;
mod made;
mod revoke;
mod rotate;

use anyhow::Result;

use crate::cli::key::KeyCommand;
use crate::exit::Exit;

/// Runs one of the subcommands.
pub(crate) fn key(command: KeyCommand) -> Result<Exit> {
    match command {
        KeyCommand::Check(args) => return check::check(args),
        KeyCommand::Create(args) => create::create(args),
        KeyCommand::List(args) => list::list(args),
        KeyCommand::Rotate(args) => rotate::rotate(args),
        KeyCommand::Revoke(args) => revoke::revoke(args),
    }
    .map(|()| Exit::Done)
}
