//! `wasmill doctor`: checks everything that `serve` depends on here, with the same settings, and reports problems,
//! their effect and the fix. It changes nothing.
//!
//! One file for each area; each returns checks and never prints.

mod compiler;
mod data;
mod keys;
mod memory;
mod plugins;
mod ports;
mod postgres;
mod report;
mod secrets;
mod system;
mod tls;
mod traces;
mod webhooks;

use wasmill_store_postgres::Place;
use wasmill_store_sqlite::LockHolder;

use crate::cli::DoctorArgs;
use crate::doctor::report::{Check, DoctorReport};
use crate::environment;
use crate::exit::Exit;
use crate::settings::Settings;

/// Prints the report; exits with 0 unless a check failed.
pub(crate) fn doctor(args: DoctorArgs) -> Exit {
    let DoctorArgs { json, given } = args;
    let report = DoctorReport::new(match environment::check().and_then(|()| Settings::load(given)) {
        Ok(settings) => checks(&settings),
        Err(error) => vec![Check::fail(
            "settings",
            format!("{error:#}"),
            "serve does not start",
            "correct the flag, the environment variable or wasmill.toml",
        )],
    });
    report.print(json);
    if report.is_ok() { Exit::Done } else { Exit::Failed }
}

fn checks(settings: &Settings) -> Vec<Check> {
    let database = postgres::checks(settings);
    let holder = match settings.database {
        Some(_) => Place::is_taken(&settings.data).then_some(LockHolder { pid: None }),
        None => data::holder(&settings.data),
    };
    let mut checks = machine(settings);
    checks.extend(data::checks(settings, holder.as_ref()));
    checks.extend(database);
    checks.extend(plugins::checks(settings, true));
    checks.extend(keys::checks(settings));
    checks.extend(secrets::checks(settings));
    checks.extend(tls::checks(settings));
    checks.extend(ports::checks(settings, holder.as_ref()));
    checks.extend(compiler::checks(settings));
    checks.push(webhooks::secrets(settings));
    checks.push(traces::collector(settings));
    checks
}

/// The checks of the server that runs with these settings. Its ports and its data folder are in use by itself; only the
/// deep ones compile, write, or connect to a database server.
pub(crate) fn running(settings: &Settings, is_deep: bool) -> Vec<Check> {
    let mut checks = machine(settings);
    if is_deep {
        checks.extend(data::checks(settings, None));
        checks.extend(postgres::checks(settings));
    } else {
        checks.extend(data::disk_space(&settings.data));
    }
    checks.extend(plugins::checks(settings, is_deep));
    checks.extend(keys::checks(settings));
    checks.extend(secrets::checks(settings));
    checks.extend(tls::checks(settings));
    if is_deep {
        checks.extend(compiler::checks(settings));
    }
    checks.push(webhooks::secrets(settings));
    checks.push(traces::collector(settings));
    checks
}

/// The checks of the machine.
fn machine(settings: &Settings) -> Vec<Check> {
    let mut checks = vec![system::kernel(), system::cpu(), system::clock()];
    checks.push(memory::memory(settings));
    checks.push(memory::slots(settings));
    checks.extend(memory::address_space());
    checks.push(system::open_files(settings));
    checks.push(system::processes());
    checks
}
