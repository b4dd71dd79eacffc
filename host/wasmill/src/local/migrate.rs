//! `wasmill database migrate`: creates the tables in PostgreSQL, or brings them to the version of this program.

use anyhow::{Result, bail};

use crate::cli::MigrateArgs;
use crate::database;
use crate::exit::{Exit, cli_error};
use crate::output::out;
use crate::settings::Settings;

/// Migrates, and prints from which version to which.
pub(crate) fn migrate(args: MigrateArgs) -> Result<()> {
    let settings = Settings::load(args.given)?;
    let Some(address) = database::address(&settings)? else {
        bail!(cli_error(
            Exit::Usage,
            "name a PostgreSQL database with --database; the embedded one is migrated by `serve`"
        ));
    };
    match wasmill_store_postgres::migrate(&address)? {
        (0, after) => out!("created the tables of version {after} in {address}"),
        (before, after) if before == after => out!("{address} has version {after} already"),
        (before, after) => out!("migrated {address} from version {before} to {after}"),
    }
    Ok(())
}
