//! Dropping a run ends its guest, whatever the guest is doing, and frees its slot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use wasmill_model::Runner;
use wasmill_runtime::Runtime;

use crate::support::{Host, SLOTS, SOON, alone, done, run, runtime};

#[tokio::test]
async fn an_endless_loop_yields_and_ends_when_dropped() {
    let runtime = alone().await;
    let host = Arc::new(Host::default());
    // There is only one thread.
    let looping = tokio::spawn(runtime.run(run(r#"{"do":"save-then-spin","state":"on"}"#, &host)));
    host.saved().await;
    for _ in 0..3 {
        let other = runtime.run(run(r#"{"do":"noop"}"#, &Arc::new(Host::default())));
        assert_eq!(done(other).await.unwrap(), "ok");
    }
    assert_eq!(runtime.pool_usage().instances, 1);
    looping.abort();
    runtime.interrupt();
    assert!(looping.await.unwrap_err().is_cancelled());
    assert_eq!(runtime.pool_usage().instances, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_endless_loops_than_threads_yield() {
    let runtime = alone().await;
    let mut loops = JoinSet::new();
    for _ in 0..6 {
        let host = Arc::new(Host::default());
        loops.spawn(runtime.run(run(r#"{"do":"save-then-spin","state":"on"}"#, &host)));
        host.saved().await;
    }
    let other = tokio::spawn(done(runtime.run(run(r#"{"do":"noop"}"#, &Arc::new(Host::default())))));
    assert_eq!(tokio::time::timeout(SOON, other).await.unwrap().unwrap().unwrap(), "ok");
    loops.shutdown().await;
    assert_eq!(runtime.pool_usage().instances, 0);
}

#[tokio::test]
async fn a_sleeping_guest_ends_at_once_when_dropped() {
    let runtime = alone().await;
    let host = Arc::new(Host::default());
    let mut sleeping =
        runtime.run(run(r#"{"do":"progress","fraction":0.5,"note":"asleep","ms":3600000}"#, &host));
    tokio::select! {
        _ = &mut sleeping => panic!("it sleeps for an hour"),
        _ = host.progressed() => {}
    }
    assert_eq!(runtime.pool_usage().instances, 1);
    let start = Instant::now();
    drop(sleeping);
    assert_eq!(runtime.pool_usage().instances, 0);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_run_that_was_never_polled_costs_nothing() {
    let runtime = alone().await;
    drop(runtime.run(run(r#"{"do":"noop"}"#, &Arc::new(Host::default()))));
    assert_eq!(runtime.pool_usage().instances, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_slots_are_filled_emptied_and_filled_again() {
    let runtime = alone().await;
    for _ in 0..3 {
        let mut guests = fill(&runtime, SLOTS).await;
        assert_eq!(runtime.pool_usage().instances, u64::from(SLOTS));
        guests.shutdown().await;
        assert_eq!(runtime.pool_usage().instances, 0);
    }
}

async fn fill(runtime: &Runtime, slots: u32) -> JoinSet<()> {
    let mut guests = JoinSet::new();
    let hosts: Vec<_> = (0..slots).map(|_| Arc::new(Host::default())).collect();
    for host in &hosts {
        let action = r#"{"do":"progress","fraction":0.5,"note":"asleep","ms":3600000}"#;
        let sleeping = runtime.run(run(action, host));
        guests.spawn(async move {
            let outcome = sleeping.await;
            panic!("it sleeps for an hour, but: {outcome:?}");
        });
    }
    for host in &hosts {
        host.progressed().await;
    }
    guests
}

#[tokio::test]
async fn a_run_outlives_the_handle_it_was_started_with() {
    let runtime = runtime(4);
    let run = runtime.run(run(r#"{"do":"sleep","ms":5}"#, &Arc::new(Host::default())));
    drop(runtime);
    assert_eq!(done(run).await.unwrap(), "ok");
}
