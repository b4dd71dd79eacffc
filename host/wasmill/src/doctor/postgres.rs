//! The PostgreSQL database, if the settings name one: the server, the rights of the user, the schema.

use wasmill_store::StoreError;
use wasmill_store_postgres::{Address, Examined, examine};

use crate::database;
use crate::doctor::report::Check;
use crate::settings::Settings;

const NAME: &str = "database";

/// Returns the checks.
pub(super) fn checks(settings: &Settings) -> Vec<Check> {
    let address = match database::address(settings) {
        Ok(Some(address)) => address,
        Ok(None) => return Vec::new(),
        Err(error) => {
            let fix = "correct --database, --database-password-file or --database-ca";
            return vec![Check::fail(NAME, format!("{error:#}"), "serve does not start", fix)];
        }
    };
    match examine(&address) {
        Ok(examined) => report(&address, examined, settings.database_migrate),
        Err(error) => vec![refused(NAME, &error)],
    }
}

fn report(address: &Address, examined: Examined, migrates: bool) -> Vec<Check> {
    let Examined { version, round_trip, not_durable, hosts, is_behind, refused: refusal } = examined;
    let found = format!("{address} is PostgreSQL {version} and answers in {round_trip:.1?}");
    let hosts = match &*hosts {
        [] => "no host uses it".to_owned(),
        [host] => format!("host {host} uses it"),
        hosts => format!("{} hosts use it: {}", hosts.len(), hosts.join(", ")),
    };
    let mut checks = vec![Check::ok(NAME, format!("{found}; {hosts}"))];
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
