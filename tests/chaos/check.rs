//! Compares what clients were promised with the final state.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use hyper::{Method, StatusCode};
use wasmill_tests::{Answer, Client, ServerFolder};

use crate::ledger::{Entry, Fault, Ledger, end_of};

/// Time for all tasks to finish once the disruptions are over.
const DEADLINE: Duration = Duration::from_secs(90);

/// Checks a record against what was known before it was requested.
pub(crate) fn answer(ledger: &Ledger, id: &str, known: &Entry, answer: &Answer) {
    match answer.status {
        StatusCode::OK if known.deleted => ledger.report(Fault::CameBack, answer.text.clone()),
        StatusCode::OK => {
            let end = end_of(&answer.json);
            match &known.end {
                Some(seen) if end.as_ref() != Some(seen) => {
                    ledger.report(Fault::Twice, format!("{id} ended as {seen}, now it is {}", answer.text));
                }
                Some(_) => {}
                None => ledger.change(id, |entry| entry.end = entry.end.take().or(end)),
            }
            if !known.cancel_sent && !ledger.entry(id).cancel_sent && answer.json["state"] == "cancelled" {
                ledger.report(Fault::Odd, format!("{id} was never cancelled: {}", answer.text));
            }
            hold_to_stop(ledger, id, known, answer);
            let (attempt, crashes) = (&answer.json["attempt"], &answer.json["host_crashes"]);
            if attempt.as_u64() > crashes.as_u64().map(|crashes| crashes + 3) || crashes.as_u64() > Some(3) {
                ledger.report(Fault::Odd, format!("more attempts than allowed: {}", answer.text));
            }
            if answer.json["plugin"] == "swapped"
                && answer.json["state"] == "completed"
                && !matches!(answer.json["result"].as_str(), Some("AAAA" | "BBBB"))
            {
                ledger.report(Fault::Odd, format!("a result of an unknown version: {}", answer.text));
            }
        }
        StatusCode::NOT_FOUND if known.delete_sent || ledger.entry(id).delete_sent => {}
        StatusCode::NOT_FOUND => ledger.report(Fault::Lost, format!("{id} is missing")),
        _ => ledger.report(Fault::Odd, format!("{id} was answered {} {}", answer.status, answer.text)),
    }
}

/// Checks a task that was asked to stop: it is cancelled or deleted, and no further attempt starts.
fn hold_to_stop(ledger: &Ledger, id: &str, known: &Entry, answer: &Answer) {
    let attempt = answer.json["attempt"].as_u64();
    if known.asked_to_stop.is_some() && attempt > known.asked_to_stop {
        ledger.report(Fault::Odd, format!("{id} was asked to stop and ran again: {}", answer.text));
    }
    if answer.json["stop_requested_at"].is_null() {
        return;
    }
    ledger.change(id, |entry| entry.asked_to_stop = entry.asked_to_stop.or(attempt));
    if !matches!(answer.json["state"].as_str(), Some("running" | "cancelled")) {
        ledger.report(Fault::Odd, format!("{id} was asked to stop and ended otherwise: {}", answer.text));
    }
}

/// Checks that no guest and no used slot is left.
pub(crate) async fn nothing_computes(client: &Client, debug: &Client, ledger: &Ledger) {
    let until = Instant::now() + DEADLINE;
    loop {
        let stats = client.get("/stats").await.json;
        let guests = debug.get("/debug/tasks?format=json").await.json;
        if stats["slots"]["used"] == 0 && guests["tasks"].as_array().is_some_and(Vec::is_empty) {
            return;
        }
        if Instant::now() > until {
            return ledger.report(Fault::Computes, format!("{} {guests}", stats["slots"]));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until all tasks have finished, then checks each of them.
pub(crate) async fn over_rest(client: &Client, ledger: &Ledger) -> Result<()> {
    let until = Instant::now() + DEADLINE;
    loop {
        let stats = client.get("/stats").await.json;
        if stats["waiting"] == 0 && stats["running"] == 0 {
            break;
        }
        if Instant::now() > until {
            ledger.report(Fault::Stuck, format!("{DEADLINE:?} after the disruptions: {stats}"));
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (id, known) in ledger.all() {
        let found = client.send(Method::GET, &format!("/task/{id}"), None).await?;
        answer(ledger, &id, &known, &found);
        if found.status == StatusCode::OK && end_of(&found.json).is_none() {
            ledger.report(Fault::Stuck, found.text.clone());
        }
        // A drain interrupts a run and keeps its attempt, so that the next one has the same number.
        let (runs, attempt) = (ledger.runs(&known), found.json["attempt"].as_u64());
        if ledger.counts_runs && attempt.is_some_and(|attempt| runs > attempt) {
            ledger
                .report(Fault::Twice, format!("{id} ran {runs} times and tells {attempt:?}: {}", found.text));
        }
        let (Some(then), Some(now)) = (known.written, ledger.written(&known)) else { continue };
        if now == then + 1 {
            ledger.under_way.fetch_add(1, Ordering::Relaxed);
        } else if now > then {
            ledger.report(Fault::Wrote, format!("{id} had written {then} bytes, now {now}"));
        }
    }
    Ok(())
}

/// Returns everything that a claim or a recovery would change of each task.
pub(crate) fn tasks(folder: &ServerFolder) -> Result<Vec<String>> {
    folder.query(&format!(
        "SELECT {} || ' state ' || state || ' attempt ' || attempt || ' claims ' || claim_token || ' crashes '
            || host_crashes || ' ready ' || ready_at || ' started ' || coalesce(CAST(started_at AS text), 'never')
        FROM task ORDER BY seq",
        folder.id_column()
    ))
}

/// Checks the database itself, which no server has open.
pub(crate) fn in_database(folder: &ServerFolder, ledger: &Ledger) -> Result<()> {
    if let Err(damage) = folder.check_database() {
        ledger.report(Fault::Odd, format!("{damage:#}"));
    }
    in_tables(|sql| folder.query(sql), folder.id_column(), ledger)
}

/// Checks the tables of a database: `query` returns the first column of the rows.
pub(crate) fn in_tables(
    query: impl Fn(&str) -> Result<Vec<String>>,
    id: &str,
    ledger: &Ledger,
) -> Result<()> {
    let mut ids = HashSet::new();
    for id in query(&format!("SELECT {id} FROM task"))? {
        if let Some(id) = ids.replace(id) {
            ledger.report(Fault::Twice, format!("{id} is in the database twice"));
        }
    }
    for key in query("SELECT name FROM tag WHERE name LIKE 'key-%' GROUP BY name HAVING count(*) > 1")? {
        ledger.report(Fault::Twice, format!("a submit with idempotency key {key} has stored several tasks"));
    }
    for open in query(&format!("SELECT {id} || ' is ' || state FROM task WHERE finished_at IS NULL"))? {
        ledger.report(Fault::Stuck, open);
    }
    for (id, known) in ledger.all() {
        match ids.contains(&id.replace('-', "")) {
            true if known.deleted => ledger.report(Fault::CameBack, format!("{id} is in the database")),
            false if !known.delete_sent => ledger.report(Fault::Lost, format!("{id} is not in the database")),
            _ => {}
        }
    }
    Ok(())
}
