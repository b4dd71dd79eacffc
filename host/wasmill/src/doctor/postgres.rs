//! The PostgreSQL database, if the settings name one: the server, the rights of the user, the schema.

use wasmill_store::{HeldSnapshot, SharedSettings, StoreError, differing};
use wasmill_store_postgres::{Address, Examined, examine};

use crate::database;
use crate::doctor::report::Check;
use crate::serve::webhook_config::webhook_secrets;
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
        Ok(examined) => report(&address, &examined, settings),
        Err(error) => vec![refused(NAME, &error)],
    }
}

fn report(address: &Address, examined: &Examined, settings: &Settings) -> Vec<Check> {
    let Examined { version, round_trip, not_durable, standbys, held_snapshot, .. } = examined;
    let Examined { hosts, is_behind, refused: refusal, .. } = examined;
    let found = format!("{address} is PostgreSQL {version} and answers in {round_trip:.1?}");
    let names: Vec<_> = hosts.iter().map(|(name, _)| name.as_str()).collect();
    let used = match &*names {
        [] => "no host uses it".to_owned(),
        [host] => format!("host {host} uses it"),
        names => format!("{} hosts use it: {}", names.len(), names.join(", ")),
    };
    let mut checks = vec![Check::ok(NAME, format!("{found}; {used}"))];
    checks.extend(agreement(hosts, settings));
    checks.push(durability(not_durable, standbys));
    checks.push(snapshots(held_snapshot.as_ref()));
    checks.push(match refusal {
        Some(_) if *is_behind && settings.database_migrate => Check::ok("tables", "serve will migrate them"),
        Some(error) => refused("tables", error),
        None => Check::ok("tables", "the user may read and write them, and they are of this version"),
    });
    checks
}

/// Says what an acknowledgement is worth.
fn durability(not_durable: &[String], standbys: &str) -> Check {
    const NAME: &str = "durability";
    if !not_durable.is_empty() {
        return Check::warn(
            NAME,
            format!("the server has {} off", not_durable.join(", ")),
            "tasks that were accepted may be gone after a crash of the server",
            "set them on in postgresql.conf, and not off for the user or the database",
        );
    }
    let found = "what is acknowledged is on the disk of the server";
    Check::ok(
        NAME,
        match standbys {
            "" => format!("{found}, and of no standby for sure: a failover may lose the last tasks"),
            names => format!("{found} and of a standby (synchronous_standby_names is {names})"),
        },
    )
}

/// Names who keeps the database from cleaning up.
fn snapshots(held: Option<&HeldSnapshot>) -> Check {
    const NAME: &str = "snapshots";
    let Some(HeldSnapshot { holder, ended_by, held, transactions }) = held else {
        return Check::ok(NAME, "nobody keeps the database from cleaning up");
    };
    let minutes = held.unwrap_or_default().as_secs() / 60;
    Check::warn(
        NAME,
        format!("{holder} has held a snapshot for {minutes} minutes and {transactions} transactions"),
        "what tasks leave behind cannot be cleaned up: the tables grow",
        format!("end its transaction, as by {ended_by}"),
    )
}

/// Compares the settings with those of the hosts that use the database.
fn agreement(hosts: &[(String, SharedSettings)], settings: &Settings) -> Option<Check> {
    const NAME: &str = "hosts";
    if hosts.is_empty() {
        return None;
    }
    // A secret that cannot be read is reported with the webhooks.
    let secrets = webhook_secrets(settings).map(|secrets| secrets.fingerprint()).unwrap_or_default();
    let own = settings.shared(secrets);
    let mut found = Vec::new();
    for (host, theirs) in hosts {
        for name in differing(&own, theirs) {
            found.push(match name {
                "webhook_secret_file" => format!("host {host} has other webhook secrets"),
                name => format!("host {host} has {name} {}, and here it is {}", theirs[name], own[name]),
            });
        }
    }
    found.dedup();
    Some(if found.is_empty() {
        Check::ok(NAME, "their settings are those of this one")
    } else {
        let fix = "give all hosts of a database the same settings";
        Check::fail(
            NAME,
            found.join("; "),
            "a task is treated differently by the host that it happens to meet",
            fix,
        )
    })
}

fn refused(name: &'static str, error: &StoreError) -> Check {
    // The message says what to do behind its last semicolon.
    let message = error.to_string();
    let (found, fix) = message.rsplit_once("; ").unwrap_or((&message, "see docs/how-to/postgresql.md"));
    Check::fail(name, found, "serve does not start", fix)
}
