//! `make attack`: attackers with and without keys beside a good client, in turns: quiet, under attack, quiet again.
//!
//! `ATTACK_SECONDS` (600) sets how long it lasts, and `ATTACK_ONLY` which kinds of attackers take part. Nobody may get a 5xx that is not the refusal of a load, the good client
//! none at all, and the memory of the server must not grow from one attack to the next. Both sides are measured in
//! turns, so noise of the machine falls on both. The attackers run at a low priority: what is measured is the
//! server, not how much of the machine they take for themselves.

mod attackers;
mod good;
mod tally;
mod tricks;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::setpriority_process;
use serde_json::json;
use wasmill_tests::{Client, Server};

use crate::attackers::{Attack, KINDS, Keys};
use crate::good::{GoodClient, Phase};
use crate::tally::Tally;

/// How long a turn lasts, and how much of its beginning is not measured: what the one before left ends meanwhile.
const TURN: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(1);

/// nice(2) of the attackers.
const NICENESS: i32 = 10;

/// How much memory may grow from the middle third of the turns to the last: a part, and what is always allowed.
const GROWTH_MAX: f64 = 1.05;
const GROWTH_MIB: f64 = 16.0;

/// Descriptors of the server that a turn may leave open.
const DESCRIPTORS_LEFT: usize = 50;

/// Time for the connections of attackers to end.
const DEADLINE: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    wasmill_tests::document::ignore();
    let seconds = match std::env::var("ATTACK_SECONDS") {
        Ok(text) => text.parse().with_context(|| format!("ATTACK_SECONDS must be a number, not '{text}'"))?,
        Err(_) => 600,
    };
    ensure!(seconds >= 120, "ATTACK_SECONDS must be at least 120, or there is nothing to compare");
    let only = kinds(&std::env::var("ATTACK_ONLY").unwrap_or_default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| {
            // The server then gets the processor before them; it fails only for other processes.
            let _ = setpriority_process(Some(rustix::thread::gettid()), NICENESS);
        })
        .enable_all()
        .build()?;
    let turns = seconds / (2 * TURN.as_secs());
    println!(
        "{turns} turns of {} s quiet and as long under attack; set ATTACK_SECONDS to change that",
        TURN.as_secs()
    );
    let server = Server::start(&["--slots", "50", "--allow-upload"]);
    let result = runtime.block_on(runtime.spawn(run(server, turns, only)));
    result.context("the attack ended early")?
}

/// Reads the kinds of attackers that take part, separated by commas; none stands for all.
fn kinds(text: &str) -> Result<Vec<String>> {
    let named: Vec<_> = text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    for name in &named {
        let known: Vec<_> = KINDS.iter().map(|(kind, _)| *kind).collect();
        ensure!(known.contains(&&**name), "ATTACK_ONLY has '{name}', and the kinds are {}", known.join(", "));
    }
    Ok(named)
}

async fn run(mut server: Server, turns: u64, only: Vec<String>) -> Result<()> {
    let keys = Keys {
        // With a rate and limits, as an open server gives them.
        tenant: server.create_key(
            "eve",
            &["--scope", "submit,read,cancel", "--group", "eve", "--rate", "200/s", "--waiting", "2000"],
        ),
        uploader: server.create_key("mallory", &["--scope", "plugins,watch", "--rate", "50/s"]),
        good: server.create_key("good", &["--scope", "submit,read,cancel", "--group", "good"]),
    };
    let admin = server.create_key("admin", &["--scope", "admin"]);
    let admin = server.client().with_key(&admin);
    let (tally, good) = (Arc::new(Tally::default()), GoodClient::start(server.address(), &keys.good));
    let mut memory = Vec::new();
    let descriptors = descriptors(&server)?;
    for _ in 0..turns {
        turn(&good, Phase::Quiet).await;
        memory.push(server.memory("VmRSS") as f64 / f64::from(1 << 20));
        let attack = Attack::start(server.address(), &keys, &tally, &only);
        turn(&good, Phase::Attacked).await;
        attack.stop().await;
    }
    good.phase.store(Phase::Unmeasured as u8, Ordering::Relaxed);
    let measured = good.stop();
    let mut faults = tally.report(&only);
    faults.extend(measured.report());
    faults.extend(grown(&memory));
    faults.extend(unharmed(&admin).await);
    faults.extend(released(&server, descriptors).await?);
    let log = server.log();
    ensure!(server.terminate().success(), "the server failed to stop cleanly: {log}");
    let is_error = |line: &&str| line.contains("\"ERROR\"") || line.contains("panicked");
    faults.extend(log.lines().filter(is_error).map(|line| format!("the log has an error: {line}")));
    for fault in &faults {
        println!("  FAULT: {fault}");
    }
    ensure!(faults.is_empty(), "{} faults", faults.len());
    Ok(())
}

/// Measures the good client for a turn.
async fn turn(good: &GoodClient, phase: Phase) {
    good.phase.store(Phase::Unmeasured as u8, Ordering::Relaxed);
    tokio::time::sleep(WARM_UP).await;
    good.phase.store(phase as u8, Ordering::Relaxed);
    tokio::time::sleep(TURN - WARM_UP).await;
}

/// Compares the memory of the middle and the last third of the turns: what an attack needs at most is only known after
/// some.
fn grown(memory: &[f64]) -> Option<String> {
    let third = memory.len() / 3;
    let (before, after) = (median(&memory[third..2 * third]), median(&memory[memory.len() - third..]));
    println!("  {:<34} {before:>9.1} {after:>9.1} MiB, middle and last third of the turns", "memory");
    let all: Vec<_> = memory.iter().map(|mib| format!("{mib:.0}")).collect();
    println!("  {:<34} {}", "memory at the end of quiet turns", all.join(" "));
    let has_grown = after > before * GROWTH_MAX && after > before + GROWTH_MIB;
    has_grown.then(|| format!("memory grew from {before:.1} to {after:.1} MiB"))
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Says what the attackers have changed, though none of their keys may.
async fn unharmed(admin: &Client) -> Vec<String> {
    let (stats, plugins) = (admin.get("/stats").await.json, admin.get("/plugins").await.json);
    let mut faults = Vec::new();
    if (&stats["draining"], &stats["paused"]) != (&json!(false), &json!(false)) {
        faults.push(format!("the server was paused or drained: {stats}"));
    }
    let names: Vec<_> =
        plugins.as_array().into_iter().flatten().filter_map(|plugin| plugin["name"].as_str()).collect();
    for name in ["noop", "misbehave"] {
        if !names.contains(&name) {
            faults.push(format!("the plugin {name} is gone: {names:?}"));
        }
    }
    faults
}

fn descriptors(server: &Server) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", server.pid()))?.count())
}

/// Waits until the connections of the attackers have ended at the server, too.
async fn released(server: &Server, before: usize) -> Result<Option<String>> {
    let start = Instant::now();
    loop {
        let now = descriptors(server)?;
        if now <= before + DESCRIPTORS_LEFT {
            println!("  {:<34} {before:>9} {now:>9} before and after", "descriptors");
            return Ok(None);
        }
        if start.elapsed() > DEADLINE {
            return Ok(Some(format!(
                "{now} descriptors are open, {DEADLINE:?} after the attack; {before} were before"
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
