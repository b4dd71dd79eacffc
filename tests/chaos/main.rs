//! `make chaos`: clients, some of them odd, on a server that is killed, frozen, starved of disk space, given other
//! plugins and started with invalid settings.
//!
//! The choice of actions comes from a printed seed; their timing depends on the machine. At the end, every response
//! that any client got is compared with what the server and its database say.
//!
//! `CHAOS_SECONDS` (120) sets how long the disruptions last, `CHAOS_SEED` repeats the choices of a run. With
//! `WASMILL_TEST_DATABASE=own` the tasks are in PostgreSQL, whose processes are killed and restarted, too. With
//! `CHAOS_CLUSTER=3` there are three servers on a PostgreSQL with a standby, which Patroni makes the primary.

mod check;
mod clients;
mod cluster;
mod database;
mod disk;
mod disruptions;
mod ledger;
mod odd;
mod rng;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wasmill_tests::{Client, PROGRAM, Server, ServerFolder, tiny};

use crate::clients::Clients;
use crate::disk::Disk;
use crate::disruptions::Disruptions;
use crate::ledger::Ledger;
use crate::rng::Rng;

/// Number of concurrent clients.
const CLIENTS: u64 = 6;

/// How many of them behave oddly.
const ODD_CLIENTS: u64 = 2;

fn main() -> Result<()> {
    wasmill_tests::document::ignore();
    disk::in_own_mounts()?;
    let seconds = number("CHAOS_SECONDS")?.unwrap_or(120);
    let seed = number("CHAOS_SEED")?.unwrap_or_else(|| u64::from(std::process::id()) * 1_000_003);
    println!("Chaos for {seconds} s; CHAOS_SEED={seed} makes the same choices again");

    if let Some(hosts) = number("CHAOS_CLUSTER")? {
        return cluster::run(hosts, seconds, seed);
    }
    let folder = Server::folder_with_guests();
    let disk = Disk::make(&folder.path().join("data"))?;
    let shared = folder.path().join("shared");
    std::fs::create_dir(&shared)?;
    add_plugins(&folder, &shared)?;

    let load = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = Server::start_in(
        Arc::clone(&folder),
        &["--slots", "60", "--drain", "1s", "--debug-listen", "127.0.0.1:0"],
    )?;
    // A full disk is expected, and logged as an error.
    server.expect_errors();
    let ledger = Arc::new(Ledger::new(shared, false));
    let clients = Clients::start(&load, std::slice::from_ref(&server), &ledger, (CLIENTS, ODD_CLIENTS), seed);
    let mut disruptions =
        Disruptions::new(server, Arc::clone(&folder), load.handle().clone(), disk, Rng::new(seed));
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        disruptions.make(&clients)?;
    }
    let mut server = disruptions.end(&clients)?;
    load.block_on(clients.stop());
    load.block_on(check::over_rest(&server.client(), &ledger))?;
    let debug = debug_port(&server).context("the log shows the debug port")?;
    load.block_on(check::nothing_computes(&server.client(), &debug, &ledger));
    ensure!(server.terminate().success(), "the server failed to stop cleanly: {}", server.log());
    check::in_database(&folder, &ledger)?;

    report(&ledger, disruptions.figures(), seed)
}

/// Adds plugins to those that each server has; some may write into a shared folder.
fn add_plugins(folder: &ServerFolder, shared: &Path) -> Result<()> {
    let plugins = folder.path().join("plugins");
    std::fs::write(plugins.join("swapped.wasm"), tiny::plugin("AAAA"))?;
    std::fs::write(plugins.join("program.wasm"), PROGRAM)?;
    let permissions =
        format!("allow.dirs = [{{ host = \"{}\", guest = \"/in\", write = true }}]", shared.display());
    for plugin in ["program", "misbehave"] {
        std::fs::write(plugins.join(format!("{plugin}.toml")), &permissions)?;
    }
    Ok(())
}

/// Prints what happened; fails if a promise was broken.
fn report(ledger: &Ledger, figures: Vec<(&'static str, String)>, seed: u64) -> Result<()> {
    let faults = ledger.faults();
    println!();
    for (what, figure) in ledger.figures().into_iter().chain(figures).chain(faults.figures()) {
        println!("  {what:<52} {figure}");
    }
    for (fault, text) in faults.texts() {
        println!("  FAULT, {fault:?}: {text}");
    }
    ensure!(faults.is_empty(), "promises were broken; CHAOS_SEED={seed}");
    Ok(())
}

/// Returns a client of the debug port.
fn debug_port(server: &Server) -> Option<Client> {
    server.log().lines().find_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        event["message"].as_str().filter(|message| message.starts_with("debug port"))?;
        Some(Client::new(event["address"].as_str()?.parse().ok()?).undocumented())
    })
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    let number = text.parse().with_context(|| format!("{variable} must be a number, not '{text}'"))?;
    Ok(Some(number))
}
