//! Plugins that return instead of waiting.

use std::sync::Arc;
use std::time::Duration;

use wasmill_model::{Cause, Failure, Limits, RunRequest, RunStep, Runner, Suspension};
use wasmill_runtime::{PluginKind, Runtime, RuntimeConfig};

use crate::support::{Host, SOON, guest, limits, run};

fn runtime(limits: Limits) -> Runtime {
    let suspended = guest("plugins/io-stub-suspended").leak();
    let config = RuntimeConfig { slots: 2, limits, memory_total_bytes: None };
    Runtime::new(config, &[("io-stub-suspended", suspended)], None).unwrap()
}

async fn step(runtime: &Runtime, input: &str, host: &Arc<Host>) -> Result<RunStep, Failure> {
    let run = RunRequest { plugin: "io-stub-suspended".parse().unwrap(), ..run(input, host) };
    tokio::time::timeout(SOON, runtime.run(run)).await.expect("the run ends soon")
}

#[tokio::test]
async fn a_suspended_guest_names_its_time_and_completes_after_it() {
    let runtime = runtime(limits());
    let details = runtime.plugins_info().remove(0).details.unwrap();
    assert_eq!(details.kind, PluginKind::Suspendable);
    let host = Arc::new(Host::default());
    let input = r#"{"min_ms":60,"max_ms":60,"fail_rate":0}"#;
    let Ok(RunStep::Suspended(Suspension { wait, state, .. })) = step(&runtime, input, &host).await else {
        panic!("it is suspended first")
    };
    assert!(wait <= Duration::from_millis(60) && wait >= Duration::from_millis(10), "{wait:?}");
    assert_eq!(runtime.pool_usage().instances, 0, "nothing is left of it");
    host.checkpoint.send_replace(Some(state));
    // Resumed too early, it is suspended again for the rest.
    tokio::time::sleep(wait).await;
    let result = match step(&runtime, input, &host).await.unwrap() {
        RunStep::Done(result) => result.text,
        RunStep::Suspended(Suspension { wait, .. }) => panic!("it still wants to wait for {wait:?}"),
    };
    assert!(result.starts_with("io work result = "), "{result}");
    assert!(host.log_text().starts_with("suspended for 60 ms"), "{}", host.log_text());
}

#[tokio::test]
async fn a_suspendable_guest_can_fail_and_start_over() {
    let runtime = runtime(limits());
    let host = Arc::new(Host::default());
    let failed = step(&runtime, r#"{"min_ms":0,"max_ms":0,"fail_rate":1}"#, &host).await;
    assert_eq!(failed, Err(Failure::new(Cause::Io, "simulated I/O failure")));
    let Ok(RunStep::Done(_)) = step(&runtime, r#"{"min_ms":0,"max_ms":0,"fail_rate":0}"#, &host).await else {
        panic!("the next attempt is a new try")
    };
    let failed = step(&runtime, r#"{"min":0}"#, &host).await.unwrap_err();
    assert_eq!(failed.cause, Cause::InvalidInput);
}

#[tokio::test]
async fn a_state_that_is_too_large_fails_the_attempt() {
    let runtime = runtime(Limits { checkpoint_bytes: 16, ..limits() });
    let failed = step(&runtime, "null", &Arc::new(Host::default())).await.unwrap_err();
    assert_eq!(failed.cause, Cause::ResultLimit);
    assert!(failed.message.contains("17 bytes; the limit of a checkpoint is 16"), "{failed}");
}
