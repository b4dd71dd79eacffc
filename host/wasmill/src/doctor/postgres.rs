//! The PostgreSQL database, if the settings name one: the server, the rights of the user, the schema.

use wasmill_store::StoreError;
use wasmill_store_postgres::{Address, Examined, examine};

use crate::database;
use crate::doctor::report::Check;
use crate::settings::Settings;

const NAME: &str = "database";

/// Returns the checks, and whether a host uses the database.
pub(super) fn checks(settings: &Settings) -> (Vec<Check>, bool) {
    let address = match database::address(settings) {
        Ok(Some(address)) => address,
        Ok(None) => return (Vec::new(), false),
        Err(error) => {
            let fix = "correct --database, --database-password-file or --database-ca";
            return (vec![Check::fail(NAME, format!("{error:#}"), "serve does not start", fix)], false);
        }
    };
    match examine(&address) {
        Ok(examined) => {
            let is_in_use = examined.is_in_use;
            (report(&address, examined, settings.database_migrate), is_in_use)
        }
        Err(error) => (vec![refused(NAME, &error)], false),
    }
}

fn report(address: &Address, examined: Examined, migrates: bool) -> Vec<Check> {
    let Examined { version, round_trip, not_durable, is_in_use, is_behind, refused: refusal } = examined;
    let found = format!("{address} is PostgreSQL {version} and answers in {round_trip:.1?}");
    let mut checks = vec![if is_in_use {
        Check::warn(
            NAME,
            format!("{found}; a running server uses it"),
            "a second server on the same database does not start",
            "nothing, if that is the server you mean; else use another database",
        )
    } else {
        Check::ok(NAME, found)
    }];
    if !not_durable.is_empty() {
        checks.push(Check::warn(
            "durability",
            format!("the server has {} off", not_durable.join(", ")),
            "tasks that were accepted may be gone after a crash of the server",
            "set them on in postgresql.conf, and not off for the user or the database",
        ));
    }
    checks.push(match refusal {
        Some(_) if is_behind && migrates => Check::ok("tables", "serve will migrate them"),
        Some(error) => refused("tables", &error),
        None => Check::ok("tables", "the user may read and write them, and they are of this version"),
    });
    checks
}

fn refused(name: &'static str, error: &StoreError) -> Check {
    // The message says what to do behind its last semicolon.
    let message = error.to_string();
    let (found, fix) = message.rsplit_once("; ").unwrap_or((&message, "see docs/how-to/postgresql.md"));
    Check::fail(name, found, "serve does not start", fix)
}
