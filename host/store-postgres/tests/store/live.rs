//! What a host sees of runs at other hosts.

use std::sync::Arc;
use std::time::Duration;

use wasmill_model::{LogStream, Progress, TaskId, Transition};
use wasmill_store::{Claim, Filter, ListQuery, Store};
use wasmill_store_suite::Fixture;
use wasmill_store_suite::fixture::{at, claim_one, get, insert_one};

use crate::cluster::Schema;
use crate::hosts::{eventually, host};

/// Two hosts, and a task that the second one runs.
async fn run_at_second(schema: &Schema) -> (Store, Store, Claim) {
    let (a, b) = (host(schema, "a"), host(schema, "b"));
    insert_one(&b).await;
    let claim = claim_one(&b, at(1)).await.claim;
    eventually("a counts it", async || a.counts().await.expect("read").running == 1).await;
    (a, b, claim)
}

fn write(claim: &Claim, text: &str) {
    claim.log().write(LogStream::Stdout, text.as_bytes(), at(2));
}

async fn text(store: &Store, id: TaskId) -> String {
    store.log(id).await.expect("read").unwrap_or_default()
}

async fn rows(schema: &Schema, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    schema.connect().await.query_one(&count, &[]).await.expect("read").get(0)
}

fn progress(fraction: f64, note: &str) -> Progress {
    Progress { fraction, note: note.to_owned() }
}

#[tokio::test]
async fn what_a_run_reports_is_seen_at_another_host_while_it_runs() {
    let schema = Schema::new();
    let (a, b, claim) = run_at_second(&schema).await;
    claim.set_progress(progress(0.25, "a\0quarter"));
    claim.set_digest(Arc::from("digest"));
    claim.meter().add_http_request();
    eventually("a sees it", async || get(&a, claim.id).await.progress.is_some()).await;
    let (at_a, at_b) = (get(&a, claim.id).await, get(&b, claim.id).await);
    assert_eq!(at_a.progress, Some(progress(0.25, "a\u{fffd}quarter")));
    assert_eq!(at_a.usage.map(|used| used.http_requests), Some(1));
    assert_eq!((&at_a.usage, &at_a.plugin_digest), (&at_b.usage, &at_b.plugin_digest));
    let query = ListQuery { limit: 10, filter: Filter::default(), before: None };
    let page = a.list(query).await.expect("read");
    assert_eq!(page.tasks[0].progress, at_a.progress, "a list has it too");
    claim.set_progress(progress(0.5, "half"));
    eventually("a sees more", async || get(&a, claim.id).await.progress == Some(progress(0.5, "half"))).await;
    assert_eq!(b.finish(&claim, Transition::Completed("1".into()), None, at(3)).await, Ok(true));
    assert_eq!(get(&a, claim.id).await.progress, None);
    eventually("its row is removed", async || rows(&schema, "live_run").await == 0).await;
}

#[tokio::test]
async fn a_log_grows_at_another_host_while_its_run_writes() {
    let schema = Schema::new();
    let (a, b, claim) = run_at_second(&schema).await;
    claim.log().keep(1 << 10);
    write(&claim, "one\ntwo\nthr");
    assert_eq!(text(&a, claim.id).await, "one\ntwo\nthr");
    let lines = a.lines(claim.id, 1, 10).await.expect("read").expect("it exists");
    assert_eq!(lines.lines.iter().map(|line| (line.seq, &*line.text)).collect::<Vec<_>>(), [(2, "two")]);
    let live = lines.live.expect("it runs");
    write(&claim, "ee\n");
    tokio::time::timeout(Duration::from_secs(30), live.changed(2)).await.expect("it grows");
    assert_eq!(live.read(2, 10, 1 << 10)[0].text, "three");
    let all = "x".repeat(100) + "\n";
    for _ in 0..30 {
        write(&claim, &all);
    }
    // What was dropped meanwhile is missing here as there.
    eventually("a has the newest lines", async || text(&a, claim.id).await == text(&b, claim.id).await).await;
    assert!(text(&a, claim.id).await.starts_with('['), "earlier bytes are dropped");
    let part = claim.log().part();
    assert_eq!(b.finish(&claim, Transition::Completed("1".into()), part, at(3)).await, Ok(true));
    assert_eq!(text(&a, claim.id).await, text(&b, claim.id).await);
    drop(live);
    eventually("nobody asks for it", async || rows(&schema, "live_log").await == 0).await;
}

#[tokio::test]
async fn a_crash_of_the_server_loses_what_is_relayed_for_a_moment() {
    let schema = Schema::new();
    let (a, _b, claim) = run_at_second(&schema).await;
    claim.log().keep(1 << 10);
    claim.set_progress(progress(0.5, "half"));
    write(&claim, "one\n");
    let live = a.lines(claim.id, 0, 10).await.expect("read").expect("it exists").live.expect("it runs");
    eventually("a sees it", async || get(&a, claim.id).await.progress.is_some()).await;
    let client = schema.connect().await;
    let crash = "TRUNCATE live_run, live_log;
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wasmill live'";
    client.batch_execute(crash).await.expect("it runs");
    write(&claim, "two\n");
    tokio::time::timeout(Duration::from_secs(30), live.changed(1)).await.expect("it grows");
    eventually("a sees it again", async || get(&a, claim.id).await.progress.is_some()).await;
}

#[tokio::test]
async fn what_a_dead_host_has_left_is_removed() {
    let schema = Schema::new();
    let (a, b, claim) = run_at_second(&schema).await;
    let c = host(&schema, "c");
    claim.set_progress(progress(0.5, "half"));
    eventually("a sees it", async || get(&a, claim.id).await.progress.is_some()).await;
    b.close().await;
    eventually("its row is removed", async || rows(&schema, "live_run").await == 0).await;
    assert_eq!(get(&c, claim.id).await.progress, None);
}

#[tokio::test]
async fn the_only_host_relays_nothing() {
    let schema = Schema::new();
    let a = host(&schema, "a");
    insert_one(&a).await;
    let claim = claim_one(&a, at(1)).await.claim;
    claim.set_progress(progress(0.5, "half"));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(rows(&schema, "live_run").await, 0);
    assert_eq!(get(&a, claim.id).await.progress, Some(progress(0.5, "half")));
}
